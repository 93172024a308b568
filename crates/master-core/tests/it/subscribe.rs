//! SUBSCRIBE, failover, disconnection.

use super::*;

#[test]
fn a_new_framework_gets_an_id_and_a_heartbeat() {
    let mut w = world();
    let effects = w.framework(&[]);
    assert_eq!(types(&effects, STREAM), ["SUBSCRIBED", "HEARTBEAT"]);
    let first = &events(&effects, STREAM)[0]["subscribed"];
    assert_eq!(first["framework_id"]["value"], "m-0000");
    assert_eq!(first["heartbeat_interval_seconds"], 15.0);
    assert_eq!(types(&w.wait(46), STREAM), ["HEARTBEAT"; 3]);
}

#[track_caller]
fn refused(info: Value, why: &str) {
    let mut w = world();
    let effects = w.subscribe(STREAM, info);
    let all = events(&effects, STREAM);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["error"]["message"], why);
    assert_eq!(effects.last(), Some(&Effect::CloseStream { stream: STREAM }));
}

#[test]
fn invalid_framework_infos_are_refused_with_an_error_event() {
    let with = |more: Value| {
        let mut info = framework_info(&[]);
        for (name, value) in more.as_object().expect("an object") {
            info[name] = value.clone();
        }
        info
    };
    refused(
        with(json!({"roles": ["a/"]})),
        "'FrameworkInfo.roles' contains invalid role: Role 'a/' cannot end with a slash",
    );
    refused(
        with(json!({"roles": [""]})),
        "'FrameworkInfo.roles' contains invalid role: Role names cannot be the empty string",
    );
    refused(
        with(json!({"roles": ["a", "a"]})),
        "'FrameworkInfo.roles' contains duplicate items: {a}",
    );
    refused(
        with(json!({"role": "a"})),
        "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
    );
    refused(
        with(json!({"failover_timeout": 1e300})),
        &format!("The framework failover_timeout ({}) is invalid", 1e300),
    );
    refused(with(json!({"id": {"value": "a/b"}})), "'a/b' contains invalid characters");
    refused(
        json!({"user": "u", "name": "n", "roles": ["a"]}),
        "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
    );
    refused(
        json!({"user": "u", "name": "n", "role": "-a"}),
        "'FrameworkInfo.role' is not a valid role: Role component '-a' is invalid because it starts with a dash",
    );
}

#[test]
fn suppressed_roles_and_constraints_must_be_subscribed_to() {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["roles"] = json!(["a"]);
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info, "suppressed_roles": ["b"]}});
    let effects = w.subscribe_call(STREAM, call);
    assert_eq!(
        events(&effects, STREAM)[0]["error"]["message"],
        "Suppressed roles {b} are not contained in the set of roles {a}"
    );
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info,
        "offer_constraints": {"role_constraints": {"b": {"groups": []}}}}});
    let effects = w.subscribe_call(STREAM, call);
    assert_eq!(
        events(&effects, STREAM)[0]["error"]["message"],
        "Offer constraints specify `role_constraints` for a role 'b'not contained in the set of roles"
    );
}

#[test]
fn flags_limit_who_may_subscribe() {
    let config =
        Config { roles: Some(BTreeSet::from(["x".into()])), root_submissions: false, ..config() };
    let mut w = world_with(config, Vec::new());
    let mut info = framework_info(&[]);
    info["roles"] = json!(["y"]);
    let effects = w.subscribe(STREAM, info.clone());
    assert_eq!(
        events(&effects, STREAM)[0]["error"]["message"],
        "Roles {y} are not present in the master's --roles"
    );
    info["roles"] = json!(["x"]);
    let effects = w.subscribe(STREAM, info);
    assert_eq!(
        events(&effects, STREAM)[0]["error"]["message"],
        "User 'root' is not allowed to run frameworks without --root_submissions set"
    );
}

#[test]
fn the_newest_subscription_wins_and_old_offers_are_forgotten() {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["roles"] = json!(["*"]);
    w.subscribe(STREAM, info.clone());
    let old = offers(&w.agent());
    assert_eq!(old.len(), 1);
    info["id"] = json!({"value": "m-0000"});
    let effects = w.subscribe(Token(2), info);
    assert_eq!(
        events(&effects, STREAM),
        [json!({"type": "ERROR", "error": {"message": "Framework failed over"}})]
    );
    assert!(effects.contains(&Effect::CloseStream { stream: STREAM }));
    assert_eq!(types(&effects, Token(2)), ["SUBSCRIBED", "HEARTBEAT", "OFFERS"]);
    assert!(
        to_agent(&effects)
            .iter()
            .any(|m| matches!(m, master_to_agent::Message::UpdateFramework(_)))
    );
    // The close of the old stream disturbs nobody.
    assert_eq!(w.step(Input::StreamClosed { stream: STREAM }), []);
}

#[test]
fn a_framework_that_does_not_come_back_is_removed_and_stays_so() {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["roles"] = json!(["*"]);
    info["failover_timeout"] = json!(50.0);
    w.subscribe(STREAM, info.clone());
    w.agent();
    w.step(Input::StreamClosed { stream: STREAM });
    assert!(to_agent(&w.wait(49)).iter().all(|m| matches!(m, master_to_agent::Message::Ping(_))));
    let removed = w.wait(2);
    assert!(
        to_agent(&removed)
            .iter()
            .any(|m| matches!(m, master_to_agent::Message::ShutdownFramework(_)))
    );
    info["id"] = json!({"value": "m-0000"});
    let effects = w.subscribe(Token(2), info);
    assert_eq!(events(&effects, Token(2))[0]["error"]["message"], "Framework has been removed");
}

#[test]
fn an_unknown_id_is_taken_and_a_changed_principal_is_not() {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["id"] = json!({"value": "never-seen"});
    info["principal"] = json!("p");
    let effects = w.subscribe(STREAM, info.clone());
    assert_eq!(events(&effects, STREAM)[0]["subscribed"]["framework_id"]["value"], "never-seen");
    info["principal"] = json!("q");
    let effects = w.subscribe(Token(2), info);
    assert_eq!(
        events(&effects, Token(2))[0]["error"]["message"],
        "Changing framework's principal is not allowed."
    );
}
