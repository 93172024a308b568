//! Who is offered what: a pure policy over agents, roles and frameworks.
//!
//! The owner (master-core) tells what happens; [`Allocator::allocate`] runs one cycle and returns what to offer.
//! Nothing is offered twice: what `allocate` returns counts as allocated until [`Allocator::recover`] gives it back;
//! but for soft offers, in roles with an [`Overlap`], which take nothing until [`Allocator::claim`].
#![forbid(unsafe_code)]

mod agent;
mod books;
mod check;
mod constraints;
mod cycle;
mod decide;
mod decisions;
mod draw;
mod filters;
mod held_back;
mod hierarchical;
mod intern;
mod lend;
mod limited;
mod loans;
mod needs;
mod overlap;
mod packed;
mod quota;
mod recall;
mod refusals;
mod serve;
mod share;
mod tree;
mod turns;
mod why;

pub use constraints::{Constraints, validate_constraints};
pub use decisions::Decisions;
pub use overlap::Overlap;
pub use share::Share;

use base::{Now, Rng, Time};
use resources::{Milli, Quantities, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::v1;

/// A framework, by the number its master gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameworkId(pub u32);

/// An agent, by the number its master gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub u32);

/// What the policy must know of a framework.
#[derive(Debug, Clone, Default)]
pub struct FrameworkOptions {
    /// Roles it is subscribed to.
    pub roles: BTreeSet<String>,
    /// Those of its roles for which it wants no offers now.
    pub suppressed: BTreeSet<String>,
    /// Capabilities (`FrameworkInfo.capabilities`).
    pub capabilities: BTreeSet<v1::framework_info::capability::Type>,
    /// Per role override of the smallest worthwhile offer (`FrameworkInfo.offer_filters`): alternatives; an empty
    /// list means that anything non-empty is worthwhile.
    pub min_allocatable: BTreeMap<String, Vec<Quantities>>,
    /// Offer constraints of the subscription.
    pub constraints: Constraints,
}

/// What the policy must know of an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentOptions {
    /// Host name (`--whitelist`, constraints).
    pub hostname: String,
    /// Attributes (constraints; a change drops filters).
    pub attributes: Vec<v1::Attribute>,
    /// Fault domain.
    pub domain: Option<v1::DomainInfo>,
    /// Capabilities of the agent.
    pub capabilities: BTreeSet<v1::agent_info::capability::Type>,
}

/// Cluster-wide settings (flags of the master).
#[derive(Debug, Clone)]
pub struct Config {
    /// `--allocation_interval`: longest time between two cycles over all agents, shortest life of a filter.
    pub allocation_interval: Duration,
    /// Requests for a cycle within this time are served by one cycle.
    pub coalesce: Duration,
    /// `--min_allocatable_resources`: alternatives.
    pub min_allocatable: Vec<Quantities>,
    /// `--fair_sharing_excluded_resource_names`.
    pub fair_sharing_excluded: BTreeSet<String>,
    /// `--filter_gpu_resources`.
    pub filter_gpu_resources: bool,
    /// Fault domain of the master.
    pub domain: Option<v1::DomainInfo>,
    /// `--weights`: role to weight.
    pub weights: BTreeMap<String, f64>,
    /// `--role_sorter`.
    pub role_sorter: Sorter,
    /// `--framework_sorter`.
    pub framework_sorter: Sorter,
    /// `--max_time_to_offer`: longest time that the conduct of others may keep an agent from who is due; zero: no bound.
    pub max_time_to_offer: Duration,
    /// `--lending`: what is kept for idle roles is lent to others.
    pub lending: bool,
    /// `--lending_min_idle`: how long a role must not want what is kept for it until that is lent.
    pub lending_min_idle: Duration,
}

impl Config {
    /// What turns and leases aim at: four fifths of `max_time_to_offer`. The rest is for messages, and for machines that
    /// are busy.
    #[must_use]
    pub fn aimed_time_to_offer(&self) -> Duration {
        self.max_time_to_offer * 4 / 5
    }
}

/// In which order siblings are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sorter {
    /// Least dominant share first.
    #[default]
    Drf,
    /// At random, by weight.
    Random,
}

/// What a role is promised, and what it may not exceed, with everything below it (spec/master.md 4.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// Thousandths of each scalar that are kept for it.
    pub guarantees: BTreeMap<String, Milli>,
    /// Thousandths of each scalar that it may have; others without limit.
    pub limits: BTreeMap<String, Milli>,
}

