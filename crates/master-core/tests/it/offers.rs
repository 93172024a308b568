//! The life of an offer: roles, several offers at once, what becomes of its resources (spec/master.md section 8).

use super::*;

const SECOND: Token = Token(1001);

fn resource(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

fn task(id: &str, offer: &Value, resources: &[Value]) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": resources})
}

fn launch(chosen: &[&Value], tasks: &[Value]) -> Value {
    let ids: Vec<&Value> = chosen.iter().map(|o| &o["id"]).collect();
    json!({"type": "ACCEPT", "accept": {"offer_ids": ids, "filters": {"refuse_seconds": 0.0},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]}})
}

fn roles(w: &mut World, capabilities: &[&str], roles: &[&str]) -> Vec<Effect> {
    let mut info = framework_info(capabilities);
    info["roles"] = json!(roles);
    w.subscribe(STREAM, info)
}

/// Two offers of one agent for one role.
fn two_offers() -> (World, Value, Value) {
    let mut w = world();
    w.framework(&[]);
    let first = offers(&w.agent()).remove(0);
    let (_, _, effects) = w.call(launch(&[&first], &[task("t", &first, &[resource("cpus", 2.0)])]));
    let rest = offers(&effects).remove(0);
    let effects = w.update("t", "TASK_FINISHED", &[1; 16]);
    let back = offers(&effects).remove(0);
    (w, rest, back)
}

#[test]
fn a_task_may_use_two_offers_of_an_agent_together() {
    let (mut w, one, other) = two_offers();
    let whole = task("whole", &one, &[resource("cpus", 4.0), resource("mem", 1024.0)]);
    let (_, _, effects) = w.call(launch(&[&one, &other], &[whole]));
    let sent = to_agent(&effects);
    assert!(matches!(sent[..], [master_to_agent::Message::RunTask(_)]), "{effects:?}");
}

#[test]
fn offers_of_two_agents_do_not_go_together() {
    for (capabilities, state) in
        [(&[][..], "TASK_LOST"), (&["PARTITION_AWARE"][..], "TASK_DROPPED")]
    {
        let mut w = world();
        w.framework(capabilities);
        let one = offers(&w.agent()).remove(0);
        let mut second = registration("cpus:4;mem:1024");
        second.info.port = Some(5052);
        let other = offers(&w.register(SECOND, second)).remove(0);
        let (_, _, mut effects) =
            w.call(launch(&[&one, &other], &[task("t", &one, &[resource("cpus", 1.0)])]));
        let (got, _, reason, message) = status(&effects);
        assert_eq!((got.as_str(), reason.as_str()), (state, "REASON_INVALID_OFFERS"));
        assert!(message.contains("Aggregated offers must belong to one single agent"), "{message}");
        effects.extend(w.wait(1));
        assert_eq!(offers(&effects).len(), 2, "both are offered again");
    }
}

#[test]
fn offers_for_two_roles_do_not_go_together() {
    let mut w = world();
    roles(&mut w, &["RESERVATION_REFINEMENT"], &["a", "b"]);
    let effects = w.register(AGENT, registration("cpus(a):1;mem(a):64;cpus(b):1;mem(b):64"));
    let offers = offers(&effects);
    let mut of: Vec<&str> =
        offers.iter().filter_map(|o| o["allocation_info"]["role"].as_str()).collect();
    of.sort_unstable();
    assert_eq!(of, ["a", "b"], "one offer for each role");
    let (_, _, effects) = w.call(launch(
        &[&offers[0], &offers[1]],
        &[task("t", &offers[0], &[resource("cpus", 1.0)])],
    ));
    assert!(status(&effects).3.contains("Aggregated offers must be allocated to the same role"));
}

#[test]
fn a_role_that_is_left_takes_its_offers_along() {
    let mut w = world();
    roles(&mut w, &["RESERVATION_REFINEMENT"], &["a", "b"]);
    w.register(AGENT, registration("cpus(a):1;mem(a):64;cpus(b):1;mem(b):64"));
    let mut info = framework_info(&["RESERVATION_REFINEMENT"]);
    info["id"] = json!({"value": "m-0000"});
    info["roles"] = json!(["b"]);
    let update = json!({"type": "UPDATE_FRAMEWORK", "update_framework": {"framework_info": info}});
    let (code, _, effects) = w.call(update);
    assert_eq!((code, types(&effects, STREAM)), (200, vec!["RESCIND".to_owned()]));
}

#[test]
fn an_offer_that_was_used_or_declined_is_not_rescinded_later() {
    let config = || Config { offer_timeout: Some(Duration::from_secs(30)), ..config() };
    let mut w = world_with(config(), Vec::new());
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let everything = [resource("cpus", 4.0), resource("mem", 1024.0), resource("disk", 1000.0)];
    w.call(launch(&[&offer], &[task("t", &offer, &everything)]));
    assert!(!types(&w.wait(40), STREAM).contains(&"RESCIND".to_owned()));

    let mut w = world_with(config(), Vec::new());
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let decline = json!({"type": "DECLINE", "decline": {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 1000.0}}});
    w.call(decline);
    assert!(!types(&w.wait(40), STREAM).contains(&"RESCIND".to_owned()));
}

