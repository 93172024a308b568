//! Reservations and persistent volumes: offer operations, operator calls, feedback (spec/master.md 1.4, 1.6, 5.1).

use crate::*;
use wire::v1::offer::Operation;

/// Role of the framework in these tests.
pub(crate) const ROLE: &str = "web/api";

pub(crate) fn ready(capabilities: &[&str]) -> (World, Value) {
    let mut w = world();
    let mut info = framework_info(&[&["RESERVATION_REFINEMENT"], capabilities].concat());
    info["roles"] = json!([ROLE]);
    info["principal"] = json!("ops");
    w.subscribe(STREAM, info);
    let effects = w.agent();
    let offer = offers(&effects).remove(0);
    (w, offer)
}

pub(crate) fn reserved(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount},
        "reservations": [{"type": "DYNAMIC", "role": ROLE, "principal": "ops"}]})
}

pub(crate) fn volume(id: &str, size: f64) -> Value {
    let mut disk = reserved("disk", size);
    disk["disk"] = json!({"persistence": {"id": id, "principal": "ops"},
        "volume": {"container_path": "data", "mode": "RW"}});
    disk
}

pub(crate) fn op(kind: &str, field: &str, list: &str, resources: &[Value]) -> Value {
    json!({"type": kind, field: {list: resources}})
}

pub(crate) fn accept(offer: &Value, operations: Value) -> Value {
    json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]], "operations": operations,
        "filters": {"refuse_seconds": 1000.0}}})
}

pub(crate) fn with_id(mut operation: Value, id: &str) -> Value {
    operation["id"] = json!({"value": id});
    operation
}

pub(crate) fn operation_statuses(effects: &[Effect]) -> Vec<(String, String)> {
    let all = events(effects, STREAM);
    let told = all.iter().filter(|e| e["type"] == "UPDATE_OPERATION_STATUS");
    let status = |e: &Value| e["update_operation_status"]["status"].clone();
    told.map(status)
        .map(|s| {
            let text = |name: &str| s[name].as_str().unwrap_or_default().to_owned();
            (text("state"), text("message"))
        })
        .collect()
}

pub(crate) fn total(w: &World) -> String {
    w.master.view().agent("m-S0").expect("the agent").total.to_string()
}

