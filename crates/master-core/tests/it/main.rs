//! The master's core through its inputs and effects.

use base::{Now, Time, Token};
use master_core::Master;
use master_core::contract::{Config, Effect, Input, OperatorCall};
use master_core::registry::RegistryOp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::internal::{self, agent_to_master, master_to_agent};
use wire::v1::{self, scheduler};

mod agents;
mod calls;
mod draining;
mod kill;
mod latencies;
mod launch;
mod lease;
mod lending;
mod maintenance;
mod offers;
mod old_agents;
mod operations;
mod overlap;
mod oversubscription;
mod quota;
mod recall_after_failover;
mod registry;
mod reservations;
mod robustness;
mod schedule;
mod shares;
mod starvation;
mod subscribe;
mod update_framework;
mod volumes;
mod why;

/// Stream of the first framework; its `Mesos-Stream-Id` is `stream-<n>`.
const STREAM: Token = Token(1);
/// Connection of the first agent.
const AGENT: Token = Token(1000);

fn config() -> Config {
    Config {
        info: v1::MasterInfo { id: "m".into(), ip: 1, port: 5050, ..Default::default() },
        allocator: allocator::Config {
            allocation_interval: Duration::from_secs(1),
            coalesce: Duration::ZERO,
            min_allocatable: resources::Quantities::parse_alternatives("cpus:0.01|mem:32")
                .expect("quantities"),
            fair_sharing_excluded: BTreeSet::new(),
            filter_gpu_resources: true,
            domain: None,
            weights: BTreeMap::new(),
            role_sorter: allocator::Sorter::Drf,
            framework_sorter: allocator::Sorter::Drf,
            max_time_to_offer: Duration::from_secs(30),
            lending: true,
            lending_min_idle: Duration::from_secs(60),
        },
        agent_ping_timeout: Duration::from_secs(15),
        max_agent_ping_timeouts: 5,
        agent_reregister_timeout: Duration::from_secs(600),
        agent_removal_rate_limit: None,
        recovery_agent_removal_limit: 100.0,
        offer_timeout: None,
        offer_overlap: BTreeMap::new(),
        preemption_grace_period: Duration::from_secs(30),
        max_completed_frameworks: 50,
        max_completed_tasks_per_framework: 1000,
        max_unreachable_tasks_per_framework: 1000,
        roles: None,
        root_submissions: true,
        registry_max_agent_age: Duration::from_secs(86400),
        registry_max_agent_count: 1000,
        registry_gc_interval: Duration::from_secs(900),
        allocator_agent_recovery_factor: 0.8,
        allocator_recovery_timeout: Duration::from_secs(600),
        require_agent_domain: false,
        seed: 1,
        flags: BTreeMap::new(),
    }
}

/// A master with a registry that answers at once.
struct World {
    master: Master,
    now: Now,
    registry: BTreeMap<(String, String), Vec<u8>>,
    next: u64,
}

fn world() -> World {
    world_with(config(), Vec::new())
}

fn world_with(config: Config, registry: Vec<((String, String), Vec<u8>)>) -> World {
    let allocator = allocator::hierarchical(config.allocator.clone());
    let master = Master::new(config, allocator);
    let mut world = World {
        master,
        now: Now::at_secs(1),
        registry: registry.iter().cloned().collect(),
        next: 5000,
    };
    world.step(Input::Elected { registry });
    world
}

fn message(text: Value) -> scheduler::Call {
    wire::json::from_value(&text).expect("a call")
}

