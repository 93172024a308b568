//! Launching tasks and groups (spec/agent.md 1.8).

use crate::agent::{Agent, Cx, Owner, Timer, Waiting};
use crate::contract::{ContainerSpec, Effect};
use crate::state::{Executor, ExecutorKind, ExecutorState, Framework, Task};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use wire::internal::agent_record::Record;
use wire::v1::TaskState;
use wire::v1::task_status::{Reason, Source};
use wire::{internal, v1};

impl Agent {
    pub(crate) fn on_run_task(&mut self, cx: &mut Cx<'_>, run: internal::RunTask) {
        let executor = run.task.executor.clone();
        let launch_executor = run.launch_executor;
        self.run(cx, run.framework, executor, vec![run.task], false, launch_executor);
    }

    pub(crate) fn on_run_task_group(&mut self, cx: &mut Cx<'_>, run: internal::RunTaskGroup) {
        self.run(cx, run.framework, Some(run.executor), run.tasks, true, run.launch_executor);
    }

    fn run(
        &mut self,
        cx: &mut Cx<'_>,
        framework: v1::FrameworkInfo,
        executor: Option<v1::ExecutorInfo>,
        tasks: Vec<v1::TaskInfo>,
        is_group: bool,
        launch_executor: bool,
    ) {
        let Some(framework_id) = framework.id.as_ref().map(|id| id.value.clone()) else { return };
        let Some(first) = tasks.first() else { return };
        let is_command = executor.is_none();
        let executor_id =
            executor.as_ref().map_or(&first.task_id.value, |e| &e.executor_id.value).clone();
        let group: Vec<String> = if is_group {
            tasks.iter().map(|t| t.task_id.value.clone()).collect()
        } else {
            Vec::new()
        };
        // What can't be run is refused before anything is made for it.
        let existing = self.executor(&framework_id, &executor_id);
        let refusal = if self.terminating.is_some() {
            Some((Reason::ExecutorTerminated, "The agent is shutting down".to_owned()))
        } else {
            match existing.map(|e| e.state) {
                Some(_) if is_command => {
                    Some((Reason::TaskInvalid, "The task's executor exists already".to_owned()))
                }
                Some(ExecutorState::Terminating) => {
                    Some((Reason::ExecutorTerminated, "Executor terminating".to_owned()))
                }
                Some(ExecutorState::Terminated) => {
                    Some((Reason::ExecutorTerminated, "Executor terminated".to_owned()))
                }
                None if !launch_executor => Some((
                    Reason::ExecutorTerminated,
                    "No executor is expected to launch and there is none running".to_owned(),
                )),
                _ => unsupported(&tasks, executor.as_ref()),
            }
        };
        if let Some((reason, message)) = refusal {
            for task in tasks {
                let executor_id = Some(executor_id.as_str().into());
                self.drop_task(cx, &framework, task.task_id, executor_id, reason, &message);
            }
            if launch_executor && !is_command {
                self.executor_exited(cx, &framework_id, &executor_id, -1);
            }
            return;
        }
        self.ensure_framework(cx, &framework_id, framework);
        if self.executor(&framework_id, &executor_id).is_none() {
            let (info, kind) = match executor {
                None => (command_executor(&framework_id, first), ExecutorKind::Command),
                Some(info) if info.r#type() == v1::executor_info::Type::Default => {
                    (info, ExecutorKind::Default)
                }
                Some(info) => (info, ExecutorKind::Custom),
            };
            self.make_executor(cx, &framework_id, info, kind, &tasks);
        }
        for info in tasks {
            self.add_task(cx, &framework_id, &executor_id, info, &group);
        }
        self.launch_queued(cx, &framework_id, &executor_id);
    }

    fn ensure_framework(&mut self, cx: &mut Cx<'_>, framework_id: &str, info: v1::FrameworkInfo) {
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.info = info;
            return;
        }
        let checkpoints = info.checkpoint();
        let framework = Framework {
            info: info.clone(),
            executors: BTreeMap::new(),
            completed_executors: VecDeque::new(),
            terminating: false,
        };
        self.state.frameworks.insert(framework_id.to_owned(), Arc::new(framework));
        if checkpoints {
            self.store(cx, Record::Framework(info), false, Waiting::Nothing);
        }
    }

    fn make_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        info: v1::ExecutorInfo,
        kind: ExecutorKind,
        tasks: &[v1::TaskInfo],
    ) {
        let Some(framework) = self.state.frameworks.get(framework_id).cloned() else { return };
        let container_id = self.rng.uuid();
        let executor_id = info.executor_id.value.clone();
        let agent_id = self.state.id.clone().unwrap_or_default();
        let base = format!(
            "{}/slaves/{agent_id}/frameworks/{framework_id}/executors/{executor_id}/runs",
            self.config.work_dir
        );
        let directory = format!("{base}/{container_id}");
        let executor = Executor {
            info: info.clone(),
            kind,
            container_id: container_id.clone(),
            directory: directory.clone(),
            // Pods have no process that would have to subscribe.
            state: if kind == ExecutorKind::Custom {
                ExecutorState::Registering
            } else {
                ExecutorState::Running
            },
            pid: None,
            stream: None,
            tasks: BTreeMap::new(),
            queue: Vec::new(),
            completed_tasks: VecDeque::new(),
            had_tasks: false,
            pending_end: None,
        };
        if framework.checkpoints() {
            let record = internal::ExecutorRecord {
                framework_id: framework_id.into(),
                info: info.clone(),
                container_id: container_id.clone(),
                kind: kind as i32,
                directory: directory.clone(),
            };
            self.store(cx, Record::Executor(record), false, Waiting::Nothing);
        }
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.executors.insert(executor_id.clone(), executor);
        }
        match kind {
            ExecutorKind::Command => {}
            ExecutorKind::Default => {
                cx.out.push(Effect::Link { path: format!("{base}/latest"), target: directory });
            }
            ExecutorKind::Custom => {
                let owner = Owner {
                    framework: framework_id.to_owned(),
                    executor: executor_id.clone(),
                    task: None,
                };
                self.containers.insert(container_id.clone(), owner);
                let command = info.command.clone().unwrap_or_default();
                let environment =
                    self.environment(&framework.info, &info, &directory, &command, None);
                let mut resources = info.resources.clone();
                resources.extend(tasks.iter().flat_map(|t| t.resources.clone()));
                cx.out.push(Effect::StartContainer {
                    spec: Box::new(ContainerSpec {
                        container_id: container_id.clone(),
                        latest_link: Some(format!("{base}/latest")),
                        directory,
                        user: self.user(&framework.info, &command),
                        command,
                        environment,
                        container: info.container.clone(),
                        resources,
                    }),
                });
                let timer = Timer::Registration(framework_id.to_owned(), executor_id, container_id);
                self.timers.set(timer, cx.now.mono + self.config.executor_registration_timeout);
            }
        }
    }

    fn add_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        info: v1::TaskInfo,
        group: &[String],
    ) {
        let Some(framework) = self.state.frameworks.get(framework_id) else { return };
        let checkpoints = framework.checkpoints();
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let container_id = match executor.kind {
            ExecutorKind::Command => Some(executor.container_id.clone()),
            ExecutorKind::Default => Some(self.rng.uuid()),
            ExecutorKind::Custom => None,
        };
        let mut task = Task::new(info.clone());
        task.container_id.clone_from(&container_id);
        task.group = group.to_vec();
        if checkpoints {
            let record = internal::TaskRecord {
                framework_id: framework_id.into(),
                executor_id: executor_id.into(),
                info: info.clone(),
                container_id,
                group: group.to_vec(),
            };
            self.store(cx, Record::Task(record), false, Waiting::Nothing);
        }
        let task_id = info.task_id.value;
        if let Some(executor) = self.executor_mut(framework_id, executor_id) {
            executor.had_tasks = true;
            executor.queue.push(task_id.clone());
            executor.tasks.insert(task_id, task);
        }
    }

    /// Starts what is queued: containers of command tasks and pods at once, tasks of a custom executor when it has
    /// subscribed.
    pub(crate) fn launch_queued(&mut self, cx: &mut Cx<'_>, framework_id: &str, executor_id: &str) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        if executor.state != ExecutorState::Running {
            return;
        }
        let queue = std::mem::take(&mut executor.queue);
        for task_id in &queue {
            if let Some(task) = executor.tasks.get_mut(task_id) {
                task.launched = true;
            }
        }
        if executor.kind == ExecutorKind::Custom {
            self.hand_over(cx, framework_id, executor_id, &queue);
        } else {
            for task_id in queue {
                self.start_task(cx, framework_id, executor_id, &task_id);
            }
        }
    }

    /// Starts the container of a command task or of a pod's task.
    fn start_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        task_id: &str,
    ) {
        let Some(framework) = self.state.frameworks.get(framework_id).cloned() else { return };
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let Some(task) = executor.tasks.get(task_id) else { return };
        let Some(container_id) = task.container_id.clone() else { return };
        let command = task.info.command.clone().unwrap_or_default();
        let owner = Owner {
            framework: framework_id.to_owned(),
            executor: executor_id.to_owned(),
            task: Some(task_id.to_owned()),
        };
        self.containers.insert(container_id.clone(), owner);
        let role =
            task.info.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.as_deref());
        let (directory, latest_link) = if executor.kind == ExecutorKind::Command {
            let runs = executor.directory.rsplit_once('/').map_or("", |(runs, _)| runs);
            (executor.directory.clone(), Some(format!("{runs}/latest")))
        } else {
            let directory = format!("{}/containers/{container_id}", executor.directory);
            let path = format!("{}/tasks/{task_id}", executor.directory);
            cx.out.push(Effect::Link { path, target: directory.clone() });
            (directory, None)
        };
        let environment =
            self.environment(&framework.info, &executor.info, &directory, &command, role);
        cx.out.push(Effect::StartContainer {
            spec: Box::new(ContainerSpec {
                container_id,
                directory,
                latest_link,
                user: self.user(&framework.info, &command),
                command,
                environment,
                container: task.info.container.clone(),
                resources: task.info.resources.clone(),
            }),
        });
    }

    fn user(&self, framework: &v1::FrameworkInfo, command: &v1::CommandInfo) -> Option<String> {
        let user = command.user.clone().unwrap_or_else(|| framework.user.clone());
        Some(user).filter(|user| self.config.switch_user && !user.is_empty())
    }

    /// Tells the framework that a task never ran: TASK_DROPPED, or TASK_LOST for one that is not partition-aware.
    pub(crate) fn drop_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &v1::FrameworkInfo,
        task_id: v1::TaskId,
        executor_id: Option<v1::ExecutorId>,
        reason: Reason,
        message: &str,
    ) {
        let aware = framework
            .capabilities
            .iter()
            .any(|c| c.r#type() == v1::framework_info::capability::Type::PartitionAware);
        let state = if aware { TaskState::TaskDropped } else { TaskState::TaskLost };
        let uuid = self.rng.uuid_bytes().to_vec();
        let status = v1::TaskStatus {
            agent_id: self.state.id.as_deref().map(Into::into),
            timestamp: Some(cx.now.wall.as_secs_f64()),
            uuid: Some(uuid.clone()),
            executor_id,
            ..agent_status(&task_id.value, state, reason, message)
        };
        let framework_id = framework.id.clone().unwrap_or_default().value;
        self.updates.push(&framework_id, status, true);
        self.on_update_stored(cx, &framework_id, &task_id.value, &uuid);
    }
}

