//! How guarantees are met: pieces, reservations, nested roles, several roles (spec/master.md section 8, allocator).

use super::quota::quota;
use super::*;

#[test]
fn a_guarantee_with_a_limit_takes_exactly_its_part_of_an_agent() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:1;mem:512", "cpus:1;mem:512"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:4096");
    assert_eq!(c.run(), ["1 a 1 cpus:1; mem:512"]);
}

#[test]
fn a_mount_disk_is_taken_as_a_whole_or_not_at_all() {
    let disk = |root: &str, size: u32| {
        format!(
            r#"{{"name":"disk","type":"SCALAR","scalar":{{"value":{size}}},
            "disk":{{"source":{{"type":"MOUNT","mount":{{"root":"{root}"}}}}}}}}"#
        )
    };
    let agent = format!(
        r#"[{{"name":"cpus","type":"SCALAR","scalar":{{"value":4}}}},
        {{"name":"mem","type":"SCALAR","scalar":{{"value":512}}}},{},{}]"#,
        disk("/small", 60),
        disk("/large", 200)
    );
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:1;disk:50", "cpus:1;disk:100"));
    c.framework(1, &["a"]);
    c.agent(1, &agent);
    let offers = c.allocations();
    assert_eq!(offers.len(), 1);
    let text = offers[0].resources.unallocated().to_string();
    assert!(text.contains("[MOUNT:/small]:60") && !text.contains("/large"), "{text}");
}

#[test]
fn what_has_no_guarantee_comes_with_what_has_one() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:2", "cpus:2"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:512;ports:[1-9]");
    assert_eq!(c.run(), ["1 a 1 cpus:2; mem:512; ports:[1-9]"]);
}

#[test]
fn a_role_without_quota_can_not_starve_one_that_comes_later() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:2;mem:1024", ""));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:1;mem:512");
    assert_eq!(c.run(), ["1 a 1 cpus:1; mem:512"]);
    // The other role has the smaller share, but half of the guarantee is still open.
    c.framework(2, &["b"]);
    c.agent(2, "cpus:1;mem:512");
    let offers = c.allocations();
    assert_eq!(offers[0].framework.0, 1);
    c.decline(&offers[0], Some(Duration::from_secs(1000)));
    assert!(c.run().is_empty(), "it is kept though the framework declined it");
    c.agent(3, "cpus:2;mem:1024");
    let mut lines = c.run();
    lines.sort();
    assert_eq!(lines, ["1 a 3 cpus:2; mem:1024", "2 b 2 cpus:1; mem:512"], "nothing is kept now");
}

#[test]
fn reservations_of_others_are_no_headroom() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:1;mem:512", ""));
    c.agent(1, "cpus:1;mem:512;cpus(c):4;mem(c):2048");
    c.framework(2, &["b"]);
    assert!(c.run().is_empty(), "only the reserved part could be left for the guarantee");
}

#[test]
fn a_reservation_below_a_role_meets_its_guarantee() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:1;mem:512", ""));
    c.agent(1, "cpus(a/b):1;mem(a/b):512");
    c.agent(2, "cpus:1;mem:512");
    c.framework(2, &["b"]);
    assert_eq!(c.run(), ["2 b 2 cpus:1; mem:512"]);
}

#[test]
fn what_a_role_below_holds_meets_the_guarantee() {
    let mut c = cluster();
    c.framework(1, &["a/b"]);
    c.agent(1, "cpus:1;mem:512");
    assert_eq!(c.run(), ["1 a/b 1 cpus:1; mem:512"]);
    c.allocator.set_quota("a", quota("cpus:1;mem:512", ""));
    c.framework(2, &["b"]);
    c.agent(2, "cpus:1;mem:512");
    assert_eq!(c.run(), ["2 b 2 cpus:1; mem:512"], "nothing is kept back");
}