/// Why a framework is not offered an agent for a role: the first reason that the policy meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is in the way: it is offered in its turn.
    Next,
    /// The framework is not connected, or not subscribed to the role.
    Inactive,
    /// It suppressed offers for the role.
    Suppressed,
    /// The agent is not connected, deactivated, or uses more than it has.
    AgentInactive,
    /// The agent is not on the whitelist.
    NotListed,
    /// All of it is used or offered.
    Taken,
    /// What is free is offered to as many frameworks as the role's overlap allows.
    Overlap,
    /// The agent lacks a capability that the framework or role needs.
    AgentCapability,
    /// The agent has GPUs, and the framework can't use them.
    Gpus,
    /// The agent is in another region, and the framework is not aware of regions.
    Region,
    /// The framework's offer constraints exclude it.
    Constraint,
    /// What is free there is reserved for others, revocable or shared.
    Reserved,
    /// The role has all that its limits allow.
    Limit,
    /// What is free is kept for the guarantees of others.
    Headroom,
    /// In the first stage: the role has what it is guaranteed.
    Satisfied,
    /// What it could have is lent to others, and comes back when they were told.
    Lent,
    /// What is left is less than the least that is offered.
    BelowMinimum,
    /// The framework declined it.
    Refused {
        /// Until when that holds.
        until: Time,
    },
    /// It used nothing for so long that others come first.
    BackedOff {
        /// Until when that holds.
        until: Time,
    },
}

/// One result of a cycle: one offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// Who is offered.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: String,
    /// Where.
    pub agent: AgentId,
    /// What, with allocation info set.
    pub resources: Resources,
    /// Whether it takes nothing: it must be claimed, and others may be first.
    pub soft: bool,
}

/// Whose soft offers on an agent are no longer all free: somebody else was first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loser {
    /// Whose.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: String,
    /// Where.
    pub agent: AgentId,
}

/// What is wanted back on an agent of what is lent there as revocable resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recall {
    /// Thousandths of each scalar.
    pub wanted: BTreeMap<String, Milli>,
    /// The roles that want it.
    pub roles: BTreeSet<String>,
    /// What of it roles want that is kept for them: what comes back is for these before it is for others.
    pub owed: BTreeMap<String, BTreeMap<String, Milli>>,
}

/// The first policy: hierarchical weighted DRF (`--allocator=hierarchical`).
#[must_use]
pub fn hierarchical(config: Config) -> Box<dyn Allocator> {
    Box::new(hierarchical::Hierarchical::new(config))
}

