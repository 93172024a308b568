//! The status-update manager (spec/agent.md 4.1): each task has a stream of updates; only the head is in flight; an
//! update is stored before it is sent, and sent again until it is acknowledged.

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::check_results::empty_status;
use crate::contract::Effect;
use crate::state::is_terminal;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use wire::internal::agent_record::Record;
use wire::internal::agent_to_master::Message;
use wire::{internal, v1};

const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Updates of one task that may wait for acknowledgement; its executor gets 503 for more.
const QUEUE_MAX: usize = 10_000;
/// Acknowledged updates of a task by which repeated ones are known.
const RECENT_MAX: usize = 1000;

/// All open streams: framework and task.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    streams: BTreeMap<(String, String), Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    queue: VecDeque<Queued>,
    /// Uuids that were acknowledged last.
    recent: VecDeque<Vec<u8>>,
    retry: Duration,
}

#[derive(Debug)]
struct Queued {
    status: v1::TaskStatus,
    keeping: Keeping,
}

/// What the store has to do with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Nothing: it may be sent.
    Never,
    /// It is being written.
    Pending,
    /// It has it.
    Stored,
}

/// What is known of an update's uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is new.
    New,
    /// It waits for the store.
    Pending,
    /// It was promised to be delivered.
    Kept,
}

impl Updates {
    fn get(&self, framework: &str, task: &str) -> Option<&Stream> {
        self.streams.get(&(framework.to_owned(), task.to_owned()))
    }

    pub(crate) fn is_open(&self, framework: &str, task: &str) -> bool {
        self.get(framework, task).is_some()
    }

    pub(crate) fn is_full(&self, framework: &str, task: &str) -> bool {
        self.get(framework, task).is_some_and(|s| s.queue.len() >= QUEUE_MAX)
    }

    pub(crate) fn known(&self, framework: &str, task: &str, uuid: &[u8]) -> Known {
        let Some(stream) = self.get(framework, task) else { return Known::New };
        match stream.queue.iter().find(|q| q.status.uuid() == uuid) {
            Some(queued) if queued.keeping == Keeping::Pending => Known::Pending,
            Some(_) => Known::Kept,
            None if stream.recent.iter().any(|known| known == uuid) => Known::Kept,
            None => Known::New,
        }
    }

    pub(crate) fn push(&mut self, framework: &str, status: v1::TaskStatus, keeping: Keeping) {
        let task = status.task_id.value.clone();
        let stream = self.streams.entry((framework.to_owned(), task)).or_default();
        stream.queue.push_back(Queued { status, keeping });
    }

    /// Takes the head if it has this uuid; says whether the store has it.
    pub(crate) fn acknowledge(
        &mut self,
        framework: &str,
        task: &str,
        uuid: &[u8],
    ) -> Option<(v1::TaskStatus, bool)> {
        let key = (framework.to_owned(), task.to_owned());
        let stream = self.streams.get_mut(&key)?;
        let is_head = |q: &mut Queued| q.keeping != Keeping::Pending && q.status.uuid() == uuid;
        let head = stream.queue.pop_front_if(is_head)?;
        stream.recent.push_back(uuid.to_vec());
        if stream.recent.len() > RECENT_MAX {
            stream.recent.pop_front();
        }
        // The end of a task closes its stream, whatever is queued behind.
        if is_terminal(head.status.state()) {
            self.streams.remove(&key);
        }
        Some((head.status, head.keeping == Keeping::Stored))
    }

    pub(crate) fn close(&mut self, framework: &str, task: &str) {
        self.streams.remove(&(framework.to_owned(), task.to_owned()));
    }

    /// Forgets all streams of a framework; says of which tasks they were.
    pub(crate) fn remove_framework(&mut self, framework: &str) -> Vec<String> {
        let of_it = self.streams.extract_if(.., |(f, _), _| f == framework);
        of_it.map(|((_, task), _)| task).collect()
    }

    /// Forgets the streams of a framework in which nothing waits.
    pub(crate) fn remove_idle(&mut self, framework: &str) {
        self.streams.retain(|(f, _), stream| f != framework || !stream.queue.is_empty());
    }

