//! Restarts: what is known from the store and from what is found.

use super::*;
use internal::agent_record::Record;

/// A node with a running task, and its container.
fn running() -> (Node, String) {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
    (node, container_id)
}

fn restart(node: Node, container_id: &str, state: Option<FoundState>) -> (Node, Vec<Effect>) {
    let found = state.map(|state| FoundContainer { container_id: container_id.to_owned(), state });
    Node::recovered(node.records, found.into_iter().collect())
}

#[test]
fn an_end_while_the_agent_was_away_is_reported_truly() {
    for (exit, state) in [(0, "TASK_FINISHED"), (7 << 8, "TASK_FAILED")] {
        let (node, container_id) = running();
        let (mut node, mut effects) = restart(
            node,
            &container_id,
            Some(FoundState::Exited { status: Some(exit), limitation: None }),
        );
        effects.extend(node.connect());
        assert_eq!(node.drain(effects), [state]);
    }
}

#[test]
fn the_death_of_a_supervisor_is_told_as_that_of_an_executor() {
    let check = |node: &mut Node, effects: Vec<Effect>| {
        let mut all = updates(&effects);
        all.extend(updates(&node.stored()));
        let status = all.remove(0);
        assert_eq!(status.state(), v1::TaskState::TaskFailed);
        assert_eq!(status.reason(), v1::task_status::Reason::ExecutorTerminated);
        assert_eq!(status.source(), v1::task_status::Source::Agent);
        assert_eq!(status.message(), "Executor terminated");
    };
    let (mut node, container_id) = running();
    let effects =
        node.step(Input::ContainerExited { container_id, status: None, limitation: None });
    check(&mut node, effects);
    let (node, container_id) = running();
    let exited = Some(FoundState::Exited { status: None, limitation: None });
    let (mut node, mut effects) = restart(node, &container_id, exited);
    effects.extend(node.connect());
    check(&mut node, effects);
}

#[test]
fn a_task_that_still_runs_goes_on_and_is_listed() {
    let (node, container_id) = running();
    let (mut node, effects) = restart(node, &container_id, Some(FoundState::Running { pid: 42 }));
    assert_eq!(effects, []);
    let effects = node.step(Input::MasterConnected { connection: MASTER });
    let [Effect::SendToMaster { message, .. }] = &effects[..] else { panic!("{effects:?}") };
    let agent_to_master::Message::Register(register) = &**message else { panic!("{message:?}") };
    assert_eq!(register.info.id, Some("m-S0".into()));
    assert_eq!((register.frameworks.len(), register.tasks.len()), (1, 1));
    assert_eq!(register.tasks[0].state(), v1::TaskState::TaskRunning);
    let effects = node.connect();
    assert_eq!(node.drain(effects), [] as [&str; 0], "nothing new is told");
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(0), limitation: None });
    assert_eq!(node.drain(effects), ["TASK_FINISHED"]);
}

/// The peer sets a quota of cpu time by accident when it recovers a task (MESOS-8840).
#[test]
fn a_recovery_changes_nothing_of_what_a_task_may_use() {
    let (node, container_id) = running();
    let (mut node, mut effects) =
        restart(node, &container_id, Some(FoundState::Running { pid: 42 }));
    effects.extend(node.connect());
    effects.extend(node.wait(60));
    let is_change = |effect: &&Effect| matches!(effect, Effect::UpdateContainer { .. });
    assert_eq!(effects.iter().find(is_change), None);
}

#[test]
fn a_kill_outlives_the_agent() {
    let (mut node, container_id) = running();
    let kill = internal::KillTask {
        framework_id: "f".into(),
        task_id: "t".into(),
        kill_policy: None,
        preemption: None,
        at_once: None,
        asked_by: None,
    };
    node.hear(master_to_agent::Message::KillTask(kill));
    node.stored();
    let (mut node, mut effects) = restart(
        node,
        &container_id,
        Some(FoundState::Exited { status: Some(15), limitation: None }),
    );
    effects.extend(node.connect());
    assert_eq!(node.drain(effects), ["TASK_KILLED"]);
}

