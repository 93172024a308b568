//! What is known after a restart: records of the store, and the containers that were found (spec/agent.md 1.7).

use crate::agent::{Agent, Cx, Exit, Owner, Timer};
use crate::containers::executor_status;
use crate::contract::{Effect, FoundContainer, FoundState, Recover};
use crate::environment::from_wire;
use crate::launch::agent_status;
use crate::state::{Executor, ExecutorKind, ExecutorState, Framework, Task, is_terminal};
use crate::updates::{Keeping, Updates};
use resources::Resources;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::internal;
use wire::internal::agent_record::Record;
use wire::v1::TaskState;
use wire::v1::task_status::Reason;

/// What is said of a task whose container is not there after a restart.
pub(crate) const UNKNOWN_CONTAINER: &str = "Abnormal executor termination: unknown container";

impl Agent {
    pub(crate) fn on_recovered(
        &mut self,
        cx: &mut Cx<'_>,
        records: Vec<internal::AgentRecord>,
        found: Vec<FoundContainer>,
    ) {
        if self.state.recovered {
            return;
        }
        let mut kept = if self.config.local { Vec::new() } else { records };
        let cleans_up = self.config.recover == Recover::Cleanup;
        if !self.config.local && !cleans_up && !self.reconfigure(cx, &mut kept) {
            return;
        }
        let mut checkpointed = Resources::new();
        for record in kept.into_iter().filter_map(|r| r.record) {
            if let Some(resources) = checkpointed_by(&record) {
                checkpointed = Resources::from_wire(&resources.resources).unwrap_or_default();
            }
            self.replay(record);
        }
        if self.state.id.is_none() {
            // What says who this agent is was lost: what else is known belongs to nobody.
            self.forget_everything();
        }
        self.recover_operations(cx, &checkpointed);
        let found: BTreeMap<String, FoundState> =
            found.into_iter().map(|f| (f.container_id, f.state)).collect();
        let mut known = BTreeSet::new();
        let frameworks = self.state.frameworks.values();
        for executor in frameworks.flat_map(|f| f.executors.values()) {
            known.insert(executor.container_id.clone());
            known.extend(executor.tasks.values().filter_map(|t| t.container_id.clone()));
        }
        self.recover_launched(cx, &found, &mut known);
        // What nobody remembers belonged to a framework that does not checkpoint, or its end was acknowledged.
        for (container_id, state) in found.iter().filter(|(id, _)| !known.contains(*id)) {
            let container_id = container_id.clone();
            cx.out.push(match state {
                // It is forgotten when it has ended.
                FoundState::Running { .. } => Effect::DestroyContainer { container_id },
                FoundState::Exited { .. } | FoundState::Unstarted => {
                    Effect::ForgetContainer { container_id }
                }
            });
        }
        let executors: Vec<(String, String)> = self
            .state
            .frameworks
            .iter()
            .flat_map(|(id, f)| f.executors.keys().map(|executor| (id.clone(), executor.clone())))
            .collect();
        for (framework, executor) in &executors {
            self.recover_executor(cx, framework, executor, &found);
        }
        self.begin_oversubscription(cx);
        self.end_drain(cx);
        self.end_for_drain(cx);
        self.state.recovered = true;
        self.timers.set(Timer::WatchDisk, cx.now.mono + self.config.gc.interval);
        if cleans_up {
            self.shut_down(cx, "--recover=cleanup: nothing of the former run is left".to_owned());
        } else if self.connection.is_some() {
            self.register(cx);
        }
    }

