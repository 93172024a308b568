//! Shares: what operators may ask for, begin and end by the clock, the registry.

use crate::*;
use base::WallTime;
use jiff::Timestamp;
use master_core::ShareConfig;
use master_core::schedule::Schedule;

const HOURS: &str = "weekdays 08:00-20:00 Europe/Berlin";

fn wall(text: &str) -> WallTime {
    let at: Timestamp = text.parse().expect("a timestamp");
    WallTime(u64::try_from(at.as_nanosecond()).expect("after 1970"))
}

/// A share of `cpus 20%` and `gpus 4`.
fn share(role: &str, parts: &[&str], schedules: &[&str]) -> ShareConfig {
    let mut config = ShareConfig { role: role.to_owned(), ..ShareConfig::default() };
    for part in parts {
        let (name, value) = part.split_once(' ').expect("a name and a value");
        let number = |text: &str| resources::to_milli(text.parse().expect("a number"));
        match value.strip_suffix('%') {
            Some(percent) => config.percent.insert(name.to_owned(), number(percent)),
            None => config.amounts.insert(name.to_owned(), number(value)),
        };
    }
    config.schedules = schedules.iter().map(|s| Schedule::parse(s).expect("it")).collect();
    config
}

fn set(w: &mut World, config: ShareConfig) -> (u16, String, Vec<Effect>) {
    w.operator(OperatorCall::SetShare { config, force: false })
}

/// Some change of some role's share.
pub(crate) fn random(rng: &mut base::Rng) -> OperatorCall {
    let role = ["*", "a", "a/x", "b"][rng.below(4) as usize];
    if rng.chance(1, 4) {
        return OperatorCall::RemoveShare { role: role.to_owned() };
    }
    let parts = [format!("cpus {}%", rng.below(110)), format!("mem {}", rng.below(2000))];
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|_| rng.chance(2, 3)).collect();
    let schedules = ["always", HOURS, "daily 22:00-06:00 America/New_York", "sun 02:10-02:50 UTC"];
    let schedules: Vec<&str> = schedules.into_iter().filter(|_| rng.chance(1, 3)).collect();
    let config = share(role, &parts, &schedules);
    OperatorCall::SetShare { config, force: rng.chance(1, 2) }
}

/// The lines of the log.
fn log(effects: &[Effect]) -> Vec<&str> {
    let lines = effects.iter().filter_map(|e| match e {
        Effect::Log { text } => Some(text.as_str()),
        _ => None,
    });
    lines.collect()
}

/// A framework of role `web` with an offer of the only agent, at this time.
fn ready(now: &str) -> World {
    // Hours pass here, and no agent answers pings.
    let ping = Duration::from_secs(86400);
    let mut w = world_with(Config { agent_ping_timeout: ping, ..config() }, Vec::new());
    w.now.wall = wall(now);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["web"]);
    w.subscribe(STREAM, info);
    assert_eq!(cpus(&w.agent()), [4.0]);
    w
}

/// What cpus the offers of some effects have.
fn cpus(effects: &[Effect]) -> Vec<f64> {
    let of = |offer: Value| {
        let all = offer["resources"].as_array().expect("resources").clone();
        let cpus = all.iter().find(|r| r["name"] == "cpus");
        cpus.and_then(|r| r["scalar"]["value"].as_f64()).unwrap_or(0.0)
    };
    offers(effects).into_iter().map(of).collect()
}

#[test]
fn a_share_takes_back_offers_of_others_and_gives_room_when_it_is_removed() {
    let mut w = ready("2026-07-03T00:00:00Z");
    let (status, _, effects) = set(&mut w, share("db", &["cpus 75%"], &[]));
    assert_eq!(status, 200);
    assert_eq!(types(&effects, STREAM), ["RESCIND", "OFFERS"]);
    assert_eq!(cpus(&effects), [1.0], "three are kept for db");
    assert_eq!(log(&effects), ["the share of role 'db' begins: cpus:3 now"]);
    assert_eq!(w.master.view().guarantees()["db"], BTreeMap::from([("cpus".to_owned(), 3000)]));
    let (status, _, effects) = w.operator(OperatorCall::RemoveShare { role: "db".to_owned() });
    assert_eq!((status, log(&effects)), (200, vec!["the share of role 'db' ends"]));
    assert_eq!(cpus(&effects), [3.0]);
    let (status, text, _) = w.operator(OperatorCall::RemoveShare { role: "db".to_owned() });
    assert_eq!((status, text.as_str()), (404, "Role 'db' has no share"));
    assert!(w.registry.keys().all(|(section, _)| section != "shares"));
}

