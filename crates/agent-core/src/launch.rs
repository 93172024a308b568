//! Launching tasks and groups (spec/agent.md 1.8).

use crate::agent::{Agent, Cx, Owner, Timer, Waiting};
use crate::allotment::Allotment;
use crate::contract::{ContainerSpec, Effect};
use crate::refusal::{Refusal, is_pod_executor};
use crate::state::{Executor, ExecutorKind, ExecutorState, Framework, Task};
use crate::updates::Keeping;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
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
        if self.state.frameworks.get(&framework_id).is_some_and(|f| f.terminating) {
            return;
        }
        let executor_id =
            executor.as_ref().map_or(&first.task_id.value, |e| &e.executor_id.value).clone();
        let group: Vec<String> = if is_group {
            tasks.iter().map(|t| t.task_id.value.clone()).collect()
        } else {
            Vec::new()
        };
        let ids: BTreeSet<&str> = tasks.iter().map(|t| t.task_id.value.as_str()).collect();
        let is_here =
            |t: &v1::TaskInfo| self.executor_of(&framework_id, &t.task_id.value).is_some();
        let refusal = if tasks.iter().all(is_here) {
            // The message came twice: their own updates say what becomes of them.
            return;
        } else if ids.len() < tasks.len() || tasks.iter().any(is_here) {
            Some(Refusal::drop(Reason::TaskInvalid, "A task id of the group is in use"))
        } else {
            self.refusal(&framework_id, &executor_id, executor.as_ref(), &tasks, launch_executor)
        };
        if let Some(refusal) = refusal {
            let tasks = tasks.into_iter().filter(|t| !is_here(t)).collect::<Vec<_>>();
            let expected = launch_executor && executor.is_some();
            self.refuse(cx, &framework, &executor_id, tasks, &refusal, expected);
            return;
        }
        self.ensure_framework(cx, &framework_id, framework);
        if self.executor(&framework_id, &executor_id).is_none() {
            let (info, kind) = match executor {
                None => (command_executor(&framework_id, first), ExecutorKind::Command),
                Some(info) if is_pod_executor(&info) => (info, ExecutorKind::Default),
                Some(info) => (info, ExecutorKind::Custom),
            };
            self.make_executor(cx, &framework_id, info, kind);
        }
        let tasks: Vec<String> = tasks
            .into_iter()
            .map(|info| self.add_task(&framework_id, &executor_id, info, &group))
            .collect();
        self.record_launch(cx, &framework_id, &executor_id, tasks);
    }

    fn ensure_framework(&mut self, cx: &mut Cx<'_>, framework_id: &str, info: v1::FrameworkInfo) {
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.info = info;
            return;
        }
        // One that comes back brings its history along.
        let former = &mut self.state.completed_frameworks;
        let known = former
            .iter()
            .position(|f| f.info.id.as_ref().is_some_and(|id| id.value == framework_id));
        let former = known.and_then(|at| former.remove(at));
        let framework = Framework {
            info: info.clone(),
            executors: BTreeMap::new(),
            completed_executors: former.map(|f| f.completed_executors.clone()).unwrap_or_default(),
            terminating: false,
        };
        self.state.frameworks.insert(framework_id.to_owned(), Arc::new(framework));
        self.retain_directory(&self.framework_directory(framework_id));
        if self.keeps(framework_id) {
            self.store(cx, Record::Framework(info), false, Waiting::Nothing);
        }
    }

    pub(crate) fn framework_directory(&self, framework_id: &str) -> String {
        let agent = self.agent_directory(self.state.id.as_deref().unwrap_or_default());
        format!("{agent}/frameworks/{framework_id}")
    }

    pub(crate) fn executor_directory(&self, framework_id: &str, executor_id: &str) -> String {
        format!("{}/executors/{executor_id}", self.framework_directory(framework_id))
    }

    fn make_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        info: v1::ExecutorInfo,
        kind: ExecutorKind,
    ) {
        let container_id = self.rng.uuid();
        let executor_id = info.executor_id.value.clone();
        let base = self.executor_directory(framework_id, &executor_id);
        let directory = format!("{base}/runs/{container_id}");
        self.retain_directory(&base);
        let executor = Executor::new(info, kind, container_id, directory);
        if self.keeps(framework_id) {
            let record = internal::ExecutorRecord {
                framework_id: framework_id.into(),
                info: executor.info.clone(),
                container_id: executor.container_id.clone(),
                kind: kind as i32,
                directory: executor.directory.clone(),
            };
            self.store(cx, Record::Executor(record), false, Waiting::Nothing);
        }
        if kind == ExecutorKind::Default {
            let (directory, path) = (base.clone(), "runs/latest".to_owned());
            let target = executor.directory.clone();
            cx.out.push(Effect::Link { directory, path, target });
        }
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.executors.insert(executor_id, executor);
        }
    }

    fn add_task(
        &mut self,
        framework_id: &str,
        executor_id: &str,
        info: v1::TaskInfo,
        group: &[String],
    ) -> String {
        let id = info.task_id.value.clone();
        // An earlier task of this id was refused; the master has heard of it, or it would not use the id again.
        self.updates.close(framework_id, &id);
        self.timers.cancel(&Timer::Retry(framework_id.to_owned(), id.clone()));
        let mut task = Task::new(info);
        task.group = group.to_vec();
        let own = self.rng.uuid();
        if let Some(executor) = self.executor_mut(framework_id, executor_id) {
            task.container_id = match executor.kind {
                ExecutorKind::Command => Some(executor.container_id.clone()),
                ExecutorKind::Default => Some(own),
                ExecutorKind::Custom => None,
            };
            executor.queue.push(id.clone());
            executor.tasks.insert(id.clone(), Box::new(task));
        }
        id
    }

    /// Stores new tasks; they are started when the store has them, so that a container is never without a record.
    fn record_launch(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        tasks: Vec<String>,
    ) {
        if !self.keeps(framework_id) {
            self.on_launch_recorded(cx, framework_id, executor_id, &tasks);
            return;
        }
        let records: Vec<internal::TaskRecord> = tasks
            .iter()
            .filter_map(|id| self.task(framework_id, executor_id, id))
            .map(|task| internal::TaskRecord {
                framework_id: framework_id.into(),
                executor_id: executor_id.into(),
                info: task.info.clone(),
                container_id: task.container_id.clone(),
                group: task.group.clone(),
            })
            .collect();
        let last = records.len().saturating_sub(1);
        let mut tasks = Some(tasks);
        for (at, record) in records.into_iter().enumerate() {
            // Records are kept in order: when the last one is there, all are.
            let waiting = match tasks.take_if(|_| at == last) {
                Some(tasks) => Waiting::Launch {
                    framework: framework_id.to_owned(),
                    executor: executor_id.to_owned(),
                    tasks,
                },
                None => Waiting::Nothing,
            };
            self.store(cx, Record::Task(record), false, waiting);
        }
    }

    /// The store has these tasks: they may be started.
    pub(crate) fn on_launch_recorded(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        tasks: &[String],
    ) {
        for id in tasks {
            if let Some(task) = self.task_mut(framework_id, executor_id, id) {
                task.recorded = true;
            }
        }
        let known = self.executor(framework_id, executor_id);
        if known.is_some_and(|e| e.state == ExecutorState::Registering && !e.started) {
            self.start_executor(cx, framework_id, executor_id);
        }
        self.launch_queued(cx, framework_id, executor_id);
    }

    pub(crate) fn start_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
    ) {
        let Some(framework) = self.framework_mut(framework_id) else { return };
        let framework_info = framework.info.clone();
        let Some(executor) = framework.executors.get_mut(executor_id) else { return };
        executor.started = true;
        let executor = executor.clone();
        let owner = Owner {
            framework: framework_id.to_owned(),
            executor: executor_id.to_owned(),
            task: None,
            started: false,
            exited: None,
        };
        self.containers.insert(executor.container_id.clone(), owner);
        let command = executor.info.command.clone().unwrap_or_default();
        let environment =
            self.environment(&framework_info, &executor.info, &executor.directory, &command);
        let Allotment { resources, limits } =
            Allotment::of_executor(&executor, self.config.limitable);
        let base = self.executor_directory(framework_id, executor_id);
        let volumes = self.mounted(&executor.info.resources);
        let (recovery_timeout, shutdown_grace_period) =
            self.absence(&framework_info, &executor.info);
        cx.out.push(Effect::StartContainer {
            spec: Box::new(ContainerSpec {
                container_id: executor.container_id.clone(),
                parent: None,
                pod: None,
                directory: executor.directory,
                working_directory: None,
                output: None,
                streams: None,
                latest_link: Some(format!("{base}/runs/latest")),
                user: self.user(&framework_info, &command),
                command,
                environment,
                container: executor
                    .info
                    .container
                    .or_else(|| self.config.default_container_info.clone()),
                resources,
                limits,
                volumes,
                recovery_timeout,
                shutdown_grace_period,
                unless_sandbox: executor.was_found_missing,
            }),
        });
        let timer = Timer::Registration(
            framework_id.to_owned(),
            executor_id.to_owned(),
            executor.container_id,
        );
        self.timers.set(timer, cx.now.mono + self.config.executor_registration_timeout);
    }

    /// Starts what is queued: containers of command tasks and pods at once, tasks of a custom executor when it has
    /// subscribed.
    pub(crate) fn launch_queued(&mut self, cx: &mut Cx<'_>, framework_id: &str, executor_id: &str) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        let is_custom = executor.kind == ExecutorKind::Custom;
        if executor.state != ExecutorState::Running || is_custom && executor.stream.is_none() {
            return;
        }
        let tasks = &mut executor.tasks;
        let waits = executor.queue.iter().position(|id| tasks.get(id).is_none_or(|t| !t.recorded));
        let rest = executor.queue.split_off(waits.unwrap_or(executor.queue.len()));
        let queue = std::mem::replace(&mut executor.queue, rest);
        for id in &queue {
            if let Some(task) = tasks.get_mut(id) {
                task.launched = true;
                executor.had_tasks = true;
            }
        }
        if is_custom {
            self.update_container(cx, framework_id, executor_id);
            self.show_volumes(cx, framework_id, executor_id, &queue);
            self.hand_over(cx, framework_id, executor_id, &queue);
        } else {
            self.update_container(cx, framework_id, executor_id);
            for id in queue {
                self.start_task(cx, framework_id, executor_id, &id);
            }
        }
    }

    /// Starts the container of a command task or of a pod's task.
    pub(crate) fn start_task(
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
        if task.killed {
            // Another of its group ended before this one could be started.
            let reason = Reason::TaskKilledDuringLaunch;
            let message = if task.group.is_empty() {
                "The task was killed before it was started"
            } else {
                "Another task of the group ended before this one was started"
            };
            let status = match &task.preempted {
                Some(message) => self.preempted_status(framework_id, task_id, message),
                None => agent_status(task_id, TaskState::TaskKilled, reason, message),
            };
            self.update(cx, framework_id, status);
            self.after_task_end(cx, framework_id, executor_id, task_id);
            return;
        }
        let command = task.info.command.clone().unwrap_or_default();
        let container = task.info.container.as_ref();
        let image = container.and_then(|c| c.mesos.as_ref()).and_then(|mesos| mesos.image.as_ref());
        // An image may say what to run.
        let has_image = image.is_some() || is_docker(container);
        if command.value.as_deref().unwrap_or_default().is_empty() && !has_image {
            // The peer's executor dies of such a command before it says anything.
            let (state, reason) = (TaskState::TaskFailed, Reason::ExecutorTerminated);
            let message =
                "Executor terminated: 'command.value' is not set, so there is nothing to run";
            self.update(cx, framework_id, agent_status(task_id, state, reason, message));
            self.after_task_end(cx, framework_id, executor_id, task_id);
            return;
        }
        let owner = Owner {
            framework: framework_id.to_owned(),
            executor: executor_id.to_owned(),
            task: Some(task_id.to_owned()),
            started: false,
            exited: None,
        };
        self.containers.insert(container_id.clone(), owner);
        let Allotment { resources, limits } = Allotment::of_task(&task.info);
        let Some((directory, environment)) = self.task_surroundings(&framework, executor, task)
        else {
            return;
        };
        // What is a default for executors is not one for what runs inside them.
        let default = self.config.default_container_info.as_ref();
        let default = default.filter(|_| executor.kind == ExecutorKind::Command);
        let base = self.executor_directory(framework_id, executor_id);
        let latest_link =
            (executor.kind == ExecutorKind::Command).then(|| format!("{base}/runs/latest"));
        let (recovery_timeout, shutdown_grace_period) =
            self.absence(&framework.info, &executor.info);
        if executor.kind == ExecutorKind::Command {
            let timer = Timer::Registration(
                framework_id.to_owned(),
                executor_id.to_owned(),
                container_id.clone(),
            );
            self.timers.set(timer, cx.now.mono + self.config.executor_registration_timeout);
        }
        cx.out.push(Effect::StartContainer {
            spec: Box::new(ContainerSpec {
                container_id,
                parent: None,
                pod: self.pod(executor),
                directory,
                working_directory: None,
                output: None,
                streams: None,
                latest_link,
                user: self.user(&framework.info, &command),
                command,
                environment,
                container: task.info.container.as_ref().or(default).cloned(),
                resources,
                limits,
                volumes: self.mounted(&task.info.resources),
                recovery_timeout,
                shutdown_grace_period,
                unless_sandbox: task.was_found_missing,
            }),
        });
    }

    /// How long a container waits for an agent that is gone, and then takes to end (spec/agent.md 1.11).
    fn absence(
        &self,
        framework: &v1::FrameworkInfo,
        executor: &v1::ExecutorInfo,
    ) -> (Duration, Duration) {
        if self.config.local {
            return (Duration::ZERO, Duration::ZERO);
        }
        let recovery =
            if framework.checkpoint() { self.config.recovery_timeout } else { Duration::ZERO };
        (recovery, self.shutdown_grace_period(executor))
    }

    pub(crate) fn user(
        &self,
        framework: &v1::FrameworkInfo,
        command: &v1::CommandInfo,
    ) -> Option<String> {
        let user = command.user.clone().unwrap_or_else(|| framework.user.clone());
        Some(user).filter(|user| self.config.switch_user && !user.is_empty())
    }

    /// Sends a status of a task that is not here: it is kept only until it is acknowledged.
    pub(crate) fn report(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &v1::FrameworkInfo,
        status: v1::TaskStatus,
    ) {
        let uuid = status.uuid.clone().unwrap_or_else(|| self.rng.uuid_bytes().to_vec());
        let status = v1::TaskStatus {
            agent_id: self.state.id.as_deref().map(Into::into),
            timestamp: Some(cx.now.wall.as_secs_f64()),
            uuid: Some(uuid.clone()),
            ..status
        };
        let framework_id = framework.id.clone().unwrap_or_default().value;
        let task_id = status.task_id.value.clone();
        self.count_end(status.state());
        self.updates.push(&framework_id, status, Keeping::Never);
        self.on_update_stored(cx, &framework_id, &task_id, &uuid);
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

/// Whether a container is one of Docker's.
pub(crate) fn is_docker(container: Option<&v1::ContainerInfo>) -> bool {
    let docker = v1::container_info::Type::Docker;
    container.is_some_and(|container| container.r#type() == docker)
}

/// Role to which a task's resources are allocated.
pub(crate) fn role_of(task: &v1::TaskInfo) -> Option<&str> {
    task.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.as_deref())
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
