//! AddAndUpdateSlave and AllocatorBacklog: events one after the other, with cycles in between as a master runs them.

use super::agents_and_frameworks;
use super::cluster::{Cluster, agent_options, resources};
use crate::{Case, Scale, Watch};
use allocator::{AgentId, FrameworkId, Sorter};
use resources::{Entry, Resources};
use std::collections::BTreeSet;
use wire::v1::framework_info::capability::Type as Capability;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let sizes = agents_and_frameworks(scale).into_iter();
    let pairs = sizes.map(|(agents, frameworks)| {
        let size: [(_, &dyn std::fmt::Display); 2] =
            [("agents", &agents), ("frameworks", &frameworks)];
        [
            Case::new("AddAndUpdateSlave", size, move |w| add_and_update(agents, frameworks, w)),
            Case::new("AllocatorBacklog", size, move |w| backlog(agents, frameworks, w)),
        ]
    });
    pairs.flatten().collect()
}

/// Agents are added, a part of each in use, and then each has revocable resources as well.
fn add_and_update(agents: u32, frameworks: u32, watch: &mut Watch) {
    let mut cluster = Cluster::new(Sorter::Drf);
    watch.lap("add frameworks", || {
        for id in 0..frameworks {
            cluster.add_framework(id, "*", &[Capability::RevocableResources]);
            cluster.serve();
        }
    });
    let total = resources("cpus:2;mem:1024;disk:4096;ports:[31000-32000]");
    let used = "cpus:1;mem:128;disk:1024;ports:[31126-31510,31512-31623,31810-31852,31854-31964]";
    let used = resources(used).allocated_to("*");
    watch.lap("add agents and offer them", || {
        for id in 0..agents {
            cluster.add_agent(id, &total, Some((id % frameworks, &used)));
            cluster.serve();
        }
        cluster.settle();
    });
    assert_eq!(cluster.offers.len(), agents as usize, "what is free of each agent is offered");
    watch.count("cycles", cluster.cycles);
    cluster.offers.clear();
    let more: Resources = [Entry::revocable_scalar("cpus", 10_000)].into_iter().collect();
    watch.lap("update agents and offer them", || {
        for id in 0..agents {
            let mut total = total.clone();
            total += &more;
            cluster.allocator.update_agent(AgentId(id), agent_options(id), total);
            cluster.serve();
        }
        cluster.settle();
    });
    assert_eq!(cluster.offers.len(), agents as usize, "what is new on each agent is offered");
    assert!(cluster.offers.iter().all(|o| o.resources.unallocated() == more));
    cluster.check();
}

/// Every framework revives at once; there is nothing left to offer.
fn backlog(agents: u32, frameworks: u32, watch: &mut Watch) {
    let mut cluster = Cluster::new(Sorter::Drf);
    watch.lap("add frameworks", || {
        for id in 0..frameworks {
            cluster.add_framework(id, "*", &[]);
            cluster.serve();
        }
    });
    let total = resources("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    watch.lap("add agents and offer them", || {
        for id in 0..agents {
            cluster.add_agent(id, &total, None);
            cluster.serve();
        }
        cluster.settle();
    });
    assert_eq!(cluster.offers.len(), agents as usize, "each agent is offered");
    let before = cluster.cycles;
    watch.lap("revive all frameworks", || {
        for id in 0..frameworks {
            cluster.allocator.revive(FrameworkId(id), &BTreeSet::new());
            cluster.serve();
        }
        cluster.settle();
    });
    assert_eq!(cluster.offers.len(), agents as usize, "nothing was left to offer");
    watch.count("cycles while reviving", cluster.cycles - before);
}
