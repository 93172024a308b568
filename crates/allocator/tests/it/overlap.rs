//! Offer overlap: the same resources for several frameworks at a time, and who has them in the end.

use super::*;
use allocator::{Loser, Overlap, Quota, Reason};

fn overlap(text: &str) -> Option<Overlap> {
    Some(text.parse().expect("an overlap"))
}

fn cpus(allocation: &Allocation, cpus: &str) -> Resources {
    resources(cpus).allocated_to(&allocation.role)
}

/// One agent, frameworks 1 to 4 in role `a`, and one in role `b`.
fn racing(of_a: &str) -> Cluster {
    let mut c = cluster();
    c.allocator.set_overlap("a", overlap(of_a));
    c.agent(1, "cpus:4;mem:1024");
    for framework in 1..=4 {
        c.framework(framework, &["a"]);
    }
    c
}

#[test]
fn an_overlap_is_a_number_or_all() {
    assert_eq!("all".parse(), Ok(Overlap::ALL));
    assert_eq!("1".parse(), Ok(Overlap::DISJOINT));
    for text in ["3", "all", "1"] {
        assert_eq!(overlap(text).map(|o| o.to_string()), Some(text.to_owned()));
    }
    for text in ["0", "-1", "", "many", "1.5", "4294967296"] {
        let fault = text.parse::<Overlap>().expect_err(text);
        assert!(fault.contains(&format!("'{text}'")), "{fault}");
    }
}

#[test]
fn all_frameworks_of_a_role_with_full_overlap_see_the_same() {
    let mut c = racing("all");
    let lines = c.run();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|l| l.ends_with(" a 1 cpus:4; mem:1024")), "{lines:?}");
    assert!(c.run().is_empty(), "each is offered it once");
}

#[test]
fn no_more_frameworks_than_the_overlap_see_the_same() {
    let mut c = racing("2");
    let first = c.allocations();
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|a| a.soft));
    let third = FrameworkId(3);
    assert_eq!(c.allocator.why(third, "a", AgentId(1)), Reason::Overlap);
    assert_eq!(c.allocator.why(first[0].framework, "a", AgentId(1)), Reason::Taken);
    c.allocator.withdraw(c.now, first[0].framework, AgentId(1), &first[0].resources, None);
    let next = c.allocations();
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].framework, third, "those who have not seen it are next");
}

#[test]
fn the_first_claim_wins_and_the_others_lose() {
    let mut c = racing("all");
    let offers = c.allocations();
    let winner = &offers[1];
    let held = c.allocator.claim(winner.framework, winner.agent, &winner.resources);
    assert_eq!(held, winner.resources);
    let mut losers = c.allocator.losers();
    losers.sort_by_key(|l| l.framework);
    let expected = offers.iter().filter(|o| o.framework != winner.framework);
    let mut expected: Vec<Loser> = expected
        .map(|o| Loser { framework: o.framework, role: "a".to_owned(), agent: AgentId(1) })
        .collect();
    expected.sort_by_key(|l| l.framework);
    assert_eq!(losers, expected);
    for offer in offers.iter().filter(|o| o.framework != winner.framework) {
        c.allocator.withdraw(c.now, offer.framework, offer.agent, &offer.resources, None);
        let late = c.allocator.claim(offer.framework, offer.agent, &offer.resources);
        assert!(late.is_empty(), "what was withdrawn can't be claimed: {late}");
    }
    assert!(c.run().is_empty(), "nothing is left");
    assert!(c.allocator.losers().is_empty());
}

#[test]
fn those_whose_offers_still_fit_lose_nothing() {
    let mut c = racing("all");
    let offers = c.allocations();
    let [winner, other] = [&offers[0], &offers[1]];
    c.allocator.claim(winner.framework, winner.agent, &winner.resources);
    // Unused, as after an ACCEPT without operations.
    c.decline(winner, None);
    assert!(c.allocator.losers().is_empty());
    assert_eq!(c.allocator.check(), Ok(()));
    let held = c.allocator.claim(other.framework, other.agent, &other.resources);
    assert_eq!(held, other.resources);
}

