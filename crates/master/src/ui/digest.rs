//! Sums over a snapshot, counted in one pass for all pages of a second.

use super::now;
use allocator::{AgentId, FrameworkId};
use master_core::State;
use resources::{Resources, Value, ancestors};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use ui::pages::Counts;
use ui::{Amounts, Sample};
use wire::v1;

/// What something uses and is offered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) used: Amounts,
    pub(super) offered: Amounts,
    /// Tasks that have not ended.
    pub(super) tasks: usize,
}

/// What a role has, with everything below it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OfRole {
    pub(super) used: Amounts,
    pub(super) offered: Amounts,
    pub(super) reserved: Amounts,
    pub(super) lent: Amounts,
    pub(super) frameworks: usize,
}

/// A snapshot with sums over it.
#[derive(Debug)]
pub(crate) struct Digest {
    pub(super) state: Arc<State>,
    /// When it was taken, in seconds since 1970.
    pub(super) now: f64,
    pub(super) agents: FxHashMap<AgentId, Held>,
    pub(super) frameworks: FxHashMap<FrameworkId, Held>,
    pub(super) roles: BTreeMap<String, OfRole>,
    pub(super) total: Amounts,
    pub(super) used: Amounts,
    pub(super) offered: Amounts,
    pub(super) reserved: Amounts,
    pub(super) lent: Amounts,
    pub(super) counts: Counts,
}

/// Sums by role as they are named by what is allocated; roles above come later.
#[derive(Default)]
struct ByRole<'a>(FxHashMap<&'a str, Amounts>);

impl<'a> ByRole<'a> {
    fn add(&mut self, resources: &'a Resources) {
        for entry in resources.iter() {
            let Value::Scalar(milli) = entry.value else { continue };
            let role = entry.identity.allocated_to.as_deref().unwrap_or("*");
            self.0.entry(role).or_default().grow(&entry.identity.name, milli);
        }
    }

    /// Adds them to the roles and all above.
    fn put(
        self,
        roles: &mut BTreeMap<String, OfRole>,
        place: impl Fn(&mut OfRole) -> &mut Amounts,
    ) {
        for (role, amounts) in self.0 {
            for name in std::iter::once(role).chain(ancestors(role)) {
                *place(roles.entry(name.to_owned()).or_default()) += amounts;
            }
        }
    }
}

impl Digest {
    pub(super) fn of(state: Arc<State>) -> Self {
        let mut digest = Self {
            now: now(),
            agents: FxHashMap::default(),
            frameworks: FxHashMap::default(),
            roles: BTreeMap::new(),
            total: Amounts::default(),
            used: Amounts::default(),
            offered: Amounts::default(),
            reserved: Amounts::default(),
            lent: Amounts::default(),
            counts: Counts::default(),
            state: state.clone(),
        };
        digest.add_agents(&state);
        let is_lent = digest.add_frameworks(&state);
        digest.add_offers(&state);
        let named = state.weights.keys().chain(state.quotas.keys()).chain(state.shares.keys());
        for role in named {
            digest.roles.entry(role.clone()).or_default();
        }
        if is_lent {
            for (role, lent) in state.lent() {
                let lent = Amounts::of_map(&lent);
                digest.roles.entry(role).or_default().lent += lent;
                digest.lent += lent;
            }
        }
        digest
    }

    fn add_agents(&mut self, state: &State) {
        let counts = &mut self.counts;
        for agent in state.agents.values() {
            let total = Amounts::of(&agent.total);
            self.total += total;
            self.agents.entry(agent.key).or_default();
            match (agent.is_connected(), state.deactivated.contains_key(&agent.id)) {
                (_, true) => counts.agents_deactivated += 1,
                (false, false) => counts.agents_disconnected += 1,
                (true, false) => counts.agents_active += 1,
            }
            for entry in agent.total.iter() {
                let (Some(role), Value::Scalar(milli)) = (entry.reserved_to(), &entry.value) else {
                    continue;
                };
                self.reserved.grow(&entry.identity.name, *milli);
                for name in std::iter::once(role).chain(ancestors(role)) {
                    let of_role = self.roles.entry(name.to_owned()).or_default();
                    of_role.reserved.grow(&entry.identity.name, *milli);
                }
            }
        }
        counts.agents_unreachable = state.unreachable.len();
        counts.agents_expected = state.recovered_agents.len();
    }

