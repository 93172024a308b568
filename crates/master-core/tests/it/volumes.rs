//! Persistent volumes (spec/master.md section 8: persistent volume tests and endpoints).

use crate::operations::{
    ROLE, accept, applied, op, operate, operation_statuses, ready, reserved, total, volume, with_id,
};
use crate::*;

fn create(volume: &Value) -> Value {
    op("CREATE", "create", "volumes", std::slice::from_ref(volume))
}

fn destroy(volume: &Value) -> Value {
    op("DESTROY", "destroy", "volumes", std::slice::from_ref(volume))
}

fn reserve(resource: &Value) -> Value {
    op("RESERVE", "reserve", "resources", std::slice::from_ref(resource))
}

fn task(id: &str, offer: &Value, resources: &[Value]) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "command": {"value": "true"}, "resources": resources})
}

fn launch(tasks: &[Value]) -> Value {
    json!({"type": "LAUNCH", "launch": {"task_infos": tasks}})
}

fn cpus(amount: f64) -> Value {
    json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": amount}})
}

#[test]
fn conflicts_of_operators_with_what_there_is() {
    let (mut w, _) = ready(&[]);
    assert_eq!(operate(&mut w, reserve(&reserved("disk", 64.0)), Some("ops")).0, 202);
    assert_eq!(operate(&mut w, create(&volume("big", 65.0)), Some("ops")).0, 409, "too large");
    let mut other = volume("other", 64.0);
    other["reservations"][0]["role"] = json!("other");
    assert_eq!(operate(&mut w, create(&other), Some("ops")).0, 409, "not reserved to it");
    let (status, text, _) = operate(&mut w, destroy(&volume("v", 64.0)), Some("ops"));
    assert_eq!(status, 400);
    assert_eq!(text, "Invalid DESTROY operation: Persistent volumes not found");
    assert_eq!(operate(&mut w, create(&volume("v", 64.0)), Some("ops")).0, 202);
    let unreserve = op("UNRESERVE", "unreserve", "resources", &[reserved("disk", 64.0)]);
    assert_eq!(operate(&mut w, unreserve, Some("ops")).0, 409, "the volume has it");
    let (status, text, _) = operate(&mut w, create(&volume("v", 64.0)), Some("ops"));
    assert_eq!(status, 400);
    assert!(text.ends_with("Persistence ID 'v' is not unique"), "{text}");
    assert_eq!(operate(&mut w, destroy(&volume("v", 64.0)), Some("ops")).0, 202);
    assert!(!total(&w).contains("[v:"), "{}", total(&w));
}

#[test]
fn a_framework_makes_what_an_operator_removes() {
    let (mut w, offer) = ready(&[]);
    let operations = json!([reserve(&reserved("disk", 64.0)), create(&volume("v", 64.0))]);
    w.call(accept(&offer, operations));
    let (status, text, effects) = operate(&mut w, destroy(&volume("v", 64.0)), None);
    assert_eq!((status, text.as_str()), (202, ""));
    assert_eq!(types(&effects, STREAM)[0], "RESCIND", "the volume was offered");
    assert!(total(&w).contains("disk(reservations: [(DYNAMIC,web/api,ops)]):64"), "{}", total(&w));
}

#[test]
fn the_same_id_may_be_used_by_another_role() {
    let (mut w, _) = ready(&[]);
    let mut theirs = volume("v", 32.0);
    theirs["reservations"][0]["role"] = json!("other");
    let mut disk = reserved("disk", 32.0);
    disk["reservations"][0]["role"] = json!("other");
    for operation in [
        reserve(&reserved("disk", 64.0)),
        create(&volume("v", 64.0)),
        reserve(&disk),
        create(&theirs),
    ] {
        let (status, text, _) = operate(&mut w, operation, Some("ops"));
        assert_eq!((status, text.as_str()), (202, ""));
    }
}

