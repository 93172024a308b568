//! FullSort and HierarchyFullSort: who is next, with many clients and allocations on many agents.
//!
//! The peer measures its sorters alone. Here the orders are part of the policy and kept with every change, so that a
//! cycle that looks at one agent which nobody may have is what a sort is.

use super::cluster::{Cluster, ports, resources};
use crate::{Case, Scale, Watch};
use allocator::{AgentId, FrameworkId, Sorter};
use std::fmt::Display;

const AGENTS: [u32; 6] = [1_000, 5_000, 10_000, 20_000, 30_000, 50_000];
const SORTERS: [(Sorter, &str); 2] = [(Sorter::Drf, "drf"), (Sorter::Random, "random")];

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let mut cases = Vec::new();
    for (sorter, name) in SORTERS {
        let clients = [1, 50, 100, 200, 500, 1_000];
        let all: Vec<(u32, u32)> =
            AGENTS.iter().flat_map(|a| clients.iter().map(|c| (*a, *c))).collect();
        let usual = [(1_000, 1_000), (10_000, 1_000), (50_000, 1_000)];
        for (agents, clients) in scale.pick((20, 6), &all, |size| usual.contains(size)) {
            let size: [(_, &dyn Display); 3] =
                [("agents", &agents), ("clients", &clients), ("sorter", &name)];
            let names: Vec<String> = (0..clients).map(|_| "*".to_owned()).collect();
            cases.push(Case::new("FullSort", size, move |w| run(agents, &names, sorter, w)));
        }
        // Height, with the root, and branches of each node.
        let shapes = [(3, 32), (7, 3), (10, 2)];
        let all: Vec<(u32, (u32, u32))> =
            AGENTS.iter().flat_map(|a| shapes.iter().map(|s| (*a, *s))).collect();
        let usual = |size: &(u32, _)| [1_000, 10_000, 50_000].contains(&size.0);
        for (agents, (height, branches)) in scale.pick((20, (3, 2)), &all, usual) {
            let mut names = Vec::new();
            grow("", height, branches, &mut names);
            let size: [(_, &dyn Display); 5] = [
                ("agents", &agents),
                ("clients", &names.len()),
                ("height", &height),
                ("branches", &branches),
                ("sorter", &name),
            ];
            cases.push(Case::new("HierarchyFullSort", size, move |w| {
                run(agents, &names, sorter, w)
            }));
        }
    }
    cases
}

/// Names of all roles of a tree, depth first.
fn grow(above: &str, height: u32, branches: u32, names: &mut Vec<String>) {
    if height < 2 {
        return;
    }
    for branch in 0..branches {
        let name = if above.is_empty() { branch.to_string() } else { format!("{above}/{branch}") };
        grow(&name, height - 1, branches, names);
        names.push(name);
    }
}

/// Clients are frameworks; `roles` are theirs.
fn run(agents: u32, roles: &[String], sorter: Sorter, watch: &mut Watch) {
    let mut cluster = Cluster::new(sorter);
    watch.lap("add clients", || {
        (0..).zip(roles).for_each(|(id, role)| cluster.add_framework(id, role, &[]));
    });
    let total = resources("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    watch.lap("add agents", || {
        for id in 0..agents {
            cluster.add_agent(id, &total, None);
            cluster.allocator.deactivate_agent(AgentId(id));
        }
    });
    cluster.cycle(watch, "first cycle, over all agents");
    let used = resources(&format!("cpus:16;mem:2014;disk:1024;ports:{}", ports(100)));
    let used: Vec<_> = roles.iter().map(|role| used.allocated_to(role)).collect();
    let client = |agent: u32| agent as usize % roles.len();
    let framework = |agent: u32| FrameworkId(agent % u32::try_from(roles.len()).unwrap_or(1));
    watch.lap("allocate on all agents", || {
        for id in 0..agents {
            cluster.allocator.track(framework(id), AgentId(id), &used[client(id)]);
        }
    });
    // The total is another, and every share with it.
    cluster.add_agent(agents, &total, None);
    cluster.allocator.deactivate_agent(AgentId(agents));
    cluster.cycle(watch, "full sort");
    cluster.cycle(watch, "no-op sort");
    cluster.allocator.activate_agent(AgentId(agents));
    cluster.cycle(watch, "offer one agent");
    assert_eq!(cluster.offers.len(), 1);
    let first = cluster.offers[0].framework.0;
    // The shares of the flat tree are known: those who have an agent less than others, if there are such.
    if sorter == Sorter::Drf && roles.iter().all(|role| role == "*") {
        let count = u32::try_from(roles.len()).unwrap_or(1);
        assert!(
            agents.is_multiple_of(count) || first >= agents % count,
            "the least share is first"
        );
    }
    cluster.decline(None);
    watch.lap("deallocate on all agents", || {
        for id in 0..agents {
            let used = &used[client(id)];
            cluster.allocator.recover(cluster.now, framework(id), AgentId(id), used, None);
        }
    });
    cluster.check();
    watch.lap("remove agents", || {
        (0..=agents).for_each(|id| cluster.allocator.remove_agent(AgentId(id)));
    });
    watch.lap("remove clients", || {
        (0..).zip(roles).for_each(|(id, _)| cluster.allocator.remove_framework(FrameworkId(id)));
    });
    cluster.check();
}
