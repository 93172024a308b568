//! Offer overlap: several frameworks are offered the same, the first ACCEPT wins.

use crate::*;

/// Streams of the frameworks of role `a`: `m-0000` to `m-0002`, of which the last is partition-aware.
const STREAMS: [Token; 3] = [Token(1), Token(2), Token(3)];

fn overlapping(overlap: &str) -> Config {
    let offer_overlap = [("a".to_owned(), overlap.parse().expect("an overlap"))].into();
    Config { offer_overlap, ..config() }
}

fn racers(w: &mut World) {
    for (at, stream) in STREAMS.into_iter().enumerate() {
        let mut info = framework_info(if at == 2 { &["PARTITION_AWARE"] } else { &[] });
        info["roles"] = json!(["a"]);
        info["failover_timeout"] = json!(1000.0);
        w.subscribe(stream, info);
    }
}

/// Three frameworks, and the offers of the only agent that each of them has.
fn race(config: Config) -> (World, Vec<Value>) {
    let mut w = world_with(config, Vec::new());
    racers(&mut w);
    let effects = w.agent();
    let offers = STREAMS.iter().flat_map(|s| offers_to(&effects, *s)).collect();
    (w, offers)
}

fn offers_to(effects: &[Effect], stream: Token) -> Vec<Value> {
    let all = events(effects, stream).into_iter().filter(|e| e["type"] == "OFFERS");
    all.flat_map(|e| e["offers"]["offers"].as_array().cloned().unwrap_or_default()).collect()
}

fn call_of(w: &mut World, framework: usize, mut call: Value) -> Vec<Effect> {
    call["framework_id"] = json!({"value": format!("m-000{framework}")});
    let stream_id = format!("stream-{}", framework + 1);
    let (status, text, effects) = w.raw_call(call, Some(&stream_id));
    assert_eq!(status, 202, "{text}");
    effects
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

fn accept(offers: &[&Value], operations: Value) -> Value {
    let ids: Vec<&Value> = offers.iter().map(|o| &o["id"]).collect();
    json!({"type": "ACCEPT", "accept": {"offer_ids": ids, "operations": operations,
        "filters": {"refuse_seconds": 0.0}}})
}

fn launch(id: &str, cpus: f64) -> Value {
    let task = json!({"name": id, "task_id": {"value": id}, "agent_id": {"value": "m-S0"},
        "command": {"value": "true"}, "resources": [scalar("cpus", cpus), scalar("mem", 64.0)]});
    json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}])
}

fn rescinded(effects: &[Effect], stream: Token) -> Vec<Value> {
    let all = events(effects, stream).into_iter().filter(|e| e["type"] == "RESCIND");
    all.map(|e| e["rescind"]["offer_id"].clone()).collect()
}

#[track_caller]
fn lost(effects: &[Effect], stream: Token) -> (String, String, String) {
    let update = events(effects, stream).into_iter().find(|e| e["type"] == "UPDATE");
    let status = update.expect("an update")["update"]["status"].clone();
    let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"), text("message"))
}

fn cpus(offer: &Value) -> f64 {
    let resources = offer["resources"].as_array().expect("resources");
    let cpus = resources.iter().filter(|r| r["name"] == "cpus");
    cpus.map(|r| r["scalar"]["value"].as_f64().expect("a number")).sum()
}

#[test]
fn the_first_accept_wins_and_a_late_one_is_told_so() {
    let (mut w, offers) = race(overlapping("all"));
    assert_eq!(offers.len(), 3);
    let effects = call_of(&mut w, 1, accept(&[&offers[1]], launch("t", 4.0)));
    assert!(to_agent(&effects).iter().any(|m| matches!(m, master_to_agent::Message::RunTask(_))));
    for loser in [0, 2] {
        assert_eq!(rescinded(&effects, STREAMS[loser]), [offers[loser]["id"].clone()]);
    }
    assert!(rescinded(&effects, STREAMS[1]).is_empty());
    for (loser, state) in [(0, "TASK_LOST"), (2, "TASK_DROPPED")] {
        let effects = call_of(&mut w, loser, accept(&[&offers[loser]], launch("late", 1.0)));
        let message = format!(
            "Task launched with invalid offers: Offer {} is no longer valid",
            offers[loser]["id"]["value"].as_str().expect("an id")
        );
        let want = (state.to_owned(), "REASON_INVALID_OFFERS".to_owned(), message);
        assert_eq!(lost(&effects, STREAMS[loser]), want);
        assert!(to_agent(&effects).is_empty());
    }
    let used = w.master.state().frameworks.values().map(|f| f.used.scalar("cpus"));
    assert_eq!(used.sum::<i64>(), 4000, "nothing stays with those who lost");
}

