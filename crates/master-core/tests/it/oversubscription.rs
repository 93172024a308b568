//! What agents offer beyond what they have (spec/master.md 3.3, section 8).

use crate::*;
use resources::{Entry, Resources};

/// An agent that has 4 cpus and this much on loan.
fn oversubscribed(cpus: i64) -> internal::Register {
    internal::Register {
        oversubscribed: estimate(cpus),
        ..registration("cpus:4;mem:1024;disk:1000")
    }
}

fn estimate(cpus: i64) -> Vec<v1::Resource> {
    let mut all = Resources::new();
    if cpus > 0 {
        all.add(Entry::revocable_scalar("cpus", cpus * 1000));
    }
    all.to_wire()
}

fn update(w: &mut World, cpus: i64) -> Vec<Effect> {
    let message = internal::UpdateAgent { oversubscribed: estimate(cpus) };
    w.agent_says(agent_to_master::Message::UpdateAgent(message))
}

/// Revocable cpus of an offer.
fn revocable(offer: &Value) -> f64 {
    let all = offer["resources"].as_array().expect("resources");
    let revocable = all.iter().filter(|r| r.get("revocable").is_some());
    revocable.filter_map(|r| r["scalar"]["value"].as_f64()).sum()
}

#[test]
fn only_frameworks_with_revocable_resources_are_offered_them() {
    for (capabilities, expected) in [(&[][..], 0.0), (&["REVOCABLE_RESOURCES"][..], 2.0)] {
        let mut w = world();
        w.framework(capabilities);
        let offers = offers(&w.register(AGENT, oversubscribed(2)));
        assert_eq!(offers.iter().map(revocable).sum::<f64>(), expected);
    }
}

#[test]
fn a_changed_estimate_takes_offers_of_the_old_one_back() {
    for changed in [1, 3, 0] {
        let mut w = world();
        w.framework(&["REVOCABLE_RESOURCES"]);
        w.register(AGENT, oversubscribed(2));
        assert_eq!(update(&mut w, 2), [], "nothing has changed");
        let mut effects = update(&mut w, changed);
        assert_eq!(types(&effects, STREAM)[0], "RESCIND");
        effects.extend(w.wait(1));
        let new: Vec<f64> = offers(&effects).iter().map(revocable).collect();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let expected = changed as f64;
        assert_eq!(new, [expected]);
    }
}

#[test]
fn offers_without_revocable_resources_are_not_touched_by_an_estimate() {
    let mut w = world();
    w.framework(&[]);
    w.register(AGENT, oversubscribed(2));
    let effects = update(&mut w, 1);
    assert_eq!(types(&effects, STREAM), [] as [&str; 0]);
}

#[test]
fn an_estimate_below_what_is_used_ends_no_task() {
    let mut w = world();
    w.framework(&["REVOCABLE_RESOURCES"]);
    let offer = offers(&w.register(AGENT, oversubscribed(2))).remove(0);
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 2.0}, "revocable": {}}]});
    let accept = json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}});
    let (status, _, effects) = w.call(accept);
    assert_eq!(status, 202);
    assert!(effects.iter().any(|e| matches!(e, Effect::SendToAgent { message, .. }
        if matches!(&**message, master_to_agent::Message::RunTask(_)))));
    let mut effects = update(&mut w, 1);
    effects.extend(w.wait(2));
    assert!(offers(&effects).iter().all(|o| revocable(o) == 0.0), "{effects:?}");
    assert!(!effects.iter().any(|e| matches!(e, Effect::SendToAgent { .. })), "{effects:?}");
    // When it ends there is what the estimate says.
    let mut effects = w.update("t", "TASK_FINISHED", &[1; 16]);
    effects.extend(w.wait(2));
    assert_eq!(offers(&effects).iter().map(revocable).sum::<f64>(), 1.0);
}

#[test]
fn an_impossible_estimate_changes_nothing_and_is_counted() {
    let mut w = world();
    w.framework(&["REVOCABLE_RESOURCES"]);
    w.register(AGENT, oversubscribed(2));
    let mut bad = estimate(1);
    bad[0].scalar = Some(v1::value::Scalar { value: -1.0 });
    let message = internal::UpdateAgent { oversubscribed: bad };
    let effects = w.agent_says(agent_to_master::Message::UpdateAgent(message));
    assert_eq!(effects, []);
    assert_eq!(w.master.view().counters["master/invalid_agent_updates"], 1);
}
