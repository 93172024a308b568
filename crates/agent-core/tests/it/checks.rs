//! Checks and health checks.

use super::*;
use agent_core::contract::{ContainerSpec, ProbeAnswer, Target};
use wire::v1::task_status::Reason;

/// A running task with these fields, its container and what it has said.
fn running(fields: Value) -> (Node, String) {
    let mut node = Node::registered();
    let mut task = task("t");
    for (name, value) in fields.as_object().expect("fields") {
        task[name] = value.clone();
    }
    let container_id = started(&node.run(task)).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
    (node, container_id)
}

fn tcp() -> Value {
    json!({"type": "TCP", "tcp": {"port": 80}, "delay_seconds": 5, "interval_seconds": 3, "timeout_seconds": 2,
        "grace_period_seconds": 0, "consecutive_failures": 2})
}

fn command(value: &str) -> Value {
    json!({"type": "COMMAND", "command": {"command": {"value": value}}, "delay_seconds": 1, "interval_seconds": 3,
        "timeout_seconds": 2})
}

#[track_caller]
fn probe(effects: &[Effect]) -> (u64, Target) {
    let mut probes = effects.iter().filter_map(|e| match e {
        Effect::Probe { id, target, .. } => Some((*id, target.clone())),
        _ => None,
    });
    probes.next().unwrap_or_else(|| panic!("no probe was asked for: {effects:?}"))
}

impl Node {
    fn connected(&mut self, effects: &[Effect], yes: bool) -> Vec<Effect> {
        let (id, _) = probe(effects);
        let mut effects = self.step(Input::Probed { id, result: Ok(ProbeAnswer::Connected(yes)) });
        effects.extend(self.stored());
        effects
    }

    /// The update among these effects, acknowledged.
    #[track_caller]
    fn one_update(&mut self, effects: &[Effect]) -> v1::TaskStatus {
        let mut all = updates(effects);
        assert_eq!(all.len(), 1, "{effects:?}");
        let status = all.remove(0);
        self.acknowledge(&status);
        status
    }

    /// What was asked for, of which the update was acknowledged.
    fn health(&mut self, effects: &[Effect]) -> (Option<bool>, Reason) {
        let status = self.one_update(effects);
        assert_eq!(status.state(), v1::TaskState::TaskRunning);
        (status.healthy, status.reason())
    }
}

#[test]
fn health_is_told_when_it_changes_and_each_failure_and_too_many_of_them_kill() {
    let (mut node, container_id) = running(json!({"health_check": tcp()}));
    assert_eq!(node.wait(4), []);
    let due = node.wait(1);
    assert_eq!(probe(&due).1, Target::Tcp { host: "127.0.0.1".to_owned(), port: 80 });
    let told = Reason::TaskHealthCheckStatusUpdated;
    let effects = node.connected(&due, true);
    assert_eq!(node.health(&effects), (Some(true), told), "the first success");
    assert_eq!(node.wait(2), [], "the interval begins at the end of a run");
    let due = node.wait(1);
    assert_eq!(node.connected(&due, true), [], "nothing new");
    for _ in 0..2 {
        let due = node.wait(3);
        let effects = node.connected(&due, false);
        assert_eq!(node.health(&effects), (Some(false), told), "a failure");
        let due = node.wait(3);
        let effects = node.connected(&due, true);
        assert_eq!(node.health(&effects), (Some(true), told), "healthy again");
    }
    let due = node.wait(3);
    let effects = node.connected(&due, false);
    node.health(&effects);
    let due = node.wait(3);
    let effects = node.connected(&due, false);
    assert_eq!(node.health(&effects), (Some(false), told), "said before the kill");
    let signal = Effect::SignalContainer { container_id: container_id.clone(), signal: 15 };
    assert!(effects.contains(&signal), "{effects:?}");
    assert_eq!(node.wait(2), [], "no check after the kill began");
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(15), limitation: None });
    assert_eq!(effects, []);
    let effects = node.stored();
    let status = node.one_update(&effects);
    assert_eq!((status.state(), status.healthy), (v1::TaskState::TaskKilled, Some(false)));
    assert_eq!(status.message(), "Command terminated with signal Terminated");
    assert_eq!(status.reason, None);
}

#[test]
fn failures_before_the_first_success_are_ignored_in_the_grace_period() {
    let mut check = tcp();
    check["grace_period_seconds"] = json!(10);
    let (mut node, _) = running(json!({"health_check": check}));
    node.now.wall = base::WallTime(node.now.wall.0 + 5_000_000_000);
    let due = node.wait(5);
    assert_eq!(node.connected(&due, false), [], "after 5 s");
    node.now.wall = base::WallTime(node.now.wall.0 + 6_000_000_000);
    let due = node.wait(3);
    let effects = node.connected(&due, false);
    assert_eq!(node.health(&effects).0, Some(false), "after 11 s");
}

