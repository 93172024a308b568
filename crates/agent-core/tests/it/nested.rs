//! Containers that are started through the agent's API.

use super::*;
use agent_core::contract::{ContainerCall, ContainerEnd, Streams};

fn id(chain: &[&str]) -> v1::ContainerId {
    let (last, rest) = chain.split_last().expect("an id");
    let parent = (!rest.is_empty()).then(|| Box::new(id(rest)));
    v1::ContainerId { value: (*last).to_owned(), parent }
}

impl Node {
    fn container_call(&mut self, token: u64, call: ContainerCall) -> Vec<Effect> {
        let mut effects = self.step(Input::ContainerCall { token: Token(token), call });
        effects.extend(self.stored());
        effects
    }

    fn launch(&mut self, token: u64, chain: &[&str]) -> Vec<Effect> {
        let command = v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() };
        self.container_call(
            token,
            ContainerCall::Launch {
                container_id: id(chain),
                command: Box::new(command),
                container: None,
                resources: Vec::new(),
                limits: BTreeMap::new(),
                streams: None,
            },
        )
    }

    fn wait_call(&mut self, token: u64, chain: &[&str]) -> Vec<Effect> {
        self.container_call(token, ContainerCall::Wait { container_id: id(chain) })
    }
}

fn respond(token: u64, status: u16, body: &str) -> Effect {
    Effect::Respond { token: Token(token), status, body: body.to_owned() }
}

fn end(token: u64, status: Option<i32>) -> Effect {
    let end = ContainerEnd { status, limitation: None };
    Effect::RespondEnd { token: Token(token), end }
}

fn has_started(container_id: &str) -> Input {
    Input::ContainerStarted { container_id: container_id.to_owned(), result: Ok(7) }
}

fn has_ended(container_id: &str, status: i32) -> Input {
    let container_id = container_id.to_owned();
    Input::ContainerExited { container_id, status: Some(status), limitation: None }
}

/// A node with a running command task, and its container.
fn running() -> (Node, String) {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let effects = node.step(has_started(&container_id));
    node.drain(effects);
    (node, container_id)
}

#[test]
fn one_inside_a_task_is_started_once_waited_for_killed_and_removed() {
    let (mut node, task) = running();
    let chain = [task.as_str(), "child"];
    let name = format!("{task}.child");
    assert_eq!(
        node.wait_call(1, &chain),
        [respond(1, 404, &format!("Container {name} cannot be found"))]
    );
    let spec = started(&node.launch(2, &chain));
    assert_eq!((&spec.container_id, &spec.parent), (&name, &Some(task.clone())));
    assert!(
        spec.directory.ends_with(&format!("/runs/{task}/containers/child")),
        "{}",
        spec.directory
    );
    let variables: Vec<&str> = spec.environment.keys().map(String::as_str).collect();
    assert_eq!(variables, ["MESOS_SANDBOX", "PATH"]);
    assert_eq!(node.launch(3, &chain), [respond(3, 202, "")]);
    assert_eq!(node.step(has_started(&name)), [respond(2, 200, "")]);
    assert_eq!(node.wait_call(4, &chain), []);
    let remove = ContainerCall::Remove { container_id: id(&chain) };
    let text = "Nested container has not terminated yet";
    assert_eq!(node.container_call(5, remove.clone()), [respond(5, 500, text)]);
    let kill = ContainerCall::Kill { container_id: id(&chain), signal: 15 };
    let signal = Effect::SignalContainer { container_id: name.clone(), signal: 15 };
    assert_eq!(node.container_call(6, kill.clone()), [signal, respond(6, 200, "")]);
    assert_eq!(node.step(has_ended(&name, 15)), [end(4, Some(15))]);
    assert_eq!(node.wait_call(7, &chain), [end(7, Some(15))], "also when it has ended");
    let text = format!("Container '{name}' cannot be found (or is already killed)");
    assert_eq!(node.container_call(8, kill), [respond(8, 404, &text)]);
    let directory = Effect::RemoveDirectory { path: spec.directory };
    let forget = Effect::ForgetContainer { container_id: name };
    assert_eq!(node.container_call(9, remove.clone()), [directory, forget, respond(9, 200, "")]);
    assert_eq!(node.container_call(10, remove), [respond(10, 200, "")]);
    started(&node.launch(11, &chain));
}

