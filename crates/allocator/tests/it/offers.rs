//! Who is offered what, and when.

use super::*;

#[test]
fn a_free_agent_is_offered_once_and_as_a_whole() {
    let mut c = cluster();
    c.agent(1, "cpus:4;mem:1024;ports:[1-5]");
    assert!(c.due());
    assert!(c.run().is_empty());
    c.framework(7, &["web"]);
    assert!(c.due());
    assert_eq!(c.run(), ["7 web 1 cpus:4; mem:1024; ports:[1-5]"]);
    assert!(c.run().is_empty());
    assert_eq!(c.allocator.next_run(), None, "an idle cluster needs no cycles");
}

#[test]
fn the_role_with_the_least_share_is_next() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    c.run();
    c.framework(2, &["b"]);
    c.agent(2, "cpus:2;mem:512");
    assert_eq!(c.run(), ["2 b 2 cpus:2; mem:512"]);
    c.agent(3, "cpus:1;mem:256");
    assert_eq!(c.run(), ["2 b 3 cpus:1; mem:256"]);
    c.agent(4, "cpus:2;mem:512");
    assert_eq!(c.run(), ["2 b 4 cpus:2; mem:512"]);
    c.agent(5, "cpus:1;mem:256");
    assert_eq!(c.run(), ["1 a 5 cpus:1; mem:256"]);
}

#[test]
fn a_weight_doubles_a_roles_share() {
    let mut c = cluster();
    c.framework(1, &["heavy"]);
    c.framework(2, &["light"]);
    for agent in 0..9 {
        c.agent(agent, "cpus:1;mem:100");
    }
    let heavy = c.run().iter().filter(|line| line.contains("heavy")).count();
    assert_eq!(heavy, 6);
}

#[test]
fn shares_are_compared_level_by_level_in_the_tree_of_roles() {
    let mut c = cluster();
    c.framework(1, &["a/x"]);
    c.framework(2, &["a/y"]);
    c.framework(3, &["b"]);
    for agent in 0..8 {
        c.agent(agent, "cpus:1;mem:100");
    }
    let lines = c.run();
    let count = |f: &str| lines.iter().filter(|l| l.starts_with(f)).count();
    assert_eq!((count("1"), count("2"), count("3")), (2, 2, 4));
}

#[test]
fn frameworks_with_equal_shares_take_turns() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["a"]);
    c.agent(1, "cpus:1;mem:100");
    let mut turns = Vec::new();
    for _ in 0..4 {
        let offer = c.allocations().remove(0);
        turns.push(offer.framework.0);
        c.decline(&offer, None);
    }
    assert_eq!(turns, [1, 2, 1, 2]);
}

#[test]
fn a_refusal_holds_until_it_expires() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    c.decline(&offer, Some(Duration::from_secs(5)));
    assert!(c.run().is_empty());
    c.wait(Duration::from_millis(4990));
    assert!(c.run().is_empty());
    let due = c.allocator.next_run().expect("the expiry asks for a cycle");
    c.now.mono = due;
    assert!(due.since(Time(0)) < Duration::from_millis(10_000 + 5000 + 50), "in time");
    assert_eq!(c.run(), ["1 a 1 cpus:4; mem:1024"]);
}

#[test]
fn more_than_what_was_refused_is_offered() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    let part = resources("cpus:1;mem:24").allocated_to("a");
    let mut rest = offer.resources.clone();
    rest -= &part;
    c.allocator.recover(
        c.now,
        offer.framework,
        offer.agent,
        &rest,
        Some(Duration::from_secs(1000)),
    );
    assert!(c.run().is_empty());
    c.allocator.recover(c.now, offer.framework, offer.agent, &part, None);
    assert_eq!(c.run(), ["1 a 1 cpus:4; mem:1024"]);
}

#[test]
fn a_refusal_of_zero_seconds_is_none() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    c.decline(&offer, Some(Duration::ZERO));
    assert_eq!(c.run().len(), 1);
}

#[test]
fn another_framework_gets_what_one_refused() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    c.framework(2, &["b"]);
    c.decline(&offer, Some(Duration::from_secs(1000)));
    assert_eq!(c.run(), ["2 b 1 cpus:4; mem:1024"]);
}

#[test]
fn revive_drops_refusals_and_suppression() {
    let mut c = cluster();
    c.framework(1, &["a", "b"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    c.allocator.suppress(FrameworkId(1), &set(&["b"]));
    c.decline(&offer, Some(Duration::from_secs(1000)));
    assert!(c.run().is_empty());
    c.allocator.revive(FrameworkId(1), &set(&["a"]));
    assert_eq!(c.run(), ["1 a 1 cpus:4; mem:1024"]);
}

#[test]
fn too_little_is_not_offered_unless_the_framework_wants_it() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:0.001;mem:31;disk:9");
    assert!(c.run().is_empty());
    let min_allocatable = BTreeMap::from([("b".to_owned(), Vec::new())]);
    let options =
        FrameworkOptions { roles: set(&["b"]), min_allocatable, ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(2), options, true);
    assert_eq!(c.run(), ["2 b 1 cpus:0.001; mem:31; disk:9"]);
}

#[test]
fn reserved_resources_go_to_their_role_and_roles_below() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b/c"]);
    c.agent(1, "cpus(b):2;mem(b):512;cpus:1;mem:64");
    let lines = c.run();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|l| l.starts_with("2 b/c 1 cpus(reservations: [(STATIC,b)]):2; mem(reservations")),
        "{lines:?}"
    );
}

