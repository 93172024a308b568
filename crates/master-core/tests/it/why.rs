//! Why over time: what was decided is kept, and since when it is so.

use crate::*;
use base::WallTime;
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
    assert_eq!(answer.last_offer, Some(WallTime(60_001_000_000)), "when the agent came");
    // Nothing is decided any more, and nothing has changed.
    pass(&mut w, 600);
    let answer = why(&w);
    assert_eq!(answer.reasons[0].since, Some(WallTime(0)), "to the minute");
    assert_eq!(answer.lasts, Some(Duration::from_nanos(w.now.wall.0)));
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