#[test]
fn what_the_winner_leaves_is_offered_to_everybody_again() {
    let (mut w, offers) = race(overlapping("all"));
    let effects = call_of(&mut w, 0, accept(&[&offers[0]], launch("t", 1.0)));
    for stream in STREAMS {
        let again = offers_to(&effects, stream);
        assert_eq!(again.iter().map(cpus).collect::<Vec<_>>(), [3.0]);
    }
    assert_eq!(w.master.state().counters.get("master/soft_offers_lost"), Some(&2));
    assert_eq!(w.master.state().counters.get("master/soft_offers_claimed"), Some(&1));
}

#[test]
fn an_accept_that_uses_nothing_takes_nothing_from_anybody() {
    let (mut w, offers) = race(overlapping("all"));
    let mut call = accept(&[&offers[0]], json!([]));
    call["accept"]["filters"] = json!({"refuse_seconds": 60.0});
    let effects = call_of(&mut w, 0, call);
    assert!(STREAMS.iter().all(|s| events(&effects, *s).is_empty()), "{effects:?}");
    let effects = call_of(&mut w, 1, accept(&[&offers[1]], launch("t", 9.0)));
    assert_eq!(lost(&effects, STREAMS[1]).0, "TASK_ERROR");
    assert!(rescinded(&effects, STREAMS[2]).is_empty(), "a task that is invalid uses nothing");
}

#[test]
fn no_more_frameworks_than_the_overlap_have_an_offer() {
    let (mut w, offers) = race(overlapping("2"));
    assert_eq!(offers.len(), 2);
    let decline = json!({"type": "DECLINE", "decline": {"offer_ids": [offers[0]["id"]],
        "filters": {"refuse_seconds": 60.0}}});
    let effects = call_of(&mut w, 0, decline);
    assert_eq!(offers_to(&effects, STREAMS[2]).len(), 1);
    let question =
        master_core::why::Question { framework: Some("m-0002".to_owned()), ..Default::default() };
    let answer = w.master.why(w.now, &question);
    assert_eq!(answer[0].reasons[0].reason, "TAKEN", "it has the offer itself");
}

#[test]
fn why_names_the_overlap() {
    let (w, _) = race(overlapping("2"));
    let question =
        master_core::why::Question { framework: Some("m-0002".to_owned()), ..Default::default() };
    let cause = w.master.why(w.now, &question).remove(0).reasons.remove(0);
    assert_eq!(cause.reason, "OVERLAP");
    assert!(cause.message.contains("overlap of role 'a'"), "{}", cause.message);
}

#[test]
fn soft_offers_of_one_agent_can_be_accepted_together() {
    let (mut w, offers) = race(overlapping("all"));
    // The second framework's task ends: what it gave back is offered besides.
    let effects = call_of(&mut w, 1, accept(&[&offers[1]], launch("t", 3.0)));
    let first = offers_to(&effects, STREAMS[0]).remove(0);
    let status = json!({"task_id": {"value": "t"}, "state": "TASK_FINISHED",
        "source": "SOURCE_EXECUTOR", "agent_id": {"value": "m-S0"}});
    let status: v1::TaskStatus = wire::json::from_value(&status).expect("a status");
    let update =
        internal::StatusUpdate { framework_id: "m-0001".into(), status, latest_state: None };
    let effects = w.agent_says(agent_to_master::Message::StatusUpdate(update));
    let second = offers_to(&effects, STREAMS[0]).remove(0);
    assert_eq!((cpus(&first), cpus(&second)), (1.0, 3.0));
    let effects = call_of(&mut w, 0, accept(&[&first, &second], launch("u", 4.0)));
    assert!(to_agent(&effects).iter().any(|m| matches!(m, master_to_agent::Message::RunTask(_))));
    assert_eq!(rescinded(&effects, STREAMS[1]).len(), 2);
}

