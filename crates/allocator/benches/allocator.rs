//! The allocator at scale. `--agents N --frameworks M [--roles R] [--shares S] [--overlap N|all] [--fragmented] [--full]
//! [--rounds N] [--json]`; without arguments the sizes of docs/benchmarks.md.
//!
//! Every framework declines everything with long filters, round after round (the peer's DeclineOffers); then one agent
//! after the other changes.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock"
)]

use allocator::{
    AgentId, AgentOptions, Allocation, Allocator, Config, FrameworkId, FrameworkOptions, Overlap,
    Share, Sorter,
};
use base::{Now, Rng};
use resources::{Quantities, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use wire::v1::agent_info::capability::Type as AgentCapability;

/// Seconds of a filter, unless `--refuse` says so.
const REFUSE: u32 = 100_000;
/// Single agents that change one after the other.
const CHANGES: u32 = 1000;

#[derive(Debug, Clone, Copy)]
struct Size {
    agents: u32,
    frameworks: u32,
    roles: u32,
    /// Whether a part of each agent is in use, in pieces.
    fragmented: bool,
    /// Whether all but a little of each agent is in use: somebody revives in each round, and nobody is offered anything.
    full: bool,
    /// So many roles are guaranteed a half percent of the cluster each.
    shares: u32,
    /// Of all roles.
    overlap: Overlap,
    rounds: u64,
    /// How long declined resources are refused.
    refuse: Duration,
}

struct Figures {
    added: Duration,
    cycles: Vec<Duration>,
    incremental: Vec<Duration>,
    /// To ask who waits for one offer.
    waiting: Duration,
    bytes_per_agent: usize,
    /// Frameworks that never got an offer.
    starved: usize,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let number = |name: &str| {
        let at = words.iter().position(|w| w == name)?;
        words.get(at + 1).and_then(|w| w.parse::<u32>().ok())
    };
    let overlap = words.iter().position(|w| w == "--overlap").and_then(|at| words.get(at + 1));
    let overlap = overlap.map(|text| text.parse::<Overlap>().expect("--overlap"));
    let has = |name: &str| words.iter().any(|w| w == name);
    let standard = |agents, frameworks, roles, fragmented| Size {
        agents,
        frameworks,
        roles,
        fragmented,
        full: false,
        shares: 0,
        overlap: Overlap::DISJOINT,
        rounds: 50,
        refuse: Duration::from_secs(REFUSE.into()),
    };
    let sizes = match number("--agents") {
        Some(agents) => vec![Size {
            rounds: u64::from(number("--rounds").unwrap_or(50)),
            shares: number("--shares").unwrap_or(0),
            full: has("--full"),
            overlap: overlap.unwrap_or_default(),
            refuse: Duration::from_secs(number("--refuse").unwrap_or(REFUSE).into()),
            ..standard(
                agents,
                number("--frameworks").unwrap_or(200),
                number("--roles").unwrap_or(1),
                has("--fragmented"),
            )
        }],
        None => vec![
            standard(1_000, 200, 1, false),
            standard(10_000, 200, 1, false),
            standard(10_000, 200, 100, true),
            standard(50_000, 200, 1, false),
            standard(50_000, 200, 100, true),
            standard(10_000, 1_000, 1, false),
        ],
    };
    for size in sizes {
        print(size, &run(size), has("--json"));
    }
}

fn print(size: Size, figures: &Figures, json: bool) {
    let mut cycles = figures.cycles.clone();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let (first, last) = (ms(cycles[0]), ms(cycles[cycles.len() - 1]));
    let median_of = |cycles: &[Duration]| {
        let mut cycles = cycles.to_vec();
        cycles.sort();
        ms(cycles[cycles.len() / 2])
    };
    // Whether refusals that pile up slow it down.
    let fifth = cycles.len().div_ceil(5);
    let (early, late) = (median_of(&cycles[..fifth]), median_of(&cycles[cycles.len() - fifth..]));
    cycles.sort();
    let shortest = ms(cycles[0]);
    let (median, longest) = (ms(cycles[cycles.len() / 2]), ms(cycles[cycles.len() - 1]));
    let mut changes = figures.incremental.clone();
    changes.sort();
    let incremental = changes.get(changes.len() / 2).map_or(0.0, |d| d.as_secs_f64() * 1e6);
    let Size { agents, frameworks, roles, fragmented, full, shares, overlap, rounds, .. } = size;
    let waiting = figures.waiting.as_secs_f64() * 1e6;
    let (bytes, starved) = (figures.bytes_per_agent, figures.starved);
    if json {
        println!(
            "{{\"agents\":{agents},\"frameworks\":{frameworks},\"roles\":{roles},\"fragmented\":{fragmented},\"full\":{full},\"shares\":{shares},\"overlap\":\"{overlap}\",\"rounds\":{rounds},\"full_cycle_ms\":{median:.3},\"full_cycle_first_ms\":{first:.3},\"full_cycle_last_ms\":{last:.3},\"full_cycle_first_fifth_ms\":{early:.3},\"full_cycle_last_fifth_ms\":{late:.3},\"full_cycle_max_ms\":{longest:.3},\"full_cycle_min_ms\":{shortest:.3},\"waiting_us\":{waiting:.3},\"incremental_us\":{incremental:.3},\"bytes_per_agent\":{bytes},\"add_agents_ms\":{:.3},\"starved_frameworks\":{starved}}}",
            ms(figures.added)
        );
    } else {
        println!(
            "{agents} agents, {frameworks} frameworks, {roles} roles{}{}, {shares} shares, overlap {overlap}: added in {:.1} ms; cycle: first {first:.1} ms, median {median:.1} ms (first fifth {early:.1}, last fifth {late:.1}), round {rounds} {last:.1} ms, longest {longest:.1} ms; after one agent changed {incremental:.1} us; who waits for an offer {waiting:.1} us; {bytes} bytes per agent; {starved} frameworks without an offer",
            if fragmented { ", fragmented" } else { "" },
            if full { ", full" } else { "" },
            ms(figures.added)
        );
    }
}

fn new_allocator() -> Box<dyn Allocator> {
    allocator::hierarchical(Config {
        allocation_interval: Duration::from_secs(1),
        coalesce: Duration::from_millis(2),
        min_allocatable: Quantities::parse_alternatives("cpus:0.01|mem:32").expect("quantities"),
        fair_sharing_excluded: BTreeSet::new(),
        filter_gpu_resources: true,
        domain: None,
        weights: BTreeMap::new(),
        role_sorter: Sorter::Drf,
        framework_sorter: Sorter::Drf,
        max_time_to_offer: Duration::from_secs(30),
        lending: true,
        lending_min_idle: Duration::from_secs(60),
    })
}

fn give_back(
    allocator: &mut dyn Allocator,
    now: Now,
    offer: &Allocation,
    refuse: Option<Duration>,
) {
    let Allocation { framework, agent, resources, .. } = offer;
    if offer.soft {
        allocator.withdraw(now, *framework, *agent, resources, refuse);
    } else {
        allocator.recover(now, *framework, *agent, resources, refuse);
    }
}

fn decline(allocator: &mut dyn Allocator, now: Now, offers: Vec<Allocation>, refuse: Duration) {
    for offer in offers {
        give_back(allocator, now, &offer, Some(refuse));
        let Allocation { framework, role, agent, .. } = offer;
        allocator.pass(now, framework, &role, agent, Some(refuse));
    }
}

fn role(number: u32, roles: u32) -> String {
    format!("role{}", number % roles)
}

fn run(size: Size) -> Figures {
    let mut allocator = new_allocator();
    let mut rng = Rng::new(1);
    let start = Instant::now();
    for agent in 0..size.agents {
        let total = Resources::parse("cpus:2;mem:1024;disk:4096;ports:[31000-32000]", "*")
            .expect("resources");
        let mut used = BTreeMap::new();
        if size.full {
            let part = Resources::parse("cpus:2;mem:1000", "*").expect("resources");
            let framework = agent % size.frameworks;
            used.insert(FrameworkId(framework), part.allocated_to(&role(framework, size.roles)));
        } else if size.fragmented {
            let port = 31_001 + u64::from(agent % 7) * 3;
            let part =
                format!("cpus:0.5;mem:128;ports:[{port}-{port}, {}-{}]", port + 40, port + 45);
            let part = Resources::parse(&part, "*").expect("resources");
            let framework = agent % size.frameworks;
            used.insert(FrameworkId(framework), part.allocated_to(&role(framework, size.roles)));
        }
        let capabilities =
            BTreeSet::from([AgentCapability::MultiRole, AgentCapability::HierarchicalRole]);
        let options = AgentOptions { capabilities, ..AgentOptions::default() };
        allocator.add_agent(AgentId(agent), options, total, &used);
    }
    let added = start.elapsed();
    for framework in 0..size.frameworks {
        let options = FrameworkOptions {
            roles: BTreeSet::from([role(framework, size.roles)]),
            ..FrameworkOptions::default()
        };
        allocator.add_framework(FrameworkId(framework), options, true);
    }
    if !size.overlap.is_disjoint() {
        allocator.set_overlap("*", Some(size.overlap));
    }
    for share in 0..size.shares {
        let half = Share { percent: 500, amount: 0 };
        let all = ["cpus", "mem"].map(|name| (name.to_owned(), half));
        allocator.set_share(&role(share, size.roles), BTreeMap::from(all));
    }
    let mut cycles = Vec::new();
    let mut offered = BTreeSet::new();
    let mut now = Now::at_secs(1);
    for _ in 0..size.rounds {
        now.mono = now.mono + Duration::from_secs(1);
        if size.full {
            allocator.revive(FrameworkId(0), &BTreeSet::new());
        }
        let start = Instant::now();
        let offers = allocator.allocate(now, &mut rng);
        cycles.push(start.elapsed());
        if size.full {
            assert!(offers.is_empty(), "there is too little for anybody");
        } else if size.shares == 0 && size.overlap.is_disjoint() {
            assert_eq!(offers.len(), size.agents as usize, "every agent is offered in every round");
        }
        offered.extend(offers.iter().map(|o| o.framework));
        decline(&mut *allocator, now, offers, size.refuse);
    }
    let bytes_per_agent = allocator.bytes() / size.agents as usize;
    // Nobody refuses any more; take what is free, so that nothing but one agent is left to offer at a time.
    for framework in 0..size.frameworks {
        allocator.revive(FrameworkId(framework), &BTreeSet::new());
    }
    now.mono = now.mono + Duration::from_secs(1);
    let mut held: Vec<Allocation> = allocator.allocate(now, &mut rng);
    let asked = Instant::now();
    for offer in &held {
        let Allocation { framework, role, agent, resources, .. } = offer;
        allocator.waiting(now, *framework, role, *agent, resources);
    }
    let waiting = asked.elapsed() / u32::try_from(held.len().max(1)).unwrap_or(u32::MAX);
    let mut incremental = Vec::new();
    let changes = if held.is_empty() { 0 } else { CHANGES.min(size.agents) };
    for change in 0..changes {
        let offer = held.swap_remove((change as usize * 7919) % held.len());
        give_back(&mut *allocator, now, &offer, None);
        let start = Instant::now();
        let offers = allocator.allocate(now, &mut rng);
        incremental.push(start.elapsed());
        assert!(offers.len() == 1 || size.shares > 0);
        held.extend(offers);
    }
    let starved = size.frameworks as usize - offered.len();
    Figures { added, cycles, incremental, waiting, bytes_per_agent, starved }
}