#[test]
fn gpus_are_kept_for_those_who_can_use_them() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:1;mem:64;gpus:1");
    assert!(c.run().is_empty());
    let capabilities = BTreeSet::from([wire::v1::framework_info::capability::Type::GpuResources]);
    let options =
        FrameworkOptions { roles: set(&["b"]), capabilities, ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(2), options, true);
    assert_eq!(c.run(), ["2 b 1 cpus:1; mem:64; gpus:1"]);
}

#[test]
fn inactive_agents_and_frameworks_are_left_out() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:1;mem:64");
    c.allocator.deactivate_agent(AgentId(1));
    assert!(c.run().is_empty());
    c.allocator.activate_agent(AgentId(1));
    c.allocator.deactivate_framework(FrameworkId(1));
    assert!(c.run().is_empty());
    c.allocator.activate_framework(FrameworkId(1));
    assert_eq!(c.run().len(), 1);
}

#[test]
fn constraints_choose_agents_by_host_and_attribute() {
    let json = r#"{"role_constraints":{"a":{"groups":[{"attribute_constraints":[
        {"selector":{"pseudoattribute_type":"HOSTNAME"},"predicate":{"text_matches":{"regex":"host[12]"}}},
        {"selector":{"pseudoattribute_type":"HOSTNAME"},"predicate":{"text_not_equals":{"value":"host1"}}}]}]}}}"#;
    let constraints = wire::json::from_slice(json.as_bytes()).expect("constraints");
    let constraints = allocator::validate_constraints(&constraints).expect("valid");
    let mut c = cluster();
    let options =
        FrameworkOptions { roles: set(&["a"]), constraints, ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(1), options, true);
    for agent in [1, 2, 22] {
        c.agent(agent, "cpus:1;mem:64");
    }
    assert_eq!(c.run(), ["1 a 2 cpus:1; mem:64"]);
}

#[test]
fn invalid_constraints_are_refused() {
    for (json, why) in [
        (r#"{"role_constraints":{"a":{}}}"#, "'RoleConstraints::groups' for role a"),
        (
            r#"{"role_constraints":{"a":{"groups":[{"attribute_constraints":[{"selector":{"attribute_name":"x"},"predicate":{"text_matches":{"regex":"("}}}]}]}}}"#,
            "Failed to construct regex from pattern '('",
        ),
        (
            r#"{"role_constraints":{"a":{"groups":[{"attribute_constraints":[{"selector":{},"predicate":{"exists":{}}}]}]}}}"#,
            "must be set",
        ),
    ] {
        let constraints = wire::json::from_slice(json.as_bytes()).expect("constraints");
        let error = allocator::validate_constraints(&constraints).expect_err("invalid");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn refusals_of_a_framework_that_is_gone_do_not_bind_the_next_one() {
    let mut c = cluster();
    c.agent(1, "cpus:4;mem:1024");
    let mut last = None;
    for id in 1..200 {
        c.framework(id, &["a"]);
        let offer = c.allocations().remove(0);
        assert_eq!(offer.framework.0, id);
        c.decline(&offer, Some(Duration::from_secs(100_000)));
        c.allocator.remove_framework(FrameworkId(id));
        let bytes = c.allocator.bytes();
        assert!(id < 20 || last.is_none_or(|last| bytes <= last), "it grows: {bytes}");
        last = Some(bytes.max(last.unwrap_or(0)));
    }
}

/// What one role suppresses or refuses is nothing to another role of the same framework.
#[test]
fn roles_of_a_framework_are_suppressed_and_revived_one_by_one() {
    let mut c = cluster();
    c.framework(1, &["a", "b"]);
    c.allocator.suppress(FrameworkId(1), &set(&["a"]));
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    assert_eq!(offer.role, "b");
    c.decline(&offer, Some(Duration::from_secs(1000)));
    assert!(c.run().is_empty(), "refused by one role, suppressed by the other");
    c.allocator.revive(FrameworkId(1), &set(&["a"]));
    let offer = c.allocations().remove(0);
    assert_eq!(offer.role, "a", "the refusal of the other role holds on");
    c.allocator.suppress(FrameworkId(1), &set(&["a", "b"]));
    c.decline(&offer, None);
    assert!(c.run().is_empty());
    c.allocator.revive(FrameworkId(1), &BTreeSet::new());
    assert_eq!(c.run().len(), 1);
}