#[test]
fn a_probe_that_takes_too_long_is_stopped_and_a_failure() {
    let (mut node, _) = running(json!({"health_check": tcp()}));
    let due = node.wait(5);
    let (id, _) = probe(&due);
    assert_eq!(node.wait(1), []);
    let effects = node.wait(1);
    assert_eq!(effects, [Effect::StopProbe { id }]);
    let effects = node.stored();
    assert_eq!(node.health(&effects).0, Some(false));
    assert_eq!(node.step(Input::Probed { id, result: Ok(ProbeAnswer::Connected(true)) }), []);
}

#[test]
fn addresses_are_local_and_paths_and_schemes_the_tasks() {
    let check = |fields: Value, uri: &str| {
        let mut check = json!({"type": "HTTP", "delay_seconds": 1});
        check["http"] = fields;
        let (mut node, _) = running(json!({"health_check": check}));
        assert_eq!(probe(&node.wait(1)).1, Target::Http { uri: uri.to_owned() });
    };
    check(json!({"port": 80}), "http://127.0.0.1:80");
    check(json!({"port": 81, "scheme": "https", "path": "/a?b"}), "https://127.0.0.1:81/a?b");
    check(json!({"port": 82, "protocol": "IPv6", "path": "/"}), "http://[::1]:82/");
}

#[test]
fn an_http_check_is_healthy_from_200_to_399() {
    let check = json!({"type": "HTTP", "http": {"port": 80, "statuses": [500]}, "delay_seconds": 1,
        "interval_seconds": 1, "grace_period_seconds": 0, "consecutive_failures": 100});
    let (mut node, _) = running(json!({"health_check": check}));
    let mut seen = Vec::new();
    for code in [199, 200, 400, 399, 500] {
        let (id, _) = probe(&node.wait(1));
        node.step(Input::Probed { id, result: Ok(ProbeAnswer::Status(code)) });
        let effects = node.stored();
        seen.extend(node.health(&effects).0);
    }
    assert_eq!(seen, [false, true, false, true, false]);
}

fn exit(node: &mut Node, spec: &ContainerSpec, status: Option<i32>) -> Vec<Effect> {
    let container_id = spec.container_id.clone();
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(7) });
    let mut effects = node.step(Input::ContainerExited { container_id, status, limitation: None });
    effects.extend(node.stored());
    effects
}

