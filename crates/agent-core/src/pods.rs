//! Pods: what the tasks of a default executor share (spec/agent.md 6.3). No process speaks for them; the containerizer has
//! what they share as long as there are tasks.

use crate::agent::{Agent, Cx};
use crate::allotment::Allotment;
use crate::contract::{Effect, FoundState, Pod};
use crate::state::{Executor, ExecutorKind};
use wire::v1;

impl Agent {
    /// The pod that an executor stands for, if it does.
    pub(crate) fn pod(
        &self,
        framework: &v1::FrameworkInfo,
        executor: &Executor,
    ) -> Option<Box<Pod>> {
        if executor.kind != ExecutorKind::Default {
            return None;
        }
        let Allotment { resources, limits } =
            Allotment::of_executor(executor, self.config.limitable);
        let default = self.config.default_container_info.as_ref();
        Some(Box::new(Pod {
            id: executor.container_id.clone(),
            container: executor.info.container.as_ref().or(default).cloned(),
            resources,
            limits,
            volumes: self.mounted(&executor.info.resources),
            user: self.user(framework, &executor.info.command.clone().unwrap_or_default()),
        }))
    }

    /// What is left of a pod that ended while the agent was away.
    pub(crate) fn forget_found_pod(
        cx: &mut Cx<'_>,
        container_id: &str,
        found: Option<&FoundState>,
    ) {
        if matches!(found, Some(FoundState::Exited { .. } | FoundState::Unstarted)) {
            cx.out.push(Effect::ForgetContainer { container_id: container_id.to_owned() });
        }
    }
}
