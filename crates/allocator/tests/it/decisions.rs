//! What cycles decided, counted by framework, role and reason.

use super::*;
use crate::quota::quota;
use allocator::Reason;
use wire::v1::framework_info::capability::Type as Capability;

/// `framework role: offered, REASON count`.
fn decided(c: &mut Cluster) -> Vec<String> {
    let all = c.allocator.take_decisions(c.now.mono);
    let one = |d: &allocator::Decisions| {
        let reasons = d.reasons.iter().map(|(reason, n)| match reason {
            Reason::Refused { .. } => format!(", Refused {n}"),
            reason => format!(", {reason:?} {n}"),
        });
        format!("{} {}: {}{}", d.framework.0, d.role, d.offered, reasons.collect::<String>())
    };
    all.iter().map(one).collect()
}

#[test]
fn every_decision_is_counted_with_its_reason() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:1024");
    c.agent(2, "cpus:4;mem:1024;gpus:1");
    c.agent(3, "cpus(x):4;mem(x):1024");
    c.run();
    decided(&mut c);
    c.agent(4, "cpus:4;mem:1024");
    c.agent(5, "mem:1");
    c.allocator.suppress(FrameworkId(2), &BTreeSet::new());
    let offer = c.allocations().remove(0);
    assert_eq!(offer.framework.0, 1);
    assert_eq!(decided(&mut c), ["1 a: 1, BelowMinimum 1", "2 b: 0, Suppressed 2"]);
    c.decline(&offer, Some(Duration::from_secs(60)));
    c.run();
    assert_eq!(decided(&mut c), ["1 a: 0, Refused 1", "2 b: 0, Suppressed 1"]);
    assert!(decided(&mut c).is_empty());
}

#[test]
fn what_others_took_before_ones_turn_is_counted() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.run();
    decided(&mut c);
    c.agent(1, "cpus:4;mem:1024");
    c.run();
    let mut all = decided(&mut c);
    all.sort_by_key(|line| line.contains("Taken"));
    assert!(all[0].ends_with(": 1") && all[1].ends_with(": 0, Taken 1"), "{all:?}");
}

fn why(c: &Cluster, framework: u32, role: &str) -> Reason {
    c.allocator.why(FrameworkId(framework), role, AgentId(1))
}

/// All that is in the way of a framework on the agent, one after the other.
fn obstacles(c: &Cluster, framework: u32, role: &str) -> Vec<Reason> {
    let mut all = Vec::new();
    loop {
        let next = c.allocator.why_without(FrameworkId(framework), role, AgentId(1), &all);
        if next == Reason::Next || all.contains(&next) {
            return all;
        }
        all.push(next);
    }
}

#[test]
fn what_others_hold_is_taken_although_something_is_reserved_besides() {
    let mut c = cluster();
    c.framework(1, &["h"]);
    c.agent(1, "cpus:4;mem:1023;mem(r):1");
    assert_eq!(c.run().len(), 1);
    decided(&mut c);
    c.framework(2, &["w"]);
    c.run();
    assert_eq!(why(&c, 2, "w"), Reason::Taken);
    assert_eq!(decided(&mut c), ["1 h: 0, Taken 1", "2 w: 0, Taken 1"]);
}

#[test]
fn what_is_offered_softly_is_in_the_way_although_something_is_reserved_besides() {
    let mut c = cluster();
    c.allocator.set_overlap("h", Some("2".parse().expect("an overlap")));
    c.framework(1, &["h"]);
    c.agent(1, "cpus:4;mem:1023;mem(r):1");
    assert_eq!(c.run().len(), 1);
    decided(&mut c);
    c.framework(2, &["w"]);
    c.run();
    assert_eq!(why(&c, 2, "w"), Reason::Overlap);
    assert!(decided(&mut c).contains(&"2 w: 0, Overlap 1".to_owned()));
}

#[test]
fn an_agent_that_is_used_is_taken_whatever_little_is_left() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024;ports:[1-9]");
    let offer = c.allocations().remove(0);
    let ports = offer.resources.filter(|e| e.identity.name == "ports");
    c.allocator.recover(c.now, offer.framework, offer.agent, &ports, None);
    decided(&mut c);
    c.framework(2, &["b"]);
    c.run();
    assert_eq!(why(&c, 2, "b"), Reason::Taken);
    assert_eq!(decided(&mut c), ["1 a: 0, Taken 1", "2 b: 0, Taken 1"]);
}

