//! SuppressOffers and ExtremeSuppressOffers: how much frameworks that want nothing cost.

use super::agents_and_frameworks;
use super::cluster::{Cluster, ports, resources};
use crate::{Case, Scale, Watch};
use allocator::{FrameworkId, Sorter};
use std::collections::BTreeSet;

const ROUNDS: u32 = 5;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let sizes = agents_and_frameworks(scale).into_iter();
    let pairs = sizes.map(|(agents, frameworks)| {
        let size: [(_, &dyn std::fmt::Display); 2] =
            [("agents", &agents), ("frameworks", &frameworks)];
        // Each round a fifth more of them.
        let fifths = move |w: &mut Watch| {
            run(agents, frameworks, |round| (round + 1) * (frameworks / ROUNDS), w);
        };
        // 99 of a hundred from the start.
        let extreme = move |w: &mut Watch| run(agents, frameworks, |_| frameworks * 99 / 100, w);
        [
            Case::new("SuppressOffers", size, fifths),
            Case::new("ExtremeSuppressOffers", size, extreme),
        ]
    });
    pairs.flatten().collect()
}

fn run(agents: u32, frameworks: u32, suppressed: impl Fn(u32) -> u32, watch: &mut Watch) {
    let mut cluster = Cluster::new(Sorter::Drf);
    watch.lap("add frameworks", || {
        (0..frameworks).for_each(|id| cluster.add_framework(id, "*", &[]));
    });
    let total = resources("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let used = resources(&format!("cpus:16;mem:1024;disk:1024;ports:{}", ports(16)));
    let used = used.allocated_to("*");
    watch.lap("add agents and offer them", || {
        for id in 0..agents {
            cluster.add_agent(id, &total, Some((id % frameworks, &used)));
            cluster.serve();
        }
        cluster.settle();
    });
    let mut count = 0;
    for round in 0..ROUNDS {
        cluster.decline(None);
        let more = count..suppressed(round);
        count = more.end;
        watch.lap("suppress", || {
            for id in more {
                cluster.allocator.suppress(FrameworkId(id), &BTreeSet::new());
            }
        });
        cluster.cycle(watch, "cycle");
        let expected = if count < frameworks { agents } else { 0 };
        assert_eq!(
            cluster.offers.len(),
            expected as usize,
            "all agents go to those who want offers"
        );
        assert!(
            cluster.offers.iter().all(|o| o.framework.0 >= count),
            "nobody else is offered any"
        );
    }
    cluster.check();
}
