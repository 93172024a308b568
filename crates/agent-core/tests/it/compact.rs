//! What of the log is left out at a start.

use super::*;
use agent_core::compact;
use internal::AgentRecord;
use internal::agent_record::Record;

#[test]
fn what_was_forgotten_is_gone_after_the_next_start() {
    let record = |record| AgentRecord { record: Some(record) };
    let framework = |id: &str| {
        record(Record::Framework(wire::v1::FrameworkInfo {
            user: "u".into(),
            name: "n".into(),
            id: Some(id.into()),
            ..Default::default()
        }))
    };
    let executor = |id: &str, container: &str| {
        record(Record::Executor(internal::ExecutorRecord {
            framework_id: "f".into(),
            info: wire::v1::ExecutorInfo { executor_id: id.into(), ..Default::default() },
            container_id: container.into(),
            kind: internal::ExecutorKind::Command as i32,
            directory: "/d".into(),
        }))
    };
    let task = |id: &str| {
        record(Record::Task(internal::TaskRecord {
            framework_id: "f".into(),
            executor_id: id.into(),
            info: wire::v1::TaskInfo { name: id.into(), task_id: id.into(), ..Default::default() },
            ..Default::default()
        }))
    };
    let forget = |container: &str| {
        record(Record::ForgetExecutor(internal::ForgetExecutor {
            framework_id: "f".into(),
            container_id: container.into(),
        }))
    };
    let all = vec![
        framework("f"),
        executor("e", "c1"),
        task("e"),
        forget("c1"),
        executor("e", "c2"),
        task("e"),
    ];
    assert_eq!(compact(all.clone()), [framework("f"), executor("e", "c2"), task("e")]);
    let operation = |uuid: u8, resources: Option<&str>| {
        let named = |name: &str| wire::v1::Resource { name: name.into(), ..Default::default() };
        let checkpointed =
            resources.map(|name| internal::CheckpointedResources { resources: vec![named(name)] });
        let operation = wire::v1::Operation {
            uuid: wire::v1::Uuid { value: vec![uuid] },
            ..Default::default()
        };
        record(Record::Operation(internal::OperationRecord { operation, checkpointed }))
    };
    let ack = |uuid: u8| {
        record(Record::OperationAck(internal::OperationAckRecord { operation_uuid: vec![uuid] }))
    };
    let log = vec![operation(1, Some("a")), operation(2, Some("b")), ack(1)];
    let resources = wire::v1::Resource { name: "b".into(), ..Default::default() };
    let resources = internal::CheckpointedResources { resources: vec![resources] };
    let short = [record(Record::Resources(resources)), operation(2, None)];
    assert_eq!(compact(log), short);
    assert_eq!(compact(short.to_vec()), short);
    let gone =
        record(Record::ForgetFramework(internal::ForgetFramework { framework_id: "f".into() }));
    assert_eq!(compact(all.into_iter().chain([forget("c2"), gone]).collect()), []);
}

/// Restarts with the whole log and with what is left of it must not differ; see [`Node::recovered_with`].
#[test]
fn a_framework_that_comes_back_keeps_its_new_tasks() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("one"))).container_id;
    let mut effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    effects.extend(node.step(Input::ContainerExited {
        container_id,
        status: Some(0),
        limitation: None,
    }));
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
    assert!(node.agent.view().frameworks.is_empty());
    let container_id = started(&node.run(task("two"))).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(43) });
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
    let state = FoundState::Running { pid: 43 };
    let records = compact(node.records);
    let (node, effects) = Node::recovered(records, vec![FoundContainer { container_id, state }]);
    assert_eq!(effects, [], "nothing is destroyed");
    assert_eq!(node.agent.view().frameworks["f"].executors.len(), 1);
}

#[test]
fn what_has_ended_takes_no_room_at_recovery() {
    let mut node = Node::registered();
    let mut left = Vec::new();
    for round in 0..100 {
        let container_id = started(&node.run(task(&format!("t{round}")))).container_id;
        let begun = container_id.clone();
        let mut effects =
            node.step(Input::ContainerStarted { container_id: begun, result: Ok(42) });
        let (status, limitation) = (Some(0), None);
        effects.extend(node.step(Input::ContainerExited { container_id, status, limitation }));
        assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
        left.push(compact(node.records.clone()).len());
    }
    assert!(node.records.len() > 500, "much was recorded");
    assert_eq!(left[99], left[9], "as much as after ten tasks: {left:?}");
}
