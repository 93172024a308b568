//! What is refused before anything is made for it (spec/agent.md 1.8).

use crate::agent::{Agent, Cx};
use crate::allotment::Limitable;
use crate::launch::{agent_status, is_docker};
use crate::state::ExecutorState;
use resources::Resources;
use wire::v1;
use wire::v1::TaskState;
use wire::v1::task_status::Reason;

/// Why a task is not run.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// State that the framework is told; None: that of a task that never ran.
    state: Option<TaskState>,
    reason: Reason,
    message: String,
}

impl Refusal {
    pub(crate) fn drop(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: None, reason, message: message.into() }
    }
}

impl Agent {
    /// Why these tasks can't be run, if so: before anything is made for them.
    pub(crate) fn refusal(
        &self,
        framework_id: &str,
        executor_id: &str,
        executor: Option<&v1::ExecutorInfo>,
        tasks: &[v1::TaskInfo],
        launch_executor: bool,
    ) -> Option<Refusal> {
        if self.terminating.is_some() {
            let message = "The agent is shutting down";
            return Some(Refusal::drop(Reason::ExecutorTerminated, message));
        }
        let own = self.state.id.as_deref();
        if let Some(task) = tasks.iter().find(|t| Some(t.agent_id.value.as_str()) != own) {
            let message = format!(
                "The task is meant for agent '{}', but came to another",
                task.agent_id.value
            );
            return Some(Refusal::drop(Reason::TaskInvalid, message));
        }
        if self.state.drain.is_some() {
            let message = "Task was received while agent was already draining";
            return Some(Refusal::drop(Reason::AgentDraining, message));
        }
        let lists = tasks.iter().map(|t| &t.resources).chain(executor.map(|e| &e.resources));
        if lists.into_iter().any(|list| !self.has_checkpointed(list)) {
            let message =
                "The reservations or volumes that are used by the task are unknown to the agent";
            return Some(Refusal::drop(Reason::ResourcesUnknown, message));
        }
        let terminated = |text: &str| Some(Refusal::drop(Reason::ExecutorTerminated, text));
        match self.executor(framework_id, executor_id).map(|e| e.state) {
            Some(_) if executor.is_none() => {
                let message = "The id of the task is that of an executor which exists already";
                Some(Refusal::drop(Reason::TaskInvalid, message))
            }
            Some(_) if launch_executor => {
                terminated("Master wants to launch executor, but one already exists")
            }
            None if !launch_executor => {
                terminated("No executor is expected to launch and there is none running")
            }
            Some(ExecutorState::Terminating) => terminated("Executor terminating"),
            Some(ExecutorState::Terminated) => terminated("Executor terminated"),
            Some(ExecutorState::Registering | ExecutorState::Running) | None => {
                unsupported(tasks, executor, self.config.limitable)
            }
        }
    }

    /// Whether reservations and volumes in a list are the agent's.
    fn has_checkpointed(&self, list: &[v1::Resource]) -> bool {
        let used = Resources::from_wire(list).unwrap_or_default().unallocated().to_checkpoint();
        self.state.total.contains(&used)
    }

    pub(crate) fn refuse(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &v1::FrameworkInfo,
        executor_id: &str,
        tasks: Vec<v1::TaskInfo>,
        refusal: &Refusal,
        executor_expected: bool,
    ) {
        for task in tasks {
            let status = match refusal.state {
                Some(state) => {
                    agent_status(&task.task_id.value, state, refusal.reason, &refusal.message)
                }
                None => dropped(framework, &task.task_id.value, refusal.reason, &refusal.message),
            };
            let status = v1::TaskStatus { executor_id: Some(executor_id.into()), ..status };
            self.report(cx, framework, status);
        }
        if !executor_expected {
            return;
        }
        // The master believes that an executor is being started.
        let framework_id = framework.id.clone().unwrap_or_default().value;
        match self.executor(&framework_id, executor_id).map(|e| e.state) {
            None | Some(ExecutorState::Terminated) => {
                self.executor_exited(cx, &framework_id, executor_id, -1)
            }
            // One that the master does not know of; its end will be told.
            Some(_) => self.shut_down_executor(cx, &framework_id, executor_id),
        }
    }
}

/// Status of a task that never ran: TASK_DROPPED, or TASK_LOST for a framework that is not partition-aware.
pub(crate) fn dropped(
    framework: &v1::FrameworkInfo,
    task_id: &str,
    reason: Reason,
    message: &str,
) -> v1::TaskStatus {
    let aware = v1::framework_info::capability::Type::PartitionAware;
    let aware = framework.capabilities.iter().any(|c| c.r#type() == aware);
    let state = if aware { TaskState::TaskDropped } else { TaskState::TaskLost };
    agent_status(task_id, state, reason, message)
}

pub(crate) fn is_pod_executor(info: &v1::ExecutorInfo) -> bool {
    info.r#type() == v1::executor_info::Type::Default
}

/// What these tasks need that is not there.
fn unsupported(
    tasks: &[v1::TaskInfo],
    executor: Option<&v1::ExecutorInfo>,
    limitable: Limitable,
) -> Option<Refusal> {
    let failed = |message: String| {
        let state = Some(TaskState::TaskFailed);
        Some(Refusal { state, reason: Reason::TaskInvalid, message })
    };
    // An engine of Docker's knows of no pods.
    let is_shared = tasks.iter().all(|task| !is_docker(task.container.as_ref()));
    let pod = executor.filter(|e| is_pod_executor(e));
    if let Some(field) = pod.and_then(|pod| unsupported_in_pod(pod, is_shared)) {
        return failed(format!("'ExecutorInfo.container.{field}' is not supported yet"));
    }
    let in_docker = executor.is_some_and(|executor| is_docker(executor.container.as_ref()));
    for task in tasks {
        let id = &task.task_id.value;
        // Nobody can give devices to a container of Docker's that runs.
        if in_docker && task.resources.iter().any(|resource| resource.name == "gpus") {
            return failed(format!(
                "Task '{id}': an executor of type DOCKER has the GPUs of 'ExecutorInfo.resources', and none of its tasks'"
            ));
        }
        let isolators =
            [("cpus", "cgroups/cpu", limitable.cpus), ("mem", "cgroups/mem", limitable.mem)];
        for (name, isolator, is_there) in isolators {
            // An engine of Docker's limits by itself.
            let container = executor.map_or(&task.container, |executor| &executor.container);
            if task.limits.contains_key(name) && !is_there && !is_docker(container.as_ref()) {
                // The peer answers with this reason.
                let message = format!(
                    "Task '{id}': a limit of '{name}' needs '{isolator}' in the agent's --isolation"
                );
                return Some(Refusal::drop(Reason::GcError, message));
            }
        }
    }
    None
}

/// No process of its own stands for a pod's executor: its volumes and limits would be seen by that one alone, and are for
/// nobody, but its tasks are not run in an image or on a terminal of its, and share only what they can share.
fn unsupported_in_pod(executor: &v1::ExecutorInfo, is_shared: bool) -> Option<&'static str> {
    let container = executor.container.as_ref()?;
    if container.r#type() == v1::container_info::Type::Docker {
        return Some("type DOCKER");
    }
    let mesos = container.mesos.as_ref();
    [
        (mesos.is_some_and(|m| m.image.is_some()), "mesos.image"),
        (container.tty_info.is_some(), "tty_info"),
        (!is_shared && container.linux_info.is_some(), "linux_info"),
    ]
    .into_iter()
    .find_map(|(is_set, field)| is_set.then_some(field))
}