#[test]
fn what_the_winner_leaves_is_offered_to_all_again() {
    let mut c = racing("all");
    let offers = c.allocations();
    let winner = &offers[0];
    c.allocator.claim(winner.framework, winner.agent, &winner.resources);
    let mut rest = winner.resources.clone();
    rest -= &cpus(winner, "cpus:1;mem:24");
    c.allocator.recover(c.now, winner.framework, winner.agent, &rest, None);
    let losers = c.allocator.losers();
    assert_eq!(losers.len(), 3);
    for offer in offers.iter().filter(|o| o.framework != winner.framework) {
        c.allocator.withdraw(c.now, offer.framework, offer.agent, &offer.resources, None);
    }
    let lines = c.run();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|l| l.ends_with("cpus:3; mem:1000")), "{lines:?}");
}

#[test]
fn what_becomes_free_later_is_offered_besides() {
    let mut c = racing("all");
    assert_eq!(c.run().len(), 4);
    c.allocator.update_agent(AgentId(1), AgentOptions::default(), resources("cpus:6;mem:2048"));
    let more = c.run();
    assert_eq!(more.len(), 4);
    assert!(more.iter().all(|l| l.ends_with(" a 1 cpus:2; mem:1024")), "{more:?}");
}

#[test]
fn a_disjoint_role_waits_for_soft_offers_and_shows_its_own_to_nobody() {
    let mut c = racing("all");
    let offers = c.allocations();
    c.framework(9, &["b"]);
    assert!(c.run().is_empty());
    assert_eq!(c.allocator.why(FrameworkId(9), "b", AgentId(1)), Reason::Overlap);
    let refuse = Some(Duration::from_secs(60));
    for offer in &offers {
        c.allocator.withdraw(c.now, offer.framework, offer.agent, &offer.resources, refuse);
    }
    assert_eq!(c.run(), ["9 b 1 cpus:4; mem:1024"]);
    c.framework(5, &["a"]);
    assert!(c.run().is_empty());
    assert_eq!(c.allocator.why(FrameworkId(5), "a", AgentId(1)), Reason::Taken);
}

#[test]
fn a_disjoint_role_is_offered_what_no_soft_offer_has() {
    let mut c = cluster();
    c.allocator.set_overlap("a", overlap("all"));
    c.agent(1, "cpus:4;mem:1024;cpus(b):2;mem(b):100");
    c.framework(1, &["a"]);
    assert_eq!(c.run(), ["1 a 1 cpus:4; mem:1024"]);
    c.framework(2, &["b"]);
    assert_eq!(c.run(), [format!("2 b 1 {}", resources("cpus(b):2;mem(b):100"))]);
}

#[test]
fn an_overlap_holds_for_roles_below_and_the_star_for_all_others() {
    let mut c = cluster();
    c.allocator.set_overlap("a", overlap("2"));
    c.allocator.set_overlap("*", overlap("3"));
    c.allocator.set_overlap("a/own", overlap("1"));
    let count = |c: &mut Cluster, role: &str| {
        for framework in 1..=5 {
            c.framework(framework, &[role]);
        }
        c.agent(1, "cpus:4;mem:1024");
        let offers = c.allocations();
        for framework in 1..=5 {
            for o in offers.iter().filter(|o| o.framework.0 == framework) {
                match o.soft {
                    true => c.allocator.withdraw(c.now, o.framework, o.agent, &o.resources, None),
                    false => c.decline(o, None),
                }
            }
            c.allocator.remove_framework(FrameworkId(framework));
        }
        c.allocator.remove_agent(AgentId(1));
        offers.len()
    };
    assert_eq!(count(&mut c, "a"), 2);
    assert_eq!(count(&mut c, "a/x/y"), 2);
    assert_eq!(count(&mut c, "a/own"), 1);
    assert_eq!(count(&mut c, "other"), 3);
    assert_eq!(count(&mut c, "*"), 3);
    c.allocator.set_overlap("a", None);
    assert_eq!(count(&mut c, "a"), 3);
    c.allocator.set_overlap("*", None);
    assert_eq!(count(&mut c, "a"), 1);
}

