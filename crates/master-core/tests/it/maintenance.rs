//! Maintenance schedules, inverse offers for them, and machines that go down and come up.

use super::*;
use master_to_agent::Message as ToAgent;

const RESOURCES: &str = "cpus:4;mem:1024;disk:1000;ports:[31000-31009]";
const AGAIN: Token = Token(1001);

fn id(hostname: &str, ip: &str) -> Value {
    json!({"hostname": hostname, "ip": ip})
}

/// The machine of [`World::agent`].
fn host() -> Value {
    id("HOST", "10.0.0.1")
}

fn window(machines: &[Value], start: i64, duration: i64) -> Value {
    json!({"machine_ids": machines,
        "unavailability": {"start": {"nanoseconds": start}, "duration": {"nanoseconds": duration}}})
}

fn update(windows: &[Value]) -> OperatorCall {
    let schedule = wire::json::from_value(&json!({"windows": windows})).expect("a schedule");
    OperatorCall::UpdateMaintenanceSchedule { schedule }
}

fn machines(ids: &[Value]) -> Vec<v1::MachineId> {
    ids.iter().map(|id| wire::json::from_value(id).expect("a machine")).collect()
}

fn start(ids: &[Value]) -> OperatorCall {
    OperatorCall::StartMaintenance { machines: machines(ids) }
}

fn stop(ids: &[Value]) -> OperatorCall {
    OperatorCall::StopMaintenance { machines: machines(ids) }
}

fn inverse_offers(effects: &[Effect], stream: Token) -> Vec<Value> {
    let all = events(effects, stream).into_iter().filter(|e| e["type"] == "INVERSE_OFFERS");
    all.flat_map(|e| e["inverse_offers"]["inverse_offers"].as_array().cloned().unwrap_or_default())
        .collect()
}

fn answer(what: &str, ids: &[&Value], refuse: f64) -> Value {
    let field = format!("{}_inverse_offers", what.to_lowercase());
    let mut call = json!({"type": format!("{what}_INVERSE_OFFERS")});
    call[&field] = json!({"inverse_offer_ids": ids, "filters": {"refuse_seconds": refuse}});
    call
}

fn status_of(w: &World) -> Value {
    wire::json::to_value(&w.master.view().maintenance_status())
}

fn returning() -> internal::Register {
    let mut register = registration(RESOURCES);
    register.info.id = Some("m-S0".into());
    register
}

/// An agent with one offer to a framework, and its machine in the schedule.
fn planned() -> (World, Vec<Effect>) {
    let mut w = world();
    w.framework(&[]);
    w.agent();
    let (status, text, mut effects) = w.operator(update(&[window(&[host()], 1000, 50)]));
    assert_eq!((status, text.as_str()), (200, ""));
    effects.extend(w.wait(2));
    (w, effects)
}

