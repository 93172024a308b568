//! What agents can't do is not asked of them (spec/master.md 1.6; section 8: operation validation, upgrade_tests,
//! OperationFeedbackValidation).

use crate::operations::{
    ROLE, accept, applied, op, operate, operation_statuses, ready, reserved, volume, with_id,
};
use crate::*;
use wire::v1::agent_info::capability::Type;

/// A framework of `role`, and an offer of an agent without one capability.
fn without(missing: Type, role: &str) -> (World, Value) {
    let mut w = world();
    let mut info = framework_info(&["RESERVATION_REFINEMENT", "SHARED_RESOURCES"]);
    info["roles"] = json!([role]);
    info["principal"] = json!("ops");
    w.subscribe(STREAM, info);
    let mut register = registration("cpus:4;mem:1024;disk:1000");
    register.capabilities.retain(|c| c.r#type() != missing);
    let offer = offers(&w.register(AGENT, register)).pop().unwrap_or_default();
    (w, offer)
}

/// The same resource, reserved to another role.
fn of_role(mut resource: Value, role: &str) -> Value {
    resource["reservations"][0]["role"] = json!(role);
    resource
}

fn reserve(resources: &[Value]) -> Value {
    op("RESERVE", "reserve", "resources", resources)
}

#[test]
fn an_agent_without_hierarchical_roles_reserves_nothing_for_one() {
    let (mut w, offer) = without(Type::HierarchicalRole, "web");
    assert!(!offer.is_null());
    let (status, text, _) = operate(&mut w, reserve(&[reserved("cpus", 1.0)]), Some("ops"));
    assert_eq!(status, 400);
    let expected = "with reservation for hierarchical role 'web/api' cannot be reserved on an agent without HIERARCHICAL_ROLE capability";
    assert!(text.contains(expected), "{text}");
    let plain = of_role(reserved("cpus", 1.0), "web");
    assert_eq!(operate(&mut w, reserve(&[plain]), Some("ops")).0, 202);
}

#[test]
fn an_agent_without_refinement_refines_no_reservation() {
    let (mut w, _) = without(Type::ReservationRefinement, ROLE);
    let base = of_role(reserved("cpus", 1.0), "web");
    assert_eq!(operate(&mut w, reserve(std::slice::from_ref(&base)), Some("ops")).0, 202);
    let mut refined = reserved("cpus", 1.0);
    refined["reservations"] = json!([base["reservations"][0], refined["reservations"][0]]);
    let (status, text, _) = operate(&mut w, reserve(&[refined]), Some("ops"));
    assert_eq!(status, 400);
    assert!(text.contains("without RESERVATION_REFINEMENT capability"), "{text}");
}

#[test]
fn an_agent_that_can_not_resize_volumes_is_not_asked_to() {
    let (mut w, offer) = without(Type::ResizeVolume, ROLE);
    let grow = json!({"type": "GROW_VOLUME", "grow_volume": {"volume": volume("v", 64.0), "addition": reserved("disk", 36.0)}});
    let shrink = json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": volume("v", 64.0), "subtract": {"value": 1.0}}});
    let operations = json!([
        reserve(&[reserved("disk", 100.0)]),
        op("CREATE", "create", "volumes", &[volume("v", 64.0)]),
        with_id(grow, "grow"),
        with_id(shrink, "shrink"),
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let told = operation_statuses(&effects);
    assert_eq!(told.len(), 2, "{told:?}");
    for (state, message) in told {
        assert_eq!(state, "OPERATION_ERROR");
        assert!(message.contains("on an agent without RESIZE_VOLUME capability"), "{message}");
    }
}

#[test]
fn a_shared_volume_keeps_its_size() {
    let (mut w, offer) = ready(&["SHARED_RESOURCES"]);
    let mut shared = volume("v", 64.0);
    shared["shared"] = json!({});
    let grow = json!({"type": "GROW_VOLUME", "grow_volume": {"volume": shared, "addition": reserved("disk", 36.0)}});
    let shrink = json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": shared, "subtract": {"value": 1.0}}});
    let operations = json!([
        reserve(&[reserved("disk", 100.0)]),
        op("CREATE", "create", "volumes", &[shared]),
        with_id(grow, "grow"),
        with_id(shrink, "shrink"),
    ]);
    let (_, _, effects) = w.call(accept(&offer, operations));
    let messages: Vec<String> = operation_statuses(&effects).into_iter().map(|s| s.1).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("Growing a shared persistent volume is not supported"));
    assert!(messages[1].starts_with("Shrinking a shared persistent volume is not supported"));
}

#[test]
fn operations_are_of_one_role_at_a_time() {
    let (mut w, offer) = ready(&[]);
    let allocated = |role: &str| {
        let mut resource = reserved("cpus", 1.0);
        resource["allocation_info"] = json!({"role": role});
        resource
    };
    let mixed = reserve(&[allocated(ROLE), allocated("web")]);
    let (_, _, effects) = w.call(accept(&offer, json!([with_id(mixed, "mixed")])));
    let told = operation_statuses(&effects);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "OPERATION_ERROR"), "{told:?}");
    assert_eq!(applied(&effects), []);
}

#[test]
fn feedback_is_refused_for_launches_and_by_agents_that_give_none() {
    for capability in [Type::AgentOperationFeedback, Type::HierarchicalRole] {
        let (mut w, offer) = without(capability, "web");
        let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
            "command": {"value": "true"},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}]});
        let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [task]}});
        let plain = of_role(reserved("cpus", 1.0), "web");
        let operations = json!([with_id(reserve(&[plain]), "reserve"), with_id(launch, "launch")]);
        let (_, _, effects) = w.call(accept(&offer, operations));
        let (state, _, _, message) = status(&effects);
        assert_eq!(state, "TASK_ERROR");
        assert_eq!(message, "The `id` field cannot be set on LAUNCH operations");
        let told = operation_statuses(&effects);
        if capability == Type::AgentOperationFeedback {
            assert_eq!((told.len(), told[0].0.as_str()), (1, "OPERATION_ERROR"), "{told:?}");
            assert!(told[0].1.contains("AGENT_OPERATION_FEEDBACK"), "{told:?}");
        } else {
            assert_eq!((told.len(), applied(&effects).len()), (0, 1), "{told:?}");
        }
    }
}

/// An agent that was upgraded before its master: its tasks run on, and it is told nothing until the master is as well.
#[test]
fn an_agent_of_a_newer_protocol_is_not_registered_not_ended_and_logged() {
    let mut w = world();
    let register = || registration("cpus:4;mem:1024");
    let effects = w.register(AGENT, internal::Register { protocol: 2, ..register() });
    let [Effect::Log { text }] = &effects[..] else { panic!("{effects:?}") };
    assert!(
        text.contains("it speaks version 2") && text.contains("upgrade masters first"),
        "{text}"
    );
    assert!(!w.register(AGENT, register()).is_empty(), "the version of this master");
}
