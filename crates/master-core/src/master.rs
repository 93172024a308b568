//! The state machine: one match, no logic of its own.

use crate::acknowledged::Acknowledged;
use crate::contract::{Config, Effect, Input, Response};
use crate::election::Awaited;
use crate::history::{History, MINUTE};
use crate::lease::Leases;
use crate::lending::is_overlent;
use crate::maintenance::{Machine, Maintenance, Warnings};
use crate::minimum::Minimum;
use crate::overlap::SoftOffers;
use crate::recall::Notice;
use crate::registering::Registering;
use crate::registry::RegistryOp;
use crate::share::ShareConfig;
use crate::state::{Agent, Framework, Offer, State};
use allocator::{AgentId, Allocator, FrameworkId, Overlap};
use base::{Held, Now, Rng, Time, Timers, Token, WriteId};
use resources::Resources;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wire::{internal, v1};

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Heartbeat of a framework's stream.
    Heartbeat(FrameworkId),
    /// A disconnected framework did not come back.
    Failover(FrameworkId),
    /// Ping an agent.
    Ping(AgentId),
    /// A disconnected agent did not come back.
    Reregister(AgentId),
    /// An offer is too old.
    Offer(String),
    /// Offers may have been kept for too long while others wait.
    Lease,
    /// What a framework was told of by an inverse offer is over.
    Preempt(String),
    /// An inverse offer for maintenance is too old.
    Warning(AgentId, FrameworkId),
    /// What a framework said of maintenance has grown old.
    Warnings,
    /// An agent did not come back although its machine is up again.
    BroughtUp(String),
    /// Agents of the registry did not come back.
    Recovered,
    /// Take the next agent out of the queue of removals.
    Removal,
    /// Enough agents should be back to make offers, or will not come.
    AllocatorRecovery,
    /// A share begins or ends, or the clock is to be looked at.
    Shares,
    /// Clean the registry.
    Gc,
    /// Keep what the policy decided.
    History,
}

/// What waits for a write of the registry.
#[derive(Debug, Clone)]
pub(crate) enum Waiting {
    /// A new agent may be admitted.
    Admit { id: String, connection: Token, ip: String, register: Box<internal::Register> },
    /// An agent may come back.
    Return { connection: Token, ip: String, register: Box<internal::Register> },
    /// A registered agent is unreachable.
    Unreachable { agent: AgentId, message: String },
    /// An agent of the registry, not registered, is unreachable.
    RecoveredUnreachable { id: String },
    /// An agent is gone.
    Gone { token: Option<Token>, id: String },
    /// An agent is removed.
    Removed { agent: AgentId, message: String },
    /// An agent is out of use.
    Deactivated { token: Token, id: String, drain: Option<v1::DrainInfo> },
    /// Nothing is left on an agent that was drained in this way.
    Drained { id: String, config: v1::DrainConfig },
    /// An agent is in use again.
    Reactivated { token: Token, id: String },
    /// Maintenance is planned.
    Maintenance { token: Token, next: Arc<Maintenance> },
    /// Quotas are set.
    Quota { token: Token, configs: Vec<v1::quota::QuotaConfig> },
    /// Weights are set.
    Weights { token: Token, weights: BTreeMap<String, f64> },
    /// A share is set, or removed.
    Share { token: Token, role: String, config: Option<ShareConfig> },
    /// The overlap of a role is set.
    Overlap { token: Token, role: String, overlap: Option<Overlap> },
    /// Entries are forgotten.
    Forgotten { unreachable: Vec<String>, gone: Vec<String> },
    /// Nothing.
    Nothing,
}