#[test]
fn offers_tell_when_the_machine_will_be_away() {
    let mut w = world();
    w.framework(&[]);
    assert!(offers(&w.agent())[0].get("unavailability").is_none());
    let (_, _, effects) = w.operator(update(&[window(&[host()], 1000, 50)]));
    assert_eq!(types(&effects, STREAM)[0], "RESCIND", "what did not tell it is void");
    let effects = [effects, w.wait(2)].concat();
    let expected = json!({"start": {"nanoseconds": 1000}, "duration": {"nanoseconds": 50}});
    assert_eq!(offers(&effects)[0]["unavailability"], expected);
    let inverse = inverse_offers(&effects, STREAM);
    assert_eq!(inverse.len(), 1);
    assert_eq!(inverse[0]["unavailability"], expected);
    assert_eq!(inverse[0]["agent_id"]["value"], "m-S0");
    assert_eq!(inverse[0]["framework_id"]["value"], "m-0000");
    assert_eq!(inverse[0]["url"]["address"]["hostname"], "host");
    assert!(inverse[0].get("resources").is_none(), "the whole agent is meant");
    assert_eq!(w.master.view().framework("m-0000").expect("it").inverse_offers.len(), 1);

    // The same again changes nothing; another machine beside it neither.
    let beside = window(&[id("other", "10.0.0.2")], 5, 5);
    for windows in [vec![window(&[host()], 1000, 50)], vec![window(&[host()], 1000, 50), beside]] {
        let (status, _, mut effects) = w.operator(update(&windows));
        effects.extend(w.wait(2));
        assert_eq!((status, types(&effects, STREAM)), (200, vec![]));
    }
    // Another time does, and no time at all.
    let (_, _, mut effects) = w.operator(update(&[window(&[host()], 2000, 50)]));
    effects.extend(w.wait(2));
    let told = types(&effects, STREAM);
    assert!(told.contains(&"RESCIND_INVERSE_OFFER".to_owned()), "{told:?}");
    assert_eq!(offers(&effects)[0]["unavailability"]["start"]["nanoseconds"], 2000);
    assert_eq!(inverse_offers(&effects, STREAM).len(), 1);
    let (_, _, mut effects) = w.operator(update(&[]));
    effects.extend(w.wait(2));
    assert_eq!(types(&effects, STREAM), ["RESCIND", "RESCIND_INVERSE_OFFER", "OFFERS"]);
    assert!(offers(&effects)[0].get("unavailability").is_none());
    assert!(!w.registry.keys().any(|(section, _)| section == "maintenance"));
}

#[test]
fn what_frameworks_say_is_shown_and_holds_for_a_while() {
    for (what, metric) in [("ACCEPT", "accepted"), ("DECLINE", "declined")] {
        let (mut w, effects) = planned();
        assert_eq!(status_of(&w), json!({"draining_machines": [{"id": host()}]}));
        let told = inverse_offers(&effects, STREAM).remove(0);
        let unknown = json!({"value": "m-O99"});
        let (status, _, _) = w.call(answer(what, &[&unknown, &told["id"]], 20.0));
        assert_eq!(status, 202);
        let shown = status_of(&w)["draining_machines"][0]["statuses"].clone();
        assert_eq!(shown.as_array().map(Vec::len), Some(1));
        assert_eq!(shown[0]["status"], what);
        assert_eq!(shown[0]["framework_id"]["value"], "m-0000");
        let counter = format!("master/inverse_offers_{metric}");
        assert_eq!(w.master.view().counters[&counter], 1);
        assert!(w.master.view().framework("m-0000").expect("it").inverse_offers.is_empty());
        let effects = w.wait(19);
        assert!(inverse_offers(&effects, STREAM).is_empty());
        let again = inverse_offers(&w.wait(3), STREAM);
        assert_eq!(again.len(), 1, "the answer has grown old");
        assert_ne!(again[0]["id"], told["id"]);
        // REVIVE asks for it at once.
        w.call(answer(what, &[&again[0]["id"]], 1000.0));
        let (_, _, mut effects) = w.call(json!({"type": "REVIVE"}));
        effects.extend(w.wait(1));
        assert_eq!(inverse_offers(&effects, STREAM).len(), 1);
    }
}

#[test]
fn an_answer_without_a_filter_is_asked_for_again_but_not_all_the_time() {
    let (mut w, effects) = planned();
    let mut told = inverse_offers(&effects, STREAM).remove(0);
    let mut heard = 0;
    for _ in 0..10 {
        w.call(answer("ACCEPT", &[&told["id"]], 0.0));
        let again = inverse_offers(&w.wait(1), STREAM);
        heard += again.len();
        told = again.into_iter().next().unwrap_or(told);
    }
    assert!((5..=10).contains(&heard), "{heard}");
}

#[test]
fn only_who_has_something_there_is_asked() {
    let (mut w, _) = planned();
    let other = Token(2);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["*"]);
    let mut effects = w.subscribe(other, info);
    effects.extend(w.wait(5));
    assert!(inverse_offers(&effects, other).is_empty(), "the first has all of it");
    let offer = w.master.view().framework("m-0000").expect("it").offers.keys().next().cloned();
    let offer = json!({"value": offer.expect("an offer")});
    let decline = json!({"type": "DECLINE", "decline": {"offer_ids": [offer],
        "filters": {"refuse_seconds": 1000.0}}});
    let (_, _, mut effects) = w.call(decline);
    effects.extend(w.wait(2));
    assert_eq!(inverse_offers(&effects, other).len(), 1, "now it is offered to the second");
}