/// What was sent to the agent: kinds of operations.
pub(crate) fn applied(effects: &[Effect]) -> Vec<(String, Vec<u8>)> {
    let sent = to_agent(effects).into_iter().filter_map(|m| match m {
        master_to_agent::Message::ApplyOperation(m) => {
            Some((m.operation.r#type().as_str_name().to_owned(), m.operation_uuid.clone()))
        }
        _ => None,
    });
    sent.collect()
}

pub(crate) fn finished(
    w: &mut World,
    uuid: &[u8],
    state: &str,
    checkpointed: &[Value],
) -> Vec<Effect> {
    let status = json!({"state": state, "uuid": {"value": "BwcHBwcHBwcHBwcHBwcHBw=="}});
    let resources = checkpointed.iter().map(|r| wire::json::from_value(r).expect("a resource"));
    let update = internal::OperationUpdate {
        framework_id: None,
        operation_uuid: uuid.to_vec(),
        status: wire::json::from_value(&status).expect("a status"),
        checkpointed_resources: resources.collect(),
    };
    w.agent_says(agent_to_master::Message::OperationUpdate(update))
}

pub(crate) fn operate(
    w: &mut World,
    operation: Value,
    principal: Option<&str>,
) -> (u16, String, Vec<Effect>) {
    let operation: Operation = wire::json::from_value(&operation).expect("an operation");
    let call = OperatorCall::Apply {
        agent_id: "m-S0".to_owned(),
        operation: Box::new(operation),
        principal: principal.map(str::to_owned),
    };
    w.operator(call)
}

#[test]
fn reserve_create_and_launch_in_one_accept() {
    let (mut w, offer) = ready(&[]);
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": [reserved("cpus", 1.0), volume("v", 64.0)]});
    let operations = json!([
        op("RESERVE", "reserve", "resources", &[reserved("cpus", 2.0), reserved("disk", 64.0)]),
        op("CREATE", "create", "volumes", &[volume("v", 64.0)]),
        {"type": "LAUNCH", "launch": {"task_infos": [task]}},
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let sent = to_agent(&effects);
    assert_eq!(
        applied(&effects).iter().map(|a| a.0.as_str()).collect::<Vec<_>>(),
        ["RESERVE", "CREATE"]
    );
    assert!(matches!(sent[2], master_to_agent::Message::RunTask(_)), "{sent:?}");
    assert_eq!(
        total(&w),
        "cpus:2; mem:1024; disk:936; ports:[31000-31009]; cpus(reservations: [(DYNAMIC,web/api,ops)]):2; disk(reservations: [(DYNAMIC,web/api,ops)])[v:data]:64"
    );
    // What the operation made and the task left is free without a filter, the rest with one.
    let again = offers(&effects);
    assert_eq!(again.len(), 1);
    let names: Vec<_> = again[0]["resources"].as_array().expect("resources").iter().collect();
    assert!(names.iter().any(|r| r["name"] == "cpus" && r["reservations"][0]["role"] == ROLE));
}

#[test]
fn only_the_role_of_a_reservation_and_those_below_it_are_offered_it() {
    let (mut w, offer) = ready(&[]);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("cpus", 4.0)]);
    w.call(accept(&offer, json!([reserve])));
    let mut other = framework_info(&["RESERVATION_REFINEMENT"]);
    other["roles"] = json!(["web"]);
    let effects = w.subscribe(Token(2), other);
    let seen = events(&effects, Token(2));
    let text = serde_json::to_string(&seen).expect("text");
    assert!(!text.contains("\"reservations\""), "the role above may not use it: {text}");
    let mut below = framework_info(&["RESERVATION_REFINEMENT"]);
    below["roles"] = json!(["web/api/v2"]);
    w.call(json!({"type": "TEARDOWN"}));
    let effects = w.subscribe(Token(3), below);
    let text = serde_json::to_string(&events(&effects, Token(3))).expect("text");
    assert!(text.contains("\"reservations\""), "the role below may: {text}");
}

#[test]
fn feedback_is_told_until_acknowledged() {
    let (mut w, offer) = ready(&[]);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0)]);
    let (_, _, effects) = w.call(accept(&offer, json!([with_id(reserve, "op")])));
    let uuid = applied(&effects)[0].1.clone();
    let reconcile = json!({"type": "RECONCILE_OPERATIONS", "reconcile_operations": {
        "operations": [{"operation_id": {"value": "op"}}, {"operation_id": {"value": "ghost"}}]}});
    let (_, _, effects) = w.call(reconcile.clone());
    let states: Vec<_> = operation_statuses(&effects).into_iter().map(|s| s.0).collect();
    assert_eq!(states, ["OPERATION_PENDING", "OPERATION_UNKNOWN"]);

    let effects = finished(&mut w, &uuid, "OPERATION_FINISHED", &[]);
    assert_eq!(operation_statuses(&effects)[0].0, "OPERATION_FINISHED");
    assert!(to_agent(&effects).is_empty(), "the framework acknowledges, not the master");
    let acknowledge = |uuid: &str| {
        json!({"type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": {
            "agent_id": {"value": "m-S0"}, "uuid": uuid, "operation_id": {"value": "op"}}})
    };
    let (status, _, effects) = w.call(acknowledge("CAgICAgICAgICAgICAgICA=="));
    assert_eq!((status, to_agent(&effects).len()), (202, 0), "another uuid");
    let (_, _, effects) = w.call(acknowledge("BwcHBwcHBwcHBwcHBwcHBw=="));
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::AcknowledgeOperation(_)]));
    assert!(w.master.view().agent("m-S0").expect("it").operations.is_empty());
    // Said again by an agent that did not hear the acknowledgement: it is told to forget it.
    let effects = finished(&mut w, &uuid, "OPERATION_FINISHED", &[]);
    assert_eq!(operation_statuses(&effects), []);
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::AcknowledgeOperation(_)]));
}