/// The master.
#[derive(Debug)]
pub struct Master {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) allocator: Box<dyn Allocator>,
    pub(crate) timers: Timers<Timer>,
    pub(crate) rng: Rng,
    pub(crate) held: Held<Waiting>,
    /// Framework id to number.
    pub(crate) framework_keys: BTreeMap<String, FrameworkId>,
    /// Agent id to number.
    pub(crate) agent_keys: BTreeMap<String, AgentId>,
    /// Connection to agent.
    pub(crate) connections: BTreeMap<Token, AgentId>,
    /// Stream to framework.
    pub(crate) streams: BTreeMap<Token, FrameworkId>,
    pub(crate) offers: BTreeMap<String, Arc<Offer>>,
    /// Their ids by agent.
    pub(crate) offers_on: BTreeMap<AgentId, BTreeSet<String>>,
    /// Inverse offers, by id.
    pub(crate) notices: BTreeMap<String, Notice>,
    pub(crate) warnings: Warnings,
    /// Maintenance as it will be when all writes are done.
    pub(crate) planned: Arc<Maintenance>,
    /// Agents that were removed with their machines, which are down.
    pub(crate) brought_down: BTreeMap<String, Machine>,
    /// Agents that are being marked gone in the registry.
    pub(crate) leaving_for_good: BTreeSet<String>,
    /// Agents that are being marked drained in the registry.
    pub(crate) drained: BTreeSet<String>,
    /// Agents on which something has ended in this step.
    pub(crate) emptied: BTreeSet<AgentId>,
    pub(crate) leases: Leases,
    pub(crate) history: History,
    pub(crate) soft_offers: SoftOffers,
    /// Roles whose overlap operators have set: `state.overlaps` has those of the flag too.
    pub(crate) set_overlaps: BTreeSet<String>,
    pub(crate) minimum: Minimum,
    pub(crate) registering: Registering,
    /// Agents to be marked unreachable when the rate limit allows, with why.
    pub(crate) removals: VecDeque<(AgentId, String)>,
    /// Agents of which something is free that nobody was offered, since when.
    pub(crate) freed: BTreeMap<AgentId, Time>,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) last_removal: Option<Time>,
    pub(crate) next_framework: u32,
    pub(crate) next_agent: u32,
    pub(crate) next_offer: u64,
    pub(crate) next_key: u32,
    pub(crate) awaited: Option<Awaited>,
    /// Somebody listens to announcements.
    pub(crate) observed: bool,
}

/// What a handler may do to the world.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Cx<'_> {
    pub(crate) fn respond(&mut self, token: Token, status: u16, body: impl Into<String>) {
        self.out.push(Effect::Respond { token, response: Response { status, body: body.into() } });
    }
}

impl Master {
    /// A master that does not lead yet.
    #[must_use]
    pub fn new(config: Config, allocator: Box<dyn Allocator>) -> Self {
        let state = State {
            info: config.info.clone(),
            flags: config.flags.clone(),
            role_whitelist: config.roles.clone(),
            weights: config.allocator.weights.clone(),
            ..State::default()
        };
        Self {
            rng: Rng::new(config.seed),
            config,
            state,
            allocator,
            timers: Timers::new(),
            held: Held::new(),
            framework_keys: BTreeMap::new(),
            agent_keys: BTreeMap::new(),
            connections: BTreeMap::new(),
            streams: BTreeMap::new(),
            offers: BTreeMap::new(),
            offers_on: BTreeMap::new(),
            notices: BTreeMap::new(),
            warnings: Warnings::default(),
            planned: Arc::default(),
            brought_down: BTreeMap::new(),
            leaving_for_good: BTreeSet::new(),
            drained: BTreeSet::new(),
            emptied: BTreeSet::new(),
            leases: Leases::default(),
            history: History::default(),
            soft_offers: SoftOffers::new(),
            set_overlaps: BTreeSet::new(),
            minimum: Minimum::default(),
            registering: Registering::default(),
            removals: VecDeque::new(),
            freed: BTreeMap::new(),
            acknowledged: Acknowledged::default(),
            last_removal: None,
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            next_key: 0,
            awaited: None,
            observed: false,
        }
    }

