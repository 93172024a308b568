//! An executor of a framework's own: a process that runs tasks in itself and speaks the v1 executor API
//! (spec/agent.md 2.1).

use crate::plan::Plan;
use base::{Rng, Time, Token};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::v1::{self, TaskState, executor};

/// Begins the command of such an executor; its plan follows.
const PREFIX: &str = "executor ";
/// Without a task for so long, it ends.
pub(crate) const IDLE: Duration = Duration::from_secs(5);

/// The command of an executor that runs until it has nothing to do; a stubborn one obeys nobody but SIGKILL.
pub(crate) fn command(stubborn: bool) -> String {
    let runs = Duration::from_secs(1_000_000);
    let plan = Plan { runs, code: 0, stubborn, fetches: Duration::ZERO, fetchable: true };
    format!("{PREFIX}{}", plan.command())
}

/// The plan of a container, and whether it is an executor.
pub(crate) fn plan_of(command: &str) -> Option<(Plan, bool)> {
    let of_executor = command.strip_prefix(PREFIX);
    Some((Plan::parse(of_executor.unwrap_or(command))?, of_executor.is_some()))
}

/// A task in the executor.
#[derive(Debug)]
struct Running {
    info: v1::TaskInfo,
    plan: Plan,
    has_ended: bool,
    /// An update of it was acknowledged: the agent knows that it arrived.
    is_known: bool,
}

#[derive(Debug)]
pub(crate) struct Executor {
    framework_id: String,
    executor_id: String,
    /// It waits for an agent that is gone.
    pub(crate) checkpoint: bool,
    stubborn: bool,
    /// Its connection to the agent, asked for or open.
    pub(crate) stream: Option<Token>,
    /// What it says arrives in order.
    said: Time,
    /// What it is told arrives in order.
    pub(crate) told: Time,
    tasks: BTreeMap<String, Running>,
    /// Updates that the agent has not acknowledged, in order.
    updates: Vec<v1::TaskStatus>,
    /// Since when it has nothing to do.
    pub(crate) idle_since: Option<Time>,
    /// What the agent did wrong.
    pub(crate) complaint: Option<String>,
}

/// What it does next.
#[derive(Debug)]
pub(crate) enum Action {
    /// Tells the agent of a task.
    Say(Box<v1::TaskStatus>),
    /// One of its tasks ends after so long, by itself or killed.
    End { task: String, after: Duration, state: TaskState },
    /// Its process ends.
    Exit,
}

impl Executor {
    pub(crate) fn new(environment: &BTreeMap<String, String>, stubborn: bool) -> Self {
        let of = |name: &str| environment.get(name).cloned().unwrap_or_default();
        Self {
            framework_id: of("MESOS_FRAMEWORK_ID"),
            executor_id: of("MESOS_EXECUTOR_ID"),
            checkpoint: of("MESOS_CHECKPOINT") == "1",
            stubborn,
            stream: None,
            said: Time(0),
            told: Time(0),
            tasks: BTreeMap::new(),
            updates: Vec::new(),
            idle_since: None,
            complaint: None,
        }
    }

    fn call(&self, kind: executor::call::Type) -> executor::Call {
        executor::Call {
            executor_id: self.executor_id.as_str().into(),
            framework_id: self.framework_id.as_str().into(),
            r#type: Some(kind as i32),
            ..Default::default()
        }
    }

    /// With all that the agent may not have heard.
    pub(crate) fn subscribe(&self) -> executor::Call {
        let tasks = self.tasks.values().filter(|t| !t.is_known).map(|t| t.info.clone());
        let update = |status: &v1::TaskStatus| executor::call::Update { status: status.clone() };
        let subscribe = executor::call::Subscribe {
            unacknowledged_tasks: tasks.collect(),
            unacknowledged_updates: self.updates.iter().map(update).collect(),
        };
        executor::Call { subscribe: Some(subscribe), ..self.call(executor::call::Type::Subscribe) }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.updates.is_empty()
    }