#[test]
fn an_operation_that_nobody_follows_is_acknowledged_by_the_master() {
    let (mut w, offer) = ready(&[]);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0)]);
    let (_, _, effects) = w.call(accept(&offer, json!([reserve])));
    let uuid = applied(&effects)[0].1.clone();
    let effects = finished(&mut w, &uuid, "OPERATION_FINISHED", &[]);
    assert_eq!(operation_statuses(&effects), []);
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::AcknowledgeOperation(_)]));
    assert!(w.master.view().agent("m-S0").expect("it").operations.is_empty());
}

#[test]
fn what_the_agent_could_not_do_is_taken_back() {
    let (mut w, offer) = ready(&[]);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("disk", 64.0)]);
    let create = op("CREATE", "create", "volumes", &[volume("v", 64.0)]);
    let (_, _, effects) = w.call(accept(&offer, json!([reserve, with_id(create, "c")])));
    let uuid = applied(&effects)[1].1.clone();
    assert!(total(&w).contains("[v:data]:64"));
    let effects = finished(&mut w, &uuid, "OPERATION_FAILED", &[reserved("disk", 64.0)]);
    assert_eq!(operation_statuses(&effects)[0].0, "OPERATION_FAILED");
    assert!(types(&effects, STREAM).contains(&"RESCIND".to_owned()));
    assert!(!total(&w).contains("[v:data]"), "{}", total(&w));
    assert!(total(&w).contains("disk(reservations: [(DYNAMIC,web/api,ops)]):64"));
}

#[test]
fn an_operation_that_was_lost_on_the_way_is_dropped_when_the_agent_comes_back() {
    let (mut w, offer) = ready(&[]);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0)]);
    w.call(accept(&offer, json!([with_id(reserve, "op")])));
    w.step(Input::AgentClosed { connection: AGENT });
    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    let effects = w.register(AGENT, register);
    assert_eq!(
        operation_statuses(&effects),
        [("OPERATION_DROPPED".to_owned(), "Operation is unknown to the agent".to_owned())]
    );
    assert!(!total(&w).contains("DYNAMIC"), "{}", total(&w));
}

#[test]
fn reservations_come_back_with_their_agent() {
    let (mut w, _) = ready(&[]);
    w.step(Input::AgentClosed { connection: AGENT });
    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    let checkpointed = [reserved("cpus", 1.5), volume("v", 10.0)];
    register.checkpointed_resources =
        checkpointed.iter().map(|r| wire::json::from_value(r).expect("a resource")).collect();
    w.register(AGENT, register.clone());
    assert!(total(&w).starts_with("cpus:2.5; mem:1024; disk:990;"), "{}", total(&w));

    w.step(Input::AgentClosed { connection: AGENT });
    let small = resources::Resources::parse("cpus:1;mem:1024;disk:1000", "*").expect("resources");
    register.info.resources = small.to_wire();
    let effects = w.register(AGENT, register);
    let [master_to_agent::Message::Shutdown(shutdown)] = to_agent(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert!(shutdown.message.contains("Incompatible agent resources"), "{}", shutdown.message);
}

#[test]
fn operations_are_lost_with_their_agent() {
    let (mut w, offer) = ready(&[]);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0)]);
    w.call(accept(&offer, json!([with_id(reserve, "op")])));
    let call = OperatorCall::MarkAgentGone { agent_id: "m-S0".to_owned() };
    let effects = w.step(Input::Operator { token: Token(77), call });
    assert_eq!(
        operation_statuses(&effects),
        [("OPERATION_GONE_BY_OPERATOR".to_owned(), "Agent has been marked gone".to_owned())]
    );
}