#[test]
fn the_end_of_a_task_says_who_asked_for_it_if_that_was_not_its_framework() {
    let kill = |asked_by: Option<&str>| {
        let asked_by = asked_by.map(str::to_owned);
        let kill = internal::KillTask {
            framework_id: "f".into(),
            task_id: "t".into(),
            asked_by,
            ..Default::default()
        };
        master_to_agent::Message::KillTask(kill)
    };
    let check = |kills: [Option<&str>; 2], message: &str| {
        let (mut node, container_id) = running();
        for asked_by in kills {
            node.hear(kill(asked_by));
            node.stored();
        }
        let state = FoundState::Exited { status: Some(15), limitation: None };
        let (mut node, mut effects) = restart(node, &container_id, Some(state));
        effects.extend(node.connect());
        effects.extend(node.stored());
        let status = updates(&effects).remove(0);
        assert_eq!((status.state(), status.message()), (v1::TaskState::TaskKilled, message));
    };
    let signal = "Command terminated with signal Terminated";
    check([Some("an operator"), None], &format!("Killed by an operator: {signal}"));
    check([None, Some("an operator")], signal);
}

#[test]
fn what_is_gone_has_failed_and_what_is_unknown_is_destroyed() {
    let (node, container_id) = running();
    let (mut node, mut effects) = restart(node, &container_id, None);
    effects.extend(node.connect());
    assert_eq!(node.drain(effects), ["TASK_FAILED"]);
    let stray =
        FoundContainer { container_id: "stray".into(), state: FoundState::Running { pid: 1 } };
    let (mut node, effects) = Node::recovered(Vec::new(), vec![stray]);
    let id = || "stray".to_owned();
    assert_eq!(effects, [Effect::DestroyContainer { container_id: id() }]);
    let effects =
        node.step(Input::ContainerExited { container_id: id(), status: Some(9), limitation: None });
    assert_eq!(effects, [Effect::ForgetContainer { container_id: id() }]);
}

#[test]
fn an_unacknowledged_update_is_sent_again_and_an_acknowledged_one_is_not() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    let first = updates(&node.stored()).remove(0);
    node.acknowledge(&first);
    node.stored();
    let (mut node, _) = restart(node, &container_id, Some(FoundState::Running { pid: 42 }));
    let sent = updates(&node.connect());
    assert_eq!(
        sent.iter().map(v1::TaskStatus::state).collect::<Vec<_>>(),
        [v1::TaskState::TaskRunning]
    );
}

#[test]
fn directories_of_former_runs_are_removed_in_their_time() {
    let (mut node, _) = Node::recovered(Vec::new(), Vec::new());
    let day = Duration::from_secs(86400);
    let found =
        |path: &str, days: u32| Input::DirectoryFound { path: path.into(), age: day * days };
    node.step(found("/work_dir/slaves/s/frameworks/old", 6));
    let removed = |effects: Vec<Effect>| -> Vec<String> {
        let paths = effects.into_iter().filter_map(|e| match e {
            Effect::RemoveDirectory { path } => Some(path),
            _ => None,
        });
        paths.collect()
    };
    let older = node.step(found("/work_dir/slaves/s/frameworks/older", 8));
    assert_eq!(removed(older), ["/work_dir/slaves/s/frameworks/older"], "at once");
    assert_eq!(removed(node.wait(86000)), [] as [&str; 0]);
    assert_eq!(removed(node.wait(400)), ["/work_dir/slaves/s/frameworks/old"]);
}

/// What an agent says that does not know a task of which the master knows this.
fn told_of_unknown(lost: &serde_json::Value) -> Vec<v1::TaskStatus> {
    let (mut node, _) = Node::recovered(Vec::new(), Vec::new());
    node.step(Input::MasterConnected { connection: MASTER });
    let registered = internal::Registered {
        agent_id: "m-S0".into(),
        total_ping_timeout_seconds: 75.0,
        master_info: v1::MasterInfo::default(),
        reconciliations: vec![internal::Reconciliation {
            framework: framework(),
            statuses: vec![wire::json::from_value(lost).expect("a status")],
        }],
        drain: None,
    };
    let mut effects = node.hear(master_to_agent::Message::Registered(registered));
    effects.extend(node.stored());
    updates(&effects)
}

