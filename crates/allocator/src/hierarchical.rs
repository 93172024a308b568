//! Hierarchical weighted DRF (spec/master.md 4.4), driven by events: a cycle looks only at agents on which something
//! changed, or at all when somebody began to want more.

use crate::agent::{Agent, Traits};
use crate::decide::{Wants, is_enough};
use crate::decisions::{Decisions, Recorder};
use crate::filters::{Filters, Voidings};
use crate::held_back::HeldBack;
use crate::intern::Interner;
use crate::lend::Lending;
use crate::overlap::{Overlap, Overlaps, Softs};
use crate::quota::Quotas;
use crate::tree::{Seat, Tree};
use crate::turns::{Standing, Turns};
use crate::{
    AgentId, AgentOptions, Allocation, Allocator, Config, FrameworkId, FrameworkOptions, Loser,
    Quota, Reason, Recall, Share,
};
use base::{Now, Rng, Time};
use indexmap::IndexMap;
use resources::Resources;
use rustc_hash::FxBuildHasher;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longest refusal (spec/master.md 1.2).
const REFUSE_MAX: Duration = Duration::from_secs(365 * 86400);

/// Cycles over all agents are apart by so much for each agent, which is about what they take: however many ask for
/// them one after the other, half of the time is left.
const LOOK: Duration = Duration::from_micros(2);

#[derive(Debug, Clone)]
pub(crate) struct Framework {
    pub(crate) options: FrameworkOptions,
    pub(crate) active: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Hierarchical {
    pub(crate) config: Config,
    pub(crate) region: Option<String>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    /// All of them are looked up in each cycle.
    pub(crate) agents: IndexMap<AgentId, Agent, FxBuildHasher>,
    pub(crate) tree: Tree,
    /// By seat.
    pub(crate) wants: Vec<Wants>,
    /// Frameworks that are offered less, or only more, than the least that others are.
    pub(crate) own_minimums: BTreeSet<FrameworkId>,
    pub(crate) voidings: Voidings,
    /// By seat.
    pub(crate) standings: Vec<Standing>,
    /// Seats that compete since the last cycle.
    pub(crate) joining: Vec<Seat>,
    pub(crate) recorder: Recorder,
    /// Fair shares by role, as this cycle needs them.
    pub(crate) fair: OnceCell<Vec<f64>>,
    pub(crate) quotas: Quotas,
    pub(crate) overlaps: Overlaps,
    /// Agents on which soft offers may be no longer all free.
    pub(crate) suspects: BTreeSet<AgentId>,
    pub(crate) interner: Interner,
    pub(crate) whitelist: Option<BTreeSet<String>>,
    /// Agents on which something changed.
    pub(crate) dirty: BTreeSet<AgentId>,
    pub(crate) all_dirty: bool,
    pub(crate) held_back: HeldBack,
    pub(crate) lending: Lending,
    /// When filters expire, once for each agent at most (and stale entries).
    pub(crate) expiry: BTreeSet<(Time, AgentId)>,
    pub(crate) last_run: Option<Time>,
    /// When all agents were looked at.
    pub(crate) last_full: Option<Time>,
}

impl Hierarchical {
    pub(crate) fn new(config: Config) -> Self {
        let sorters = (config.role_sorter, config.framework_sorter);
        let tree = Tree::new(config.fair_sharing_excluded.clone(), config.weights.clone(), sorters);
        let domain = config.domain.as_ref().and_then(|d| d.fault_domain.as_ref());
        Self {
            region: domain.map(|d| d.region.name.clone()),
            config,
            frameworks: BTreeMap::new(),
            agents: IndexMap::default(),
            tree,
            wants: Vec::new(),
            own_minimums: BTreeSet::new(),
            voidings: 0,
            standings: Vec::new(),
            joining: Vec::new(),
            recorder: Recorder::default(),
            fair: OnceCell::new(),
            quotas: Quotas::default(),
            overlaps: Overlaps::default(),
            suspects: BTreeSet::new(),
            interner: Interner::default(),
            whitelist: None,
            dirty: BTreeSet::new(),
            all_dirty: false,
            held_back: HeldBack::default(),
            lending: Lending::default(),
            expiry: BTreeSet::new(),
            last_run: None,
            last_full: None,
        }
    }