#[test]
fn a_volume_grows_and_shrinks() {
    let (mut w, offer) = ready(&[]);
    let grow = json!({"type": "GROW_VOLUME", "grow_volume": {
        "volume": volume("v", 64.0), "addition": reserved("disk", 36.0)}});
    let operations = json!([
        op("RESERVE", "reserve", "resources", &[reserved("disk", 100.0)]),
        op("CREATE", "create", "volumes", &[volume("v", 64.0)]),
        grow,
        // The resized volume is not there for later operations of the same call.
        with_id(op("DESTROY", "destroy", "volumes", &[volume("v", 100.0)]), "too-early"),
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    assert!(total(&w).contains("[v:data]:100"), "{}", total(&w));
    assert_eq!(operation_statuses(&effects)[0].0, "OPERATION_ERROR");
    let offer = offers(&effects).remove(0);
    let shrink = json!({"type": "SHRINK_VOLUME", "shrink_volume": {
        "volume": volume("v", 100.0), "subtract": {"value": 30.0}}});
    w.call(accept(&offer, json!([shrink])));
    assert!(total(&w).contains("[v:data]:70"), "{}", total(&w));
    assert!(total(&w).contains("disk(reservations: [(DYNAMIC,web/api,ops)]):30"), "{}", total(&w));
}

/// Each operation on a fresh offer: the text of its OPERATION_ERROR contains the expected one, and nothing changes.
#[test]
fn invalid_operations_are_refused_with_the_rule_that_they_break() {
    let mut other_role = reserved("cpus", 1.0);
    other_role["reservations"][0]["role"] = json!("other");
    let mut other_principal = reserved("cpus", 1.0);
    other_principal["reservations"][0]["principal"] = json!("bob");
    let mut no_principal = reserved("cpus", 1.0);
    no_principal["reservations"][0].as_object_mut().expect("it").remove("principal");
    let plain = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}});
    let mut read_only = volume("v", 1.0);
    read_only["disk"]["volume"]["mode"] = json!("RO");
    let mut shared = volume("v", 1.0);
    shared["shared"] = json!({});
    let mut bad_id = volume("a/b", 1.0);
    bad_id["disk"]["persistence"]["principal"] = json!("ops");
    let mut host_path = volume("v", 1.0);
    host_path["disk"]["volume"]["host_path"] = json!("/x");
    let reserve = |r: &Value| op("RESERVE", "reserve", "resources", std::slice::from_ref(r));
    let create = |r: &Value| op("CREATE", "create", "volumes", std::slice::from_ref(r));
    let cases: &[(Value, &str)] = &[
        (
            reserve(&other_role),
            "with role 'other', but the resource was allocated to role 'web/api'",
        ),
        (
            reserve(&other_principal),
            "does not match a reserved resource in the request with principal 'bob'",
        ),
        (reserve(&no_principal), "a reserved resource in the request with no principal set"),
        (reserve(&plain), "Resource cpus(allocated: web/api):1 is not dynamically reserved"),
        (reserve(&reserved("cpus", 5.0)), "does not contain cpus(allocated: web/api):5"),
        (op("RESERVE", "reserve", "resources", &[]), "There are no resources"),
        (op("UNRESERVE", "unreserve", "resources", &[reserved("cpus", 1.0)]), "does not contain"),
        (
            op("UNRESERVE", "unreserve", "resources", &[volume("v", 1.0)]),
            "cannot be unreserved directly",
        ),
        (
            create(&reserved("disk", 1.0)),
            "Not a persistent volume: Resource disk(allocated: web/api)",
        ),
        (create(&read_only), "Read-only persistent volume not supported"),
        (create(&shared), "with no SHARED_RESOURCES capability"),
        (
            create(&bad_id),
            "Invalid persistence ID for persistent volume: 'a/b' contains invalid characters",
        ),
        (create(&host_path), "Expecting 'host_path' to be unset for persistent volume"),
        (
            op("CREATE", "create", "volumes", &[volume("v", 1.0), volume("v", 2.0)]),
            "Persistence ID 'v' is not unique",
        ),
        (op("DESTROY", "destroy", "volumes", &[volume("v", 1.0)]), "Persistent volumes not found"),
        (
            json!({"type": "RESERVE", "reserve": {"resources": [reserved("cpus", 1.0)], "source": [plain]}}),
            "Reservation updates are not yet implemented for the scheduler API.",
        ),
        (json!({"type": "RESERVE"}), "not set"),
        (
            json!({"type": "CREATE_DISK", "create_disk": {"source": plain, "target_type": "MOUNT"}}),
            "'source' is not managed by a resource provider",
        ),
        (
            json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": volume("v", 1.0), "subtract": {"value": 1.0}}}),
            "must be smaller than the size",
        ),
        (
            json!({"type": "GROW_VOLUME", "grow_volume": {"volume": volume("v", 1.0), "addition": reserved("mem", 1.0)}}),
            "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields",
        ),
    ];
    for (operation, expected) in cases {
        let (mut w, offer) = ready(&[]);
        let before = total(&w);
        let (_, _, effects) = w.call(accept(&offer, json!([with_id(operation.clone(), "op")])));
        let told = operation_statuses(&effects);
        assert_eq!(told.len(), 1, "{operation}");
        assert_eq!(told[0].0, "OPERATION_ERROR", "{operation}");
        assert!(told[0].1.contains(expected), "{operation}: {}", told[0].1);
        assert_eq!(total(&w), before, "{operation}");
        assert_eq!(applied(&effects), [], "{operation}");
    }
}

