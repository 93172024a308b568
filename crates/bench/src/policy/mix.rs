//! MultiFrameworkAllocations: frameworks of three kinds launch 19,500 tasks on 80 large agents.
//!
//! Those who have launched everything give back their offers without a filter, and have the least share: where nothing
//! but shares decides, they are offered the agents again and again, and the others never launch the rest.

use super::cluster::{Cluster, resources};
use crate::{Case, Scale, Watch};
use allocator::{Allocation, Sorter};
use resources::Resources;

/// Rounds without a launch after which it is given up.
const STEADY: usize = 100;

/// Frameworks of one kind in one role.
#[derive(Debug, Clone)]
struct Profile {
    role: String,
    frameworks: u32,
    /// Tasks of each framework.
    tasks: u32,
    /// Most tasks in an offer.
    per_offer: u32,
    task: Resources,
}

fn profiles(part: u32) -> Vec<Profile> {
    let profile = |role: String, frameworks, tasks, per_offer, task: &str| Profile {
        role,
        frameworks,
        tasks,
        per_offer,
        task: resources(task),
    };
    // Many small applications each, a few build jobs of each of many, larger jobs.
    let applications =
        (1..=4).map(|i| profile(format!("roleA-{i}"), 1, 4_000 / part, 100, "cpus:0.07;mem:400"));
    let builds = profile("roleB".to_owned(), 500 / part, 5, 1, "cpus:0.1;mem:4000");
    let jobs = (1..=50 / part).map(|i| profile(format!("roleC-{i}"), 1, 20, 5, "cpus:1;mem:1000"));
    applications.chain([builds]).chain(jobs).collect()
}

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    scale
        .pick(25, &[1], |_| true)
        .into_iter()
        .map(|part| {
            let profiles = profiles(part);
            let agents = 80;
            let frameworks: u32 = profiles.iter().map(|p| p.frameworks).sum();
            let tasks: u32 = profiles.iter().map(|p| p.frameworks * p.tasks).sum();
            let size: [(_, &dyn std::fmt::Display); 4] = [
                ("agents", &agents),
                ("frameworks", &frameworks),
                ("roles", &profiles.len()),
                ("tasks", &tasks),
            ];
            Case::new("MultiFrameworkAllocations", size, move |w| run(agents, &profiles, tasks, w))
        })
        .collect()
}

fn run(agents: u32, profiles: &[Profile], tasks: u32, watch: &mut Watch) {
    let mut cluster = Cluster::new(Sorter::Drf);
    let total = resources("cpus:64;mem:488000");
    watch.lap("add agents", || {
        (0..agents).for_each(|id| cluster.add_agent(id, &total, None));
    });
    let of: Vec<&Profile> =
        profiles.iter().flat_map(|p| (0..p.frameworks).map(move |_| p)).collect();
    watch.lap("add frameworks", || {
        (0..).zip(&of).for_each(|(id, profile)| cluster.add_framework(id, &profile.role, &[]));
    });
    let mut launched = vec![0_u32; of.len()];
    let (mut offers, mut sum, mut last) = (0, 0, 0);
    while sum < tasks && cluster.cycles < last + STEADY {
        cluster.cycle(watch, "cycle");
        offers += cluster.offers.len();
        watch.lap("answer the offers", || {
            for offer in std::mem::take(&mut cluster.offers) {
                answer(&mut cluster, &of, &mut launched, offer);
            }
        });
        let before = std::mem::replace(&mut sum, launched.iter().sum());
        if sum > before {
            last = cluster.cycles;
        }
    }
    watch.count("tasks launched", sum as usize);
    watch.count("rounds until the last of them", last);
    watch.count("offers", offers);
    assert_eq!(sum, tasks, "all are launched");
    cluster.check();
}

/// Launches as many tasks as fit and gives back the rest.
fn answer(cluster: &mut Cluster, of: &[&Profile], launched: &mut [u32], offer: Allocation) {
    let at = offer.framework.0 as usize;
    let profile = of[at];
    let task = profile.task.allocated_to(&profile.role);
    let mut rest = offer.resources.clone();
    let wanted = (profile.tasks - launched[at]).min(profile.per_offer);
    for _ in 0..wanted {
        if !rest.contains(&task) {
            break;
        }
        rest -= &task;
        launched[at] += 1;
    }
    if rest == offer.resources {
        cluster.give_back(&offer, None);
    } else {
        cluster.allocator.used(offer.framework, &offer.role);
        cluster.allocator.recover(cluster.now, offer.framework, offer.agent, &rest, None);
    }
}
