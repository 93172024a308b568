//! An agent that is drained ends its tasks, takes no others, and knows it after a restart.

use super::executors::{STREAM, UUID, call, status, subscribed_with};
use super::preemption::{containers, pod};
use super::*;
use v1::task_status::Reason;

fn aware() -> v1::FrameworkInfo {
    use v1::framework_info::capability::Type;
    let capabilities = [Type::PartitionAware, Type::TaskKillingState];
    let capability = |t: Type| v1::framework_info::Capability { r#type: Some(t as i32) };
    v1::FrameworkInfo { capabilities: capabilities.map(capability).to_vec(), ..framework() }
}

fn config_of(seconds: Option<i64>, mark_gone: bool) -> v1::DrainConfig {
    let max_grace_period = seconds.map(|s| v1::DurationInfo { nanoseconds: s * 1_000_000_000 });
    v1::DrainConfig { max_grace_period, mark_gone: Some(mark_gone) }
}

impl Node {
    fn run_aware(&mut self, task: Value) -> Vec<Effect> {
        let task = wire::json::from_value(&task).expect("a task");
        let run = internal::RunTask { framework: aware(), task, launch_executor: true };
        let mut effects = self.hear(master_to_agent::Message::RunTask(run));
        effects.extend(self.stored());
        effects
    }

    /// A running task; its container.
    fn running(&mut self, task: Value) -> String {
        let effects = self.run_aware(task);
        let container_id = started(&effects).container_id;
        let id = container_id.clone();
        let effects = self.step(Input::ContainerStarted { container_id: id, result: Ok(42) });
        assert_eq!(self.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
        container_id
    }

    fn told_to_drain(&mut self, config: Option<v1::DrainConfig>) -> Vec<Effect> {
        let mut effects = self.hear(master_to_agent::Message::Drain(internal::Drain { config }));
        effects.extend(self.stored());
        effects
    }

    fn exits(&mut self, container_id: &str) -> Vec<Effect> {
        let container_id = container_id.to_owned();
        let mut effects =
            self.step(Input::ContainerExited { container_id, status: Some(15), limitation: None });
        effects.extend(self.stored());
        effects
    }

    fn is_draining(&self) -> bool {
        self.agent.view().drain.is_some()
    }
}

fn signals(effects: &[Effect], wanted: i32) -> usize {
    let is = |e: &&Effect| matches!(e, Effect::SignalContainer { signal, .. } if *signal == wanted);
    effects.iter().filter(is).count()
}

#[test]
fn a_running_task_is_killed_and_says_why() {
    for (mark_gone, end) in [(false, "TASK_KILLED"), (true, "TASK_GONE_BY_OPERATOR")] {
        let mut node = Node::registered();
        let container = node.running(task("t"));
        let effects = node.told_to_drain(Some(config_of(None, mark_gone)));
        assert_eq!(signals(&effects, 15), 1);
        let killing = updates(&effects).remove(0);
        assert_eq!(killing.state().as_str_name(), "TASK_KILLING");
        assert_eq!(killing.reason(), Reason::AgentDraining);
        node.acknowledge(&killing);
        assert!(node.is_draining());
        let effects = node.exits(&container);
        let ended = updates(&effects).remove(0);
        assert_eq!((ended.state().as_str_name(), ended.reason()), (end, Reason::AgentDraining));
        assert!(node.is_draining(), "its framework may not know it yet");
        node.acknowledge(&ended);
        assert!(!node.is_draining(), "nothing is left");
        // It may take tasks again when the master sends some.
        started(&node.run_aware(task("next")));
    }
}

#[test]
fn a_framework_that_knows_no_partitions_hears_that_its_task_was_killed() {
    let mut node = Node::registered();
    let effects = node.run(task("t"));
    let container = started(&effects).container_id;
    let id = container.clone();
    let effects = node.step(Input::ContainerStarted { container_id: id, result: Ok(42) });
    node.drain(effects);
    node.told_to_drain(Some(config_of(None, true)));
    let ended = updates(&node.exits(&container)).remove(0);
    assert_eq!(ended.state().as_str_name(), "TASK_KILLED");
    assert_eq!(ended.reason(), Reason::AgentDraining);
}

#[test]
fn the_grace_period_of_a_drain_only_shortens() {
    let with_policy = |seconds: i64| {
        let mut task = task("t");
        task["kill_policy"] = json!({"grace_period": {"nanoseconds": seconds * 1_000_000_000}});
        task
    };
    // Seconds of the task, of the drain, and when it is over.
    for (task, drain, over) in [
        (with_policy(60), Some(10), 10),
        (with_policy(10), Some(60), 10),
        (with_policy(10), None, 10),
        (task("t"), Some(7), 7),
        (task("t"), None, 3),
    ] {
        let mut node = Node::registered();
        node.running(task);
        node.told_to_drain(Some(config_of(drain, false)));
        let destroyed = |effects: Vec<Effect>| {
            effects.iter().any(|e| matches!(e, Effect::DestroyContainer { .. }))
        };
        assert!(!destroyed(node.wait(over - 1)), "{drain:?}");
        assert!(destroyed(node.wait(1)), "{drain:?}");
    }
}

#[test]
fn tasks_that_come_late_are_dropped() {
    let mut node = Node::registered();
    node.running(task("t"));
    node.told_to_drain(Some(config_of(Some(60), false)));
    let effects = node.run_aware(task("late"));
    let dropped = updates(&effects).remove(0);
    assert_eq!(dropped.task_id.value, "late");
    assert_eq!(dropped.state().as_str_name(), "TASK_DROPPED");
    assert_eq!(dropped.reason(), Reason::AgentDraining);
    assert_eq!(dropped.message(), "Task was received while agent was already draining");
}

#[test]
fn an_agent_without_anything_need_not_drain() {
    let mut node = Node::registered();
    node.told_to_drain(Some(config_of(None, false)));
    assert!(!node.is_draining());
}

#[test]
fn what_was_not_started_yet_never_is() {
    let mut node = Node::registered();
    let run = internal::RunTask {
        framework: aware(),
        task: wire::json::from_value(&task("t")).expect("a task"),
        launch_executor: true,
    };
    // The store does not have the task yet.
    assert_eq!(node.hear(master_to_agent::Message::RunTask(run)), []);
    let effects = node.told_to_drain(Some(config_of(None, false)));
    assert!(!effects.iter().any(|e| matches!(e, Effect::StartContainer { .. })), "{effects:?}");
    let ended = updates(&effects).remove(0);
    assert_eq!(ended.state().as_str_name(), "TASK_KILLED");
    assert_eq!(ended.reason(), Reason::AgentDraining);
    node.acknowledge(&ended);
    assert!(!node.is_draining());
}

#[test]
fn all_of_a_pod_goes() {
    let mut node = Node::registered();
    let containers = containers(&node.run_group(pod(), &[task("a"), task("b")]));
    for container_id in containers.clone() {
        let effects = node.step(Input::ContainerStarted { container_id, result: Ok(42) });
        node.drain(effects);
    }
    let effects = node.told_to_drain(Some(config_of(None, true)));
    assert_eq!(signals(&effects, 15), 2);
    let mut ends = Vec::new();
    for container in &containers {
        let effects = node.exits(container);
        ends.extend(node.drain(effects));
    }
    assert_eq!(ends, ["TASK_GONE_BY_OPERATOR"; 2]);
    assert!(!node.is_draining());
}

#[test]
fn an_executor_of_the_framework_is_asked_to_kill() {
    let (mut node, _) = subscribed_with(config());
    node.stored();
    let effects = node.told_to_drain(Some(config_of(Some(5), false)));
    let kills: Vec<_> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::SendEvent { stream: STREAM, event } => event.kill.as_ref(),
            _ => None,
        })
        .collect();
    assert_eq!(kills.len(), 1, "{effects:?}");
    let grace = kills[0].kill_policy.and_then(|p| p.grace_period);
    assert_eq!(grace.map(|g| g.nanoseconds), Some(5_000_000_000));
    let call = call("UPDATE", status("a", "TASK_KILLED", UUID));
    let mut effects = node.step(Input::ExecutorCall { token: Token(60), call });
    effects.extend(node.stored());
    assert_eq!(updates(&effects)[0].reason(), Reason::AgentDraining);
    // The executor is still there: the master says when the agent is in use again.
    assert!(node.is_draining());
    node.told_to_drain(None);
    assert!(!node.is_draining());
}

