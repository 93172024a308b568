//! A master's process: its core, and its part in the coordination.

use crate::coordination::{Member, Pace};
use crate::invariants::acknowledgements::Acknowledgements;

use allocator::Overlap;
use base::{Now, Time, WallTime};
use master_core::Master;
use master_core::contract::Config;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::v1;

#[derive(Debug)]
pub(crate) struct MasterNode {
    index: usize,
    pub(crate) core: Option<Master>,
    /// Counts starts of the process; what belongs to an older life is void.
    pub(crate) life: u32,
    pub(crate) wake: Option<Time>,
    overlaps: BTreeMap<String, Overlap>,
    /// When the last write is done: writes are in order.
    pub(crate) disk_free: Time,
    /// Among several masters.
    pub(crate) member: Option<Member>,
    /// Stopped, with all that arrives waiting.
    pub(crate) is_paused: bool,
    /// How far its wall clock is ahead.
    pub(crate) skew: Duration,
    /// Thousandths of a second that its monotonic clock counts in a second.
    rate: u64,
    stepped: Time,
    pub(crate) acknowledgements: Acknowledgements,
}

impl MasterNode {
    /// `rate`: thousandths of a second that its clock counts in one.
    pub(crate) fn new(index: usize, overlaps: BTreeMap<String, Overlap>, rate: u64) -> Self {
        Self {
            index,
            core: None,
            life: 0,
            wake: None,
            overlaps,
            disk_free: Time(0),
            member: None,
            is_paused: false,
            skew: Duration::ZERO,
            rate,
            stepped: Time(0),
            acknowledgements: Acknowledgements::default(),
        }
    }

    pub(crate) fn now(now: Time) -> Now {
        Now { mono: now, wall: WallTime(now.0) }
    }

    /// What its clocks show at the next step: later than at the last one. Timers of the core run by the time of the world.
    pub(crate) fn tick(&mut self, now: Time) -> Now {
        self.stepped = now.max(Time(self.stepped.0 + 1));
        Now { mono: self.stepped, wall: WallTime((now + self.skew).0) }
    }

    /// What the clock shows by which it measures its lease.
    pub(crate) fn local(&self, now: Time) -> Time {
        Time(now.0 / 1000 * self.rate)
    }

    /// How long it really takes until its clock has gone on by so much.
    pub(crate) fn really(&self, local: Duration) -> Duration {
        local * 1000 / u32::try_from(self.rate).unwrap_or(1000)
    }

    /// Creates the core of a new life; `pace`: it is one of several.
    pub(crate) fn start(&mut self, id: String, seed: u64, pace: Option<Pace>, heedless: bool) {
        self.life += 1;
        self.wake = None;
        self.member = pace.map(|pace| Member::new(self.index, pace, heedless));
        let config = Config { offer_overlap: self.overlaps.clone(), ..config(id, seed) };
        let allocator = allocator::hierarchical(config.allocator.clone());
        self.core = Some(Master::new(config, allocator));
    }

    /// The process dies.
    pub(crate) fn die(&mut self) {
        self.core = None;
        self.member = None;
        self.is_paused = false;
        self.life += 1;
        self.acknowledgements = Acknowledgements::default();
    }

    /// Whether agents and frameworks that find it may stay, in its own eyes.
    pub(crate) fn leads(&self) -> bool {
        self.core.is_some() && self.member.as_ref().is_none_or(Member::leads)
    }

    /// The term of its leadership; 0: it has none, or is the only master.
    pub(crate) fn term(&self) -> u64 {
        self.member.as_ref().map_or(0, |member| member.term)
    }

    /// Whether what arrives for its core must wait.
    pub(crate) fn must_wait(&self, now: Time) -> bool {
        self.is_paused || self.member.as_ref().is_some_and(|m| !m.may_act(self.local(now)))
    }
}

pub(crate) fn config(id: String, seed: u64) -> Config {
    Config {
        info: v1::MasterInfo {
            id,
            ip: 0x0100_007F,
            port: 5050,
            hostname: Some("master".to_owned()),
            ..Default::default()
        },
        allocator: allocator::Config {
            allocation_interval: Duration::from_secs(1),
            coalesce: Duration::from_millis(2),
            min_allocatable: resources::Quantities::parse_alternatives("cpus:0.01|mem:32")
                .unwrap_or_default(),
            fair_sharing_excluded: BTreeSet::new(),
            filter_gpu_resources: true,
            domain: None,
            weights: BTreeMap::new(),
            role_sorter: allocator::Sorter::Drf,
            framework_sorter: allocator::Sorter::Drf,
            max_time_to_offer: Duration::from_secs(30),
            lending: true,
            lending_min_idle: Duration::from_secs(10),
        },
        agent_ping_timeout: Duration::from_secs(15),
        max_agent_ping_timeouts: 5,
        agent_reregister_timeout: Duration::from_secs(600),
        agent_removal_rate_limit: None,
        recovery_agent_removal_limit: 100.0,
        offer_timeout: Some(Duration::from_secs(120)),
        offer_overlap: BTreeMap::new(),
        preemption_grace_period: crate::invariants::lending::GRACE,
        max_completed_frameworks: 50,
        max_completed_tasks_per_framework: 1000,
        max_unreachable_tasks_per_framework: 1000,
        roles: None,
        root_submissions: true,
        registry_max_agent_age: Duration::from_secs(14 * 86400),
        registry_max_agent_count: 102_400,
        registry_gc_interval: Duration::from_secs(900),
        allocator_agent_recovery_factor: 0.8,
        allocator_recovery_timeout: Duration::from_secs(600),
        require_agent_domain: false,
        seed,
        flags: BTreeMap::new(),
    }
}