#[test]
fn a_task_that_never_arrived_is_dropped_once() {
    let told = told_of_unknown(&json!({"task_id": {"value": "t"}, "state": "TASK_STAGING"}));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].message(), "Reconciliation: task unknown to the agent");
    // The agent was killed before it heard the acknowledgement: it says the same again, not another end.
    let mut before = json!({"task_id": {"value": "t"}, "uuid": "YWJjZGVmZ2hpamtsbW5vcA=="});
    before["state"] = json!(told[0].state().as_str_name());
    let again = told_of_unknown(&before);
    assert_eq!(again[0].uuid(), b"abcdefghijklmnop");
    before["state"] = json!("TASK_RUNNING");
    assert_ne!(told_of_unknown(&before)[0].uuid(), b"abcdefghijklmnop");
}

/// A node that recorded a task and asked for its container, and died at that moment.
fn launching() -> (Node, String) {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    (node, container_id)
}

#[test]
fn what_was_never_started_is_started_again() {
    let (node, container_id) = launching();
    let (mut node, effects) = restart(node, &container_id, Some(FoundState::Unstarted));
    let spec = started(&effects);
    assert_eq!((&spec.container_id, spec.unless_sandbox), (&container_id, false));
    let mut effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    effects.extend(node.connect());
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);

    // Nothing at all was found: only its sandbox tells.
    let (node, container_id) = launching();
    let (mut node, effects) = restart(node, &container_id, None);
    assert!(started(&effects).unless_sandbox);
    let result = Err(StartError::MayHaveRun);
    let mut effects = node.step(Input::ContainerStarted { container_id, result });
    effects.extend(node.connect());
    assert_eq!(node.drain(effects), ["TASK_FAILED"]);

    // After a reboot nothing is started again.
    let (node, container_id) = launching();
    let found = FoundContainer { container_id, state: FoundState::Unstarted };
    let config = Config { boot_id: "later".into(), ..config() };
    let (mut node, mut effects) = Node::recovered_with(config, node.records, vec![found]);
    effects.extend(node.connect());
    assert_eq!(node.drain(effects), ["TASK_FAILED"]);
}

#[test]
fn a_start_that_was_told_in_part_is_told_in_full() {
    for (found, expected) in [
        (FoundState::Running { pid: 42 }, &["TASK_STARTING", "TASK_RUNNING"][..]),
        (
            FoundState::Exited { status: Some(0), limitation: None },
            &["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"][..],
        ),
    ] {
        let (mut node, container_id) = running();
        let is_running = |r: &wire::internal::AgentRecord| {
            matches!(&r.record,
            Some(internal::agent_record::Record::Update(u)) if u.status.state() == v1::TaskState::TaskRunning)
        };
        let at = node.records.iter().position(is_running).expect("it is stored");
        node.records.truncate(at);
        // Neither was acknowledged.
        node.records.retain(|r| !matches!(&r.record, Some(internal::agent_record::Record::Ack(_))));
        let (mut node, mut effects) = restart(node, &container_id, Some(found));
        effects.extend(node.connect());
        assert_eq!(node.drain(effects), expected);
    }
}

#[test]
fn an_agent_that_is_shut_down_ends_also_when_it_was_not_written_down_that_a_framework_is_gone() {
    let (mut node, container_id) = running();
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(0), limitation: None });
    assert_eq!(node.drain(effects), ["TASK_FINISHED"]);
    // It ended between the two.
    let before = node.records.len();
    node.records.retain(|r| !matches!(r.record, Some(Record::ForgetFramework(_))));
    assert_eq!(node.records.len(), before - 1);
    let (mut node, _) = Node::recovered(node.records, Vec::new());
    node.step(Input::MasterConnected { connection: MASTER });
    let shutdown = internal::Shutdown { message: "Machine is `DOWN`".to_owned() };
    let effects = node.hear(master_to_agent::Message::Shutdown(shutdown));
    assert!(effects.iter().any(|e| matches!(e, Effect::Exit { status: 0, .. })), "{effects:?}");
}
