//! What happens to a master ([`Input`]) and what it asks for ([`Effect`]).

use crate::registry::RegistryOp;
use crate::share::ShareConfig;
use allocator::Overlap;
use base::{Token, WriteId};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::{internal, v1};

/// Everything that can happen to a master.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// This master leads; `registry` is what the store holds (section and key to value, see [`crate::registry`]).
    /// Before it every call is refused with 503.
    Elected {
        /// Whole content of the registry.
        registry: Vec<((String, String), Vec<u8>)>,
    },
    /// A decoded SUBSCRIBE call. The shell has already answered 200 with `stream_id`; refusals are ERROR events.
    Subscribe {
        /// The event stream.
        stream: Token,
        /// Its `Mesos-Stream-Id`.
        stream_id: String,
        /// The call; its required fields are present.
        call: Box<v1::scheduler::Call>,
        /// Authenticated principal.
        principal: Option<String>,
    },
    /// Any other decoded scheduler call. Answered by exactly one [`Effect::Respond`].
    SchedulerCall {
        /// The request.
        token: Token,
        /// Value of `Mesos-Stream-Id`, if sent.
        stream_id: Option<String>,
        /// The call; its required fields are present.
        call: Box<v1::scheduler::Call>,
        /// Authenticated principal.
        principal: Option<String>,
    },
    /// The peer closed an event stream, or it was dropped for being slow.
    StreamClosed {
        /// The event stream.
        stream: Token,
    },
    /// An operator's change. Answered by exactly one [`Effect::Respond`], after it is durable.
    Operator {
        /// The request.
        token: Token,
        /// What is asked for.
        call: OperatorCall,
    },
    /// A message from an agent; the first one of a connection is Register.
    FromAgent {
        /// The connection.
        connection: Token,
        /// IP address of the peer, as text.
        ip: String,
        /// The message.
        message: Box<internal::agent_to_master::Message>,
    },
    /// The connection of an agent is closed.
    AgentClosed {
        /// The connection.
        connection: Token,
    },
    /// Completion of [`Effect::WriteRegistry`].
    Written {
        /// The write.
        id: WriteId,
        /// The error's text if it failed: the master must not go on leading.
        result: Result<(), String>,
    },
    /// Which agents may be offered: those of these hosts; None: all. Offers that are open stay so.
    Whitelist {
        /// Host names.
        hosts: Option<std::collections::BTreeSet<String>>,
    },
    /// The time asked for by `next_wake` has come (or not: spurious wakes are harmless).
    Wake,
}

/// Changes that operators ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorCall {
    /// Tears down a framework.
    Teardown {
        /// Its id.
        framework_id: String,
    },
    /// Asks a task to end. Answered with 202 when its agent was asked; the framework is told TASK_KILLED in the end.
    KillTask {
        /// Its framework's id.
        framework_id: String,
        /// Its id.
        task_id: String,
        /// How long it has; None: as the task says itself.
        kill_policy: Option<v1::KillPolicy>,
    },
    /// Marks an agent gone: it will never come back.
    MarkAgentGone {
        /// Its id.
        agent_id: String,
    },
    /// Ends everything on an agent and keeps it out of use.
    DrainAgent(Drain),
    /// Keeps an agent out of use; what runs there goes on.
    DeactivateAgent {
        /// Its id.
        agent_id: String,
    },
    /// Takes an agent back into use.
    ReactivateAgent {
        /// Its id.
        agent_id: String,
    },
    /// Sets the whole maintenance schedule.
    UpdateMaintenanceSchedule {
        /// Windows with machines.
        schedule: v1::maintenance::Schedule,
    },
    /// Brings machines of the schedule down.
    StartMaintenance {
        /// The machines.
        machines: Vec<v1::MachineId>,
    },
    /// Brings machines up again and takes them out of the schedule.
    StopMaintenance {
        /// The machines.
        machines: Vec<v1::MachineId>,
    },
    /// Sets quotas, all or none.
    UpdateQuota {
        /// Whether consumption and capacity are left unchecked.
        force: bool,
        /// An empty one removes the quota of its role.
        configs: Vec<v1::quota::QuotaConfig>,
    },
    /// Sets the quota of a role that has none (the older way).
    SetQuota {
        /// What is asked for.
        request: Box<v1::quota::QuotaRequest>,
    },
    /// Removes the quota of a role.
    RemoveQuota {
        /// The role.
        role: String,
    },
    /// Sets weights of roles.
    UpdateWeights {
        /// Roles with weights.
        infos: Vec<v1::WeightInfo>,
    },
    /// Sets a role's share.
    SetShare {
        /// What is asked for.
        config: ShareConfig,
        /// Whether capacity is left unchecked.
        force: bool,
    },
    /// Removes the share of a role.
    RemoveShare {
        /// The role.
        role: String,
    },
    /// Sets to how many frameworks at a time the same resources may be offered in a role.
    SetOverlap {
        /// The role, or `*` for those without one of their own.
        role: String,
        /// None: what the flag says.
        overlap: Option<Overlap>,
    },
    /// Reserves, unreserves, or makes, destroys or resizes volumes. Answered with 202 when it is on its way.
    Apply {
        /// The agent.
        agent_id: String,
        /// What to do; resources without allocation info.
        operation: Box<v1::offer::Operation>,
        /// Authenticated principal.
        principal: Option<String>,
    },
}