    /// Whether anything may be taken back at any time.
    fn add_frameworks(&mut self, state: &State) -> bool {
        let mut by_role = ByRole::default();
        let mut is_lent = false;
        for framework in state.frameworks.values() {
            let mut held = Held::default();
            let tasks = framework.tasks.values();
            let tasks = tasks.map(|t| (t.agent, &t.resources, Some(t.wire.state())));
            let executors = framework.executors.iter();
            let executors = executors.map(|((agent, _), e)| (*agent, &e.resources, None));
            for (agent, resources, task) in tasks.chain(executors) {
                let on_agent = self.agents.entry(agent).or_default();
                if let Some(state) = task {
                    use v1::TaskState as S;
                    held.tasks += 1;
                    on_agent.tasks += 1;
                    match state {
                        S::TaskStaging | S::TaskStarting => self.counts.tasks_starting += 1,
                        S::TaskRunning => self.counts.tasks_running += 1,
                        S::TaskKilling => self.counts.tasks_killing += 1,
                        _ => {}
                    }
                    if master_core::is_terminal(state) {
                        continue;
                    }
                }
                let amounts = Amounts::of(resources);
                held.used += amounts;
                on_agent.used += amounts;
                by_role.add(resources);
                is_lent |= resources.iter().any(|entry| entry.identity.revocable);
            }
            self.used += held.used;
            self.counts.tasks_unreachable += framework.unreachable_tasks.len();
            self.counts.frameworks += 1;
            self.counts.frameworks_connected += usize::from(framework.is_connected());
            self.counts.offers += framework.offers.len();
            is_lent |=
                framework.offers.values().any(|o| o.resources.iter().any(|e| e.identity.revocable));
            held.offered = framework
                .offers
                .values()
                .map(|o| Amounts::of(&o.resources))
                .fold(Amounts::default(), |a, b| a + b);
            self.frameworks.insert(framework.key, held);
            for role in framework.roles() {
                self.roles.entry(role).or_default().frameworks += 1;
            }
        }
        by_role.put(&mut self.roles, |of| &mut of.used);
        let counted = |names: &[&str]| {
            let counters =
                names.iter().filter_map(|name| state.counters.get(&format!("master/{name}")));
            counters.sum()
        };
        self.counts.tasks_finished = counted(&["tasks_finished"]);
        self.counts.tasks_failed =
            counted(&["tasks_failed", "tasks_lost", "tasks_error", "tasks_dropped", "tasks_gone"]);
        is_lent
    }

    /// What is offered, counting once what several frameworks are offered at a time.
    fn add_offers(&mut self, state: &State) {
        for (agent, resources) in crate::offered::ByAgent::of(state).iter() {
            let amounts = Amounts::of(resources);
            self.offered += amounts;
            self.agents.entry(agent).or_default().offered = amounts;
        }
        for (role, resources) in crate::offered::by_role(state) {
            let amounts = Amounts::of(&resources);
            for name in std::iter::once(role).chain(ancestors(role)) {
                self.roles.entry(name.to_owned()).or_default().offered += amounts;
            }
        }
    }

    pub(super) fn sample(&self) -> Sample {
        Sample {
            at: self.now,
            total: self.total,
            used: self.used,
            offered: self.offered,
            running: self.counts.tasks_running as u64,
        }
    }

    /// Numbers beside the names of pages.
    pub(super) fn in_navigation(&self) -> [usize; 5] {
        let tasks = self.frameworks.values().map(|held| held.tasks).sum();
        let Counts { frameworks, offers, .. } = self.counts;
        [self.state.agents.len(), frameworks, tasks, self.roles.len(), offers]
    }
}
