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
const CYCLES_MAX: usize = 10_000;
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
    let mut replay = Replay::new(snapshot, config, demand);
    let cycles = if *demand == Demand::Nothing { 0 } else { replay.run(demand) };
    outcome::of(snapshot, config, replay.allocator.as_ref(), &replay.held, demand, cycles)
}

/// What each framework holds on each agent.
type Held = BTreeMap<(FrameworkId, AgentId), Resources>;

struct Replay {
    allocator: Box<dyn Allocator>,
    held: Held,
    interval: Duration,
    /// How long to wait for what is lent.
    patience: Duration,
}

/// The number of something by its place in the snapshot.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Replay {
    fn new(snapshot: &Snapshot, config: &Config, demand: &Demand) -> Self {
        // A loan has no memory of its own beside its cpus: one offer of it holds no whole task.
        let lending = config.lending && !matches!(demand, Demand::Task(_));
        let mut allocator = allocator::hierarchical(Config { lending, ..config.clone() });
        for (role, weight) in &snapshot.settings.weights {
            allocator.set_weight(role, *weight);
        }
        for (place, framework) in snapshot.frameworks.iter().enumerate() {
            let id = FrameworkId(number(place));
            let mut options = framework.options.clone();
            if let Demand::Task(size) = demand {
                // What does not hold a task need not be offered.
                let least = options.roles.iter().map(|role| (role.clone(), vec![size.clone()]));
                options.min_allocatable = least.collect();
            }
            allocator.add_framework(id, options, framework.active);
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
        let patience = if lending { config.lending_min_idle } else { Duration::ZERO };
        Self { allocator, held, interval: config.allocation_interval, patience }
    }

    /// The number of cycles that it took.
    fn run(&mut self, demand: &Demand) -> usize {
        // Any seed will do: only the random sorters draw from it.
        let mut rng = Rng::new(1);
        let mut quiet = 0;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(1).max(1);
        let mut at = 0_u64;
        for cycle in 1..=CYCLES_MAX {
            at = at.saturating_add(nanos(self.interval));
            let now = Now::at_nanos(at);
            let offers = self.allocator.allocate(now, &mut rng);
            quiet = if offers.is_empty() { quiet + 1 } else { 0 };
            for offer in offers {
                self.answer(now, offer, demand);
            }
            if self.give_back(now) {
                quiet = 0;
            }
            if quiet == QUIET_MAX {
                // What nobody wanted for long enough is lent now.
                let patience = std::mem::take(&mut self.patience);
                if patience.is_zero() {
                    return cycle - QUIET_MAX;
                }
                at = at.saturating_add(nanos(patience));
                quiet = 0;
            }
        }
        CYCLES_MAX
    }

    /// Ends the use of what is lent and wanted back; whether there was anything.
    fn give_back(&mut self, now: Now) -> bool {
        let mut is_any = false;
        for (agent, recall) in self.allocator.recalls().clone() {
            let mut wanted = recall.wanted;
            let borrowers = self.held.iter_mut().filter(|((_, of), _)| *of == agent);
            for ((framework, _), held) in borrowers {
                let mut back = Resources::new();
                for entry in held.iter().filter(|e| e.identity.revocable) {
                    let resources::Value::Scalar(milli) = entry.value else { continue };
                    let Some(left) = wanted.get_mut(&entry.identity.name) else { continue };
                    let amount = milli.min(*left);
                    *left -= amount;
                    let value = resources::Value::Scalar(amount);
                    back.add(resources::Entry { identity: entry.identity.clone(), value });
                }
                if !back.is_empty() {
                    *held -= &back;
                    self.allocator.recover(now, *framework, agent, &back, None);
                    is_any = true;
                }
            }
        }
        is_any
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

/// So much of an offer, reserved resources first; None when it has less. What can be taken back is used of a resource
/// only when there is too little of what stays.
fn part_of(offered: &Resources, size: &Quantities) -> Option<Resources> {
    let mut taken = Resources::new();
    for (name, wanted) in size.iter() {
        let of = |keep: &dyn Fn(&resources::Entry) -> bool| {
            offered.filter(|e| e.identity.name == name && e.is_mergeable() && keep(e))
        };
        let reserved = of(&|e| !e.identity.revocable && e.reserved_to().is_some());
        let free = of(&|e| !e.identity.revocable && e.reserved_to().is_none());
        let revocable = of(&|e| e.identity.revocable);
        let is_firm = reserved.quantity(name) + free.quantity(name) >= wanted;
        let parts = if is_firm { vec![reserved, free] } else { vec![revocable] };
        let mut left = wanted;
        for entry in parts.iter().flat_map(Resources::iter) {
            let resources::Value::Scalar(milli) = entry.value else { continue };
            let amount = left.min(milli);
            if amount > 0 {
                left -= amount;
                let value = resources::Value::Scalar(amount);
                taken.add(resources::Entry { identity: entry.identity.clone(), value });
            }
        }
        if left > 0 {
            return None;
        }
    }
    Some(taken)
}