#[test]
fn a_reservation_on_loan_to_a_role_below_is_counted_once() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:2;mem:1024", ""));
    c.framework(1, &["a/b"]);
    c.agent(1, "cpus(a):1;mem(a):512");
    assert_eq!(c.run().len(), 1, "roles below use what is reserved to the role");
    let consumed = c.allocator.quota_consumption("a");
    assert_eq!((consumed["cpus"], consumed["mem"]), (1000, 512_000));
    c.framework(2, &["b"]);
    c.agent(2, "cpus:1;mem:512");
    assert!(c.run().iter().all(|l| !l.starts_with("2 ")), "the other half is kept");
}

#[test]
fn guarantees_of_roles_without_frameworks_are_kept_together() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:2;mem:1024", ""));
    c.allocator.set_quota("b", quota("cpus:1;mem:512", ""));
    c.framework(3, &["c"]);
    c.agent(1, "cpus:2;mem:1024");
    c.agent(2, "cpus:1;mem:512");
    assert!(c.run().is_empty());
    c.agent(3, "cpus:1;mem:512");
    assert_eq!(c.run().len(), 1);
}

#[test]
fn several_guarantees_are_met_side_by_side() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:1;mem:200", "cpus:1;mem:200"));
    c.allocator.set_quota("b", quota("cpus:2;mem:2000", "cpus:2;mem:2000"));
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:1;mem:1000");
    c.agent(2, "cpus:2;mem:2000");
    let mut held: BTreeMap<u32, Resources> = BTreeMap::new();
    for _ in 0..3 {
        for offer in c.allocations() {
            *held.entry(offer.framework.0).or_default() += &offer.resources.unallocated();
        }
    }
    let of = |framework: u32| (held[&framework].scalar("cpus"), held[&framework].scalar("mem"));
    assert_eq!((of(1), of(2)), ((1000, 200_000), (2000, 2_000_000)));
}

/// Much of one resource does not excuse from the guarantee of another.
#[test]
fn a_guarantee_is_open_as_long_as_one_of_its_resources_is() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("cpus:2;mem:100", ""));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:1;mem:5000");
    assert_eq!(c.run().len(), 1);
    c.framework(2, &["b"]);
    c.agent(2, "cpus:1;mem:100");
    assert_eq!(c.run(), ["1 a 2 cpus:1; mem:100"], "though its share is the greater");
}

/// Agents on which nothing happens wait for what happens elsewhere.
#[test]
fn what_a_limit_held_back_is_offered_when_the_role_has_room_again() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:2;mem:100"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:2;mem:100");
    let offer = c.allocations().remove(0);
    c.agent(2, "cpus:2;mem:100");
    assert!(c.run().is_empty());
    c.decline(&offer, Some(Duration::from_secs(1000)));
    c.now.mono = c.allocator.next_run().expect("something is held back").max(c.now.mono);
    assert_eq!(c.run(), ["1 a 2 cpus:2; mem:100"]);
}

#[test]
fn nothing_is_looked_at_again_while_nothing_changes() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:2;mem:100"));
    c.framework(1, &["a"]);
    c.agent(1, "cpus:2;mem:100");
    c.agent(2, "cpus:2;mem:100");
    for _ in 0..4 {
        c.run();
        c.wait(Duration::from_secs(2));
    }
    assert_eq!(c.allocator.next_run(), None);
}

#[test]
fn what_is_kept_back_is_the_reason_though_something_else_is_left() {
    use allocator::Reason;
    let mut c = cluster();
    c.allocator.set_quota("a", quota("", "cpus:2;mem:100"));
    c.allocator.set_quota("g", quota("cpus:2;mem:1948", ""));
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.agent(1, "cpus:4;mem:2048;disk:1000;ports:[1-9]");
    assert_eq!(c.allocations().len(), 1);
    let why = |id: u32, role: &str| c.allocator.why(FrameworkId(id), role, AgentId(1));
    assert_eq!(why(1, "a"), Reason::Limit);
    assert_eq!(why(2, "b"), Reason::Headroom);
}
