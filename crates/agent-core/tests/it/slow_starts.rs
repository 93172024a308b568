//! Starts that take their time, since URIs are fetched: killed, overdue, failed.

use super::*;
use v1::task_status::{Reason, Source};

fn kill(node: &mut Node) -> Vec<Effect> {
    let kill =
        internal::KillTask { framework_id: "f".into(), task_id: "t".into(), ..Default::default() };
    let mut effects = node.hear(master_to_agent::Message::KillTask(kill));
    effects.extend(node.stored());
    effects
}

fn failed(node: &mut Node, container_id: &str, text: &str) -> v1::TaskStatus {
    let error = StartError::Launch(text.to_owned());
    let input =
        Input::ContainerStarted { container_id: container_id.to_owned(), result: Err(error) };
    let mut effects = node.step(input);
    effects.extend(node.stored());
    let sent = updates(&effects);
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent[0].clone()
}

fn launch_errors(node: &Node) -> Option<u64> {
    node.agent.view().counters.get("slave/container_launch_errors").copied()
}

#[test]
fn a_kill_gives_up_the_start() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let cancel = Effect::CancelStart { container_id: container_id.clone() };
    assert_eq!(kill(&mut node), [cancel]);
    let status = failed(&mut node, &container_id, "Container destroyed during fetching");
    assert_eq!((status.state(), status.source()), (v1::TaskState::TaskKilled, Source::Agent));
    assert_eq!(status.reason(), Reason::TaskKilledDuringLaunch);
    assert_eq!(launch_errors(&node), None);
}

#[test]
fn a_kill_that_came_too_late_for_that_ends_the_task_as_always() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    kill(&mut node);
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    assert!(effects.contains(&Effect::SignalContainer { container_id, signal: 15 }), "{effects:?}");
}

#[test]
fn what_could_not_be_fetched_fails_the_task() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let text = "Failed to fetch all URIs for container 'c': exited with status 1";
    let status = failed(&mut node, &container_id, text);
    assert_eq!((status.state(), status.source()), (v1::TaskState::TaskFailed, Source::Agent));
    assert_eq!(status.reason(), Reason::ContainerLaunchFailed);
    assert_eq!(status.message(), format!("Failed to launch container: {text}"));
    assert_eq!(launch_errors(&node), Some(1));
    let cancel = Effect::CancelStart { container_id };
    assert!(!node.wait(60).contains(&cancel), "its time does not run any more");
}

#[test]
fn the_time_to_register_counts_while_a_command_task_is_started() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    assert_eq!(node.wait(59), []);
    assert_eq!(node.wait(1), [Effect::CancelStart { container_id: container_id.clone() }]);
    let status = failed(&mut node, &container_id, "Container destroyed during fetching");
    assert_eq!(
        (status.state(), status.reason()),
        (v1::TaskState::TaskFailed, Reason::ContainerLaunchFailed)
    );
    assert_eq!(
        status.message(),
        "Executor did not register within 1mins; Failed to launch container: Container destroyed during fetching"
    );
}

#[test]
fn a_start_that_is_answered_in_time_or_could_not_be_given_up_goes_on() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    assert_eq!(node.wait(60).len(), 1);
    let ok = |node: &mut Node, id: &str| {
        node.step(Input::ContainerStarted { container_id: id.to_owned(), result: Ok(42) })
    };
    let mut effects = ok(&mut node, &container_id);
    effects.extend(node.step(Input::ContainerExited {
        container_id,
        status: Some(0),
        limitation: None,
    }));
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);

    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let effects = ok(&mut node, &container_id);
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
    let cancel = Effect::CancelStart { container_id };
    assert!(!node.wait(60).contains(&cancel), "it runs");
}