#[test]
fn an_inverse_offer_ends_with_its_framework_and_its_agent() {
    let (mut w, _) = planned();
    w.step(Input::StreamClosed { stream: STREAM });
    assert!(w.master.view().framework("m-0000").is_none(), "it has no failover timeout");
    assert_eq!(status_of(&w), json!({"draining_machines": [{"id": host()}]}));

    let (mut w, _) = planned();
    let effects = w.step(Input::AgentClosed { connection: AGENT });
    assert_eq!(types(&effects, STREAM), ["RESCIND", "RESCIND_INVERSE_OFFER"]);
    let mut effects = w.register(AGAIN, returning());
    effects.extend(w.wait(2));
    assert_eq!(inverse_offers(&effects, STREAM).len(), 1);
    let call = OperatorCall::DeactivateAgent { agent_id: "m-S0".into() };
    let (_, _, effects) = w.operator(call);
    assert_eq!(types(&effects, STREAM), ["RESCIND", "RESCIND_INVERSE_OFFER"]);

    let timeout = Some(Duration::from_secs(7));
    let mut w = world_with(Config { offer_timeout: timeout, ..config() }, Vec::new());
    w.framework(&[]);
    w.agent();
    w.operator(update(&[window(&[host()], 1000, 50)]));
    w.wait(1);
    let told = types(&w.wait(9), STREAM);
    assert!(told.contains(&"RESCIND_INVERSE_OFFER".to_owned()), "{told:?}");
    assert!(told.contains(&"INVERSE_OFFERS".to_owned()), "{told:?}");
}

#[test]
fn a_machine_goes_down_with_its_agents_and_comes_up_without_its_window() {
    let (mut w, effects) = planned();
    let offer = offers(&effects).remove(0);
    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "m-S0"},
        "command": {"value": "true"}, "resources": [resource("cpus", 1.0), resource("mem", 64.0)]});
    w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}}));
    w.update("t", "TASK_RUNNING", &[1; 16]);
    let (status_code, text, effects) = w.operator(start(&[host()]));
    assert_eq!((status_code, text.as_str()), (200, ""));
    assert!(matches!(to_agent(&effects)[..], [ToAgent::Shutdown(s)]
            if s.message == "Operator initiated 'Machine DOWN'"));
    let (state, _, reason, message) = status(&effects);
    assert_eq!((state.as_str(), reason.as_str()), ("TASK_LOST", "REASON_AGENT_REMOVED"));
    assert!(message.contains("Operator initiated 'Machine DOWN'"), "{message}");
    assert!(w.master.view().agents.is_empty());
    assert_eq!(status_of(&w), json!({"down_machines": [host()]}));
    for (register, connection) in [(returning(), AGAIN), (registration("cpus:1"), Token(1002))] {
        let effects = w.register(connection, register);
        assert!(
            matches!(to_agent(&effects)[..], [ToAgent::Shutdown(s)] if s.message == "Machine is `DOWN`")
        );
    }
    let (status, text, _) = w.operator(update(&[]));
    assert_eq!(status, 400);
    assert!(text.contains("' is deactivated and cannot be removed from the schedule; "), "{text}");

    // The next master knows it.
    let mut next = world_with(config(), w.registry.clone().into_iter().collect());
    assert_eq!(status_of(&next), json!({"down_machines": [host()]}));
    assert!(matches!(to_agent(&next.register(AGAIN, returning()))[..], [ToAgent::Shutdown(_)]));
    assert_eq!(next.operator(stop(&[host()])).0, 200);
    assert_eq!(status_of(&next), json!({}));
    assert!(next.master.view().maintenance.schedule().windows.is_empty());
    next.framework(&[]);
    let effects = next.register(AGAIN, returning());
    assert!(offers(&effects)[0].get("unavailability").is_none());
    assert!(!next.registry.keys().any(|(section, _)| section == "maintenance"));
}