#[test]
fn what_is_lent_is_not_in_the_way_of_those_for_whom_it_would_be_kept_from() {
    let mut c = cluster();
    c.allocator.set_quota("q", quota("cpus:3", ""));
    let capabilities = BTreeSet::from([Capability::RevocableResources]);
    let options = FrameworkOptions { roles: set(&["bor"]), capabilities, ..Default::default() };
    c.allocator.add_framework(FrameworkId(1), options, true);
    c.agent(1, "cpus:4");
    assert_eq!(c.run(), ["1 bor 1 cpus:1"]);
    c.wait(Duration::from_secs(60));
    assert_eq!(c.run(), ["1 bor 1 cpus{REV}:3"]);
    c.framework(2, &["p"]);
    c.run();
    for (framework, role) in [(1, "bor"), (2, "p")] {
        assert_eq!(why(&c, framework, role), Reason::Headroom);
        let without =
            c.allocator.why_without(FrameworkId(framework), role, AgentId(1), &[Reason::Taken]);
        assert_eq!(without, Reason::Next, "when the offer of 1 cpu ends, it is offered that");
    }
}

#[test]
fn all_that_is_in_the_way_is_found_one_after_the_other() {
    let mut c = cluster();
    c.allocator.set_quota("lim", quota("", "cpus:0;mem:0;gpus:0"));
    c.framework(1, &["lim"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:1024;gpus:1");
    c.run();
    assert_eq!(obstacles(&c, 1, "lim"), [Reason::Gpus, Reason::Limit]);
    assert_eq!(obstacles(&c, 2, "b"), [Reason::Gpus]);
    c.allocator.suppress(FrameworkId(2), &BTreeSet::new());
    assert_eq!(obstacles(&c, 2, "b"), [Reason::Suppressed, Reason::Gpus]);
}

#[test]
fn the_end_of_tasks_of_a_guaranteed_role_does_not_help_others() {
    let mut c = cluster();
    c.allocator.set_quota("q", quota("cpus:4", ""));
    c.framework(1, &["q"]);
    c.agent(1, "cpus:4");
    assert_eq!(c.run().len(), 1);
    c.framework(2, &["p"]);
    c.run();
    assert_eq!(obstacles(&c, 2, "p"), [Reason::Taken, Reason::Headroom]);
}

#[test]
fn what_is_left_of_an_agent_is_for_those_who_want_so_little() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024;ports:[1-9]");
    let offer = c.allocations().remove(0);
    let little = resources("cpus:0.005;ports:[1-9]").allocated_to("a");
    c.allocator.recover(c.now, offer.framework, offer.agent, &little, None);
    assert!(c.run().is_empty(), "too little for anybody");
    let min_allocatable =
        BTreeMap::from([("s".to_owned(), vec![Quantities::parse("ports:1").expect("one")])]);
    let modest = FrameworkOptions { roles: set(&["s"]), min_allocatable, ..Default::default() };
    c.allocator.add_framework(FrameworkId(2), modest, true);
    assert_eq!(c.run(), ["2 s 1 cpus:0.005; ports:[1-9]"]);
    decided(&mut c);
    c.allocator.remove_framework(FrameworkId(2));
    c.framework(3, &["b"]);
    c.run();
    assert!(decided(&mut c).contains(&"3 b: 0, Taken 1".to_owned()));
}

#[test]
fn an_agent_that_does_not_fit_is_said_not_to_fit_although_it_is_offered_softly() {
    let mut c = cluster();
    c.allocator.set_overlap("h", Some("2".parse().expect("an overlap")));
    let capabilities = BTreeSet::from([Capability::GpuResources]);
    let options = FrameworkOptions { roles: set(&["h"]), capabilities, ..Default::default() };
    c.allocator.add_framework(FrameworkId(1), options, true);
    c.agent(1, "cpus:4;mem:1024;gpus:1");
    assert_eq!(c.run().len(), 1);
    decided(&mut c);
    c.framework(2, &["w"]);
    c.run();
    assert_eq!(why(&c, 2, "w"), Reason::Gpus, "it would not help if the offer ended");
    assert!(decided(&mut c).contains(&"2 w: 0, Gpus 1".to_owned()));
}
