//! Guarantees and limits (spec/master.md 4.3, 4.4; section 8, allocator and quota).

use super::*;
use allocator::Quota;

fn amounts(text: &str) -> BTreeMap<String, i64> {
    let pair = |part: &str| {
        let (name, number) = part.split_once(':').expect("name:number");
        (name.to_owned(), number.parse::<i64>().expect("a number") * 1000)
    };
    text.split(';').filter(|p| !p.is_empty()).map(pair).collect()
}

pub(crate) fn quota(guarantees: &str, limits: &str) -> Quota {
    Quota { guarantees: amounts(guarantees), limits: amounts(limits) }
}

/// What a framework has by now, from its offers.
fn held(c: &mut Cluster, rounds: u32) -> BTreeMap<u32, String> {
    let mut held: BTreeMap<u32, Resources> = BTreeMap::new();
    for _ in 0..rounds {
        for offer in c.allocations() {
            *held.entry(offer.framework.0).or_default() += &offer.resources.unallocated();
        }
    }
    held.into_iter().map(|(framework, r)| (framework, r.to_string())).collect()
}

#[test]
fn a_role_gets_no_more_than_its_limit() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:3"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:2;mem:100");
    c.agent(2, "cpus:2;mem:100");
    c.agent(3, "cpus:2;mem:100");
    assert_eq!(held(&mut c, 3)[&1], "cpus:3; mem:300");
    assert_eq!(c.allocator.quota_consumption("a"), amounts("cpus:3;mem:300"));
}

#[test]
fn a_limit_leaves_room_for_what_runs_on_agents_that_are_expected_back() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:5"));
    c.allocator.expect(amounts("cpus:4;mem:1000"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:100");
    assert_eq!(held(&mut c, 3)[&1], "cpus:1; mem:100");
    c.agent(2, "cpus:4;mem:10");
    assert!(c.run().is_empty());
    assert_eq!(c.allocator.why(FrameworkId(1), "a", AgentId(2)), allocator::Reason::Limit);
    for (away, has) in [("cpus:2", 3000), ("", 5000)] {
        c.allocator.expect(amounts(away));
        c.wait(Duration::from_secs(1));
        held(&mut c, 3);
        assert_eq!(c.allocator.quota_consumption("a")["cpus"], has);
    }
    c.allocator.expect(amounts("cpus:4"));
    c.framework(2, &["b"]);
    c.agent(3, "cpus:4;mem:100");
    assert_eq!(held(&mut c, 3)[&2], "cpus:7; mem:100", "who has no limit waits for nobody");
}

#[test]
fn a_limit_of_zero_leaves_only_what_is_not_limited() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:0;mem:0"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:2;mem:100;disk:10");
    assert!(c.run().is_empty(), "disk alone is too little to be offered");
    assert_eq!(c.allocator.why(FrameworkId(1), "a", AgentId(1)), allocator::Reason::Limit);
}

#[test]
fn limits_hold_for_everything_below_a_role() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:3"));
    c.allocator.set_quota("a/b", quota("", "cpus:1"));
    c.framework(1, &["a/b"]);
    c.framework(2, &["a/c"]);
    c.agent(1, "cpus:2;mem:100");
    c.agent(2, "cpus:2;mem:100");
    c.agent(3, "cpus:2;mem:100");
    let all = held(&mut c, 3);
    let cpus = |framework: u32| Resources::parse(&all[&framework], "*").expect("it").scalar("cpus");
    assert!(cpus(1) <= 1000, "{all:?}");
    assert_eq!(cpus(1) + cpus(2), 3000, "{all:?}");
}

#[test]
fn headroom_is_kept_for_a_guarantee_that_nobody_claims_yet() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:3;mem:300", ""));
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:400");
    assert_eq!(c.run(), ["2 b 1 cpus:1; mem:100"]);
    c.framework(1, &["a"]);
    assert_eq!(c.run(), ["1 a 1 cpus:3; mem:300"]);
    c.agent(2, "cpus:4;mem:400");
    assert_eq!(c.run().len(), 1, "the guarantee is met; the rest is shared fairly");
}

