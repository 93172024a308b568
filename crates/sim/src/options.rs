//! What a seed decides: size of the cluster, workload, and which faults are on (swarm testing).

use crate::coordination::Pace;
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
    /// Number of masters. A single one has its registry for itself.
    pub masters: usize,
    /// Times of masters among each other.
    pub pace: Pace,
    /// Longest delay of a message between masters.
    pub between_masters_max: Duration,
    /// Of 1,000 messages between masters, how many are lost.
    pub lost_between_masters: u64,
    /// Agents and frameworks are told of a new leader, as by ZooKeeper; else they look for it when a stream breaks.
    pub watches: bool,
    /// Number of agents.
    pub agents: usize,
    /// Number of frameworks.
    pub frameworks: usize,
    /// Tasks that each framework wants to run.
    pub tasks: usize,
    /// Longest time that a task of a framework takes by itself.
    pub longest_task: Duration,
    /// Tasks are wanted one after the other, over all the time of faults.
    pub steady: bool,
    /// Invariants are looked at once in so many events.
    pub check_every: u64,
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
    /// Mean time between two actions of an operator who drains agents and brings machines down; None: there are none.
    pub maintain_every: Option<Duration>,
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
    /// A master's process is stopped for a while and goes on then.
    MasterPause,
    /// A master and the other masters can't reach each other for a while; agents and frameworks reach all of them.
    MasterCut,
    /// As MasterCut, but only in one direction.
    MasterCutHalf,
    /// All masters die.
    AllMastersCrash,
    /// No majority of masters, or of the servers they meet at, is there for a while.
    NoMajority,
    /// Writes of the registry take seconds for a while.
    SlowRegistry,
    /// A write of the registry fails, and was made or not.
    FailedWrite,
    /// The wall clock of a master jumps by up to hours.
    ClockJump,
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

/// What happens to masters; the leader is hit more often than others.
const OF_MASTERS: [Fault; 9] = [
    Fault::MasterCrash,
    Fault::MasterPause,
    Fault::MasterCut,
    Fault::MasterCutHalf,
    Fault::AllMastersCrash,
    Fault::NoMajority,
    Fault::SlowRegistry,
    Fault::FailedWrite,
    Fault::ClockJump,
];

/// What happens to agents.
const OF_AGENTS: [Fault; 5] = [
    Fault::AgentCrash,
    Fault::LinkReset,
    Fault::Partition,
    Fault::PartitionUp,
    Fault::PartitionDown,
];

impl Options {
    /// An hour of a cluster of 50 agents and 10 frameworks with several masters; the rest is drawn from the seed. In
    /// half of the seeds nothing happens to agents: there no task may end by a fault.
    #[must_use]
    pub fn of_masters(seed: u64, masters: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x4A11);
        let mut pick = |few: u64| usize::try_from(rng.below(few)).unwrap_or(0);
        let millis = Duration::from_millis;
        let mut faults: Vec<Fault> = OF_MASTERS.into_iter().filter(|_| pick(2) == 0).collect();
        if faults.is_empty() {
            faults.extend(OF_MASTERS);
        }
        if pick(2) == 0 {
            faults.push(Fault::FrameworkReset);
        }
        if pick(2) == 0 {
            faults.extend(OF_AGENTS.into_iter().filter(|_| pick(2) == 0));
        }
        let is_spared = !faults.iter().any(|fault| OF_AGENTS.contains(fault));
        let maintain_every = if is_spared { None } else { [None, Some(60)][pick(2)] };
        let pace = [Pace::QUICK, Pace::SLOW][pick(2)];
        Self {
            masters,
            pace,
            between_masters_max: millis([1, 20, 200][pick(3)]),
            lost_between_masters: [0, 10, 100][pick(3)],
            watches: pick(2) == 0,
            agents: 50,
            frameworks: 10,
            tasks: [40, 80, 160][pick(3)],
            longest_task: Duration::from_secs(600),
            steady: true,
            check_every: 1024,
            faulty: Duration::from_secs(3600),
            calm: Duration::from_secs(1800),
            delay_max: millis([1, 20, 500][pick(3)]),
            write_max: millis([1, 10, 500][pick(3)]),
            fault_every: Some(Duration::from_secs([20, 60, 300][pick(3)])),
            faults,
            forgotten_acks: [0, 10, 50][pick(3)],
            share_every: [None, Some(30), Some(120)][pick(3)].map(Duration::from_secs),
            maintain_every: maintain_every.map(Duration::from_secs),
            lending: pick(4) == 0,
            hoarding: false,
            ..Self::from_seed(seed)
        }
    }

    /// Whether nothing happens to agents by itself.
    #[must_use]
    pub fn spares_agents(&self) -> bool {
        !self.faults.iter().any(|fault| OF_AGENTS.contains(fault))
    }

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
        let mut maintain_every =
            [None, None, Some(20), Some(60)][between(0, 3) as usize].map(Duration::from_secs);
        let mut frameworks = frameworks;
        let mut fault_every = fault_every;
        if hoarding {
            (frameworks, fault_every, share_every, lending) =
                (3 * frameworks + 1, None, None, false);
            maintain_every = None;
            overlaps.clear();
        }
        Self {
            seed,
            masters: 1,
            pace: Pace::SLOW,
            between_masters_max: Duration::from_millis(1),
            lost_between_masters: 0,
            watches: false,
            agents,
            frameworks,
            tasks,
            longest_task: Duration::from_secs(60),
            steady: false,
            check_every: 16,
            faulty: Duration::from_secs(600),
            calm: Duration::from_secs(3600),
            delay_max,
            write_max,
            fault_every,
            faults,
            forgotten_acks,
            share_every,
            maintain_every,
            overlaps,
            lending,
            hoarding,
            sabotage: None,
        }
    }
}
