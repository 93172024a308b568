//! The master's part of a failover of a large cluster: a new leader with the registry of the former one, to which all
//! frameworks and all agents, with what they run, come back. For benchmarks: agents and frameworks are messages only.

use crate::master_node::{MasterNode, config};
use base::{Time, Token, WriteId};
use master_core::Master;
use master_core::contract::{Effect, Input};
use master_core::registry::{AGENTS, MAINTENANCE};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use wire::v1::{self, scheduler};
use wire::{internal, protobuf};

/// Time that a write of the registry takes.
const WRITE: Duration = Duration::from_millis(5);

/// How large the cluster is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Agents.
    pub agents: usize,
    /// Tasks on each of them.
    pub tasks: usize,
    /// Frameworks; tasks are spread over all of them.
    pub frameworks: usize,
    /// Frameworks that want offers, and keep them.
    pub wanting: usize,
    /// Whether all machines have a maintenance window.
    pub maintenance: bool,
    /// Roles; frameworks are spread over all of them.
    pub roles: usize,
    /// Time over which agents come back.
    pub over: Duration,
}

/// A master that takes over.
#[derive(Debug)]
pub struct Failover {
    size: Size,
    master: Master,
    now: Time,
    /// Writes on their way, and when they are done.
    writes: VecDeque<(Time, WriteId)>,
    /// Messages that were sent, with their bytes.
    pub sent: (u64, u64),
    /// Offers among them.
    pub offers: u64,
}

impl Failover {
    /// A master that does not lead yet.
    #[must_use]
    pub fn new(size: Size) -> Self {
        let config = config("new".to_owned(), 1);
        let master = Master::new(config.clone(), allocator::hierarchical(config.allocator));
        let now = Time(1_000_000_000);
        Self { size, master, now, writes: VecDeque::new(), sent: (0, 0), offers: 0 }
    }

    /// What the former leader has left.
    #[must_use]
    pub fn registry(&self) -> Vec<((String, String), Vec<u8>)> {
        let entry = |agent: usize| {
            let register = self.register(agent, 0);
            let record = internal::RegistryAgent {
                info: register.info,
                version: Some(register.version),
                capabilities: register.capabilities,
            };
            ((AGENTS.to_owned(), agent_id(agent)), protobuf::to_vec(&record))
        };
        let agents = (0..self.size.agents).map(entry);
        agents.chain(self.size.maintenance.then(|| self.maintenance())).collect()
    }

    fn maintenance(&self) -> ((String, String), Vec<u8>) {
        let machine = |agent: usize| v1::MachineId {
            hostname: Some(format!("host{agent}")),
            ip: Some(ip(agent)),
        };
        let begin = v1::TimeInfo { nanoseconds: 1_000_000_000_000_000_000 };
        let window = v1::maintenance::Window {
            machine_ids: (0..self.size.agents).map(machine).collect(),
            unavailability: v1::Unavailability { start: begin, duration: None },
        };
        let schedule = v1::maintenance::Schedule { windows: vec![window] };
        let record = internal::RegistryMaintenance { schedule, down: Vec::new() };
        ((MAINTENANCE.to_owned(), "schedule".to_owned()), protobuf::to_vec(&record))
    }

    /// The master leads.
    pub fn elect(&mut self, registry: Vec<((String, String), Vec<u8>)>) {
        self.step(Input::Elected { registry });
    }

    /// SUBSCRIBE calls of frameworks, as they come.
    #[must_use]
    pub fn subscriptions(&self, frameworks: Range<usize>) -> Vec<(usize, Vec<u8>)> {
        let call = |framework: usize| {
            let framework_info = self.framework(framework);
            let call = scheduler::Call {
                framework_id: framework_info.id.clone(),
                r#type: Some(scheduler::call::Type::Subscribe as i32),
                subscribe: Some(scheduler::call::Subscribe {
                    // Most want nothing more than they have.
                    suppressed_roles: if framework < self.size.wanting {
                        Vec::new()
                    } else {
                        framework_info.roles.clone()
                    },
                    framework_info,
                    ..Default::default()
                }),
                ..Default::default()
            };
            (framework, protobuf::to_vec(&call))
        };
        frameworks.map(call).collect()
    }

    /// Frameworks come back.
    pub fn subscribe(&mut self, calls: Vec<(usize, Vec<u8>)>) {
        for (framework, call) in calls {
            let Ok(call) = protobuf::from_slice(&call) else { continue };
            let stream = Token(1 + framework as u64);
            let (stream_id, call) = (framework.to_string(), Box::new(call));
            self.step(Input::Subscribe { stream, stream_id, call, principal: None });
        }
    }

    /// Registrations of agents, as they come.
    #[must_use]
    pub fn registrations(&self, agents: Range<usize>) -> Vec<(usize, Vec<u8>)> {
        let message = |agent: usize| {
            let register = self.register(agent, self.size.tasks);
            let message = internal::agent_to_master::Message::Register(register);
            (agent, protobuf::to_vec(&internal::AgentToMaster { message: Some(message) }))
        };
        agents.map(message).collect()
    }

    /// Agents come back one after the other, while the master does what else is due.
    pub fn take_back(&mut self, messages: Vec<(usize, Vec<u8>)>) {
        let gap = self.size.over / u32::try_from(self.size.agents.max(1)).unwrap_or(u32::MAX);
        for (agent, message) in messages {
            self.pass(gap);
            let decoded = protobuf::from_slice::<internal::AgentToMaster>(&message);
            let Some(message) = decoded.ok().and_then(|m| m.message) else { continue };
            let connection = Token(1_000_000 + agent as u64);
            let (ip, message) = (ip(agent), Box::new(message));
            self.step(Input::FromAgent { connection, ip, message });
        }
    }