#[test]
fn the_container_around_it_has_to_run() {
    let (mut node, task) = running();
    let text = "Parent container nobody does not exist";
    assert_eq!(node.launch(1, &["nobody", "child"]), [respond(1, 400, text)]);
    started(&node.launch(2, &[&task, "child"]));
    let text = format!("Parent container {task}.child is not running");
    assert_eq!(node.launch(3, &[&task, "child", "deep"]), [respond(3, 400, &text)]);
    node.step(has_started(&format!("{task}.child")));
    let spec = started(&node.launch(4, &[&task, "child", "deep"]));
    assert_eq!(spec.parent, Some(format!("{task}.child")));
    let error = StartError::Launch("no such luck".to_owned());
    let effects =
        node.step(Input::ContainerStarted { container_id: spec.container_id, result: Err(error) });
    assert_eq!(effects[0], respond(4, 400, "no such luck"));
    let text = format!("Container {task}.child.deep cannot be found");
    assert_eq!(node.wait_call(5, &[&task, "child", "deep"]), [respond(5, 404, &text)]);
}

#[test]
fn what_ran_inside_is_forgotten_with_the_task() {
    let (mut node, task) = running();
    started(&node.launch(1, &[&task, "child"]));
    node.step(has_started(&format!("{task}.child")));
    node.step(has_ended(&format!("{task}.child"), 9));
    assert_eq!(node.wait_call(2, &[&task]), [], "a task's container can be waited for");
    let effects = node.step(has_ended(&task, 0));
    assert_eq!(effects, [end(2, Some(0))]);
    assert_eq!(node.drain(effects), ["TASK_FINISHED"]);
    assert!(node.agent.view().launched.is_empty());
    let text = format!("Container {task}.child cannot be found");
    assert_eq!(node.wait_call(3, &[&task, "child"]), [respond(3, 404, &text)]);
}

#[test]
fn standalone_ones_and_those_of_tasks_are_found_again() {
    let (mut node, task) = running();
    let child = format!("{task}.child");
    for chain in [vec!["alone"], vec![task.as_str(), "child"], vec!["gone"]] {
        started(&node.launch(1, &chain));
    }
    let spec = started(&node.launch(2, &["other"]));
    assert_eq!((spec.parent, spec.directory.as_str()), (None, "/work_dir/containers/other"));
    for name in ["alone", child.as_str(), "gone", "other"] {
        node.step(has_started(name));
    }
    node.step(has_ended("gone", 0));
    node.container_call(3, ContainerCall::Remove { container_id: id(&["gone"]) });
    let found = |name: &str, state| FoundContainer { container_id: name.to_owned(), state };
    let runs = FoundState::Running { pid: 8 };
    let ended = FoundState::Exited { status: Some(3 << 8), limitation: None };
    let found = vec![
        found(&task, runs.clone()),
        found("alone", runs.clone()),
        found(&child, ended),
        found("stranger", runs),
    ];
    let (mut node, effects) = Node::recovered(node.records, found);
    let stranger = Effect::DestroyContainer { container_id: "stranger".to_owned() };
    assert_eq!(effects, [stranger]);
    assert_eq!(node.wait_call(4, &["alone"]), []);
    assert_eq!(node.step(has_ended("alone", 0)), [end(4, Some(0))]);
    assert_eq!(node.wait_call(5, &[&task, "child"]), [end(5, Some(3 << 8))]);
    assert_eq!(node.wait_call(6, &["other"]), [end(6, None)], "nobody knows how it ended");
    assert_eq!(node.wait_call(7, &["gone"]), [respond(7, 404, "Container gone cannot be found")]);
}

#[test]
fn a_session_has_the_environment_of_its_task_and_is_not_kept() {
    let (mut node, task) = running();
    let streams = Streams {
        input: "/run/in".to_owned(),
        output: "/run/out".to_owned(),
        errors: "/run/err".to_owned(),
        is_terminal: false,
    };
    let call = ContainerCall::Launch {
        container_id: id(&[&task, "session"]),
        command: Box::new(v1::CommandInfo { value: Some("sh".to_owned()), ..Default::default() }),
        container: None,
        resources: Vec::new(),
        limits: BTreeMap::new(),
        streams: Some(streams.clone()),
    };
    let before = node.records.len();
    let spec = started(&node.container_call(1, call));
    assert_eq!((spec.streams, spec.parent.as_ref()), (Some(streams), Some(&task)));
    assert_eq!(spec.environment["MESOS_ALLOCATION_ROLE"], "r");
    assert!(spec.directory.ends_with(&format!("/runs/{task}")), "{}", spec.directory);
    assert_eq!(spec.recovery_timeout, Duration::ZERO);
    assert_eq!(node.records.len(), before, "the next agent ends it");
}
