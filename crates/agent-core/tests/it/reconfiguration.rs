//! Agents that are started with other flags than before.

use super::*;

fn info(resources: &str, attributes: &str) -> v1::AgentInfo {
    let resources = resources::Resources::parse(resources, "*").expect("resources");
    let attributes = resources::parse_attributes(attributes).expect("attributes");
    v1::AgentInfo { resources: resources.to_wire(), attributes, ..config().info }
}

/// A restart of a registered agent with another description.
fn restarted(info: v1::AgentInfo, boot_id: &str) -> (Node, Vec<Effect>) {
    let first =
        Config { info: super::reconfiguration::info("cpus:4;mem:64", "a:b;n:1"), ..config() };
    let (mut node, _) = Node::recovered_with(first, Vec::new(), Vec::new());
    node.connect();
    let container_id = started(&node.run(task("t"))).container_id;
    node.step(Input::ContainerStarted { container_id, result: Ok(42) });
    node.stored();
    let config = Config { info, boot_id: boot_id.to_owned(), ..config() };
    Node::recovered_with(config, node.records, Vec::new())
}

#[track_caller]
fn refused(info: v1::AgentInfo, change: &str) {
    let (_, effects) = restarted(info, "first");
    let [Effect::Exit { status: 1, message }] = &effects[..] else { panic!("{effects:?}") };
    let advice = "; --reconfiguration_policy=equal wants an agent to be what it was: start it with its former flags, or remove /work_dir/meta to start a new agent, without the tasks, reservations and volumes of this one";
    assert_eq!(message.strip_suffix(advice), Some(change));
}

#[test]
fn what_changed_is_refused_by_name() {
    refused(
        info("cpus:8;mem:64", "a:b;n:1"),
        "--resources was 'cpus:4;mem:64' and is 'cpus:8;mem:64'",
    );
    refused(info("cpus:4;mem:64", "a:c"), "--attributes was 'a:b;n:1' and is 'a:c'");
    let same = || info("cpus:4;mem:64", "a:b;n:1");
    refused(
        v1::AgentInfo { hostname: "other".into(), port: Some(1), ..same() },
        "--hostname was 'host' and is 'other'; --port was '5051' and is '1'",
    );
}

#[test]
fn the_same_in_another_order_or_after_a_reboot_is_the_same_agent() {
    for boot_id in ["first", "second"] {
        let (mut node, mut effects) = restarted(info("mem:64;cpus:4", "n:1;a:b"), boot_id);
        assert_eq!(node.agent.view().id.as_deref(), Some("m-S0"));
        effects.extend(node.connect());
        assert_eq!(node.drain(effects).last().map(String::as_str), Some("TASK_FAILED"));
    }
}

#[test]
fn a_reboot_with_other_resources_makes_a_new_agent() {
    let (mut node, effects) = restarted(info("cpus:8;mem:64", ""), "second");
    assert_eq!(effects, []);
    assert_eq!(node.agent.view().id, None);
    assert!(node.agent.view().frameworks.is_empty());
    let effects = node.step(Input::MasterConnected { connection: MASTER });
    let [Effect::SendToMaster { message, .. }] = &effects[..] else { panic!("{effects:?}") };
    let agent_to_master::Message::Register(register) = &**message else { panic!("{message:?}") };
    assert_eq!(register.info.id, None);

    // It stays new, and can be registered and started again.
    let new = Config { info: info("cpus:8;mem:64", ""), boot_id: "second".into(), ..config() };
    let (mut node, effects) = Node::recovered_with(new.clone(), node.records, Vec::new());
    assert_eq!((effects, node.agent.view().id.clone()), (Vec::new(), None));
    node.connect();
    let (node, effects) = Node::recovered_with(new, node.records, Vec::new());
    assert_eq!((effects, node.agent.view().id.as_deref()), (Vec::new(), Some("m-S0")));
}