    pub(crate) fn keys(&self) -> Vec<(String, String)> {
        self.streams.keys().cloned().collect()
    }
}

impl Agent {
    /// Takes an update of a task, from whomever: fills it, keeps the task's state, stores it and sends it in its turn.
    pub(crate) fn update(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        mut status: v1::TaskStatus,
    ) {
        let Some(framework) = self.state.frameworks.get(framework_id) else { return };
        let terminating = framework.terminating;
        let task_id = status.task_id.value.clone();
        status.agent_id = self.state.id.as_deref().map(Into::into);
        self.explain_drain(framework_id, &mut status);
        self.explain_kill(framework_id, &mut status);
        if status.timestamp.is_none() {
            status.timestamp = Some(cx.now.wall.as_secs_f64());
        }
        if status.uuid.is_none() {
            status.uuid = Some(self.rng.uuid_bytes().to_vec());
        }
        let executor_id = self.executor_of(framework_id, &task_id);
        if let Some(executor_id) = &executor_id {
            self.fill_container_status(framework_id, executor_id, &mut status);
            if let Some(task) = self.task_mut(framework_id, executor_id, &task_id) {
                task.note(&status);
            }
        }
        if is_terminal(status.state()) {
            self.count_end(status.state());
            if let Some(executor_id) = &executor_id {
                self.update_container(cx, framework_id, executor_id);
                self.hide_volumes(cx, framework_id, executor_id, &task_id);
            }
        }
        if terminating {
            return;
        }
        let uuid = status.uuid().to_vec();
        let stores = executor_id.is_some() && self.keeps(framework_id);
        let keeping = if stores { Keeping::Pending } else { Keeping::Never };
        self.updates.push(framework_id, status.clone(), keeping);
        if stores {
            let sync = is_terminal(status.state());
            let waiting =
                Waiting::Update { framework: framework_id.to_owned(), task: task_id, uuid };
            let record = internal::UpdateRecord { framework_id: framework_id.into(), status };
            self.store(cx, Record::Update(record), sync, waiting);
        } else {
            self.on_update_stored(cx, framework_id, &task_id, &uuid);
        }
    }

    pub(crate) fn count_end(&mut self, state: v1::TaskState) {
        use v1::TaskState as S;
        let metric = match state {
            S::TaskFinished => "slave/tasks_finished",
            S::TaskFailed => "slave/tasks_failed",
            S::TaskKilled => "slave/tasks_killed",
            S::TaskLost => "slave/tasks_lost",
            S::TaskGone => "slave/tasks_gone",
            _ => return,
        };
        self.count(metric);
    }

    /// Network, process and checks of a task, as the peer adds them to each update that is not made for a queued task.
    fn fill_container_status(
        &self,
        framework_id: &str,
        executor_id: &str,
        status: &mut v1::TaskStatus,
    ) {
        let Some(executor) = self.executor(framework_id, executor_id) else { return };
        status.executor_id = Some(executor_id.into());
        let task = executor.tasks.get(&status.task_id.value);
        let Some(task) = task.filter(|t| t.launched) else { return };
        let is_ours = executor.kind != internal::ExecutorKind::Custom
            && status.source() == v1::task_status::Source::Executor;
        if let Some(check) = task.info.check.as_ref().filter(|_| is_ours) {
            status.check_status.get_or_insert_with(|| empty_status(check));
        }
        let own = task.container_id.clone().map(|id| (id, task.pid));
        let (container_id, pid) =
            own.unwrap_or_else(|| (executor.container_id.clone(), executor.pid));
        let filled = status.container_status.get_or_insert_with(Default::default);
        if filled.container_id.is_none() {
            let parent = (executor.kind == internal::ExecutorKind::Default).then(|| {
                Box::new(v1::ContainerId { value: executor.container_id.clone(), parent: None })
            });
            filled.container_id = Some(v1::ContainerId { value: container_id.clone(), parent });
        }
        if filled.executor_pid.is_none() {
            filled.executor_pid = pid;
        }
        if filled.cgroup_info.is_none() {
            filled.cgroup_info = self.state.cgroups_of(&container_id);
        }
        if filled.network_infos.is_empty() {
            filled.network_infos = self.networks_of(&container_id);
        }
    }

