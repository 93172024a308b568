//! Shares: the worked examples of the paper (Ghodsi et al., Dominant Resource Fairness, NSDI 2011), weights, the tree
//! of roles, the random sorter.

use super::*;
use allocator::Sorter;

/// Lets frameworks take `demand` of what they are offered, one task an offer, until nothing fits.
fn fill(c: &mut Cluster, demands: &[(u32, &str, &str)]) -> BTreeMap<u32, u32> {
    let mut tasks: BTreeMap<u32, u32> = BTreeMap::new();
    for _ in 0..1000 {
        let offers = c.allocations();
        if offers.is_empty() {
            break;
        }
        for offer in offers {
            let (_, role, demand) = demands.iter().find(|d| d.0 == offer.framework.0).expect("it");
            let task = resources(demand).allocated_to(role);
            let mut rest = offer.resources.clone();
            if rest.contains(&task) {
                rest -= &task;
                *tasks.entry(offer.framework.0).or_default() += 1;
                c.allocator.recover(c.now, offer.framework, offer.agent, &rest, None);
            } else {
                // Nothing that it could use: it does not ask again.
                c.allocator.suppress(offer.framework, &BTreeSet::new());
                c.allocator.recover(c.now, offer.framework, offer.agent, &rest, None);
            }
        }
    }
    tasks
}

#[test]
fn the_first_example_of_the_paper_gives_three_and_two_tasks() {
    let mut c = cluster();
    c.agent(1, "cpus:9;mem:18000");
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    let demands = [(1, "a", "cpus:1;mem:4000"), (2, "b", "cpus:3;mem:1000")];
    assert_eq!(fill(&mut c, &demands), BTreeMap::from([(1, 3), (2, 2)]));
}

#[test]
fn twice_the_weight_is_twice_the_share() {
    let mut c = cluster();
    c.agent(1, "cpus:30;mem:30000");
    c.framework(1, &["heavy"]);
    c.framework(2, &["light"]);
    let demands = [(1, "heavy", "cpus:1;mem:1000"), (2, "light", "cpus:1;mem:1000")];
    assert_eq!(fill(&mut c, &demands), BTreeMap::from([(1, 20), (2, 10)]));
    let mut c = cluster();
    c.allocator.set_weight("light", 4.0);
    c.agent(1, "cpus:30;mem:30000");
    c.framework(1, &["heavy"]);
    c.framework(2, &["light"]);
    assert_eq!(fill(&mut c, &demands), BTreeMap::from([(1, 10), (2, 20)]));
}

#[test]
fn siblings_share_what_their_parent_gets() {
    let mut c = cluster();
    c.agent(1, "cpus:24;mem:24000");
    c.framework(1, &["eng/web"]);
    c.framework(2, &["eng/batch"]);
    c.framework(3, &["ads"]);
    let task = "cpus:1;mem:1000";
    let demands = [(1, "eng/web", task), (2, "eng/batch", task), (3, "ads", task)];
    assert_eq!(fill(&mut c, &demands), BTreeMap::from([(1, 6), (2, 6), (3, 12)]));
}

#[test]
fn a_role_with_children_competes_with_them_as_one_of_them() {
    let mut c = cluster();
    c.agent(1, "cpus:24;mem:24000");
    c.framework(1, &["eng"]);
    c.framework(2, &["eng/batch"]);
    c.framework(3, &["ads"]);
    let task = "cpus:1;mem:1000";
    let demands = [(1, "eng", task), (2, "eng/batch", task), (3, "ads", task)];
    assert_eq!(fill(&mut c, &demands), BTreeMap::from([(1, 6), (2, 6), (3, 12)]));
}

#[test]
fn frameworks_of_a_role_share_it_evenly() {
    let mut c = cluster();
    c.agent(1, "cpus:12;mem:12000");
    c.framework(1, &["a"]);
    c.framework(2, &["a"]);
    c.framework(3, &["b"]);
    let task = "cpus:1;mem:1000";
    let demands = [(1, "a", task), (2, "a", task), (3, "b", task)];
    assert_eq!(fill(&mut c, &demands), BTreeMap::from([(1, 3), (2, 3), (3, 6)]));
}

#[test]
fn the_random_sorter_serves_everybody_by_weight() {
    let mut c = cluster_with(|config| {
        config.role_sorter = Sorter::Random;
        config.framework_sorter = Sorter::Random;
    });
    c.framework(1, &["heavy"]);
    c.framework(2, &["a"]);
    c.framework(3, &["a"]);
    c.agent(1, "cpus:1;mem:100");
    let mut turns: BTreeMap<u32, i64> = BTreeMap::new();
    for _ in 0..3000 {
        let offer = c.allocations().remove(0);
        *turns.entry(offer.framework.0).or_default() += 1;
        c.decline(&offer, None);
    }
    // Two thirds, and half of one third each.
    for (framework, expected) in [(1, 2000), (2, 500), (3, 500)] {
        assert!((turns[&framework] - expected).abs() < 150, "{turns:?}");
    }
}

