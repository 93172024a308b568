//! Tasks: status updates from agents, statuses of the master's own, the end of a task (spec/master.md 1.7).

use crate::acknowledged::Status;
use crate::frameworks::event;
use crate::master::{Cx, Master};
use crate::state::{Executor, Task, is_terminal};
use allocator::{AgentId, FrameworkId};
use resources::Resources;
use std::sync::Arc;
use wire::v1::TaskState;
use wire::v1::scheduler::{Event, event};
use wire::v1::task_status::{Reason, Source};
use wire::{internal, v1};

impl Master {
    /// Tells a framework about a task that does not become one: TASK_ERROR and its kin. Nothing is kept of it.
    pub(crate) fn tell(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        task: &v1::TaskInfo,
        state: TaskState,
        reason: Reason,
        message: String,
    ) {
        let status = v1::TaskStatus {
            task_id: task.task_id.clone(),
            agent_id: Some(task.agent_id.clone()),
            executor_id: task.executor.as_ref().map(|e| e.executor_id.clone()),
            ..master_status(cx, state, reason, message)
        };
        self.count_end(key, state, &status);
        self.send_status(cx, key, status);
    }

    pub(crate) fn send_status(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        status: v1::TaskStatus,
    ) {
        let update = Some(event::Update { status });
        self.send_event(cx, key, Event { update, ..event(event::Type::Update) });
    }

    pub(crate) fn count_end(
        &mut self,
        key: FrameworkId,
        state: TaskState,
        status: &v1::TaskStatus,
    ) {
        let name = state.as_str_name().to_lowercase();
        if !is_terminal(state) {
            return;
        }
        self.count_of(key, &format!("tasks/terminal/{name}"));
        self.count(&format!("master/{}", name.replacen("task_", "tasks_", 1)));
        let old_name = |name: &str| name.to_lowercase().replace("agent", "slave");
        let source = old_name(status.source().as_str_name());
        let reason = status
            .reason
            .map_or("reason_unknown".to_owned(), |_| old_name(status.reason().as_str_name()));
        self.count(&format!("master/{name}/{source}/{reason}"));
    }

    pub(crate) fn on_status_update(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        update: internal::StatusUpdate,
    ) {
        let Some(key) = self.framework_keys.get(&update.framework_id.value).copied() else {
            self.count("master/invalid_status_updates");
            return;
        };
        self.count("master/valid_status_updates");
        let status = update.status;
        let latest =
            update.latest_state.and_then(|s| TaskState::try_from(s).ok()).unwrap_or(status.state());
        self.record_status(cx, key, agent, &status, latest);
        let told = Status::new(key, &status.task_id.value, status.uuid());
        let told = self.agent(agent).zip(told);
        let is_known = told.is_some_and(|(agent, told)| self.acknowledged.has(&agent.id, &told));
        if is_known {
            self.settle(cx, key, agent, status.task_id, status.uuid.unwrap_or_default());
            return;
        }
        self.send_status(cx, key, status);
    }

    /// Keeps a status in the task, and frees its resources at the first end.
    fn record_status(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        agent: AgentId,
        status: &v1::TaskStatus,
        latest: TaskState,
    ) {
        let id = &status.task_id.value;
        let Some(framework) = self.framework_mut(key) else { return };
        let Some(task) =
            framework.tasks.get_mut(id).filter(|t| t.agent == agent).map(Arc::make_mut)
        else {
            return;
        };
        let held = task.holds_resources();
        if !is_terminal(task.wire.state()) {
            task.wire.state = latest as i32;
        }
        let launched = match status.state() {
            TaskState::TaskStaging | TaskState::TaskStarting => None,
            TaskState::TaskRunning => task.launched.take(),
            _ => task.launched.take().and(None),
        };
        let is_new = task.wire.statuses.last().is_none_or(|last| last.state != status.state);
        keep_status(&mut task.wire, status);
        task.wire.status_update_state = Some(status.state);
        task.wire.status_update_uuid.clone_from(&status.uuid);
        let freed = (held && !task.holds_resources()).then(|| task.resources.clone());
        let ended = task.wire.state();
        if let Some(at) = launched {
            self.state.latencies.task_launch.record(cx.now.mono.since(at));
        }
        self.announce_status(cx, key, status, is_new, ended);
        if let Some(freed) = freed {
            self.count_end(key, ended, status);
            self.free(cx, key, agent, &freed);
        }
    }

    /// The end of a task was acknowledged: it moves to the completed ones.
    pub(crate) fn complete_task(&mut self, key: FrameworkId, id: &str) {
        let keep = self.config.max_completed_tasks_per_framework;
        let Some(framework) = self.framework_mut(key) else { return };
        let Some(task) = framework.tasks.remove(id) else { return };
        let agent = task.agent;
        push_bounded(&mut framework.completed_tasks, task, keep);
        self.take_off(agent, key, id);
    }

    /// A task is no longer its agent's.
    pub(crate) fn take_off(&mut self, agent: AgentId, key: FrameworkId, id: &str) {
        if let Some(agent) = self.agent_mut(agent) {
            let task = (key, id.to_owned());
            agent.tasks.remove(&task);
            agent.killed.remove(&task);
            agent.killed_by_operator.remove(&task);
        }
        self.note_end_on(agent);
    }

