//! Why over time: what was decided is kept, and since when it is so.

use crate::*;
use base::WallTime;
use master_core::contract::Drain;
use master_core::why::{Answer, Question};

/// Time passes, and the agent answers pings.
fn pass(w: &mut World, seconds: u64) -> Vec<Effect> {
    let mut all = Vec::new();
    for _ in 0..seconds {
        let effects = w.wait(1);
        for effect in &effects {
            if let Effect::SendToAgent { message, .. } = effect
                && matches!(**message, master_to_agent::Message::Ping(_))
            {
                w.agent_says(agent_to_master::Message::Pong(internal::Pong {}));
            }
        }
        all.extend(effects);
    }
    all
}

fn why(w: &World) -> Answer {
    w.master.why(w.now, &Question { role: Some("*".into()), ..Question::default() }).remove(0)
}

fn decline(w: &mut World, offer: &Value, seconds: f64) {
    let filters = json!({"refuse_seconds": seconds});
    let decline = json!({"offer_ids": [offer["id"]], "filters": filters});
    w.call(json!({"type": "DECLINE", "decline": decline}));
}

#[test]
fn a_decline_is_known_for_as_long_as_it_holds() {
    let mut w = world();
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    decline(&mut w, &offer, 7200.0);
    pass(&mut w, 61);
    let answer = why(&w);
    assert_eq!(answer.reasons[0].reason, "REFUSED");
    let history: Vec<_> = answer.history.iter().map(|p| (p.offered, p.reasons.clone())).collect();
    assert_eq!(history, [(1, vec![("REFUSED", 1)])]);
    let offered = answer.last_offer.expect("when the agent came");
    assert!((1_000_000_000..1_010_000_000).contains(&offered.0), "{offered:?}");
    // Nothing is decided any more, and nothing has changed.
    pass(&mut w, 600);
    let answer = why(&w);
    let declined = answer.reasons[0].since.expect("when it was declined");
    assert!(offered < declined && declined.0 < 1_010_000_000, "{declined:?}");
    assert_eq!(answer.lasts, Some(Duration::from_nanos(w.now.wall.0 - declined.0)));
}

#[test]
fn what_is_no_longer_so_ends_the_time_of_a_reason() {
    let mut w = world();
    w.framework(&[]);
    let mut offer = offers(&w.agent()).remove(0);
    for _ in 0..3 {
        decline(&mut w, &offer, 7200.0);
        pass(&mut w, 120);
        let (_, _, effects) = w.call(json!({"type": "REVIVE"}));
        offer = offers(&effects).remove(0);
        pass(&mut w, 60);
    }
    decline(&mut w, &offer, 7200.0);
    pass(&mut w, 120);
    let answer = why(&w);
    let since = answer.reasons[0].since.expect("it is known");
    assert!(since > WallTime(500_000_000_000), "{answer:?}");
    assert!(answer.history.len() <= 60 + 24);
}

#[test]
fn who_only_declines_is_said_to_be_backed_off_where_others_are_offered_instead() {
    let mut w = world();
    w.framework(&[]);
    let mut offer = offers(&w.agent()).remove(0);
    for _ in 0..12 {
        pass(&mut w, 1);
        let filters = json!({"refuse_seconds": 0.0});
        let decline = json!({"offer_ids": [offer["id"]], "filters": filters});
        let (_, _, effects) = w.call(json!({"type": "DECLINE", "decline": decline}));
        offer = offers(&effects).remove(0);
    }
    let mut info = framework_info(&[]);
    info["roles"] = json!(["b"]);
    w.subscribe(Token(2), info);
    pass(&mut w, 10);
    assert_eq!(why(&w).reasons[0].reason, "BACKED_OFF");
    w.call(json!({"type": "REVIVE"}));
    assert_eq!(why(&w).reasons[0].reason, "TAKEN");
}

#[test]
fn a_reason_that_offers_interrupt_holds_since_the_last_of_them() {
    let mut w = world();
    w.framework(&[]);
    let mut offer = offers(&w.agent()).remove(0);
    // A refusal of half a minute, again and again.
    for _ in 0..8 {
        decline(&mut w, &offer, 30.0);
        offer = offers(&pass(&mut w, 31)).pop().expect("it is offered again");
    }
    decline(&mut w, &offer, 30.0);
    pass(&mut w, 1);
    let lasts = why(&w).lasts.expect("it is known");
    assert!(lasts <= Duration::from_secs(120), "{lasts:?}");
}