#[test]
fn a_shared_volume_is_used_by_several_tasks() {
    let (mut w, offer) = ready(&["SHARED_RESOURCES"]);
    let mut shared = volume("v", 64.0);
    shared["shared"] = json!({});
    let task = |id: &str, agent: &Value| {
        json!({"name": id, "task_id": {"value": id}, "agent_id": agent,
            "command": {"value": "true"}, "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}, shared]})
    };
    let operations = json!([
        op("RESERVE", "reserve", "resources", &[reserved("disk", 64.0)]),
        op("CREATE", "create", "volumes", std::slice::from_ref(&shared)),
        {"type": "LAUNCH", "launch": {"task_infos": [task("a", &offer["agent_id"]), task("b", &offer["agent_id"])]}},
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let ran = to_agent(&effects);
    let ran = ran.iter().filter(|m| matches!(m, master_to_agent::Message::RunTask(_)));
    assert_eq!(ran.count(), 2);
    let again = offers(&effects).remove(0);
    assert!(again["resources"].to_string().contains("\"shared\""), "{again}");
    let destroy = op("DESTROY", "destroy", "volumes", &[shared]);
    let (_, _, effects) = w.call(accept(&again, json!([with_id(destroy, "d")])));
    assert!(operation_statuses(&effects)[0].1.contains("Persistent volumes in use"));
}

#[test]
fn destroying_a_volume_needs_nobody_to_use_it() {
    let (mut w, offer) = ready(&[]);
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": [reserved("cpus", 1.0), volume("v", 64.0)]});
    let operations = json!([
        op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0), reserved("disk", 64.0)]),
        op("CREATE", "create", "volumes", &[volume("v", 64.0)]),
        {"type": "LAUNCH", "launch": {"task_infos": [task]}},
    ]);
    w.call(accept(&offer, operations));
    let destroy = op("DESTROY", "destroy", "volumes", &[volume("v", 64.0)]);
    let (status, text, _) = operate(&mut w, destroy.clone(), None);
    assert_eq!(
        (status, text.as_str()),
        (400, "Invalid DESTROY operation: Persistent volumes in use")
    );
    w.update("t", "TASK_FINISHED", &[1; 16]);
    let (status, text, effects) = operate(&mut w, destroy, None);
    assert_eq!((status, text.as_str()), (202, ""));
    assert!(types(&effects, STREAM).contains(&"RESCIND".to_owned()), "it was offered again");
    assert!(!total(&w).contains("[v:data]"), "{}", total(&w));
}

#[test]
fn an_operator_reserves_what_is_offered_and_gets_a_conflict_for_what_is_used() {
    let (mut w, offer) = ready(&[]);
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 3.0}}]});
    let launch = json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}]);
    w.call(accept(&offer, launch));
    let reserve = |cpus: f64| op("RESERVE", "reserve", "resources", &[reserved("cpus", cpus)]);
    let (status, text, _) = operate(&mut w, reserve(2.0), Some("ops"));
    assert_eq!(status, 409);
    assert!(text.ends_with("does not contain cpus:2"), "{text}");
    let (status, text, _) = operate(&mut w, reserve(1.0), Some("bob"));
    assert_eq!(status, 400);
    assert!(
        text.starts_with(
            "Invalid RESERVE operation on agent m-S0 at slave(1)@10.0.0.1:5051 (host): "
        ),
        "{text}"
    );
    let (status, _, effects) = operate(&mut w, reserve(1.0), Some("ops"));
    assert_eq!((status, applied(&effects).len()), (202, 1));
    assert!(total(&w).contains("cpus(reservations: [(DYNAMIC,web/api,ops)]):1"), "{}", total(&w));
    let mut renamed = reserved("cpus", 1.0);
    renamed["reservations"][0]["role"] = json!("other");
    let moved = json!({"type": "RESERVE", "reserve": {"source": [reserved("cpus", 1.0)], "resources": [renamed]}});
    let (status, _, _) = operate(&mut w, moved, Some("ops"));
    assert_eq!(status, 202);
    assert!(total(&w).contains("cpus(reservations: [(DYNAMIC,other,ops)]):1"), "{}", total(&w));
    let mut allocated = reserved("cpus", 1.0);
    allocated["allocation_info"] = json!({"role": ROLE});
    let (_, text, _) = operate(&mut w, op("RESERVE", "reserve", "resources", &[allocated]), None);
    assert!(text.contains("attempted with an allocated resource"), "{text}");
}