#[test]
fn a_share_begins_and_ends_by_the_clock() {
    // Friday, an hour before it begins.
    let mut w = ready("2026-07-03T05:00:00Z");
    let (status, _, effects) = set(&mut w, share("db", &["cpus 3"], &[HOURS]));
    assert_eq!((status, events(&effects, STREAM).len()), (200, 0), "not yet");
    assert_eq!(w.master.view().shares["db"].next_change, Some(wall("2026-07-03T06:00:00Z")));
    assert!(w.master.view().guarantees().is_empty());
    assert!(events(&w.wait(3590), STREAM).iter().all(|e| e["type"] == "HEARTBEAT"));
    let effects = w.wait(20);
    assert_eq!(cpus(&effects), [1.0]);
    assert_eq!(log(&effects), ["the share of role 'db' begins: cpus:3 now"]);
    assert_eq!(w.master.view().shares["db"].next_change, Some(wall("2026-07-03T18:00:00Z")));
    assert_eq!(cpus(&w.wait(43_100)), [0.0; 0]);
    let effects = w.wait(200);
    assert_eq!((cpus(&effects), log(&effects)), (vec![3.0], vec!["the share of role 'db' ends"]));
    assert_eq!(w.master.view().shares["db"].next_change, Some(wall("2026-07-06T06:00:00Z")));
}

#[test]
fn a_clock_that_jumps_is_noticed_within_a_minute() {
    let mut w = ready("2026-07-03T05:00:00Z");
    set(&mut w, share("db", &["cpus 3"], &[HOURS]));
    w.now.wall = wall("2026-07-03T07:00:00Z");
    assert_eq!(log(&w.wait(61)), ["the share of role 'db' begins: cpus:3 now"]);
    w.now.wall = wall("2026-07-03T05:30:00Z");
    assert_eq!(log(&w.wait(61)), ["the share of role 'db' ends"]);
    w.now.wall = wall("2026-07-03T05:59:59.5Z");
    w.wait(60);
    assert!(w.master.view().shares["db"].active);
}

#[test]
fn a_share_that_is_set_anew_counts_as_it_is_now() {
    let mut w = ready("2026-07-03T07:00:00Z");
    set(&mut w, share("db", &["cpus 1"], &[HOURS]));
    let (_, _, effects) = set(&mut w, share("db", &["cpus 2"], &["daily 00:00-24:00 UTC"]));
    assert_eq!(log(&effects), ["the share of role 'db' begins: cpus:2 now"]);
    let (_, _, effects) = set(&mut w, share("db", &["cpus 2"], &["sun 00:00-24:00 UTC"]));
    assert_eq!(log(&effects), ["the share of role 'db' ends"]);
    assert_eq!(cpus(&effects), [2.0], "all is offered");
}

#[test]
fn a_share_survives_a_change_of_the_leader() {
    let mut w = ready("2026-07-03T07:00:00Z");
    set(&mut w, share("db", &["cpus 75%", "mem 0.5"], &[HOURS, "sat 10:00-12:00 UTC"]));
    let kept: Vec<_> = w.registry.clone().into_iter().filter(|(k, _)| k.0 == "shares").collect();
    let allocator = allocator::hierarchical(config().allocator);
    let mut again = World {
        master: Master::new(config(), allocator),
        now: Now { mono: Time(1), wall: wall("2026-07-03T17:59:00Z") },
        registry: kept.iter().cloned().collect(),
        next: 5000,
    };
    again.step(Input::Elected { registry: kept });
    let (before, after) = (w.master.view(), again.master.view());
    assert_eq!(after.shares, before.shares);
    assert!(after.shares["db"].active);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["web"]);
    again.subscribe(STREAM, info);
    assert_eq!(cpus(&again.agent()), [1.0]);
    assert_eq!(cpus(&again.wait(90)), [3.0], "the day's work is done");
}

