//! The policy through its public interface: literal events, whole results.

use allocator::{
    AgentId, AgentOptions, Allocation, Allocator, Config, FrameworkId, FrameworkOptions,
};
use base::{Now, Rng, Time};
use resources::{Quantities, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::v1::agent_info::capability::Type as AgentCapability;

mod constraints;
mod decisions;
mod fairness;
mod guarantees;
mod lending;
mod offers;
mod overlap;
mod quota;
mod random;
mod shares;
mod sorter;
mod turns;
mod updates;

struct Cluster {
    allocator: Box<dyn Allocator>,
    rng: Rng,
    now: Now,
}

fn cluster() -> Cluster {
    cluster_with(|_| {})
}

fn cluster_with(change: impl FnOnce(&mut Config)) -> Cluster {
    let mut config = Config {
        allocation_interval: Duration::from_secs(1),
        coalesce: Duration::from_millis(2),
        min_allocatable: Quantities::parse_alternatives("cpus:0.01|mem:32").expect("quantities"),
        fair_sharing_excluded: BTreeSet::new(),
        filter_gpu_resources: true,
        domain: None,
        weights: BTreeMap::from([("heavy".to_owned(), 2.0)]),
        role_sorter: allocator::Sorter::Drf,
        framework_sorter: allocator::Sorter::Drf,
        max_time_to_offer: Duration::from_secs(30),
        lending: true,
        lending_min_idle: Duration::from_secs(60),
    };
    change(&mut config);
    Cluster { allocator: allocator::hierarchical(config), rng: Rng::new(1), now: Now::at_secs(10) }
}

fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").expect("resources")
}

fn set(roles: &[&str]) -> BTreeSet<String> {
    roles.iter().map(|r| (*r).to_owned()).collect()
}

fn options(agent: u32) -> AgentOptions {
    let capabilities =
        BTreeSet::from([AgentCapability::MultiRole, AgentCapability::HierarchicalRole]);
    AgentOptions { hostname: format!("host{agent}"), capabilities, ..AgentOptions::default() }
}

impl Cluster {
    fn agent(&mut self, id: u32, total: &str) {
        self.allocator.add_agent(AgentId(id), options(id), resources(total), &BTreeMap::new());
    }

    fn framework(&mut self, id: u32, roles: &[&str]) {
        let options = FrameworkOptions { roles: set(roles), ..FrameworkOptions::default() };
        self.allocator.add_framework(FrameworkId(id), options, true);
    }

    /// One cycle, as `framework role agent resources` lines.
    #[track_caller]
    fn run(&mut self) -> Vec<String> {
        self.allocations()
            .iter()
            .map(|a| {
                format!("{} {} {} {}", a.framework.0, a.role, a.agent.0, a.resources.unallocated())
            })
            .collect()
    }

    #[track_caller]
    fn allocations(&mut self) -> Vec<Allocation> {
        self.now.mono = self.now.mono + Duration::from_millis(2);
        let out = self.allocator.allocate(self.now, &mut self.rng);
        assert_eq!(self.allocator.check(), Ok(()));
        out
    }

    fn decline(&mut self, allocation: &Allocation, refuse: Option<Duration>) {
        self.allocator.recover(
            self.now,
            allocation.framework,
            allocation.agent,
            &allocation.resources,
            refuse,
        );
    }

    fn wait(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
    }

    fn due(&self) -> bool {
        self.allocator
            .next_run()
            .is_some_and(|at: Time| at <= self.now.mono + Duration::from_millis(2))
    }
}
