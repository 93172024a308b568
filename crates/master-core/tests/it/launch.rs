//! ACCEPT: launches and their validation, kill, reconciliation, the life of a task.

use super::*;

fn resource(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

pub(crate) fn task(id: &str) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": {"value": "m-S0"}, "command": {"value": "true"},
        "resources": [resource("cpus", 1.0), resource("mem", 64.0)]})
}

fn with(mut task: Value, name: &str, value: Value) -> Value {
    task[name] = value;
    task
}

fn without(mut task: Value, name: &str) -> Value {
    task.as_object_mut().expect("a task").remove(name);
    task
}

pub(crate) fn accept(offers: &[&Value], operations: Value) -> Value {
    let ids: Vec<&Value> = offers.iter().map(|o| &o["id"]).collect();
    json!({"type": "ACCEPT", "accept": {"offer_ids": ids, "operations": operations, "filters": {"refuse_seconds": 0.0}}})
}

pub(crate) fn launch(tasks: &[Value]) -> Value {
    json!([{"type": "LAUNCH", "launch": {"task_infos": tasks}}])
}

fn ready(capabilities: &[&str]) -> (World, Value) {
    let mut w = world();
    w.framework(capabilities);
    let offer = offers(&w.agent()).remove(0);
    (w, offer)
}

#[track_caller]
fn refused(task: Value, why: &str) {
    let (mut w, offer) = ready(&[]);
    let (_, _, effects) = w.call(accept(&[&offer], launch(&[task])));
    let text = |s: &str| s.to_owned();
    let want = (text("TASK_ERROR"), text("SOURCE_MASTER"), text("REASON_TASK_INVALID"), text(why));
    assert_eq!(status(&effects), want);
    assert!(to_agent(&effects).is_empty());
    assert_eq!(offers(&effects).len(), 1, "everything is offered again");
}

#[test]
fn invalid_tasks_are_refused_with_their_reason() {
    let t = || task("t");
    let id = |id: &str| json!({"value": id});
    refused(with(t(), "task_id", id("")), "ID must not be empty");
    refused(with(t(), "task_id", id("..")), "'..' is disallowed");
    refused(with(t(), "task_id", id("a/b")), "'a/b' contains invalid characters");
    refused(
        with(t(), "task_id", id(&"x".repeat(256))),
        "ID must not be greater than 255 characters",
    );
    refused(
        with(t(), "agent_id", id("nope")),
        "Task uses invalid agent nope while agent m-S0 is expected",
    );
    let negative = json!({"nanoseconds": -1});
    refused(
        with(t(), "kill_policy", json!({"grace_period": negative})),
        "Task's 'kill_policy.grace_period' must be non-negative",
    );
    refused(
        with(t(), "max_completion_time", negative),
        "Task's `max_completion_time` must be non-negative",
    );
    refused(
        with(t(), "check", json!({"type": "COMMAND"})),
        "Task uses invalid check: Expecting 'command' to be set for COMMAND check",
    );
    refused(
        with(t(), "check", json!({})),
        "Task uses invalid check: CheckInfo must specify 'type'",
    );
    refused(
        with(t(), "health_check", json!({"delay_seconds": 1})),
        "Task uses invalid health check: HealthCheck must specify 'type'",
    );
    refused(
        with(t(), "health_check", json!({"type": "HTTP"})),
        "Task uses invalid health check: Expecting 'http' to be set for HTTP health check",
    );
    refused(
        with(t(), "health_check", json!({"type": "HTTP", "http": {"port": 1, "path": "x"}})),
        "Task uses invalid health check: The path 'x' of HTTP check must start with '/'",
    );
    refused(with(t(), "resources", json!([])), "Task uses no resources");
    refused(
        with(t(), "limits", json!({"cpus": {"value": 0.5}})),
        "The cpu limit must be greater than or equal to the cpu request",
    );
    refused(
        with(t(), "limits", json!({"disk": {"value": 1}})),
        "Only cpus and mem may be included in a task's resource limits",
    );
    refused(
        with(t(), "limits", json!({"cpus": {"value": "Infinity"}})),
        "Agent is not capable of handling task resource limits",
    );
    let neither =
        "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present";
    refused(without(t(), "command"), neither);
    let executor = json!({"executor_id": {"value": "e"}, "command": {"value": "x"}});
    refused(with(t(), "executor", executor.clone()), neither);
    let own = |executor: Value| with(without(t(), "command"), "executor", executor);
    refused(own(json!({"executor_id": {"value": "e"}})), "'ExecutorInfo.command' must be set");
    refused(
        own(with(executor.clone(), "type", json!("DEFAULT"))),
        "'ExecutorInfo.type' must be 'CUSTOM'",
    );
    refused(
        own(with(executor.clone(), "framework_id", id("other"))),
        "ExecutorInfo has an invalid FrameworkID (Actual: other vs Expected: m-0000)",
    );
    refused(
        own(with(executor, "shutdown_grace_period", json!({"nanoseconds": -1}))),
        "ExecutorInfo's 'shutdown_grace_period' must be non-negative",
    );
    refused(
        with(t(), "command", json!({"value": "x", "environment": {"variables": [{"name": "A"}]}})),
        "Task's `CommandInfo` is invalid: Environment variable 'A' of type 'VALUE' must have a value set",
    );
    refused(
        with(t(), "container", json!({"type": "DOCKER"})),
        "Task's `ContainerInfo` is invalid: DockerInfo 'docker' is not set for DOCKER typed ContainerInfo",
    );
    refused(
        with(t(), "resources", json!([resource("cpus", 5.0), resource("mem", 64.0)])),
        "Total resources cpus(allocated: *):5; mem(allocated: *):64 required by task and its executor is more than available cpus(allocated: *):4; mem(allocated: *):1024; disk(allocated: *):1000; ports(allocated: *):[31000-31009]",
    );
    let mixed = json!([resource("cpus", 1.0), with(resource("cpus", 1.0), "revocable", json!({}))]);
    refused(
        with(t(), "resources", mixed),
        "Task mixes revocable and non-revocable resources: Cannot use both revocable and non-revocable 'cpus' at the same time",
    );
}