#[test]
fn an_operator_is_told_when_there_is_no_such_agent() {
    let mut w = world();
    let (status, text, _) =
        operate(&mut w, op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0)]), None);
    assert_eq!((status, text.as_str()), (400, "No agent found with specified ID"));
}

/// An agent that does not hear the answer in time registers again; meanwhile an operation went down the connection.
#[test]
fn a_registration_that_is_repeated_does_not_take_an_operation_back() {
    let (mut w, _) = ready(&[]);
    w.step(Input::AgentClosed { connection: AGENT });
    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    let effects = w.register(AGENT, register.clone());
    let offer = offers(&effects).remove(0);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0)]);
    let (_, _, effects) = w.call(accept(&offer, json!([with_id(reserve, "op")])));
    let uuid = applied(&effects)[0].1.clone();
    let effects = w.register(AGENT, register);
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::Registered(_)]));
    assert_eq!(operation_statuses(&effects), []);
    assert!(total(&w).contains("DYNAMIC"), "{}", total(&w));
    let effects = finished(&mut w, &uuid, "OPERATION_FINISHED", &[]);
    assert_eq!(operation_statuses(&effects)[0].0, "OPERATION_FINISHED");
}

/// An agent that died before it had stored the end carries the operation out again, and makes a status of its own.
#[test]
fn an_end_that_is_told_anew_can_be_acknowledged() {
    let (mut w, offer) = ready(&[]);
    let reserve = op("RESERVE", "reserve", "resources", &[reserved("cpus", 1.0)]);
    let (_, _, effects) = w.call(accept(&offer, json!([with_id(reserve, "op")])));
    let uuid = applied(&effects)[0].1.clone();
    finished(&mut w, &uuid, "OPERATION_FINISHED", &[]);
    let status =
        json!({"state": "OPERATION_FINISHED", "uuid": {"value": "CAgICAgICAgICAgICAgICA=="}});
    let update = internal::OperationUpdate {
        framework_id: None,
        operation_uuid: uuid,
        status: wire::json::from_value(&status).expect("a status"),
        checkpointed_resources: Vec::new(),
    };
    let effects = w.agent_says(agent_to_master::Message::OperationUpdate(update));
    assert_eq!(operation_statuses(&effects)[0].0, "OPERATION_FINISHED");
    let (_, _, effects) =
        w.call(json!({"type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": {
            "agent_id": {"value": "m-S0"}, "uuid": "CAgICAgICAgICAgICAgICA==", "operation_id": {"value": "op"}}}));
    assert!(matches!(to_agent(&effects)[..], [master_to_agent::Message::AcknowledgeOperation(_)]));
    assert!(w.master.view().agent("m-S0").expect("it").operations.is_empty());
}
