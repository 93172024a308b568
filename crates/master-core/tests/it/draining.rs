//! Agents that operators take out of use: drained, deactivated, and back again.

use super::*;
use agent_to_master::Message as FromAgent;
use master_core::contract::Drain;
use master_to_agent::Message as ToAgent;

const RESOURCES: &str = "cpus:4;mem:1024;disk:1000;ports:[31000-31009]";
const AGAIN: Token = Token(1001);

fn drain(agent: &str, mark_gone: bool) -> OperatorCall {
    let max_grace_period = Some(wire::google::protobuf::Duration { seconds: 90, nanos: 5 });
    OperatorCall::DrainAgent(Drain { agent_id: agent.into(), max_grace_period, mark_gone })
}

fn deactivate(agent: &str) -> OperatorCall {
    OperatorCall::DeactivateAgent { agent_id: agent.into() }
}

fn reactivate(agent: &str) -> OperatorCall {
    OperatorCall::ReactivateAgent { agent_id: agent.into() }
}

/// A world with a running task and an open offer of the rest.
fn busy() -> World {
    busy_with(config())
}

fn busy_with(config: Config) -> World {
    let mut w = world_with(config, Vec::new());
    let mut info = framework_info(&["PARTITION_AWARE"]);
    info["roles"] = json!(["*"]);
    info["checkpoint"] = json!(true);
    info["failover_timeout"] = json!(1000.0);
    w.subscribe(STREAM, info);
    let offer = offers(&w.agent()).remove(0);
    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "m-S0"},
        "command": {"value": "true"}, "resources": [resource("cpus", 1.0), resource("mem", 64.0)]});
    let (_, _, effects) = w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "filters": {"refuse_seconds": 0.0},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}}));
    let mut effects = [effects, w.update("t", "TASK_RUNNING", &[1; 16])].concat();
    effects.extend(w.wait(1));
    assert_eq!(offers(&effects).len(), 1, "the rest is offered");
    acknowledge(&mut w, &[1; 16]);
    w
}

fn acknowledge(w: &mut World, uuid: &[u8]) -> Vec<Effect> {
    let call = scheduler::Call {
        framework_id: Some("m-0000".into()),
        r#type: Some(scheduler::call::Type::Acknowledge as i32),
        acknowledge: Some(scheduler::call::Acknowledge {
            agent_id: "m-S0".into(),
            task_id: "t".into(),
            uuid: uuid.to_vec(),
        }),
        ..Default::default()
    };
    let stream_id = Some("stream-1".to_owned());
    w.next += 1;
    let token = Token(w.next);
    let input = Input::SchedulerCall { token, stream_id, call: Box::new(call), principal: None };
    answered(token, w.step(input)).2
}

/// What the agent was told of its drain.
fn drains(effects: &[Effect]) -> Vec<Option<v1::DrainConfig>> {
    let told = to_agent(effects).into_iter().filter_map(|m| match m {
        ToAgent::Drain(drain) => Some(drain.config),
        ToAgent::Registered(registered) => Some(registered.drain),
        _ => None,
    });
    told.collect()
}

fn state(w: &World) -> Option<v1::DrainState> {
    let view = w.master.view();
    view.deactivated.get("m-S0").and_then(|d| d.drain.as_ref()).map(v1::DrainInfo::state)
}

fn returning(w: &World) -> internal::Register {
    let view = w.master.view();
    let mut register = registration(RESOURCES);
    register.info.id = Some("m-S0".into());
    let framework = view.framework("m-0000").map(|f| f.info.clone());
    register.frameworks = framework.into_iter().collect();
    let tasks = view.framework("m-0000").into_iter().flat_map(|f| f.tasks.values());
    register.tasks = tasks.map(|t| t.wire.clone()).collect();
    register
}

fn is_kept(w: &World) -> bool {
    w.registry.contains_key(&("deactivated".to_owned(), "m-S0".to_owned()))
}

const CONFIG: v1::DrainConfig = v1::DrainConfig {
    max_grace_period: Some(v1::DurationInfo { nanoseconds: 90_000_000_005 }),
    mark_gone: Some(false),
};

