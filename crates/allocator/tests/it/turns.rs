//! Turns: who lets an offer of an agent go unused comes after the others there, for `--max_time_to_offer` at most.

use super::*;

/// Declines without a filter, as a framework that uses nothing.
fn let_go(c: &mut Cluster, offer: &Allocation) -> bool {
    c.decline(offer, None);
    c.allocator.pass(c.now, offer.framework, &offer.role, offer.agent, None)
}

/// Two frameworks, of which the second uses half of one agent and so comes after the first.
fn two_of_which_one_is_poorer() -> Cluster {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    let used = BTreeMap::from([(FrameworkId(2), resources("cpus:4;mem:100").allocated_to("b"))]);
    c.allocator.add_agent(AgentId(9), options(9), resources("cpus:4;mem:100"), &used);
    c.agent(1, "cpus:4;mem:100");
    c
}

#[test]
fn who_declines_without_a_filter_comes_after_the_others() {
    let mut c = two_of_which_one_is_poorer();
    let offer = c.allocations().remove(0);
    assert_eq!(offer.framework.0, 1, "least share first");
    let_go(&mut c, &offer);
    assert_eq!(c.run(), ["2 b 1 cpus:4; mem:100"]);
}

#[test]
fn who_declines_alone_is_offered_the_same_at_once() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:100");
    for _ in 0..20 {
        let offer = c.allocations().remove(0);
        let_go(&mut c, &offer);
    }
}

#[test]
fn those_who_decline_take_turns() {
    let mut c = two_of_which_one_is_poorer();
    for framework in [1, 2, 1, 2, 1] {
        let offer = c.allocations().remove(0);
        assert_eq!(offer.framework.0, framework);
        let_go(&mut c, &offer);
    }
}

#[test]
fn a_turn_comes_again_after_the_longest_time_to_an_offer() {
    let mut c = two_of_which_one_is_poorer();
    let offer = c.allocations().remove(0);
    let_go(&mut c, &offer);
    c.wait(Duration::from_secs(30));
    assert_eq!(c.run(), ["1 a 1 cpus:4; mem:100"]);
}

#[test]
fn without_a_longest_time_only_shares_count() {
    let mut c = cluster_with(|config| config.max_time_to_offer = Duration::ZERO);
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    let used = BTreeMap::from([(FrameworkId(2), resources("cpus:4;mem:100").allocated_to("b"))]);
    c.allocator.add_agent(AgentId(9), options(9), resources("cpus:4;mem:100"), &used);
    c.agent(1, "cpus:4;mem:100");
    for _ in 0..3 {
        let offer = c.allocations().remove(0);
        assert_eq!(offer.framework.0, 1);
        assert!(!let_go(&mut c, &offer));
    }
}

#[test]
fn a_revive_does_not_bring_a_framework_to_the_front_again() {
    let mut c = two_of_which_one_is_poorer();
    let offer = c.allocations().remove(0);
    c.decline(&offer, Some(Duration::from_secs(3600)));
    let hour = Some(Duration::from_secs(3600));
    c.allocator.pass(c.now, offer.framework, &offer.role, offer.agent, hour);
    c.allocator.revive(FrameworkId(1), &BTreeSet::new());
    assert_eq!(c.run(), ["2 b 1 cpus:4; mem:100"]);
}

#[test]
fn those_who_join_while_others_wait_come_after_them() {
    let mut c = two_of_which_one_is_poorer();
    let offer = c.allocations().remove(0);
    let_go(&mut c, &offer);
    c.allocator.suppress(FrameworkId(1), &BTreeSet::new());
    c.allocator.revive(FrameworkId(1), &BTreeSet::new());
    for framework in [2, 1, 3] {
        let offer = c.allocations().remove(0);
        if framework == 2 {
            // By share and number of offers it would be the first.
            c.framework(3, &["c"]);
        }
        assert_eq!(offer.framework.0, framework);
        let_go(&mut c, &offer);
    }
}

#[test]
fn who_only_declines_is_backed_off_until_it_uses_something_or_revives() {
    let mut c = two_of_which_one_is_poorer();
    c.allocator.suppress(FrameworkId(2), &BTreeSet::new());
    let mut backed_off = Vec::new();
    for round in 0..30 {
        let offer = c.allocations().remove(0);
        if let_go(&mut c, &offer) {
            backed_off.push(round);
        }
        c.wait(Duration::from_secs(1));
    }
    assert_eq!(backed_off, [9]);
    c.agent(2, "cpus:4;mem:100");
    c.allocator.revive(FrameworkId(2), &BTreeSet::new());
    // On an agent that it never saw, too.
    let offers = c.allocations();
    assert!(offers.iter().all(|o| o.framework.0 == 2), "{offers:?}");
    for offer in &offers {
        c.decline(offer, None);
    }
    c.allocator.revive(FrameworkId(1), &BTreeSet::new());
    let offers = c.allocations();
    assert!(offers.iter().any(|o| o.framework.0 == 1), "{offers:?}");
}

