//! Quota and weights: validation, registry, offers that give way (spec/master.md 4.2, 4.3, section 8).

use crate::*;

fn update(w: &mut World, force: bool, configs: Value) -> (u16, String, Vec<Effect>) {
    let configs = configs.as_array().expect("a list").iter();
    let configs = configs.map(|c| wire::json::from_value(c).expect("a config")).collect();
    w.operator(OperatorCall::UpdateQuota { force, configs })
}

fn amounts(pairs: &[(&str, f64)]) -> Value {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), json!({"value": value}))).collect()
}

fn config(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> Value {
    json!({"role": role, "guarantees": amounts(guarantees), "limits": amounts(limits)})
}

/// A framework of role `web` with an offer of the only agent.
fn ready() -> (World, Value) {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["roles"] = json!(["web"]);
    w.subscribe(STREAM, info);
    let offer = offers(&w.agent()).remove(0);
    (w, offer)
}

fn launch(offer: &Value, cpus: f64) -> Value {
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "command": {"value": "true"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}}]});
    json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}})
}

#[test]
fn invalid_quotas_are_refused_and_change_nothing() {
    let (mut w, offer) = ready();
    w.call(launch(&offer, 3.0));
    let cases = [
        (
            config("a//b", &[], &[]),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.role': Role 'a//b' cannot contain two adjacent slashes",
        ),
        (
            config("web", &[], &[("", 1.0)]),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.limits': Empty resource name",
        ),
        (
            config("web", &[("c pus", 1.0)], &[]),
            "Invalid 'QuotaConfig.guarantees': Invalid resource name 'c pus': expected no blanks",
        ),
        (
            config("web", &[("cpus", -1.0)], &[]),
            "Invalid QuotaConfig: Invalid guarantee configuration {'cpus': -1}: the value is negative",
        ),
        (
            config("web", &[], &[("cpus", 2e12)]),
            "values greater than 1 trillion (1000000000000) are not supported",
        ),
        (
            config("web", &[], &[("mem", 2e12)]),
            "values greater than 1 exabyte (1099511627776) are not supported",
        ),
        (
            config("web", &[("cpus", 4.0)], &[("cpus", 3.5)]),
            "Invalid QuotaConfig: 'QuotaConfig.guarantees' cpus:4 is not contained within the 'QuotaConfig.limits' cpus:3.5",
        ),
        (
            config("web", &[], &[("cpus", 2.0)]),
            "Invalid QuotaConfig: Role 'web' is already consuming 'cpus:3'; this is more than the requested limits 'cpus:2' (use 'force' flag to bypass this check)",
        ),
        (
            config("web", &[("cpus", 5.0)], &[]),
            "Invalid QuotaConfig: total quota guarantees 'cpus:5' exceed cluster capacity 'cpus:4; disk:1000; mem:1024' (use 'force' flag to bypass this check)",
        ),
    ];
    for (config, expected) in cases {
        let (status, text, _) = update(&mut w, false, json!([{"role": "ok"}, config]));
        assert_eq!(status, 400, "{config}");
        assert!(text.contains(expected), "{config}: {text}");
    }
    assert!(w.master.view().quotas.is_empty());
    assert!(w.registry.keys().all(|(section, _)| section != "quota"));
    let (status, ..) =
        update(&mut w, true, json!([config("web", &[("cpus", 5.0)], &[("cpus", 6.0)])]));
    assert_eq!(status, 200, "forced");
}

#[test]
fn a_quota_is_kept_in_the_registry_and_an_empty_one_removes_it() {
    let (mut w, _) = ready();
    let set = config("web", &[("cpus", 1.0)], &[("cpus", 2.0)]);
    assert_eq!(update(&mut w, false, json!([set])).0, 200);
    let kept: Vec<_> = w.registry.clone().into_iter().collect();
    let again = world_with(crate::config(), kept);
    assert_eq!(again.master.view().quotas["web"].limits["cpus"].value, 2.0);
    assert_eq!(update(&mut w, false, json!([{"role": "web"}])).0, 200);
    assert!(w.master.view().quotas.is_empty());
    assert!(w.registry.keys().all(|(section, _)| section != "quota"));
}

#[test]
fn a_new_limit_takes_back_offers_that_exceed_it() {
    let (mut w, _) = ready();
    let (status, _, effects) = update(&mut w, false, json!([config("web", &[], &[("cpus", 1.0)])]));
    assert_eq!(status, 200);
    assert_eq!(types(&effects, STREAM), ["RESCIND", "OFFERS"]);
    let cpus = &offers(&effects)[0]["resources"][0];
    assert_eq!((&cpus["name"], &cpus["scalar"]["value"]), (&json!("cpus"), &json!(1.0)));
}

#[test]
fn a_new_guarantee_takes_back_offers_of_others() {
    let (mut w, _) = ready();
    let (status, _, effects) = update(&mut w, false, json!([config("db", &[("cpus", 3.0)], &[])]));
    assert_eq!(status, 200);
    assert_eq!(types(&effects, STREAM), ["RESCIND", "OFFERS"]);
    let cpus = &offers(&effects)[0]["resources"][0];
    assert_eq!(cpus["scalar"]["value"], 1.0, "headroom is kept for db");
}

