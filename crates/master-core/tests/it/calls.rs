//! Checks of calls, and calls that change what is offered.

use super::*;

#[test]
fn calls_are_refused_in_the_order_of_the_table() {
    let mut w = world();
    w.framework(&[]);
    let mut check = |call: Value, stream_id: Option<&str>, status: u16, text: &str| {
        let (got, body, _) = w.raw_call(call, stream_id);
        assert_eq!((got, body.as_str()), (status, text));
    };
    let id = json!({"value": "m-0000"});
    let own = Some("stream-1");
    check(
        json!({"framework_id": id}),
        own,
        400,
        "Failed to validate scheduler::Call: Expecting 'type' to be present",
    );
    check(
        json!({"type": "REVIVE"}),
        own,
        400,
        "Failed to validate scheduler::Call: Expecting 'framework_id' to be present",
    );
    for (kind, field) in [
        ("ACCEPT", "accept"),
        ("DECLINE", "decline"),
        ("ACCEPT_INVERSE_OFFERS", "accept_inverse_offers"),
        ("DECLINE_INVERSE_OFFERS", "decline_inverse_offers"),
        ("KILL", "kill"),
        ("SHUTDOWN", "shutdown"),
        ("ACKNOWLEDGE", "acknowledge"),
        ("ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status"),
        ("RECONCILE", "reconcile"),
        ("RECONCILE_OPERATIONS", "reconcile_operations"),
        ("MESSAGE", "message"),
        ("REQUEST", "request"),
        ("UPDATE_FRAMEWORK", "update_framework"),
    ] {
        let text = format!("Failed to validate scheduler::Call: Expecting '{field}' to be present");
        check(json!({"type": kind, "framework_id": id}), own, 400, &text);
    }
    check(
        json!({"type": "REVIVE", "framework_id": {"value": "x"}}),
        own,
        400,
        "Framework cannot be found",
    );
    let missing = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
    check(json!({"type": "REVIVE", "framework_id": id}), None, 400, missing);
    let wrong = "The stream ID 'other' included in this request didn't match the stream ID currently associated with framework ID m-0000";
    check(json!({"type": "REVIVE", "framework_id": id}), Some("other"), 400, wrong);
    check(json!({"type": "REVIVE", "framework_id": id}), own, 202, "");
    check(json!({"type": "UNKNOWN", "framework_id": id}), own, 501, "Unknown call type");
}

#[test]
fn a_call_before_the_election_or_without_a_subscription_is_refused() {
    let config = config();
    let allocator = allocator::hierarchical(config.allocator.clone());
    let mut w = World {
        master: Master::new(config, allocator),
        now: Now::at_secs(1),
        registry: BTreeMap::new(),
        next: 9,
    };
    assert_eq!(w.call(json!({"type": "REVIVE"})).0, 503);
    w.step(Input::Elected { registry: Vec::new() });
    let mut info = framework_info(&[]);
    info["failover_timeout"] = json!(100.0);
    w.subscribe(STREAM, info);
    w.step(Input::StreamClosed { stream: STREAM });
    let (status, text, _) = w.call(json!({"type": "REVIVE"}));
    assert_eq!((status, text.as_str()), (403, "Framework is not subscribed"));
}

#[test]
fn an_offer_has_the_peers_shape() {
    let mut w = world();
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "role": "*", "allocation_info": {"role": "*"}});
    assert_eq!(
        offer,
        json!({
            "id": {"value": "m-O0"}, "framework_id": {"value": "m-0000"}, "agent_id": {"value": "m-S0"},
            "hostname": "host",
            "url": {"scheme": "http", "address": {"hostname": "host", "ip": "10.0.0.1", "port": 5051}, "path": "/slave(1)"},
            "resources": [resource("cpus", 4.0), resource("mem", 1024.0), resource("disk", 1000.0),
                {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31009}]}, "role": "*",
                 "allocation_info": {"role": "*"}}],
            "allocation_info": {"role": "*"}
        })
    );
}

#[test]
fn declined_resources_come_back_when_the_filter_ends_or_at_revive() {
    let mut w = world();
    w.framework(&[]);
    let offer = offers(&w.agent()).remove(0);
    let decline = |offer: &Value, seconds: f64| json!({"type": "DECLINE", "decline": {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": seconds}}});
    let (_, _, effects) = w.call(decline(&offer, 10.0));
    assert_eq!(offers(&effects), [] as [Value; 0]);
    assert_eq!(offers(&w.wait(9)).len(), 0);
    let offer = offers(&w.wait(2)).remove(0);
    w.call(decline(&offer, 1000.0));
    let (_, _, effects) = w.call(json!({"type": "REVIVE"}));
    let offer = offers(&effects).remove(0);
    w.call(json!({"type": "SUPPRESS"}));
    let (_, _, effects) = w.call(decline(&offer, 0.0));
    assert_eq!(offers(&effects).len() + offers(&w.wait(100)).len(), 0);
}

#[test]
fn an_old_offer_is_rescinded() {
    let mut w =
        world_with(Config { offer_timeout: Some(Duration::from_secs(5)), ..config() }, Vec::new());
    w.framework(&[]);
    w.agent();
    let effects = w.wait(6);
    assert_eq!(types(&effects, STREAM)[0], "RESCIND");
}

#[test]
fn update_framework_replaces_or_refuses_the_whole() {
    let mut w = world();
    w.framework(&[]);
    w.agent();
    let mut info = framework_info(&[]);
    info["id"] = json!({"value": "m-0000"});
    info["roles"] = json!(["a"]);
    let update = |info: &Value| json!({"type": "UPDATE_FRAMEWORK", "update_framework": {"framework_info": info}});
    let (status, text, effects) = w.call(update(&info));
    assert_eq!((status, text.as_str()), (200, ""));
    assert_eq!(types(&effects, STREAM), ["RESCIND", "OFFERS"]);
    let mut refused = |name: &str, value: Value, why: &str| {
        let mut info = info.clone();
        info[name] = value;
        let (status, text, effects) = w.call(update(&info));
        assert_eq!((status, text.as_str(), effects.len()), (400, why, 0));
    };
    refused(
        "user",
        json!("x"),
        "FrameworkInfo update is not valid: Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'root' to 'x'",
    );
    refused(
        "principal",
        json!("x"),
        "FrameworkInfo update is not valid: Changing framework's principal is not allowed.",
    );
    refused(
        "checkpoint",
        json!(true),
        "FrameworkInfo update is not valid: Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'false' to 'true'",
    );
    refused(
        "roles",
        json!(["/"]),
        "Supplied FrameworkInfo is not valid: 'FrameworkInfo.roles' contains invalid role: Role '/' cannot start with a slash",
    );
}
