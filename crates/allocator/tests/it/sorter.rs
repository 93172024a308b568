//! The order of roles and frameworks (spec/master.md section 8, sorter).

use super::*;
use wire::v1::framework_info::capability::Type as Capability;

/// Who is offered a small new agent.
fn next(c: &mut Cluster, agent: u32) -> u32 {
    c.agent(agent, "cpus:0.1;mem:1");
    let offers = c.allocations();
    assert_eq!(offers.len(), 1);
    offers[0].framework.0
}

/// Gives a framework this much on an agent of its own.
fn hold(c: &mut Cluster, framework: u32, role: &str, agent: u32, text: &str) {
    let used = BTreeMap::from([(FrameworkId(framework), resources(text).allocated_to(role))]);
    c.allocator.add_agent(AgentId(agent), options(agent), resources(text), &used);
}

fn offer_back(c: &mut Cluster, agent: u32) {
    c.allocator.remove_agent(AgentId(agent));
}

#[test]
fn the_dominant_share_decides_whichever_resource_it_is_of() {
    let mut c = cluster();
    for (id, role) in [(1, "a"), (2, "b"), (3, "c")] {
        c.framework(id, &[role]);
    }
    c.agent(0, "cpus:0.005;mem:0.5");
    hold(&mut c, 1, "a", 1, "cpus:5;mem:5");
    hold(&mut c, 2, "b", 2, "cpus:6;mem:6");
    hold(&mut c, 3, "c", 3, "cpus:1;mem:1");
    assert_eq!(next(&mut c, 10), 3);
    offer_back(&mut c, 10);
    // Much memory makes memory the dominant resource of the third.
    hold(&mut c, 3, "c", 4, "cpus:1;mem:100");
    assert_eq!(next(&mut c, 11), 1);
}

#[test]
fn of_equal_shares_the_one_with_fewer_allocations_is_next() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    hold(&mut c, 1, "a", 1, "cpus:1;mem:10");
    hold(&mut c, 1, "a", 2, "cpus:1;mem:10");
    hold(&mut c, 2, "b", 3, "cpus:2;mem:20");
    assert_eq!(next(&mut c, 10), 2);
}

#[test]
fn a_deep_tree_is_walked_branch_by_branch() {
    let mut c = cluster();
    c.framework(1, &["a/b/c/d"]);
    c.framework(2, &["a/b/e"]);
    c.framework(3, &["x"]);
    hold(&mut c, 1, "a/b/c/d", 1, "cpus:3;mem:30");
    hold(&mut c, 2, "a/b/e", 2, "cpus:1;mem:10");
    hold(&mut c, 3, "x", 3, "cpus:5;mem:50");
    // a has 4 of 9, x 5: a's branch comes first, and in it the leaf with less.
    assert_eq!(next(&mut c, 10), 2);
    offer_back(&mut c, 10);
    hold(&mut c, 2, "a/b/e", 4, "cpus:3;mem:30");
    assert_eq!(next(&mut c, 11), 3);
}

#[test]
fn a_role_that_gets_a_role_below_it_keeps_what_it_has() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    hold(&mut c, 1, "a", 1, "cpus:1;mem:10");
    hold(&mut c, 2, "b", 2, "cpus:2;mem:20");
    c.framework(3, &["a/c"]);
    // Below a, the role itself has all of the share and its child nothing.
    assert_eq!(next(&mut c, 10), 3);
    hold(&mut c, 3, "a/c", 3, "cpus:0.5;mem:5");
    assert_eq!(next(&mut c, 11), 3);
    hold(&mut c, 3, "a/c", 4, "cpus:2;mem:20");
    assert_eq!(next(&mut c, 12), 2, "together they have more than b now");
}

#[test]
fn the_weight_of_an_inner_role_counts_for_its_whole_branch() {
    let mut c = cluster();
    c.framework(1, &["a/x"]);
    c.framework(2, &["a/y"]);
    c.framework(3, &["b"]);
    hold(&mut c, 1, "a/x", 1, "cpus:2;mem:20");
    hold(&mut c, 2, "a/y", 2, "cpus:3;mem:30");
    hold(&mut c, 3, "b", 3, "cpus:4;mem:40");
    assert_eq!(next(&mut c, 10), 3, "4 is less than 5");
    offer_back(&mut c, 10);
    c.allocator.set_weight("a", 3.0);
    assert_eq!(next(&mut c, 11), 1, "5/3 is less than 4");
    offer_back(&mut c, 11);
    c.allocator.set_weight("a/y", 10.0);
    assert_eq!(next(&mut c, 12), 2);
}