#[test]
fn an_agent_without_tasks_is_drained_at_once_and_offered_to_nobody() {
    let mut w = world();
    w.framework(&[]);
    assert_eq!(offers(&w.agent()).len(), 1);
    let (status, _, effects) = w.operator(drain("m-S0", false));
    assert_eq!(status, 200);
    assert_eq!(types(&effects, STREAM), ["RESCIND"]);
    assert_eq!(drains(&effects), [Some(CONFIG)]);
    assert_eq!(state(&w), Some(v1::DrainState::Drained));
    assert!(offers(&w.wait(30)).is_empty());

    let (status, _, mut effects) = w.operator(reactivate("m-S0"));
    assert_eq!(status, 200);
    effects.extend(w.wait(1));
    assert_eq!(drains(&effects), [None]);
    assert_eq!(offers(&effects).len(), 1);
    assert_eq!(w.master.view().deactivated.len(), 0);
    assert!(!is_kept(&w));
}

#[test]
fn an_agent_is_drained_when_the_ends_of_its_tasks_are_acknowledged() {
    let mut w = busy();
    let (status, _, effects) = w.operator(drain("m-S0", false));
    assert_eq!(status, 200);
    assert_eq!(types(&effects, STREAM), ["RESCIND"]);
    assert_eq!(state(&w), Some(v1::DrainState::Draining));
    let started = w.master.view().deactivated["m-S0"].drain_started.expect("a time");
    assert!(started.0 > 0);
    let (status, text, _) = w.operator(reactivate("m-S0"));
    assert_eq!(status, 400);
    assert!(text.starts_with("Agent is still in the DRAINING state: "), "{text}");
    assert!(offers(&w.update("t", "TASK_KILLED", &[2; 16])).is_empty());
    assert_eq!(state(&w), Some(v1::DrainState::Draining), "its framework may not know it yet");
    acknowledge(&mut w, &[2; 16]);
    assert_eq!(state(&w), Some(v1::DrainState::Drained));
    assert!(offers(&w.wait(30)).is_empty());
}

#[test]
fn an_agent_that_shall_be_gone_is_when_nothing_is_left() {
    let mut w = busy();
    assert_eq!(w.operator(drain("m-S0", true)).0, 200);
    w.update("t", "TASK_GONE_BY_OPERATOR", &[2; 16]);
    assert_eq!(w.master.view().agents.len(), 1);
    let effects = acknowledge(&mut w, &[2; 16]);
    assert!(
        matches!(to_agent(&effects)[..], [ToAgent::AcknowledgeStatus(_), ToAgent::Shutdown(s)]
            if s.message == "Agent has been marked gone"),
        "{effects:?}"
    );
    assert_eq!(types(&effects, STREAM), ["FAILURE"]);
    assert!(w.master.view().gone.contains_key("m-S0"));
    assert!(!is_kept(&w));
    for call in [drain("m-S0", false), deactivate("m-S0")] {
        let (status, text, _) = w.operator(call);
        assert_eq!((status, text.as_str()), (400, "Unknown agent: it was marked gone"));
    }
}

#[test]
fn a_framework_that_is_removed_holds_up_no_drain() {
    let mut w = busy();
    w.operator(drain("m-S0", false));
    w.operator(OperatorCall::Teardown { framework_id: "m-0000".into() });
    assert_eq!(state(&w), Some(v1::DrainState::Drained));
}

#[test]
fn a_drain_asked_for_again_replaces_the_first() {
    let mut w = busy();
    w.operator(drain("m-S0", true));
    let (status, _, effects) = w.operator(drain("m-S0", false));
    assert_eq!((status, drains(&effects)), (200, vec![Some(CONFIG)]));
    w.update("t", "TASK_KILLED", &[2; 16]);
    acknowledge(&mut w, &[2; 16]);
    assert_eq!(state(&w), Some(v1::DrainState::Drained));
    assert_eq!(w.operator(drain("m-S0", true)).0, 200);
    assert!(w.master.view().gone.contains_key("m-S0"), "a drained agent can be gone as well");
}

