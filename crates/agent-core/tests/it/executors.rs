//! Frameworks' own executors over the executor API.

use super::*;

pub(crate) fn call(kind: &str, more: Value) -> Box<executor::Call> {
    let mut call =
        json!({"type": kind, "framework_id": {"value": "f"}, "executor_id": {"value": "e"}});
    for (name, value) in more.as_object().into_iter().flatten() {
        call[name] = value.clone();
    }
    Box::new(wire::json::from_value(&call).expect("a call"))
}

pub(crate) fn own(id: &str) -> Value {
    let mut task = task(id);
    task.as_object_mut().expect("a task").remove("command");
    task["executor"] = json!({"executor_id": {"value": "e"}, "framework_id": {"value": "f"}, "command": {"value": "x"}});
    task
}

pub(super) const STREAM: Token = Token(50);

pub(super) fn events(effects: &[Effect]) -> Vec<String> {
    let sent = effects.iter().filter_map(|e| match e {
        Effect::SendEvent { event, .. } => Some(event.r#type().as_str_name().to_owned()),
        _ => None,
    });
    sent.collect()
}

fn subscribed() -> (Node, String) {
    subscribed_with(config())
}

pub(crate) fn subscribed_with(config: Config) -> (Node, String) {
    let (mut node, _) = Node::recovered_with(config, Vec::new(), Vec::new());
    node.connect();
    let container_id = started(&node.run(own("a"))).container_id;
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    let subscribe = call("SUBSCRIBE", json!({"subscribe": {}}));
    let effects = node.step(Input::ExecutorSubscribe { stream: STREAM, call: subscribe });
    assert_eq!(effects[0], Effect::AcceptStream { stream: STREAM });
    assert_eq!(events(&effects), ["SUBSCRIBED", "LAUNCH"]);
    (node, container_id)
}

pub(crate) fn status(id: &str, state: &str, uuid: &str) -> Value {
    json!({"update": {"status": {"task_id": {"value": id}, "state": state, "source": "SOURCE_EXECUTOR", "uuid": uuid}}})
}

pub(super) const UUID: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

#[track_caller]
fn answers(node: &mut Node, call: Box<executor::Call>, status: u16, text: &str) -> Vec<Effect> {
    let mut effects = node.step(Input::ExecutorCall { token: Token(60), call });
    assert_eq!(
        effects.remove(0),
        Effect::Respond { token: Token(60), status, body: text.to_owned() }
    );
    effects
}

#[test]
fn calls_are_refused_as_the_table_says() {
    let mut node = Node::registered();
    answers(&mut node, call("HEARTBEAT", json!({})), 202, "");
    answers(
        &mut node,
        call("MESSAGE", json!({"message": {"data": ""}})),
        400,
        "Framework cannot be found",
    );
    node.run(own("a"));
    answers(
        &mut node,
        call("MESSAGE", json!({"message": {"data": ""}})),
        403,
        "Executor is not subscribed",
    );
    let invalid = |text: &str| format!("Failed to validate Executor::Call: {text}");
    let update = |state: &str, uuid: &str| call("UPDATE", status("a", state, uuid));
    answers(
        &mut node,
        update("TASK_RUNNING", "AAAA"),
        400,
        &invalid("'status.uuid' must be 16 bytes, not 3"),
    );
    let staging = invalid("'status.state' must not be TASK_STAGING");
    answers(&mut node, update("TASK_STAGING", UUID), 400, &staging);
    let (mut node, _) = subscribed();
    let mut other = call("MESSAGE", json!({"message": {"data": ""}}));
    other.executor_id = "x".into();
    answers(&mut node, other, 400, "Executor cannot be found");
}

#[test]
fn updates_are_acknowledged_to_the_executor_when_stored() {
    let (mut node, _) = subscribed();
    node.stored();
    assert_eq!(answers(&mut node, call("UPDATE", status("a", "TASK_RUNNING", UUID)), 202, ""), []);
    let effects = node.stored();
    assert_eq!(events(&effects), ["ACKNOWLEDGED"]);
    assert_eq!(updates(&effects)[0].state(), v1::TaskState::TaskRunning);
    let again = answers(&mut node, call("UPDATE", status("a", "TASK_RUNNING", UUID)), 202, "");
    assert_eq!(events(&again), ["ACKNOWLEDGED"], "the executor did not hear it the first time");
    assert_eq!(updates(&again), [], "a repeat is nothing new for the master");
}

#[test]
fn a_later_task_goes_to_the_running_executor() {
    let (mut node, _) = subscribed();
    let task = wire::json::from_value(&own("b")).expect("a task");
    let run = internal::RunTask { framework: framework(), task, launch_executor: false };
    let mut effects = node.hear(master_to_agent::Message::RunTask(run));
    effects.extend(node.stored());
    assert_eq!(events(&effects), ["LAUNCH"]);
    let kill = internal::KillTask {
        framework_id: "f".into(),
        task_id: "b".into(),
        kill_policy: None,
        preemption: None,
        at_once: None,
        asked_by: None,
    };
    assert_eq!(events(&node.hear(master_to_agent::Message::KillTask(kill))), ["KILL"]);
}

#[test]
fn the_end_of_an_executor_fails_its_tasks() {
    let (mut node, container_id) = subscribed();
    let mut effects =
        node.step(Input::ContainerExited { container_id, status: Some(1 << 8), limitation: None });
    effects.extend(node.stored());
    let status = updates(&effects).remove(0);
    assert_eq!(
        (status.state(), status.message()),
        (v1::TaskState::TaskFailed, "Executor terminated")
    );
    assert_eq!(status.reason(), v1::task_status::Reason::ExecutorTerminated);
}

#[test]
fn an_executor_that_never_subscribes_is_destroyed() {
    let mut node = Node::registered();
    let container_id = started(&node.run(own("a"))).container_id;
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    assert!(node.wait(59).iter().all(|e| !matches!(e, Effect::DestroyContainer { .. })));
    let effects = node.wait(1);
    assert!(effects.contains(&Effect::DestroyContainer { container_id: container_id.clone() }));
    let mut effects =
        node.step(Input::ContainerExited { container_id, status: Some(9), limitation: None });
    effects.extend(node.stored());
    assert_eq!(updates(&effects)[0].message(), "Executor did not register within 1mins");
}

#[test]
fn a_shutdown_has_its_grace() {
    let (mut node, container_id) = subscribed();
    let shutdown = internal::ShutdownExecutor { framework_id: "f".into(), executor_id: "e".into() };
    assert_eq!(
        events(&node.hear(master_to_agent::Message::ShutdownExecutor(shutdown))),
        ["SHUTDOWN"]
    );
    assert!(
        !node.wait(4).contains(&Effect::DestroyContainer { container_id: container_id.clone() })
    );
    assert!(node.wait(1).contains(&Effect::DestroyContainer { container_id }));
}

/// Volumes that are shown and hidden, by their paths.
fn shown(effects: &[Effect]) -> Vec<String> {
    let volumes = effects.iter().filter_map(|effect| match effect {
        Effect::ShowVolume { volume, .. } => Some(format!("+{}", volume.container_path)),
        Effect::HideVolume { volume, .. } => Some(format!("-{}", volume.container_path)),
        Effect::SendEvent { event, .. } => Some(event.r#type().as_str_name().to_owned()),
        _ => None,
    });
    volumes.collect()
}

#[test]
fn volumes_of_tasks_come_before_them_and_go_with_the_last_that_has_them() {
    use crate::operations::{apply, create, node, reserve, reserved, volume};
    let mut node = node();
    let mut shared = volume("shared", 10.0);
    shared["disk"]["volume"]["container_path"] = json!("both");
    shared["shared"] = json!({});
    apply(&mut node, 1, reserve(&[reserved("disk", 20.0)]));
    apply(&mut node, 2, create(&[volume("v", 10.0), shared.clone()]));
    node.stored();
    let with = |id: &str, volumes: &[&Value]| {
        let mut task = own(id);
        let resources = task["resources"].as_array_mut().expect("a list");
        resources.extend(volumes.iter().map(|volume| (*volume).clone()));
        task
    };
    let first = with("a", &[&volume("v", 10.0), &shared]);
    let container_id = started(&node.run(first)).container_id;
    node.step(Input::ContainerStarted { container_id, result: Ok(42) });
    let subscribe = call("SUBSCRIBE", json!({"subscribe": {}}));
    let effects = node.step(Input::ExecutorSubscribe { stream: STREAM, call: subscribe });
    assert_eq!(shown(&effects), ["SUBSCRIBED", "+data", "+both", "LAUNCH"]);
    let task = wire::json::from_value(&with("b", &[&shared])).expect("a task");
    let run = internal::RunTask { framework: framework(), task, launch_executor: false };
    let mut effects = node.hear(master_to_agent::Message::RunTask(run));
    effects.extend(node.stored());
    assert_eq!(shown(&effects), ["+both", "LAUNCH"]);
    node.stored();
    let ends = |id: &str, uuid: &str| call("UPDATE", status(id, "TASK_FINISHED", uuid));
    let end = node.step(Input::ExecutorCall { token: Token(60), call: ends("a", UUID) });
    assert_eq!(shown(&end), ["-data"]);
    let other = "BBBBBBBBBBBBBBBBBBBBBA==";
    let end = node.step(Input::ExecutorCall { token: Token(61), call: ends("b", other) });
    assert_eq!(shown(&end), ["-both"]);
}
