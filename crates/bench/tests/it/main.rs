//! Every workload at a tiny size: each checks what comes out of it.

use bench::{Scale, Watch, cases};
use std::collections::BTreeSet;

/// Runs the workloads of these names.
fn run(names: &[&str]) {
    let cases: Vec<_> =
        cases(Scale::Tiny).into_iter().filter(|case| names.contains(&case.name)).collect();
    let found: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(found, names.iter().copied().collect());
    for case in cases {
        let mut watch = Watch::default();
        case.run(&mut watch);
        let (laps, _) = watch.into_parts();
        assert!(!laps.is_empty(), "{case:?} measures something");
    }
}

#[test]
fn agents_that_come_and_change_are_offered() {
    run(&["AddAndUpdateSlave", "AllocatorBacklog"]);
}

#[test]
fn every_framework_is_offered_every_agent_once_when_all_decline() {
    run(&["DeclineOffers", "ResourceLabels"]);
}

#[test]
fn only_those_who_do_not_suppress_are_offered() {
    run(&["SuppressOffers", "ExtremeSuppressOffers"]);
}

#[test]
fn volumes_shared_or_not_are_offered_with_their_agents() {
    run(&["PersistentVolumes"]);
}

#[test]
fn quota_is_met_and_not_exceeded() {
    run(&["LargeAndSmallQuota", "NonQuotaVsQuota", "Metrics"]);
}

#[test]
fn frameworks_of_different_kinds_launch_their_tasks() {
    run(&["MultiFrameworkAllocations"]);
}

#[test]
fn orders_hold_through_changes() {
    run(&["FullSort", "HierarchyFullSort"]);
}

#[test]
fn arithmetic_comes_out() {
    run(&["Arithmetic", "Filters", "Contains", "Parse", "ArithmeticOverlapping"]);
}

#[test]
fn after_a_failover_everything_is_back() {
    use sim::failover::{Failover, Size};
    use std::time::Duration;
    let over = Duration::from_secs(1);
    let size = Size {
        agents: 20,
        tasks: 3,
        frameworks: 4,
        roles: 2,
        wanting: 1,
        maintenance: false,
        over,
    };
    let mut failover = Failover::new(size);
    let registry = failover.registry();
    failover.elect(registry);
    let calls = failover.subscriptions(0..4);
    failover.subscribe(calls);
    let messages = failover.registrations(0..20);
    failover.take_back(messages);
    failover.pass(Duration::from_secs(2));
    assert_eq!(failover.check(), Ok(()));
    assert_eq!(failover.offers, 20, "each agent has room left, and is offered once");
}
