//! Agents: registration, silence, removal, recovery.

use super::*;
use agent_to_master::Message as FromAgent;
use master_to_agent::Message as ToAgent;

fn launch_one(w: &mut World, checkpoint: bool, capabilities: &[&str]) {
    let mut info = framework_info(capabilities);
    info["roles"] = json!(["*"]);
    info["checkpoint"] = json!(checkpoint);
    w.subscribe(STREAM, info);
    let offer = offers(&w.agent()).remove(0);
    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "m-S0"},
        "command": {"value": "true"}, "resources": [resource("cpus", 1.0), resource("mem", 64.0)]});
    w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}}));
    w.update("t", "TASK_RUNNING", &[1; 16]);
}

#[test]
fn an_agent_is_admitted_by_the_registry_first() {
    let config = config();
    let allocator = allocator::hierarchical(config.allocator.clone());
    let mut master = Master::new(config, allocator);
    let mut out = Vec::new();
    master.step(Now::at_secs(1), Input::Elected { registry: Vec::new() }, &mut out);
    let message = Box::new(FromAgent::Register(registration("cpus:1")));
    let from_agent = Input::FromAgent { connection: AGENT, ip: "10.0.0.1".into(), message };
    master.step(Now::at_secs(1), from_agent.clone(), &mut out);
    master.step(Now::at_secs(2), from_agent, &mut out);
    let [Effect::WriteRegistry { id, .. }] = out[..] else {
        panic!("one write and nothing else: {out:?}")
    };
    out.clear();
    master.step(Now::at_secs(3), Input::Written { id, result: Ok(()) }, &mut out);
    assert!(
        matches!(to_agent(&out)[..], [ToAgent::Registered(r)] if r.agent_id.value == "m-S0" && r.total_ping_timeout_seconds == 75.0)
    );
    out.clear();
    master.step(Now::at_secs(3), Input::Written { id, result: Ok(()) }, &mut out);
    assert_eq!(out, [], "a completion counts once");
}

#[test]
fn a_registry_that_fails_ends_the_master() {
    let mut w = world();
    let effects = w.step(Input::Written { id: base::WriteId(99), result: Err("disk full".into()) });
    assert_eq!(
        effects,
        [Effect::Abort { message: "the registry could not be written: disk full".into() }]
    );
}

#[test]
fn silence_makes_an_agent_unreachable_and_its_return_makes_its_tasks_known_again() {
    let mut w = world();
    launch_one(&mut w, true, &["PARTITION_AWARE"]);
    let effects = w.wait(100);
    let pings = to_agent(&effects).iter().filter(|m| matches!(m, ToAgent::Ping(_))).count();
    assert_eq!(pings, 5);
    let (state, _, reason, message) = status(&effects);
    assert_eq!(
        (state.as_str(), reason.as_str(), message.as_str()),
        ("TASK_UNREACHABLE", "REASON_AGENT_REMOVED", "health check timed out")
    );
    assert!(types(&effects, STREAM).contains(&"FAILURE".to_owned()));
    assert!(w.registry.contains_key(&("unreachable".to_owned(), "m-S0".to_owned())));

    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    register.frameworks = vec![w.master.view().framework("m-0000").expect("it").info.clone()];
    let lost = w.master.view().framework("m-0000").expect("it").unreachable_tasks[0].wire.clone();
    register.tasks = vec![v1::Task { state: v1::TaskState::TaskRunning as i32, ..lost }];
    let effects = w.register(Token(1001), register);
    let (state, _, reason, _) = status(&effects);
    assert_eq!((state.as_str(), reason.as_str()), ("TASK_RUNNING", "REASON_AGENT_REREGISTERED"));
    assert!(w.registry.contains_key(&("agents".to_owned(), "m-S0".to_owned())));
    assert!(!w.registry.contains_key(&("unreachable".to_owned(), "m-S0".to_owned())));
}

#[test]
fn a_pong_resets_the_count() {
    let mut w = world();
    w.agent();
    for _ in 0..20 {
        w.wait(15);
        w.agent_says(FromAgent::Pong(internal::Pong {}));
    }
    assert_eq!(w.master.view().agents.len(), 1);
}

#[test]
fn a_closed_connection_loses_what_does_not_checkpoint() {
    let mut w = world();
    launch_one(&mut w, false, &["PARTITION_AWARE"]);
    let effects = w.step(Input::AgentClosed { connection: AGENT });
    let (state, _, reason, message) = status(&effects);
    assert_eq!(
        (state.as_str(), reason.as_str(), message.as_str()),
        ("TASK_LOST", "REASON_AGENT_DISCONNECTED", "Agent host disconnected")
    );
    let mut w = world();
    launch_one(&mut w, true, &[]);
    let effects = w.step(Input::AgentClosed { connection: AGENT });
    assert!(!types(&effects, STREAM).contains(&"UPDATE".to_owned()));
    let effects = w.wait(601);
    assert_eq!(status(&effects).3, "agent did not reregister within 10mins after disconnecting");
}