#[test]
fn invalid_groups_are_refused_whole() {
    let executor = json!({"type": "DEFAULT", "executor_id": {"value": "e"}, "framework_id": {"value": "m-0000"},
        "resources": [resource("cpus", 0.1), resource("mem", 32.0), resource("disk", 32.0)]});
    let check = |executor: Value, tasks: Value, why: &str| {
        let (mut w, offer) = ready(&[]);
        let group = json!([{"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": tasks}}}]);
        let (_, _, effects) = w.call(accept(&[&offer], group));
        let updates: Vec<Value> =
            events(&effects, STREAM).into_iter().filter(|e| e["type"] == "UPDATE").collect();
        assert_eq!(updates.len(), 2);
        for update in updates {
            let status = &update["update"]["status"];
            assert_eq!(
                (&status["reason"], &status["message"]),
                (&json!("REASON_TASK_GROUP_INVALID"), &json!(why))
            );
        }
    };
    let two = json!([task("a"), task("b")]);
    check(
        without(executor.clone(), "framework_id"),
        two.clone(),
        "'ExecutorInfo.framework_id' must be set",
    );
    check(without(executor.clone(), "type"), two.clone(), "'ExecutorInfo.type' must be set");
    check(
        with(executor.clone(), "command", json!({"value": "x"})),
        two.clone(),
        "'ExecutorInfo.command' must not be set for 'DEFAULT' executor",
    );
    let less = |resources: Value| with(executor.clone(), "resources", resources);
    check(
        less(json!([])),
        two.clone(),
        "Executor 'e' uses less CPUs (0) than the minimum required (0.01)",
    );
    check(
        less(json!([resource("cpus", 0.1), resource("mem", 16.0)])),
        two.clone(),
        "Executor 'e' uses less memory (16MB) than the minimum required (32MB)",
    );
    check(
        less(json!([resource("cpus", 0.1), resource("mem", 32.0)])),
        two,
        "Executor 'e' uses no disk",
    );
    check(
        executor,
        json!([task("a"), with(task("b"), "resources", json!([]))]),
        "Task 'b' is invalid: Task uses no resources",
    );
}

#[test]
fn offers_that_do_not_hold_drop_every_task() {
    let check =
        |capabilities: &[&str], offers: &dyn Fn(&Value) -> Vec<Value>, state: &str, why: &str| {
            let (mut w, offer) = ready(capabilities);
            let chosen = offers(&offer);
            let (_, _, effects) =
                w.call(accept(&chosen.iter().collect::<Vec<_>>(), launch(&[task("t")])));
            let (got, source, reason, message) = status(&effects);
            assert_eq!(
                (got.as_str(), source.as_str(), reason.as_str()),
                (state, "SOURCE_MASTER", "REASON_INVALID_OFFERS")
            );
            assert_eq!(message, format!("Task launched with invalid offers: {why}"));
        };
    check(&[], &|_| vec![], "TASK_LOST", "No offers specified");
    check(&["PARTITION_AWARE"], &|_| vec![], "TASK_DROPPED", "No offers specified");
    check(&[], &|o| vec![o.clone(), o.clone()], "TASK_LOST", "Duplicate offer m-O0 in offer list");
    check(&[], &|_| vec![json!({"id": {"value": "x"}})], "TASK_LOST", "Offer x is no longer valid");
}

