//! A framework that knows what it asked for: the oracle of a run.

use crate::options::Options;
use crate::plan::Plan;
use base::{Rng, Time, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::v1::{self, TaskState, scheduler};

/// What the framework knows about one of its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) agent: String,
    pub(crate) plan: Plan,
    /// Whether the master answered the ACCEPT, or the answer will never come.
    pub(crate) settled: bool,
    pub(crate) kill_asked: bool,
    /// Latest state that the framework was told.
    pub(crate) state: Option<TaskState>,
    /// It uses revocable resources.
    pub(crate) revocable: bool,
    /// It was ended to give them back.
    pub(crate) is_preempted: bool,
    /// All tasks of its group, itself included; none if it came alone.
    pub(crate) group: Vec<String>,
    /// It was running once.
    pub(crate) has_run: bool,
    /// Its health is checked: it may be killed for that.
    pub(crate) is_checked: bool,
    /// The terminal state that came from the executor itself, which nothing may contradict.
    pub(crate) end: Option<TaskState>,
    /// Distinct updates that wanted an acknowledgement.
    pub(crate) updates: BTreeSet<Vec<u8>>,
    /// Acknowledgements that reached the master.
    pub(crate) acknowledged: BTreeSet<Vec<u8>>,
}

/// What a framework wants to tell the master.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) call: scheduler::Call,
    /// Tasks whose fate depends on this request.
    pub(crate) tasks: Vec<String>,
}

/// What a framework does that uses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hoarding {
    Keeps,
    Declines,
}

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) index: usize,
    pub(crate) id: Option<String>,
    pub(crate) stream: Option<Token>,
    pub(crate) stream_id: String,
    /// When it heard something last.
    pub(crate) heard: Time,
    pub(crate) partition_aware: bool,
    pub(crate) checkpoint: bool,
    pub(crate) tasks: BTreeMap<String, Task>,
    /// Ids of operations, and whether each is known to be done.
    pub(crate) operations: BTreeMap<String, bool>,
    pub(crate) wanted: usize,
    forgotten_acks: u64,
    killing_state: bool,
    /// Takes revocable resources.
    borrows: bool,
    /// Launches task groups in one pod on each agent, some of their tasks on revocable resources, some not.
    pub(crate) has_pods: bool,
    /// Runs its tasks in executors of its own.
    pub(crate) has_executors: bool,
    /// Offers that it has not answered yet: a pod may want those of an agent together.
    pub(crate) kept: Vec<v1::Offer>,
    /// Wants nothing from time to time.
    dozes: bool,
    /// What it does with all offers, if it uses nothing.
    pub(crate) hoards: Option<Hoarding>,
    /// Agents that an operator drained or brought down: their tasks may be killed.
    pub(crate) drained: BTreeSet<String>,
    /// Declines nothing that it can use.
    pub(crate) is_eager: bool,
    /// Longest time that one of its tasks takes by itself.
    pub(crate) longest_task: Duration,
    /// Once in how many offers it reserves something instead, and in how many looks it wants all offers anew.
    pub(crate) leisure: (u64, u64),
    /// Nothing happens to agents: what runs ends by itself.
    is_spared: bool,
    /// Set when faults are over: launches nothing more.
    pub(crate) calm: bool,
    /// What went wrong, as the framework sees it.
    pub(crate) complaint: Option<String>,
}

impl Framework {
    pub(crate) fn new(index: usize, options: &Options, rng: &mut Rng) -> Self {
        let has_pods = options.lending && rng.chance(1, 2);
        Self {
            index,
            id: None,
            stream: None,
            stream_id: String::new(),
            heard: Time(0),
            partition_aware: rng.chance(1, 2),
            checkpoint: rng.chance(3, 4),
            killing_state: rng.chance(1, 2),
            borrows: options.lending && rng.chance(2, 3),
            has_pods,
            // Who needs room for an executor as well declines what others could use.
            has_executors: !has_pods && !options.hoarding && rng.chance(1, 3),
            kept: Vec::new(),
            dozes: options.lending && rng.chance(1, 2),
            hoards: (options.hoarding && index > 0)
                .then(|| if rng.chance(1, 2) { Hoarding::Keeps } else { Hoarding::Declines }),
            drained: BTreeSet::new(),
            is_eager: options.hoarding,
            longest_task: options.longest_task,
            leisure: if options.steady { (40, 40) } else { (4, 5) },
            is_spared: options.masters > 1 && options.spares_agents(),
            tasks: BTreeMap::new(),
            operations: BTreeMap::new(),
            wanted: if options.lending || options.hoarding {
                5 * options.tasks
            } else {
                options.tasks
            },
            forgotten_acks: options.forgotten_acks,
            calm: false,
            complaint: None,
        }
    }