#[test]
fn a_reservation_wins_as_well() {
    let (mut w, offers) = race(overlapping("all"));
    let mut reserved = scalar("cpus", 1.0);
    reserved["reservations"] = json!([{"type": "DYNAMIC", "role": "a"}]);
    let operations = json!([{"type": "RESERVE", "reserve": {"resources": [reserved]}}]);
    let effects = call_of(&mut w, 0, accept(&[&offers[0]], operations));
    for loser in [1, 2] {
        assert_eq!(rescinded(&effects, STREAMS[loser]).len(), 1);
        let again = offers_to(&effects, STREAMS[loser]);
        assert_eq!(again.iter().map(cpus).collect::<Vec<_>>(), [4.0], "with the reservation");
    }
}

#[test]
fn an_operators_reservation_needs_no_soft_offer_back_but_ends_those_that_had_it() {
    let (mut w, offers) = race(overlapping("all"));
    let mut reserved = scalar("cpus", 4.0);
    reserved["reservations"] = json!([{"type": "DYNAMIC", "role": "b"}]);
    let operation = json!({"type": "RESERVE", "reserve": {"resources": [reserved]}});
    let operation = Box::new(wire::json::from_value(&operation).expect("an operation"));
    let call = OperatorCall::Apply { agent_id: "m-S0".to_owned(), operation, principal: None };
    let (status, text, effects) = w.operator(call);
    assert_eq!(status, 202, "{text}");
    for (framework, offer) in offers.iter().enumerate() {
        assert_eq!(rescinded(&effects, STREAMS[framework]), [offer["id"].clone()]);
        let again = offers_to(&effects, STREAMS[framework]);
        assert_eq!(again.iter().map(cpus).collect::<Vec<_>>(), [0.0]);
    }
}

#[test]
fn an_old_soft_offer_is_rescinded() {
    let offer_timeout = Some(Duration::from_secs(30));
    let (mut w, offers) = race(Config { offer_timeout, ..overlapping("all") });
    let effects = w.wait(31);
    for (framework, offer) in offers.iter().enumerate() {
        assert_eq!(rescinded(&effects, STREAMS[framework]), [offer["id"].clone()]);
    }
}

#[test]
fn frameworks_and_agents_that_go_take_their_soft_offers_with_them() {
    let (mut w, offers) = race(overlapping("2"));
    let effects = w.step(Input::StreamClosed { stream: STREAMS[0] });
    assert_eq!(offers_to(&effects, STREAMS[2]).len(), 1, "its place is free");
    let effects = w.step(Input::AgentClosed { connection: AGENT });
    assert_eq!(rescinded(&effects, STREAMS[1]), [offers[1]["id"].clone()]);
    assert_eq!(rescinded(&effects, STREAMS[2]).len(), 1);
    let effects = call_of(&mut w, 1, accept(&[&offers[1]], launch("late", 1.0)));
    assert_eq!(lost(&effects, STREAMS[1]).0, "TASK_LOST");
}

#[test]
fn a_claim_beyond_the_limit_is_dropped() {
    let (mut w, offers) = race(overlapping("all"));
    let second = Token(AGENT.0 + 1);
    let mut other = registration("cpus:4;mem:1024");
    other.info.port = Some(5052);
    let effects = w.register(second, other);
    let more = offers_to(&effects, STREAMS[2]).remove(0);
    let limit = json!({"role": "a", "limits": {"cpus": {"value": 5.0}}});
    let configs = vec![wire::json::from_value(&limit).expect("a config")];
    let call = OperatorCall::UpdateQuota { force: false, configs };
    w.step(Input::Operator { token: Token(8), call });
    call_of(&mut w, 0, accept(&[&offers[0]], launch("t", 4.0)));
    let mut task = launch("u", 2.0);
    task[0]["launch"]["task_infos"][0]["agent_id"] = more["agent_id"].clone();
    let effects = call_of(&mut w, 2, accept(&[&more], task.clone()));
    let (state, reason, message) = lost(&effects, STREAMS[2]);
    assert_eq!((state.as_str(), reason.as_str()), ("TASK_DROPPED", "REASON_INVALID_OFFERS"));
    assert!(message.contains("limits of the role"), "{message}");
    let again = offers_to(&effects, STREAMS[2]).remove(0);
    assert_eq!(cpus(&again), 1.0, "what the limit leaves");
    task[0]["launch"]["task_infos"][0]["resources"] = json!([scalar("cpus", 1.0)]);
    let effects = call_of(&mut w, 2, accept(&[&again], task));
    assert!(to_agent(&effects).iter().any(|m| matches!(m, master_to_agent::Message::RunTask(_))));
}

