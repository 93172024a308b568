//! What a master knows; published to readers as a whole. Cheap to clone: frameworks, agents and tasks are shared until
//! they change.

use crate::draining::Deactivated;
use crate::latencies::Latencies;
use crate::maintenance::{Maintenance, Scheduled};
use crate::registration::options;
use crate::share::Share;
use allocator::{AgentId, FrameworkId, Overlap};
use base::{Time, Token, WallTime};
use resources::{Conversion, Resources};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wire::{internal, v1};

/// Everything that readers may see.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// This master, as others are told of it.
    pub info: v1::MasterInfo,
    /// When this process started to lead.
    pub elected: Option<WallTime>,
    /// Registered and recovered frameworks.
    pub frameworks: BTreeMap<FrameworkId, Arc<Framework>>,
    /// The last frameworks that were removed.
    pub completed_frameworks: VecDeque<Arc<Framework>>,
    /// Registered agents.
    pub agents: BTreeMap<AgentId, Arc<Agent>>,
    /// Agents of the registry that have not come back yet.
    pub recovered_agents: BTreeMap<String, Arc<internal::RegistryAgent>>,
    /// Unreachable agents, with when they became so.
    pub unreachable: BTreeMap<String, v1::TimeInfo>,
    /// Agents marked gone, with when.
    pub gone: BTreeMap<String, v1::TimeInfo>,
    /// Agents that operators took out of use, by id: registered, not back yet, or unreachable.
    pub deactivated: BTreeMap<String, Deactivated>,
    /// What operators plan for machines.
    pub maintenance: Arc<Maintenance>,
    /// Registered agents on machines that have a maintenance window.
    pub scheduled: BTreeMap<AgentId, Arc<Scheduled>>,
    /// Counts of events, by metric name (`master/…`).
    pub counters: BTreeMap<String, u64>,
    /// How long things take.
    pub latencies: Latencies,
    /// Every flag's name and value.
    pub flags: BTreeMap<String, String>,
    /// `--roles`.
    pub role_whitelist: Option<BTreeSet<String>>,
    /// `--weights`, and those that operators set.
    pub weights: BTreeMap<String, f64>,
    /// Quotas, by role.
    pub quotas: BTreeMap<String, v1::quota::QuotaConfig>,
    /// Shares, by role.
    pub shares: BTreeMap<String, Arc<Share>>,
    /// `--offer_overlap`, and what operators set.
    pub overlaps: BTreeMap<String, Overlap>,
}

/// A framework.
#[derive(Debug, Clone)]
pub struct Framework {
    /// Its number in this master.
    pub key: FrameworkId,
    /// Its id.
    pub id: String,
    /// Its latest description.
    pub info: v1::FrameworkInfo,
    /// Its event stream.
    pub stream: Option<Token>,
    /// `Mesos-Stream-Id` of it.
    pub stream_id: String,
    /// Known from its agents only: it has not subscribed to this master.
    pub recovered: bool,
    /// When it first subscribed here.
    pub registered: WallTime,
    /// When it last subscribed.
    pub reregistered: WallTime,
    /// Since when its stream is closed, as long as it is.
    pub disconnected: Option<WallTime>,
    /// When it was removed.
    pub unregistered: Option<WallTime>,
    /// Live tasks, including terminal ones that are not acknowledged.
    pub tasks: BTreeMap<String, Arc<Task>>,
    /// Tasks on unreachable agents.
    pub unreachable_tasks: VecDeque<Arc<Task>>,
    /// The last tasks that ended.
    pub completed_tasks: VecDeque<Arc<Task>>,
    /// Its executors that hold resources of their own.
    pub executors: BTreeMap<(AgentId, String), Executor>,
    /// What its executors and its tasks that have not ended hold.
    pub used: Resources,
    /// Roles for which it wants no offers.
    pub suppressed: BTreeSet<String>,
    /// Its offer constraints.
    pub constraints: Option<v1::scheduler::OfferConstraints>,
    /// Its open offers, by id.
    pub offers: BTreeMap<String, Arc<Offer>>,
    /// What it was asked to give back and has not answered, by id.
    pub inverse_offers: BTreeMap<String, Arc<v1::InverseOffer>>,
    /// Counts of its calls, events, operations, offers and ended tasks, by metric name (`calls/accept`).
    pub counters: BTreeMap<String, u64>,
}