#[test]
fn the_next_master_goes_on_with_a_drain() {
    let mut w = busy();
    w.operator(drain("m-S0", false));
    let register = returning(&w);
    let mut next = world_with(config(), w.registry.clone().into_iter().collect());
    assert_eq!(state(&next), Some(v1::DrainState::Draining));
    let mut info = framework_info(&["PARTITION_AWARE"]);
    info["roles"] = json!(["*"]);
    info["id"] = json!({"value": "m-0000"});
    next.subscribe(STREAM, info);
    let mut effects = next.register(AGENT, register);
    assert_eq!(drains(&effects), [Some(CONFIG)], "the agent is told again");
    effects.extend(next.wait(30));
    assert!(offers(&effects).is_empty());
    next.update("t", "TASK_KILLED", &[2; 16]);
    acknowledge(&mut next, &[2; 16]);
    assert_eq!(state(&next), Some(v1::DrainState::Drained));
    // And the one after that knows that it is over.
    let mut last = world_with(config(), next.registry.clone().into_iter().collect());
    assert_eq!(state(&last), Some(v1::DrainState::Drained));
    assert_eq!(last.operator(reactivate("m-S0")).0, 200);
    last.framework(&[]);
    let mut register = registration(RESOURCES);
    register.info.id = Some("m-S0".into());
    let effects = last.register(AGENT, register);
    assert_eq!((drains(&effects), offers(&effects).len()), (vec![None], 1));
}

#[test]
fn an_agent_that_is_away_is_drained_when_it_is_back() {
    for is_unreachable in [false, true] {
        let mut w = world();
        w.framework(&[]);
        w.agent();
        w.step(Input::AgentClosed { connection: AGENT });
        if is_unreachable {
            w.wait(700);
            assert!(w.master.view().unreachable.contains_key("m-S0"));
        }
        assert_eq!(w.operator(drain("m-S0", false)).0, 200);
        assert_eq!(state(&w), Some(v1::DrainState::Draining), "what it runs is not known");
        let (status, _, _) = w.operator(reactivate("m-S0"));
        assert_eq!(status, 400);
        let mut register = registration(RESOURCES);
        register.info.id = Some("m-S0".into());
        let mut effects = w.register(AGAIN, register);
        effects.extend(w.wait(10));
        assert_eq!(drains(&effects), [Some(CONFIG)]);
        assert_eq!(state(&w), Some(v1::DrainState::Drained));
        assert!(offers(&effects).is_empty());
    }
}

#[test]
fn a_drain_survives_that_its_agent_is_unreachable_for_a_while() {
    let mut w = busy();
    w.operator(drain("m-S0", false));
    let register = returning(&w);
    w.wait(100);
    assert!(w.master.view().unreachable.contains_key("m-S0"));
    assert_eq!(state(&w), Some(v1::DrainState::Draining));
    let effects = w.register(AGAIN, register);
    assert_eq!(drains(&effects), [Some(CONFIG)]);
    assert_eq!(state(&w), Some(v1::DrainState::Draining), "its task is there again");
    // What is forgotten of unreachable agents is forgotten with its drain.
    let mut w = busy_with(Config { registry_max_agent_age: Duration::from_secs(60), ..config() });
    w.operator(drain("m-S0", false));
    w.wait(2000);
    assert_eq!((state(&w), is_kept(&w)), (None, false));
}

#[test]
fn tasks_of_a_deactivated_agent_go_on() {
    let mut w = busy();
    let (status, _, effects) = w.operator(deactivate("m-S0"));
    assert_eq!((status, types(&effects, STREAM)), (200, vec!["RESCIND".to_owned()]));
    assert!(to_agent(&effects).is_empty());
    assert_eq!(w.operator(deactivate("m-S0")).0, 200, "it is already");
    assert!(offers(&w.wait(5)).is_empty());
    w.step(Input::AgentClosed { connection: AGENT });
    let register = returning(&w);
    let mut effects = w.register(AGAIN, register);
    effects.extend(w.wait(5));
    assert_eq!((drains(&effects), offers(&effects).len()), (vec![None], 0));
    assert_eq!(w.master.view().framework("m-0000").expect("it").tasks.len(), 1);
    // Back in use while it is away: offered when it is back.
    w.step(Input::AgentClosed { connection: AGAIN });
    assert_eq!(w.operator(reactivate("m-S0")).0, 200);
    assert!(offers(&w.wait(5)).is_empty());
    let register = returning(&w);
    let mut effects = w.register(Token(1002), register);
    effects.extend(w.wait(1));
    assert_eq!(offers(&effects).len(), 1);
}