    pub(crate) fn seat(&mut self, framework: FrameworkId, role: &str) -> Seat {
        let role = self.tree.role(role);
        let seat = self.tree.seat(framework, role);
        if self.wants.len() <= seat as usize {
            self.wants.resize_with(seat as usize + 1, Wants::default);
            self.standings.resize_with(seat as usize + 1, Standing::default);
            self.recorder.grow(seat as usize + 1);
        }
        seat
    }

    /// When all agents may be looked at again. Single ones are in between.
    pub(crate) fn full_due(&self) -> Time {
        let agents = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
        self.last_full.map_or(Time(0), |at| at + LOOK * agents)
    }

    /// Whether it is less than anybody is offered.
    pub(crate) fn is_too_little(&self, resources: &Resources) -> bool {
        self.own_minimums.is_empty() && !is_enough(resources, &self.config.min_allocatable)
    }

    /// Voids the filters of a seat.
    fn void_filters(&mut self, seat: Seat) {
        self.voidings += 1;
        self.wants[seat as usize].voided = self.voidings;
    }

    /// Lets a framework compete in exactly the roles in which it wants offers.
    fn refresh(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.get(&id).cloned() else { return };
        if framework.options.min_allocatable.is_empty() {
            self.own_minimums.remove(&id);
        } else {
            self.own_minimums.insert(id);
        }
        for role in &framework.options.roles {
            let seat = self.seat(id, role);
            let voided = self.wants[seat as usize].voided;
            self.wants[seat as usize] = Wants::new(&framework.options, role, voided);
            let active = framework.active && !framework.options.suppressed.contains(role);
            if self.compete(seat, active) && active {
                self.joining.push(seat);
            }
        }
    }

    fn leave(&mut self, id: FrameworkId, roles: impl IntoIterator<Item = String>) {
        for role in roles {
            let seat = self.seat(id, &role);
            self.compete(seat, false);
            self.void_filters(seat);
        }
    }
}

impl Allocator for Hierarchical {
    fn add_framework(&mut self, id: FrameworkId, options: FrameworkOptions, active: bool) {
        self.frameworks.insert(id, Framework { options, active });
        self.refresh(id);
        self.all_dirty |= active;
    }

    fn remove_framework(&mut self, id: FrameworkId) {
        if let Some(framework) = self.frameworks.remove(&id) {
            self.own_minimums.remove(&id);
            let roles = framework.options.roles;
            self.leave(id, roles.iter().cloned());
            for role in &roles {
                let seat = self.seat(id, role);
                self.tree.vacate(seat);
                self.standings[seat as usize] = Standing::default();
            }
        }
    }

    fn activate_framework(&mut self, id: FrameworkId) {
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.active = true;
            self.refresh(id);
            self.all_dirty = true;
        }
    }

    fn deactivate_framework(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        framework.active = false;
        let roles = framework.options.roles.clone();
        self.leave(id, roles);
    }

    fn update_framework(&mut self, id: FrameworkId, options: FrameworkOptions) {
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        let old = std::mem::replace(&mut framework.options, options);
        let new = framework.options.clone();
        self.leave(id, old.roles.difference(&new.roles).cloned());
        for role in old.suppressed.difference(&new.suppressed) {
            let seat = self.seat(id, role);
            self.void_filters(seat);
        }
        self.refresh(id);
        self.all_dirty = true;
    }

    fn add_agent(
        &mut self,
        id: AgentId,
        options: AgentOptions,
        total: Resources,
        used: &BTreeMap<FrameworkId, Resources>,
    ) {
        let total = self.interner.intern(total);
        self.tree.change_total(&total, 1);
        self.vacate_owners(&total);
        if !self.quotas.is_empty() {
            self.quotas.change_total(&self.tree, &total, 1);
            self.quotas.change_free(&self.tree, &total, 1);
        }
        let agent = Agent {
            traits: Traits::of(&options, &total, self.region.as_deref()),
            options,
            free: total.clone(),
            total,
            held: BTreeMap::new(),
            lent: BTreeMap::new(),
            softs: Softs::default(),
            overcommitted: false,
            active: true,
            filters: Filters::default(),
            turns: Turns::default(),
            watched: None,
        };
        self.agents.insert(id, agent);
        for (framework, resources) in used {
            self.hold(*framework, id, resources, 1);
        }
        if !used.is_empty() {
            self.recount(id);
        }
        self.dirty.insert(id);
    }