/// A task.
#[derive(Debug, Clone)]
pub struct Task {
    /// What everybody may know of it. `executor_id` is unset for command tasks.
    pub wire: v1::Task,
    /// Where it is.
    pub agent: AgentId,
    /// What it uses.
    pub resources: Resources,
    /// When this master launched it, until it is known to run.
    pub launched: Option<Time>,
}

/// An executor that holds resources of its own.
#[derive(Debug, Clone)]
pub struct Executor {
    /// Its description.
    pub info: v1::ExecutorInfo,
    /// What it uses.
    pub resources: Resources,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its number in this master.
    pub key: AgentId,
    /// Its id.
    pub id: String,
    /// Its description, with id.
    pub info: v1::AgentInfo,
    /// IP address of its connection.
    pub ip: String,
    /// Version of the interfaces it speaks.
    pub version: String,
    /// Its capabilities.
    pub capabilities: Vec<v1::agent_info::Capability>,
    /// Its connection, while open.
    pub connection: Option<Token>,
    /// When it first registered here.
    pub registered: WallTime,
    /// When it came back.
    pub reregistered: Option<WallTime>,
    /// All of its resources: those of its description, with reservations and volumes made on them.
    pub total: Resources,
    /// Operations that are not finished, or whose end is not acknowledged, by uuid.
    pub operations: BTreeMap<Vec<u8>, Arc<Operation>>,
    /// Its tasks.
    pub tasks: BTreeSet<(FrameworkId, String)>,
    /// Executors on it that hold resources of their own.
    pub executors: BTreeSet<(FrameworkId, String)>,
    /// What these executors and its tasks that have not ended hold.
    pub used: Resources,
    /// Tasks whose end was asked for: asked again when it comes back.
    pub killed: BTreeSet<(FrameworkId, String)>,
    /// Those of them that an operator asked for.
    pub killed_by_operator: BTreeSet<(FrameworkId, String)>,
    /// Pings in a row without an answer.
    pub missed_pings: u32,
    /// It is being marked unreachable or gone in the registry.
    pub leaving: bool,
}

/// An operation on an agent's resources: a reservation, a volume.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What everybody may know of it.
    pub wire: v1::Operation,
    /// What it does, to resources that are allocated to nobody.
    pub conversion: Conversion,
}

/// An open offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// To whom.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// For which role.
    pub role: String,
    /// What, with allocation info.
    pub resources: Resources,
    /// Whether others may be offered the same, and the first who accepts has it.
    pub soft: bool,
    /// When it was made, on the master's own clock.
    pub made: Time,
}

impl Framework {
    /// Whether it has this capability.
    #[must_use]
    pub fn has(&self, capability: v1::framework_info::capability::Type) -> bool {
        self.info.capabilities.iter().any(|c| c.r#type() == capability)
    }

    /// Whether its event stream is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Roles it is subscribed to.
    #[must_use]
    pub fn roles(&self) -> BTreeSet<String> {
        roles_of(&self.info)
    }

    /// What is offered to it.
    #[must_use]
    pub fn offered(&self) -> Resources {
        self.offers.values().map(|offer| &offer.resources).sum()
    }

    /// State for a task that is in a bad way: what partition-aware frameworks are told, and what others are.
    pub(crate) fn lost(&self, aware: v1::TaskState) -> v1::TaskState {
        if self.has(v1::framework_info::capability::Type::PartitionAware) {
            aware
        } else {
            v1::TaskState::TaskLost
        }
    }
}

/// Roles of a framework, from `roles` or the older `role`.
pub(crate) fn roles_of(info: &v1::FrameworkInfo) -> BTreeSet<String> {
    let multi = info
        .capabilities
        .iter()
        .any(|c| c.r#type() == v1::framework_info::capability::Type::MultiRole);
    if multi {
        info.roles.iter().cloned().collect()
    } else {
        BTreeSet::from([info.role().to_owned()])
    }
}

impl Task {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.wire.task_id.value
    }

    /// Whether its resources are in use: until its end is known, acknowledged or not.
    #[must_use]
    pub fn holds_resources(&self) -> bool {
        !is_terminal(self.wire.state()) && self.wire.state() != v1::TaskState::TaskUnreachable
    }
}

impl Agent {
    /// Whether its connection is open and it is registered.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Ids of a framework's tasks on it.
    pub fn tasks_of(&self, framework: FrameworkId) -> impl Iterator<Item = &str> {
        of(&self.tasks, framework)
    }