    /// Ends a task by the master's own word and takes it off its agent: it is lost, unreachable, or gone.
    pub(crate) fn lose_task(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        id: &str,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) {
        let (keep_completed, keep_unreachable) = (
            self.config.max_completed_tasks_per_framework,
            self.config.max_unreachable_tasks_per_framework,
        );
        let unreachable_time = matches!(message, "health check timed out")
            || message.starts_with("agent did not reregister");
        let Some(framework) = self.framework_mut(key) else { return };
        let Some(mut task) = framework.tasks.remove(id) else { return };
        let agent = task.agent;
        let was_over = is_terminal(task.wire.state());
        let freed = task.holds_resources().then(|| task.resources.clone());
        let mut status = v1::TaskStatus {
            task_id: id.into(),
            agent_id: Some(task.wire.agent_id.clone()),
            executor_id: task.wire.executor_id.clone(),
            ..master_status(cx, state, reason, message.to_owned())
        };
        if unreachable_time {
            status.unreachable_time =
                Some(v1::TimeInfo { nanoseconds: cx.now.wall.0.cast_signed() });
        }
        if !was_over {
            let task = Arc::make_mut(&mut task);
            task.wire.state = state as i32;
            keep_status(&mut task.wire, &status);
        }
        if unreachable_time && !was_over {
            push_bounded(&mut framework.unreachable_tasks, task, keep_unreachable);
        } else {
            push_bounded(&mut framework.completed_tasks, task, keep_completed);
        }
        self.take_off(agent, key, id);
        if let Some(freed) = freed {
            self.free(cx, key, agent, &freed);
        }
        if !was_over {
            self.count_end(key, state, &status);
            self.announce_status(cx, key, &status, true, state);
        }
        self.send_status(cx, key, status);
    }

    /// An executor with resources of its own is gone from its agent.
    pub(crate) fn on_executor_exited(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        exited: internal::ExecutorExited,
    ) {
        let Some(key) = self.framework_keys.get(&exited.framework_id.value).copied() else {
            return;
        };
        let Some(agent_id) = self.agent(agent).map(|a| a.id.clone()) else { return };
        if self.remove_executor(cx, key, agent, &exited.executor_id.value) {
            let failure = event::Failure {
                agent_id: Some(agent_id.as_str().into()),
                executor_id: Some(exited.executor_id),
                status: Some(exited.status),
            };
            self.send_event(
                cx,
                key,
                Event { failure: Some(failure), ..event(event::Type::Failure) },
            );
        }
    }

    /// A task or an executor of a framework holds this of an agent from now on.
    pub(crate) fn hold(&mut self, key: FrameworkId, agent: AgentId, resources: &Resources) {
        if let Some(framework) = self.framework_mut(key) {
            framework.used += resources;
        }
        if let Some(agent) = self.agent_mut(agent) {
            agent.used += resources;
        }
    }

    /// It does not any more: others may be offered it.
    pub(crate) fn free(
        &mut self,
        cx: &Cx<'_>,
        key: FrameworkId,
        agent: AgentId,
        resources: &Resources,
    ) {
        if let Some(framework) = self.framework_mut(key) {
            framework.used -= resources;
        }
        if let Some(known) = self.agent_mut(agent) {
            known.used -= resources;
        }
        self.allocator.recover(cx.now, key, agent, resources, None);
        self.note_freed(cx.now, agent);
    }

    /// Notes an executor that holds resources of its own.
    pub(crate) fn put_executor(&mut self, key: FrameworkId, agent: AgentId, executor: Executor) {
        let id = executor.info.executor_id.value.clone();
        if let Some(agent) = self.agent_mut(agent) {
            agent.executors.insert((key, id.clone()));
        }
        if let Some(framework) = self.framework_mut(key) {
            framework.executors.insert((agent, id), executor);
        }
    }

    /// Frees an executor's resources; false if there is none.
    pub(crate) fn remove_executor(
        &mut self,
        cx: &Cx<'_>,
        key: FrameworkId,
        agent: AgentId,
        id: &str,
    ) -> bool {
        let removed =
            self.framework_mut(key).and_then(|f| f.executors.remove(&(agent, id.to_owned())));
        let Some(executor) = removed else { return false };
        if let Some(agent) = self.agent_mut(agent) {
            agent.executors.remove(&(key, id.to_owned()));
        }
        self.free(cx, key, agent, &executor.resources);
        true
    }

    /// Connected frameworks.
    pub(crate) fn connected(&self) -> Vec<FrameworkId> {
        self.state.frameworks.values().filter(|f| f.is_connected()).map(|f| f.key).collect()
    }

    /// Every connected framework is told that an agent is lost.
    pub(crate) fn tell_failure(&mut self, cx: &mut Cx<'_>, agent_id: &str) {
        for key in self.connected() {
            let failure = event::Failure { agent_id: Some(agent_id.into()), ..Default::default() };
            self.send_event(
                cx,
                key,
                Event { failure: Some(failure), ..event(event::Type::Failure) },
            );
        }
    }
}

/// A status that the master makes itself: without uuid, nobody acknowledges it.
pub(crate) fn master_status(
    cx: &Cx<'_>,
    state: TaskState,
    reason: Reason,
    message: String,
) -> v1::TaskStatus {
    v1::TaskStatus {
        state: state as i32,
        source: Some(Source::Master as i32),
        reason: Some(reason as i32),
        message: Some(message),
        timestamp: Some(cx.now.wall.as_secs_f64()),
        ..Default::default()
    }
}

/// Appends a status without data; of equal states in a row only the last stays.
pub(crate) fn keep_status(task: &mut v1::Task, status: &v1::TaskStatus) {
    if task.statuses.last().is_some_and(|last| last.state == status.state) {
        task.statuses.pop();
    }
    task.statuses.push(v1::TaskStatus { data: None, ..status.clone() });
}

pub(crate) fn push_bounded(
    ring: &mut std::collections::VecDeque<Arc<Task>>,
    task: Arc<Task>,
    keep: usize,
) {
    ring.push_back(task);
    while ring.len() > keep {
        ring.pop_front();
    }
}
