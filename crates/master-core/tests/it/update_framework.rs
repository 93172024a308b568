//! UPDATE_FRAMEWORK and what it does to offers (spec/master.md 1.2; section 8: update_framework_tests, suppressed roles of
//! scheduler_tests).

use super::*;

fn info(roles: &[&str]) -> Value {
    let mut info = framework_info(&[]);
    info["roles"] = json!(roles);
    info
}

/// Subscribes with these roles, of which some are suppressed, to a cluster of one agent.
fn subscribed(roles: &[&str], suppressed: &[&str]) -> (World, Vec<Effect>) {
    let mut w = world();
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info(roles), "suppressed_roles": suppressed}});
    w.subscribe_call(STREAM, call);
    let effects = w.agent();
    (w, effects)
}

fn update(w: &mut World, info: &Value, more: Value) -> (u16, String, Vec<Effect>) {
    let mut info = info.clone();
    info["id"] = json!({"value": "m-0000"});
    let mut update = json!({"framework_info": info});
    for (name, value) in more.as_object().expect("an object") {
        update[name] = value.clone();
    }
    w.call(json!({"type": "UPDATE_FRAMEWORK", "update_framework": update}))
}

fn decline(w: &mut World, offer: &Value, seconds: f64) {
    w.call(json!({"type": "DECLINE", "decline": {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": seconds}}}));
}

fn constraint(role: &str, kind: &str) -> Value {
    json!({"role_constraints": {role: {"groups": [{"attribute_constraints": [
        {"selector": {"attribute_name": "rack"}, "predicate": {kind: {}}}]}]}}})
}

#[test]
fn a_role_that_is_added_gets_offers() {
    let (mut w, effects) = subscribed(&[], &[]);
    assert!(offers(&effects).is_empty());
    let (status, _, effects) = update(&mut w, &info(&["a"]), json!({}));
    assert_eq!((status, types(&effects, STREAM)), (200, vec!["OFFERS".to_owned()]));
}

#[test]
fn a_role_that_is_added_suppressed_gets_none() {
    let (mut w, _) = subscribed(&[], &[]);
    let suppressed = json!({"suppressed_roles": ["a"]});
    let (status, _, mut effects) = update(&mut w, &info(&["a"]), suppressed);
    effects.extend(w.wait(10));
    assert_eq!((status, offers(&effects).len()), (200, 0));
}

#[test]
fn a_role_is_removed_while_another_one_is_no_longer_suppressed() {
    let (mut w, effects) = subscribed(&["a", "b"], &["b"]);
    assert_eq!(offers(&effects)[0]["allocation_info"]["role"], "a");
    let (_, _, mut effects) = update(&mut w, &info(&["b"]), json!({}));
    effects.extend(w.wait(1));
    let seen = types(&effects, STREAM);
    assert!(seen.starts_with(&["RESCIND".to_owned()]), "{seen:?}");
    assert_eq!(offers(&effects)[0]["allocation_info"]["role"], "b");
}

#[test]
fn a_role_that_is_suppressed_by_an_update_keeps_its_offers() {
    let (mut w, effects) = subscribed(&["a"], &[]);
    let offer = offers(&effects).remove(0);
    let (_, _, effects) = update(&mut w, &info(&["a"]), json!({"suppressed_roles": ["a"]}));
    assert!(types(&effects, STREAM).is_empty());
    decline(&mut w, &offer, 0.0);
    assert!(offers(&w.wait(10)).is_empty(), "but gets no more");
}

#[test]
fn what_a_role_refused_is_forgotten_when_it_is_no_longer_suppressed() {
    let (mut w, effects) = subscribed(&["a"], &[]);
    decline(&mut w, &offers(&effects)[0], 100_000.0);
    update(&mut w, &info(&["a"]), json!({"suppressed_roles": ["a"]}));
    assert!(offers(&w.wait(10)).is_empty());
    let (_, _, mut effects) = update(&mut w, &info(&["a"]), json!({}));
    effects.extend(w.wait(1));
    assert_eq!(offers(&effects).len(), 1);
}

#[test]
fn constraints_of_an_update_take_the_place_of_the_old_ones() {
    let (mut w, effects) = subscribed(&["a"], &[]);
    let constrained = json!({"offer_constraints": constraint("a", "exists")});
    assert_eq!(update(&mut w, &info(&["a"]), constrained).0, 200);
    decline(&mut w, &offers(&effects)[0], 0.0);
    assert!(offers(&w.wait(10)).is_empty(), "the agent has no rack");
    let (_, _, mut effects) = update(&mut w, &info(&["a"]), json!({}));
    effects.extend(w.wait(1));
    assert_eq!(offers(&effects).len(), 1, "an update without constraints removes them");
}

#[test]
fn an_update_with_constraints_for_a_role_of_others_is_refused_as_a_whole() {
    let (mut w, _) = subscribed(&["a"], &[]);
    let constrained = json!({"offer_constraints": constraint("c", "exists")});
    let (status, text, effects) = update(&mut w, &info(&["a", "b"]), constrained);
    assert_eq!((status, effects.len()), (400, 0));
    assert_eq!(
        text,
        "'UpdateFramework' call is not valid: Offer constraints specify `role_constraints` for a role 'c'not contained in the set of roles"
    );
    let view = w.master.view();
    let framework = view.frameworks.values().next().expect("a framework");
    assert_eq!(framework.info.roles, ["a"], "nothing of it holds");
}

#[test]
fn only_an_update_that_changes_something_is_announced() {
    let (mut w, _) = subscribed(&["a"], &[]);
    let is_announced = |effects: &[Effect]| {
        let to_agent = to_agent(effects).into_iter();
        let told = to_agent.filter(|m| matches!(m, master_to_agent::Message::UpdateFramework(_)));
        (told.count(), effects.iter().filter(|e| matches!(e, Effect::Announce { .. })).count())
    };
    let (_, _, effects) = update(&mut w, &info(&["a"]), json!({}));
    assert_eq!(is_announced(&effects), (0, 0));
    let mut named = info(&["a"]);
    named["webui_url"] = json!("http://example.org");
    let (_, _, effects) = update(&mut w, &named, json!({}));
    assert_eq!(is_announced(&effects).0, 1);
}

#[test]
fn who_subscribes_with_all_roles_suppressed_gets_no_offers() {
    let (mut w, mut effects) = subscribed(&["a", "b"], &["a", "b"]);
    effects.extend(w.wait(10));
    assert!(offers(&effects).is_empty());
    let (_, _, mut effects) = w.call(json!({"type": "REVIVE", "revive": {"roles": ["b"]}}));
    effects.extend(w.wait(1));
    assert_eq!(offers(&effects)[0]["allocation_info"]["role"], "b");
}

#[test]
fn who_subscribes_again_with_all_roles_suppressed_gets_no_offers() {
    let (mut w, effects) = subscribed(&["a"], &[]);
    assert_eq!(offers(&effects).len(), 1);
    let again = Token(2);
    let mut info = info(&["a"]);
    info["id"] = json!({"value": "m-0000"});
    let call = json!({"type": "SUBSCRIBE", "framework_id": {"value": "m-0000"},
        "subscribe": {"framework_info": info, "suppressed_roles": ["a"]}});
    let mut effects = w.subscribe_call(again, call);
    effects.extend(w.wait(14));
    assert_eq!(types(&effects, again), ["SUBSCRIBED", "HEARTBEAT"]);
}

/// A framework becomes one of several roles, or of one again, when it subscribes anew; what it runs goes on.
#[test]
fn a_framework_changes_between_one_role_and_several_when_it_fails_over() {
    let mut w = world();
    let mut single = json!({"user": "root", "name": "f", "role": "a", "failover_timeout": 100.0});
    w.subscribe(STREAM, single.clone());
    let offer = offers(&w.agent()).remove(0);
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}]});
    w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 1000.0},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}}));
    let mut several = info(&["a", "b"]);
    several["id"] = json!({"value": "m-0000"});
    several["failover_timeout"] = json!(100.0);
    let mut effects = w.subscribe(Token(2), several);
    effects.extend(w.wait(1));
    let seen = types(&effects, Token(2));
    assert_eq!(seen, ["SUBSCRIBED", "HEARTBEAT", "OFFERS"]);
    let roles = |w: &World| {
        let view = w.master.view();
        let framework = view.frameworks.values().next().expect("a framework");
        (framework.roles().into_iter().collect::<Vec<_>>(), framework.tasks.len())
    };
    assert_eq!(roles(&w), (vec!["a".to_owned(), "b".to_owned()], 1));
    single["id"] = json!({"value": "m-0000"});
    let effects = w.subscribe(Token(3), single);
    assert_eq!(types(&effects, Token(3))[..2], ["SUBSCRIBED", "HEARTBEAT"]);
    assert_eq!(roles(&w), (vec!["a".to_owned()], 1));
}
