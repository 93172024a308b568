//! What if: the real allocator over a snapshot of a cluster, with other settings than it has.
//!
//! Exact is what the policy does; modelled is what frameworks want: each active one takes everything that it is
//! offered, or one task of a given size from each offer, until nobody can take more.

mod change;
mod outcome;
mod settings;
mod snapshot;
mod state_file;

pub use change::{Change, apply};
pub use outcome::{Amounts, Guarantee, Idle, Outcome, Why};
pub use settings::Settings;
pub use snapshot::{Agent, Framework, Snapshot};

use allocator::{AgentId, Allocation, Allocator, Config, FrameworkId};
use base::{Now, Rng};
use resources::{Quantities, Resources};
use std::collections::BTreeMap;
use std::time::Duration;

/// Cycles after which a replay ends even if somebody could take more.
const CYCLES_MAX: usize = 100_000;
/// Cycles without an offer after which nothing more is expected.
const QUIET_MAX: usize = 3;
/// How long a framework refuses what it can't use: for the whole replay.
const REFUSE: Duration = Duration::from_secs(365 * 86_400);

/// What frameworks take of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: the cluster stays as it is.
    Nothing,
    /// All of it.
    Everything,
    /// One task of this size; the rest goes back at once.
    Task(Quantities),
}

/// Replays cycles of the allocator over the snapshot until nobody takes more.
#[must_use]
pub fn replay(snapshot: &Snapshot, config: &Config, demand: &Demand) -> Outcome {
    let mut replay = Replay::new(snapshot, config);
    let cycles = if *demand == Demand::Nothing { 0 } else { replay.run(demand) };
    outcome::of(snapshot, config, replay.allocator.as_ref(), &replay.held, demand, cycles)
}

/// What each framework holds on each agent.
type Held = BTreeMap<(FrameworkId, AgentId), Resources>;

struct Replay {
    allocator: Box<dyn Allocator>,
    held: Held,
    interval: Duration,
}

/// The number of something by its place in the snapshot.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Replay {
    fn new(snapshot: &Snapshot, config: &Config) -> Self {
        let mut allocator = allocator::hierarchical(config.clone());
        for (role, weight) in &snapshot.settings.weights {
            allocator.set_weight(role, *weight);
        }
        for (place, framework) in snapshot.frameworks.iter().enumerate() {
            let id = FrameworkId(number(place));
            allocator.add_framework(id, framework.options.clone(), framework.active);
        }
        let mut held = Held::new();
        for (place, agent) in snapshot.agents.iter().enumerate() {
            let id = AgentId(number(place));
            let used: BTreeMap<FrameworkId, Resources> =
                agent.used.iter().map(|(f, r)| (FrameworkId(number(*f)), r.clone())).collect();
            allocator.add_agent(id, agent.options.clone(), agent.total.clone(), &used);
            if !agent.active {
                allocator.deactivate_agent(id);
            }
            held.extend(used.into_iter().map(|(framework, r)| ((framework, id), r)));
        }
        for (role, quota) in &snapshot.settings.quotas {
            allocator.set_quota(role, quota.clone());
        }
        for (role, share) in &snapshot.settings.shares {
            allocator.set_share(role, share.clone());
        }
        Self { allocator, held, interval: config.allocation_interval }
    }

    /// The number of cycles that it took.
    fn run(&mut self, demand: &Demand) -> usize {
        // Any seed will do: only the random sorters draw from it.
        let mut rng = Rng::new(1);
        let mut quiet = 0;
        let step = u64::try_from(self.interval.as_nanos()).unwrap_or(1).max(1);
        for cycle in 0..CYCLES_MAX {
            let now = Now::at_nanos(step.saturating_mul(cycle as u64 + 1));
            let offers = self.allocator.allocate(now, &mut rng);
            quiet = if offers.is_empty() { quiet + 1 } else { 0 };
            if quiet == QUIET_MAX {
                return cycle + 1 - QUIET_MAX;
            }
            for offer in offers {
                self.answer(now, offer, demand);
            }
        }
        CYCLES_MAX
    }

    fn answer(&mut self, now: Now, offer: Allocation, demand: &Demand) {
        let Allocation { framework, role, agent, resources, .. } = offer;
        let taken = match demand {
            Demand::Task(size) => part_of(&resources, size),
            _ => Some(resources.clone()),
        };
        let Some(taken) = taken else {
            self.allocator.recover(now, framework, agent, &resources, Some(REFUSE));
            self.allocator.pass(now, framework, &role, agent, Some(REFUSE));
            return;
        };
        let mut rest = resources;
        rest -= &taken;
        self.allocator.used(framework, &role);
        if !rest.is_empty() {
            self.allocator.recover(now, framework, agent, &rest, None);
        }
        *self.held.entry((framework, agent)).or_default() += &taken;
    }
}

/// So much of an offer, reserved resources first; None when it has less.
fn part_of(offered: &Resources, size: &Quantities) -> Option<Resources> {
    let reserved = offered.filter(|e| e.reserved_to().is_some());
    let free = offered.filter(|e| e.reserved_to().is_none());
    let mut left = size.clone();
    let mut taken = Resources::new();
    for part in [reserved, free] {
        for entry in part.iter().filter(|e| e.is_mergeable() && !e.identity.revocable) {
            let resources::Value::Scalar(milli) = entry.value else { continue };
            let name = &entry.identity.name;
            let amount = left.amount(name).min(milli);
            if amount > 0 {
                left.add(name, -amount);
                let value = resources::Value::Scalar(amount);
                taken.add(resources::Entry { identity: entry.identity.clone(), value });
            }
        }
    }
    left.iter().all(|(_, milli)| milli == 0).then_some(taken)
}
