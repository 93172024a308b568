//! What containers may use, and what becomes of those that take more.

use crate::executors::{call, own, status, subscribed_with};
use crate::*;
use agent_core::Limitable;
use agent_core::contract::Limitation;
use v1::task_status::Reason;

fn limiting() -> Config {
    let limitable = Limitable { cpus: true, mem: true, cpus_by_request: false };
    Config { limitable, ..config() }
}

fn limitation() -> Option<Box<Limitation>> {
    let reason = Reason::ContainerLimitationMemory;
    let resources = vec![scalar("mem", 42.0)];
    Some(Box::new(Limitation { reason, message: "too much".to_owned(), resources }))
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    let json = json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    wire::json::from_value(&json).expect("a resource")
}

#[track_caller]
fn is_limited(status: &v1::TaskStatus) {
    assert_eq!(status.state(), v1::TaskState::TaskFailed);
    assert_eq!(status.reason(), Reason::ContainerLimitationMemory);
    assert_eq!(status.source(), v1::task_status::Source::Agent);
    assert_eq!(status.message(), "too much");
    let resources = status.limitation.as_ref().map(|l| l.resources.clone());
    assert_eq!(resources, Some(vec![scalar("mem", 42.0)]));
}

#[test]
fn a_task_that_was_ended_for_what_it_used_fails_for_that() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    node.stored();
    for _ in ["TASK_STARTING", "TASK_RUNNING"] {
        let status =
            node.agent.view().frameworks["f"].executors["t"].tasks["t"].statuses[0].clone();
        node.acknowledge(&status);
        node.stored();
    }
    let exited = Input::ContainerExited { container_id, status: Some(9), limitation: limitation() };
    node.step(exited);
    let view = node.agent.view();
    let statuses = &view.frameworks["f"].executors["t"].tasks["t"].statuses;
    is_limited(statuses.last().expect("a status"));
}

#[test]
fn so_do_the_tasks_of_an_executor_and_those_whose_end_nobody_saw() {
    let (mut node, container_id) = subscribed_with(config());
    let exited = Input::ContainerExited { container_id, status: Some(9), limitation: limitation() };
    let mut effects = node.step(exited);
    effects.extend(node.stored());
    is_limited(&updates(&effects)[0]);

    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let state = FoundState::Exited { status: Some(9), limitation: limitation() };
    let (mut node, _) = Node::recovered(node.records, vec![FoundContainer { container_id, state }]);
    node.stored();
    let view = node.agent.view();
    let statuses = &view.frameworks["f"].executors["t"].tasks["t"].statuses;
    is_limited(statuses.last().expect("a status"));
}

/// Cpus and memory that were asked for, and limits.
type Told = ([i64; 2], Vec<(String, f64)>);

/// What a container was told last.
fn told(effects: &[Effect]) -> Option<Told> {
    let told = effects.iter().rev().find_map(|effect| match effect {
        Effect::UpdateContainer { resources, limits, .. } => Some((resources, limits)),
        _ => None,
    });
    let (resources, limits) = told?;
    let resources = resources::Resources::from_wire(resources).expect("resources");
    let amounts = ["cpus", "mem"].map(|name| resources.scalar(name) / 1000);
    Some((amounts, limits.iter().map(|(name, limit)| (name.clone(), *limit)).collect()))
}

/// A task of the executor of `subscribed`, of 1 cpu.
fn later(node: &mut Node, id: &str, limits: Value) -> Vec<Effect> {
    let mut task = own(id);
    task["limits"] = limits;
    let task = wire::json::from_value(&task).expect("a task");
    let run = internal::RunTask { framework: framework(), task, launch_executor: false };
    let mut effects = node.hear(master_to_agent::Message::RunTask(run));
    effects.extend(node.stored());
    effects
}

#[test]
fn the_container_of_an_executor_grows_and_shrinks_with_its_tasks() {
    let (mut node, _) = subscribed_with(limiting());
    node.stored();
    let list = |limits: &[(&str, f64)]| {
        limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect::<Vec<_>>()
    };
    let effects = later(&mut node, "b", json!({}));
    assert_eq!(told(&effects), Some(([2, 0], list(&[]))));
    // One without a limit of cpus leaves them unlimited; memory is the sum of limits and requests.
    let effects = later(&mut node, "c", json!({"cpus": {"value": 3}, "mem": {"value": 64}}));
    assert_eq!(told(&effects), Some(([3, 0], list(&[("mem", 64.0)]))));
    let effects = later(&mut node, "d", json!({"mem": {"value": "Infinity"}}));
    assert_eq!(told(&effects), Some(([4, 0], list(&[("mem", f64::INFINITY)]))));
    let mut effects = Vec::new();
    for (id, uuid) in [
        ("a", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("b", "AQAAAAAAAAAAAAAAAAAAAA=="),
        ("d", "AgAAAAAAAAAAAAAAAAAAAA=="),
    ] {
        let call = call("UPDATE", status(id, "TASK_FINISHED", uuid));
        effects = node.step(Input::ExecutorCall { token: base::Token(90), call });
    }
    assert_eq!(told(&effects), Some(([1, 0], list(&[("cpus", 3.0), ("mem", 64.0)]))));
}
