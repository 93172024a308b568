//! A cluster as the allocator sees it, and frameworks that answer its offers.

use crate::Watch;
use allocator::{
    AgentId, AgentOptions, Allocation, Allocator, Config, FrameworkId, FrameworkOptions, Sorter,
};
use base::{Now, Rng};
use resources::{Entry, Identity, Quantities, Resources, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::v1;
use wire::v1::framework_info::capability::Type as Capability;

/// Refusal without end.
pub(super) const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Longest time between two cycles over all agents.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Cluster {
    pub(super) allocator: Box<dyn Allocator>,
    pub(super) now: Now,
    rng: Rng,
    /// When `now` was read.
    read: Instant,
    /// Offers that nobody has answered.
    pub(super) offers: Vec<Allocation>,
    /// Cycles so far.
    pub(super) cycles: usize,
}

impl Cluster {
    pub(super) fn new(sorter: Sorter) -> Self {
        let config = Config {
            allocation_interval: INTERVAL,
            coalesce: Duration::from_millis(2),
            min_allocatable: Quantities::parse_alternatives("cpus:0.01|mem:32")
                .expect("quantities"),
            fair_sharing_excluded: BTreeSet::new(),
            filter_gpu_resources: true,
            domain: None,
            weights: BTreeMap::new(),
            role_sorter: sorter,
            framework_sorter: sorter,
            max_time_to_offer: Duration::from_secs(30),
            lending: true,
            lending_min_idle: Duration::from_secs(60),
        };
        Self {
            allocator: allocator::hierarchical(config),
            now: Now::at_secs(1),
            rng: Rng::new(1),
            read: Instant::now(),
            offers: Vec::new(),
            cycles: 0,
        }
    }

    pub(super) fn add_framework(&mut self, id: u32, role: &str, capabilities: &[Capability]) {
        let mut capabilities: BTreeSet<Capability> = capabilities.iter().copied().collect();
        capabilities.insert(Capability::MultiRole);
        let roles = BTreeSet::from([role.to_owned()]);
        let options = FrameworkOptions { roles, capabilities, ..FrameworkOptions::default() };
        self.allocator.add_framework(FrameworkId(id), options, true);
    }

    pub(super) fn add_agent(
        &mut self,
        id: u32,
        total: &Resources,
        used: Option<(u32, &Resources)>,
    ) {
        let used = used.into_iter().map(|(framework, r)| (FrameworkId(framework), r.clone()));
        let options = agent_options(id);
        self.allocator.add_agent(AgentId(id), options, total.clone(), &used.collect());
    }

    fn run(&mut self) {
        self.cycles += 1;
        self.offers.extend(self.allocator.allocate(self.now, &mut self.rng));
    }

    /// A cycle when one is due by the clock, as a master does after each event.
    pub(super) fn serve(&mut self) {
        let read = std::mem::replace(&mut self.read, Instant::now());
        self.now.mono = self.now.mono + self.read.duration_since(read);
        if self.allocator.next_run().is_some_and(|at| at <= self.now.mono) {
            self.run();
        }
    }

    /// Lets time pass until all that was asked for is served.
    pub(super) fn settle(&mut self) {
        self.now.mono = self.now.mono + INTERVAL;
        while self.allocator.next_run().is_some_and(|at| at <= self.now.mono) {
            self.run();
        }
    }

    /// Measures a cycle after an interval.
    pub(super) fn cycle(&mut self, watch: &mut Watch, what: &'static str) {
        self.now.mono = self.now.mono + INTERVAL;
        watch.lap(what, || self.run());
    }

    /// Gives back all offers.
    pub(super) fn decline(&mut self, refuse: Option<Duration>) {
        for offer in std::mem::take(&mut self.offers) {
            self.give_back(&offer, refuse);
        }
    }

    /// Gives back an offer of which nothing was used.
    pub(super) fn give_back(&mut self, offer: &Allocation, refuse: Option<Duration>) {
        let Allocation { framework, role, agent, resources, .. } = offer;
        self.allocator.pass(self.now, *framework, role, *agent, refuse);
        self.allocator.recover(self.now, *framework, *agent, resources, refuse);
    }

    /// The books agree with each other.
    pub(super) fn check(&self) {
        assert_eq!(self.allocator.check(), Ok(()));
    }
}

/// An agent with all that an agent can.
pub(super) fn agent_options(id: u32) -> AgentOptions {
    use v1::agent_info::capability::Type;
    let capabilities = BTreeSet::from([
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::ResizeVolume,
    ]);
    AgentOptions { hostname: format!("agent{id}"), capabilities, ..AgentOptions::default() }
}

pub(super) fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").expect("resources")
}

/// One resource.
pub(super) fn entry(identity: Identity, value: Value) -> Resources {
    [Entry { identity: Arc::new(identity), value }].into_iter().collect()
}

/// Ports 31000 to 32000 in so many pieces: single ports with gaps of one, and a last piece with the rest.
pub(super) fn ports(pieces: u64) -> String {
    let begin = |piece: u64| 31_000 + 2 * piece;
    let single = (0..pieces - 1).map(|piece| format!("{0}-{0}", begin(piece)));
    let last = format!("{}-32000", begin(pieces - 1));
    format!("[{}]", single.chain([last]).collect::<Vec<_>>().join(","))
}

pub(super) fn dynamic_reservation(
    role: &str,
    labels: Vec<(String, String)>,
) -> v1::resource::ReservationInfo {
    let labels = labels.into_iter().map(|(key, value)| v1::Label { key, value: Some(value) });
    v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some(role.to_owned()),
        principal: Some("principal1".to_owned()),
        labels: Some(v1::Labels { labels: labels.collect() }),
    }
}