#[test]
fn others_wait_for_an_offer_only_if_they_would_get_it() {
    let mut c = two_of_which_one_is_poorer();
    let offer = c.allocations().remove(0);
    let waiting = |c: &Cluster, offer: &Allocation| {
        let Allocation { framework, role, agent, resources, .. } = offer;
        c.allocator.waiting(c.now, *framework, role, *agent, resources)
    };
    assert_eq!(waiting(&c, &offer), 1);
    c.framework(3, &["a"]);
    assert_eq!(waiting(&c, &offer), 2);
    c.allocator.suppress(FrameworkId(2), &BTreeSet::new());
    assert_eq!(waiting(&c, &offer), 1);
    c.allocator.suppress(FrameworkId(3), &BTreeSet::new());
    assert_eq!(waiting(&c, &offer), 0);
    c.allocator.revive(FrameworkId(2), &BTreeSet::new());
    assert_eq!(waiting(&c, &offer), 1);
    // The second has its turn, and waits for the next one when the first has it again.
    let_go(&mut c, &offer);
    let offer = c.allocations().remove(0);
    let_go(&mut c, &offer);
    let offer = c.allocations().remove(0);
    assert_eq!((offer.framework.0, waiting(&c, &offer)), (1, 1));
}

#[test]
fn all_roles_of_a_holder_that_would_have_a_turn_share_its_lease() {
    let mut c = cluster();
    c.framework(1, &["a", "b", "c", "d"]);
    c.agent(1, "cpus:4;mem:100");
    let offer = c.allocations().remove(0);
    let waiting = |c: &Cluster| {
        let Allocation { framework, role, agent, resources, .. } = &offer;
        c.allocator.waiting(c.now, *framework, role, *agent, resources)
    };
    assert_eq!(waiting(&c), 0, "nobody else waits");
    c.framework(2, &["e"]);
    assert_eq!(waiting(&c), 4, "three roles of the holder may come before the other");
}

/// The first framework uses the agent for a second, again and again: after how many rounds the second is offered it.
fn rounds_until_the_second_has_a_turn(c: &mut Cluster) -> Option<usize> {
    for round in 0..60 {
        let offer = c.allocations().remove(0);
        if offer.framework.0 == 2 {
            return Some(round);
        }
        c.allocator.used(offer.framework, &offer.role);
        c.wait(Duration::from_secs(1));
        c.decline(&offer, None);
    }
    None
}

#[test]
fn who_uses_an_agent_for_short_times_leaves_turns_to_roles_below_their_fair_share() {
    let mut c = two_of_which_one_is_poorer();
    // Half of the cluster is its fair share.
    assert_eq!(rounds_until_the_second_has_a_turn(&mut c), None);
    let mut c = two_of_which_one_is_poorer();
    c.agent(2, "cpus:4;mem:100");
    let all = c.allocations();
    let other = all.iter().find(|o| o.agent.0 == 1).expect("an offer");
    c.decline(other, None);
    assert!(rounds_until_the_second_has_a_turn(&mut c).is_some_and(|rounds| rounds < 10));
}

/// Who declined once has its share again as soon as the others had their turn.
#[test]
fn one_decline_costs_one_turn() {
    for times in [Duration::from_secs(30), Duration::from_secs(3), Duration::ZERO] {
        let mut c = cluster_with(|config| config.max_time_to_offer = times);
        c.allocator.set_weight("a", 4.0);
        c.framework(1, &["a"]);
        for agent in 0..3 {
            c.agent(agent, "cpus:10;mem:1000");
        }
        for offer in c.allocations() {
            let_go(&mut c, &offer);
        }
        c.framework(2, &["b"]);
        let mut tasks: BTreeMap<u32, u32> = BTreeMap::new();
        for _ in 0..200 {
            for offer in c.allocations() {
                let task = resources("cpus:1;mem:10").allocated_to(&offer.role);
                let mut rest = offer.resources.clone();
                if rest.contains(&task) {
                    rest -= &task;
                    *tasks.entry(offer.framework.0).or_default() += 1;
                    c.allocator.used(offer.framework, &offer.role);
                }
                c.allocator.recover(c.now, offer.framework, offer.agent, &rest, None);
            }
        }
        let (a, b) = (tasks[&1], tasks[&2]);
        assert!(a + b == 30 && a.abs_diff(24) <= 3, "{times:?}: {tasks:?}");
    }
}
