//! What came of a replay.

use super::{Demand, Held, Snapshot, number};
use allocator::{AgentId, Allocator, Config, FrameworkId, Reason};
use resources::{Milli, Resources, Value, is_descendant_or_self};
use std::collections::{BTreeMap, BTreeSet};

/// Agents for which the reason of their idleness is asked.
const ASKED_MAX: usize = 2000;

/// Thousandths by name.
pub type Amounts = BTreeMap<String, Milli>;

/// Who has what.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Scalars of all agents.
    pub total: Amounts,
    /// Number of agents.
    pub agents: usize,
    /// What each framework, by its place in the snapshot, holds for each role.
    pub held: BTreeMap<(usize, String), Amounts>,
    /// Guarantees and shares, and what there is of them.
    pub guarantees: Vec<Guarantee>,
    /// What nobody holds.
    pub idle: Amounts,
    /// Agents on which something is idle.
    pub idle_agents: usize,
    /// Why, most agents first.
    pub reasons: Vec<Idle>,
    /// Cycles of the allocator.
    pub cycles: usize,
    /// Names that do not count for shares.
    excluded: BTreeSet<String>,
}

/// What a role is guaranteed of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarantee {
    /// The role.
    pub role: String,
    /// Name of the resource.
    pub name: String,
    /// What is guaranteed, in thousandths.
    pub guaranteed: Milli,
    /// What counts for it: reservations, and what is held besides.
    pub has: Milli,
    /// Whether a framework wants offers for the role or one below it.
    pub is_wanted: bool,
}

/// Why something stays idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The policy does not offer it.
    Policy(Reason),
    /// It is too little for one task.
    TaskTooLarge,
}

impl Why {
    /// Its name, and the smallest change that would help.
    #[must_use]
    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Policy(reason) => master_core::why::describe(reason),
            Self::TaskTooLarge => ("TASK_TOO_LARGE", "smaller tasks, or larger agents"),
        }
    }
}

/// Why a framework is not offered what is idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// The framework's place in the snapshot.
    pub framework: usize,
    /// Its role.
    pub role: String,
    /// What is in the way.
    pub why: Why,
    /// On how many agents.
    pub agents: usize,
}

impl Outcome {
    /// What the frameworks in a role and those below it hold.
    #[must_use]
    pub fn of_role(&self, role: &str) -> Amounts {
        let below = self.held.iter().filter(|((_, of), _)| is_descendant_or_self(of, role));
        sum(below.map(|(_, amounts)| amounts))
    }