#[test]
fn a_known_agent_is_told_of_tasks_that_it_does_not_list() {
    let mut w = world();
    launch_one(&mut w, true, &[]);
    w.step(Input::AgentClosed { connection: AGENT });
    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    let effects = w.register(Token(1001), register);
    let Some(ToAgent::Registered(registered)) = to_agent(&effects).first() else {
        panic!("{effects:?}")
    };
    assert_eq!(registered.reconciliations[0].statuses[0].task_id.value, "t");
}

#[test]
fn agents_of_the_registry_are_waited_for() {
    let record = internal::RegistryAgent {
        info: v1::AgentInfo { id: Some("old-S0".into()), ..registration("cpus:1").info },
        ..Default::default()
    };
    let entry = (("agents".to_owned(), "old-S0".to_owned()), wire::protobuf::to_vec(&record));
    let mut w = world_with(config(), vec![entry]);
    w.framework(&[]);
    let reconcile =
        json!({"type": "RECONCILE", "reconcile": {"tasks": [{"task_id": {"value": "x"}}]}});
    let (_, _, effects) = w.call(reconcile.clone());
    assert_eq!(effects, [], "nothing is said while the agent may come back");
    let effects = w.wait(601);
    let failures: Vec<Value> =
        events(&effects, STREAM).into_iter().filter(|e| e["type"] == "FAILURE").collect();
    assert_eq!(
        failures,
        [json!({"type": "FAILURE", "failure": {"agent_id": {"value": "old-S0"}}})]
    );
    let (_, _, effects) = w.call(reconcile);
    assert_eq!(status(&effects).0, "TASK_LOST");
}

/// A master that has just begun to lead, whose registry has this agent as `old-S0`; and that agent's registration.
fn recovered() -> (Master, internal::Register) {
    let mut register = registration("cpus:1");
    register.info.id = Some("old-S0".into());
    let record = internal::RegistryAgent {
        info: register.info.clone(),
        version: Some(register.version.clone()),
        capabilities: register.capabilities.clone(),
    };
    let entry = (("agents".to_owned(), "old-S0".to_owned()), wire::protobuf::to_vec(&record));
    let allocator = allocator::hierarchical(config().allocator);
    let mut master = Master::new(config(), allocator);
    let elected = Input::Elected { registry: vec![entry] };
    master.step(Now::at_secs(1), elected, &mut Vec::new());
    (master, register)
}

fn come_back(master: &mut Master, second: u64, register: &internal::Register) -> Vec<Effect> {
    let mut out = Vec::new();
    let message = Box::new(FromAgent::Register(register.clone()));
    let input = Input::FromAgent { connection: AGENT, ip: "10.0.0.1".into(), message };
    master.step(Now::at_secs(second), input, &mut out);
    out
}

fn writes(effects: &[Effect]) -> Vec<base::WriteId> {
    let id = |effect: &Effect| match effect {
        Effect::WriteRegistry { id, .. } => Some(*id),
        _ => None,
    };
    effects.iter().filter_map(id).collect()
}

#[test]
fn an_agent_that_comes_back_as_the_registry_has_it_needs_no_write() {
    let (mut master, register) = recovered();
    let effects = come_back(&mut master, 2, &register);
    assert!(matches!(to_agent(&effects)[..], [ToAgent::Registered(_)]), "{effects:?}");
    assert_eq!(writes(&effects), []);
    assert!(master.view().recovered_agents.is_empty());
    let (mut master, mut register) = recovered();
    register.version = "another".to_owned();
    let effects = come_back(&mut master, 2, &register);
    let [id] = writes(&effects)[..] else { panic!("{effects:?}") };
    assert!(to_agent(&effects).is_empty(), "the registry has it first: {effects:?}");
    let mut out = Vec::new();
    master.step(Now::at_secs(2), Input::Written { id, result: Ok(()) }, &mut out);
    assert!(matches!(to_agent(&out)[..], [ToAgent::Registered(_)]), "{out:?}");
}

#[test]
fn an_agent_that_the_registry_is_told_is_unreachable_comes_back_after_that() {
    let (mut master, register) = recovered();
    let mut out = Vec::new();
    master.step(Now::at_secs(700), Input::Wake, &mut out);
    let [unreachable] = writes(&out)[..] else { panic!("{out:?}") };
    let effects = come_back(&mut master, 701, &register);
    let [back] = writes(&effects)[..] else { panic!("{effects:?}") };
    for id in [unreachable, back] {
        master.step(Now::at_secs(702), Input::Written { id, result: Ok(()) }, &mut out);
    }
    assert!(master.view().unreachable.is_empty());
    assert!(master.view().agent("old-S0").is_some_and(|agent| agent.is_connected()));
}