#[test]
fn a_task_lives_until_its_end_is_acknowledged() {
    let (mut w, offer) = ready(&[]);
    let (_, _, effects) = w.call(accept(&[&offer], launch(&[task("t")])));
    let run = to_agent(&effects);
    assert!(
        matches!(run[0], master_to_agent::Message::RunTask(r) if r.task.task_id.value == "t" && r.launch_executor)
    );
    let left = offers(&effects).remove(0);
    assert_eq!(left["resources"][0]["scalar"]["value"], 3.0);
    let (_, _, effects) = w.call(accept(&[&left], launch(&[task("t")])));
    assert_eq!(status(&effects).3, "Task has duplicate ID: t");

    let effects = w.update("t", "TASK_FINISHED", &[7; 16]);
    assert_eq!(types(&effects, STREAM)[0], "UPDATE");
    assert!(!offers(&effects).is_empty(), "its resources are free before the acknowledgement");
    assert_eq!(w.master.view().framework("m-0000").expect("it").tasks.len(), 1);
    let acknowledge = json!({"type": "ACKNOWLEDGE", "acknowledge": {"agent_id": {"value": "m-S0"},
        "task_id": {"value": "t"}, "uuid": "BwcHBwcHBwcHBwcHBwcHBw=="}});
    let (_, _, effects) = w.call(acknowledge);
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::AcknowledgeStatus(_)]));
    let view = w.master.view();
    let framework = view.framework("m-0000").expect("it");
    assert_eq!((framework.tasks.len(), framework.completed_tasks.len()), (0, 1));
}

#[test]
fn a_status_that_was_acknowledged_is_not_told_again() {
    let (mut w, offer) = ready(&[]);
    w.call(accept(&[&offer], launch(&[task("t")])));
    w.update("t", "TASK_RUNNING", &[6; 16]);
    let acknowledge = |uuid: &str| {
        json!({"type": "ACKNOWLEDGE", "acknowledge": {"agent_id": {"value": "m-S0"},
        "task_id": {"value": "t"}, "uuid": uuid}})
    };
    w.call(acknowledge("BgYGBgYGBgYGBgYGBgYGBg=="));
    // The agent died before it kept that.
    let effects = w.update("t", "TASK_RUNNING", &[6; 16]);
    assert_eq!(types(&effects, STREAM), [] as [&str; 0]);
    let [master_to_agent::Message::AcknowledgeStatus(again)] = to_agent(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(again.uuid, [6; 16]);

    // It was away when its end was acknowledged.
    w.update("t", "TASK_FINISHED", &[7; 16]);
    w.step(Input::AgentClosed { connection: AGENT });
    let (_, _, effects) = w.call(acknowledge("BwcHBwcHBwcHBwcHBwcHBw=="));
    assert!(to_agent(&effects).is_empty());
    let mut again = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    again.info.id = Some("m-S0".into());
    w.register(AGENT, again);
    let effects = w.update("t", "TASK_FINISHED", &[7; 16]);
    assert_eq!(types(&effects, STREAM), [] as [&str; 0]);
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::AcknowledgeStatus(_)]));
    let view = w.master.view();
    let framework = view.framework("m-0000").expect("it");
    assert_eq!((framework.tasks.len(), framework.completed_tasks.len()), (0, 1));
}

#[test]
fn kill_is_forwarded_or_reconciled() {
    let (mut w, offer) = ready(&[]);
    w.call(accept(&[&offer], launch(&[task("t")])));
    let kill = |id: &str| json!({"type": "KILL", "kill": {"task_id": {"value": id}, "agent_id": {"value": "m-S0"}}});
    let (_, _, effects) = w.call(kill("t"));
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::KillTask(_)]));
    let (_, _, effects) = w.call(kill("ghost"));
    assert_eq!(status(&effects).0, "TASK_LOST");
    assert_eq!(status(&effects).3, "Reconciliation: Task is unknown to the agent");
}

#[test]
fn reconciliation_says_what_is_known() {
    let (mut w, offer) = ready(&["PARTITION_AWARE"]);
    w.call(accept(&[&offer], launch(&[task("t")])));
    w.update("t", "TASK_RUNNING", &[1; 16]);
    let (_, _, effects) = w.call(json!({"type": "RECONCILE", "reconcile": {"tasks": []}}));
    let text = |s: &str| s.to_owned();
    let want = |state: &str, message: &str| {
        (
            text(state),
            text("SOURCE_MASTER"),
            text("REASON_RECONCILIATION"),
            format!("Reconciliation: {message}"),
        )
    };
    assert_eq!(status(&effects), want("TASK_RUNNING", "Latest task state"));
    let mut explicit = |task: Value| {
        let (_, _, effects) = w.call(json!({"type": "RECONCILE", "reconcile": {"tasks": [task]}}));
        status(&effects)
    };
    let known = explicit(json!({"task_id": {"value": "t"}}));
    assert_eq!(known, want("TASK_RUNNING", "Latest task state"));
    let on_agent = explicit(json!({"task_id": {"value": "x"}, "agent_id": {"value": "m-S0"}}));
    assert_eq!(on_agent, want("TASK_GONE", "Task is unknown to the agent"));
    let nowhere = explicit(json!({"task_id": {"value": "x"}}));
    assert_eq!(nowhere, want("TASK_UNKNOWN", "Task is unknown"));
}