    fn forget_everything(&mut self) {
        self.state.frameworks.clear();
        self.state.launched.clear();
        self.state.operations.clear();
        self.state.drain = None;
        self.operations.found.clear();
        self.updates = Updates::default();
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Agent(info) => self.state.id = info.id.map(|id| id.value),
            Record::Framework(info) => {
                let id = info.id.clone().unwrap_or_default().value;
                if let Some(framework) = self.framework_mut(&id) {
                    framework.info = info;
                    return;
                }
                let framework = Framework::new(info, VecDeque::new());
                self.state.frameworks.insert(id, Arc::new(framework));
            }
            Record::Executor(record) => {
                let kind = record.kind();
                let mut executor =
                    Executor::new(record.info, kind, record.container_id, record.directory);
                executor.started = true;
                if let Some(framework) = self.framework_mut(&record.framework_id.value) {
                    framework.add(executor);
                }
            }
            Record::Task(record) => {
                let mut task = Task::new(record.info);
                task.container_id = record.container_id;
                task.group = record.group;
                task.recorded = true;
                task.launched = true;
                if let Some(executor) =
                    self.executor_mut(&record.framework_id.value, &record.executor_id.value)
                {
                    executor.had_tasks = true;
                    executor.queue.push(task.info.task_id.value.clone());
                    executor.tasks.insert(task.info.task_id.value.clone(), Box::new(task));
                }
            }
            Record::Update(record) => {
                let framework = record.framework_id.value;
                let task_id = record.status.task_id.value.clone();
                let Some(executor) = self.executor_of(&framework, &task_id) else { return };
                if let Some(task) = self.task_mut(&framework, &executor, &task_id) {
                    task.note(&record.status);
                }
                self.updates.push(&framework, record.status, Keeping::Stored);
            }
            Record::Ack(record) => {
                let (framework, task) =
                    (record.framework_id.value.as_str(), record.task_id.value.as_str());
                let acknowledged = self.updates.acknowledge(framework, task, &record.uuid);
                if acknowledged.is_some_and(|(s, _)| is_terminal(s.state()))
                    && let Some(executor) = self.executor_of(framework, task)
                    && let Some(executor) = self.executor_mut(framework, &executor)
                    && let Some(task) = executor.tasks.remove(task)
                {
                    executor.completed_tasks.push_back(task);
                }
            }
            Record::Operation(record) => {
                let operation = Arc::new(record.operation);
                let uuid = operation.uuid.value.clone();
                self.operations.found.retain(|found| *found != uuid);
                self.operations.found.push(uuid);
                self.state.operations.insert(operation.uuid.value.clone(), operation);
            }
            Record::OperationAck(record) => {
                self.state.operations.remove(&record.operation_uuid);
            }
            Record::Boot(record) if record.anew() => {
                self.state.id = None;
                self.forget_everything();
            }
            Record::Resources(_) | Record::Boot(_) => {}
            Record::Kill(record) => {
                let (framework, task) =
                    (record.framework_id.value.as_str(), record.task_id.value.as_str());
                let Some(executor) = self.executor_of(framework, task) else { return };
                if let Some(executor) = self.executor_mut(framework, &executor) {
                    executor.unhealthy |= record.unhealthy();
                }
                if let Some(task) = self.task_mut(framework, &executor, task) {
                    task.killed = true;
                    task.kill_recorded = true;
                    let grace = record.kill_policy.and_then(|p| p.grace_period);
                    task.kill_grace = grace.as_ref().map(from_wire);
                    task.preempted = record.preemption;
                    task.killed_by = record.asked_by;
                }
            }
            Record::ForgetExecutor(record) => {
                let id = record.framework_id.value;
                let Some(framework) = self.framework_mut(&id) else { return };
                let is_it = |e: &&Executor| e.container_id == record.container_id;
                let gone = framework.executors.values().find(is_it).map(|e| e.id().to_owned());
                let gone = gone.and_then(|gone| framework.remove(&gone));
                for task in gone.iter().flat_map(|e| e.tasks.keys()) {
                    self.updates.close(&id, task);
                }
            }
            Record::Container(record) => self.replay_container(record),
            Record::Drain(record) => self.replay_drain(&record),
            Record::ForgetFramework(record) => {
                self.state.frameworks.remove(&record.framework_id.value);
                self.updates.remove_framework(&record.framework_id.value);
            }
        }
    }

    fn recover_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        found: &BTreeMap<String, FoundState>,
    ) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        // It has them all, unless it was never started.
        let queue = std::mem::take(&mut executor.queue);
        let executor = executor.clone();
        match executor.kind {
            ExecutorKind::Custom => self.recover_custom(cx, framework_id, &executor, queue, found),
            ExecutorKind::Default | ExecutorKind::Command => {
                for id in executor.tasks.keys() {
                    self.recover_task(cx, framework_id, executor_id, id, found);
                }
                if executor.kind == ExecutorKind::Default {
                    let pod = executor.container_id.as_str();
                    Self::forget_found_pod(cx, pod, found.get(pod));
                }
                let known = self.executor(framework_id, executor_id);
                let idle = known.is_some_and(|e| e.tasks.values().all(|task| task.is_terminal()));
                if idle && executor.kind == ExecutorKind::Default {
                    self.on_executor_ended(cx, framework_id, executor_id, 0);
                } else if idle && let Some(known) = self.executor_mut(framework_id, executor_id) {
                    known.state = ExecutorState::Terminated;
                }
                self.clean_up(cx, framework_id, executor_id);
            }
        }
    }

    fn recover_custom(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor: &Executor,
        queue: Vec<String>,
        found: &BTreeMap<String, FoundState>,
    ) {
        let (id, container_id) = (executor.id(), executor.container_id.clone());
        match found.get(&container_id) {
            Some(FoundState::Running { pid }) => {
                let owner = owner(framework_id, id, None);
                self.containers.insert(container_id.clone(), owner);
                if let Some(executor) = self.executor_mut(framework_id, id) {
                    executor.pid = Some(*pid);
                }
                let timer =
                    Timer::Reregistration(framework_id.to_owned(), id.to_owned(), container_id);
                let timeout = self.config.executor_reregistration_timeout;
                self.timers.set(timer, cx.now.mono + timeout);
                self.update_container(cx, framework_id, id);
            }
            Some(FoundState::Exited { status, limitation }) => {
                let exit = Exit { status: *status, limitation: limitation.clone() };
                self.on_executor_exited(cx, framework_id, id, exit);
            }
            Some(FoundState::Unstarted) | None if !self.rebooted => {
                if let Some(known) = self.executor_mut(framework_id, id) {
                    known.was_found_missing = !found.contains_key(&container_id);
                    known.had_tasks = false;
                    let ended = |t: &Task| t.is_terminal();
                    known.queue = queue;
                    known.queue.retain(|id| known.tasks.get(id).is_some_and(|t| !ended(t)));
                    known.queue.iter().for_each(|id| {
                        known.tasks.get_mut(id).into_iter().for_each(|t| t.launched = false);
                    });
                }
                self.start_executor(cx, framework_id, id);
            }
            Some(FoundState::Unstarted) | None => {
                if let Some(executor) = self.executor_mut(framework_id, id) {
                    let end = (Reason::ExecutorTerminated, UNKNOWN_CONTAINER.to_owned());
                    executor.pending_end = Some(end);
                }
                self.on_executor_ended(cx, framework_id, id, -1);
            }
        }
    }

    fn recover_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        id: &str,
        found: &BTreeMap<String, FoundState>,
    ) {
        // As it is now: another of its group may have ended it just before.
        let Some(task) = self.task(framework_id, executor_id, id) else { return };
        let Some(container_id) = task.container_id.clone().filter(|_| !task.is_terminal()) else {
            return;
        };
        let is_killed = task.killed;
        // Nothing was said of its start, or not all of it.
        let is_silent = task.state == TaskState::TaskStaging;
        let is_starting = task.state == TaskState::TaskStarting;
        match found.get(&container_id) {
            Some(FoundState::Running { pid }) => {
                let owner = owner(framework_id, executor_id, Some(id));
                self.containers.insert(container_id, owner);
                if is_silent {
                    self.on_task_started(cx, framework_id, executor_id, id, *pid);
                } else {
                    self.resume_task(cx, framework_id, executor_id, id, *pid);
                }
            }
            Some(FoundState::Exited { status, limitation }) => {
                if is_silent && status.is_some() {
                    let state = TaskState::TaskStarting;
                    self.update(cx, framework_id, executor_status(id, state, None));
                }
                if is_starting || is_silent && status.is_some() {
                    let state = TaskState::TaskRunning;
                    self.update(cx, framework_id, executor_status(id, state, None));
                }
                let exit = Exit { status: *status, limitation: limitation.clone() };
                self.on_task_exited(cx, framework_id, executor_id, id, exit);
            }
            state @ (Some(FoundState::Unstarted) | None)
                if is_silent && !self.rebooted && !(is_killed && state.is_none()) =>
            {
                let is_missing = state.is_none();
                if let Some(task) = self.task_mut(framework_id, executor_id, id) {
                    task.was_found_missing = is_missing;
                }
                self.start_task(cx, framework_id, executor_id, id);
            }
            Some(FoundState::Unstarted) | None => {
                let (state, reason) = (TaskState::TaskFailed, Reason::ExecutorTerminated);
                let status = agent_status(id, state, reason, UNKNOWN_CONTAINER);
                self.update(cx, framework_id, status);
                self.after_task_end(cx, framework_id, executor_id, id);
            }
        }
    }

    /// A task runs on, as if the agent had never been away.
    fn resume_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        id: &str,
        pid: u32,
    ) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        if executor.kind == ExecutorKind::Command {
            executor.pid = Some(pid);
        }
        let Some(task) = executor.tasks.get_mut(id) else { return };
        task.pid = Some(pid);
        let (is_killed, is_starting) = (task.killed, task.state == TaskState::TaskStarting);
        if let Some(longest) = task.info.max_completion_time.as_ref().map(from_wire) {
            // Only the wall clock tells for how long it ran before. If it jumped, the task gets the whole time again.
            let ran = task.running_since.map_or(0.0, |since| cx.now.wall.as_secs_f64() - since);
            let ran = Duration::try_from_secs_f64(ran).unwrap_or_default();
            let left = longest.saturating_sub(ran);
            self.set_completion(cx, framework_id, executor_id, id, left);
        }
        if is_starting {
            self.update(cx, framework_id, executor_status(id, TaskState::TaskRunning, None));
        }
        if is_killed {
            self.begin_kill(cx, framework_id, executor_id, id);
        }
        self.begin_checks(cx, framework_id, executor_id, id, true);
    }
}

/// Reservations and volumes as of a record.
fn checkpointed_by(record: &Record) -> Option<&internal::CheckpointedResources> {
    match record {
        Record::Operation(record) => record.checkpointed.as_ref(),
        Record::Resources(resources) => Some(resources),
        _ => None,
    }
}

fn owner(framework: &str, executor: &str, task: Option<&str>) -> Owner {
    Owner {
        framework: framework.to_owned(),
        executor: executor.to_owned(),
        task: task.map(str::to_owned),
        started: true,
        exited: None,
    }
}