    fn remove_agent(&mut self, id: AgentId) {
        self.hide_all(id);
        let Some(agent) = self.agents.get(&id) else { return };
        let (total, all) = (agent.total.clone(), agent.held.clone());
        self.tree.change_total(&total, -1);
        for (framework, resources) in all {
            self.hold(framework, id, &resources, -1);
        }
        if let Some(agent) = self.agents.swap_remove(&id) {
            if !self.quotas.is_empty() {
                self.quotas.change_total(&self.tree, &total, -1);
                self.quotas.change_free(&self.tree, &agent.free, -1);
            }
            if let Some(at) = agent.watched {
                self.expiry.remove(&(at, id));
            }
        }
        self.dirty.remove(&id);
        self.suspects.remove(&id);
        self.held_back.remove(id);
        self.lending.forget_agent(id);
    }

    fn activate_agent(&mut self, id: AgentId) {
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.active = true;
            self.dirty.insert(id);
        }
    }

    fn deactivate_agent(&mut self, id: AgentId) {
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.active = false;
        }
    }

    fn update_agent(&mut self, id: AgentId, options: AgentOptions, total: Resources) {
        let total = self.interner.intern(total);
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.options.attributes != options.attributes {
            agent.filters.clear();
        }
        agent.traits = Traits::of(&options, &total, self.region.as_deref());
        agent.options = options;
        if agent.total != total {
            let old = std::mem::replace(&mut agent.total, total.clone());
            self.tree.change_total(&old, -1);
            self.tree.change_total(&total, 1);
            if !self.quotas.is_empty() {
                self.quotas.change_total(&self.tree, &old, -1);
                self.quotas.change_total(&self.tree, &total, 1);
            }
            self.recount(id);
            self.vacate_owners(&total);
        }
        self.dirty.insert(id);
    }

    fn track(&mut self, framework: FrameworkId, agent: AgentId, resources: &Resources) {
        self.hold(framework, agent, resources, 1);
        self.recount(agent);
    }

    fn track_all(&mut self, agent: AgentId, held: &BTreeMap<FrameworkId, Resources>) {
        for (framework, resources) in held {
            self.hold(*framework, agent, resources, 1);
        }
        self.recount(agent);
    }

    fn recover(
        &mut self,
        now: Now,
        framework: FrameworkId,
        agent: AgentId,
        resources: &Resources,
        refuse: Option<Duration>,
    ) {
        if resources.is_empty() {
            return;
        }
        let known = self.agents.get(&agent).and_then(|a| a.held.get(&framework));
        if !known.is_some_and(|held| held.contains(resources)) {
            return; // the agent is gone, and what was held on it with it
        }
        self.hold(framework, agent, resources, -1);
        self.dirty.insert(agent);
        if let Some(refuse) = refuse.filter(|r| !r.is_zero()) {
            self.refuse(framework, agent, resources, now.mono + refuse.min(REFUSE_MAX));
        }
    }

    fn withdraw(
        &mut self,
        now: Now,
        framework: FrameworkId,
        agent: AgentId,
        resources: &Resources,
        refuse: Option<Duration>,
    ) {
        let known = self.hide(framework, agent, resources).is_some();
        if let Some(refuse) = refuse.filter(|r| known && !r.is_zero()) {
            self.refuse(framework, agent, resources, now.mono + refuse.min(REFUSE_MAX));
        }
    }

    fn claim(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        resources: &Resources,
    ) -> Resources {
        self.win(framework, agent, resources)
    }

    fn losers(&mut self) -> Vec<Loser> {
        self.find_losers()
    }

    fn set_overlap(&mut self, role: &str, overlap: Option<Overlap>) {
        self.put_overlap(role, overlap);
    }

    fn pass(
        &mut self,
        now: Now,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        refuse: Option<Duration>,
    ) -> bool {
        self.pass_turn(now.mono, framework, role, agent, refuse)
    }

    fn used(&mut self, framework: FrameworkId, role: &str) {
        let seat = self.seat(framework, role);
        self.standings[seat as usize].forgive();
        for role in self.tree.chain(self.tree.role_of(seat)) {
            self.lending.used(role);
        }
    }

    fn waiting(
        &self,
        now: Now,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        resources: &Resources,
    ) -> usize {
        self.count_waiting(now.mono, framework, role, agent, resources)
    }

    fn revive(&mut self, framework: FrameworkId, roles: &BTreeSet<String>) {
        let Some(known) = self.frameworks.get_mut(&framework) else { return };
        let roles = if roles.is_empty() { known.options.roles.clone() } else { roles.clone() };
        known.options.suppressed.retain(|role| !roles.contains(role));
        for role in &roles {
            let seat = self.seat(framework, role);
            self.void_filters(seat);
            self.standings[seat as usize].forgive();
        }
        self.refresh(framework);
        self.all_dirty = true;
    }

    fn request(&mut self, framework: FrameworkId) {
        let Some(known) = self.frameworks.get(&framework) else { return };
        let roles = known.options.roles.clone();
        for role in roles {
            let seat = self.seat(framework, &role);
            self.void_filters(seat);
        }
        self.all_dirty = true;
    }

    fn suppress(&mut self, framework: FrameworkId, roles: &BTreeSet<String>) {
        let Some(known) = self.frameworks.get_mut(&framework) else { return };
        let roles = if roles.is_empty() { known.options.roles.clone() } else { roles.clone() };
        known.options.suppressed.extend(roles);
        self.refresh(framework);
    }

    fn set_quota(&mut self, role: &str, quota: Quota) {
        let number = self.tree.role(role);
        for name in quota.guarantees.keys() {
            self.tree.scalar(name);
        }
        if self.quotas.set(&self.tree, number, quota) {
            self.count_quotas();
        }
        self.lending.keep_for(number);
        self.all_dirty = true;
    }

    fn set_share(&mut self, role: &str, share: BTreeMap<String, Share>) {
        let number = self.tree.role(role);
        for name in share.keys() {
            self.tree.scalar(name);
        }
        if self.quotas.set_share(&self.tree, number, share) {
            self.count_quotas();
        }
        self.lending.keep_for(number);
        self.all_dirty = true;
    }

    fn quota_consumption(&self, role: &str) -> BTreeMap<String, resources::Milli> {
        let Some(role) = self.tree.known_role(role) else { return BTreeMap::new() };
        let kept = self.quotas.consumption(&self.tree, role);
        kept.unwrap_or_else(|| self.count_consumption().remove(&role).unwrap_or_default())
    }

    fn set_weight(&mut self, role: &str, weight: f64) {
        self.tree.set_weight(role, weight);
        self.all_dirty = true;
    }

    fn set_whitelist(&mut self, hosts: Option<BTreeSet<String>>) {
        if self.whitelist != hosts {
            self.whitelist = hosts;
            self.all_dirty = true;
        }
    }

    fn expect(&mut self, away: BTreeMap<String, resources::Milli>) {
        self.quotas.expect(&self.tree, away);
    }

    fn next_run(&self) -> Option<Time> {
        let soon = self.last_run.map_or(Time(0), |at| at + self.config.coalesce);
        if !self.dirty.is_empty() {
            return Some(soon);
        }
        let full = self.all_dirty.then(|| soon.max(self.full_due()));
        let lending = self.lending.next_run(soon);
        let expiry = self.expiry.first().map(|(at, _)| *at);
        let let_go = self.held_back.due(self.config.allocation_interval);
        let let_go = let_go.filter(|_| self.quotas.has_changed());
        [full, expiry, let_go, lending].into_iter().flatten().min()
    }

    fn allocate(&mut self, now: Now, rng: &mut Rng) -> Vec<Allocation> {
        self.cycle(now, rng)
    }

    fn active_filters(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let voided = |seat: Seat| self.wants[seat as usize].voided;
        for seat in self.agents.values().flat_map(|a| a.filters.valid(voided)) {
            *counts.entry(self.tree.role_of(seat)).or_default() += 1;
        }
        counts.into_iter().map(|(r, n)| (self.tree.role_name(r).to_owned(), n)).collect()
    }

    fn take_decisions(&mut self, now: Time) -> Vec<Decisions> {
        self.decided(now)
    }

    fn backed_off(&self, now: Time, framework: FrameworkId, role: &str) -> Option<Time> {
        let seat = self.tree.known_seat(framework, self.tree.known_role(role)?)?;
        self.standings[seat as usize].backed_off(now)
    }

    fn why_without(
        &self,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        overlooked: &[Reason],
    ) -> Reason {
        self.first_obstacle(framework, role, agent, overlooked)
    }

    fn recalls(&self) -> &BTreeMap<AgentId, Recall> {
        &self.lending.recalls
    }

    fn bytes(&self) -> usize {
        self.memory()
    }

    fn check(&self) -> Result<(), String> {
        self.check_books()
    }
}
