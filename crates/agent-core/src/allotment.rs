//! What containers may use: requests and limits, as tasks come and go (spec/agent.md 6.3, 7.5).

use crate::agent::{Agent, Cx};
use crate::contract::Effect;
use crate::state::{Executor, ExecutorKind, Task};
use resources::{Resources, from_milli};
use std::collections::BTreeMap;
use wire::v1;

/// What of limits the node's isolation can enforce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limitable {
    /// Cpu time.
    pub cpus: bool,
    /// Memory.
    pub mem: bool,
    /// Requests of cpu time are limits too.
    pub cpus_by_request: bool,
}

/// What a container may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Allotment {
    /// What was asked for.
    pub resources: Vec<v1::Resource>,
    /// What may be taken beyond that, by name of the resource; infinity: no limit.
    pub limits: BTreeMap<String, f64>,
}

impl Allotment {
    /// Of a task that has its own.
    pub(crate) fn of_task(task: &v1::TaskInfo) -> Self {
        let limits = task.limits.iter().map(|(name, limit)| (name.clone(), limit.value));
        Self { resources: task.resources.clone(), limits: limits.collect() }
    }

    /// Of an executor with all of its tasks that have not ended. There is a limit of a kind if a task sets one: the sum
    /// of those limits, of what tasks without one asked for, and of what the executor has.
    #[must_use]
    pub fn of_executor(executor: &Executor, limitable: Limitable) -> Self {
        let tasks = || executor.tasks.values().map(Box::as_ref).filter(|t| !t.is_terminal());
        let own = executor.info.resources.iter();
        let of_tasks = tasks().flat_map(|task| &task.info.resources);
        let resources = own.chain(of_tasks).cloned().collect();
        let amount = |resources: &[v1::Resource], name: &str| {
            from_milli(Resources::from_wire(resources).unwrap_or_default().scalar(name))
        };
        let mut limits = BTreeMap::new();
        for name in ["cpus", "mem"] {
            let limit = |task: &Task| task.info.limits.get(name).map(|limit| limit.value);
            let is_open = |task: &Task| limit(task).is_none();
            // Cpu time of who has no limit is not limited, unless requests are.
            let is_unlimited = name == "cpus" && !limitable.cpus_by_request && tasks().any(is_open);
            if is_unlimited || tasks().all(is_open) {
                continue;
            }
            let share =
                |task: &Task| limit(task).unwrap_or_else(|| amount(&task.info.resources, name));
            let sum: f64 = tasks().map(share).sum();
            limits.insert(name.to_owned(), sum + amount(&executor.info.resources, name));
        }
        Self { resources, limits }
    }
}

impl Agent {
    /// Tells the container of an executor with tasks in it, or a pod, what it may use from now on.
    pub(crate) fn update_container(&self, cx: &mut Cx<'_>, framework: &str, executor: &str) {
        let Some(executor) = self.executor(framework, executor) else { return };
        let runs = |task: &Task| task.pid.is_some() && !task.is_terminal();
        let is_there = match executor.kind {
            ExecutorKind::Custom => executor.pid.is_some(),
            ExecutorKind::Default => executor.tasks.values().any(|task| runs(task)),
            ExecutorKind::Command => false,
        };
        if !is_there {
            return;
        }
        let Allotment { resources, limits } =
            Allotment::of_executor(executor, self.config.limitable);
        let container_id = executor.container_id.clone();
        cx.out.push(Effect::UpdateContainer { container_id, resources, limits });
    }
}