#[test]
fn a_task_can_not_use_a_volume_that_was_resized_in_the_same_accept() {
    let (mut w, offer) = ready(&[]);
    let operations = json!([
        reserve(&reserved("disk", 100.0)),
        create(&volume("v", 64.0)),
        {"type": "GROW_VOLUME", "grow_volume": {"volume": volume("v", 64.0), "addition": reserved("disk", 36.0)}},
        launch(&[task("t", &offer, &[cpus(1.0), volume("v", 100.0)])]),
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let (state, _, reason, _) = status(&effects);
    assert_eq!((state.as_str(), reason.as_str()), ("TASK_ERROR", "REASON_TASK_INVALID"));
    assert!(total(&w).contains("[v:data]:100"), "{}", total(&w));
}

/// A shared volume that the first framework uses, and a second framework of the role.
fn shared() -> (World, Value, Value) {
    let (mut w, offer) = ready(&["SHARED_RESOURCES"]);
    let mut shared = volume("v", 64.0);
    shared["shared"] = json!({});
    let operations = json!([
        reserve(&reserved("disk", 64.0)),
        create(&shared),
        launch(&[task("a", &offer, &[cpus(1.0), shared.clone()])]),
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let rest = offers(&effects).remove(0);
    (w, shared, rest)
}

fn second(w: &mut World) -> Vec<Effect> {
    let mut info = framework_info(&["RESERVATION_REFINEMENT", "SHARED_RESOURCES"]);
    info["roles"] = json!([ROLE]);
    info["principal"] = json!("ops");
    w.subscribe(Token(2), info)
}

#[test]
fn a_shared_volume_is_offered_to_other_frameworks_while_it_is_used() {
    let (mut w, _, rest) = shared();
    let decline = json!({"type": "DECLINE", "decline": {"offer_ids": [rest["id"]], "filters": {"refuse_seconds": 1000.0}}});
    w.call(decline);
    let mut effects = second(&mut w);
    effects.extend(w.wait(1));
    let seen = events(&effects, Token(2));
    let text = serde_json::to_string(&seen).expect("text");
    assert!(text.contains("\"shared\""), "{text}");
}

#[test]
fn destroying_a_shared_volume_takes_every_offer_of_it_back() {
    let (mut w, shared, rest) = shared();
    w.update("a", "TASK_FINISHED", &[1; 16]);
    w.call(accept(&rest, json!([])));
    let mut effects = second(&mut w);
    effects.extend(w.wait(1));
    assert!(types(&effects, Token(2)).contains(&"OFFERS".to_owned()));
    let (status, text, effects) = operate(&mut w, destroy(&shared), None);
    assert_eq!((status, text.as_str()), (202, ""));
    assert!(types(&effects, Token(2)).contains(&"RESCIND".to_owned()));
    assert!(!total(&w).contains("[v:"), "{}", total(&w));
}

#[test]
fn where_an_operator_says_a_shared_volume_is_mounted_does_not_matter() {
    let (mut w, mut shared, rest) = shared();
    w.update("a", "TASK_FINISHED", &[1; 16]);
    w.call(accept(&rest, json!([])));
    let mut effects = second(&mut w);
    effects.extend(w.wait(1));
    assert!(types(&effects, Token(2)).contains(&"OFFERS".to_owned()));
    shared["disk"]["volume"]["container_path"] = json!("elsewhere");
    let (status, text, effects) = operate(&mut w, destroy(&shared), None);
    assert_eq!((status, text.as_str()), (202, ""));
    assert!(types(&effects, Token(2)).contains(&"RESCIND".to_owned()), "it was offered");
    assert!(!total(&w).contains("[v:"), "{}", total(&w));
}

#[test]
fn a_shared_volume_in_use_survives_the_master() {
    let (w, shared, _) = shared();
    let registry: Vec<_> = w.registry.clone().into_iter().collect();
    let mut again = world_with(config(), registry);
    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    register.checkpointed_resources = vec![wire::json::from_value(&shared).expect("a volume")];
    let framework = json!({"user": "root", "name": "f", "id": {"value": "m-0000"}, "roles": [ROLE],
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}, {"type": "SHARED_RESOURCES"}]});
    register.frameworks = vec![wire::json::from_value(&framework).expect("a framework")];
    let mut used = shared.clone();
    used["allocation_info"] = json!({"role": ROLE});
    let mut one = cpus(1.0);
    one["allocation_info"] = json!({"role": ROLE});
    let running = json!({"name": "a", "task_id": {"value": "a"}, "framework_id": {"value": "m-0000"},
        "agent_id": {"value": "m-S0"}, "state": "TASK_RUNNING", "resources": [one, used]});
    register.tasks = vec![wire::json::from_value(&running).expect("a task")];
    again.register(AGENT, register);
    let (status, text, _) = operate(&mut again, destroy(&shared), None);
    assert_eq!(
        (status, text.as_str()),
        (400, "Invalid DESTROY operation: Persistent volumes in use")
    );
    let mut effects = second(&mut again);
    effects.extend(again.wait(1));
    let text = serde_json::to_string(&events(&effects, Token(2))).expect("text");
    assert!(text.contains("\"shared\""), "it is offered again: {text}");
}

#[test]
fn an_operator_resizes_volumes() {
    let (mut w, _) = ready(&[]);
    for operation in [
        reserve(&reserved("disk", 100.0)),
        create(&volume("v", 50.0)),
        json!({"type": "GROW_VOLUME", "grow_volume": {"volume": volume("v", 50.0), "addition": reserved("disk", 30.0)}}),
        json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": volume("v", 80.0), "subtract": {"value": 20.0}}}),
    ] {
        let (status, text, effects) = operate(&mut w, operation, Some("ops"));
        assert_eq!((status, text.as_str(), applied(&effects).len()), (202, "", 1));
    }
    assert!(total(&w).contains("[v:data]:60"), "{}", total(&w));
    assert!(total(&w).contains("disk(reservations: [(DYNAMIC,web/api,ops)]):40"), "{}", total(&w));
    let grow = json!({"type": "GROW_VOLUME", "grow_volume": {"volume": volume("v", 60.0), "addition": reserved("disk", 41.0)}});
    assert_eq!(operate(&mut w, grow, Some("ops")).0, 409);
}

#[test]
fn a_mount_disk_does_not_grow() {
    let mut w = world();
    let mut info = framework_info(&["RESERVATION_REFINEMENT"]);
    info["roles"] = json!([ROLE]);
    w.subscribe(STREAM, info);
    let mount = |mut resource: Value| {
        resource["disk"]["source"] = json!({"type": "MOUNT", "mount": {"root": "/mnt/a"}});
        resource
    };
    let mut register = registration("cpus:4;mem:1024");
    let disk = mount(json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 100.0}}));
    register.info.resources.push(wire::json::from_value(&disk).expect("a disk"));
    let offer = offers(&w.register(AGENT, register)).remove(0);
    let whole = mount(volume("v", 100.0));
    let mut reservation = mount(reserved("disk", 100.0));
    reservation["reservations"][0].as_object_mut().expect("it").remove("principal");
    let mut made = whole.clone();
    made["reservations"][0].as_object_mut().expect("it").remove("principal");
    made["disk"]["persistence"].as_object_mut().expect("it").remove("principal");
    let grow = json!({"type": "GROW_VOLUME", "grow_volume": {"volume": made, "addition": reserved("disk", 1.0)}});
    let shrink = json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": made, "subtract": {"value": 1.0}}});
    let operations = json!([
        reserve(&reservation),
        create(&made),
        with_id(grow, "grow"),
        with_id(shrink, "shrink")
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let told = operation_statuses(&effects);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(state, _)| state == "OPERATION_ERROR"), "{told:?}");
    assert!(total(&w).contains("[MOUNT:/mnt/a,v:data]:100"), "{}", total(&w));
}
