//! Launching tasks and groups (spec/agent.md 1.8).

use crate::agent::{Agent, Cx, Owner, Timer};
use crate::allotment::Allotment;
use crate::contract::{ContainerSpec, Effect};
use crate::state::{ExecutorKind, ExecutorState};
use crate::updates::Keeping;
use std::time::Duration;
use wire::v1;
use wire::v1::TaskState;
use wire::v1::task_status::{Reason, Source};

impl Agent {
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
                pod: self.pod(&framework.info, executor),
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
