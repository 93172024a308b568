//! The state machine: one match, no logic of its own.

use crate::checks::{Checks, Key};
use crate::contract::{Config, ContainerSpec, Effect, Input, Limitation, Purpose};
use crate::gc::Garbage;
use crate::operations::Operations;
use crate::oversubscription::Busy;
use crate::state::{Executor, ExecutorKind, Framework, State, Task};
use crate::updates::Updates;
use base::{Now, Rng, Time, Timers, Token, WriteId};
use resources::Resources;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::internal;

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Send Register again.
    Register,
    /// The master was silent for too long.
    Ping,
    /// Send the head of an update stream again: framework, task.
    Retry(String, String),
    /// Send the end of an operation again.
    RetryOperation(Vec<u8>),
    /// SIGKILL to a task that was asked to end: framework, executor, task.
    Escalate(String, String, String),
    /// A check is to be made.
    Check(Key),
    /// A check takes too long.
    CheckTimeout(Key),
    /// A task ran for its longest time.
    Completion(String, String, String),
    /// An executor did not subscribe: framework, executor, container.
    Registration(String, String, String),
    /// An executor did not come back after a restart of the agent.
    Reregistration(String, String, String),
    /// An executor did not stop in time.
    Shutdown(String, String, String),
    /// Keep an executor's stream alive.
    Heartbeat(String, String),
    /// Remove the directory that is due first.
    Collect,
    /// See how full the disk is.
    WatchDisk,
    /// See how much may be used beyond what there is.
    Estimate,
    /// See whether those who use that have to go.
    Correct,
}

/// What waits for a write.
#[derive(Debug, Clone)]
pub(crate) enum Waiting {
    /// An update may be sent.
    Update { framework: String, task: String, uuid: Vec<u8> },
    /// The agent's id is kept: it may call itself registered.
    Registered { connection: Token, message: Box<internal::Registered> },
    /// The end of a task is asked for in the store: it may be signalled.
    Kill { framework: String, executor: String, task: String },
    /// Tasks of this executor may be started.
    Launch { framework: String, executor: String, tasks: Vec<String> },
    /// An operation is kept: its directories may be made or removed.
    Operation { uuid: Vec<u8> },
    /// The end of an operation is kept: it may be told.
    OperationEnd { uuid: Vec<u8> },
    /// A container may be started.
    Container { spec: Box<ContainerSpec> },
    /// Nothing; but a failure matters.
    Nothing,
}

/// The master gave an id that is not stored yet.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) id: String,
    /// What the master sent since.
    pub(crate) backlog: Vec<internal::master_to_agent::Message>,
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) updates: Updates,
    pub(crate) operations: Operations,
    pub(crate) timers: Timers<Timer>,
    pub(crate) rng: Rng,
    pub(crate) held: base::Held<Waiting>,
    pub(crate) connection: Option<Token>,
    /// The agent's id is being stored.
    pub(crate) admission: Option<Admission>,
    pub(crate) resource_version: String,
    pub(crate) ping_timeout: Duration,
    /// Delay before Register is sent again.
    pub(crate) register_retry: Duration,
    /// Container id to framework, executor, and the task if it has the container for itself.
    pub(crate) containers: BTreeMap<String, Owner>,
    /// The agent is going down; nothing new is started.
    pub(crate) terminating: Option<String>,
    /// Revocable resources beyond the total.
    pub(crate) oversubscribed: Resources,
    pub(crate) busy: Option<Busy>,
    /// The machine was restarted since the last run: what ran before runs no more.
    pub(crate) rebooted: bool,
    pub(crate) garbage: Garbage,
    pub(crate) checks: Checks,
    /// Who waits for the end of a container, by its name.
    pub(crate) waits: BTreeMap<String, Vec<Token>>,
    /// What is told of containers when they run.
    pub(crate) descriptions: BTreeMap<String, Vec<u8>>,
}

/// To whom a container belongs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Owner {
    pub(crate) framework: String,
    pub(crate) executor: String,
    pub(crate) task: Option<String>,
    /// Whether its start was answered.
    pub(crate) started: bool,
    /// It ended before that.
    pub(crate) exited: Option<Exit>,
}

/// The end of a container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exit {
    /// Raw wait status of its main process, if known.
    pub(crate) status: Option<i32>,
    /// What it was ended for, if it was.
    pub(crate) limitation: Option<Box<Limitation>>,
}

