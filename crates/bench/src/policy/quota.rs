//! LargeAndSmallQuota, NonQuotaVsQuota and Metrics: many roles with quota.

use super::agents_and_frameworks;
use super::cluster::{Cluster, resources};
use crate::{Case, Scale, Watch};
use allocator::{Quota, Sorter};
use resources::{Milli, Quantities};
use std::collections::BTreeMap;
use std::fmt::Display;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let mut cases = Vec::new();
    for (sorter, name) in [(Sorter::Drf, "drf"), (Sorter::Random, "random")] {
        // Roles of small quota and of large quota, each with one framework.
        let sizes = [(25, 5), (250, 50), (2_500, 500)];
        for (small, large) in scale.pick((10, 2), &sizes, |_| true) {
            let agents = small / 5 + large * 5;
            let size: [(_, &dyn Display); 4] =
                [("agents", &agents), ("small", &small), ("large", &large), ("sorter", &name)];
            let run = move |w: &mut Watch| large_and_small(small, large, sorter, w);
            cases.push(Case::new("LargeAndSmallQuota", size, run));
        }
    }
    for (sorter, name) in [(Sorter::Drf, "drf"), (Sorter::Random, "random")] {
        for roles in scale.pick(4, &[10, 100, 1_000], |_| true) {
            for quota in [false, true] {
                let (agents, frameworks) = (roles * PER_ROLE, roles * PER_ROLE);
                let size: [(_, &dyn Display); 5] = [
                    ("agents", &agents),
                    ("frameworks", &frameworks),
                    ("roles", &roles),
                    ("quota", &quota),
                    ("sorter", &name),
                ];
                let run = move |w: &mut Watch| with_or_without(roles, quota, sorter, w);
                cases.push(Case::new("NonQuotaVsQuota", size, run));
            }
        }
    }
    for (agents, frameworks) in agents_and_frameworks(scale) {
        let size: [(_, &dyn Display); 2] = [("agents", &agents), ("frameworks", &frameworks)];
        cases.push(Case::new("Metrics", size, move |w| metrics(agents, frameworks, w)));
    }
    cases
}

/// What a role is guaranteed, and not more.
fn exactly(text: &str) -> Quota {
    let amounts: BTreeMap<String, Milli> = Quantities::parse(text)
        .expect("quantities")
        .iter()
        .map(|(name, milli)| (name.to_owned(), milli))
        .collect();
    Quota { guarantees: amounts.clone(), limits: amounts }
}

/// Thousandths of cpus in all offers, by role.
fn offered_cpus(cluster: &Cluster) -> BTreeMap<&str, Milli> {
    let mut offered = BTreeMap::new();
    for offer in &cluster.offers {
        *offered.entry(&*offer.role).or_default() += offer.resources.scalar("cpus");
    }
    offered
}

/// Quotas of half an agent and of two agents; all are met in one cycle, for which agents are divided.
fn large_and_small(small: u32, large: u32, sorter: Sorter, watch: &mut Watch) {
    let role = |id: u32| {
        if id < small {
            format!("smallQuotaRole{id}")
        } else {
            format!("largeQuotaRole{}", id - small)
        }
    };
    let roles: Vec<String> = (0..small + large).map(role).collect();
    let mut cluster = Cluster::new(sorter);
    let total = resources("cpus:2;mem:2048;disk:2048");
    watch.lap("add agents", || {
        (0..small / 5 + large * 5).for_each(|id| cluster.add_agent(id, &total, None));
    });
    watch.lap("add frameworks", || {
        (0..).zip(&roles).for_each(|(id, role)| cluster.add_framework(id, role, &[]));
    });
    let quota = |id: usize| match id < small as usize {
        true => exactly("cpus:1;mem:1024;disk:1024"),
        false => exactly("cpus:4;mem:4096;disk:4096"),
    };
    watch.lap("set quotas", || {
        let all = roles.iter().enumerate();
        all.for_each(|(id, role)| cluster.allocator.set_quota(role, quota(id)));
    });
    cluster.cycle(watch, "cycle that offers");
    let offered = offered_cpus(&cluster);
    for (id, role) in roles.iter().enumerate() {
        let guaranteed = quota(id).guarantees["cpus"];
        assert_eq!(offered.get(&**role), Some(&guaranteed), "{role} is offered its quota");
    }
    watch.count("offers", cluster.offers.len());
    cluster.offers.clear();
    cluster.cycle(watch, "cycle that offers nothing");
    assert!(cluster.offers.is_empty(), "everybody has what the quota allows");
    cluster.check();
}

/// Agents and frameworks of each role.
const PER_ROLE: u32 = 2;

/// Quota of whole agents, so that the same is offered with and without it.
fn with_or_without(roles: u32, quota: bool, sorter: Sorter, watch: &mut Watch) {
    let mut cluster = Cluster::new(sorter);
    let total = resources("cpus:2;mem:2048;disk:2048");
    watch.lap("add agents", || {
        (0..roles * PER_ROLE).for_each(|id| cluster.add_agent(id, &total, None));
    });
    watch.lap("add frameworks", || {
        (0..roles * PER_ROLE)
            .for_each(|id| cluster.add_framework(id, &format!("role{}", id / PER_ROLE), &[]));
    });
    if quota {
        let of_each = exactly("cpus:4;mem:4096;disk:4096");
        watch.lap("set quotas", || {
            (0..roles)
                .for_each(|r| cluster.allocator.set_quota(&format!("role{r}"), of_each.clone()));
        });
    }
    cluster.cycle(watch, "cycle that offers");
    assert_eq!(
        cluster.offers.len(),
        (roles * PER_ROLE) as usize,
        "each agent is offered as a whole"
    );
    if quota || sorter == Sorter::Drf {
        let offered = offered_cpus(&cluster);
        assert_eq!(offered.len(), roles as usize);
        assert!(offered.values().all(|milli| *milli == 4_000), "each role has its two agents");
    }
    cluster.offers.clear();
    cluster.cycle(watch, "cycle that offers nothing");
    assert!(cluster.offers.is_empty(), "nothing is left");
    cluster.check();
}

/// What metrics want to know of a cluster in which every framework's role has quota.
fn metrics(agents: u32, frameworks: u32, watch: &mut Watch) {
    let mut cluster = Cluster::new(Sorter::Drf);
    let quota = exactly("cpus:1;mem:512;disk:256");
    watch.lap("set quotas", || {
        (0..frameworks).for_each(|id| cluster.allocator.set_quota(&id.to_string(), quota.clone()));
    });
    watch.lap("add frameworks", || {
        (0..frameworks).for_each(|id| cluster.add_framework(id, &id.to_string(), &[]));
    });
    let total = resources("cpus:16;mem:2048;disk:1024");
    watch.lap("add agents and offer them", || {
        for id in 0..agents {
            cluster.add_agent(id, &total, None);
            cluster.serve();
        }
        cluster.settle();
    });
    let offered = offered_cpus(&cluster);
    assert_eq!(offered.len(), frameworks as usize, "every role is offered something");
    assert!(offered.values().all(|milli| *milli == 1_000), "namely its quota");
    let filters = watch.lap("filters of all roles", || cluster.allocator.active_filters());
    assert!(filters.is_empty(), "nobody has declined anything");
    watch.lap("consumption of all roles", || {
        for id in 0..frameworks {
            let consumed = cluster.allocator.quota_consumption(&id.to_string());
            assert_eq!(consumed.get("cpus"), Some(&1_000));
        }
    });
    cluster.check();
}