impl World {
    /// One input; all effects, registry writes being answered at once.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.pass(Duration::from_millis(1));
        self.master.step(self.now, input, &mut out);
        let mut all = Vec::new();
        for effect in out {
            match effect {
                Effect::WriteRegistry { id, ops } => {
                    for op in ops {
                        match op {
                            RegistryOp::Put { section, key, value } => {
                                self.registry.insert((section, key), value)
                            }
                            RegistryOp::Delete { section, key } => {
                                self.registry.remove(&(section, key))
                            }
                        };
                    }
                    all.extend(self.step(Input::Written { id, result: Ok(()) }));
                }
                other => all.push(other),
            }
        }
        assert_eq!(self.master.check(), Ok(()));
        all
    }

    /// Both clocks go on.
    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        self.now.wall.0 += u64::try_from(time.as_nanos()).expect("a short time");
    }

    /// Time passes; every wake-up on the way is taken.
    fn wait(&mut self, seconds: u64) -> Vec<Effect> {
        let end = self.now.mono + Duration::from_secs(seconds);
        let mut all = Vec::new();
        while let Some(at) = self.master.next_wake().filter(|at| *at <= end) {
            self.pass(at.since(self.now.mono));
            all.extend(self.step(Input::Wake));
        }
        self.pass(end.since(self.now.mono));
        all
    }

    fn subscribe(&mut self, stream: Token, info: Value) -> Vec<Effect> {
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        if let Some(id) = info.get("id") {
            call["framework_id"] = id.clone();
        }
        self.subscribe_call(stream, call)
    }

    fn subscribe_call(&mut self, stream: Token, call: Value) -> Vec<Effect> {
        let stream_id = format!("stream-{}", stream.0);
        self.step(Input::Subscribe {
            stream,
            stream_id,
            call: Box::new(message(call)),
            principal: None,
        })
    }

    /// A framework with role `*` on [`STREAM`].
    fn framework(&mut self, capabilities: &[&str]) -> Vec<Effect> {
        let mut info = framework_info(capabilities);
        info["roles"] = json!(["*"]);
        self.subscribe(STREAM, info)
    }

    /// A call of framework `m-0000`: its answer, and what else happens.
    fn call(&mut self, mut call: Value) -> (u16, String, Vec<Effect>) {
        call["framework_id"] = json!({"value": "m-0000"});
        self.raw_call(call, Some("stream-1"))
    }

    fn raw_call(&mut self, call: Value, stream_id: Option<&str>) -> (u16, String, Vec<Effect>) {
        self.next += 1;
        let token = Token(self.next);
        let stream_id = stream_id.map(str::to_owned);
        let input = Input::SchedulerCall {
            token,
            stream_id,
            call: Box::new(message(call)),
            principal: None,
        };
        let effects = self.step(input);
        answered(token, effects)
    }

    /// An operator's call: its answer, and what else happens.
    fn operator(&mut self, call: OperatorCall) -> (u16, String, Vec<Effect>) {
        self.next += 1;
        let token = Token(self.next);
        let effects = self.step(Input::Operator { token, call });
        answered(token, effects)
    }

    fn register(&mut self, connection: Token, register: internal::Register) -> Vec<Effect> {
        let message = Box::new(agent_to_master::Message::Register(register));
        self.step(Input::FromAgent { connection, ip: "10.0.0.1".into(), message })
    }

    /// An agent with 4 cpus and 1024 MB on [`AGENT`].
    fn agent(&mut self) -> Vec<Effect> {
        self.register(AGENT, registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]"))
    }

    fn agent_says(&mut self, message: agent_to_master::Message) -> Vec<Effect> {
        self.step(Input::FromAgent {
            connection: AGENT,
            ip: "10.0.0.1".into(),
            message: Box::new(message),
        })
    }

    fn update(&mut self, task: &str, state: &str, uuid: &[u8]) -> Vec<Effect> {
        let status = json!({"task_id": {"value": task}, "state": state, "source": "SOURCE_EXECUTOR",
            "agent_id": {"value": "m-S0"}});
        let mut status: v1::TaskStatus = wire::json::from_value(&status).expect("a status");
        status.uuid = Some(uuid.to_vec());
        let update =
            internal::StatusUpdate { framework_id: "m-0000".into(), status, latest_state: None };
        self.agent_says(agent_to_master::Message::StatusUpdate(update))
    }
}

/// The answer among the effects, and the rest of them.
fn answered(token: Token, mut effects: Vec<Effect>) -> (u16, String, Vec<Effect>) {
    let is_answer = |e: &Effect| matches!(e, Effect::Respond { token: t, .. } if *t == token);
    let at = effects.iter().position(is_answer);
    match effects.remove(at.expect("one answer")) {
        Effect::Respond { response, .. } => (response.status, response.body, effects),
        other => panic!("{other:?}"),
    }
}

fn framework_info(capabilities: &[&str]) -> Value {
    let mut all = vec!["MULTI_ROLE"];
    all.extend(capabilities);
    let all: Vec<Value> = all.into_iter().map(|c| json!({"type": c})).collect();
    json!({"user": "root", "name": "f", "capabilities": all})
}

fn registration(resources: &str) -> internal::Register {
    use v1::agent_info::capability::Type;
    let resources = resources::Resources::parse(resources, "*").expect("resources");
    internal::Register {
        protocol: 1,
        info: v1::AgentInfo {
            hostname: "host".into(),
            port: Some(5051),
            resources: resources.to_wire(),
            ..Default::default()
        },
        version: "1.12.0".into(),
        capabilities: [
            Type::MultiRole,
            Type::HierarchicalRole,
            Type::ReservationRefinement,
            Type::ResizeVolume,
            Type::AgentOperationFeedback,
            Type::AgentDraining,
        ]
        .map(|c| v1::agent_info::Capability { r#type: Some(c as i32) })
        .to_vec(),
        ..Default::default()
    }
}

/// Events for a stream, as JSON.
fn events(effects: &[Effect], stream: Token) -> Vec<Value> {
    let sent = effects.iter().filter_map(|e| match e {
        Effect::SendEvent { stream: s, event } if *s == stream => {
            Some(wire::json::to_value(&**event))
        }
        _ => None,
    });
    sent.collect()
}

fn types(effects: &[Effect], stream: Token) -> Vec<String> {
    events(effects, stream)
        .iter()
        .map(|e| e["type"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The only status update that was sent, in short: state, source, reason, message.
#[track_caller]
fn status(effects: &[Effect]) -> (String, String, String, String) {
    let updates: Vec<Value> =
        events(effects, STREAM).into_iter().filter(|e| e["type"] == "UPDATE").collect();
    assert_eq!(updates.len(), 1, "{updates:?}");
    let status = &updates[0]["update"]["status"];
    let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("source"), text("reason"), text("message"))
}

/// Offers that were sent to the first framework.
fn offers(effects: &[Effect]) -> Vec<Value> {
    let all = events(effects, STREAM).into_iter().filter(|e| e["type"] == "OFFERS");
    all.flat_map(|e| e["offers"]["offers"].as_array().cloned().unwrap_or_default()).collect()
}

fn to_agent(effects: &[Effect]) -> Vec<&master_to_agent::Message> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::SendToAgent { message, .. } => Some(&**message),
            _ => None,
        })
        .collect()
}
