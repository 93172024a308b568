//! What becomes of containers: started, exited.

use crate::agent::{Agent, Cx, Exit, Owner, Timer};
use crate::contract::{Effect, Limitation, StartError};
use crate::launch::{agent_status, is_docker};
use crate::recovery::UNKNOWN_CONTAINER;
use crate::state::{ExecutorKind, ExecutorState};
use crate::{environment, status};
use std::time::Duration;
use wire::v1;
use wire::v1::TaskState;
use wire::v1::task_status::{Reason, Source};

impl Agent {
    pub(crate) fn on_container_started(
        &mut self,
        cx: &mut Cx<'_>,
        container_id: &str,
        result: Result<u32, StartError>,
    ) {
        if self.on_check_started(cx, container_id, &result)
            || self.on_launched_started(cx, container_id, &result)
        {
            return;
        }
        let Some(owner) = self.containers.get_mut(container_id) else {
            // Of something that is gone: nothing of it may stay.
            let container_id = container_id.to_owned();
            cx.out.push(match result {
                Ok(_) => Effect::DestroyContainer { container_id },
                Err(_) => Effect::ForgetContainer { container_id },
            });
            return;
        };
        if std::mem::replace(&mut owner.started, true) {
            return;
        }
        let owner = owner.clone();
        let (framework, executor) = (owner.framework.as_str(), owner.executor.as_str());
        match (&owner.task, result) {
            (Some(task), Ok(pid)) => {
                self.cancel_registration(framework, executor, container_id);
                self.on_task_started(cx, framework, executor, task, pid);
            }
            (Some(task), Err(error)) => {
                self.containers.remove(container_id);
                let status = self.not_started(framework, executor, task, &error);
                self.cancel_registration(framework, executor, container_id);
                if status.state() != TaskState::TaskKilled {
                    self.count("slave/container_launch_errors");
                }
                self.update(cx, framework, status);
                self.after_task_end(cx, framework, executor, task);
            }
            (None, Ok(pid)) => self.on_executor_started(cx, framework, executor, pid),
            (None, Err(error)) => {
                self.count("slave/container_launch_errors");
                let known = self.executor(framework, executor);
                let open =
                    known.into_iter().flat_map(|e| &e.tasks).filter(|(_, t)| !t.is_terminal());
                let open: Vec<String> = open.map(|(id, _)| id.clone()).collect();
                for task in open {
                    let status = self.not_started(framework, executor, &task, &error);
                    self.update(cx, framework, status);
                }
                self.on_executor_ended(cx, framework, executor, -1);
            }
        }
        if let Some(exit) = owner.exited {
            self.on_container_exited(cx, container_id, exit);
        }
    }

    /// The start of a command task's container was answered: there is no limit on its time any more.
    fn cancel_registration(&mut self, framework: &str, executor: &str, container_id: &str) {
        self.timers.cancel(&Timer::Registration(
            framework.to_owned(),
            executor.to_owned(),
            container_id.to_owned(),
        ));
        let known = self.executor_mut(framework, executor);
        if let Some(known) = known.filter(|e| e.kind == ExecutorKind::Command) {
            known.pending_end = None;
        }
    }

    /// Status of a task whose container, or executor's container, was not started (spec/agent.md 1.6).
    fn not_started(
        &self,
        framework: &str,
        executor: &str,
        id: &str,
        error: &StartError,
    ) -> v1::TaskStatus {
        let known = self.executor(framework, executor);
        let killed = known.and_then(|e| e.tasks.get(id)).filter(|task| task.killed);
        if let Some(task) = killed.filter(|_| *error != StartError::MayHaveRun) {
            let message = "The task was killed while its container was being started";
            let (state, reason) = (TaskState::TaskKilled, Reason::TaskKilledDuringLaunch);
            return match &task.preempted {
                Some(message) => self.preempted_status(framework, id, message),
                None => agent_status(id, state, reason, message),
            };
        }
        match error {
            StartError::Launch(text) => {
                let late = known.and_then(|e| e.pending_end.as_ref()).map(|(_, message)| message);
                let late = late.map(|message| format!("{message}; ")).unwrap_or_default();
                let message = format!("{late}Failed to launch container: {text}");
                let reason = Reason::ContainerLaunchFailed;
                agent_status(id, TaskState::TaskFailed, reason, &message)
            }
            StartError::MayHaveRun => {
                let (state, reason) = (TaskState::TaskFailed, Reason::ExecutorTerminated);
                agent_status(id, state, reason, UNKNOWN_CONTAINER)
            }
            StartError::Sandbox(text) => {
                let known = self.state.frameworks.get(framework);
                let state = known.map_or(TaskState::TaskLost, |f| f.lost(TaskState::TaskDropped));
                let message = format!("Failed to create the sandbox: {text}");
                agent_status(id, state, Reason::ExecutorTerminated, &message)
            }
        }
    }