    /// The largest part of any resource that this is, from 0 to 1.
    #[must_use]
    pub fn dominant_share(&self, amounts: &Amounts) -> f64 {
        let counted = amounts.iter().filter(|(name, _)| !self.excluded.contains(*name));
        let part = |(name, milli): (&String, &Milli)| {
            let total = self.total.get(name).copied().filter(|t| *t > 0)?;
            Some(resources::from_milli(*milli) / resources::from_milli(total))
        };
        counted.filter_map(part).fold(0.0, f64::max)
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Amounts>) -> Amounts {
    let mut out = Amounts::new();
    for (name, milli) in all.flatten() {
        *out.entry(name.clone()).or_default() += milli;
    }
    out
}

fn scalars(resources: &Resources) -> Amounts {
    let mut out = Amounts::new();
    for entry in resources.iter() {
        if let Value::Scalar(milli) = entry.value {
            *out.entry(entry.identity.name.clone()).or_default() += milli;
        }
    }
    out
}

pub(super) fn of(
    snapshot: &Snapshot,
    config: &Config,
    allocator: &dyn Allocator,
    all_held: &Held,
    demand: &Demand,
    cycles: usize,
) -> Outcome {
    let mut held: BTreeMap<(usize, String), Amounts> = BTreeMap::new();
    let mut free: Vec<Resources> = snapshot.agents.iter().map(|a| a.total.clone()).collect();
    for ((framework, agent), resources) in all_held {
        for role in resources.allocation_roles().into_iter().flatten() {
            let part = resources.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
            let sums = held.entry((framework.0 as usize, role.to_owned())).or_default();
            *sums = sum([&*sums, &scalars(&part)].into_iter());
        }
        free[agent.0 as usize] -= &resources.unallocated();
    }
    let totals: Vec<Amounts> = snapshot.agents.iter().map(|a| scalars(&a.total)).collect();
    let mut left = totals.clone();
    for ((_, agent), resources) in all_held {
        // What is lent is kept for its owner and used all the same.
        for (name, milli) in scalars(&resources.nonshared()) {
            let left = left[agent.0 as usize].entry(name).or_default();
            *left = (*left - milli).max(0);
        }
    }
    left.iter_mut().for_each(|amounts| amounts.retain(|_, milli| *milli > 0));
    let idle: Vec<usize> = (0..left.len()).filter(|n| !left[*n].is_empty()).collect();
    let sums: Vec<&Amounts> = idle.iter().map(|n| &left[*n]).collect();
    let mut outcome = Outcome {
        total: sum(totals.iter()),
        agents: snapshot.agents.len(),
        held,
        guarantees: Vec::new(),
        idle: sum(sums.into_iter()),
        idle_agents: idle.len(),
        reasons: reasons(snapshot, allocator, demand, &free, &idle),
        cycles,
        excluded: config.fair_sharing_excluded.clone(),
    };
    outcome.guarantees = guarantees(snapshot, allocator, &outcome.total);
    outcome
}

fn reasons(
    snapshot: &Snapshot,
    allocator: &dyn Allocator,
    demand: &Demand,
    free: &[Resources],
    idle: &[usize],
) -> Vec<Idle> {
    let mut out: Vec<Idle> = Vec::new();
    for (place, framework) in snapshot.frameworks.iter().enumerate() {
        for role in &framework.options.roles {
            let is_limited = is_limited(snapshot, allocator, demand, role);
            let mut counts: BTreeMap<&'static str, (usize, Why)> = BTreeMap::new();
            for agent in idle.iter().take(ASKED_MAX) {
                let (of, at) = (FrameworkId(number(place)), AgentId(number(*agent)));
                let why = match (allocator.why(of, role, at), demand) {
                    // What could be offered does not hold a task.
                    (
                        Reason::Refused { .. } | Reason::BelowMinimum | Reason::Taken,
                        Demand::Task(size),
                    ) => {
                        let usable = free[*agent].allocatable_to(role).quantities();
                        match usable.contains(size) {
                            false => Why::TaskTooLarge,
                            true if is_limited => Why::Policy(Reason::Limit),
                            true => Why::Policy(Reason::Headroom),
                        }
                    }
                    (reason, _) => Why::Policy(reason),
                };
                counts.entry(why.describe().0).or_insert((0, why)).0 += 1;
            }
            out.extend(counts.into_values().map(|(agents, why)| Idle {
                framework: place,
                role: role.clone(),
                why,
                agents,
            }));
        }
    }
    out.sort_by_key(|i| std::cmp::Reverse(i.agents));
    out
}

/// Whether limits leave less room than one task needs.
fn is_limited(snapshot: &Snapshot, allocator: &dyn Allocator, demand: &Demand, role: &str) -> bool {
    let Demand::Task(size) = demand else { return false };
    std::iter::once(role).chain(resources::ancestors(role)).any(|role| {
        let Some(quota) = snapshot.settings.quotas.get(role) else { return false };
        let consumed = allocator.quota_consumption(role);
        let room = |name: &str, limit: Milli| limit - consumed.get(name).copied().unwrap_or(0);
        quota.limits.iter().any(|(name, limit)| room(name, *limit) < size.amount(name))
    })
}

fn guarantees(snapshot: &Snapshot, allocator: &dyn Allocator, total: &Amounts) -> Vec<Guarantee> {
    let mut all: BTreeMap<(&str, &str), Milli> = BTreeMap::new();
    for (role, quota) in &snapshot.settings.quotas {
        for (name, milli) in quota.guarantees.iter().filter(|(_, milli)| **milli > 0) {
            all.insert((role, name), *milli);
        }
    }
    for (role, shares) in &snapshot.settings.shares {
        for (name, share) in shares {
            let promised = share.of(total.get(name).copied().unwrap_or(0));
            let of = all.entry((role, name)).or_default();
            *of = promised.max(*of);
        }
    }
    let wants = |role: &str| {
        let frameworks = snapshot.frameworks.iter().filter(|f| f.active);
        let mut roles = frameworks.flat_map(|f| f.options.roles.difference(&f.options.suppressed));
        roles.any(|of| is_descendant_or_self(of, role))
    };
    all.into_iter()
        .map(|((role, name), guaranteed)| Guarantee {
            role: role.to_owned(),
            name: name.to_owned(),
            guaranteed,
            has: allocator.quota_consumption(role).get(name).copied().unwrap_or(0),
            is_wanted: wants(role),
        })
        .collect()
}
