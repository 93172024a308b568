//! The agent's core through its inputs and effects.

use agent_core::Agent;
use agent_core::contract::{Config, Effect, FoundContainer, FoundState, Input, StartError};
use base::{Now, Token, WriteId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::internal::{self, agent_to_master, master_to_agent};
use wire::v1::{self, executor};

mod appearance;
mod checks;
mod compact;
mod docker;
mod draining;
mod executors;
mod gc;
mod limits;
mod nested;
mod operations;
mod oversubscription;
mod pods;
mod preemption;
mod reconfiguration;
mod recovery;
mod slow_starts;
mod tasks;

const MASTER: Token = Token(1);

fn config() -> Config {
    Config {
        info: v1::AgentInfo { hostname: "host".into(), port: Some(5051), ..Default::default() },
        ip: "10.0.0.1".into(),
        work_dir: "/work_dir".into(),
        boot_id: "first".into(),
        executor_registration_timeout: Duration::from_secs(60),
        executor_reregistration_timeout: Duration::from_secs(2),
        executor_shutdown_grace_period: Duration::from_secs(5),
        docker_stop_timeout: Duration::ZERO,
        recovery_timeout: Duration::from_secs(900),
        recover: agent_core::contract::Recover::Reconnect,
        gc: agent_core::GarbageCollection::default(),
        max_completed_executors_per_framework: 150,
        executor_environment: None,
        inherited_environment: BTreeMap::new(),
        default_container_info: None,
        switch_user: false,
        limitable: agent_core::Limitable::default(),
        oversubscription: agent_core::Oversubscription::default(),
        local: false,
        seed: 1,
        flags: BTreeMap::new(),
    }
}

/// An agent whose store answers when it is told to.
struct Node {
    agent: Agent,
    now: Now,
    /// Writes that were not answered yet.
    writes: Vec<(WriteId, internal::AgentRecord)>,
    /// Everything that was ever written.
    records: Vec<internal::AgentRecord>,
}

impl Node {
    fn recovered(
        records: Vec<internal::AgentRecord>,
        containers: Vec<FoundContainer>,
    ) -> (Self, Vec<Effect>) {
        Self::recovered_with(config(), records, containers)
    }

    fn recovered_with(
        config: Config,
        records: Vec<internal::AgentRecord>,
        containers: Vec<FoundContainer>,
    ) -> (Self, Vec<Effect>) {
        let start = |records: Vec<internal::AgentRecord>| {
            let mut node = Self {
                agent: Agent::new(config.clone()),
                now: Now::at_secs(1),
                writes: Vec::new(),
                records: records.clone(),
            };
            let containers = containers.clone();
            let effects = node.step(Input::Recovered { records, containers });
            (node, effects)
        };
        let (whole, effects) = start(records.clone());
        let (short, effects_of_short) = start(agent_core::compact(records));
        assert_eq!(effects, effects_of_short, "what is left out of the log makes no difference");
        assert_eq!(format!("{:?}", whole.agent.view()), format!("{:?}", short.agent.view()));
        (short, effects)
    }

    /// A new agent that is registered as `m-S0`.
    fn registered() -> Self {
        let (mut node, _) = Self::recovered(Vec::new(), Vec::new());
        node.connect();
        node
    }

    fn connect(&mut self) -> Vec<Effect> {
        self.step(Input::MasterConnected { connection: MASTER });
        let registered = internal::Registered {
            agent_id: "m-S0".into(),
            total_ping_timeout_seconds: 75.0,
            master_info: v1::MasterInfo::default(),
            reconciliations: Vec::new(),
            drain: None,
        };
        let mut effects = self.hear(master_to_agent::Message::Registered(registered));
        effects.extend(self.stored());
        effects
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.agent.step(self.now, input, &mut out);
        assert_eq!(self.agent.check(), Ok(()));
        out.retain(|effect| match effect {
            Effect::Store { id, record, .. } => {
                self.records.push((**record).clone());
                self.writes.push((*id, (**record).clone()));
                false
            }
            _ => true,
        });
        out
    }

    /// Answers all writes that are open.
    fn stored(&mut self) -> Vec<Effect> {
        let mut all = Vec::new();
        while !self.writes.is_empty() {
            let (id, _) = self.writes.remove(0);
            all.extend(self.step(Input::Stored { id, result: Ok(()) }));
        }
        all
    }

    fn wait(&mut self, seconds: u64) -> Vec<Effect> {
        let mut effects = self.wait_and_look(seconds);
        effects.retain(|effect| *effect != Effect::MeasureDisk);
        effects
    }

    fn wait_and_look(&mut self, seconds: u64) -> Vec<Effect> {
        self.now = Now { mono: self.now.mono + Duration::from_secs(seconds), ..self.now };
        self.step(Input::Wake)
    }

    fn hear(&mut self, message: master_to_agent::Message) -> Vec<Effect> {
        self.step(Input::FromMaster { connection: MASTER, message: Box::new(message) })
    }

    fn run(&mut self, task: Value) -> Vec<Effect> {
        let task = wire::json::from_value(&task).expect("a task");
        let run = internal::RunTask { framework: framework(), task, launch_executor: true };
        let mut effects = self.hear(master_to_agent::Message::RunTask(run));
        effects.extend(self.stored());
        effects
    }

    fn acknowledge(&mut self, status: &v1::TaskStatus) -> Vec<Effect> {
        self.hear(master_to_agent::Message::AcknowledgeStatus(internal::AcknowledgeStatus {
            framework_id: "f".into(),
            task_id: status.task_id.clone(),
            uuid: status.uuid().to_vec(),
        }))
    }

    /// Answers writes and acknowledges every update until none comes; their states.
    fn drain(&mut self, mut effects: Vec<Effect>) -> Vec<String> {
        let mut states = Vec::new();
        loop {
            effects.extend(self.stored());
            let statuses = updates(&effects);
            if statuses.is_empty() {
                return states;
            }
            effects = Vec::new();
            for status in statuses {
                states.push(status.state().as_str_name().to_owned());
                effects.extend(self.acknowledge(&status));
            }
        }
    }
}

fn framework() -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: "root".into(),
        name: "f".into(),
        id: Some("f".into()),
        checkpoint: Some(true),
        ..Default::default()
    }
}

fn task(id: &str) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": {"value": "m-S0"}, "command": {"value": "true"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}, "allocation_info": {"role": "r"}}]})
}

/// Status updates that were sent to the master.
fn updates(effects: &[Effect]) -> Vec<v1::TaskStatus> {
    let sent = effects.iter().filter_map(|e| match e {
        Effect::SendToMaster { message, .. } => match &**message {
            agent_to_master::Message::StatusUpdate(update) => Some(update.status.clone()),
            _ => None,
        },
        _ => None,
    });
    sent.collect()
}

/// The container that was started.
#[track_caller]
fn started(effects: &[Effect]) -> agent_core::contract::ContainerSpec {
    let mut all = effects.iter().filter_map(|e| match e {
        Effect::StartContainer { spec } => Some((**spec).clone()),
        _ => None,
    });
    all.next().unwrap_or_else(|| panic!("no container was started: {effects:?}"))
}