    fn on_executor_started(&mut self, cx: &mut Cx<'_>, framework: &str, executor: &str, pid: u32) {
        let Some(executor) = self.executor_mut(framework, executor) else { return };
        executor.pid = Some(pid);
        // Its end was asked for when there was nothing to end yet.
        if executor.state == ExecutorState::Terminating {
            let container_id = executor.container_id.clone();
            cx.out.push(Effect::DestroyContainer { container_id });
        }
    }

    pub(crate) fn on_task_started(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
        id: &str,
        pid: u32,
    ) {
        let Some(executor) = self.executor_mut(framework, executor_id) else { return };
        if executor.kind == ExecutorKind::Command {
            executor.pid = Some(pid);
        }
        let sandbox = (executor.kind == ExecutorKind::Default).then(|| executor.directory.clone());
        let Some(task) = executor.tasks.get_mut(id) else { return };
        task.pid = Some(pid);
        if let (Some(sandbox), Some(container_id)) = (sandbox, &task.container_id) {
            let target = format!("{sandbox}/containers/{container_id}");
            let path = format!("tasks/{id}");
            cx.out.push(Effect::Link { directory: sandbox, path, target });
        }
        let longest = task.info.max_completion_time.as_ref().map(environment::from_wire);
        let container_id = task.container_id.clone();
        self.update(cx, framework, executor_status(id, TaskState::TaskStarting, None));
        let mut running = executor_status(id, TaskState::TaskRunning, None);
        running.data = self.take_description(container_id.as_deref());
        self.update(cx, framework, running);
        if let Some(longest) = longest {
            self.set_completion(cx, framework, executor_id, id, longest);
        }
        self.begin_checks(cx, framework, executor_id, id, false);
        // Its end was asked for while it was being started.
        if self.task(framework, executor_id, id).is_some_and(|t| t.killed) {
            self.begin_kill(cx, framework, executor_id, id);
        }
    }

    pub(crate) fn set_completion(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
        longest: Duration,
    ) {
        let timer = Timer::Completion(framework.to_owned(), executor.to_owned(), id.to_owned());
        self.timers.set(timer, cx.now.mono + longest);
    }

    pub(crate) fn on_overdue(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
    ) {
        let Some(task) = self.task_mut(framework, executor, id) else { return };
        // One that is being killed already ends as killed.
        if task.is_terminal() || task.killed {
            return;
        }
        task.overdue = true;
        if let Some(container_id) = task.container_id.clone() {
            cx.out.push(Effect::DestroyContainer { container_id });
        }
        self.stop_checks(cx, framework, executor, id);
    }

    pub(crate) fn on_container_exited(&mut self, cx: &mut Cx<'_>, container_id: &str, exit: Exit) {
        if self.on_check_exited(cx, container_id, exit.status)
            || self.on_launched_exited(cx, container_id, &exit)
        {
            self.forget_appearance(container_id);
            return;
        }
        if let Some(owner) = self.containers.get_mut(container_id).filter(|o| !o.started) {
            // The answer to its start is still on its way, and comes first.
            owner.exited = Some(exit);
            return;
        }
        match self.containers.remove(container_id) {
            Some(Owner { framework, executor, task: Some(task), .. }) => {
                self.on_task_exited(cx, &framework, &executor, &task, exit);
            }
            Some(Owner { framework, executor, .. }) => {
                self.on_executor_exited(cx, &framework, &executor, exit);
            }
            None => cx.out.push(Effect::ForgetContainer { container_id: container_id.to_owned() }),
        }
        self.forget_appearance(container_id);
    }

    pub(crate) fn on_task_exited(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
        exit: Exit,
    ) {
        let Some(task) = self.task(framework, executor, id) else { return };
        if task.is_terminal() {
            return;
        }
        let what = if is_docker(task.info.container.as_ref()) { "Container" } else { "Command" };
        let limitation = exit.limitation.filter(|_| !task.killed);
        let mut update = match (limitation, exit.status) {
            (Some(limitation), _) => limited(id, &limitation),
            (None, Some(exit)) => {
                let (state, message) = status::of_exit(what, exit, task.killed);
                executor_status(id, state, Some(message))
            }
            (None, None) => {
                let state = if task.killed { TaskState::TaskKilled } else { TaskState::TaskFailed };
                agent_status(id, state, Reason::ExecutorTerminated, "Executor terminated")
            }
        };
        if task.overdue {
            update.state = TaskState::TaskFailed as i32;
            update.reason = Some(Reason::MaxCompletionTimeReached as i32);
        } else if let Some(message) = task.preempted.clone() {
            update = self.preempted_status(framework, id, &message);
        }
        if self.executor(framework, executor).is_some_and(|e| e.unhealthy) {
            update.healthy = Some(false);
        }
        self.stop_checks(cx, framework, executor, id);
        for timer in [Timer::Escalate, Timer::Completion] {
            self.timers.cancel(&timer(framework.to_owned(), executor.to_owned(), id.to_owned()));
        }
        self.update(cx, framework, update);
        self.after_task_end(cx, framework, executor, id);
    }