#[test]
fn the_older_calls_set_guarantee_and_limit_and_remove_both() {
    let (mut w, _) = ready();
    let request = |guarantee: Value| {
        let request = json!({"role": "db", "guarantee": guarantee});
        OperatorCall::SetQuota { request: Box::new(wire::json::from_value(&request).expect("it")) }
    };
    let cpus = |n: f64| json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": n}});
    let ports =
        json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]}});
    for (guarantee, status, expected) in [
        (json!([]), 400, "QuotaInfo with empty 'guarantee'"),
        (json!([ports]), 400, "QuotaInfo must not include non-scalar resources"),
        (json!([cpus(1.0), cpus(2.0)]), 400, "QuotaInfo contains duplicate resource name 'cpus'"),
        (
            json!([cpus(9.0)]),
            409,
            "Quota guarantees overcommit the cluster (use 'force' to bypass this check): ",
        ),
        (json!([cpus(1.0)]), 200, ""),
        (json!([cpus(1.0)]), 400, "Cannot set quota for role 'db' which already has quota"),
    ] {
        let (got, text, _) = w.operator(request(guarantee.clone()));
        assert_eq!(got, status, "{guarantee}: {text}");
        assert!(text.contains(expected), "{guarantee}: {text}");
    }
    assert_eq!(w.master.view().quotas["db"].guarantees, w.master.view().quotas["db"].limits);
    assert_eq!(w.operator(OperatorCall::RemoveQuota { role: "db".to_owned() }).0, 200);
    let (status, text, _) = w.operator(OperatorCall::RemoveQuota { role: "db".to_owned() });
    assert_eq!(
        (status, text.as_str()),
        (400, "Failed to remove quota: Role 'db' has no quota set")
    );
}

#[test]
fn weights_are_checked_kept_and_rescind_offers() {
    let (mut w, _) = ready();
    let weights = |role: &str, weight: f64| OperatorCall::UpdateWeights {
        infos: vec![v1::WeightInfo { role: Some(role.to_owned()), weight }],
    };
    let (status, text, _) = w.operator(weights("/x", 1.0));
    assert_eq!(status, 400);
    assert!(
        text.starts_with("Failed to validate update weights request JSON: Invalid role '/x'"),
        "{text}"
    );
    let (status, text, _) = w.operator(weights("web", 0.0));
    assert_eq!(status, 400);
    assert!(text.ends_with("Weights must be positive"), "{text}");
    let (status, _, effects) = w.operator(weights("nobody", 2.0));
    assert_eq!((status, types(&effects, STREAM).len()), (200, 0), "nobody has that role");
    let (status, _, effects) = w.operator(weights("web", 2.0));
    assert_eq!(status, 200);
    assert_eq!(types(&effects, STREAM), ["RESCIND", "OFFERS"]);
    let kept: Vec<_> = w.registry.clone().into_iter().collect();
    assert_eq!(world_with(crate::config(), kept).master.view().weights["web"], 2.0);
}

#[test]
fn after_a_restart_limits_leave_room_for_what_may_run_on_agents_that_are_away() {
    let (mut w, _) = ready();
    update(&mut w, false, json!([config("web", &[], &[("cpus", 5.0)])]));
    let kept: Vec<_> = w.registry.clone().into_iter().collect();
    let settings = || Config { allocator_agent_recovery_factor: 1.0, ..crate::config() };
    let subscribe = |w: &mut World, stream: Token, role: &str| {
        let mut info = framework_info(&[]);
        info["roles"] = json!([role]);
        w.subscribe(stream, info)
    };
    let cpus = |effects: &[Effect]| -> Vec<f64> {
        let cpus = |offer: &Value| -> f64 {
            let all = offer["resources"].as_array().expect("resources").iter();
            all.filter(|r| r["name"] == "cpus").filter_map(|r| r["scalar"]["value"].as_f64()).sum()
        };
        offers(effects).iter().map(cpus).collect()
    };
    let other = || registration("cpus:4;mem:1024");

    let mut again = world_with(settings(), kept.clone());
    subscribe(&mut again, STREAM, "web");
    let effects = again.register(Token(77), other());
    assert_eq!(cpus(&effects), [1.0], "4 of the 5 may run on the agent that is away");
    let mut back = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    back.info.id = Some("m-S0".into());
    let effects = again.register(AGENT, back);
    assert_eq!(cpus(&effects).iter().sum::<f64>(), 4.0, "nothing runs there");

    // Whoever has no limit waits for nothing, and nobody waits for ever.
    let mut again = world_with(settings(), kept);
    subscribe(&mut again, STREAM, "batch");
    let effects = again.register(Token(77), other());
    assert_eq!(cpus(&effects), [4.0]);
}