    /// Ids of a framework's executors on it that hold resources of their own.
    pub fn executors_of(&self, framework: FrameworkId) -> impl Iterator<Item = &str> {
        of(&self.executors, framework)
    }

    /// Where its own API is.
    #[must_use]
    pub fn url(&self) -> v1::Url {
        v1::Url {
            scheme: "http".to_owned(),
            address: v1::Address {
                hostname: Some(self.info.hostname.clone()),
                ip: Some(self.ip.clone()),
                port: self.info.port(),
            },
            path: Some("/slave(1)".to_owned()),
            ..Default::default()
        }
    }
}

impl Operation {
    /// Its latest state.
    #[must_use]
    pub fn state(&self) -> v1::OperationState {
        self.wire.latest_status.state()
    }
}

impl State {
    /// A framework by its id.
    #[must_use]
    pub fn framework(&self, id: &str) -> Option<&Arc<Framework>> {
        self.frameworks.values().find(|f| f.id == id)
    }

    /// An agent by its id.
    #[must_use]
    pub fn agent(&self, id: &str) -> Option<&Arc<Agent>> {
        self.agents.values().find(|a| a.id == id)
    }

    /// Whether an agent may be offered: it is connected, and no operator took it out of use.
    #[must_use]
    pub fn is_active(&self, agent: &Agent) -> bool {
        agent.is_connected() && !self.deactivated.contains_key(&agent.id)
    }

    /// Ids of agents from which a framework's offer constraints keep offers away, by role (spec/master.md 4.6).
    #[must_use]
    pub fn excluded_by_constraints(&self, framework: &Framework) -> BTreeMap<String, Vec<String>> {
        let Some(constraints) = &framework.constraints else { return BTreeMap::new() };
        // They were checked when the framework set them.
        let constraints = allocator::validate_constraints(constraints).unwrap_or_default();
        let of_role = |role: &str| {
            let kept = |agent: &&Arc<Agent>| !constraints.allow(role, &options(agent));
            self.agents.values().filter(kept).map(|agent| agent.id.clone()).collect()
        };
        constraints.roles().map(|role| (role.to_owned(), of_role(role))).collect()
    }

    /// What is used on an agent, by framework.
    #[must_use]
    pub fn used_on(&self, agent: &Agent) -> BTreeMap<FrameworkId, Resources> {
        let mut used: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
        for (framework, task) in &agent.tasks {
            let task = self.frameworks.get(framework).and_then(|f| f.tasks.get(task));
            if let Some(task) = task.filter(|t| t.holds_resources()) {
                *used.entry(*framework).or_default() += &task.resources;
            }
        }
        for (key, executor) in &agent.executors {
            let at = (agent.key, executor.clone());
            let executor = self.frameworks.get(key).and_then(|f| f.executors.get(&at));
            if let Some(executor) = executor {
                *used.entry(*key).or_default() += &executor.resources;
            }
        }
        used.retain(|_, resources| !resources.is_empty());
        used
    }
}

/// Those of a framework.
fn of(ids: &BTreeSet<(FrameworkId, String)>, framework: FrameworkId) -> impl Iterator<Item = &str> {
    let from = ids.range((framework, String::new())..);
    from.take_while(move |(of, _)| *of == framework).map(|(_, id)| id.as_str())
}

/// Whether no other state of an operation follows.
#[must_use]
pub fn is_operation_terminal(state: v1::OperationState) -> bool {
    use v1::OperationState as S;
    matches!(
        state,
        S::OperationFinished
            | S::OperationFailed
            | S::OperationError
            | S::OperationDropped
            | S::OperationGoneByOperator
    )
}

/// Whether no other state follows.
#[must_use]
pub fn is_terminal(state: v1::TaskState) -> bool {
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