/// A status that the agent makes itself.
pub(crate) fn agent_status(
    task_id: &str,
    state: TaskState,
    reason: Reason,
    message: &str,
) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: task_id.into(),
        state: state as i32,
        source: Some(Source::Agent as i32),
        reason: Some(reason as i32),
        message: Some(message.to_owned()),
        ..Default::default()
    }
}

/// What these tasks need that is not there.
fn unsupported(
    tasks: &[v1::TaskInfo],
    executor: Option<&v1::ExecutorInfo>,
) -> Option<(Reason, String)> {
    // Checks of a custom executor's tasks are that executor's business.
    let ours = executor.is_none_or(|e| e.r#type() == v1::executor_info::Type::Default);
    for task in tasks {
        let id = &task.task_id.value;
        if !task.limits.is_empty() {
            let message = format!(
                "Task '{id}': 'limits' need an isolator of cgroups, which is not supported yet"
            );
            return Some((Reason::GcError, message));
        }
        if ours && task.health_check.is_some() {
            return Some((
                Reason::TaskInvalid,
                format!("Task '{id}': 'health_check' is not supported yet"),
            ));
        }
        if ours && task.check.is_some() {
            return Some((
                Reason::TaskInvalid,
                format!("Task '{id}': 'check' is not supported yet"),
            ));
        }
    }
    None
}

/// The executor that the peer would generate for a command task (spec/agent.md 1.8).
fn command_executor(framework_id: &str, task: &v1::TaskInfo) -> v1::ExecutorInfo {
    let command = task.command.clone().unwrap_or_default();
    let shown = if command.shell() {
        match command.value.as_deref() {
            None => "NO COMMAND".to_owned(),
            Some(value) if value.chars().count() > 15 => {
                format!("sh -c '{}...'", value.chars().take(12).collect::<String>())
            }
            Some(value) => format!("sh -c '{value}'"),
        }
    } else {
        match command.value.as_deref() {
            None => "NO EXECUTABLE".to_owned(),
            Some(_) => format!("[{}]", command.arguments.join(", ")),
        }
    };
    let role = task.resources.iter().find_map(|r| r.allocation_info.clone());
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        allocation_info: role.clone(),
        ..Default::default()
    };
    let grace = task.kill_policy.as_ref().and_then(|k| k.grace_period);
    v1::ExecutorInfo {
        executor_id: task.task_id.value.as_str().into(),
        framework_id: Some(framework_id.into()),
        name: Some(format!("Command Executor (Task: {}) (Command: {shown})", task.task_id.value)),
        source: Some(task.task_id.value.clone()),
        command: Some(command),
        container: task.container.clone(),
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        shutdown_grace_period: grace
            .map(|g| v1::DurationInfo { nanoseconds: g.nanoseconds.saturating_add(2_000_000_000) }),
        ..Default::default()
    }
}