    /// The container of an executor has ended.
    pub(crate) fn on_executor_exited(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
        exit: Exit,
    ) {
        if let Some(limitation) = exit.limitation
            && let Some(executor) = self.executor_mut(framework, executor_id)
            && executor.pending_end.is_none()
        {
            let Limitation { reason, message, resources } = *limitation;
            executor.pending_end = Some((reason, message));
            executor.limitation = Some(v1::TaskResourceLimitation { resources });
        }
        self.on_executor_ended(cx, framework, executor_id, exit.status.unwrap_or(-1));
    }

    /// A command task or a pod's task has ended: its group, and the executor if nothing is left for it.
    pub(crate) fn after_task_end(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
        id: &str,
    ) {
        let Some(executor) = self.executor(framework, executor_id) else { return };
        match executor.kind {
            ExecutorKind::Command => {
                if let Some(executor) = self.executor_mut(framework, executor_id) {
                    executor.state = ExecutorState::Terminated;
                }
                self.count("slave/executors_terminated");
            }
            ExecutorKind::Default => {
                let Some(task) = executor.tasks.get(id) else { return };
                let ends_group =
                    matches!(task.state, TaskState::TaskFailed | TaskState::TaskKilled);
                let others = task.group.iter().filter(|other| ends_group && *other != id).cloned();
                let others: Vec<String> = others
                    .filter(|o| {
                        executor.tasks.get(o).is_some_and(|t| !t.is_terminal() && !t.killed)
                    })
                    .collect();
                for other in others {
                    self.kill_one(cx, framework, executor_id, &other, None);
                }
                self.preempt_mates(cx, framework, executor_id, id);
                self.end_idle_pod(cx, framework, executor_id);
            }
            ExecutorKind::Custom => {}
        }
        self.clean_up(cx, framework, executor_id);
    }

    /// A pod's executor is there as long as a task of it runs.
    pub(crate) fn end_idle_pod(&mut self, cx: &mut Cx<'_>, framework: &str, executor_id: &str) {
        let known = self.executor(framework, executor_id);
        if known.is_some_and(|e| e.tasks.values().all(|task| task.is_terminal())) {
            let root = self.executor(framework, executor_id).map(|e| e.container_id.clone());
            root.iter().for_each(|root| self.end_launched(cx, root));
            self.on_executor_ended(cx, framework, executor_id, 0);
        }
    }

    /// An executor that holds resources of its own is gone: its tasks end, and the master is told.
    pub(crate) fn on_executor_ended(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
        exit: i32,
    ) {
        let Some(executor) = self.executor_mut(framework, executor_id) else { return };
        if executor.state == ExecutorState::Terminated {
            return;
        }
        executor.state = ExecutorState::Terminated;
        executor.queue.clear();
        let stream = executor.stream.take();
        let container_id = executor.container_id.clone();
        let is_pod = executor.kind == ExecutorKind::Default;
        let pending = executor.pending_end.clone();
        let limitation = executor.limitation.clone();
        let open: Vec<String> = executor
            .tasks
            .values()
            .filter(|t| !t.is_terminal())
            .map(|t| t.info.task_id.value.clone())
            .collect();
        let (reason, message) =
            pending.unwrap_or((Reason::ExecutorTerminated, "Executor terminated".to_owned()));
        let lost =
            matches!(reason, Reason::ExecutorReregistrationTimeout | Reason::ContainerPreempted);
        if let Some(stream) = stream {
            cx.out.push(Effect::CloseStream { stream });
        }
        self.containers.remove(&container_id);
        if is_pod {
            cx.out.push(Effect::DestroyContainer { container_id: container_id.clone() });
        }
        for timer in [Timer::Registration, Timer::Reregistration, Timer::Shutdown] {
            self.timers.cancel(&timer(
                framework.to_owned(),
                executor_id.to_owned(),
                container_id.clone(),
            ));
        }
        self.timers.cancel(&Timer::Heartbeat(framework.to_owned(), executor_id.to_owned()));
        self.count("slave/executors_terminated");
        for task in open {
            let state = match self.state.frameworks.get(framework) {
                Some(known) if lost => known.lost(TaskState::TaskGone),
                _ => TaskState::TaskFailed,
            };
            let status = agent_status(&task, state, reason, &message);
            let limitation = limitation.clone();
            self.update(cx, framework, v1::TaskStatus { limitation, ..status });
        }
        self.executor_exited(cx, framework, executor_id, exit);
        self.clean_up(cx, framework, executor_id);
    }
}

/// Status of a task whose container was ended for what it used.
fn limited(task_id: &str, limitation: &Limitation) -> v1::TaskStatus {
    let Limitation { reason, message, resources } = limitation;
    let limitation = Some(v1::TaskResourceLimitation { resources: resources.clone() });
    let status = agent_status(task_id, TaskState::TaskFailed, *reason, message);
    v1::TaskStatus { limitation, ..status }
}

/// A status as an executor makes it.
pub(crate) fn executor_status(
    task_id: &str,
    state: TaskState,
    message: Option<String>,
) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: task_id.into(),
        state: state as i32,
        source: Some(Source::Executor as i32),
        message,
        ..Default::default()
    }
}
