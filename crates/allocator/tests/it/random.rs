//! Random operations: the books always agree, and nothing is offered twice.

use super::*;
use allocator::Quota;

#[test]
fn books_agree_after_any_sequence_of_operations() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut c = cluster();
        let mut open: Vec<Allocation> = Vec::new();
        if seed % 2 == 1 {
            c.allocator.set_overlap("a", ["2", "all"][(seed / 2 % 2) as usize].parse().ok());
        }
        for _ in 0..200 {
            let (agent, framework) = (rng.below(6) as u32, rng.below(4) as u32);
            let roles = [&["a"][..], &["b", "a/c"], &["*"]][rng.below(3) as usize];
            match rng.below(13) {
                0 | 1 => {
                    c.allocator.remove_agent(AgentId(agent));
                    open.retain(|o| o.agent.0 != agent);
                    c.agent(
                        agent,
                        ["cpus:4;mem:512;ports:[1-9]", "cpus(b):1;mem:64"][rng.below(2) as usize],
                    );
                }
                2 if !open.iter().any(|o| o.framework.0 == framework) => {
                    c.allocator.remove_framework(FrameworkId(framework));
                    c.framework(framework, roles);
                }
                3 => c.allocator.deactivate_framework(FrameworkId(framework)),
                4 => c.allocator.activate_framework(FrameworkId(framework)),
                5 => c.allocator.revive(FrameworkId(framework), &BTreeSet::new()),
                6 => c.allocator.suppress(FrameworkId(framework), &set(&["a"])),
                7 | 8 if !open.is_empty() => {
                    let offer = open.swap_remove(rng.below(open.len() as u64) as usize);
                    let refuse =
                        [None, Some(Duration::from_millis(5)), Some(Duration::from_secs(9))]
                            [rng.below(3) as usize];
                    if offer.soft {
                        let Allocation { framework, agent, resources, .. } = &offer;
                        c.allocator.withdraw(c.now, *framework, *agent, resources, refuse);
                    } else {
                        c.decline(&offer, refuse);
                    }
                }
                12 if !open.is_empty() => {
                    let at = rng.below(open.len() as u64) as usize;
                    let offer = &mut open[at];
                    if std::mem::take(&mut offer.soft) {
                        let held =
                            c.allocator.claim(offer.framework, offer.agent, &offer.resources);
                        assert!(held.is_empty() || held == offer.resources, "no quotas are set");
                        offer.resources = held;
                    }
                }
                9 => c.allocator.update_agent(
                    AgentId(agent),
                    AgentOptions::default(),
                    resources("cpus:9;mem:999;ports:[1-9]"),
                ),
                _ => open.extend(c.allocations()),
            }
            for loser in c.allocator.losers() {
                let is_lost = |o: &mut Allocation| {
                    o.soft && o.framework == loser.framework && o.agent == loser.agent
                };
                for lost in open.extract_if(.., is_lost) {
                    let Allocation { framework, agent, resources, .. } = &lost;
                    c.allocator.withdraw(c.now, *framework, *agent, resources, None);
                }
            }
            c.wait(Duration::from_millis(rng.below(10)));
            assert_eq!(c.allocator.check(), Ok(()), "seed {seed}");
        }
    }
}

#[test]
fn books_of_quota_agree_however_quotas_and_shares_change() {
    const ROLES: [&str; 6] = ["a", "a/b", "a/b/c", "a/d", "e", "e/f"];
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut c = cluster();
        let mut open: Vec<Allocation> = Vec::new();
        (0..6).for_each(|id| c.framework(id, &[ROLES[id as usize]]));
        for _ in 0..200 {
            let agent = rng.below(6) as u32;
            let role = ROLES[rng.below(6) as usize];
            match rng.below(8) {
                0 => {
                    c.allocator.remove_agent(AgentId(agent));
                    open.retain(|o| o.agent.0 != agent);
                    let totals = ["cpus:8;mem:512", "cpus(a/b):2;cpus:6;mem:64", "gpus:2;cpus:1"];
                    c.agent(agent, totals[rng.below(3) as usize]);
                }
                1 | 2 => c.allocator.set_quota(role, some_quota(&mut rng)),
                // Half of the seeds have no shares, which count all quotas anew.
                3 if seed % 2 == 0 => {
                    let percent = [0, 10_000, 30_000][rng.below(3) as usize];
                    let share = allocator::Share { percent, amount: 0 };
                    let of_cpus = [("cpus".to_owned(), share)].into_iter();
                    let share = of_cpus.filter(|(_, share)| share.percent > 0).collect();
                    c.allocator.set_share(role, share);
                }
                4 | 5 if !open.is_empty() => {
                    let offer = open.swap_remove(rng.below(open.len() as u64) as usize);
                    c.decline(&offer, None);
                }
                _ => open.extend(c.allocations()),
            }
            c.wait(Duration::from_millis(rng.below(700)));
            assert_eq!(c.allocator.check(), Ok(()), "seed {seed}");
        }
    }
}

/// None, a guarantee, a limit or both.
fn some_quota(rng: &mut Rng) -> Quota {
    let mut amounts = |least: u64| -> BTreeMap<String, i64> {
        let names = ["cpus", "mem", "gpus"].into_iter().filter(|_| rng.chance(1, 3));
        let names: Vec<_> = names.collect();
        names.into_iter().map(|n| (n.to_owned(), 1000 * (least + rng.below(9)) as i64)).collect()
    };
    Quota { guarantees: amounts(1), limits: amounts(9) }
}