/// How an agent shall be drained.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drain {
    /// Its id.
    pub agent_id: String,
    /// Longest time that a task has to end; its own grace period if that is shorter.
    pub max_grace_period: Option<wire::google::protobuf::Duration>,
    /// Whether the agent is marked gone when nothing is left there.
    pub mark_gone: bool,
}

/// Answer to an HTTP request. `body` is plain text (an explanation) or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Text for the client.
    pub body: String,
}

/// Everything a master can ask for. Carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Respond {
        /// The request.
        token: Token,
        /// The answer.
        response: Response,
    },
    /// Send an event to a framework.
    SendEvent {
        /// Its event stream.
        stream: Token,
        /// The event.
        event: Box<v1::scheduler::Event>,
    },
    /// Close an event stream, after the events sent before.
    CloseStream {
        /// The event stream.
        stream: Token,
    },
    /// Send a message to an agent.
    SendToAgent {
        /// Its connection.
        connection: Token,
        /// The message.
        message: Box<internal::master_to_agent::Message>,
    },
    /// Tell operators' event streams; only while they are observed (see [`crate::Master::observe`]).
    Announce {
        /// What has changed.
        announcement: crate::Announcement,
    },
    /// Close the connection of an agent, after the messages sent before.
    CloseAgent {
        /// Its connection.
        connection: Token,
    },
    /// Make a change of the registry durable, all of it or nothing; answered by [`Input::Written`].
    WriteRegistry {
        /// The write.
        id: WriteId,
        /// The changes, in order.
        ops: Vec<RegistryOp>,
    },
    /// Write a line to the operator's log.
    Log {
        /// What has happened.
        text: String,
    },
    /// Stop the process: the master can't go on (deposed, registry lost). The text goes to the operator.
    Abort {
        /// Why.
        message: String,
    },
}

/// Settings of a master: its flags, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    /// What frameworks and agents are told of this master; `id` is a random UUID made by the shell.
    pub info: v1::MasterInfo,
    /// Settings of the allocator.
    pub allocator: allocator::Config,
    /// `--agent_ping_timeout`.
    pub agent_ping_timeout: Duration,
    /// `--max_agent_ping_timeouts`.
    pub max_agent_ping_timeouts: u32,
    /// `--agent_reregister_timeout`.
    pub agent_reregister_timeout: Duration,
    /// `--agent_removal_rate_limit`: so many removals per so long a time.
    pub agent_removal_rate_limit: Option<(u32, Duration)>,
    /// `--recovery_agent_removal_limit`, in percent.
    pub recovery_agent_removal_limit: f64,
    /// `--offer_timeout`.
    pub offer_timeout: Option<Duration>,
    /// `--offer_overlap`, by role.
    pub offer_overlap: BTreeMap<String, Overlap>,
    /// `--preemption_grace_period`: from the inverse offer to the kill of who borrowed, and longest time that a kill
    /// policy adds to it.
    pub preemption_grace_period: Duration,
    /// `--max_completed_frameworks`.
    pub max_completed_frameworks: usize,
    /// `--max_completed_tasks_per_framework`.
    pub max_completed_tasks_per_framework: usize,
    /// `--max_unreachable_tasks_per_framework`.
    pub max_unreachable_tasks_per_framework: usize,
    /// `--roles`: whitelist, None for any role.
    pub roles: Option<std::collections::BTreeSet<String>>,
    /// `--root_submissions`.
    pub root_submissions: bool,
    /// `--registry_max_agent_age`.
    pub registry_max_agent_age: Duration,
    /// `--registry_max_agent_count`.
    pub registry_max_agent_count: usize,
    /// `--registry_gc_interval`.
    pub registry_gc_interval: Duration,
    /// `--allocator_agent_recovery_factor`: with quotas, this share of the known agents must be back after a start
    /// before offers are made.
    pub allocator_agent_recovery_factor: f64,
    /// `--allocator_recovery_timeout`: longest time to wait for them.
    pub allocator_recovery_timeout: Duration,
    /// `--require_agent_domain`.
    pub require_agent_domain: bool,
    /// Seed of the master's generator.
    pub seed: u64,
    /// Every flag's name and value, for `/flags` and `/state`.
    pub flags: BTreeMap<String, String>,
}