    /// What it says of a task, and when that arrives.
    pub(crate) fn say(
        &mut self,
        status: v1::TaskStatus,
        now: Time,
        delay: Duration,
    ) -> (executor::Call, Time) {
        self.said = (now + delay).max(Time(self.said.0 + 1));
        let update = Some(executor::call::Update { status });
        (executor::Call { update, ..self.call(executor::call::Type::Update) }, self.said)
    }

    /// Whether an update still waits for its acknowledgement.
    pub(crate) fn is_open(&self, uuid: &[u8]) -> bool {
        self.updates.iter().any(|status| status.uuid() == uuid)
    }

    fn status(&mut self, task: &str, state: TaskState, rng: &mut Rng) -> v1::TaskStatus {
        let uuid = [rng.next_u64().to_le_bytes(), rng.next_u64().to_le_bytes()].concat();
        let status = v1::TaskStatus {
            task_id: task.into(),
            state: state as i32,
            source: Some(v1::task_status::Source::Executor as i32),
            uuid: Some(uuid),
            ..Default::default()
        };
        self.updates.push(status.clone());
        status
    }

    pub(crate) fn on_event(
        &mut self,
        event: executor::Event,
        now: Time,
        rng: &mut Rng,
    ) -> Vec<Action> {
        use executor::event::Type;
        let mut actions = Vec::new();
        match event.r#type() {
            Type::Launch => {
                let task = event.launch.map(|launch| launch.task).unwrap_or_default();
                actions.extend(self.launch(task, rng));
            }
            Type::LaunchGroup => {
                let group = event.launch_group.map(|launch| launch.task_group);
                for task in group.unwrap_or_default().tasks {
                    actions.extend(self.launch(task, rng));
                }
            }
            Type::Kill => {
                let id = event.kill.map(|kill| kill.task_id.value).unwrap_or_default();
                let is_running = |task: &&Running| !task.has_ended && !task.plan.stubborn;
                if self.tasks.get(&id).filter(is_running).is_some() {
                    let after = Duration::from_micros(rng.below(20_000));
                    actions.push(Action::End { task: id, after, state: TaskState::TaskKilled });
                }
            }
            Type::Acknowledged => {
                let known = event.acknowledged.unwrap_or_default();
                self.updates.retain(|status| *status.uuid() != known.uuid);
                if let Some(task) = self.tasks.get_mut(&known.task_id.value) {
                    task.is_known = true;
                }
                self.tasks.retain(|id, task| {
                    !task.has_ended || self.updates.iter().any(|s| s.task_id.value == *id)
                });
            }
            Type::Shutdown if !self.stubborn => actions.push(Action::Exit),
            _ => {}
        }
        self.idle_since = self.is_idle().then(|| self.idle_since.unwrap_or(now));
        actions
    }

    fn launch(&mut self, info: v1::TaskInfo, rng: &mut Rng) -> Vec<Action> {
        let id = info.task_id.value.clone();
        let command = String::from_utf8_lossy(info.data()).into_owned();
        let Some(plan) = Plan::parse(&command) else {
            self.complaint = Some(format!("task {id} has no plan in '{command}'"));
            return Vec::new();
        };
        let task = Running { info, plan, has_ended: false, is_known: false };
        if self.tasks.insert(id.clone(), task).is_some() {
            self.complaint = Some(format!("executor {} got task {id} twice", self.executor_id));
        }
        let state = if plan.code == 0 { TaskState::TaskFinished } else { TaskState::TaskFailed };
        let running = self.status(&id, TaskState::TaskRunning, rng);
        let after = plan.runs + Duration::from_millis(1);
        vec![Action::Say(Box::new(running)), Action::End { task: id, after, state }]
    }

    /// A task ends, unless it has ended.
    pub(crate) fn end(
        &mut self,
        task: &str,
        state: TaskState,
        rng: &mut Rng,
    ) -> Option<v1::TaskStatus> {
        let running = self.tasks.get_mut(task).filter(|task| !task.has_ended)?;
        running.has_ended = true;
        Some(self.status(task, state, rng))
    }
}