    /// Handles one input and appends what is to be done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let cx = &mut Cx { now, out };
        match input {
            Input::Elected { registry } => self.on_elected(cx, registry),
            Input::Subscribe { stream, stream_id, call, principal } => {
                self.on_subscribe(cx, stream, stream_id, *call, principal);
            }
            Input::SchedulerCall { token, stream_id, call, principal } => {
                self.on_call(cx, token, stream_id.as_deref(), *call, principal.as_deref());
            }
            Input::StreamClosed { stream } => self.on_stream_closed(cx, stream),
            Input::Operator { token, call } => self.on_operator(cx, token, call),
            Input::FromAgent { connection, ip, message } => {
                self.on_agent_message(cx, connection, ip, *message)
            }
            Input::AgentClosed { connection } => self.on_agent_closed(cx, connection),
            Input::Written { id, result } => self.on_written(cx, id, result),
            Input::Whitelist { hosts } => self.allocator.set_whitelist(hosts),
            Input::Wake => {}
        }
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.on_timer(&mut Cx { now, out }, timer);
        }
        self.rescind_losers(&mut Cx { now, out });
        if self.allocator.next_run().is_some_and(|at| at <= now.mono)
            && self.state.elected.is_some()
        {
            self.make_offers(&mut Cx { now, out });
        }
        self.end_drains(&mut Cx { now, out });
    }

    /// When the master next wants [`Input::Wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        let run = self.allocator.next_run().filter(|_| self.state.elected.is_some());
        [self.timers.next(), run].into_iter().flatten().min()
    }

    /// When the next cycle of the allocator is due.
    #[must_use]
    pub fn allocation_due(&self) -> Option<Time> {
        self.allocator.next_run()
    }

    /// Cycles of the allocator so far.
    #[must_use]
    pub fn allocation_runs(&self) -> u64 {
        self.state.counters.get("allocator/mesos/allocation_runs").copied().unwrap_or(0)
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

    /// Refusals that hold now, by role: for those who measure, since all agents are looked at.
    #[must_use]
    pub fn offer_filters(&self) -> BTreeMap<String, u64> {
        let mut offer_filters = self.allocator.active_filters();
        for role in self.state.frameworks.values().flat_map(|f| f.roles()) {
            offer_filters.entry(role).or_default();
        }
        offer_filters
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, timer: Timer) {
        match timer {
            Timer::Heartbeat(framework) => self.heartbeat(cx, framework),
            Timer::Failover(framework) => self.on_failover_timeout(cx, framework),
            Timer::Ping(agent) => self.ping(cx, agent),
            Timer::Reregister(agent) => self.on_reregister_timeout(cx, agent),
            Timer::Offer(id) => self.time_out(cx, &id),
            Timer::Lease => self.sweep_leases(cx),
            Timer::Preempt(id) => self.preempt(cx, &id),
            Timer::Warning(agent, framework) => self.time_out_warning(cx, agent, framework),
            Timer::Warnings => self.warn_of_maintenance(cx),
            Timer::BroughtUp(id) => {
                if !self.agent_keys.contains_key(&id) {
                    self.acknowledged.forget(&id);
                }
            }
            Timer::Recovered => self.on_recovered_timeout(cx),
            Timer::AllocatorRecovery => self.expect_nobody(),
            Timer::Removal => self.next_removal(cx),
            Timer::Shares => self.refresh_shares(cx),
            Timer::Gc => self.collect_registry(cx),
            Timer::History => self.keep_history(cx),
        }
    }

    /// Adds what the policy decided since the last time to its history, while it decides anything.
    fn keep_history(&mut self, cx: &Cx<'_>) {
        let decisions = self.allocator.take_decisions(cx.now.mono);
        self.history.record(cx.now.wall, &decisions);
    }

    /// At the end of the minute what was decided in it is kept.
    pub(crate) fn plan_history(&mut self, cx: &Cx<'_>) {
        if self.timers.get(&Timer::History).is_none() {
            let minute = u64::try_from(MINUTE.as_nanos()).unwrap_or(u64::MAX);
            let left = std::time::Duration::from_nanos(minute - cx.now.wall.0 % minute);
            self.timers.set(Timer::History, cx.now.mono + left);
        }
    }

    /// Asks for a change of the registry; `waiting` is carried out when it is durable.
    pub(crate) fn write(&mut self, cx: &mut Cx<'_>, mut ops: Vec<RegistryOp>, waiting: Waiting) {
        self.minimum.amend(&mut ops);
        let id = self.held.hold(vec![waiting]);
        cx.out.push(Effect::WriteRegistry { id, ops });
    }

    fn on_written(&mut self, cx: &mut Cx<'_>, id: WriteId, result: Result<(), String>) {
        let waiting = self.held.release(id);
        if let Err(text) = result {
            cx.out.push(Effect::Abort {
                message: format!("the registry could not be written: {text}"),
            });
            return;
        }
        for item in waiting {
            match item {
                Waiting::Admit { id, connection, ip, register } => {
                    self.admit(cx, &id, connection, ip, *register)
                }
                Waiting::Deactivated { token, id, drain } => {
                    self.on_deactivated(cx, token, id, drain)
                }
                Waiting::Drained { id, config } => self.on_drained(cx, &id, config),
                Waiting::Reactivated { token, id } => self.on_reactivated(cx, token, &id),
                Waiting::Maintenance { token, next } => self.on_planned(cx, token, next),
                Waiting::Nothing => {}
                Waiting::Return { connection, ip, register } => {
                    let open = self.registering.end(connection);
                    self.take_back(cx, connection, ip, *register, open);
                }
                Waiting::Unreachable { agent, message } => self.on_unreachable(cx, agent, &message),
                Waiting::RecoveredUnreachable { id } => self.on_recovered_unreachable(cx, &id),
                Waiting::Gone { token, id } => self.on_gone(cx, token, &id),
                Waiting::Removed { agent, message } => self.on_removed(cx, agent, &message),
                Waiting::Quota { token, configs } => self.on_quota(cx, token, configs),
                Waiting::Weights { token, weights } => self.on_weights(cx, token, weights),
                Waiting::Share { token, role, config } => self.on_share(cx, token, role, config),
                Waiting::Overlap { token, role, overlap } => {
                    self.on_overlap(cx, token, &role, overlap)
                }
                Waiting::Forgotten { unreachable, gone } => {
                    for id in &unreachable {
                        self.acknowledged.forget(id);
                        self.forget_deactivated(id);
                    }
                    self.state.unreachable.retain(|id, _| !unreachable.contains(id));
                    self.state.gone.retain(|id, _| !gone.contains(id));
                }
            }
        }
    }

    pub(crate) fn framework(&self, key: FrameworkId) -> Option<&Framework> {
        self.state.frameworks.get(&key).map(AsRef::as_ref)
    }

    pub(crate) fn framework_mut(&mut self, key: FrameworkId) -> Option<&mut Framework> {
        self.state.frameworks.get_mut(&key).map(Arc::make_mut)
    }

    pub(crate) fn agent(&self, key: AgentId) -> Option<&Agent> {
        self.state.agents.get(&key).map(AsRef::as_ref)
    }

    pub(crate) fn agent_mut(&mut self, key: AgentId) -> Option<&mut Agent> {
        self.state.agents.get_mut(&key).map(Arc::make_mut)
    }

    pub(crate) fn send_event(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        event: v1::scheduler::Event,
    ) {
        if let Some(stream) = self.framework(framework).and_then(|f| f.stream) {
            let kind = event.r#type().as_str_name().to_lowercase();
            self.count_of(framework, "events");
            self.count_of(framework, &format!("events/{kind}"));
            cx.out.push(Effect::SendEvent { stream, event: Box::new(event) });
        }
    }

    /// Counts something of one framework.
    pub(crate) fn count_of(&mut self, framework: FrameworkId, metric: &str) {
        self.add_of(framework, metric, 1);
    }

    /// Counts several of something of one framework.
    pub(crate) fn add_of(&mut self, framework: FrameworkId, metric: &str, count: u64) {
        let Some(framework) = self.framework_mut(framework) else { return };
        match framework.counters.get_mut(metric) {
            Some(known) => *known += count,
            None => {
                framework.counters.insert(metric.to_owned(), count);
            }
        }
    }

    pub(crate) fn send_to_agent(
        &self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        message: internal::master_to_agent::Message,
    ) {
        if let Some(connection) = self.agent(agent).and_then(|a| a.connection) {
            cx.out.push(Effect::SendToAgent { connection, message: Box::new(message) });
        }
    }

    pub(crate) fn count(&mut self, metric: &str) {
        match self.state.counters.get_mut(metric) {
            Some(count) => *count += 1,
            None => {
                self.state.counters.insert(metric.to_owned(), 1);
            }
        }
    }

    /// Own invariants.
    ///
    /// # Errors
    /// The first broken one, in words.
    pub fn check(&self) -> Result<(), String> {
        self.allocator.check()?;
        for (key, agent) in &self.state.agents {
            let used: Resources = self.state.used_on(agent).values().sum();
            if used != agent.used {
                return Err(format!("agent {}: {used} is used, not {}", agent.id, agent.used));
            }
            let mut sum = used.unallocated().nonshared();
            // An agent may come back with less than what is in use on it, and its estimate of what can be oversubscribed
            // may shrink; but then nothing of it is offered.
            let mut offered = Resources::new();
            for offer in self.offered_on(*key).filter(|o| !o.soft) {
                offered += &offer.resources.unallocated().nonshared();
            }
            sum += &offered;
            let (firm, lent) = (offered.nonrevocable(), offered.revocable());
            if !firm.is_empty() && !agent.total.contains(&sum.nonrevocable())
                || !lent.is_empty() && is_overlent(agent, &sum)
            {
                return Err(format!(
                    "agent {}: {sum} is used and offered of {}",
                    agent.id, agent.total
                ));
            }
            for ((framework, role), shown) in self.shown_on(*key) {
                let mut sum = sum.nonrevocable();
                sum += &shown.unallocated().nonshared().nonrevocable();
                if !agent.total.contains(&sum) {
                    return Err(format!(
                        "agent {}: {sum} is used and shown to {framework:?} for '{role}' of {}",
                        agent.id, agent.total
                    ));
                }
            }
            for (framework, task) in &agent.tasks {
                if !self.framework(*framework).is_some_and(|f| f.tasks.contains_key(task)) {
                    return Err(format!(
                        "agent {} has task {task}, which no framework has",
                        agent.id
                    ));
                }
            }
        }
        self.check_out_of_use()?;
        let by_agent: usize = self.offers_on.values().map(BTreeSet::len).sum();
        if by_agent != self.offers.len() {
            return Err(format!("{by_agent} of {} offers are known by agent", self.offers.len()));
        }
        for (key, framework) in &self.state.frameworks {
            let tasks = framework.tasks.values().filter(|t| t.holds_resources());
            let tasks = tasks.map(|task| &task.resources);
            let executors = framework.executors.values().map(|executor| &executor.resources);
            let used: Resources = tasks.chain(executors).sum();
            if used != framework.used {
                let kept = &framework.used;
                return Err(format!("framework {}: {used} is used, not {kept}", framework.id));
            }
            for (id, task) in &framework.tasks {
                let known =
                    self.agent(task.agent).is_some_and(|a| a.tasks.contains(&(*key, id.clone())));
                if !known {
                    return Err(format!("task {id} of framework {} is on no agent", framework.id));
                }
            }
            for (agent, id) in framework.executors.keys() {
                let at = (*key, id.clone());
                if !self.agent(*agent).is_some_and(|a| a.executors.contains(&at)) {
                    return Err(format!(
                        "executor {id} of framework {} is on no agent",
                        framework.id
                    ));
                }
            }
            for id in framework.offers.keys() {
                if !self.offers.contains_key(id) {
                    return Err(format!(
                        "framework {} has offer {id}, which is not open",
                        framework.id
                    ));
                }
            }
        }
        Ok(())
    }
}
