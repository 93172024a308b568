//! DeclineOffers and ResourceLabels: every framework declines everything for good, round after round.

use super::agents_and_frameworks;
use super::cluster::{Cluster, FOREVER, dynamic_reservation, entry, ports, resources};
use crate::{Case, Scale, Watch};
use allocator::Sorter;
use resources::{Identity, Resources, Value};

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let sizes = agents_and_frameworks(scale).into_iter();
    let pairs = sizes.map(|(agents, frameworks)| {
        let size: [(_, &dyn std::fmt::Display); 2] =
            [("agents", &agents), ("frameworks", &frameworks)];
        [
            Case::new("DeclineOffers", size, move |w| plain(agents, frameworks, w)),
            Case::new("ResourceLabels", size, move |w| labelled(agents, frameworks, w)),
        ]
    });
    pairs.flatten().collect()
}

fn plain(agents: u32, frameworks: u32, watch: &mut Watch) {
    let total = resources("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let used = resources(&format!("cpus:16;mem:2014;disk:1024;ports:{}", ports(16)));
    let used = used.allocated_to("*");
    run(agents, frameworks, "*", |_| (total.clone(), used.clone()), watch);
}

/// On each agent two reservations are in use, of twelve labels each, of which only the last ones differ. Unlike with
/// the peer they are part of the agent's total: what is used beyond it would keep the agent from being offered.
fn labelled(agents: u32, frameworks: u32, watch: &mut Watch) {
    let common = resources("cpus:8;mem:4096;disk:4096;ports:[31000-32000]");
    let used = resources(&format!("mem:2014;disk:1024;ports:{}", ports(16)));
    let reserved = |agent: u32, key: &str| -> Resources {
        let mut labels: Vec<(String, String)> =
            (0..11).map(|i| (format!("key{i}"), format!("value{i}"))).collect();
        labels.push((key.to_owned(), format!("value_{agent}")));
        let reservations = vec![dynamic_reservation("role1", labels)];
        let identity = Identity { name: "cpus".to_owned(), reservations, ..Identity::default() };
        entry(identity, Value::Scalar(8_000))
    };
    let agent = |id: u32| {
        let (mut total, mut used) = (common.clone(), used.clone());
        for key in ["unique_key_1", "unique_key_2"] {
            let reserved = reserved(id, key);
            total += &reserved;
            used += &reserved;
        }
        (total, used.allocated_to("role1"))
    };
    run(agents, frameworks, "role1", agent, watch);
}

fn run(
    agents: u32,
    frameworks: u32,
    role: &str,
    agent: impl Fn(u32) -> (Resources, Resources),
    watch: &mut Watch,
) {
    let mut cluster = Cluster::new(Sorter::Drf);
    watch.lap("add frameworks", || {
        (0..frameworks).for_each(|id| cluster.add_framework(id, role, &[]));
    });
    watch.lap("add agents and offer them", || {
        for id in 0..agents {
            let (total, used) = agent(id);
            cluster.add_agent(id, &total, Some((id % frameworks, &used)));
            cluster.serve();
        }
        cluster.settle();
    });
    let mut offered = vec![0_u32; frameworks as usize];
    let mut declined = 0;
    for _ in 0..frameworks * 2 {
        cluster.offers.iter().for_each(|o| offered[o.framework.0 as usize] += 1);
        declined += cluster.offers.len() as u64;
        watch.lap("decline all offers", || cluster.decline(Some(FOREVER)));
        let is_over = declined == u64::from(agents) * u64::from(frameworks);
        cluster.cycle(watch, if is_over { "cycle, all declined" } else { "cycle" });
    }
    assert!(cluster.offers.is_empty(), "everybody has declined everything");
    assert!(offered.iter().all(|n| *n == agents), "everybody was offered every agent once");
    watch.count("bytes per agent", cluster.allocator.bytes() / agents as usize);
    cluster.check();
}