fn set(w: &mut World, role: &str, overlap: Option<&str>) -> (u16, String) {
    let overlap = overlap.map(|o| o.parse().expect("an overlap"));
    let (status, text, _) = w.operator(OperatorCall::SetOverlap { role: role.to_owned(), overlap });
    (status, text)
}

#[test]
fn operators_set_the_overlap_and_the_next_master_knows_it() {
    let mut w = world_with(overlapping("2"), Vec::new());
    assert_eq!(set(&mut w, "b", Some("all")), (200, String::new()));
    assert_eq!(set(&mut w, "a", Some("3")), (200, String::new()));
    let shown = |w: &World| {
        let overlaps = w.master.state().overlaps.iter();
        overlaps.map(|(role, overlap)| format!("{role}={overlap}")).collect::<Vec<_>>()
    };
    assert_eq!(shown(&w), ["a=3", "b=all"]);
    let registry = w.registry.clone().into_iter().collect();
    let mut next = world_with(overlapping("2"), registry);
    assert_eq!(shown(&next), ["a=3", "b=all"]);
    racers(&mut next);
    let effects = next.agent();
    assert_eq!(STREAMS.iter().filter(|s| offers_to(&effects, **s).len() == 1).count(), 3);
    assert_eq!(set(&mut next, "a", None), (200, String::new()));
    assert_eq!(set(&mut next, "b", None), (200, String::new()));
    assert_eq!(shown(&next), ["a=2"], "as the flag says");
    assert!(next.registry.keys().all(|(section, _)| section != "offer_overlap"));
}

#[test]
fn an_overlap_for_an_invalid_role_is_refused() {
    let roles = Some(BTreeSet::from(["a".to_owned()]));
    let mut w = world_with(Config { roles, ..config() }, Vec::new());
    let (status, text) = set(&mut w, "a//b", Some("2"));
    assert_eq!(status, 400);
    assert!(text.starts_with("'role': Invalid role 'a//b'"), "{text}");
    let (status, text) = set(&mut w, "b", Some("2"));
    assert_eq!((status, text.contains("whitelist")), (400, true), "{text}");
    assert_eq!(set(&mut w, "*", Some("all")).0, 200);
}

#[test]
fn a_changed_overlap_ends_offers_that_were_made_for_another() {
    let (mut w, offers) = race(overlapping("all"));
    assert_eq!(offers.len(), 3);
    let overlap = Some("1".parse().expect("an overlap"));
    let (_, _, mut effects) = w.operator(OperatorCall::SetOverlap { role: "a".into(), overlap });
    effects.extend(w.wait(1));
    let ended = STREAMS.iter().map(|s| rescinded(&effects, *s).len()).sum::<usize>();
    assert_eq!(ended, 3);
    let new = STREAMS.iter().map(|s| offers_to(&effects, *s).len()).sum::<usize>();
    assert_eq!(new, 1, "one of them has it now");
}

#[test]
fn a_guarantee_does_not_wait_for_soft_offers_of_others() {
    let (mut w, offers) = race(overlapping("all"));
    assert_eq!(offers.len(), 3);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["g"]);
    assert!(offers_to(&w.subscribe(Token(4), info), Token(4)).is_empty());
    let config =
        json!({"role": "g", "guarantees": {"cpus": {"value": 3.0}, "mem": {"value": 500.0}}});
    let configs = vec![wire::json::from_value(&config).expect("a quota")];
    let call = OperatorCall::UpdateQuota { force: false, configs };
    let (_, _, mut effects) = w.operator(call);
    effects.extend(w.wait(1));
    let ended = STREAMS.iter().map(|s| rescinded(&effects, *s).len()).sum::<usize>();
    assert_eq!(ended, 3);
    assert!(offers_to(&effects, Token(4)).iter().map(cpus).sum::<f64>() >= 3.0);
}
