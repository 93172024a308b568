//! Reservations by frameworks and operators (spec/master.md section 8: reservation tests, reservation endpoints).

use crate::operations::{
    ROLE, accept, applied, finished, op, operate, operation_statuses, ready, reserved, total,
    with_id,
};
use crate::*;

fn reserve(resources: &[Value]) -> Value {
    op("RESERVE", "reserve", "resources", resources)
}

fn unreserve(resources: &[Value]) -> Value {
    op("UNRESERVE", "unreserve", "resources", resources)
}

fn plain(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount}})
}

/// All offers that a framework was sent and that were not taken back at once.
fn last_offer(effects: &[Effect]) -> Value {
    offers(effects).pop().unwrap_or_else(|| panic!("an offer: {effects:?}"))
}

#[test]
fn what_was_reserved_can_be_unreserved() {
    let (mut w, offer) = ready(&[]);
    let (_, _, effects) = w.call(accept(&offer, json!([reserve(&[reserved("cpus", 1.0)])])));
    let offer = last_offer(&effects);
    assert!(offer["resources"].to_string().contains("DYNAMIC"), "{offer}");
    let (_, _, effects) = w.call(accept(&offer, json!([unreserve(&[reserved("cpus", 1.0)])])));
    assert_eq!(applied(&effects)[0].0, "UNRESERVE");
    assert!(total(&w).starts_with("cpus:4; "), "{}", total(&w));
}

