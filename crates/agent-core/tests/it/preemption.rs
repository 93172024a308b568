//! What the master wants back is taken alone: what uses nothing of it goes on.

use super::executors::{STREAM, UUID, call, events, own, status};
use super::*;
use v1::task_status::{Reason, Source};

const MESSAGE: &str = "wanted back by role 'web'";

fn revocable(mut task: Value) -> Value {
    task["resources"][0]["revocable"] = json!({});
    task
}

fn aware() -> v1::FrameworkInfo {
    let aware = v1::framework_info::capability::Type::PartitionAware as i32;
    let capabilities = vec![v1::framework_info::Capability { r#type: Some(aware) }];
    v1::FrameworkInfo { capabilities, ..framework() }
}

impl Node {
    pub(crate) fn run_group(&mut self, executor: Value, tasks: &[Value]) -> Vec<Effect> {
        let tasks = tasks.iter().map(|task| {
            let mut task = task.clone();
            task["executor"] = executor.clone();
            wire::json::from_value(&task).expect("a task")
        });
        let id = executor["executor_id"]["value"].as_str().expect("an id");
        let known = self.agent.view().frameworks.get("f").cloned();
        let is_there = known.is_some_and(|framework| framework.executors.contains_key(id));
        let run = internal::RunTaskGroup {
            framework: aware(),
            executor: wire::json::from_value(&executor).expect("an executor"),
            tasks: tasks.collect(),
            launch_executor: !is_there,
        };
        let mut effects = self.hear(master_to_agent::Message::RunTaskGroup(run));
        effects.extend(self.stored());
        effects
    }

    fn preempt(&mut self, task: &str, at_once: bool) -> Vec<Effect> {
        let kill = internal::KillTask {
            framework_id: "f".into(),
            task_id: task.into(),
            kill_policy: None,
            preemption: Some(MESSAGE.into()),
            at_once: Some(at_once),
            asked_by: None,
        };
        let mut effects = self.hear(master_to_agent::Message::KillTask(kill));
        effects.extend(self.stored());
        effects
    }
}

pub(crate) fn pod() -> Value {
    json!({"type": "DEFAULT", "executor_id": {"value": "pod"}, "framework_id": {"value": "f"}})
}

fn custom() -> Value {
    json!({"type": "CUSTOM", "executor_id": {"value": "e"}, "framework_id": {"value": "f"}, "command": {"value": "x"}})
}

/// Containers of a pod's tasks, in order.
pub(crate) fn containers(effects: &[Effect]) -> Vec<String> {
    let started = effects.iter().filter_map(|e| match e {
        Effect::StartContainer { spec } => Some(spec.container_id.clone()),
        _ => None,
    });
    started.collect()
}

fn signalled(effects: &[Effect]) -> Vec<String> {
    let signalled = effects.iter().filter_map(|e| match e {
        Effect::SignalContainer { container_id, .. } => Some(container_id.clone()),
        _ => None,
    });
    signalled.collect()
}

/// A running pod with these tasks.
fn running(tasks: &[Value]) -> (Node, Vec<String>) {
    let mut node = Node::registered();
    let containers = containers(&node.run_group(pod(), tasks));
    for container_id in containers.clone() {
        let effects = node.step(Input::ContainerStarted { container_id, result: Ok(42) });
        assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
    }
    (node, containers)
}

#[test]
fn a_firm_task_of_the_same_group_goes_on() {
    let (mut node, containers) =
        running(&[task("firm"), revocable(task("lent")), revocable(task("mate"))]);
    let [firm, lent, mate] = &containers[..] else { panic!("{containers:?}") };
    assert_eq!(signalled(&node.preempt("lent", false)), std::slice::from_ref(lent));
    let mut effects = node.step(Input::ContainerExited {
        container_id: lent.clone(),
        status: Some(15),
        limitation: None,
    });
    effects.extend(node.stored());
    assert_eq!(
        signalled(&effects),
        std::slice::from_ref(mate),
        "the borrowers of a group go together"
    );
    assert_eq!(node.drain(effects), ["TASK_GONE"]);
    let mut effects = node.step(Input::ContainerExited {
        container_id: mate.clone(),
        status: Some(15),
        limitation: None,
    });
    effects.extend(node.stored());
    assert_eq!(signalled(&effects), [] as [&str; 0]);
    let ended = updates(&effects).remove(0);
    assert_eq!(
        (ended.state(), ended.reason()),
        (v1::TaskState::TaskGone, Reason::ContainerPreempted)
    );
    assert_eq!(ended.message(), MESSAGE);
    node.drain(effects);
    // It still runs, and ends by itself.
    let effects = node.step(Input::ContainerExited {
        container_id: firm.clone(),
        status: Some(0),
        limitation: None,
    });
    assert_eq!(node.drain(effects), ["TASK_FINISHED"]);
}

#[test]
fn a_group_that_waits_for_its_executor_loses_only_what_is_wanted_back() {
    let mut node = Node::registered();
    node.run_group(custom(), &[own("firm"), revocable(own("lent"))]);
    let effects = node.preempt("lent", false);
    assert_eq!(node.drain(effects), ["TASK_GONE"]);
    let subscribe = call("SUBSCRIBE", json!({"subscribe": {}}));
    let effects = node.step(Input::ExecutorSubscribe { stream: STREAM, call: subscribe });
    let groups = effects.iter().filter_map(|e| match e {
        Effect::SendEvent { event, .. } => event.launch_group.as_ref(),
        _ => None,
    });
    let tasks: Vec<_> = groups.flat_map(|g| &g.task_group.tasks).map(|t| &t.name).collect();
    assert_eq!(tasks, ["firm"]);
}

/// Both tasks run in one executor.
fn shared() -> Node {
    let mut node = Node::registered();
    let effects = node.run_group(custom(), &[own("firm"), revocable(own("lent"))]);
    let container_id = started(&effects).container_id;
    node.step(Input::ContainerStarted { container_id, result: Ok(42) });
    let subscribe = call("SUBSCRIBE", json!({"subscribe": {}}));
    node.step(Input::ExecutorSubscribe { stream: STREAM, call: subscribe });
    for task in ["firm", "lent"] {
        let call = call("UPDATE", status(task, "TASK_RUNNING", UUID));
        let effects = node.step(Input::ExecutorCall { token: Token(60), call });
        assert_eq!(node.drain(effects), ["TASK_RUNNING"]);
    }
    node
}

fn ends(node: &mut Node, task: &str, state: &str) -> Vec<Effect> {
    let call = call("UPDATE", status(task, state, "AQAAAAAAAAAAAAAAAAAAAA=="));
    let mut effects = node.step(Input::ExecutorCall { token: Token(60), call });
    effects.extend(node.stored());
    effects
}

#[test]
fn a_custom_executor_ends_the_task_and_its_framework_is_told_why() {
    let mut node = shared();
    assert_eq!(events(&node.preempt("lent", false)), ["KILL"]);
    let ended = updates(&ends(&mut node, "lent", "TASK_KILLED")).remove(0);
    assert_eq!(
        (ended.state(), ended.reason()),
        (v1::TaskState::TaskGone, Reason::ContainerPreempted)
    );
    assert_eq!((ended.message(), ended.source()), (MESSAGE, Source::Executor));
}

/// The executor runs another task that must not end: it is not shut down, but has the resources no longer.
#[test]
fn a_task_that_its_executor_does_not_end_is_gone_all_the_same() {
    let mut node = shared();
    node.preempt("lent", false);
    let effects = node.preempt("lent", true);
    assert_eq!(events(&effects), [] as [&str; 0]);
    assert!(effects.iter().all(|e| !matches!(e, Effect::DestroyContainer { .. })), "{effects:?}");
    let ended = updates(&effects).remove(0);
    assert_eq!(
        (ended.state(), ended.reason()),
        (v1::TaskState::TaskGone, Reason::ContainerPreempted)
    );
    assert_eq!(ended.source(), Source::Agent);
    node.drain(effects);
    // What the executor says of it later is acknowledged, and nothing else.
    let late = ends(&mut node, "lent", "TASK_KILLED");
    assert_eq!((events(&late), updates(&late)), (vec!["ACKNOWLEDGED".to_owned()], Vec::new()));
    // With its last task it loses its right to be there.
    let effects = ends(&mut node, "firm", "TASK_FINISHED");
    assert!(events(&effects).contains(&"SHUTDOWN".to_owned()), "{effects:?}");
}

#[test]
fn a_pod_task_that_does_not_end_is_destroyed_at_once() {
    let (mut node, containers) = running(&[task("firm"), revocable(task("lent"))]);
    node.preempt("lent", false);
    let destroyed = Effect::DestroyContainer { container_id: containers[1].clone() };
    assert!(node.preempt("lent", true).contains(&destroyed));
}
