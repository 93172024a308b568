//! What an agent knows; published to readers as a whole. Cheap to clone: frameworks are shared until they change.

use crate::contract::ContainerEnd;
use base::Token;
use resources::Resources;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::v1;

pub use wire::internal::ExecutorKind;

/// Completed frameworks that are remembered.
pub(crate) const COMPLETED_FRAMEWORKS_MAX: usize = 50;
/// Completed tasks that are remembered of each executor.
pub(crate) const COMPLETED_TASKS_MAX: usize = 200;
/// Statuses that are remembered of each task.
const STATUSES_MAX: usize = 100;

/// Everything that readers may see.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Id given by the master.
    pub id: Option<String>,
    /// Whether the agent is registered with a master now.
    pub registered: bool,
    /// Whether recovery is over.
    pub recovered: bool,
    /// The master, while registered.
    pub master: Option<v1::MasterInfo>,
    /// Frameworks with live executors.
    pub frameworks: BTreeMap<String, Arc<Framework>>,
    /// The last frameworks that are gone from here.
    pub completed_frameworks: VecDeque<Arc<Framework>>,
    /// All of its resources: those of its flags, with reservations and volumes made on them.
    pub total: Resources,
    /// Containers that were started through the API, by name.
    pub launched: BTreeMap<String, Launched>,
    /// Networks of containers that have others than the host's, by container.
    pub networks: BTreeMap<String, Arc<[v1::NetworkInfo]>>,
    /// What tells what a container sends from what others do, by container.
    pub network_classes: BTreeMap<String, u32>,
    /// Operations that are not finished, or whose end is not acknowledged, by uuid.
    pub operations: BTreeMap<Vec<u8>, Arc<v1::Operation>>,
    /// Greatest age of a directory that nobody needs, as of the last look at the disk.
    pub directory_max_age: Option<Duration>,
    /// How the agent is being drained, if it is.
    pub drain: Option<Drain>,
    /// Counts of events, by metric name (`slave/…`).
    pub counters: BTreeMap<&'static str, u64>,
}

/// A drain of the agent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drain {
    /// As the master asked for it.
    pub config: v1::DrainConfig,
    /// When that was, by the wall clock: seconds since 1970.
    pub since: f64,
}

/// A framework that runs something here.
#[derive(Debug, Clone)]
pub struct Framework {
    /// Its latest description.
    pub info: v1::FrameworkInfo,
    /// Live executors by id.
    pub executors: BTreeMap<String, Executor>,
    /// Those of them that have tasks of other ids than their own.
    pub(crate) hosts: BTreeSet<String>,
    /// The last executors that ended.
    pub completed_executors: VecDeque<Arc<Executor>>,
    /// It is being shut down: no more updates.
    pub terminating: bool,
}

impl Framework {
    pub(crate) fn new(info: v1::FrameworkInfo, completed: VecDeque<Arc<Executor>>) -> Self {
        Self {
            info,
            executors: BTreeMap::new(),
            hosts: BTreeSet::new(),
            completed_executors: completed,
            terminating: false,
        }
    }

    pub(crate) fn add(&mut self, executor: Executor) {
        let id = executor.id().to_owned();
        if executor.kind != ExecutorKind::Command {
            self.hosts.insert(id.clone());
        }
        self.executors.insert(id, executor);
    }

    pub(crate) fn remove(&mut self, executor_id: &str) -> Option<Executor> {
        self.hosts.remove(executor_id);
        self.executors.remove(executor_id)
    }

    /// The executor that has a task.
    pub(crate) fn executor_of(&self, task: &str) -> Option<&Executor> {
        let has = |executor: &&Executor| executor.tasks.contains_key(task);
        // A command task's executor has the task's id.
        self.executors.get(task).filter(has).or_else(|| {
            let mut hosts = self.hosts.iter().filter_map(|id| self.executors.get(id));
            hosts.find(has)
        })
    }
}

/// A container that was started through the API.
#[derive(Debug, Clone)]
pub struct Launched {
    /// Its id, with those of the containers around it.
    pub container_id: v1::ContainerId,
    /// Its sandbox.
    pub directory: String,
    /// Where it is in its life.
    pub state: LaunchedState,
}

