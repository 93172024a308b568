//! What is told of a container's networks, and of a container that its engine describes.

use super::*;
use agent_core::contract::Appearance;

fn address_of(status: &v1::TaskStatus) -> &str {
    let networks = &status.container_status.as_ref().expect("a container status").network_infos;
    let [network] = &networks[..] else { panic!("{networks:?}") };
    network.ip_addresses[0].ip_address()
}

fn appeared(container_id: &str) -> Input {
    let address = v1::network_info::IpAddress {
        ip_address: Some("172.17.0.2".to_owned()),
        ..Default::default()
    };
    let network = v1::NetworkInfo { ip_addresses: vec![address], ..Default::default() };
    let appearance = Appearance {
        networks: vec![network],
        network_class: Some(7),
        description: b"[{}]".to_vec(),
    };
    Input::ContainerAppeared { container_id: container_id.to_owned(), appearance }
}

/// Its network class, if it is told of one.
fn class_of(status: &v1::TaskStatus) -> Option<u32> {
    status.container_status.as_ref()?.cgroup_info.as_ref()?.net_cls.as_ref()?.classid
}

/// Answers writes and acknowledges; all updates.
fn told(node: &mut Node, mut effects: Vec<Effect>) -> Vec<v1::TaskStatus> {
    let mut all = Vec::new();
    loop {
        effects.extend(node.stored());
        let statuses = updates(&effects);
        if statuses.is_empty() {
            return all;
        }
        effects = statuses.iter().flat_map(|status| node.acknowledge(status)).collect();
        all.extend(statuses);
    }
}

#[test]
fn updates_have_the_addresses_of_the_container_and_the_first_its_description() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    node.step(appeared(&container_id));
    let mut effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    effects.extend(node.step(Input::ContainerExited {
        container_id: container_id.clone(),
        status: Some(0),
        limitation: None,
    }));
    let view = node.agent.view();
    assert!(view.networks.is_empty() && view.network_classes.is_empty(), "nothing is left of it");
    let told = told(&mut node, effects);
    let seen: Vec<_> = told.iter().map(|s| (s.state(), s.data(), address_of(s))).collect();
    use v1::TaskState as S;
    let want = [
        (S::TaskStarting, &b""[..], "172.17.0.2"),
        (S::TaskRunning, b"[{}]", "172.17.0.2"),
        (S::TaskFinished, b"", "172.17.0.2"),
    ];
    assert_eq!(seen, want);
    assert!(told.iter().all(|status| class_of(status) == Some(7)), "{told:?}");
    // Of one that nobody knows any more nothing is kept.
    node.step(appeared(&container_id));
    assert!(node.agent.view().networks.is_empty());
}

#[test]
fn without_a_network_of_its_own_a_container_has_the_address_of_the_agent() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let effects = node.step(Input::ContainerStarted { container_id, result: Ok(42) });
    let told = told(&mut node, effects);
    assert_eq!(told.iter().map(address_of).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.1"]);
    assert!(told.iter().all(|status| class_of(status).is_none()), "{told:?}");
}

#[test]
fn what_is_found_running_after_a_restart_is_told_of_as_before() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    // The agent ends before the answer to the start.
    let mut next = Node {
        agent: Agent::new(config()),
        now: Now::at_secs(1),
        writes: Vec::new(),
        records: node.records.clone(),
    };
    next.step(appeared(&container_id));
    next.step(appeared("stray"));
    let runs = |container_id: &str| FoundContainer {
        container_id: container_id.to_owned(),
        state: FoundState::Running { pid: 42 },
    };
    let containers = vec![runs(&container_id), runs("stray")];
    let mut effects = next.step(Input::Recovered { records: node.records, containers });
    effects.extend(next.connect());
    let told = told(&mut next, effects);
    let running = told.iter().find(|s| s.state() == v1::TaskState::TaskRunning).expect("it runs");
    assert_eq!((address_of(running), running.data()), ("172.17.0.2", &b"[{}]"[..]));
    let stray =
        Input::ContainerExited { container_id: "stray".into(), status: Some(9), limitation: None };
    next.step(stray);
    assert_eq!(next.agent.view().networks.keys().collect::<Vec<_>>(), [&container_id]);
}