#[test]
fn agents_that_are_away_for_a_moment_count_for_the_capacity() {
    let (mut w, _) = ready();
    let checkpoint = json!({"type": "TEARDOWN"});
    w.call(checkpoint);
    w.step(Input::AgentClosed { connection: AGENT });
    let (status, text, _) = update(&mut w, false, json!([config("db", &[("cpus", 4.0)], &[])]));
    assert_eq!((status, text.as_str()), (200, ""));
    let (status, ..) = update(&mut w, false, json!([config("db", &[("cpus", 4.5)], &[])]));
    assert_eq!(status, 400);
}

#[test]
fn quotas_of_a_cluster_without_agents_hold_nothing_up() {
    let mut w = world();
    let set = config("web", &[("cpus", 1.0)], &[]);
    assert_eq!(update(&mut w, true, json!([set])).0, 200);
    let kept: Vec<_> = w.registry.clone().into_iter().collect();
    let mut again = world_with(crate::config(), kept);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["web"]);
    again.subscribe(STREAM, info);
    assert_eq!(offers(&again.agent()).len(), 1, "there are no agents to wait for");
}

/// Whoever comes back first after a failover of the master: what runs is not offered, and counts for quota.
#[test]
fn what_runs_counts_after_a_failover_whoever_comes_back_first() {
    let (mut w, offer) = ready();
    w.call(launch(&offer, 3.0));
    let view = w.master.view();
    let framework = view.framework("m-0000").expect("the framework");
    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    register.frameworks = vec![framework.info.clone()];
    register.tasks = framework.tasks.values().map(|t| t.wire.clone()).collect();
    for framework_first in [true, false] {
        let kept: Vec<_> = w.registry.clone().into_iter().collect();
        let mut again = world_with(crate::config(), kept);
        let mut info = framework_info(&[]);
        info["roles"] = json!(["web"]);
        info["id"] = json!({"value": "m-0000"});
        let mut effects = Vec::new();
        if framework_first {
            effects.extend(again.subscribe(STREAM, info));
            effects.extend(again.register(AGENT, register.clone()));
        } else {
            effects.extend(again.register(AGENT, register.clone()));
            effects.extend(again.subscribe(STREAM, info));
        }
        effects.extend(again.wait(1));
        let all = offers(&effects);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["resources"][0]["scalar"]["value"], 1.0);
        let (status, text, _) =
            update(&mut again, false, json!([config("web", &[], &[("cpus", 2.0)])]));
        assert_eq!(status, 400);
        assert!(text.contains("Role 'web' is already consuming 'cpus:3'"), "{text}");
    }
}

/// One invalid configuration of several: none is set.
#[test]
fn quotas_of_several_roles_are_set_together_or_not_at_all() {
    let (mut w, _) = ready();
    let one = config("one", &[("cpus", 1.0)], &[]);
    let large = config("two", &[("cpus", 4.0)], &[]);
    assert_eq!(update(&mut w, false, json!([one, large])).0, 400, "together they are too much");
    assert!(w.master.view().quotas.is_empty());
    let small = config("two", &[("cpus", 3.0)], &[]);
    assert_eq!(update(&mut w, false, json!([one, small])).0, 200);
    assert_eq!(w.master.view().quotas.len(), 2);
}

#[test]
fn guarantees_that_can_not_be_counted_together_are_refused_even_by_force() {
    let (mut w, _) = ready();
    let many: Vec<Value> =
        (0..9_300).map(|i| config(&format!("role{i}"), &[("cpus", 1e12)], &[])).collect();
    let (status, text, _) = update(&mut w, true, json!(many));
    assert_eq!(
        (status, text.as_str()),
        (
            400,
            "Invalid QuotaConfig: the guarantees of all roles for 'cpus' add up to more than can be counted"
        )
    );
    assert!(w.master.state().quotas.is_empty(), "nothing has changed");
    let (status, text, _) = update(&mut w, true, json!(many[..10]));
    assert_eq!((status, text.as_str()), (200, ""));
    w.wait(1);
}

#[test]
fn a_cluster_of_more_than_can_be_counted_goes_on() {
    let mut w = world();
    let mut info = framework_info(&[]);
    info["roles"] = json!(["web"]);
    w.subscribe(STREAM, info);
    let much = "cpus:9000000000000000;mem:1024;disk:1000;cpus(a):100000000000000";
    let mut offered = 0;
    for agent in 0..3 {
        let mut register = registration(much);
        register.info.hostname = format!("host{agent}");
        let effects = w.register(Token(100 + agent), register);
        offered += offers(&effects).len();
    }
    let (status, text, _) =
        update(&mut w, false, json!([config("web", &[("cpus", 5.0)], &[("cpus", 7.0)])]));
    assert_eq!((status, text.as_str()), (200, ""));
    for _ in 0..3 {
        offered += offers(&w.wait(1)).len();
    }
    assert!(offered >= 3, "{offered}");
    assert_eq!(w.master.state().capacity()["cpus"], i64::MAX);
    // An agent that can't be counted alone is not registered.
    let mut register = registration("cpus:9000000000000000");
    let more = registration("cpus(a):9000000000000000").info.resources;
    register.info.resources.extend(more);
    let effects = w.register(Token(110), register);
    assert!(format!("{effects:?}").contains("there is more of 'cpus' than can be counted"));
}
