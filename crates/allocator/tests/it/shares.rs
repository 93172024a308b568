//! Shares: guarantees that follow the size of the cluster.

use super::*;
use allocator::{Quota, Share};

/// `cpus 20%` and `gpus 4`.
fn share(parts: &[&str]) -> BTreeMap<String, Share> {
    let part = |part: &&str| {
        let (name, value) = part.split_once(' ').expect("a name and a value");
        let number = |text: &str| text.parse::<f64>().expect("a number") * 1000.0;
        let share = match value.strip_suffix('%') {
            Some(percent) => Share { percent: number(percent) as u32, ..Share::default() },
            None => Share { amount: number(value) as i64, ..Share::default() },
        };
        (name.to_owned(), share)
    };
    parts.iter().map(part).collect()
}

fn quota(guarantee: i64, limit: Option<i64>) -> Quota {
    let cpus = |n: i64| BTreeMap::from([("cpus".to_owned(), n * 1000)]);
    Quota { guarantees: cpus(guarantee), limits: limit.map(cpus).unwrap_or_default() }
}

/// Thousandths of cpus that a framework is offered until nobody is offered anything more.
fn cpus(c: &mut Cluster, framework: u32) -> i64 {
    let mut sum = 0;
    loop {
        let offers = c.allocations();
        if offers.is_empty() {
            return sum;
        }
        let own = offers.iter().filter(|o| o.framework.0 == framework);
        sum += own.map(|o| o.resources.scalar("cpus")).sum::<i64>();
    }
}

#[test]
fn a_fifth_of_ten_agents_is_kept_for_a_role_that_does_not_claim_it_yet() {
    let mut c = cluster();
    c.allocator.set_share("a", share(&["cpus 20%"]));
    c.framework(2, &["b"]);
    for agent in 0..10 {
        c.agent(agent, "cpus:4;mem:100");
    }
    assert_eq!(cpus(&mut c, 2), 32_000);
    c.framework(1, &["a"]);
    assert_eq!(cpus(&mut c, 1), 8_000);
}

#[test]
fn a_share_grows_and_shrinks_with_the_cluster() {
    let mut c = cluster();
    c.allocator.set_share("a", share(&["cpus 50%"]));
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:100");
    assert_eq!(cpus(&mut c, 2), 2_000);
    c.agent(2, "cpus:4;mem:100");
    assert_eq!(cpus(&mut c, 2), 2_000, "half of eight is kept");
    c.allocator.update_agent(AgentId(2), options(2), resources("cpus:8;mem:100"));
    assert_eq!(cpus(&mut c, 2), 2_000, "half of twelve is kept");
    c.agent(3, "cpus:4;mem:100");
    c.allocator.remove_agent(AgentId(3));
    assert_eq!(cpus(&mut c, 2), 0);
}

#[test]
fn what_a_smaller_cluster_no_longer_promises_is_offered_to_others() {
    let mut c = cluster();
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:100");
    assert_eq!(cpus(&mut c, 2), 4_000);
    c.allocator.set_share("a", share(&["cpus 50%"]));
    c.agent(2, "cpus:4;mem:100");
    assert_eq!(cpus(&mut c, 2), 0, "half of eight is kept");
    c.allocator.remove_agent(AgentId(1));
    c.wait(Duration::from_secs(1));
    assert!(c.due());
    assert_eq!(cpus(&mut c, 2), 2_000, "half of four is kept");
}

#[test]
fn what_counts_is_the_greatest_of_quota_percentage_and_amount() {
    for (set, parts, expected) in [
        (quota(3, None), &["cpus 20%"][..], 3_000),
        (quota(1, None), &["cpus 20%"], 2_000),
        (Quota::default(), &["cpus 4"], 4_000),
        (quota(1, Some(3)), &["cpus 50%"], 3_000),
    ] {
        let mut c = cluster();
        c.allocator.set_quota("a", set.clone());
        c.allocator.set_share("a", share(parts));
        c.framework(2, &["b"]);
        c.agent(1, "cpus:10;mem:100");
        assert_eq!(cpus(&mut c, 2), 10_000 - expected, "{set:?} {parts:?}");
    }
}

#[test]
fn a_share_below_a_share_is_a_part_of_it_unless_it_is_more() {
    for (parent, child, grandchild, kept) in
        [(30, 20, 0, 30), (20, 30, 0, 30), (0, 20, 20, 20), (10, 20, 15, 20), (40, 20, 20, 40)]
    {
        let mut c = cluster();
        for (role, percent) in [("a", parent), ("a/x", child), ("a/x/y", grandchild)] {
            c.allocator.set_share(role, share(&[&format!("cpus {percent}%")]));
        }
        c.framework(2, &["b"]);
        c.agent(1, "cpus:100;mem:1000");
        assert_eq!(cpus(&mut c, 2), 100_000 - kept * 1000, "{parent} {child} {grandchild}");
    }
}