#[test]
fn agents_that_are_not_on_the_whitelist_are_not_offered() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.allocator.set_whitelist(Some(set(&["host2"])));
    c.agent(1, "cpus:1;mem:100");
    c.agent(2, "cpus:2;mem:100");
    assert_eq!(c.run(), ["1 a 2 cpus:2; mem:100"]);
    assert_eq!(c.allocator.why(FrameworkId(1), "a", AgentId(1)), allocator::Reason::NotListed);
    c.allocator.set_whitelist(None);
    assert_eq!(c.run(), ["1 a 1 cpus:1; mem:100"]);
}

#[test]
fn why_names_the_first_thing_in_the_way() {
    use allocator::Reason;
    let mut c = cluster();
    c.framework(1, &["a", "b"]);
    c.agent(1, "cpus:4;mem:1024");
    c.agent(2, "cpus(x):4;mem(x):1024");
    c.agent(3, "cpus:4;mem:1024;gpus:1");
    c.agent(4, "mem:8");
    let why =
        |c: &Cluster, role: &str, agent| c.allocator.why(FrameworkId(1), role, AgentId(agent));
    assert_eq!(why(&c, "a", 1), Reason::Next);
    assert_eq!(why(&c, "a", 2), Reason::Reserved);
    assert_eq!(why(&c, "a", 3), Reason::Gpus);
    assert_eq!(why(&c, "a", 4), Reason::BelowMinimum);
    assert_eq!(why(&c, "a", 9), Reason::AgentInactive);
    assert_eq!(why(&c, "z", 1), Reason::Inactive);
    c.allocator.suppress(FrameworkId(1), &set(&["b"]));
    assert_eq!(why(&c, "b", 1), Reason::Suppressed);
    let offer = c.allocations().remove(0);
    assert_eq!(why(&c, "a", 1), Reason::Taken);
    c.decline(&offer, Some(Duration::from_secs(60)));
    assert!(matches!(why(&c, &offer.role, 1), Reason::Refused { until } if until > c.now.mono));
}

/// Tasks of one size come and go: when the cluster is full, roles have what their weights say, within a task or two.
#[test]
fn shares_converge_to_weights() {
    const TASK: &str = "cpus:0.5;mem:50";
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut c = cluster();
        let roles = ["x", "y", "z", "w/a", "w/b"];
        let mut weights: BTreeMap<&str, u64> = BTreeMap::new();
        for role in ["x", "y", "z", "w", "w/a", "w/b"] {
            let weight = 1 + rng.below(4);
            weights.insert(role, weight);
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            c.allocator.set_weight(role, weight as f64);
        }
        for (number, role) in roles.iter().enumerate() {
            c.framework(u32::try_from(number).expect("small"), &[role]);
        }
        for agent in 0..30 {
            c.agent(agent, "cpus:4;mem:400");
        }
        // Agent and framework of each task.
        let mut running: Vec<(AgentId, FrameworkId)> = Vec::new();
        let count = |running: &[(AgentId, FrameworkId)], number: usize| {
            running.iter().filter(|(_, f)| f.0 as usize == number).count() as u64
        };
        for round in 0..60 {
            if round < 50 {
                for _ in 0..running.len() / 8 {
                    let (agent, framework) =
                        running.swap_remove(rng.below(running.len() as u64) as usize);
                    let task = resources(TASK).allocated_to(roles[framework.0 as usize]);
                    c.allocator.recover(c.now, framework, agent, &task, None);
                }
            }
            for offer in c.allocations() {
                let task = resources(TASK).allocated_to(&offer.role);
                let mut rest = offer.resources.clone();
                if rest.contains(&task) {
                    rest -= &task;
                    running.push((offer.agent, offer.framework));
                }
                c.allocator.recover(c.now, offer.framework, offer.agent, &rest, None);
            }
            c.wait(Duration::from_millis(50));
        }
        assert_eq!(running.len(), 240, "seed {seed}: the cluster is full");
        let top: u64 = ["x", "y", "z", "w"].iter().map(|role| weights[role]).sum();
        let below = weights["w/a"] + weights["w/b"];
        for (number, role) in roles.iter().enumerate() {
            let due = match *role {
                "w/a" | "w/b" => 240 * weights["w"] * weights[role] / (top * below),
                _ => 240 * weights[role] / top,
            };
            let got = count(&running, number);
            assert!(
                got.abs_diff(due) <= 2,
                "seed {seed}: {role} has {got}, due are {due}: {weights:?}"
            );
        }
    }
}

#[test]
fn sums_beyond_what_can_be_counted_are_right_again_when_agents_leave() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:8;mem:1024");
    c.agent(2, "cpus:8;mem:1024");
    for id in 3..8 {
        c.agent(id, "cpus:8000000000000000;mem:1024");
    }
    let all = c.allocations();
    assert_eq!(all.len(), 7, "everything is offered");
    for allocation in &all {
        c.decline(allocation, None);
    }
    for id in 3..8 {
        c.allocator.remove_agent(AgentId(id));
    }
    c.wait(Duration::from_secs(1));
    let mut of: Vec<u32> = c.allocations().iter().map(|a| a.framework.0).collect();
    of.sort_unstable();
    assert_eq!(of, [1, 2], "shares are those of what is left");
}