/// The policy seam: `hierarchical` (weighted DRF) is the first implementation.
pub trait Allocator: std::fmt::Debug + Send {
    /// A framework subscribed or was recovered. What it holds is known from its agents.
    fn add_framework(&mut self, id: FrameworkId, options: FrameworkOptions, active: bool);
    /// Forgets a framework; its resources must have been recovered before.
    fn remove_framework(&mut self, id: FrameworkId);
    /// Offers flow again; all agents are candidates for the next cycle.
    fn activate_framework(&mut self, id: FrameworkId);
    /// No offers; its filters are dropped; what it holds stays allocated.
    fn deactivate_framework(&mut self, id: FrameworkId);
    /// Roles, suppression, capabilities or constraints changed.
    fn update_framework(&mut self, id: FrameworkId, options: FrameworkOptions);
    /// A new or returning agent with its total and what is used on it.
    fn add_agent(
        &mut self,
        id: AgentId,
        options: AgentOptions,
        total: Resources,
        used: &BTreeMap<FrameworkId, Resources>,
    );
    /// Forgets an agent and everything allocated on it.
    fn remove_agent(&mut self, id: AgentId);
    /// The agent may be offered again.
    fn activate_agent(&mut self, id: AgentId);
    /// The agent is not offered.
    fn deactivate_agent(&mut self, id: AgentId);
    /// Total or options changed. Changed attributes drop the filters on this agent.
    fn update_agent(&mut self, id: AgentId, options: AgentOptions, total: Resources);
    /// Resources of an agent turned out to be in use, without an offer (an agent came back with more than was known).
    fn track(&mut self, framework: FrameworkId, agent: AgentId, resources: &Resources);
    /// The same for several frameworks at once.
    fn track_all(&mut self, agent: AgentId, held: &BTreeMap<FrameworkId, Resources>);
    /// Resources come back: a declined or rescinded offer, or a finished task. `refuse`: the framework does not want
    /// them again for so long (None or zero: no filter). `resources` have allocation info set.
    fn recover(
        &mut self,
        now: Now,
        framework: FrameworkId,
        agent: AgentId,
        resources: &Resources,
        refuse: Option<Duration>,
    );
    /// A soft offer is over, unused. `refuse` and `resources` are as for [`Allocator::recover`].
    fn withdraw(
        &mut self,
        now: Now,
        framework: FrameworkId,
        agent: AgentId,
        resources: &Resources,
        refuse: Option<Duration>,
    );
    /// A soft offer is accepted: what limits and the guarantees of others allow of it is held from now on and returned,
    /// the rest is no longer offered.
    fn claim(&mut self, framework: FrameworkId, agent: AgentId, resources: &Resources)
    -> Resources;
    /// Whose soft offers can't be accepted any more, since this was last asked: all of them on that agent are to be
    /// withdrawn.
    fn losers(&mut self) -> Vec<Loser>;
    /// An offer of the agent ended unused: for a while others come before the framework there. Whether it did so often
    /// enough to come last everywhere from now on; offers that it refuses for long enough do not count for that.
    fn pass(
        &mut self,
        now: Now,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        refuse: Option<Duration>,
    ) -> bool;
    /// The framework used something of an offer: it is no longer one that only declines.
    fn used(&mut self, framework: FrameworkId, role: &str);
    /// How many others could be offered these resources if the offer ended: none, unless one of them would come
    /// before the framework. `resources` have allocation info set.
    fn waiting(
        &self,
        now: Now,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        resources: &Resources,
    ) -> usize;
    /// The framework wants offers for `roles` (empty: all its roles): un-suppresses, drops filters.
    fn revive(&mut self, framework: FrameworkId, roles: &BTreeSet<String>);
    /// The framework wants offers for its roles: drops filters, but un-suppresses nothing.
    fn request(&mut self, framework: FrameworkId);
    /// The framework wants no more offers for `roles` (empty: all its roles).
    fn suppress(&mut self, framework: FrameworkId, roles: &BTreeSet<String>);
    /// Sets a role's quota; the default is none.
    fn set_quota(&mut self, role: &str, quota: Quota);
    /// Sets a role's share, by name of a scalar: what it is guaranteed besides its quota (the greater counts), as part of
    /// what all agents have. An empty one is none.
    fn set_share(&mut self, role: &str, share: BTreeMap<String, Share>);
    /// What counts for a role's quota: reservations to it and those below it, and unreserved scalars that they hold or
    /// are offered, in thousandths.
    fn quota_consumption(&self, role: &str) -> BTreeMap<String, Milli>;
    /// Sets a role's weight: finite and positive.
    fn set_weight(&mut self, role: &str, weight: f64);
    /// Sets to how many frameworks at a time the same resources may be offered in a role and those below it that have
    /// no overlap of their own; of `*`: in all others as well. None: as if it was never set. Offers that are out stay.
    fn set_overlap(&mut self, role: &str, overlap: Option<Overlap>);
    /// Only agents of these hosts are offered; None: all.
    fn set_whitelist(&mut self, hosts: Option<BTreeSet<String>>);
    /// Agents that have so much of each scalar in all, in thousandths, are expected back. What they run is not known: limits
    /// leave room for all of it to be a role's own.
    fn expect(&mut self, away: BTreeMap<String, Milli>);
    /// What cycles decided since this was last asked.
    fn take_decisions(&mut self, now: Time) -> Vec<Decisions>;
    /// Until when a framework that used nothing for long comes after all others for a role.
    fn backed_off(&self, now: Time, framework: FrameworkId, role: &str) -> Option<Time>;
    /// Why a framework is not offered an agent for a role, from the code that decides it.
    fn why(&self, framework: FrameworkId, role: &str, agent: AgentId) -> Reason {
        self.why_without(framework, role, agent, &[])
    }
    /// Why it would not be offered it if these reasons were not in the way; one of them again, if nothing can be said
    /// beyond it.
    fn why_without(
        &self,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        overlooked: &[Reason],
    ) -> Reason;
    /// What is wanted back of what is lent, as of the last cycle. It is for the owner to see that it comes back.
    fn recalls(&self) -> &BTreeMap<AgentId, Recall>;
    /// Memory that agents take, in bytes, about.
    fn bytes(&self) -> usize;
    /// When [`Allocator::allocate`] should be called next: the coalesced time of pending requests, an expiring
    /// filter or the batch interval; None when nothing can change by itself.
    fn next_run(&self) -> Option<Time>;
    /// Runs one cycle: expires filters, offers what is free to those who are due.
    fn allocate(&mut self, now: Now, rng: &mut Rng) -> Vec<Allocation>;
    /// Refusals that hold now, by role.
    fn active_filters(&self) -> BTreeMap<String, u64>;
    /// Own invariants, for tests and the simulator: nothing allocated beyond a total, books agree with each other.
    ///
    /// # Errors
    /// The first broken invariant, in words.
    fn check(&self) -> Result<(), String>;
}