#[test]
fn the_next_master_keeps_the_schedule_and_forgets_what_frameworks_said() {
    let (mut w, effects) = planned();
    let told = inverse_offers(&effects, STREAM).remove(0);
    w.call(answer("ACCEPT", &[&told["id"]], 1000.0));
    let mut next = world_with(config(), w.registry.clone().into_iter().collect());
    assert_eq!(status_of(&next), json!({"draining_machines": [{"id": host()}]}));
    next.framework(&[]);
    let mut effects = next.register(AGAIN, returning());
    effects.extend(next.wait(2));
    assert_eq!(offers(&effects)[0]["unavailability"]["start"]["nanoseconds"], 1000);
    assert_eq!(inverse_offers(&effects, STREAM).len(), 1);
}

#[track_caller]
fn refused(w: &mut World, call: OperatorCall, why: &str) {
    let before = w.registry.clone();
    let (status, text, effects) = w.operator(call);
    assert!(status == 400 && text.starts_with(why), "{status} {text}");
    assert_eq!(effects, []);
    assert_eq!(w.registry, before);
}

#[test]
fn schedules_that_make_no_sense_are_refused_with_why() {
    let (mut w, _) = planned();
    let schedule = |windows: &[Value]| update(windows);
    let w = &mut w;
    refused(
        w,
        schedule(&[window(&[], 1, 1)]),
        "List of machines in the maintenance window is empty",
    );
    refused(w, schedule(&[window(&[host()], 1, -1)]), "Unavailability 'duration' is negative");
    for empty in [json!({}), id("", "")] {
        let why = "Both 'hostname' and 'ip' for a machine are empty";
        refused(w, schedule(&[window(&[empty], 1, 1)]), why);
    }
    for ip in ["10.0.0", "::1", "10.0.0.1:5051"] {
        let why = "Failed to parse the 'ip' of Machine '{\"hostname\":\"h\",\"ip\":";
        refused(w, schedule(&[window(&[id("h", ip)], 1, 1)]), why);
    }
    let twice = "Machine '{\"hostname\":\"host\",\"ip\":\"10.0.0.1\"}' appears more than once in the schedule";
    let same = id("host", "10.0.0.1");
    refused(w, schedule(&[window(&[host(), same.clone()], 1, 1)]), twice);
    refused(w, schedule(&[window(&[host()], 1, 1), window(&[same], 7, 1)]), twice);
    // Unlike the peer's parser nothing else is known of a machine: any name may be that of one without agents.
    assert_eq!(
        w.operator(schedule(&[window(&[id("new", "10.9.9.9"), json!({"hostname": "x"})], 1, 0)])).0,
        200
    );
}

#[test]
fn machines_go_down_from_draining_and_up_from_down_only() {
    let (mut w, _) = planned();
    let w = &mut w;
    for call in [start, stop] {
        refused(w, call(&[]), "List of machines is empty");
        refused(w, call(&[json!({})]), "Both 'hostname' and 'ip' for a machine are empty");
        let why = "Machine '{\"hostname\":\"HOST\",\"ip\":\"10.0.0.1\"}' appears more than once";
        refused(w, call(&[host(), host()]), why);
        let why = "Machine '{\"hostname\":\"x\",\"ip\":\"10.0.0.9\"}' is not part of a maintenance schedule";
        refused(w, call(&[id("x", "10.0.0.9"), host()]), why);
    }
    let not_down = "Machine '{\"hostname\":\"HOST\",\"ip\":\"10.0.0.1\"}' is not in DOWN mode and cannot be brought up";
    refused(w, stop(&[host()]), not_down);
    assert_eq!(w.operator(start(&[host()])).0, 200);
    let not_draining = "Machine '{\"hostname\":\"HOST\",\"ip\":\"10.0.0.1\"}' is not in DRAINING mode and cannot be brought down";
    refused(w, start(&[host()]), &format!("{not_draining}; it is DOWN already"));
    assert_eq!(w.operator(stop(&[host()])).0, 200);
    // Without its window it is a machine like others.
    w.register(AGAIN, returning());
    refused(w, start(&[host()]), &format!("{not_draining}; give it a window"));
    refused(w, stop(&[host()]), not_down);
}