#[test]
fn an_agent_that_is_being_marked_gone_does_not_come_back() {
    let (mut master, register) = recovered();
    let mut out = Vec::new();
    let call = master_core::contract::OperatorCall::MarkAgentGone { agent_id: "old-S0".into() };
    master.step(Now::at_secs(2), Input::Operator { token: Token(7), call }, &mut out);
    let [id] = writes(&out)[..] else { panic!("{out:?}") };
    assert_eq!(come_back(&mut master, 3, &register), [], "it asks again");
    master.step(Now::at_secs(4), Input::Written { id, result: Ok(()) }, &mut out);
    let effects = come_back(&mut master, 5, &register);
    assert!(matches!(to_agent(&effects)[..], [ToAgent::Shutdown(_)]), "{effects:?}");
    assert!(master.view().agents.is_empty());
}

#[test]
fn after_a_failover_a_framework_is_announced_only_where_it_runs_something() {
    let mut before = world();
    launch_one(&mut before, true, &[]);
    let known = before.master.view().framework("m-0000").expect("it").clone();
    let mut w = world();
    let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    register.info.id = Some("m-S0".into());
    register.frameworks = vec![known.info.clone()];
    register.tasks = known.tasks.values().map(|task| task.wire.clone()).collect();
    w.register(Token(1001), register.clone());
    register.info.id = Some("m-S1".into());
    register.info.hostname = "other".into();
    register.tasks.clear();
    w.register(Token(1002), register);
    let mut info = framework_info(&[]);
    info["roles"] = json!(["*"]);
    info["checkpoint"] = json!(true);
    info["id"] = json!({"value": "m-0000"});
    let effects = w.subscribe(STREAM, info.clone());
    let told = |effects: &[Effect]| -> Vec<Token> {
        let all = effects.iter().filter_map(|effect| match effect {
            Effect::SendToAgent { connection, message } => Some((*connection, message)),
            _ => None,
        });
        let updates = all.filter(|(_, m)| matches!(***m, ToAgent::UpdateFramework(_)));
        updates.map(|(connection, _)| connection).collect()
    };
    assert_eq!(told(&effects), [Token(1001)]);
    // Another scheduler of it may come from elsewhere.
    let effects = w.subscribe(Token(2), info);
    assert_eq!(told(&effects), [Token(1001), Token(1002)]);
}

#[test]
fn removals_keep_to_the_rate_limit() {
    let limited =
        Config { agent_removal_rate_limit: Some((1, Duration::from_secs(1000))), ..config() };
    let mut w = world_with(limited, Vec::new());
    for number in 0..3 {
        let mut register = registration("cpus:1");
        register.info.hostname = format!("host{number}");
        w.register(Token(2000 + number), register);
    }
    w.wait(500);
    assert_eq!(w.master.view().unreachable.len(), 1);
    w.wait(1000);
    assert_eq!(w.master.view().unreachable.len(), 2);
}

#[test]
fn an_agent_marked_gone_never_comes_back() {
    let mut w = world();
    launch_one(&mut w, true, &["PARTITION_AWARE"]);
    let call = master_core::contract::OperatorCall::MarkAgentGone { agent_id: "m-S0".into() };
    let effects = w.step(Input::Operator { token: Token(7), call });
    assert_eq!(status(&effects).0, "TASK_GONE_BY_OPERATOR");
    let mut register = registration("cpus:1");
    register.info.id = Some("m-S0".into());
    let effects = w.register(Token(1001), register);
    assert!(
        matches!(to_agent(&effects)[..], [ToAgent::Shutdown(s)] if s.message == "Agent has been marked gone")
    );
}

#[test]
fn agents_of_hosts_that_are_not_on_the_whitelist_are_not_offered() {
    let mut w = world();
    let hosts = |hosts: &[&str]| Input::Whitelist {
        hosts: Some(hosts.iter().map(|h| (*h).to_owned()).collect()),
    };
    w.step(hosts(&["elsewhere"]));
    w.framework(&[]);
    assert!(offers(&w.agent()).is_empty());
    let effects = w.step(hosts(&["host", "elsewhere"]));
    assert_eq!(offers(&effects).len(), 1);
    assert!(types(&w.step(hosts(&[])), STREAM).is_empty(), "what is offered stays so");
    assert!(types(&w.step(Input::Whitelist { hosts: None }), STREAM).is_empty());
}

#[test]
fn an_agent_of_another_cluster_is_admitted_and_said_to_be() {
    let mut w = world();
    let mut stranger = registration("cpus:4;mem:1024");
    stranger.info.id = Some("other-S7".into());
    let effects = w.register(AGENT, stranger.clone());
    let said = |effects: &[Effect]| {
        effects.iter().any(|effect| {
            matches!(effect, Effect::Log { text } if text.starts_with(
                "agent other-S7 at host is of another cluster, or of a registry that is lost: it is admitted with"))
        })
    };
    assert!(said(&effects), "{effects:?}");
    assert!(w.registry.contains_key(&("agents".to_owned(), "other-S7".to_owned())));
    // From now on it is of this one, here and for the next leader.
    let again = w.register(Token(1001), stranger.clone());
    assert!(!said(&again), "{again:?}");
    let mut next = world_with(config(), w.registry.into_iter().collect());
    let effects = next.register(AGENT, stranger);
    assert!(!said(&effects), "{effects:?}");
}
