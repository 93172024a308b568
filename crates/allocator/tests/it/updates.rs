//! What changes while offers are made: totals, attributes, shared and revocable resources, capabilities
//! (spec/master.md section 8, allocator).

use super::*;
use resources::Entry;
use wire::v1::framework_info::capability::Type as Capability;

fn capable(c: &mut Cluster, id: u32, role: &str, capabilities: &[Capability]) {
    let options = FrameworkOptions {
        roles: set(&[role]),
        capabilities: capabilities.iter().copied().collect(),
        ..FrameworkOptions::default()
    };
    c.allocator.add_framework(FrameworkId(id), options, true);
}

fn with_revocable(text: &str, cpus: i64) -> Resources {
    let mut total = resources(text);
    total.add(Entry::revocable_scalar("cpus", cpus));
    total
}

#[test]
fn a_short_refusal_lets_others_go_first() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    c.framework(2, &["b"]);
    c.decline(&offer, Some(Duration::from_nanos(1)));
    assert_eq!(c.run(), ["2 b 1 cpus:4; mem:1024"]);
}

#[test]
fn changed_attributes_end_refusals() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    c.decline(&offer, Some(Duration::from_secs(1000)));
    let same = options(1);
    c.allocator.update_agent(AgentId(1), same.clone(), resources("cpus:4;mem:1024"));
    assert!(c.run().is_empty(), "nothing has changed");
    let attribute = wire::v1::Attribute {
        name: "rack".into(),
        r#type: wire::v1::value::Type::Text as i32,
        text: Some(wire::v1::value::Text { value: "r1".into() }),
        ..Default::default()
    };
    let changed = AgentOptions { attributes: vec![attribute], ..same };
    c.allocator.update_agent(AgentId(1), changed, resources("cpus:4;mem:1024"));
    assert_eq!(c.run(), ["1 a 1 cpus:4; mem:1024"]);
}

#[test]
fn what_an_agent_gains_is_offered_and_what_it_loses_is_not() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    c.run();
    c.allocator.update_agent(AgentId(1), options(1), resources("cpus:6;mem:1024"));
    assert_eq!(c.run(), ["1 a 1 cpus:2"]);
    c.allocator.update_agent(AgentId(1), options(1), resources("cpus:5;mem:1024"));
    assert!(c.run().is_empty(), "more is held than there is");
    c.allocator.update_agent(AgentId(1), options(1), resources("cpus:7;mem:1024"));
    assert_eq!(c.run(), ["1 a 1 cpus:1"]);
}

#[test]
fn what_becomes_reserved_is_offered_to_its_role() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    c.agent(1, "cpus:4;mem:1024");
    let offer = c.allocations().remove(0);
    c.decline(&offer, None);
    c.framework(2, &["b"]);
    c.allocator.update_agent(AgentId(1), options(1), resources("cpus(b):4;mem(b):1024"));
    let lines = c.run();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("2 b 1 cpus(reservations: [(STATIC,b)]):4"), "{lines:?}");
}

#[test]
fn revocable_resources_are_offered_to_those_who_accept_them() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    let total = with_revocable("cpus:1;mem:64", 2000);
    c.allocator.add_agent(AgentId(1), options(1), total, &BTreeMap::new());
    assert_eq!(c.run(), ["1 a 1 cpus:1; mem:64"]);
    capable(&mut c, 2, "b", &[Capability::RevocableResources]);
    assert_eq!(c.run(), ["2 b 1 cpus{REV}:2"]);
    let total = with_revocable("cpus:1;mem:64", 5000);
    c.allocator.update_agent(AgentId(1), options(1), total);
    assert_eq!(c.run(), ["2 b 1 cpus{REV}:3"]);
}

#[test]
fn without_the_capability_only_the_rest_is_offered_again() {
    let mut c = cluster();
    capable(&mut c, 1, "a", &[Capability::RevocableResources]);
    let total = with_revocable("cpus:1;mem:64", 2000);
    c.allocator.add_agent(AgentId(1), options(1), total, &BTreeMap::new());
    let offer = c.allocations().remove(0);
    assert_eq!(offer.resources.unallocated().to_string(), "cpus:1; mem:64; cpus{REV}:2");
    let options = FrameworkOptions { roles: set(&["a"]), ..FrameworkOptions::default() };
    c.allocator.update_framework(FrameworkId(1), options);
    c.decline(&offer, None);
    assert_eq!(c.run(), ["1 a 1 cpus:1; mem:64"]);
}

pub(crate) fn volume_of_a() -> Resources {
    let text = r#"{"name":"disk","type":"SCALAR","scalar":{"value":64},"shared":{},
        "reservations":[{"type":"STATIC","role":"a"}],
        "disk":{"persistence":{"id":"v"},"volume":{"container_path":"p","mode":"RW"}}}"#;
    let volume: wire::v1::Resource = wire::json::from_slice(text.as_bytes()).expect("a volume");
    Resources::from_wire(&[volume]).expect("a volume")
}

/// An agent with a shared volume, and what is offered of the volume.
fn shared_volume() -> (Cluster, Resources) {
    let mut c = cluster();
    let mut total = resources("cpus:4;mem:1024");
    let volume = volume_of_a();
    total += &volume;
    c.allocator.add_agent(AgentId(1), options(1), total, &BTreeMap::new());
    (c, volume)
}