#[test]
fn after_a_restart_agents_are_offered_as_they_return_but_for_what_is_promised() {
    let mut w = ready("2026-07-03T07:00:00Z");
    let on_port = |agent: u64| {
        let mut register = registration("cpus:4;mem:1024");
        register.info.port = Some(5051 + agent as i32);
        register
    };
    for agent in 1..5 {
        w.register(Token(AGENT.0 + agent), on_port(agent));
    }
    assert_eq!(set(&mut w, share("db", &["cpus 20%"], &[])).0, 200);
    assert_eq!(w.master.view().agents.len(), 5);
    let kept: Vec<_> = w.registry.clone().into_iter().collect();
    let mut again = world_with(crate::config(), kept);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["web"]);
    again.subscribe(STREAM, info);
    let mut offered = 0.0;
    for agent in 0..4 {
        let mut register = on_port(agent);
        register.info.id = Some(format!("m-S{agent}").as_str().into());
        let effects = again.register(Token(AGENT.0 + agent), register);
        offered += cpus(&effects).iter().sum::<f64>();
        let promised = 0.2 * 4.0 * (agent + 1) as f64;
        let expected = 4.0 * (agent + 1) as f64 - promised;
        assert!((offered - expected).abs() < 0.001, "{offered} after agent {agent}");
    }
}

#[test]
fn an_unreadable_share_is_not_kept_and_said_to_be() {
    let mut w = ready("2026-07-03T07:00:00Z");
    set(&mut w, share("db", &["cpus 1"], &[HOURS]));
    let key = ("shares".to_owned(), "db".to_owned());
    let mut value = w.registry[&key].clone();
    let at = value.windows(6).position(|part| part == b"Berlin").expect("its zone");
    value[at..at + 6].copy_from_slice(b"Atlant");
    let allocator = allocator::hierarchical(config().allocator);
    let mut master = Master::new(config(), allocator);
    let mut out = Vec::new();
    master.step(w.now, Input::Elected { registry: vec![(key, value)] }, &mut out);
    assert_eq!(log(&out).len(), 1);
    assert!(log(&out)[0].starts_with("the share of role 'db' can't be read and is not kept: "));
    assert!(log(&out)[0].contains("'Europe/Atlant' is no known time zone"), "{}", log(&out)[0]);
    assert!(master.view().shares.is_empty());
}

#[test]
fn invalid_shares_are_refused_and_change_nothing() {
    let mut w = ready("2026-07-03T07:00:00Z");
    set(&mut w, share("web", &["cpus 60%"], &[HOURS]));
    let many: Vec<&str> = vec!["always"; 65];
    for (config, expected) in [
        (
            share("a//b", &["cpus 1"], &[]),
            "'role': Role 'a//b' cannot contain two adjacent slashes",
        ),
        (share("db", &[], &[]), "expected 'percent' or 'amounts', such as"),
        (share("db", &["cpus 0%"], &[]), "'percent.cpus': expected more than 0 and at most 100"),
        (
            share("db", &["cpus 100.001%"], &[]),
            "'percent.cpus': expected more than 0 and at most 100",
        ),
        (share("db", &["cpus -1"], &[]), "'amounts.cpus': expected at least 0.001 and at most"),
        (share("db", &["cpus 1e13"], &[]), "'amounts.cpus': expected at least 0.001 and at most"),
        (share("db", &["cpsu 10%"], &[]), "'percent.cpsu': no agent has 'cpsu' (use 'force'"),
        (share("db", &["ports 10%"], &[]), "'percent.ports': 'ports' is no scalar resource"),
        (share("db", &["cpus 1"], &many), "'schedule': expected at most 64 schedules"),
        (
            share("db", &["cpus 50%"], &[]),
            "shares of 'cpus' add up to 110 percent (use 'force' to bypass this check)",
        ),
        (
            share("db", &["cpus 50%"], &["mon 19:00-21:00 Europe/Berlin"]),
            "shares of 'cpus' add up to 110 percent on 2026-07-06T17:00:00Z (use 'force'",
        ),
        (
            share("db", &["cpus 2"], &[]),
            "total guarantees 'cpus:4.4' exceed cluster capacity 'cpus:4; disk:1000; mem:1024' (use",
        ),
        (
            share("web/x", &["cpus 5"], &["mon 06:00-07:00 UTC"]),
            "total guarantees 'cpus:5' exceed cluster capacity 'cpus:4; disk:1000; mem:1024' on 2026-07-06T06:00:00Z",
        ),
        (
            share("db", &["gpus 1"], &[]),
            "total guarantees 'cpus:2.4; gpus:1' exceed cluster capacity",
        ),
    ] {
        let (status, text, _) = set(&mut w, config.clone());
        assert_eq!(status, 400, "{config:?}");
        assert!(text.starts_with(&format!("Invalid share: {expected}")), "{config:?}: {text}");
    }
    assert_eq!(w.master.view().shares.len(), 1);
    for config in [
        share("db", &["cpus 50%"], &["mon 20:00-21:00 Europe/Berlin"]),
        share("web/x", &["cpus 50%"], &[]),
        share("batch", &["cpus 40%"], &[HOURS]),
        share("web", &["cpus 40%"], &[HOURS]),
    ] {
        let (status, text, _) = set(&mut w, config.clone());
        assert_eq!(status, 200, "{config:?}: {text}");
    }
    let force = OperatorCall::SetShare { config: share("gpu", &["gpus 9"], &[]), force: true };
    assert_eq!(w.operator(force).0, 200);
}

