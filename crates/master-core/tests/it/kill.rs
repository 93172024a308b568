//! Tasks that an operator kills.

use super::launch::{accept, launch, task};
use super::*;
use master_to_agent::Message as ToAgent;

fn kill(task: &str, seconds: Option<i64>) -> OperatorCall {
    let policy = |seconds: i64| v1::KillPolicy {
        grace_period: Some(v1::DurationInfo { nanoseconds: seconds * 1_000_000_000 }),
    };
    OperatorCall::KillTask {
        framework_id: "m-0000".into(),
        task_id: task.into(),
        kill_policy: seconds.map(policy),
    }
}

/// A framework whose tasks outlive their agent's absence, and an offer.
fn ready() -> (World, Value) {
    let mut w = world();
    let mut info = framework_info(&["PARTITION_AWARE"]);
    info["roles"] = json!(["*"]);
    info["checkpoint"] = json!(true);
    w.subscribe(STREAM, info);
    let offer = offers(&w.agent()).remove(0);
    (w, offer)
}

/// Who asked the agent for what end, and how long it has.
fn kills(effects: &[Effect]) -> Vec<(&str, Option<&str>, Option<i64>)> {
    let kills = to_agent(effects).into_iter().filter_map(|message| match message {
        ToAgent::KillTask(kill) => Some((
            kill.task_id.value.as_str(),
            kill.asked_by.as_deref(),
            kill.kill_policy.and_then(|p| p.grace_period).map(|g| g.nanoseconds / 1_000_000_000),
        )),
        _ => None,
    });
    kills.collect()
}

#[test]
fn the_agent_is_told_that_an_operator_asks_also_when_it_was_away() {
    let (mut w, offer) = ready();
    w.call(accept(&[&offer], launch(&[task("t")])));
    w.update("t", "TASK_RUNNING", &[1; 16]);
    let (status, text, effects) = w.operator(kill("t", Some(7)));
    assert_eq!((status, text.as_str()), (202, ""));
    assert_eq!(kills(&effects), [("t", Some("an operator"), Some(7))]);
    let logged = effects.iter().find_map(|e| match e {
        Effect::Log { text } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(logged, Some("an operator kills task 't' of framework m-0000"));
    w.step(Input::AgentClosed { connection: AGENT });
    let mut again = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    again.info.id = Some("m-S0".into());
    let view = w.master.view();
    let framework = view.framework("m-0000").expect("it");
    again.frameworks = vec![framework.info.clone()];
    again.tasks = framework.tasks.values().map(|t| t.wire.clone()).collect();
    let effects = w.register(AGENT, again);
    assert_eq!(kills(&effects), [("t", Some("an operator"), None)]);

    // What the framework asked for first stays its own.
    let (mut w, offer) = ready();
    w.call(accept(&[&offer], launch(&[task("t")])));
    let call = json!({"type": "KILL", "kill": {"task_id": {"value": "t"}}});
    assert_eq!(kills(&w.call(call).2), [("t", None, None)]);
    w.operator(kill("t", None));
    let on = w.master.view().agents.values().next().expect("it").clone();
    assert!(on.killed.len() == 1 && on.killed_by_operator.is_empty());
}

#[test]
fn what_can_not_be_killed_is_refused_with_the_reason() {
    let (mut w, offer) = ready();
    let refused = |w: &mut World, id: &str, status: u16, why: &str| {
        let (got, text, effects) = w.operator(kill(id, None));
        assert_eq!((got, text.as_str(), effects.len()), (status, why, 0));
    };
    refused(&mut w, "t", 404, "Framework 'm-0000' has no task 't'");
    w.call(accept(&[&offer], launch(&[task("t"), task("u")])));
    w.update("t", "TASK_FINISHED", &[1; 16]);
    refused(&mut w, "t", 409, "Task 't' has ended already: TASK_FINISHED");
    w.step(Input::AgentClosed { connection: AGENT });
    w.wait(700);
    let away = "The agent of task 'u' is unreachable: ask again when it is back";
    refused(&mut w, "u", 409, away);
    let nobody =
        OperatorCall::KillTask { framework_id: "x".into(), task_id: "t".into(), kill_policy: None };
    let (status, text, _) = w.operator(nobody);
    assert_eq!((status, text.as_str()), (404, "No framework 'x' is subscribed"));
}