#[test]
fn what_can_not_be_done_is_refused_with_what_to_do() {
    let mut w = world();
    w.agent();
    for call in [drain("nope", false), deactivate("nope")] {
        let (status, text, effects) = w.operator(call);
        assert_eq!((status, effects), (400, vec![]));
        assert!(text.starts_with("Unknown agent: expected the id of one that "), "{text}");
    }
    for agent in ["nope", "m-S0"] {
        let (status, text, _) = w.operator(reactivate(agent));
        assert_eq!((status, text.as_str()), (400, "Agent is not deactivated"));
    }
    for (seconds, nanos) in [(-1, 0), (0, -1), (i64::MAX, 0)] {
        let max_grace_period = Some(wire::google::protobuf::Duration { seconds, nanos });
        let drain = Drain { agent_id: "m-S0".into(), max_grace_period, mark_gone: false };
        let (status, text, _) = w.operator(OperatorCall::DrainAgent(drain));
        assert_eq!(status, 400);
        assert!(text.starts_with("'max_grace_period' is "), "{text}");
    }
    let mut old = registration("cpus:1");
    old.info.hostname = "old".into();
    old.capabilities.pop();
    w.register(Token(2000), old);
    let (status, text, _) = w.operator(drain("m-S1", false));
    assert_eq!((status, text.as_str()), (400, "Agent m-S1 is not capable of draining"));
    assert!(w.master.view().deactivated.is_empty());
}

#[test]
fn an_agent_that_leaves_meanwhile_is_forgotten() {
    let mut w = world();
    w.agent();
    w.operator(deactivate("m-S0"));
    assert!(is_kept(&w));
    w.agent_says(FromAgent::Unregister(internal::Unregister {}));
    assert!(w.master.view().agents.is_empty());
    assert_eq!((w.master.view().deactivated.len(), is_kept(&w)), (0, false));

    // While the registry writes it down.
    let allocator = allocator::hierarchical(config().allocator);
    let mut master = Master::new(config(), allocator);
    let (mut out, now) = (Vec::new(), Now::at_secs(1));
    let mut writes = Vec::new();
    let mut step = |master: &mut Master, input: Input| {
        master.step(now, input, &mut out);
        let all = std::mem::take(&mut out);
        writes.extend(all.iter().filter_map(|e| match e {
            Effect::WriteRegistry { id, .. } => Some(*id),
            _ => None,
        }));
        (all, writes.clone())
    };
    step(&mut master, Input::Elected { registry: Vec::new() });
    let says = |message| Input::FromAgent {
        connection: AGENT,
        ip: "10.0.0.1".into(),
        message: Box::new(message),
    };
    let (_, ids) = step(&mut master, says(FromAgent::Register(registration("cpus:1"))));
    step(&mut master, Input::Written { id: ids[0], result: Ok(()) });
    step(&mut master, says(FromAgent::Unregister(internal::Unregister {})));
    let call = drain("m-S0", false);
    let (_, ids) = step(&mut master, Input::Operator { token: Token(7), call });
    step(&mut master, Input::Written { id: ids[1], result: Ok(()) });
    let (effects, _) = step(&mut master, Input::Written { id: ids[2], result: Ok(()) });
    let (status, text, effects) = answered(Token(7), effects);
    assert_eq!((status, text.as_str()), (409, "Agent removed while processing the call"));
    assert!(matches!(effects[..], [Effect::WriteRegistry { .. }]), "{effects:?}");
}