#[test]
fn an_agent_of_the_schedule_is_not_drained() {
    let (mut w, _) = planned();
    let drain = master_core::contract::Drain { agent_id: "m-S0".into(), ..Default::default() };
    let (status, text, _) = w.operator(OperatorCall::DrainAgent(drain));
    assert_eq!(status, 400);
    let why = "Agent m-S0 is part of a maintenance schedule under Machine host (10.0.0.1); ";
    assert!(text.starts_with(why), "{text}");
}

#[test]
fn changes_that_overtake_each_other_build_on_each_other() {
    let allocator = allocator::hierarchical(config().allocator);
    let mut master = Master::new(config(), allocator);
    let (mut out, now) = (Vec::new(), Now::at_secs(1));
    master.step(now, Input::Elected { registry: Vec::new() }, &mut out);
    let other = id("other", "10.0.0.2");
    let calls = [
        update(&[window(&[host(), other.clone()], 1, 1)]),
        start(&[host(), other.clone()]),
        stop(&[host()]),
    ];
    for (n, call) in calls.into_iter().enumerate() {
        let token = Token(n as u64);
        master.step(now, Input::Operator { token, call }, &mut out);
    }
    let writes: Vec<_> = out
        .drain(..)
        .map(|e| match e {
            Effect::WriteRegistry { id, ops } => (id, ops),
            other => panic!("nothing is said before it is durable: {other:?}"),
        })
        .collect();
    assert_eq!(writes.len(), 3);
    let mut registry = BTreeMap::new();
    for (id, ops) in writes {
        for op in ops {
            let RegistryOp::Put { section, key, value } = op else { panic!("{op:?}") };
            registry.insert((section, key), value);
        }
        master.step(now, Input::Written { id, result: Ok(()) }, &mut out);
    }
    let status = |master: &Master| wire::json::to_value(&master.view().maintenance_status());
    assert_eq!(status(&master), json!({"down_machines": [other]}));
    let next = world_with(config(), registry.into_iter().collect());
    assert_eq!(status(&next.master), status(&master));
}

#[test]
fn what_was_acknowledged_is_not_told_again_when_the_machine_is_up() {
    let (mut w, effects) = planned();
    let offer = offers(&effects).remove(0);
    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "m-S0"},
        "command": {"value": "true"}, "resources": [resource("cpus", 1.0), resource("mem", 64.0)]});
    w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}}));
    w.update("t", "TASK_FINISHED", &[0; 16]);
    // The agent is cut off: it never hears of it.
    w.call(json!({"type": "ACKNOWLEDGE", "acknowledge": {"agent_id": {"value": "m-S0"},
        "task_id": {"value": "t"}, "uuid": "AAAAAAAAAAAAAAAAAAAAAA=="}}));
    w.operator(start(&[host()]));
    w.wait(1000);
    w.operator(stop(&[host()]));
    let mut register = returning();
    register.frameworks = vec![w.master.view().framework("m-0000").expect("it").info.clone()];
    w.register(AGAIN, register);
    let status = json!({"task_id": {"value": "t"}, "state": "TASK_FINISHED",
        "source": "SOURCE_EXECUTOR", "agent_id": {"value": "m-S0"}, "uuid": "AAAAAAAAAAAAAAAAAAAAAA=="});
    let update = internal::StatusUpdate {
        framework_id: "m-0000".into(),
        status: wire::json::from_value(&status).expect("a status"),
        latest_state: None,
    };
    let message = Box::new(agent_to_master::Message::StatusUpdate(update));
    let effects = w.step(Input::FromAgent { connection: AGAIN, ip: "10.0.0.1".into(), message });
    assert!(!types(&effects, STREAM).contains(&"UPDATE".to_owned()), "{effects:?}");
    assert!(matches!(to_agent(&effects)[..], [ToAgent::AcknowledgeStatus(_)]));
}