#[test]
fn reserve_launch_and_unreserve_in_one_accept() {
    let (mut w, offer) = ready(&[]);
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": [reserved("cpus", 1.0)]});
    let operations = json!([
        reserve(&[reserved("cpus", 3.0)]),
        {"type": "LAUNCH", "launch": {"task_infos": [task]}},
        unreserve(&[reserved("cpus", 2.0)]),
        // The task has it now.
        with_id(unreserve(&[reserved("cpus", 1.0)]), "too-much"),
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    assert_eq!(operation_statuses(&effects)[0].0, "OPERATION_ERROR");
    assert!(total(&w).starts_with("cpus:3; "), "{}", total(&w));
    assert!(total(&w).contains("cpus(reservations: [(DYNAMIC,web/api,ops)]):1"), "{}", total(&w));
}

#[test]
fn thousandths_are_not_lost_when_reservations_add_up() {
    let (mut w, offer) = ready(&[]);
    let twice = json!([reserve(&[reserved("cpus", 0.1)]), reserve(&[reserved("cpus", 0.1)])]);
    w.call(accept(&offer, twice));
    assert!(total(&w).contains("cpus(reservations: [(DYNAMIC,web/api,ops)]):0.2"), "{}", total(&w));
    assert!(total(&w).starts_with("cpus:3.8; "), "{}", total(&w));
}

#[test]
fn what_is_too_much_or_for_another_role_is_dropped_and_the_rest_goes_on() {
    let (mut w, offer) = ready(&[]);
    let mut alien = reserved("cpus", 1.0);
    alien["reservations"][0]["role"] = json!("other");
    let operations = json!([
        with_id(reserve(&[reserved("cpus", 5.0)]), "a"),
        with_id(reserve(std::slice::from_ref(&alien)), "b"),
        with_id(unreserve(&[alien]), "c"),
        reserve(&[reserved("cpus", 1.0)]),
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let (states, texts): (Vec<_>, Vec<_>) = operation_statuses(&effects).into_iter().unzip();
    assert_eq!(states, ["OPERATION_ERROR"; 3]);
    assert!(texts[1].ends_with("; on agent m-S0 at slave(1)@10.0.0.1:5051 (host)"), "{texts:?}");
    assert_eq!(applied(&effects).len(), 1);
}

#[test]
fn a_refined_reservation_is_for_the_role_below_and_pops_back() {
    let (mut w, _) = ready(&[]);
    let mut base = reserved("cpus", 2.0);
    base["reservations"][0]["role"] = json!("web");
    let mut refined = base.clone();
    refined["reservations"].as_array_mut().expect("a stack").push(
        json!({"type": "DYNAMIC", "role": ROLE, "principal": "ops", "labels": {"labels": [{"key": "k", "value": "v"}]}}),
    );
    assert_eq!(operate(&mut w, reserve(std::slice::from_ref(&base)), Some("ops")).0, 202);
    let (status, text, _) = operate(&mut w, reserve(std::slice::from_ref(&refined)), Some("ops"));
    assert_eq!((status, text.as_str()), (202, ""));
    let stack = "cpus(reservations: [(DYNAMIC,web,ops),(DYNAMIC,web/api,ops,{k: v})]):2";
    assert!(total(&w).contains(stack), "{}", total(&w));
    let mut upwards = base.clone();
    upwards["reservations"] = json!([
        {"type": "DYNAMIC", "role": ROLE, "principal": "ops"},
        {"type": "DYNAMIC", "role": "web", "principal": "ops"}]);
    let (status, text, _) = operate(&mut w, reserve(&[upwards]), Some("ops"));
    assert_eq!(status, 400);
    assert!(text.contains("role 'web' is not a refinement of 'web/api'"), "{text}");
    assert_eq!(operate(&mut w, unreserve(&[refined]), Some("ops")).0, 202);
    assert!(total(&w).contains("cpus(reservations: [(DYNAMIC,web,ops)]):2"), "{}", total(&w));
}

#[test]
fn an_operator_takes_free_and_offered_resources_together() {
    let mut w = world();
    let mut info = framework_info(&["RESERVATION_REFINEMENT"]);
    info["roles"] = json!([ROLE]);
    w.subscribe(STREAM, info);
    let offer = last_offer(&w.agent());
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": [plain("cpus", 1.0)]});
    let (_, _, effects) = w.call(accept(
        &offer,
        json!([
        {"type": "LAUNCH", "launch": {"task_infos": [task]}}]),
    ));
    assert!(offers(&effects).is_empty(), "declined for long: 3 cpus are free");
    let mut effects = w.update("t", "TASK_FINISHED", &[1; 16]);
    effects.extend(w.wait(1));
    let again = last_offer(&effects);
    let offered = again["resources"][0]["scalar"]["value"].as_f64();
    let (status, text, effects) = operate(&mut w, reserve(&[reserved("cpus", 4.0)]), Some("ops"));
    assert_eq!((status, text.as_str()), (202, ""), "offered: {offered:?}");
    assert_eq!(types(&effects, STREAM)[0], "RESCIND");
    assert!(total(&w).contains("(DYNAMIC,web/api,ops)]):4"), "{}", total(&w));
}

#[test]
fn an_operator_rescinds_no_more_offers_than_needed() {
    let (mut w, _) = ready(&[]);
    let mut second = registration("cpus:4;mem:1024");
    second.info.port = Some(5052);
    let effects = w.register(Token(1001), second);
    assert_eq!(offers(&effects).len(), 1);
    let (status, _, effects) = operate(&mut w, reserve(&[reserved("cpus", 1.0)]), Some("ops"));
    assert_eq!(status, 202);
    let rescinded = types(&effects, STREAM).iter().filter(|t| *t == "RESCIND").count();
    assert_eq!(rescinded, 1, "the other agent is not concerned");
}

#[test]
fn invalid_reservations_of_operators_are_refused_with_the_reason() {
    let (mut w, _) = ready(&[]);
    let mut star = reserved("cpus", 1.0);
    star["reservations"][0]["role"] = json!("*");
    let mut revocable = reserved("cpus", 1.0);
    revocable["revocable"] = json!({});
    let mut blank = reserved("cpus", 1.0);
    blank["reservations"][0]["role"] = json!("a b");
    let mut negative = reserved("cpus", 1.0);
    negative["scalar"]["value"] = json!(-1.0);
    for (resource, expected) in [
        (star, "Invalid reservation: role \"*\" cannot be"),
        (revocable, "cannot be"),
        (blank, "because it contains backspace or whitespace"),
        (negative, "Invalid scalar resource"),
        (plain("cpus", 1.0), "is not dynamically reserved"),
    ] {
        let before = total(&w);
        let (status, text, effects) =
            operate(&mut w, reserve(std::slice::from_ref(&resource)), Some("ops"));
        assert_eq!(status, 400, "{resource}");
        assert!(text.contains(expected), "{resource}: {text}");
        assert_eq!((total(&w), applied(&effects).len()), (before, 0));
    }
}

#[test]
fn what_is_reserved_statically_is_neither_given_away_nor_made() {
    let (mut w, _) = ready(&[]);
    let mut with_static = registration("cpus:4;mem:1024;cpus(st):1");
    with_static.info.port = Some(5052);
    w.register(Token(1001), with_static);
    let at = |role: &str, kinds: &[&str]| {
        let mut resource = plain("cpus", 1.0);
        let stack = kinds.iter().enumerate().map(|(level, kind)| {
            let role = if level == 0 { role.to_owned() } else { format!("{role}/x") };
            json!({"type": kind, "role": role})
        });
        resource["reservations"] = stack.collect();
        resource
    };
    let exchange = |source: Value, target: Value| {
        let text =
            json!({"type": "RESERVE", "reserve": {"source": [source], "resources": [target]}});
        wire::json::from_value(&text).expect("an operation")
    };
    let mut apply = |operation: v1::offer::Operation| {
        let call = OperatorCall::Apply {
            agent_id: "m-S1".to_owned(),
            operation: Box::new(operation),
            principal: None,
        };
        let (status, text, _) = w.operator(call);
        (status, text)
    };
    for (source, target, field) in [
        (at("st", &["STATIC"]), at("db", &["DYNAMIC"]), "source"),
        (plain("cpus", 1.0), at("st", &["STATIC", "DYNAMIC"]), "resources"),
    ] {
        let (status, text) = apply(exchange(source, target));
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(&format!("Invalid {field}: Resource cpus")), "{text}");
        assert!(text.contains("is not dynamically reserved"), "{text}");
    }
    let refined = exchange(at("st", &["STATIC"]), at("st", &["STATIC", "DYNAMIC"]));
    assert_eq!(apply(refined), (202, String::new()));
}

#[test]
fn reservations_of_different_principals_and_labels_are_different() {
    let (mut w, _) = ready(&[]);
    let labelled = |principal: &str, labels: Value| {
        let mut resource = reserved("cpus", 1.0);
        resource["reservations"][0]["principal"] = json!(principal);
        if !labels.is_null() {
            resource["reservations"][0]["labels"] = labels;
        }
        resource
    };
    let labels = json!({"labels": [{"key": "team", "value": "x"}]});
    for (principal, labels) in [("ops", Value::Null), ("dev", Value::Null), ("ops", labels.clone())]
    {
        let resource = labelled(principal, labels);
        assert_eq!(operate(&mut w, reserve(&[resource]), Some(principal)).0, 202);
    }
    let all = total(&w);
    for part in [
        "cpus(reservations: [(DYNAMIC,web/api,ops)]):1",
        "cpus(reservations: [(DYNAMIC,web/api,dev)]):1",
        "cpus(reservations: [(DYNAMIC,web/api,ops,{team: x})]):1",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    let mut two = labelled("ops", Value::Null);
    two["scalar"]["value"] = json!(2.0);
    assert_eq!(operate(&mut w, unreserve(&[two]), None).0, 409, "they do not add up");
    assert_eq!(operate(&mut w, unreserve(&[labelled("ops", labels)]), None).0, 202);
}

#[test]
fn both_formats_reserve_the_same_and_are_answered_as_asked() {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["roles"] = json!(["web"]);
    info["principal"] = json!("ops");
    w.subscribe(STREAM, info);
    let offer = last_offer(&w.agent());
    assert!(!offer.to_string().contains("\"reservations\""), "without the capability: {offer}");
    let old = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}, "role": "web",
        "reservation": {"principal": "ops"}});
    let (_, _, effects) = w.call(accept(&offer, json!([reserve(std::slice::from_ref(&old))])));
    assert_eq!(applied(&effects).len(), 1);
    let again = last_offer(&effects);
    let shown = again["resources"].as_array().expect("a list").iter();
    let shown: Vec<_> = shown.filter(|r| r["role"] == "web").collect();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["reservation"], json!({"principal": "ops"}), "{again}");
    // The operator uses the new one for the same reservation.
    let mut new = reserved("cpus", 1.0);
    new["reservations"][0]["role"] = json!("web");
    assert_eq!(operate(&mut w, unreserve(&[new]), Some("ops")).0, 202);
    assert!(total(&w).starts_with("cpus:4; "), "{}", total(&w));
}

