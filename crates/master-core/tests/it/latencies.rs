//! What the core measures: between times that it is handed in.

use super::*;
use base::Histogram;

fn seconds(times: &Histogram) -> (u64, f64) {
    (times.count(), times.sum().as_secs_f64())
}

#[test]
fn waits_are_from_the_cause_to_the_effect() {
    let mut w = world();
    w.agent();
    w.pass(Duration::from_secs(3));
    let mut effects = w.framework(&[]);
    effects.extend(w.wait(1));
    let offer = offers(&effects).remove(0);
    let state = w.master.view();
    let (count, waited) = seconds(&state.latencies.offer_wait);
    assert!(count == 1 && (3.0..5.0).contains(&waited), "free since the agent came: {waited}");
    w.pass(Duration::from_secs(2));
    let cpus = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}});
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": [cpus]});
    w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "filters": {"refuse_seconds": 1000.0},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}}));
    let (count, held) = seconds(&w.master.view().latencies.offer_held);
    assert!(count == 1 && (2.0..4.0).contains(&held), "{held}");
    w.pass(Duration::from_secs(4));
    w.update("t", "TASK_STARTING", &[1; 16]);
    assert_eq!(seconds(&w.master.view().latencies.task_launch), (0, 0.0));
    w.update("t", "TASK_RUNNING", &[2; 16]);
    w.update("t", "TASK_RUNNING", &[3; 16]);
    let (count, launched) = seconds(&w.master.view().latencies.task_launch);
    assert!(count == 1 && (4.0..4.1).contains(&launched), "only the first time: {launched}");
    w.pass(Duration::from_secs(7));
    w.update("t", "TASK_FINISHED", &[4; 16]);
    assert_eq!(seconds(&w.master.view().latencies.task_launch).0, 1);
}

#[test]
fn an_agent_that_answers_again_is_not_marked_unreachable_and_that_is_counted() {
    let mut w = world();
    w.agent();
    let cancelled = |w: &World| {
        w.master.state().counters.get("master/slave_unreachable_canceled").copied().unwrap_or(0)
    };
    w.agent_says(agent_to_master::Message::Pong(internal::Pong {}));
    assert_eq!(cancelled(&w), 0, "nobody wanted it gone");
    assert_eq!(w.master.state().counters.get("master/messages_register_framework"), None);
    w.framework(&[]);
    assert_eq!(w.master.state().counters.get("master/messages_register_framework"), Some(&1));
}