#[test]
fn roles_below_a_role_with_a_share_use_it_up() {
    let mut c = cluster();
    c.allocator.set_share("a", share(&["cpus 50%"]));
    c.framework(1, &["a/x"]);
    c.agent(1, "cpus:4;mem:100");
    let first = c.allocations();
    assert_eq!(first[0].resources.scalar("cpus"), 4_000);
    c.framework(2, &["b"]);
    c.agent(2, "cpus:4;mem:100");
    let rest = c.allocations();
    assert_eq!(rest[0].resources.scalar("cpus"), 4_000, "the share is in use");
}

#[test]
fn frameworks_of_a_role_leave_what_is_promised_below_it() {
    let mut c = cluster();
    c.allocator.set_share("a", share(&["cpus 30%"]));
    c.allocator.set_share("a/x", share(&["cpus 20%"]));
    c.allocator.set_share("c", share(&["cpus 70%"]));
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:10;mem:100");
    assert_eq!(cpus(&mut c, 1), 1_000);
    c.framework(3, &["a/y"]);
    assert_eq!(cpus(&mut c, 3), 0);
    c.framework(4, &["a/x"]);
    assert_eq!(cpus(&mut c, 4), 2_000);
    c.framework(5, &["c/z"]);
    assert_eq!(cpus(&mut c, 5), 7_000);
}

#[test]
fn revocable_resources_are_no_part_of_what_a_share_is_of() {
    let mut c = cluster();
    c.allocator.set_share("a", share(&["cpus 50%"]));
    c.framework(2, &["b"]);
    let mut total = resources("cpus:4;mem:100");
    for entry in resources("cpus:6").iter() {
        let identity = resources::Identity { revocable: true, ..(*entry.identity).clone() };
        total.add(resources::Entry { identity: identity.into(), value: entry.value.clone() });
    }
    c.allocator.add_agent(AgentId(1), options(1), total, &BTreeMap::new());
    assert_eq!(cpus(&mut c, 2), 2_000);
}

#[test]
fn a_share_that_ends_holds_nothing_back() {
    let mut c = cluster();
    c.allocator.set_share("a", share(&["cpus 75%", "mem 10%"]));
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:100");
    assert_eq!(c.run(), ["2 b 1 cpus:1; mem:90"]);
    c.allocator.set_share("a", BTreeMap::new());
    c.framework(3, &["c"]);
    assert_eq!(c.run(), ["3 c 1 cpus:3; mem:10"]);
}

#[test]
fn a_thousandth_of_a_percent_is_not_lost() {
    let of = |percent, total| Share { percent, amount: 0 }.of(total);
    assert_eq!(of(1, 100_000_000), 1_000);
    assert_eq!(of(33_333, 3_000), 999);
    assert_eq!(of(100_000, i64::MAX), i64::MAX);
    assert_eq!(of(50_000, 1), 0);
}

/// Whatever is promised, taken and given back: roles without a share leave what is promised to others.
#[test]
fn random_shares_are_kept() {
    let roles = ["a", "a/x", "a/x/y", "b", "c"];
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut c = cluster();
        let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
        for (number, role) in roles.iter().enumerate() {
            c.framework(u32::try_from(number).expect("small"), &[role]);
        }
        let mut totals: BTreeMap<u32, i64> = BTreeMap::new();
        let mut open: Vec<Allocation> = Vec::new();
        for _ in 0..120 {
            match rng.below(6) {
                0 => {
                    let role = roles[rng.below(4) as usize];
                    let percent = rng.below(40) as u32 * 1000;
                    shares.insert(role, percent);
                    let parts = format!("cpus {}%", percent / 1000);
                    c.allocator.set_share(role, share(&[&parts]));
                }
                1 => {
                    let (agent, cpus) = (rng.below(8) as u32, 1 + rng.below(8) as i64);
                    c.allocator.remove_agent(AgentId(agent));
                    open.retain(|o| o.agent.0 != agent);
                    totals.insert(agent, cpus * 1000);
                    c.agent(agent, &format!("cpus:{cpus};mem:1000"));
                }
                2 | 3 if !open.is_empty() => {
                    let offer = open.swap_remove(rng.below(open.len() as u64) as usize);
                    let refuse = rng.chance(1, 2).then_some(Duration::from_secs(rng.below(20)));
                    c.decline(&offer, refuse);
                }
                4 => c.wait(Duration::from_secs(rng.below(10))),
                _ => {
                    let offers = c.allocations();
                    let got =
                        offers.iter().any(|o| o.role == "c" && o.resources.scalar("cpus") > 0);
                    open.extend(offers);
                    if !got {
                        continue;
                    }
                    let total: i64 = totals.values().sum();
                    let lack = |role: &str| {
                        let of =
                            open.iter().filter(|o| resources::is_descendant_or_self(&o.role, role));
                        let held: i64 = of.map(|o| o.resources.scalar("cpus")).sum();
                        let percent = i64::from(shares.get(role).copied().unwrap_or(0));
                        (total * percent / 100_000 - held).max(0)
                    };
                    let need = lack("a").max(lack("a/x").max(lack("a/x/y"))) + lack("b");
                    let held: i64 = open.iter().map(|o| o.resources.scalar("cpus")).sum();
                    assert!(total - held >= need, "seed {seed}: {held} of {total}, {need} needed");
                }
            }
        }
    }
}