#[test]
fn a_framework_keeps_what_it_reserved_when_the_master_fails_over() {
    let (mut w, offer) = ready(&[]);
    let (_, _, effects) = w.call(accept(&offer, json!([reserve(&[reserved("cpus", 2.0)])])));
    let uuid = applied(&effects)[0].1.clone();
    finished(&mut w, &uuid, "OPERATION_FINISHED", &[reserved("cpus", 2.0)]);
    let registry: Vec<_> = w.registry.clone().into_iter().collect();
    for framework_first in [true, false] {
        let mut again = world_with(config(), registry.clone());
        let mut info = framework_info(&["RESERVATION_REFINEMENT"]);
        info["roles"] = json!([ROLE]);
        info["principal"] = json!("ops");
        info["id"] = json!({"value": "m-0000"});
        let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
        register.info.id = Some("m-S0".into());
        register.checkpointed_resources =
            vec![wire::json::from_value(&reserved("cpus", 2.0)).expect("a resource")];
        let mut effects = Vec::new();
        if framework_first {
            effects.extend(again.subscribe(STREAM, info));
            effects.extend(again.register(AGENT, register));
        } else {
            effects.extend(again.register(AGENT, register));
            effects.extend(again.subscribe(STREAM, info));
        }
        effects.extend(again.wait(1));
        let offer = last_offer(&effects);
        assert!(offer["resources"].to_string().contains("\"DYNAMIC\""), "{offer}");
    }
}