#[test]
fn a_guarantee_is_met_first_whatever_the_shares_are() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:4;mem:100", ""));
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:2;mem:100");
    c.agent(2, "cpus:2;mem:100");
    let offers = c.run();
    assert!(offers.iter().any(|o| o.starts_with("1 a 1 cpus:2")), "{offers:?}");
    assert!(offers.iter().any(|o| o.starts_with("1 a 2 cpus:2")), "{offers:?}");
}

#[test]
fn reservations_count_for_quota() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:2", "cpus:3"));
    c.agent(1, "cpus(a):2;mem(a):100");
    assert_eq!(c.allocator.quota_consumption("a"), amounts("cpus:2;mem:100"));
    c.framework(2, &["b"]);
    c.agent(2, "cpus:2;mem:200");
    assert_eq!(c.run(), ["2 b 2 cpus:2; mem:200"], "the reservation meets the guarantee");
    c.framework(1, &["a"]);
    c.agent(3, "cpus:4;mem:400");
    let offers = c.run();
    assert!(
        offers.contains(
            &"1 a 1 cpus(reservations: [(STATIC,a)]):2; mem(reservations: [(STATIC,a)]):100"
                .to_owned()
        ),
        "{offers:?}"
    );
    let most = offers.iter().find(|o| o.starts_with("1 a 3"));
    assert!(most.is_none_or(|o| o.contains("cpus:1;")), "{offers:?}");
}

#[test]
fn a_quota_that_is_lifted_no_longer_limits() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:1"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:400");
    assert_eq!(c.run(), ["1 a 1 cpus:1; mem:400"]);
    c.allocator.set_quota("a", Quota::default());
    c.framework(2, &["a"]);
    assert_eq!(c.run(), ["2 a 1 cpus:3"]);
}

/// Whatever is set, taken and given back: limits are never exceeded, and what is free meets guarantees.
#[test]
fn random_quotas_are_kept() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut c = cluster();
        let roles = ["a", "a/x", "b", "b/y/z", "c"];
        let mut limits: BTreeMap<&str, i64> = BTreeMap::new();
        for (number, role) in roles.iter().enumerate() {
            c.framework(u32::try_from(number).expect("small"), &[role]);
        }
        for agent in 0..6 {
            let text = format!("cpus:{};mem:{}", 1 + rng.below(8), 64 * (1 + rng.below(8)));
            c.agent(agent, &text);
        }
        let mut open: Vec<Allocation> = Vec::new();
        for _ in 0..120 {
            match rng.below(4) {
                0 => {
                    let role = roles[rng.below(5) as usize];
                    let limit = i64::try_from(rng.below(20)).expect("small");
                    let guarantee = i64::try_from(rng.below(6)).expect("small").min(limit);
                    let used =
                        c.allocator.quota_consumption(role).get("cpus").copied().unwrap_or(0);
                    let new = if limit * 1000 < used {
                        limits.remove(role);
                        Quota::default()
                    } else {
                        limits.insert(role, limit * 1000);
                        quota(&format!("cpus:{guarantee}"), &format!("cpus:{limit}"))
                    };
                    c.allocator.set_quota(role, new);
                }
                1 if !open.is_empty() => {
                    let offer = open.swap_remove(rng.below(open.len() as u64) as usize);
                    let refuse = rng.chance(1, 2).then_some(Duration::from_secs(rng.below(20)));
                    c.decline(&offer, refuse);
                }
                2 => c.wait(Duration::from_secs(rng.below(10))),
                _ => open.extend(c.allocations()),
            }
            for (role, limit) in &limits {
                let used = c.allocator.quota_consumption(role).get("cpus").copied().unwrap_or(0);
                assert!(used <= *limit, "seed {seed}: {role} has {used} of {limit}");
            }
        }
    }
}