#[test]
fn shared_resources_are_offered_to_those_who_know_them() {
    let (mut c, volume) = shared_volume();
    c.framework(1, &["a"]);
    let offer = c.allocations().remove(0);
    assert_eq!(offer.resources.unallocated().to_string(), "cpus:4; mem:1024");
    c.decline(&offer, None);
    c.allocator.remove_framework(FrameworkId(1));
    capable(&mut c, 2, "a", &[Capability::SharedResources]);
    let offer = c.allocations().remove(0);
    assert!(offer.resources.unallocated().contains(&volume), "{}", offer.resources);
}

#[test]
fn shared_resources_in_use_are_offered_again_one_framework_at_a_time() {
    let (mut c, volume) = shared_volume();
    capable(&mut c, 1, "a", &[Capability::SharedResources]);
    capable(&mut c, 2, "a", &[Capability::SharedResources]);
    let first = c.allocations();
    assert_eq!(first.len(), 1, "a volume is offered once in a cycle");
    assert!(first[0].resources.unallocated().contains(&volume));
    // It uses the volume and one cpu; the rest is free.
    let mut rest = first[0].resources.clone();
    let mut used = resources("cpus:1;mem:64").allocated_to("a");
    used += &volume.allocated_to("a");
    rest -= &used;
    c.allocator.recover(c.now, first[0].framework, AgentId(1), &rest, None);
    let second = c.allocations();
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].framework, first[0].framework);
    assert!(second[0].resources.unallocated().contains(&volume), "{}", second[0].resources);
}

#[test]
fn an_agent_without_multi_role_is_not_offered() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    let capabilities = BTreeSet::from([AgentCapability::HierarchicalRole]);
    let old = AgentOptions { capabilities, ..options(1) };
    c.allocator.add_agent(AgentId(1), old, resources("cpus:4;mem:1024"), &BTreeMap::new());
    capable(&mut c, 2, "b", &[Capability::MultiRole]);
    let why = |c: &Cluster, id: u32, role: &str| c.allocator.why(FrameworkId(id), role, AgentId(1));
    assert_eq!(why(&c, 2, "b"), allocator::Reason::AgentCapability);
    assert_eq!(c.run(), ["1 a 1 cpus:4; mem:1024"], "frameworks with a single role may have it");
}

#[test]
fn an_agent_without_hierarchical_roles_is_not_offered_for_one() {
    let mut c = cluster();
    c.framework(1, &["a/b"]);
    let capabilities = BTreeSet::from([AgentCapability::MultiRole]);
    let old = AgentOptions { capabilities, ..options(1) };
    c.allocator.add_agent(AgentId(1), old, resources("cpus:4;mem:1024"), &BTreeMap::new());
    assert!(c.run().is_empty());
    c.framework(2, &["c"]);
    assert_eq!(c.run(), ["2 c 1 cpus:4; mem:1024"]);
}

#[test]
fn agents_of_other_regions_are_for_those_who_know_of_regions() {
    let domain = |region: &str| -> wire::v1::DomainInfo {
        let text = format!(
            r#"{{"fault_domain":{{"region":{{"name":"{region}"}},"zone":{{"name":"z"}}}}}}"#
        );
        wire::json::from_slice(text.as_bytes()).expect("a domain")
    };
    let mut c = cluster_with(|config| config.domain = Some(domain("here")));
    c.framework(1, &["a"]);
    for (id, at) in [(1, Some("here")), (2, Some("there")), (3, None)] {
        let options = AgentOptions { domain: at.map(domain), ..options(id) };
        c.allocator.add_agent(AgentId(id), options, resources("cpus:1;mem:64"), &BTreeMap::new());
    }
    let mut agents: Vec<u32> = c.allocations().iter().map(|o| o.agent.0).collect();
    agents.sort_unstable();
    assert_eq!(agents, [1, 3]);
    capable(&mut c, 2, "b", &[Capability::RegionAware]);
    assert_eq!(c.run(), ["2 b 2 cpus:1; mem:64"]);
}

#[test]
fn cycles_over_all_agents_leave_time_for_those_over_few() {
    let mut c = cluster();
    c.framework(1, &["a"]);
    (0..5_000).for_each(|agent| c.agent(agent, "cpus:1;mem:64"));
    let mut offers = c.allocator.allocate(c.now, &mut c.rng);
    assert_eq!(offers.len(), 5_000);
    // All of it is held, and somebody asks for all agents again.
    c.allocator.revive(FrameworkId(1), &BTreeSet::new());
    let full = c.now.mono + Duration::from_millis(10);
    assert_eq!(c.allocator.next_run(), Some(full));
    // One agent alone is offered at once; that does not put off the rest.
    c.decline(&offers.remove(0), None);
    c.wait(Duration::from_millis(2));
    assert_eq!(c.allocator.next_run(), Some(c.now.mono));
    assert_eq!(c.allocator.allocate(c.now, &mut c.rng).len(), 1);
    assert_eq!(c.allocator.next_run(), Some(full));
    c.now.mono = full;
    c.allocator.allocate(c.now, &mut c.rng);
    assert_eq!(c.allocator.next_run(), None);
}
