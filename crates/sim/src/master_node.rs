//! The master's process: its core, and the registry that survives it.

use allocator::Overlap;
use base::{Now, Time, WallTime};
use master_core::Master;
use master_core::contract::Config;
use master_core::registry::RegistryOp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::v1;

#[derive(Debug)]
pub(crate) struct MasterNode {
    pub(crate) core: Option<Master>,
    /// Counts starts of the process; what belongs to an older life is void.
    pub(crate) life: u32,
    pub(crate) wake: Option<Time>,
    overlaps: BTreeMap<String, Overlap>,
    pub(crate) registry: BTreeMap<(String, String), Vec<u8>>,
    /// When the last write is done: writes are in order.
    pub(crate) disk_free: Time,
}

impl MasterNode {
    pub(crate) fn new(overlaps: BTreeMap<String, Overlap>) -> Self {
        let (registry, disk_free) = (BTreeMap::new(), Time(0));
        Self { core: None, life: 0, wake: None, overlaps, registry, disk_free }
    }

    pub(crate) fn now(now: Time) -> Now {
        Now { mono: now, wall: WallTime(now.0) }
    }

    /// Creates the core of a new life.
    pub(crate) fn start(&mut self, id: String, seed: u64) {
        self.life += 1;
        self.wake = None;
        let config = Config { offer_overlap: self.overlaps.clone(), ..config(id, seed) };
        let allocator = allocator::hierarchical(config.allocator.clone());
        self.core = Some(Master::new(config, allocator));
    }

    pub(crate) fn apply(&mut self, ops: &[RegistryOp]) {
        for op in ops {
            match op.clone() {
                RegistryOp::Put { section, key, value } => {
                    self.registry.insert((section, key), value)
                }
                RegistryOp::Delete { section, key } => self.registry.remove(&(section, key)),
            };
        }
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