    /// Time passes, with all that is due in it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let write = self.writes.front().map(|(at, _)| *at);
            let wake = self.master.next_wake();
            let Some(at) = [write, wake].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            match self.writes.front().filter(|(done, _)| *done <= at).copied() {
                Some((_, id)) => {
                    self.writes.pop_front();
                    self.step(Input::Written { id, result: Ok(()) });
                }
                None => self.step(Input::Wake),
            }
        }
        self.now = end;
    }

    /// Whether everything is back.
    ///
    /// # Errors
    /// What is missing, or does not agree with itself.
    pub fn check(&self) -> Result<(), String> {
        let state = self.master.state();
        let connected = state.agents.values().filter(|agent| agent.is_connected()).count();
        let tasks: usize = state.frameworks.values().map(|f| f.tasks.len()).sum();
        let Size { agents, tasks: each, frameworks, .. } = self.size;
        let found = (connected, tasks, state.frameworks.len());
        if found != (agents, agents * each, frameworks) {
            return Err(format!("agents, tasks and frameworks that are back: {found:?}"));
        }
        self.master.check()
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.master.step(MasterNode::now(self.now), input, &mut out);
        for effect in out {
            let bytes = match effect {
                Effect::SendToAgent { message, .. } => {
                    protobuf::to_vec(&internal::MasterToAgent { message: Some(*message) }).len()
                }
                Effect::SendEvent { event, .. } => {
                    self.offers += event.offers.as_ref().map_or(0, |o| o.offers.len() as u64);
                    protobuf::to_vec(&*event).len()
                }
                Effect::WriteRegistry { id, .. } => {
                    self.writes.push_back((self.now + WRITE, id));
                    continue;
                }
                _ => continue,
            };
            self.sent = (self.sent.0 + 1, self.sent.1 + bytes as u64);
        }
    }

    fn framework(&self, framework: usize) -> v1::FrameworkInfo {
        v1::FrameworkInfo {
            user: "root".to_owned(),
            name: format!("framework {framework}"),
            id: Some(framework_id(framework).as_str().into()),
            failover_timeout: Some(86400.0),
            checkpoint: Some(true),
            roles: vec![format!("role{}", framework % self.size.roles)],
            capabilities: vec![v1::framework_info::Capability {
                r#type: Some(v1::framework_info::capability::Type::MultiRole as i32),
            }],
            ..Default::default()
        }
    }

    fn register(&self, agent: usize, tasks: usize) -> internal::Register {
        let of = |task: usize| (agent * self.size.tasks + task) % self.size.frameworks;
        let mut frameworks: Vec<usize> = (0..tasks).map(of).collect();
        frameworks.sort_unstable();
        frameworks.dedup();
        let capabilities = agent_core::CAPABILITIES
            .map(|c| v1::agent_info::Capability { r#type: Some(c as i32) })
            .to_vec();
        internal::Register {
            protocol: 1,
            info: v1::AgentInfo {
                hostname: format!("host{agent}"),
                port: Some(5051),
                id: Some(agent_id(agent).as_str().into()),
                resources: [("cpus", 16.0), ("mem", 65536.0), ("disk", 500_000.0)]
                    .map(|(name, value)| scalar(name, value))
                    .to_vec(),
                attributes: vec![v1::Attribute {
                    name: "rack".to_owned(),
                    r#type: v1::value::Type::Text as i32,
                    text: Some(v1::value::Text { value: format!("r{}", agent / 40) }),
                    ..Default::default()
                }],
                ..Default::default()
            },
            version: "1.12.0".to_owned(),
            capabilities,
            frameworks: frameworks.into_iter().map(|f| self.framework(f)).collect(),
            tasks: (0..tasks).map(|task| self.task(agent, task, of(task))).collect(),
            ..Default::default()
        }
    }

    fn task(&self, agent: usize, task: usize, framework: usize) -> v1::Task {
        let id = format!("task-{agent}-{task}");
        let role = Some(format!("role{}", framework % self.size.roles));
        let allocated = |name: &str, value: f64| v1::Resource {
            allocation_info: Some(v1::resource::AllocationInfo { role: role.clone() }),
            ..scalar(name, value)
        };
        let status = |state: v1::TaskState| v1::TaskStatus {
            task_id: id.as_str().into(),
            state: state as i32,
            source: Some(v1::task_status::Source::Executor as i32),
            agent_id: Some(agent_id(agent).as_str().into()),
            uuid: Some(vec![7; 16]),
            timestamp: Some(1.0),
            ..Default::default()
        };
        v1::Task {
            name: "a task of some name".to_owned(),
            task_id: id.as_str().into(),
            framework_id: framework_id(framework).as_str().into(),
            agent_id: agent_id(agent).as_str().into(),
            state: v1::TaskState::TaskRunning as i32,
            resources: vec![allocated("cpus", 1.0), allocated("mem", 2048.0)],
            statuses: [v1::TaskState::TaskStarting, v1::TaskState::TaskRunning]
                .map(status)
                .to_vec(),
            status_update_state: Some(v1::TaskState::TaskRunning as i32),
            status_update_uuid: Some(vec![7; 16]),
            ..Default::default()
        }
    }
}

fn agent_id(agent: usize) -> String {
    format!("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-S{agent}")
}

fn framework_id(framework: usize) -> String {
    format!("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-{framework:04}")
}

fn ip(agent: usize) -> String {
    format!("10.{}.{}.{}", agent >> 16 & 255, agent >> 8 & 255, agent & 255)
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    }
}
