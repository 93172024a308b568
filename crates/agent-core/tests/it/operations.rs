//! Reservations and persistent volumes on the agent (spec/agent.md 4.2 and 7.1).

use crate::*;
use agent_core::contract::RemovedVolume;
use resources::Resources;

fn agent_with(records: Vec<internal::AgentRecord>, resources: &str) -> (Node, Vec<Effect>) {
    booted_with(records, resources, "first")
}

fn booted_with(
    records: Vec<internal::AgentRecord>,
    resources: &str,
    boot_id: &str,
) -> (Node, Vec<Effect>) {
    let total = Resources::parse(resources, "*").expect("resources");
    let info = v1::AgentInfo { resources: total.to_wire(), ..config().info };
    let mut node = Node {
        agent: Agent::new(Config { info, boot_id: boot_id.into(), ..config() }),
        now: Now::at_secs(1),
        writes: Vec::new(),
        records: records.clone(),
    };
    let effects = node.step(Input::Recovered { records, containers: Vec::new() });
    (node, effects)
}

pub(crate) fn node() -> Node {
    let (mut node, _) = agent_with(Vec::new(), "cpus:4;mem:1024;disk:100");
    node.connect();
    node
}

pub(crate) fn reserved(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount},
        "reservations": [{"type": "DYNAMIC", "role": "a/b"}], "allocation_info": {"role": "a/b"}})
}

pub(crate) fn volume(id: &str, size: f64) -> Value {
    let mut disk = reserved("disk", size);
    disk["disk"] = json!({"persistence": {"id": id},
        "volume": {"container_path": "data", "mode": "RW"}});
    disk
}

pub(crate) fn apply(node: &mut Node, uuid: u8, operation: Value) -> Vec<Effect> {
    node.hear(master_to_agent::Message::ApplyOperation(internal::ApplyOperation {
        framework_id: Some("f".into()),
        operation_uuid: vec![uuid; 16],
        operation: wire::json::from_value(&operation).expect("an operation"),
    }))
}

pub(crate) fn reserve(resources: &[Value]) -> Value {
    json!({"type": "RESERVE", "id": {"value": "r"}, "reserve": {"resources": resources}})
}

pub(crate) fn create(volumes: &[Value]) -> Value {
    json!({"type": "CREATE", "create": {"volumes": volumes}})
}

fn told(effects: &[Effect]) -> Vec<internal::OperationUpdate> {
    let sent = effects.iter().filter_map(|e| match e {
        Effect::SendToMaster { message, .. } => match &**message {
            agent_to_master::Message::OperationUpdate(update) => Some(update.clone()),
            _ => None,
        },
        _ => None,
    });
    sent.collect()
}

fn states(effects: &[Effect]) -> Vec<&'static str> {
    told(effects).iter().map(|u| u.status.state().as_str_name()).collect()
}

/// Directories to make and to remove.
fn synced(effects: &[Effect]) -> Vec<(Vec<String>, Vec<RemovedVolume>)> {
    let asked = effects.iter().filter_map(|e| match e {
        Effect::SyncVolumes { make, remove, .. } => Some((make.clone(), remove.clone())),
        _ => None,
    });
    asked.collect()
}

fn done(node: &mut Node, uuid: u8, result: Result<(), String>) -> Vec<Effect> {
    let mut effects = node.step(Input::VolumesSynced { operation: vec![uuid; 16], result });
    assert_eq!(told(&effects), [], "not before it is stored");
    effects.extend(node.stored());
    effects
}

fn total(node: &Node) -> String {
    node.agent.view().total.to_string()
}

pub(crate) const PATH: &str = "/work_dir/volumes/roles/a b/v";

#[test]
fn an_operation_is_stored_then_done_then_stored_then_told_until_acknowledged() {
    let mut node = node();
    let effects = apply(&mut node, 1, reserve(&[reserved("disk", 10.0)]));
    assert_eq!(told(&effects), [], "not before it is stored");
    assert_eq!(states(&node.stored()), ["OPERATION_FINISHED"], "there is no directory to make");
    let effects = apply(&mut node, 2, create(&[volume("v", 10.0)]));
    assert_eq!(synced(&effects), [], "not before it is stored");
    assert_eq!(synced(&node.stored()), [(vec![PATH.to_owned()], Vec::new())]);
    let effects = done(&mut node, 2, Ok(()));
    let update = told(&effects).remove(0);
    assert_eq!(update.status.state(), v1::OperationState::OperationFinished);
    assert_eq!(
        total(&node),
        "cpus:4; mem:1024; disk:90; disk(reservations: [(DYNAMIC,a/b)])[v:data]:10"
    );

    assert_eq!(states(&node.wait(9)), [] as [&str; 0]);
    assert_eq!(states(&node.wait(1)), ["OPERATION_FINISHED", "OPERATION_FINISHED"], "both again");
    assert_eq!(states(&node.wait(19)), [] as [&str; 0], "twice as long");
    let acknowledge = |uuid: u8, status: Vec<u8>| {
        master_to_agent::Message::AcknowledgeOperation(internal::AcknowledgeOperation {
            operation_uuid: vec![uuid; 16],
            status_uuid: status,
        })
    };
    node.hear(acknowledge(2, vec![9; 16]));
    assert_eq!(node.agent.view().operations.len(), 2, "another uuid is not its own");
    node.hear(acknowledge(2, update.status.uuid.expect("it wants one").value));
    assert_eq!(node.agent.view().operations.len(), 1);
    assert_eq!(states(&node.wait(1)), ["OPERATION_FINISHED"], "the other one");
}