/// See [`Launched`].
#[derive(Debug, Clone)]
pub enum LaunchedState {
    /// Its start is not answered yet.
    Starting {
        /// Who asked for it.
        token: Token,
    },
    /// It runs.
    Running {
        /// Its supervisor.
        pid: u32,
    },
    /// It is kept for those who want to know how it ended.
    Ended {
        /// How.
        end: ContainerEnd,
    },
}

/// Where an executor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorState {
    /// Its container is being started, or it has not subscribed yet.
    Registering,
    /// It takes tasks.
    Running,
    /// It was asked to stop, or is being destroyed.
    Terminating,
    /// Its container is gone; updates wait for acknowledgement.
    Terminated,
}

/// An executor, or what stands for one.
#[derive(Debug, Clone)]
pub struct Executor {
    /// Its description; generated for command tasks.
    pub info: v1::ExecutorInfo,
    /// Who speaks for it.
    pub kind: ExecutorKind,
    /// Its container; for pods only a name.
    pub container_id: String,
    /// Its sandbox.
    pub directory: String,
    /// Where it is in its life.
    pub state: ExecutorState,
    /// Supervisor of its container, once started.
    pub pid: Option<u32>,
    /// Its event stream, while open.
    pub stream: Option<Token>,
    /// Live tasks by id, in order of ids: queued, launched, and terminal ones that are not acknowledged. Most executors
    /// have one, and a node of a map has room for eleven: boxed, that room is small.
    pub tasks: BTreeMap<String, Box<Task>>,
    /// Ids of queued tasks in order of arrival.
    pub queue: Vec<String>,
    /// The last tasks whose end was acknowledged.
    pub completed_tasks: VecDeque<Box<Task>>,
    /// Whether it was ever given a task.
    pub had_tasks: bool,
    /// Whether its container was asked for: not before the store knows of it.
    pub started: bool,
    /// A health check had one of its tasks killed: the ends of its tasks say so.
    pub unhealthy: bool,
    /// What its end means for its tasks, if that was decided before: reason and message.
    pub pending_end: Option<(v1::task_status::Reason, String)>,
    /// After a restart nothing was found of its container, which may mean that it was never started.
    pub was_found_missing: bool,
    /// How much it used when it was ended for that.
    pub limitation: Option<v1::TaskResourceLimitation>,
}

/// A task.
#[derive(Debug, Clone)]
pub struct Task {
    /// What the framework asked for.
    pub info: v1::TaskInfo,
    /// Latest state.
    pub state: v1::TaskState,
    /// Whether it is known to the store, if it shall be; only then it is started.
    pub recorded: bool,
    /// Whether the executor has it (or it was started); else it is queued.
    pub launched: bool,
    /// Statuses, without data; of equal states in a row only the last.
    pub statuses: Vec<v1::TaskStatus>,
    /// The status that was last sent to the master: state and uuid.
    pub forwarded: Option<(v1::TaskState, Vec<u8>)>,
    /// Container of its own: a command task's or a pod task's.
    pub container_id: Option<String>,
    /// Its supervisor, once started.
    pub pid: Option<u32>,
    /// Ids of all tasks of its group; empty if it came alone.
    pub group: Vec<String>,
    /// Its end was asked for.
    pub killed: bool,
    /// That is known to the store, if it shall be; only then it is signalled.
    pub kill_recorded: bool,
    /// Grace period of the kill, where the framework named one.
    pub kill_grace: Option<Duration>,
    /// Who asked for the kill, where that was not the framework.
    pub killed_by: Option<String>,
    /// It was sent SIGTERM.
    pub signalled: bool,
    /// When it began to run, by the wall clock: seconds since the epoch.
    pub running_since: Option<f64>,
    /// Its health check succeeded once.
    pub was_healthy: bool,
    /// Failures of its health check since it succeeded last, as far as they count.
    pub failures_in_a_row: u32,
    /// It ran longer than `max_completion_time`.
    pub overdue: bool,
    /// What it uses is wanted back: the message of its last status.
    pub preempted: Option<String>,
    /// After a restart nothing was found of its own container, which may mean that it was never started.
    pub was_found_missing: bool,
}