#[test]
fn what_a_framework_leaves_behind_goes_to_the_next() {
    let mut w = world();
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    w.call(launch(&[&offer], &[task("t", &offer, &[resource("cpus", 1.0)])]));
    w.call(json!({"type": "TEARDOWN"}));
    let mut info = framework_info(&[]);
    info["roles"] = json!(["*"]);
    let mut effects = w.subscribe(Token(2), info);
    effects.extend(w.update("t", "TASK_KILLED", &[1; 16]));
    effects.extend(w.wait(1));
    let text = serde_json::to_string(&events(&effects, Token(2))).expect("text");
    assert!(text.contains("\"value\":4.0"), "all cpus, also those of the task: {text}");
}

#[test]
fn what_a_task_did_not_use_or_could_not_have_is_offered_again() {
    let mut w = world();
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let (_, _, effects) = w.call(launch(&[&offer], &[task("t", &offer, &[resource("cpus", 1.5)])]));
    let rest = offers(&effects).remove(0);
    assert_eq!(rest["resources"][0]["scalar"]["value"], 2.5);
    let (_, _, effects) = w.call(launch(&[&rest], &[task("u", &rest, &[resource("cpus", 3.0)])]));
    assert_eq!(status(&effects).0, "TASK_ERROR");
    assert_eq!(offers(&effects)[0]["resources"][0]["scalar"]["value"], 2.5);
}

#[test]
fn a_task_of_a_thousandth_counts() {
    let mut w = world();
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let tiny = [resource("cpus", 0.001), resource("mem", 1.0)];
    let (_, _, effects) = w.call(launch(&[&offer], &[task("t", &offer, &tiny)]));
    assert_eq!(offers(&effects)[0]["resources"][0]["scalar"]["value"], 3.999);
}

#[test]
fn a_framework_that_lost_a_capability_is_not_offered_what_needs_it() {
    let mut w = world();
    let mut info = framework_info(&["REVOCABLE_RESOURCES"]);
    info["roles"] = json!(["*"]);
    info["failover_timeout"] = json!(100.0);
    w.subscribe(STREAM, info.clone());
    let mut register = registration("cpus:4;mem:1024");
    let mut lent = resources::Resources::new();
    lent.add(resources::Entry::revocable_scalar("cpus", 2000));
    register.oversubscribed = lent.to_wire();
    let offer = offers(&w.register(AGENT, register)).remove(0);
    assert!(offer.to_string().contains("revocable"), "{offer}");
    w.step(Input::StreamClosed { stream: STREAM });
    info["id"] = json!({"value": "m-0000"});
    info["capabilities"] = json!([{"type": "MULTI_ROLE"}]);
    let mut effects = w.subscribe(Token(2), info);
    effects.extend(w.wait(1));
    let text = serde_json::to_string(&events(&effects, Token(2))).expect("text");
    assert!(text.contains("OFFERS") && !text.contains("revocable"), "{text}");
}

#[test]
fn the_least_that_is_offered_is_a_flag() {
    let mut settings = config();
    settings.allocator.min_allocatable =
        resources::Quantities::parse_alternatives("cpus:3;mem:100|disk:5000").expect("quantities");
    let mut w = world_with(settings, Vec::new());
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let (_, _, mut effects) =
        w.call(launch(&[&offer], &[task("t", &offer, &[resource("cpus", 1.5)])]));
    effects.extend(w.wait(2));
    assert!(offers(&effects).is_empty(), "2.5 cpus are too few");
    let effects = w.update("t", "TASK_FINISHED", &[1; 16]);
    assert_eq!(offers(&effects).len(), 1);
}

/// As with the peer; but the other framework is told.
#[test]
fn an_accept_of_the_offers_of_others_ends_them() {
    let mut w = world();
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let other = Token(2);
    let mut info = framework_info(&["PARTITION_AWARE"]);
    info["roles"] = json!(["*"]);
    w.subscribe(other, info);
    let accept = |ids: Value| {
        json!({"type": "ACCEPT", "framework_id": {"value": "m-0001"}, "accept": {"offer_ids": ids,
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [
                {"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "m-S0"},
                    "command": {"value": "true"}, "resources": []}]}}]}})
    };
    let ids = json!([offer["id"], {"value": "m-O99"}]);
    let (_, _, effects) = w.raw_call(accept(ids), Some("stream-2"));
    let update = events(&effects, other).into_iter().find(|e| e["type"] == "UPDATE");
    let status = update.expect("an update")["update"]["status"].clone();
    assert_eq!(status["reason"], "REASON_INVALID_OFFERS");
    // All are looked up before their frameworks are compared.
    assert_eq!(
        status["message"],
        "Task launched with invalid offers: Offer m-O99 is no longer valid"
    );
    assert_eq!(types(&effects, STREAM), ["RESCIND"]);
    assert!(w.master.view().framework("m-0000").expect("it").offers.is_empty());
}

/// What the agent does not tell of ports that its own network takes (spec/master.md 1.5).
#[test]
fn ephemeral_ports_are_not_shown() {
    let mut w = world();
    w.framework(&[]);
    let effects = w.register(AGENT, registration("cpus:4;mem:1024;ephemeral_ports:[32768-57344]"));
    let offer = offers(&effects).remove(0);
    let names: Vec<&str> = offer["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    assert_eq!(names, ["cpus", "mem"]);
}