#[test]
fn a_framework_that_is_away_is_told_so_and_until_when_it_may_come_back() {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["roles"] = json!(["*"]);
    info["failover_timeout"] = json!(600.0);
    w.subscribe(STREAM, info);
    w.agent();
    w.step(Input::StreamClosed { stream: STREAM });
    pass(&mut w, 60);
    let answer = why(&w);
    assert_eq!(answer.reasons[0].reason, "INACTIVE");
    assert_eq!(
        answer.reasons[0].message,
        "the framework is disconnected since 1970-01-01T00:00:01Z, and is removed in 8 min 59 s, when its failover_timeout ends"
    );
}

fn why_of(w: &World, role: &str) -> Answer {
    w.master.why(w.now, &Question { role: Some(role.into()), ..Question::default() }).remove(0)
}

fn subscribe(w: &mut World, stream: Token, role: &str) -> Vec<Effect> {
    let mut info = framework_info(&[]);
    info["name"] = json!(role);
    info["roles"] = json!([role]);
    w.subscribe(stream, info)
}

fn task(offer: &Value, id: &str, resources: Value) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": resources})
}

fn launch(w: &mut World, offer: &Value, tasks: Vec<Value>) {
    w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]}}));
}

#[test]
fn a_full_agent_is_said_to_be_used_by_whom_and_what_to_end() {
    let mut w = world();
    subscribe(&mut w, STREAM, "f");
    let offer = offers(&w.register(AGENT, registration("cpus:4;mem:4096;ports:[1-9]"))).remove(0);
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let large = task(&offer, "large", json!([scalar("cpus", 3.0), scalar("mem", 3000.0)]));
    let small = task(&offer, "small", json!([scalar("cpus", 1.0), scalar("mem", 1096.0)]));
    launch(&mut w, &offer, vec![large, small]);
    subscribe(&mut w, Token(2), "g");
    w.wait(1);
    let answer = why_of(&w, "g");
    let [cause] = answer.reasons.as_slice() else { panic!("{answer:?}") };
    assert_eq!(cause.reason, "TAKEN");
    assert_eq!(cause.message, "what it could be offered there is used by 2 tasks of framework 'f'");
    assert_eq!(
        cause.advice,
        "end task 'small' of framework 'f' there, or add an agent with cpus:0.01 or mem:32 at least"
    );
    let own = why_of(&w, "f").reasons.remove(0);
    assert_eq!(
        own.message,
        "what it could be offered there is used by 2 tasks of this framework itself"
    );
}

#[test]
fn an_offer_that_others_hold_is_named_and_since_when_although_something_is_reserved_besides() {
    let mut w = world();
    subscribe(&mut w, STREAM, "h");
    w.register(AGENT, registration("cpus:4;mem:1023;mem(r):1"));
    pass(&mut w, 12);
    subscribe(&mut w, Token(2), "w");
    let answer = why_of(&w, "w");
    let [cause] = answer.reasons.as_slice() else { panic!("{answer:?}") };
    assert_eq!(
        (cause.reason, &*cause.message),
        ("TAKEN", "what it could be offered there is offered to framework 'h' since 12 s")
    );
    // It waits for as long as it is here.
    assert!(answer.lasts.is_some_and(|t| t <= Duration::from_secs(1)), "{answer:?}");
    pass(&mut w, 5);
    let lasts = why_of(&w, "w").lasts.expect("it is known within the first minute");
    assert!((4..=6).contains(&lasts.as_secs()), "{lasts:?}");
}

#[test]
fn an_offer_of_what_guarantees_leave_is_in_the_way_not_the_guarantee() {
    let mut w = world();
    let quota = json!({"role": "q", "guarantees": {"cpus": {"value": 3.0}}});
    let configs = vec![wire::json::from_value(&quota).expect("a config")];
    let call = OperatorCall::UpdateQuota { force: true, configs };
    w.step(Input::Operator { token: Token(7), call });
    subscribe(&mut w, STREAM, "h");
    assert_eq!(offers(&w.register(AGENT, registration("cpus:4"))).len(), 1);
    subscribe(&mut w, Token(2), "p");
    w.wait(1);
    let cause = why_of(&w, "p").reasons.remove(0);
    assert_eq!(cause.reason, "TAKEN");
    assert!(cause.message.contains("framework 'h'") && cause.besides.is_empty(), "{cause:?}");
}