    /// The SUBSCRIBE call, with the id it had.
    pub(crate) fn subscribe(&self) -> scheduler::Call {
        use v1::framework_info::capability::Type;
        let mut capabilities = vec![Type::MultiRole];
        capabilities.extend(self.partition_aware.then_some(Type::PartitionAware));
        capabilities.extend(self.killing_state.then_some(Type::TaskKillingState));
        capabilities.extend(self.borrows.then_some(Type::RevocableResources));
        let id = self.id.clone().map(|value| v1::FrameworkId { value });
        let framework_info = v1::FrameworkInfo {
            user: "root".to_owned(),
            name: format!("framework {}", self.index),
            id: id.clone(),
            failover_timeout: Some(7.0 * 86400.0),
            checkpoint: Some(self.checkpoint),
            roles: vec![["a", "b", "a/c"][self.index % 3].to_owned()],
            capabilities: capabilities
                .into_iter()
                .map(|t| v1::framework_info::Capability { r#type: Some(t as i32) })
                .collect(),
            ..Default::default()
        };
        scheduler::Call {
            framework_id: id,
            r#type: Some(scheduler::call::Type::Subscribe as i32),
            subscribe: Some(scheduler::call::Subscribe { framework_info, ..Default::default() }),
            ..Default::default()
        }
    }

    pub(crate) fn call(&self, kind: scheduler::call::Type) -> scheduler::Call {
        scheduler::Call {
            framework_id: self.id.clone().map(|value| v1::FrameworkId { value }),
            r#type: Some(kind as i32),
            ..Default::default()
        }
    }

    /// Handles one event and says what to ask for in return.
    pub(crate) fn on_event(&mut self, event: &scheduler::Event, rng: &mut Rng) -> Vec<Request> {
        use scheduler::event::Type;
        match event.r#type() {
            Type::Subscribed => {
                let id = event.subscribed.as_ref().map(|s| s.framework_id.value.clone());
                if self.id.is_some() && self.id != id {
                    self.complaint =
                        Some(format!("subscribed as {:?}, answered as {id:?}", self.id));
                }
                self.id = id;
                self.kept.clear();
                vec![self.reconcile(true), self.reconcile(false)]
            }
            Type::Offers if self.hoards == Some(Hoarding::Keeps) && !self.calm => Vec::new(),
            Type::Offers => {
                let offers = event.offers.as_ref().map_or(&[][..], |o| &o.offers);
                self.kept.extend_from_slice(offers);
                if self.has_pods && rng.chance(3, 4) { Vec::new() } else { self.answer_all(rng) }
            }
            Type::Rescind => {
                let id = event.rescind.as_ref().map(|r| &r.offer_id);
                self.kept.retain(|offer| Some(&offer.id) != id);
                Vec::new()
            }
            Type::Update => {
                let status = event.update.as_ref().map(|u| u.status.clone()).unwrap_or_default();
                self.on_update(&status, rng).into_iter().collect()
            }
            Type::UpdateOperationStatus => {
                let update = event.update_operation_status.clone().unwrap_or_default();
                self.on_operation(&update.status, rng).into_iter().collect()
            }
            Type::InverseOffers => {
                let offers = event.inverse_offers.as_ref().map(|o| o.inverse_offers.as_slice());
                offers.unwrap_or_default().iter().flat_map(|o| self.give_back(o, rng)).collect()
            }
            Type::Error => {
                let message = event.error.as_ref().map_or("", |e| e.message.as_str());
                if message != "Framework failed over" {
                    self.complaint = Some(format!("ERROR event: {message}"));
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn on_update(&mut self, status: &v1::TaskStatus, rng: &mut Rng) -> Option<Request> {
        let state = status.state();
        let id = &status.task_id.value;
        let Some(task) = self.tasks.get_mut(id) else {
            self.complaint = Some(format!(
                "status {} of task {id}, which was never launched",
                state.as_str_name()
            ));
            return None;
        };
        if let Some(uuid) = &status.uuid {
            task.updates.insert(uuid.clone());
        }
        let unknown = status.reason() == v1::task_status::Reason::Reconciliation
            && status.message().contains("unknown to the agent");
        let is_over = task.state.is_some_and(is_terminal);
        let was_ended = self.drained.contains(&task.agent);
        if self.checkpoint && unknown && task.has_run && !is_over && !was_ended {
            self.complaint = Some(format!("task {id} ran, but its agent forgot it"));
        }
        task.has_run |= state == TaskState::TaskRunning;
        // Of what is left after a task in the same call, another may not fit.
        let is_invalid = !status.message().contains("more than available");
        if state == TaskState::TaskError && is_invalid {
            self.complaint = Some(format!("task {id} is invalid: {}", status.message()));
        }
        let is_preempted = status.reason() == v1::task_status::Reason::ContainerPreempted;
        task.is_preempted |= is_preempted;
        if is_preempted && !task.revocable {
            self.complaint = Some(format!("task {id} was preempted, but uses nothing revocable"));
        }
        let is_over = task.end.is_some() || was_ended;
        if self.is_spared && task.has_run && !is_over && ends_alone(task, status) {
            self.complaint = Some(format!(
                "task {id} ran, and is {} by no fault of its agent",
                state.as_str_name()
            ));
        }
        task.state = Some(state);
        if status.source() == v1::task_status::Source::Executor
            && is_terminal(state)
            && status.uuid.is_some()
        {
            if task.end.is_some_and(|end| end != state) {
                self.complaint =
                    Some(format!("task {id} ended twice: {:?} and {state:?}", task.end));
            }
            let expected =
                if task.plan.code == 0 { TaskState::TaskFinished } else { TaskState::TaskFailed };
            let is_drained = self.drained.contains(&task.agent);
            let is_gone = is_drained && state == TaskState::TaskGoneByOperator;
            let is_killed = state == TaskState::TaskKilled || is_gone;
            let (asked, plan, group) = (task.kill_asked, task.plan, task.group.clone());
            let is_unhealthy = task.is_checked && status.healthy == Some(false);
            let may_end_early =
                asked || is_drained || is_unhealthy || task.revocable && !group.is_empty();
            task.end = Some(state);
            let is_ended = is_killed && (may_end_early || self.may_end(&group));
            // Of a preempted one its executor says that it ended; the agent adds what for.
            if state != expected && !is_ended && !is_preempted {
                self.complaint =
                    Some(format!("task {id} ended as {state:?}, its plan is {plan:?}"));
            }
        } else if let Some(end) = task.end {
            task.state = Some(end);
        }
        let uuid = status.uuid.clone()?;
        if !self.calm && rng.chance(self.forgotten_acks, 100) {
            return None;
        }
        let mut call = self.call(scheduler::call::Type::Acknowledge);
        call.acknowledge = Some(scheduler::call::Acknowledge {
            agent_id: status.agent_id.clone().unwrap_or_default(),
            task_id: status.task_id.clone(),
            uuid,
        });
        Some(Request { call, tasks: Vec::new() })
    }

    /// Whether one of a group may have ended so that the others go with it: preemption is no such end.
    fn may_end(&self, group: &[String]) -> bool {
        let mut tasks = group.iter().filter_map(|id| self.tasks.get(id));
        // Tasks of a framework without checkpoints fail with their agent.
        !group.is_empty() && !self.checkpoint
            || tasks.any(|t| t.kill_asked || t.is_checked || t.plan.code != 0 || !t.plan.fetchable)
    }

    fn on_operation(&mut self, status: &v1::OperationStatus, rng: &mut Rng) -> Option<Request> {
        let id = status.operation_id.clone()?;
        let Some(ended) = self.operations.get_mut(&id.value) else {
            self.complaint = Some(format!("status of operation {}, which never was", id.value));
            return None;
        };
        let state = status.state();
        let is_failure = matches!(
            state,
            v1::OperationState::OperationError | v1::OperationState::OperationFailed
        );
        let text = status.message();
        // An offer may have ended while the call was on its way, or room for what it offered.
        let is_expected =
            ["invalid offers", "Agent", "limits or guarantees"].iter().any(|t| text.contains(t));
        if is_failure && !is_expected {
            self.complaint = Some(format!("operation {}: {state:?}: {text}", id.value));
        }
        if *ended && state != v1::OperationState::OperationFinished && status.uuid.is_some() {
            self.complaint = Some(format!("operation {} ended twice: {state:?}", id.value));
        }
        *ended |= state == v1::OperationState::OperationFinished;
        let uuid = status.uuid.clone()?;
        if !self.calm && rng.chance(self.forgotten_acks, 100) {
            return None;
        }
        let mut call = self.call(scheduler::call::Type::AcknowledgeOperationStatus);
        call.acknowledge_operation_status = Some(scheduler::call::AcknowledgeOperationStatus {
            agent_id: status.agent_id.clone(),
            resource_provider_id: None,
            uuid: uuid.value,
            operation_id: id,
        });
        Some(Request { call, tasks: Vec::new() })
    }

    /// Some end their tasks when what these use is wanted back, some say that they will not, some say nothing.
    fn give_back(&mut self, offer: &v1::InverseOffer, rng: &mut Rng) -> Vec<Request> {
        let inverse_offer_ids = vec![offer.id.clone()];
        match rng.below(3) {
            0 => {
                let mut call = self.call(scheduler::call::Type::AcceptInverseOffers);
                call.accept_inverse_offers = Some(scheduler::call::AcceptInverseOffers {
                    inverse_offer_ids,
                    ..Default::default()
                });
                let on = offer.agent_id.clone().unwrap_or_default().value;
                let tasks = self.open_tasks().filter(|(_, t)| t.revocable && t.agent == on);
                let tasks: Vec<String> = tasks.map(|(id, _)| id.clone()).collect();
                let kills: Vec<Request> = tasks.iter().map(|id| self.kill(id)).collect();
                std::iter::once(Request { call, tasks: Vec::new() }).chain(kills).collect()
            }
            1 => {
                let mut call = self.call(scheduler::call::Type::DeclineInverseOffers);
                call.decline_inverse_offers = Some(scheduler::call::DeclineInverseOffers {
                    inverse_offer_ids,
                    ..Default::default()
                });
                vec![Request { call, tasks: Vec::new() }]
            }
            _ => Vec::new(),
        }
    }

    fn kill(&mut self, id: &str) -> Request {
        let mut call = self.call(scheduler::call::Type::Kill);
        let agent_id = self.tasks.get_mut(id).map(|task| {
            task.kill_asked = true;
            v1::AgentId { value: task.agent.clone() }
        });
        let task_id = v1::TaskId { value: id.to_owned() };
        call.kill = Some(scheduler::call::Kill { task_id, agent_id, kill_policy: None });
        Request { call, tasks: Vec::new() }
    }

    /// Whether it wants to launch more than it has.
    pub(crate) fn is_hungry(&self) -> bool {
        self.stream.is_some() && self.id.is_some() && !self.calm && self.tasks.len() < self.wanted
    }

    /// What the framework does from time to time.
    pub(crate) fn tick(&mut self, rng: &mut Rng) -> Vec<Request> {
        let mut requests = self.answer_all(rng);
        if self.calm || rng.chance(1, 10) {
            requests.push(self.reconcile(false));
        }
        if self.calm {
            return requests;
        }
        let running: Vec<String> = self.open_tasks().map(|(id, _)| id.clone()).collect();
        if !running.is_empty() && rng.chance(1, 5) {
            let id = running[rng.below(running.len() as u64) as usize].clone();
            requests.push(self.kill(&id));
        }
        if self.dozes && rng.chance(1, 4) {
            let call = self.call(scheduler::call::Type::Suppress);
            requests.push(Request { call, tasks: Vec::new() });
        }
        if rng.chance(1, if self.dozes { 12 } else { self.leisure.1 }) {
            requests.push(Request {
                call: self.call(scheduler::call::Type::Revive),
                tasks: Vec::new(),
            });
        }
        requests
    }

    /// Tasks whose ACCEPT is settled and whose end is not known.
    pub(crate) fn open_tasks(&self) -> impl Iterator<Item = (&String, &Task)> {
        self.tasks.iter().filter(|(_, t)| t.settled && !t.state.is_some_and(is_terminal))
    }

    fn reconcile(&self, implicit: bool) -> Request {
        let mut call = self.call(scheduler::call::Type::Reconcile);
        let tasks = self.open_tasks().filter(|_| !implicit).map(|(id, task)| {
            scheduler::call::reconcile::Task {
                task_id: v1::TaskId { value: id.clone() },
                agent_id: Some(v1::AgentId { value: task.agent.clone() }),
            }
        });
        call.reconcile = Some(scheduler::call::Reconcile { tasks: tasks.collect() });
        Request { call, tasks: Vec::new() }
    }

    /// The answer to an ACCEPT has come, or never will.
    pub(crate) fn settle(&mut self, tasks: &[String]) {
        for id in tasks {
            if let Some(task) = self.tasks.get_mut(id) {
                task.settled = true;
            }
        }
    }
}

/// Whether something else than the task itself and its framework has ended it.
fn ends_alone(task: &Task, status: &v1::TaskStatus) -> bool {
    use TaskState::*;
    let state = status.state();
    let is_known =
        task.kill_asked || task.is_preempted || task.is_checked || !task.group.is_empty();
    let is_over = is_terminal(state) || state == TaskUnreachable;
    is_over && !is_known && !matches!(state, TaskFinished | TaskFailed)
}

/// Whether a framework need not wait any longer. UNKNOWN is the master's word that it never heard of the task.
pub(crate) fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(
        state,
        TaskFinished
            | TaskFailed
            | TaskKilled
            | TaskLost
            | TaskError
            | TaskDropped
            | TaskGone
            | TaskGoneByOperator
            | TaskUnknown
    )
}
