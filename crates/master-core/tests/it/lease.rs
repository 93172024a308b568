//! Leases: an offer that is not answered ends when others wait for it.

use crate::*;

fn joins(w: &mut World, stream: u64, role: &str) -> Vec<Effect> {
    let mut info = framework_info(&[]);
    info["roles"] = json!([role]);
    w.subscribe(Token(stream), info)
}

/// When, after how many seconds, which of the streams was told what about offers.
fn story(w: &mut World, streams: &[u64], seconds: u64) -> Vec<(u64, u64, String)> {
    let start = w.now.mono;
    let mut story = Vec::new();
    while w.now.mono < start + Duration::from_secs(seconds) {
        let effects = w.wait(1);
        for stream in streams {
            for kind in types(&effects, Token(*stream)) {
                if kind == "OFFERS" || kind == "RESCIND" {
                    story.push((w.now.mono.since(start).as_secs(), *stream, kind));
                }
            }
        }
    }
    story
}

fn counter(w: &World, name: &str) -> u64 {
    w.master.state().counters.get(name).copied().unwrap_or(0)
}

#[test]
fn an_offer_is_kept_as_long_as_nobody_else_could_use_it() {
    let mut w = world();
    w.framework(&[]);
    w.agent();
    joins(&mut w, 2, "b");
    let suppress = json!({"type": "SUPPRESS", "framework_id": {"value": "m-0001"}});
    w.raw_call(suppress, Some("stream-2"));
    assert_eq!(story(&mut w, &[1, 2], 70), []);
}

#[test]
fn an_offer_ends_after_its_lease_when_another_waits() {
    let mut w = world();
    w.framework(&[]);
    joins(&mut w, 2, "b");
    assert_eq!(offers(&w.agent()).len(), 1);
    let told = story(&mut w, &[1, 2], 20);
    let expected = [(8, 1, "RESCIND".to_owned()), (8, 2, "OFFERS".to_owned())];
    assert_eq!(told, expected);
    assert_eq!(counter(&w, "master/offers_rescinded_by_lease"), 1);
}

#[test]
fn who_comes_late_does_not_wait_for_another_lease() {
    let mut w = world();
    w.framework(&[]);
    w.agent();
    w.wait(40);
    joins(&mut w, 2, "b");
    let told = story(&mut w, &[1, 2], 20);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(at, ..)| *at <= 4), "{told:?}");
}

#[test]
fn everybody_has_an_offer_in_time_when_nobody_answers() {
    for frameworks in [3, 10, 60] {
        let mut w = world();
        for stream in 1..=frameworks {
            joins(&mut w, stream, &format!("r{stream}"));
        }
        w.agent();
        let streams: Vec<u64> = (1..=frameworks).collect();
        let told = story(&mut w, &streams, 30);
        let offered = told.iter().filter(|(.., kind)| kind == "OFFERS");
        let offered: BTreeSet<u64> = offered.map(|(_, stream, _)| *stream).collect();
        // One of them had it before the first second.
        assert!(offered.len() as u64 + 1 >= frameworks, "{frameworks}: {offered:?}");
    }
}

#[test]
fn without_a_longest_time_offers_are_kept() {
    let mut config = config();
    config.allocator.max_time_to_offer = Duration::ZERO;
    let mut w = world_with(config, Vec::new());
    w.framework(&[]);
    joins(&mut w, 2, "b");
    w.agent();
    assert_eq!(story(&mut w, &[1, 2], 70), []);
}