#[test]
fn turns_rotate_among_the_frameworks_of_a_role() {
    let mut c = racing("2");
    let mut turns = Vec::new();
    for _ in 0..4 {
        let offers = c.allocations();
        let mut turn: Vec<u32> = offers.iter().map(|o| o.framework.0).collect();
        turn.sort_unstable();
        turns.push(turn);
        for o in offers {
            c.allocator.withdraw(c.now, o.framework, o.agent, &o.resources, None);
        }
    }
    assert_eq!(turns, [[1, 2], [3, 4], [1, 2], [3, 4]]);
}

#[test]
fn soft_offers_are_spread_over_the_agents_of_a_cycle() {
    let mut c = cluster();
    c.allocator.set_overlap("a", overlap("2"));
    for framework in 1..=4 {
        c.framework(framework, &["a"]);
    }
    for agent in 0..8 {
        c.agent(agent, "cpus:4;mem:1024");
    }
    let offers = c.allocations();
    for framework in 1..=4 {
        let of = offers.iter().filter(|o| o.framework.0 == framework).count();
        assert_eq!(of, 4, "16 offers among 4 frameworks");
    }
}

#[test]
fn soft_offers_of_many_do_not_make_a_role_poor() {
    let mut c = cluster();
    c.allocator.set_overlap("a", overlap("all"));
    for framework in 1..=9 {
        c.framework(framework, &["a"]);
    }
    c.agent(1, "cpus:4;mem:1024");
    assert_eq!(c.run().len(), 9);
    c.framework(20, &["b"]);
    c.agent(2, "cpus:3;mem:768");
    assert_eq!(c.run(), ["20 b 2 cpus:3; mem:768"]);
    c.agent(3, "cpus:2;mem:512");
    assert_eq!(c.run(), ["20 b 3 cpus:2; mem:512"], "`b` has 3 cpus, the nine of `a` see 4");
    c.agent(4, "cpus:9;mem:2304");
    assert_eq!(c.run().len(), 9, "`b` has 5 cpus, the nine of `a` will have 4, not 36");
}

#[test]
fn a_refusal_of_a_soft_offer_holds() {
    let mut c = racing("all");
    let offers = c.allocations();
    let o = &offers[0];
    let refuse = Some(Duration::from_secs(5));
    c.allocator.withdraw(c.now, o.framework, o.agent, &o.resources, refuse);
    assert!(c.run().is_empty());
    assert!(matches!(c.allocator.why(o.framework, "a", o.agent), Reason::Refused { .. }));
    c.wait(Duration::from_secs(6));
    assert_eq!(c.run().len(), 1);
}

#[test]
fn soft_offers_use_up_no_quota_and_claims_keep_the_limit() {
    let mut c = racing("all");
    let limits = BTreeMap::from([("cpus".to_owned(), 5000)]);
    c.allocator.set_quota("a", Quota { limits, ..Quota::default() });
    c.agent(2, "cpus:4;mem:1024");
    let offers = c.allocations();
    assert_eq!(offers.len(), 8, "the limit allows each of them");
    assert_eq!(c.allocator.quota_consumption("a"), BTreeMap::new());
    let on = |agent: u32| offers.iter().find(move |o| o.agent.0 == agent).expect("an offer");
    let first = c.allocator.claim(on(1).framework, AgentId(1), &on(1).resources);
    assert_eq!(first.scalar("cpus"), 4000);
    let second = c.allocator.claim(on(2).framework, AgentId(2), &on(2).resources);
    assert_eq!(second.scalar("cpus"), 1000, "no more than the limit");
    assert_eq!(c.allocator.quota_consumption("a").get("cpus"), Some(&5000));
}

#[test]
fn claims_leave_the_guarantees_of_others() {
    let mut c = racing("all");
    let guarantees = BTreeMap::from([("cpus".to_owned(), 3000)]);
    c.allocator.set_quota("b", Quota { guarantees, ..Quota::default() });
    c.agent(2, "cpus:4;mem:1024");
    let offers = c.allocations();
    let mut claimed = 0;
    for agent in [1, 2] {
        let offer = offers.iter().find(|o| o.agent.0 == agent).expect("an offer");
        claimed += c.allocator.claim(offer.framework, offer.agent, &offer.resources).scalar("cpus");
    }
    assert_eq!(claimed, 5000, "3 of 8 cpus are kept");
}