    /// An update is durable: its executor may forget it, and it is sent if it is its turn.
    pub(crate) fn on_update_stored(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        task: &str,
        uuid: &[u8],
    ) {
        let key = (framework.to_owned(), task.to_owned());
        let Some(stream) = self.updates.streams.get_mut(&key) else { return };
        let Some(queued) = stream.queue.iter_mut().find(|q| q.status.uuid() == uuid) else {
            return;
        };
        if queued.keeping == Keeping::Pending {
            queued.keeping = Keeping::Stored;
        }
        let from_executor = queued.status.source() == v1::task_status::Source::Executor;
        let executor = queued.status.executor_id.clone().filter(|_| from_executor);
        let is_head = stream.queue.front().is_some_and(|q| q.status.uuid() == uuid);
        if let Some(executor) = executor {
            self.send_acknowledged(cx, framework, &executor.value, task, uuid);
        }
        if is_head {
            self.send_head(cx, framework, task, true);
        }
    }

    /// Sends the head of a stream if there is a master; `fresh`: for the first time.
    fn send_head(&mut self, cx: &mut Cx<'_>, framework: &str, task: &str, fresh: bool) {
        let key = (framework.to_owned(), task.to_owned());
        let Some(stream) = self.updates.streams.get_mut(&key) else { return };
        let head = stream.queue.front().filter(|q| q.keeping != Keeping::Pending);
        let Some(head) = head else { return };
        let Some(connection) = self.connection.filter(|_| self.state.registered) else { return };
        stream.retry =
            if fresh { RETRY_MIN } else { (stream.retry * 2).clamp(RETRY_MIN, RETRY_MAX) };
        let (status, retry) = (head.status.clone(), stream.retry);
        self.timers.set(Timer::Retry(framework.to_owned(), task.to_owned()), cx.now.mono + retry);
        let executor = self.executor_of(framework, task);
        let mut latest = status.state();
        if let Some(task) = executor.and_then(|e| self.task_mut(framework, &e, task)) {
            task.forwarded = Some((status.state(), status.uuid().to_vec()));
            latest = task.state;
        }
        let message = Message::StatusUpdate(internal::StatusUpdate {
            framework_id: framework.into(),
            status,
            latest_state: Some(latest as i32),
        });
        cx.out.push(Effect::SendToMaster { connection, message: Box::new(message) });
    }

    pub(crate) fn retry_update(&mut self, cx: &mut Cx<'_>, framework: &str, task: &str) {
        self.send_head(cx, framework, task, false);
    }

    /// Sends the heads of all streams (of one framework) again.
    pub(crate) fn resume_updates(&mut self, cx: &mut Cx<'_>, framework: Option<&str>) {
        for (f, task) in self.updates.keys() {
            if framework.is_none_or(|wanted| wanted == f) {
                self.send_head(cx, &f, &task, true);
            }
        }
    }

    pub(crate) fn on_acknowledge(&mut self, cx: &mut Cx<'_>, message: internal::AcknowledgeStatus) {
        let (framework, task) =
            (message.framework_id.value.as_str(), message.task_id.value.as_str());
        let acknowledged = self.updates.acknowledge(framework, task, &message.uuid);
        let Some((status, is_stored)) = acknowledged else { return };
        self.timers.cancel(&Timer::Retry(framework.to_owned(), task.to_owned()));
        if is_stored {
            let record = internal::AckRecord {
                framework_id: message.framework_id.clone(),
                task_id: message.task_id.clone(),
                uuid: message.uuid.clone(),
            };
            self.store(cx, Record::Ack(record), false, Waiting::Nothing);
        }
        if is_terminal(status.state()) {
            self.complete_task(cx, framework, task);
        } else {
            self.send_head(cx, framework, task, true);
        }
    }
}