/// One of two agents has GPUs; what would bring an offer alone is said first.
#[test]
fn what_helps_alone_is_said_first() {
    let mut w = world();
    let limits = json!({"cpus": {"value": 0.0}, "mem": {"value": 0.0}, "gpus": {"value": 0.0}});
    let configs =
        vec![wire::json::from_value(&json!({"role": "lim", "limits": limits})).expect("a config")];
    let call = OperatorCall::UpdateQuota { force: true, configs };
    w.step(Input::Operator { token: Token(7), call });
    subscribe(&mut w, STREAM, "lim");
    w.register(AGENT, registration("cpus:4;gpus:1"));
    let mut other = registration("cpus:4");
    other.info.hostname = "other".into();
    other.info.port = Some(5052);
    w.register(Token(1001), other);
    w.wait(1);
    let answer = why_of(&w, "lim");
    let of: Vec<_> =
        answer.reasons.iter().map(|c| (c.reason, c.agents, c.besides.clone())).collect();
    assert_eq!(of, [("LIMIT", 1, vec![]), ("GPUS", 1, vec!["LIMIT"])]);
    let advice = "give the framework the GPU_RESOURCES capability, or set --no-filter_gpu_resources; besides, raise the quota limit of role 'lim', or of the one above it that has it";
    assert_eq!(answer.reasons[1].advice, advice);
}

/// In a tie what the framework said itself comes before what is so on one agent.
#[test]
fn a_decline_is_said_before_what_one_agent_has() {
    let mut w = world();
    subscribe(&mut w, STREAM, "f");
    let offer = offers(&w.register(AGENT, registration("cpus:4"))).remove(0);
    let mut other = registration("cpus:4;gpus:1");
    other.info.hostname = "other".into();
    other.info.port = Some(5052);
    w.register(Token(1001), other);
    decline(&mut w, &offer, 3600.0);
    w.wait(1);
    let answer = why_of(&w, "f");
    let of: Vec<_> = answer.reasons.iter().map(|c| c.reason).collect();
    assert_eq!(of, ["REFUSED", "GPUS"]);
}

#[test]
fn a_reason_is_not_older_than_the_framework() {
    let mut w = world();
    subscribe(&mut w, STREAM, "h");
    w.agent();
    pass(&mut w, 118);
    subscribe(&mut w, Token(2), "w");
    pass(&mut w, 4);
    let lasts = why_of(&w, "w").lasts.expect("it is known");
    assert!(lasts <= Duration::from_secs(5), "{lasts:?}");
}

#[test]
fn who_waits_for_soft_offers_of_another_role_is_told_so() {
    let mut settings = config();
    settings.offer_overlap.insert("over".to_owned(), "all".parse().expect("an overlap"));
    let mut w = world_with(settings, Vec::new());
    subscribe(&mut w, STREAM, "over");
    assert_eq!(offers(&w.agent()).len(), 1);
    subscribe(&mut w, Token(2), "solo");
    w.wait(1);
    let cause = why_of(&w, "solo").reasons.remove(0);
    assert_eq!(cause.reason, "OVERLAP");
    assert!(
        cause.message.starts_with(
            "what is free there is offered to framework 'over' for role 'over' since 1 s"
        ),
        "{cause:?}"
    );
}

#[test]
fn an_agent_that_nobody_is_offered_is_said_to_be_drained_or_deactivated_or_away() {
    let mut w = world();
    w.framework(&[]);
    w.agent();
    let says = |w: &World, message: &str, advice: &str| {
        let reason = why(w).reasons.remove(0);
        assert_eq!(
            (reason.reason, reason.message.as_str(), reason.advice.as_str()),
            ("AGENT_INACTIVE", message, advice)
        );
    };
    w.operator(OperatorCall::DeactivateAgent { agent_id: "m-S0".into() });
    says(&w, "an operator deactivated the agent", "reactivate the agent");
    let drain = Drain { agent_id: "m-S0".into(), max_grace_period: None, mark_gone: false };
    w.operator(OperatorCall::DrainAgent(drain));
    says(&w, "the agent is drained", "reactivate the agent");
    w.operator(OperatorCall::ReactivateAgent { agent_id: "m-S0".into() });
    w.step(Input::AgentClosed { connection: AGENT });
    says(&w, "the agent is not connected", "bring the agent back");
}