#[test]
fn reserved_resources_count_for_the_share_of_who_holds_them() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    hold(&mut c, 1, "a", 1, "cpus(a):3;mem(a):30");
    hold(&mut c, 2, "b", 2, "cpus:2;mem:20");
    assert_eq!(next(&mut c, 10), 2);
    // What is reserved but not held by anybody does not count.
    let mut c = cluster();
    c.agent(1, "cpus(a):3;mem(a):30");
    c.framework(2, &["b"]);
    hold(&mut c, 2, "b", 2, "cpus:2;mem:20");
    let suppressed = FrameworkOptions { roles: set(&["a"]), ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(1), suppressed, false);
    c.agent(3, "cpus:1;mem:10");
    c.allocator.deactivate_agent(AgentId(1));
    c.allocator.activate_framework(FrameworkId(1));
    assert_eq!(c.run(), ["1 a 3 cpus:1; mem:10"]);
}

#[test]
fn resources_excluded_from_fair_sharing_make_no_share() {
    let mut c = cluster_with(|config| config.fair_sharing_excluded = set(&["gpus"]));
    let capabilities = BTreeSet::from([Capability::GpuResources]);
    let options =
        FrameworkOptions { roles: set(&["a"]), capabilities, ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(1), options, true);
    c.framework(2, &["b"]);
    hold(&mut c, 1, "a", 1, "cpus:1;mem:10;gpus:4");
    hold(&mut c, 2, "b", 2, "cpus:2;mem:20");
    assert_eq!(next(&mut c, 10), 1, "all gpus of the cluster are no reason to wait");
}

#[test]
fn revocable_resources_count_like_others() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    let mut lent = resources("cpus:1;mem:10");
    lent.add(resources::Entry::revocable_scalar("cpus", 4000));
    let used = BTreeMap::from([(FrameworkId(1), lent.allocated_to("a"))]);
    c.allocator.add_agent(AgentId(1), options(1), lent, &used);
    hold(&mut c, 2, "b", 2, "cpus:2;mem:20");
    assert_eq!(next(&mut c, 10), 2);
}

#[test]
fn frameworks_in_several_roles_get_an_offer_of_each() {
    let mut c = cluster();
    c.framework(1, &["a", "b"]);
    c.agent(1, "cpus(a):1;mem(a):64;cpus(b):1;mem(b):64");
    let roles: BTreeSet<String> = c.allocations().into_iter().map(|o| o.role).collect();
    assert_eq!(roles, set(&["a", "b"]));
}

/// Two tasks of a framework use one volume: it has it once.
#[test]
fn shared_resources_count_once_for_who_uses_them_several_times() {
    let mut c = cluster();
    let volume = updates::volume_of_a();
    let mut total = resources("cpus:1;mem:10;disk:136");
    total += &volume;
    let mut used = volume.allocated_to("a");
    used += &volume.allocated_to("a");
    used += &resources("cpus:0.1;mem:1").allocated_to("a");
    let used = BTreeMap::from([(FrameworkId(1), used)]);
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    c.allocator.add_agent(AgentId(1), options(1), total, &used);
    c.allocator.deactivate_agent(AgentId(1));
    // 64 of 300 is less than 80, twice 64 would be more.
    hold(&mut c, 2, "b", 2, "disk:80");
    hold(&mut c, 3, "c", 3, "cpus:9;mem:90;disk:20");
    assert_eq!(next(&mut c, 10), 1);
    offer_back(&mut c, 10);
    // One of the tasks ends: the framework still has the volume.
    c.allocator.recover(c.now, FrameworkId(1), AgentId(1), &volume.allocated_to("a"), None);
    assert_eq!(c.allocator.check(), Ok(()));
    hold(&mut c, 2, "b", 4, "cpus:0.1");
    c.allocator.remove_agent(AgentId(2));
    hold(&mut c, 2, "b", 5, "disk:50");
    assert_eq!(next(&mut c, 11), 2, "64 of 270 is more than 50");
    offer_back(&mut c, 11);
    c.allocator.recover(c.now, FrameworkId(1), AgentId(1), &volume.allocated_to("a"), None);
    assert_eq!(next(&mut c, 12), 1, "it has none of it any more");
}

/// A quota and what a role holds beyond it have no part in each other: shares are of all that it holds.
#[test]
fn a_quota_does_not_change_the_order_of_shares() {
    let mut c = cluster();
    c.allocator.set_quota("a", quota::quota("cpus:1;mem:10", ""));
    c.framework(1, &["a"]);
    c.framework(2, &["b"]);
    hold(&mut c, 1, "a", 1, "cpus:2;mem:20");
    hold(&mut c, 2, "b", 2, "cpus:3;mem:30");
    assert_eq!(next(&mut c, 10), 1);
    offer_back(&mut c, 10);
    hold(&mut c, 1, "a", 3, "cpus:2;mem:20");
    assert_eq!(next(&mut c, 11), 2, "what is guaranteed counts as well");
}