#[test]
fn quotas_and_shares_may_not_promise_more_than_there_is_together() {
    let mut w = ready("2026-07-03T07:00:00Z");
    set(&mut w, share("db", &["cpus 75%"], &[HOURS]));
    let quota = |role: &str, cpus: f64| {
        let config = json!({"role": role, "guarantees": {"cpus": {"value": cpus}}});
        let configs = vec![wire::json::from_value(&config).expect("a config")];
        OperatorCall::UpdateQuota { force: false, configs }
    };
    let (status, text, _) = w.operator(quota("web", 1.5));
    assert_eq!(status, 400);
    assert!(text.contains("total guarantees 'cpus:4.5' exceed cluster capacity"), "{text}");
    assert_eq!(w.operator(quota("web", 1.0)).0, 200);
    assert_eq!(w.operator(quota("db", 2.0)).0, 200, "the greater counts");
    assert_eq!(w.master.view().guarantees()["db"]["cpus"], 3000);
}

/// Ten agents, all in use by `web`; `db` waits for its fifth of them.
#[test]
fn what_others_give_back_goes_to_a_share_until_it_is_met() {
    let mut w = ready("2026-07-03T07:00:00Z");
    for agent in 1..10 {
        let mut register = registration("cpus:4;mem:1024");
        register.info.hostname = format!("host{agent}");
        w.register(Token(AGENT.0 + agent), register);
    }
    let open: Vec<_> = w.master.view().agents.values().map(|a| a.id.clone()).collect();
    assert_eq!(open.len(), 10);
    let view = w.master.view();
    let web = view.framework("m-0000").expect("web");
    for offer in web.offers.values() {
        let agent = view.agents[&offer.agent].id.clone();
        let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let task = json!({"name": "t", "task_id": {"value": format!("on {agent}")}, "agent_id": {"value": agent},
            "command": {"value": "true"}, "resources": [resource("cpus", 4.0), resource("mem", 1024.0)]});
        w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [{"value": offer.id}],
            "filters": {"refuse_seconds": 0.0},
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}}));
    }
    assert_eq!(w.master.view().framework("m-0000").expect("web").tasks.len(), 10);
    set(&mut w, share("db", &["cpus 20%", "mem 20%"], &[HOURS]));
    let mut info = framework_info(&[]);
    (info["roles"], info["name"]) = (json!(["db"]), json!("db"));
    let db = Token(2);
    w.subscribe(db, info);

    let mut to_db = 0;
    for (ended, (id, agent)) in open.iter().zip(0..).enumerate() {
        let status = json!({"task_id": {"value": format!("on {id}")}, "state": "TASK_FINISHED",
            "source": "SOURCE_EXECUTOR", "agent_id": {"value": id}});
        let mut status: v1::TaskStatus = wire::json::from_value(&status).expect("a status");
        status.uuid = Some(vec![ended as u8; 16]);
        let update =
            internal::StatusUpdate { framework_id: "m-0000".into(), status, latest_state: None };
        let effects = w.step(Input::FromAgent {
            connection: Token(AGENT.0 + agent),
            ip: "10.0.0.1".into(),
            message: Box::new(agent_to_master::Message::StatusUpdate(update)),
        });
        let to = |stream| types(&effects, stream).iter().filter(|t| *t == "OFFERS").count();
        to_db += to(db);
        if ended < 2 {
            assert_eq!((to(db), to(STREAM)), (1, 0), "{ended}: {effects:?}");
        }
    }
    assert!(to_db < 10, "the rest is shared fairly");
}