/// What a handler may do to the world.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Agent {
    /// An agent that has not recovered yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        let resource_version = rng.uuid();
        let total = Resources::from_wire(&config.info.resources).unwrap_or_default();
        Self {
            config,
            state: State { total, ..State::default() },
            updates: Updates::default(),
            operations: Operations::default(),
            timers: Timers::new(),
            rng,
            held: base::Held::new(),
            connection: None,
            admission: None,
            resource_version,
            ping_timeout: Duration::from_secs(75),
            register_retry: Duration::from_secs(1),
            containers: BTreeMap::new(),
            terminating: None,
            oversubscribed: Resources::new(),
            busy: None,
            rebooted: false,
            garbage: Garbage::default(),
            checks: Checks::default(),
            waits: BTreeMap::new(),
            descriptions: BTreeMap::new(),
        }
    }

    /// Handles one input and appends what is to be done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let cx = &mut Cx { now, out };
        match input {
            Input::Recovered { records, containers } => self.on_recovered(cx, records, containers),
            Input::MasterConnected { connection } => self.on_master_connected(cx, connection),
            Input::MasterClosed { connection } => self.on_master_closed(connection),
            Input::FromMaster { connection, message } => {
                self.on_master_message(cx, connection, *message)
            }
            Input::ExecutorSubscribe { stream, call } => {
                self.on_executor_subscribe(cx, stream, *call)
            }
            Input::ExecutorCall { token, call } => self.on_executor_call(cx, token, *call),
            Input::ContainerCall { token, call } => self.on_container_call(cx, token, call),
            Input::ExecutorClosed { stream } => self.on_executor_closed(stream),
            Input::Stored { id, result } => self.on_stored(cx, id, result),
            Input::ContainerAppeared { container_id, appearance } => {
                self.on_container_appeared(container_id, appearance)
            }
            Input::ContainerStarted { container_id, result } => {
                self.on_container_started(cx, &container_id, result)
            }
            Input::ContainerExited { container_id, status, limitation } => {
                self.on_container_exited(cx, &container_id, Exit { status, limitation })
            }
            Input::VolumesSynced { operation, result } => {
                self.on_volumes_synced(cx, &operation, result)
            }
            Input::Probed { id, result } => self.on_probed(cx, id, result),
            Input::DirectoryFound { path, age } => self.on_directory_found(cx, path, age),
            Input::DirectoryRemoved { result } => self.on_directory_removed(&result),
            Input::DiskMeasured { disk } => self.on_disk_measured(cx, disk),
            Input::Measured { purpose, measured } => self.on_measured(cx, purpose, measured),
            Input::Unregister => self.on_unregister(cx),
            Input::Wake => {}
        }
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.on_timer(&mut Cx { now, out }, timer);
        }
    }

    /// When the agent next wants [`Input::Wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The state as it is now, for those who need no copy.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What readers see.
    #[must_use]
    pub fn view(&self) -> Arc<State> {
        Arc::new(self.state.clone())
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, timer: Timer) {
        match timer {
            Timer::Register => self.register(cx),
            Timer::Estimate => cx.out.push(Effect::Measure { purpose: Purpose::Estimate }),
            Timer::Correct => cx.out.push(Effect::Measure { purpose: Purpose::Correct }),
            Timer::Ping => self.on_master_silent(cx),
            Timer::Retry(framework, task) => self.retry_update(cx, &framework, &task),
            Timer::RetryOperation(uuid) => self.send_operation(cx, &uuid, false),
            Timer::Escalate(framework, executor, task) => {
                self.escalate(cx, &framework, &executor, &task)
            }
            Timer::Check(key) => self.on_check_due(cx, &key),
            Timer::CheckTimeout(key) => self.on_check_timeout(cx, &key),
            Timer::Completion(framework, executor, task) => {
                self.on_overdue(cx, &framework, &executor, &task)
            }
            Timer::Registration(framework, executor, container) => {
                self.on_registration_timeout(cx, &framework, &executor, &container);
            }
            Timer::Reregistration(framework, executor, container) => {
                self.on_reregistration_timeout(cx, &framework, &executor, &container);
            }
            Timer::Shutdown(framework, executor, container) => {
                let known = self.executor(&framework, &executor);
                if known.is_some_and(|e| e.container_id == container) {
                    cx.out.push(Effect::DestroyContainer { container_id: container });
                }
            }
            Timer::Heartbeat(framework, executor) => {
                self.executor_heartbeat(cx, &framework, &executor)
            }
            Timer::Collect => self.collect(cx, cx.now.mono),
            Timer::WatchDisk => self.watch_disk(cx),
        }
    }

    fn on_stored(&mut self, cx: &mut Cx<'_>, id: WriteId, result: Result<(), String>) {
        let waiting = self.held.release(id);
        if let Err(text) = result {
            let message =
                format!("the agent's store failed: {text}; it can't keep its promises and stops");
            cx.out.push(Effect::Exit { status: 1, message });
            return;
        }
        for item in waiting {
            match item {
                Waiting::Update { framework, task, uuid } => {
                    self.on_update_stored(cx, &framework, &task, &uuid)
                }
                Waiting::Registered { connection, message } => {
                    self.on_admitted(cx, connection, *message)
                }
                Waiting::Kill { framework, executor, task } => {
                    if let Some(known) = self.task_mut(&framework, &executor, &task) {
                        known.kill_recorded = true;
                    }
                    self.begin_kill(cx, &framework, &executor, &task);
                }
                Waiting::Launch { framework, executor, tasks } => {
                    self.on_launch_recorded(cx, &framework, &executor, &tasks)
                }
                Waiting::Operation { uuid } => self.on_operation_stored(cx, &uuid),
                Waiting::OperationEnd { uuid } => self.send_operation(cx, &uuid, true),
                Waiting::Container { spec } => self.on_container_recorded(cx, spec),
                Waiting::Nothing => {}
            }
        }
    }

    /// Writes a record; `waiting` is carried out when it is durable.
    pub(crate) fn store(
        &mut self,
        cx: &mut Cx<'_>,
        record: internal::agent_record::Record,
        sync: bool,
        waiting: Waiting,
    ) {
        let id = self.held.hold(vec![waiting]);
        let record = Box::new(internal::AgentRecord { record: Some(record) });
        cx.out.push(Effect::Store { id, record, sync });
    }

    pub(crate) fn framework_mut(&mut self, framework: &str) -> Option<&mut Framework> {
        self.state.frameworks.get_mut(framework).map(Arc::make_mut)
    }

    pub(crate) fn executor(&self, framework: &str, executor: &str) -> Option<&Executor> {
        self.state.frameworks.get(framework)?.executors.get(executor)
    }

    pub(crate) fn executor_mut(
        &mut self,
        framework: &str,
        executor: &str,
    ) -> Option<&mut Executor> {
        self.framework_mut(framework)?.executors.get_mut(executor)
    }

    pub(crate) fn task(&self, framework: &str, executor: &str, task: &str) -> Option<&Task> {
        self.executor(framework, executor)?.tasks.get(task).map(Box::as_ref)
    }

    pub(crate) fn task_mut(
        &mut self,
        framework: &str,
        executor: &str,
        task: &str,
    ) -> Option<&mut Task> {
        self.executor_mut(framework, executor)?.tasks.get_mut(task).map(Box::as_mut)
    }

    /// Whether records of a framework are written.
    pub(crate) fn keeps(&self, framework: &str) -> bool {
        let known = self.state.frameworks.get(framework);
        !self.config.local && known.is_some_and(|f| f.checkpoints())
    }

    /// The executor that has a task.
    pub(crate) fn executor_of(&self, framework: &str, task: &str) -> Option<String> {
        self.state.frameworks.get(framework)?.executor_of(task).map(|e| e.id().to_owned())
    }

    pub(crate) fn count(&mut self, metric: &'static str) {
        *self.state.counters.entry(metric).or_default() += 1;
    }

    /// Own invariants.
    ///
    /// # Errors
    /// The first broken one, in words.
    pub fn check(&self) -> Result<(), String> {
        for (framework_id, framework) in &self.state.frameworks {
            if framework.info.id.as_ref().is_none_or(|id| id.value != *framework_id) {
                return Err(format!("framework {framework_id} has another id inside"));
            }
            for (executor_id, executor) in &framework.executors {
                if executor.id() != executor_id {
                    return Err(format!("executor {executor_id} has another id inside"));
                }
                let is_host = executor.kind != ExecutorKind::Command;
                if framework.hosts.contains(executor_id) != is_host {
                    return Err(format!("executor {executor_id} is counted as of another kind"));
                }
                for queued in &executor.queue {
                    if executor.tasks.get(queued).is_none_or(|t| t.launched) {
                        return Err(format!("task {queued} is queued, but launched or unknown"));
                    }
                }
                for (task_id, task) in &executor.tasks {
                    let owner = task.container_id.as_ref().and_then(|id| self.containers.get(id));
                    if owner.is_some_and(|o| {
                        o.task.as_deref() != Some(task_id) || o.framework != *framework_id
                    }) {
                        return Err(format!("the container of task {task_id} belongs to another"));
                    }
                    let open = self.updates.is_open(framework_id, task_id);
                    if task.is_terminal() && !framework.terminating && !open {
                        return Err(format!("task {task_id} has ended, but no update of it waits"));
                    }
                }
            }
        }
        Ok(())
    }
}