#[test]
fn a_command_runs_inside_the_task_and_what_it_says_is_told_when_it_changes() {
    let mut check = command("test -e ready");
    check["command"]["command"]["environment"] =
        json!({"variables": [{"name": "MESOS_SANDBOX", "value": "mine"}]});
    let (mut node, container_id) = running(json!({"check": check}));
    let view = node.agent.view();
    let task = &view.frameworks["f"].executors["t"].tasks["t"];
    let empty = task.statuses.last().and_then(|s| s.check_status).expect("a status of the check");
    assert_eq!(
        (empty.r#type(), empty.command),
        (v1::check_info::Type::Command, Some(Default::default()))
    );

    let spec = started(&node.wait(1));
    assert!(spec.container_id.starts_with("check-"));
    assert_eq!(spec.parent.as_ref(), Some(&container_id));
    assert_eq!(spec.environment["MESOS_SANDBOX"], "mine");
    assert_eq!(spec.environment["MESOS_ALLOCATION_ROLE"], "r");
    assert_eq!(spec.output.as_ref(), Some(&spec.directory), "it prints where the task does");
    let mut last = Vec::new();
    let mut spec = spec;
    for status in [Some(0), Some(0), Some(3 << 8), Some(11)] {
        let effects = exit(&mut node, &spec, status);
        let forget = Effect::ForgetContainer { container_id: spec.container_id.clone() };
        assert!(effects.contains(&forget), "{effects:?}");
        let told = updates(&effects);
        last.push(told.first().map(|s| s.check_status.and_then(|c| c.command?.exit_code)));
        for status in told {
            assert_eq!(status.reason(), Reason::TaskCheckStatusUpdated);
            assert_eq!(status.healthy, None);
            node.acknowledge(&status);
        }
        assert_eq!(node.wait(2), []);
        spec = started(&node.wait(1));
    }
    assert_eq!(last, [Some(Some(0)), None, Some(Some(3)), Some(None)]);
}

#[test]
fn a_command_that_takes_too_long_is_killed_and_says_nothing() {
    let (mut node, _) = running(json!({"check": command("sleep 100")}));
    let spec = started(&node.wait(1));
    exit(&mut node, &spec, Some(0));
    let spec = started(&node.wait(3));
    let container_id = spec.container_id.clone();
    assert_eq!(node.wait(2), [Effect::DestroyContainer { container_id }]);
    // It is over when it is gone, whatever it ends with.
    let effects = exit(&mut node, &spec, Some(0));
    let told = updates(&effects);
    assert_eq!(told, [], "the first update waits for its acknowledgement");
    let view = node.agent.view();
    let last = view.frameworks["f"].executors["t"].tasks["t"].statuses.last().cloned();
    let said = last.and_then(|s| s.check_status).and_then(|c| c.command);
    assert_eq!(said, Some(v1::check_status_info::Command { exit_code: None }));
}

#[test]
fn health_and_what_a_check_says_do_not_hide_each_other() {
    let (mut node, _) = running(json!({"check": command("true"), "health_check": tcp()}));
    let spec = started(&node.wait(1));
    let effects = exit(&mut node, &spec, Some(0));
    node.one_update(&effects);
    let spec = started(&node.wait(3));
    let due = node.wait(1);
    let effects = node.connected(&due, true);
    let status = node.one_update(&effects);
    let code = status.check_status.and_then(|c| c.command?.exit_code);
    assert_eq!((status.healthy, code), (Some(true), Some(0)));
    let effects = exit(&mut node, &spec, Some(1 << 8));
    let status = node.one_update(&effects);
    let code = status.check_status.and_then(|c| c.command?.exit_code);
    assert_eq!((status.healthy, code), (Some(true), Some(1)));
}

#[test]
fn checks_stop_with_the_kill_and_an_answer_that_comes_later_is_nobodys() {
    let mut for_ever = command("true");
    for_ever["timeout_seconds"] = json!(0);
    let (mut node, _) = running(json!({"check": for_ever, "health_check": tcp()}));
    let spec = started(&node.wait(1));
    let (id, _) = probe(&node.wait(4));
    let kill =
        internal::KillTask { framework_id: "f".into(), task_id: "t".into(), ..Default::default() };
    let effects = node.hear(master_to_agent::Message::KillTask(kill));
    assert!(effects.contains(&Effect::StopProbe { id }), "{effects:?}");
    node.stored();
    assert_eq!(node.step(Input::Probed { id, result: Ok(ProbeAnswer::Connected(false)) }), []);
    let effects = exit(&mut node, &spec, Some(9));
    assert_eq!(effects, [Effect::ForgetContainer { container_id: spec.container_id }]);
    assert_eq!(node.wait(2), []);
}

#[test]
fn an_agent_that_comes_back_checks_at_once_and_has_counted() {
    let (mut node, container_id) = running(json!({"health_check": tcp()}));
    let due = node.wait(5);
    let effects = node.connected(&due, false);
    node.health(&effects);
    let state = FoundState::Running { pid: 42 };
    let check = FoundContainer { container_id: "check-1".to_owned(), state: state.clone() };
    let found = vec![FoundContainer { container_id: container_id.clone(), state }, check];
    let (mut node, effects) = Node::recovered(node.records, found);
    let destroyed = Effect::DestroyContainer { container_id: "check-1".to_owned() };
    assert!(effects.contains(&destroyed), "nobody waits for it any more");
    node.connect();
    let (id, _) = probe(&effects);
    node.step(Input::Probed { id, result: Ok(ProbeAnswer::Connected(false)) });
    let effects = node.stored();
    let signal = Effect::SignalContainer { container_id, signal: 15 };
    assert!(effects.contains(&signal), "the second failure: {effects:?}");
}

#[test]
fn an_agent_that_comes_back_knows_that_the_task_was_killed_for_its_health() {
    let mut check = tcp();
    check["consecutive_failures"] = json!(0);
    let (mut node, container_id) = running(json!({"health_check": check}));
    let due = node.wait(5);
    let effects = node.connected(&due, false);
    assert_eq!(node.health(&effects).0, Some(false));
    let state = FoundState::Exited { status: Some(15), limitation: None };
    let (mut node, mut effects) =
        Node::recovered(node.records, vec![FoundContainer { container_id, state }]);
    effects.extend(node.connect());
    effects.extend(node.stored());
    let status = updates(&effects).pop().expect("the end");
    assert_eq!((status.state(), status.healthy), (v1::TaskState::TaskKilled, Some(false)));
}

#[test]
fn what_checks_said_for_months_does_not_fill_the_log() {
    let mut health = tcp();
    health["consecutive_failures"] = json!(1000);
    let (mut node, container_id) =
        running(json!({"check": command("true"), "health_check": health}));
    let spec = &mut started(&node.wait(1));
    for n in 0..100 {
        let effects = exit(&mut node, spec, Some((n % 2) << 8));
        node.one_update(&effects);
        let mut effects = node.wait(3);
        *spec = started(&effects);
        effects.retain(|e| matches!(e, Effect::Probe { .. }));
        if !effects.is_empty() {
            let effects = node.connected(&effects, n % 3 == 0);
            node.one_update(&effects);
        }
    }
    let kept = agent_core::compact(node.records.clone());
    assert!(node.records.len() > 300 && kept.len() < 20, "{} {}", node.records.len(), kept.len());
    // That an agent which recovers from the rest is the same, is tested by this.
    let found = FoundContainer { container_id, state: FoundState::Running { pid: 42 } };
    let _ = Node::recovered(node.records, vec![found]);
}

#[test]
fn a_task_in_a_container_of_dockers_may_have_a_command_check() {
    let mut node = Node::registered();
    let mut docker = task("t");
    docker["container"] = json!({"type": "DOCKER", "docker": {"image": "image"}});
    docker["health_check"] = command("true");
    docker["health_check"]["command"] = json!({"value": "true"});
    assert!(started(&node.run(docker)).container.is_some());
}
