//! Every framework declines everything with long filters, round after round.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock"
)]

use allocator::{AgentId, AgentOptions, Config, FrameworkId, FrameworkOptions};
use base::{Now, Rng};
use resources::{Quantities, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use wire::v1::agent_info::capability::Type as AgentCapability;

const FRAMEWORKS: u32 = 200;
const ROUNDS: u64 = 50;

fn main() {
    for agents in [1_000, 10_000] {
        run(agents);
    }
}

fn run(agents: u32) {
    let mut allocator = allocator::hierarchical(Config {
        allocation_interval: Duration::from_secs(1),
        coalesce: Duration::from_millis(2),
        min_allocatable: Quantities::parse_alternatives("cpus:0.01|mem:32").expect("quantities"),
        fair_sharing_excluded: BTreeSet::new(),
        filter_gpu_resources: true,
        domain: None,
        weights: BTreeMap::new(),
    });
    let mut rng = Rng::new(1);
    let total =
        Resources::parse("cpus:2;mem:1024;disk:4096;ports:[31000-32000]", "*").expect("resources");
    let capabilities =
        BTreeSet::from([AgentCapability::MultiRole, AgentCapability::HierarchicalRole]);
    let start = Instant::now();
    for agent in 0..agents {
        let options =
            AgentOptions { capabilities: capabilities.clone(), ..AgentOptions::default() };
        allocator.add_agent(AgentId(agent), options, total.clone(), &BTreeMap::new());
    }
    let added = start.elapsed();
    for framework in 0..FRAMEWORKS {
        let options = FrameworkOptions {
            roles: BTreeSet::from(["*".to_owned()]),
            ..FrameworkOptions::default()
        };
        allocator.add_framework(FrameworkId(framework), options, true);
    }
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        let offers = allocator.allocate(Now::at_secs(round), &mut rng);
        times.push(start.elapsed());
        assert_eq!(offers.len(), agents as usize);
        for offer in offers {
            let now = Now::at_secs(round);
            allocator.recover(
                now,
                offer.framework,
                offer.agent,
                &offer.resources,
                Some(Duration::from_secs(100_000)),
            );
        }
    }
    let (first, last) = (times[0], times[times.len() - 1]);
    times.sort();
    let median = times[times.len() / 2];
    println!(
        "{agents} agents, {FRAMEWORKS} frameworks: added in {added:.1?}; cycle: first {first:.1?}, median {median:.1?}, round {ROUNDS} {last:.1?}"
    );
}
