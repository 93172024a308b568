//! What a seed decides: size of the cluster, workload, and which faults are on (swarm testing).

use crate::sabotage::Sabotage;
use allocator::Overlap;
use base::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// Parameters of one run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed all of it follows from.
    pub seed: u64,
    /// Number of agents.
    pub agents: usize,
    /// Number of frameworks.
    pub frameworks: usize,
    /// Tasks that each framework wants to run.
    pub tasks: usize,
    /// Virtual time during which faults happen and tasks are launched.
    pub faulty: Duration,
    /// Virtual time within which everything must converge after the last fault.
    pub calm: Duration,
    /// Longest delay of a message.
    pub delay_max: Duration,
    /// Longest time a disk needs for a write.
    pub write_max: Duration,
    /// Mean time between two faults; None: no faults at all.
    pub fault_every: Option<Duration>,
    /// Faults that may happen.
    pub faults: Vec<Fault>,
    /// Of 100 acknowledgements, how many a framework forgets to send.
    pub forgotten_acks: u64,
    /// Mean time between two changes of shares, quotas and weights; None: there are none.
    pub share_every: Option<Duration>,
    /// To how many frameworks at a time the same resources are offered, by role.
    pub overlaps: BTreeMap<String, Overlap>,
    /// A part of each agent is reserved to a role, and lent when nobody of it wants it.
    pub lending: bool,
    /// All frameworks but the first use nothing: they keep every offer, or decline it. Nothing else is out of the
    /// ordinary then, so that the first one must be offered what is free in time.
    pub hoarding: bool,
    /// A rule that is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An agent process dies and is started again; its containers go on.
    AgentCrash,
    /// The master process dies and is started again from its registry.
    MasterCrash,
    /// A framework's connection breaks; it subscribes again with its id.
    FrameworkReset,
    /// An agent's connection breaks with everything in flight.
    LinkReset,
    /// An agent and the master can't reach each other for a while; the connection stays up.
    Partition,
    /// As Partition, but only messages from the agent are stopped.
    PartitionUp,
    /// As Partition, but only messages to the agent are stopped.
    PartitionDown,
}

const FAULTS: [Fault; 7] = [
    Fault::AgentCrash,
    Fault::MasterCrash,
    Fault::FrameworkReset,
    Fault::LinkReset,
    Fault::Partition,
    Fault::PartitionUp,
    Fault::PartitionDown,
];

impl Options {
    /// Draws everything from the seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut between = |low: u64, high: u64| low + rng.below(high - low + 1);
        let agents = between(1, 6) as usize;
        let frameworks = between(1, 3) as usize;
        let tasks = between(1, 40) as usize;
        let delay_max = Duration::from_millis([1, 20, 500][between(0, 2) as usize]);
        let write_max = Duration::from_millis([1, 10, 1000][between(0, 2) as usize]);
        let fault_every =
            [None, Some(5), Some(30), Some(90)][between(0, 3) as usize].map(Duration::from_secs);
        let forgotten_acks = [0, 10, 50][between(0, 2) as usize];
        let faults = FAULTS.into_iter().filter(|_| between(0, 1) == 0).collect();
        let share_every =
            [None, None, Some(10), Some(60)][between(0, 3) as usize].map(Duration::from_secs);
        let overlaps: &[(&str, &str)] =
            [&[][..], &[("*", "all")], &[("a", "all")], &[("*", "2"), ("b", "1")]]
                [between(0, 3) as usize];
        let overlaps =
            overlaps.iter().filter_map(|(role, o)| Some(((*role).to_owned(), o.parse().ok()?)));
        let mut lending = between(0, 1) == 0;
        let mut share_every = share_every;
        let mut overlaps: BTreeMap<String, Overlap> = overlaps.collect();
        let hoarding = between(0, 9) == 0;
        let mut frameworks = frameworks;
        let mut fault_every = fault_every;
        if hoarding {
            (frameworks, fault_every, share_every, lending) =
                (3 * frameworks + 1, None, None, false);
            overlaps.clear();
        }
        Self {
            seed,
            agents,
            frameworks,
            tasks,
            faulty: Duration::from_secs(600),
            calm: Duration::from_secs(3600),
            delay_max,
            write_max,
            fault_every,
            faults,
            forgotten_acks,
            share_every,
            overlaps,
            lending,
            hoarding,
            sabotage: None,
        }
    }
}