#[test]
fn a_drain_survives_the_agent() {
    let mut node = Node::registered();
    let container = node.running(task("t"));
    node.told_to_drain(Some(config_of(Some(60), true)));
    let since = node.agent.view().drain.expect("a drain").since;
    let found = |container: &str| FoundContainer {
        container_id: container.to_owned(),
        state: FoundState::Running { pid: 42 },
    };
    let (mut node, effects) = Node::recovered(node.records, vec![found(&container)]);
    assert_eq!(signals(&effects, 15), 1, "again, as nobody knows whether it heard");
    let drain = node.agent.view().drain.expect("a drain");
    assert_eq!((drain.config, drain.since), (config_of(Some(60), true), since));
    node.stored();
    let ended = updates(&[node.exits(&container), node.connect()].concat()).pop();
    // The master said at registration that the agent is in use: it is.
    assert_eq!(ended.map(|s| s.reason()), Some(Reason::AgentDraining));
    assert!(!node.is_draining());
}

#[test]
fn an_agent_drains_when_it_registers_if_it_did_not_hear_of_it() {
    let mut node = Node::registered();
    let container = node.running(task("t"));
    node.step(Input::MasterClosed { connection: MASTER });
    node.step(Input::MasterConnected { connection: MASTER });
    let registered = internal::Registered {
        agent_id: "m-S0".into(),
        total_ping_timeout_seconds: 75.0,
        drain: Some(config_of(None, false)),
        ..Default::default()
    };
    let mut effects = node.hear(master_to_agent::Message::Registered(registered));
    effects.extend(node.stored());
    assert_eq!(signals(&effects, 15), 1);
    let ended = updates(&node.exits(&container));
    assert!(ended.iter().all(|s| s.reason() == Reason::AgentDraining), "{ended:?}");
}