impl Task {
    pub(crate) fn new(info: v1::TaskInfo) -> Self {
        Self {
            info,
            state: v1::TaskState::TaskStaging,
            recorded: false,
            launched: false,
            statuses: Vec::new(),
            forwarded: None,
            container_id: None,
            pid: None,
            group: Vec::new(),
            killed: false,
            kill_recorded: false,
            kill_grace: None,
            killed_by: None,
            signalled: false,
            running_since: None,
            was_healthy: false,
            failures_in_a_row: 0,
            overdue: false,
            preempted: None,
            was_found_missing: false,
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        is_terminal(self.state)
    }

    /// Takes a new status. The end is final.
    pub(crate) fn note(&mut self, status: &v1::TaskStatus) {
        if self.is_terminal() {
            return;
        }
        self.state = status.state();
        if self.state == v1::TaskState::TaskRunning {
            self.running_since = self.running_since.or(status.timestamp);
        }
        if status.reason() == v1::task_status::Reason::TaskHealthCheckStatusUpdated {
            let healthy = status.healthy();
            self.was_healthy |= healthy;
            self.failures_in_a_row =
                if healthy { 0 } else { self.failures_in_a_row.saturating_add(1) };
        }
        if self.statuses.last().is_some_and(|last| last.state == status.state) {
            self.statuses.pop();
        }
        if self.statuses.len() == STATUSES_MAX {
            self.statuses.remove(0);
        }
        self.statuses.push(v1::TaskStatus { data: None, ..status.clone() });
    }

    /// The task as masters and operators see it.
    #[must_use]
    pub fn to_wire(&self, framework_id: &str, executor_id: &str) -> v1::Task {
        let info = &self.info;
        v1::Task {
            name: info.name.clone(),
            task_id: info.task_id.clone(),
            framework_id: framework_id.into(),
            executor_id: Some(executor_id.into()).filter(|_| !executor_id.is_empty()),
            agent_id: info.agent_id.clone(),
            state: self.state as i32,
            resources: info.resources.clone(),
            limits: info.limits.clone(),
            statuses: self.statuses.clone(),
            status_update_state: self.forwarded.as_ref().map(|(state, _)| *state as i32),
            status_update_uuid: self.forwarded.as_ref().map(|(_, uuid)| uuid.clone()),
            labels: info.labels.clone(),
            discovery: info.discovery.clone().map(Box::new),
            container: info.container.clone().map(Box::new),
            health_check: info.health_check.clone().map(Box::new),
            kill_policy: info.kill_policy,
            user: info.command.as_ref().and_then(|c| c.user.clone()),
        }
    }
}

impl Executor {
    pub(crate) fn new(
        info: v1::ExecutorInfo,
        kind: ExecutorKind,
        container_id: String,
        directory: String,
    ) -> Self {
        // Only a program of the framework has to subscribe.
        let is_custom = kind == ExecutorKind::Custom;
        Self {
            info,
            kind,
            container_id,
            directory,
            state: if is_custom { ExecutorState::Registering } else { ExecutorState::Running },
            pid: None,
            stream: None,
            tasks: BTreeMap::new(),
            queue: Vec::new(),
            completed_tasks: VecDeque::new(),
            had_tasks: false,
            started: false,
            unhealthy: false,
            pending_end: None,
            was_found_missing: false,
            limitation: None,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.info.executor_id.value
    }
}

impl Framework {
    /// Whether it asked for tasks that survive their agent.
    #[must_use]
    pub fn checkpoints(&self) -> bool {
        self.info.checkpoint()
    }

    pub(crate) fn has(&self, capability: v1::framework_info::capability::Type) -> bool {
        self.info.capabilities.iter().any(|c| c.r#type() == capability)
    }

    /// State for a task that never ran: what partition-aware frameworks are told, and what others are.
    pub(crate) fn lost(&self, aware: v1::TaskState) -> v1::TaskState {
        let partition_aware = self.has(v1::framework_info::capability::Type::PartitionAware);
        if partition_aware { aware } else { v1::TaskState::TaskLost }
    }
}

/// Whether no other state follows.
#[must_use]
pub(crate) fn is_terminal(state: v1::TaskState) -> bool {
    use v1::TaskState as S;
    matches!(
        state,
        S::TaskFinished
            | S::TaskFailed
            | S::TaskKilled
            | S::TaskLost
            | S::TaskError
            | S::TaskDropped
            | S::TaskGone
            | S::TaskGoneByOperator
    )
}