#[test]
fn a_guarantee_is_offered_softly_too() {
    let mut c = racing("all");
    let guarantees = BTreeMap::from([("cpus".to_owned(), 4000)]);
    c.allocator.set_quota("a", Quota { guarantees, ..Quota::default() });
    let lines = c.run();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|l| l.contains("cpus:4")), "{lines:?}");
    assert!(c.run().is_empty());
}

#[test]
fn an_agent_that_shrinks_makes_losers() {
    let mut c = racing("2");
    let offers = c.allocations();
    c.allocator.update_agent(AgentId(1), AgentOptions::default(), resources("cpus:1;mem:1024"));
    assert_eq!(c.allocator.losers().len(), 2);
    for o in &offers {
        c.allocator.withdraw(c.now, o.framework, o.agent, &o.resources, None);
    }
    assert_eq!(c.allocator.check(), Ok(()));
}

#[test]
fn an_agent_that_goes_takes_its_soft_offers_with_it() {
    let mut c = racing("all");
    let offers = c.allocations();
    c.allocator.remove_agent(AgentId(1));
    assert_eq!(c.allocator.check(), Ok(()));
    for o in &offers {
        c.allocator.withdraw(c.now, o.framework, o.agent, &o.resources, None);
        assert!(c.allocator.claim(o.framework, o.agent, &o.resources).is_empty());
    }
    c.agent(1, "cpus:4;mem:1024");
    assert_eq!(c.run().len(), 4);
}

#[test]
fn a_framework_is_shown_no_more_than_its_roles_limits_allow() {
    let mut c = cluster();
    c.allocator.set_overlap("a", Some(Overlap::ALL));
    c.allocator.set_quota("a", super::quota::quota("", "cpus:2;mem:1000"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:20;mem:8000");
    let first = c.allocations();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].resources.unallocated().to_string(), "cpus:2; mem:1000");
    c.agent(2, "cpus:20;mem:8000");
    c.allocator.revive(FrameworkId(1), &BTreeSet::new());
    assert!(c.run().is_empty(), "it sees all it may have");
    assert_eq!(c.allocator.why(FrameworkId(1), "a", AgentId(2)), allocator::Reason::Limit);
    // Others of the role see as much; who comes first has it.
    c.framework(2, &["a"]);
    assert_eq!(c.allocations().len(), 1);
    let offer = &first[0];
    let long = Some(Duration::from_secs(1000));
    c.allocator.withdraw(c.now, offer.framework, offer.agent, &offer.resources, long);
    let mut lines = c.run();
    c.wait(Duration::from_secs(2));
    assert!(c.due(), "there is room again");
    lines.extend(c.run());
    assert_eq!(lines, ["1 a 2 cpus:2; mem:1000"], "on the other agent");
}

/// Two that hold their soft offers, and end them one after the other.
#[test]
fn a_disjoint_role_gets_what_soft_offers_of_several_have_after_their_leases() {
    let mut c = cluster();
    c.allocator.set_overlap("soft", Some(Overlap::ALL));
    c.framework(1, &["soft"]);
    c.framework(2, &["soft"]);
    c.agent(1, "cpus:4;mem:1024");
    let held = c.allocations();
    assert_eq!(held.len(), 2);
    c.wait(Duration::from_secs(5));
    c.framework(3, &["web"]);
    assert!(c.run().is_empty());
    for offer in &held {
        let waiting =
            c.allocator.waiting(c.now, offer.framework, &offer.role, offer.agent, &offer.resources);
        assert_eq!(waiting, 1, "for each of the offers");
    }
    // The lease of the first one ends.
    let end = |c: &mut Cluster, offer: &Allocation| {
        let Allocation { framework, agent, role, resources, .. } = offer;
        c.allocator.withdraw(c.now, *framework, *agent, resources, None);
        c.allocator.pass(c.now, *framework, role, *agent, None);
    };
    end(&mut c, &held[0]);
    assert!(c.run().is_empty(), "nothing is offered softly again before the other ends too");
    c.wait(Duration::from_secs(1));
    end(&mut c, &held[1]);
    assert_eq!(c.run(), ["3 web 1 cpus:4; mem:1024"]);
}
