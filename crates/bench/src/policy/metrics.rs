//! Metrics: what a snapshot of the metrics asks the allocator, with a quota for each framework's role.
//!
//! The peer takes the time of the whole snapshot, over HTTP; the rest of it is not the allocator's here.

use super::agents_and_frameworks;
use super::cluster::{Cluster, FOREVER, resources};
use crate::{Case, Scale, Watch};
use allocator::{Quota, Sorter};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let sizes = agents_and_frameworks(scale).into_iter();
    let case = |(agents, frameworks)| {
        let size: [(_, &dyn std::fmt::Display); 2] =
            [("agents", &agents), ("frameworks", &frameworks)];
        Case::new("Metrics", size, move |w| run(agents, frameworks, w))
    };
    sizes.map(case).collect()
}

fn run(agents: u32, frameworks: u32, watch: &mut Watch) {
    let mut cluster = Cluster::new(Sorter::Drf);
    let roles: Vec<String> = (0..frameworks).map(|id| id.to_string()).collect();
    let amounts = resources("cpus:1;mem:512;disk:256").quantities();
    let amounts: BTreeMap<String, _> =
        amounts.iter().map(|(name, milli)| (name.to_owned(), milli)).collect();
    let quota = Quota { guarantees: amounts.clone(), limits: amounts };
    watch.lap("set quotas", || {
        roles.iter().for_each(|role| cluster.allocator.set_quota(role, quota.clone()));
    });
    watch.lap("add frameworks", || {
        (0..frameworks).zip(&roles).for_each(|(id, role)| cluster.add_framework(id, role, &[]));
    });
    let total = resources("cpus:16;mem:2048;disk:1024");
    watch.lap("add agents and offer them", || {
        for id in 0..agents {
            cluster.add_agent(id, &total, None);
            cluster.serve();
        }
        cluster.settle();
    });
    let served: BTreeSet<String> = cluster.offers.iter().map(|o| o.role.clone()).collect();
    cluster.decline(Some(FOREVER));
    let (filters, consumed) = watch.lap("filters and consumption of all roles", || {
        let filters = cluster.allocator.active_filters();
        let consumed = roles.iter().map(|role| cluster.allocator.quota_consumption(role));
        (filters, consumed.collect::<Vec<_>>())
    });
    assert!(filters.keys().eq(&served), "who declined has filters");
    assert!(consumed.iter().all(|c| c.values().all(|milli| *milli == 0)), "nobody has anything");
    cluster.check();
}