#[test]
fn what_was_begun_before_a_restart_is_done_after_it_in_order() {
    let mut node = node();
    apply(&mut node, 9, reserve(&[reserved("disk", 10.0)]));
    apply(&mut node, 8, create(&[volume("v", 10.0)]));
    let destroy = json!({"type": "DESTROY", "destroy": {"volumes": [volume("v", 10.0)]}});
    apply(&mut node, 7, destroy);
    node.stored();
    let (mut again, effects) = agent_with(node.records.clone(), "cpus:4;mem:1024;disk:100");
    let gone = RemovedVolume { path: PATH.to_owned(), keeps_root: false };
    assert_eq!(synced(&effects), [(vec![PATH.to_owned()], vec![]), (vec![], vec![gone])]);
    assert_eq!(total(&again), "cpus:4; mem:1024; disk:90; disk(reservations: [(DYNAMIC,a/b)]):10");
    done(&mut again, 8, Ok(()));
    done(&mut again, 7, Ok(()));
    assert_eq!(states(&again.connect()), ["OPERATION_FINISHED"; 3]);
}

#[test]
fn volumes_are_there_again_after_a_restart() {
    let mut node = node();
    apply(&mut node, 1, reserve(&[reserved("disk", 10.0)]));
    apply(&mut node, 2, create(&[volume("v", 10.0)]));
    node.stored();
    done(&mut node, 2, Ok(()));
    let (mut again, effects) = agent_with(node.records.clone(), "cpus:4;mem:1024;disk:100");
    assert_eq!(synced(&effects), [(vec![PATH.to_owned()], vec![])]);
    let effects =
        again.step(Input::VolumesSynced { operation: vec![], result: Err("full".into()) });
    assert!(matches!(&effects[..], [Effect::Exit { message, .. }] if message.contains("full")));
    // A new agent after a reboot has the reservations of the former one.
    let (_, effects) = booted_with(node.records.clone(), "cpus:4;mem:1024;disk:5", "second");
    let [Effect::Exit { status: 1, message }] = &effects[..] else { panic!("{effects:?}") };
    assert!(message.starts_with("Incompatible agent resources: "), "{message}");
    assert!(message.contains("--resources"), "{message}");
}

#[test]
fn what_can_not_be_done_changes_nothing() {
    let mut node = node();
    let effects = apply(&mut node, 1, reserve(&[reserved("disk", 1000.0)]));
    let update = told(&effects).remove(0);
    assert_eq!(update.status.state(), v1::OperationState::OperationDropped);
    assert_eq!(update.status.uuid, None, "nothing to acknowledge");
    assert!(update.status.message().contains("does not contain"), "{:?}", update.status);
    apply(&mut node, 2, reserve(&[reserved("disk", 10.0)]));
    apply(&mut node, 3, create(&[volume("v", 10.0)]));
    node.stored();
    let update = told(&done(&mut node, 3, Err("read-only file system".into()))).remove(0);
    assert_eq!(update.status.state(), v1::OperationState::OperationFailed);
    assert_eq!(update.status.message(), "read-only file system");
    assert_eq!(update.checkpointed_resources.len(), 1, "the reservation stays");
    assert_eq!(total(&node), "cpus:4; mem:1024; disk:90; disk(reservations: [(DYNAMIC,a/b)]):10");
}

#[test]
fn a_task_sees_its_volume_and_one_with_unknown_volumes_is_not_run() {
    let mut node = node();
    apply(&mut node, 1, reserve(&[reserved("disk", 10.0)]));
    apply(&mut node, 2, create(&[volume("v", 10.0)]));
    node.stored();
    let mut with_volume = task("t");
    with_volume["resources"] = json!([volume("v", 10.0)]);
    let spec = started(&node.run(with_volume.clone()));
    assert_eq!(spec.volumes.len(), 1);
    assert_eq!(
        (spec.volumes[0].path.as_str(), spec.volumes[0].container_path.as_str()),
        (PATH, "data")
    );
    with_volume["task_id"] = json!({"value": "u"});
    with_volume["resources"] = json!([volume("other", 10.0)]);
    let effects = node.run(with_volume);
    let status = updates(&effects).remove(0);
    assert_eq!(status.state(), v1::TaskState::TaskLost);
    assert_eq!(status.reason(), v1::task_status::Reason::ResourcesUnknown);
}
