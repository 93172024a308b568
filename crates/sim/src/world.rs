//! The world: agenda, nodes and the models between them. Its loop is `step`: pop, deliver to one core, route effects.

use crate::agent_node::AgentNode;
use crate::framework::{Framework, Request};
use crate::invariants;
use crate::master_node::MasterNode;
use crate::network::{Direction, Network, Peer};
use crate::operator;
use crate::options::{Fault, Options};
use crate::trace::Trace;
use agent_core::Agent;
use agent_core::contract as agent;
use base::{Rng, Time, Token};
use master_core::contract as master;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use wire::v1::scheduler;

/// Checks of every invariant happen once in so many events, and after every fault.
const CHECK_EVERY: u64 = 16;
/// More events than any sane run has: a core that spins is found by this.
const EVENTS_MAX: u64 = 3_000_000;
/// How long a broken connection needs to be noticed and dialled again, at most.
const REDIAL_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Event {
    MasterStart,
    MasterInput {
        life: u32,
        input: Box<master::Input>,
    },
    /// Arrives only while its stream is open.
    ToMaster {
        stream: Token,
        input: Box<master::Input>,
    },
    MasterApply {
        life: u32,
        input: Box<master::Input>,
        ops: Vec<master_core::registry::RegistryOp>,
    },
    AgentStart {
        agent: usize,
    },
    AgentDial {
        agent: usize,
        life: u32,
    },
    AgentInput {
        agent: usize,
        life: u32,
        input: Box<agent::Input>,
    },
    /// Arrives only while its stream is open.
    ToAgent {
        stream: Token,
        agent: usize,
        life: u32,
        input: Box<agent::Input>,
    },
    AgentStore {
        agent: usize,
        life: u32,
        input: Box<agent::Input>,
        record: Box<wire::internal::AgentRecord>,
    },
    /// The file system did what was asked for.
    AgentVolumes {
        agent: usize,
        life: u32,
        operation: Vec<u8>,
        make: Vec<String>,
        remove: Vec<agent::RemovedVolume>,
    },
    ContainerEnd {
        agent: usize,
        container: String,
        status: i32,
    },
    FrameworkDial {
        framework: usize,
    },
    ToFramework {
        stream: Token,
        framework: usize,
        event: Box<scheduler::Event>,
    },
    Request {
        framework: usize,
        stream: Token,
        request: Box<Request>,
    },
    Answer {
        framework: usize,
        tasks: Vec<String>,
        status: u16,
    },
    FrameworkTick {
        framework: usize,
    },
    Fault,
    /// An operator changes a share, a quota or a weight.
    Share,
    Check,
}

/// A run that broke an invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The run.
    pub seed: u64,
    /// What was broken.
    pub what: String,
    /// Virtual time at which it was noticed.
    pub at: Time,
    /// The end of the history.
    pub history: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {} failed at {}: {}", self.seed, self.at, self.what)?;
        write!(f, "replay: cargo xtask sim --seed {} --trace", self.seed)
    }
}

/// A run that kept every invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Events handled.
    pub events: u64,
    /// Lines of history.
    pub lines: u64,
    /// Equal for two runs that did the same.
    pub hash: u64,
    /// Tasks launched.
    pub tasks: usize,
    /// Faults injected.
    pub faults: u64,
}

/// A cluster under virtual time.
#[derive(Debug)]
pub struct World {
    options: Options,
    rng: Rng,
    now: Time,
    serial: u64,
    agenda: BTreeMap<(Time, u64), Event>,
    network: Network,
    requests: BTreeMap<Token, (usize, Vec<String>)>,
    faults: u64,
    trace: Trace,
    /// Whether what is promised to roles was kept for them so far.
    pub(crate) promise: Result<(), String>,
    recalls: invariants::lending::Recalls,
    pub(crate) master: MasterNode,
    pub(crate) agents: Vec<AgentNode>,
    pub(crate) frameworks: Vec<Framework>,
}

impl World {
    /// A cluster that has not started yet.
    #[must_use]
    pub fn new(options: Options, print: bool) -> Self {
        let mut rng = Rng::new(options.seed ^ 0x5EED);
        let agents = (0..options.agents)
            .map(|i| AgentNode::new(i, Duration::from_secs(rng.below(3600)), options.lending))
            .collect();
        let frameworks =
            (0..options.frameworks).map(|i| Framework::new(i, &options, &mut rng)).collect();
        let mut world = Self {
            rng,
            now: Time(1_000_000_000),
            serial: 0,
            agenda: BTreeMap::new(),
            network: Network::default(),
            requests: BTreeMap::new(),
            faults: 0,
            trace: Trace::new(print),
            promise: Ok(()),
            recalls: invariants::lending::Recalls::default(),
            master: MasterNode::new(options.overlaps.clone()),
            agents,
            frameworks,
            options,
        };
        world.after(Duration::ZERO, Event::MasterStart);
        for agent in 0..world.agents.len() {
            world.after(Duration::from_millis(agent as u64), Event::AgentStart { agent });
        }
        for framework in 0..world.frameworks.len() {
            world.after(Duration::from_millis(100), Event::FrameworkDial { framework });
            world.after(Duration::from_secs(3), Event::FrameworkTick { framework });
        }
        if world.options.fault_every.is_some() && !world.options.faults.is_empty() {
            world.after(Duration::from_secs(1), Event::Fault);
        }
        if world.options.share_every.is_some() {
            world.after(Duration::from_secs(1), Event::Share);
        }
        world.after(Duration::from_secs(1), Event::Check);
        world
    }

    /// Runs to the end: a time of faults, then a calm in which everything must converge.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn run(mut self) -> Result<Report, Failure> {
        let calm_from = self.now + self.options.faulty;
        let end = calm_from + self.options.calm;
        let mut events = 0;
        loop {
            let Some(((at, _), event)) = self.agenda.pop_first() else {
                return Err(self.failure("nothing is left to happen".to_owned()));
            };
            self.now = at;
            if at >= calm_from && !self.is_calm() {
                self.frameworks.iter_mut().for_each(|f| f.calm = true);
                self.trace.line(at, "calm");
            }
            let check = matches!(event, Event::Check | Event::Fault) || events % CHECK_EVERY == 0;
            let done = matches!(event, Event::Check)
                && at >= calm_from
                && invariants::convergence::open(&self).is_empty();
            self.step(event);
            if check {
                invariants::always(&self).map_err(|what| self.failure(what))?;
            }
            events += 1;
            if done {
                return Ok(self.report(events));
            }
            if at > end {
                let open = invariants::convergence::open(&self);
                return Err(self.failure(format!("not converged: {}", open.join("; "))));
            }
            if events > EVENTS_MAX {
                return Err(self.failure(format!("{EVENTS_MAX} events, something spins")));
            }
        }
    }

    fn report(&self, events: u64) -> Report {
        let tasks = self.frameworks.iter().map(|f| f.tasks.len()).sum();
        Report {
            events,
            lines: self.trace.lines(),
            hash: self.trace.hash(),
            tasks,
            faults: self.faults,
        }
    }

    fn failure(&self, what: String) -> Failure {
        Failure {
            seed: self.options.seed,
            what,
            at: self.now,
            history: self.trace.last().cloned().collect(),
        }
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Time, event: Event) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), event);
    }

    fn random(&mut self, max: Duration) -> Duration {
        Duration::from_nanos(1 + self.rng.below(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX)))
    }

    fn delay(&mut self) -> Duration {
        self.random(self.options.delay_max)
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::MasterStart => self.master_start(),
            Event::MasterInput { life, input } if life == self.master.life => {
                self.step_master(*input)
            }
            Event::ToMaster { stream, input } if self.network.is_open(stream) => {
                self.step_master(*input)
            }
            Event::MasterApply { life, input, ops } if life == self.master.life => {
                self.master.apply(&ops);
                self.step_master(*input);
            }
            Event::AgentStart { agent } => self.agent_start(agent),
            Event::AgentDial { agent, life } if life == self.agents[agent].life => {
                self.agent_dial(agent)
            }
            Event::AgentInput { agent, life, input } if life == self.agents[agent].life => {
                self.step_agent(agent, *input)
            }
            Event::ToAgent { stream, agent, life, input }
                if life == self.agents[agent].life && self.network.is_open(stream) =>
            {
                self.step_agent(agent, *input);
            }
            Event::AgentStore { agent, life, input, record } if life == self.agents[agent].life => {
                self.agents[agent].disk.push(*record);
                self.step_agent(agent, *input);
            }
            Event::AgentVolumes { agent, life, operation, make, remove } => {
                self.volumes_synced(agent, life, operation, make, &remove);
            }
            Event::ContainerEnd { agent, container, status } => {
                self.container_end(agent, container, status)
            }
            Event::FrameworkDial { framework } => self.framework_dial(framework),
            Event::ToFramework { stream, framework, event } if self.network.is_open(stream) => {
                self.framework_event(framework, &event);
            }
            Event::Request { framework, stream, request } => {
                self.request(framework, stream, *request)
            }
            Event::Answer { framework, tasks, status } => {
                if !(200..300).contains(&status) {
                    self.trace.line(self.now, &format!("framework {framework} answered {status}"));
                }
                self.frameworks[framework].settle(&tasks);
            }
            Event::FrameworkTick { framework } => self.framework_tick(framework),
            Event::Fault => self.fault(),
            Event::Share => self.share(),
            Event::Check => self.after(Duration::from_secs(1), Event::Check),
            // What belongs to an older life or a closed stream is void.
            _ => {}
        }
    }

    // --- master -----------------------------------------------------------------------------------------------

    fn master_start(&mut self) {
        let (id, seed) = (self.rng.uuid(), self.rng.next_u64());
        self.trace.line(self.now, "master starts");
        self.master.start(id, seed);
        let registry = self.master.registry.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let input = Box::new(master::Input::Elected { registry });
        let delay = self.random(self.options.write_max);
        let life = self.master.life;
        self.after(delay, Event::MasterInput { life, input });
    }

    fn step_master(&mut self, input: master::Input) {
        let now = MasterNode::now(self.now);
        let Some(core) = &mut self.master.core else { return };
        let mut out = Vec::new();
        core.step(now, input, &mut out);
        let wake = core.next_wake();
        let state = core.state();
        if !state.shares.is_empty() || !state.quotas.is_empty() {
            let kept = || invariants::guarantees::check(state, now.mono);
            let within = || invariants::limits::check(state, now.mono);
            self.promise = self.promise.clone().and_then(|()| kept()).and_then(|()| within());
        }
        if self.options.lending {
            let is_whole = self.options.fault_every.is_none() || self.options.faults.is_empty();
            let recalls = self.recalls.check(core, self.now, is_whole);
            self.promise = self.promise.clone().and(recalls);
        }
        for effect in out {
            self.master_effect(effect);
        }
        if let Some(at) =
            wake.filter(|at| self.master.wake.is_none_or(|w| *at < w || w <= self.now))
        {
            let at = at.max(Time(self.now.0 + 1));
            self.master.wake = Some(at);
            let life = self.master.life;
            self.at(at, Event::MasterInput { life, input: Box::new(master::Input::Wake) });
        }
    }

    fn master_effect(&mut self, effect: master::Effect) {
        match effect {
            master::Effect::Respond { token, response } => {
                if let Some((framework, tasks)) = self.requests.remove(&token) {
                    let delay = self.delay();
                    self.after(delay, Event::Answer { framework, tasks, status: response.status });
                }
            }
            master::Effect::SendEvent { stream, event } => {
                let at = self.now + self.delay();
                if let Some((Peer::Framework(framework), at)) =
                    self.network.arrival(stream, Direction::FromMaster, at)
                {
                    self.at(at, Event::ToFramework { stream, framework, event });
                }
            }
            master::Effect::CloseStream { stream } => self.break_stream(stream),
            master::Effect::SendToAgent { connection, message } => {
                let at = self.now + self.delay();
                if let Some((Peer::Agent(agent), at)) =
                    self.network.arrival(connection, Direction::FromMaster, at)
                {
                    let life = self.agents[agent].life;
                    let input = Box::new(agent::Input::FromMaster { connection, message });
                    self.at(at, Event::ToAgent { stream: connection, agent, life, input });
                }
            }
            master::Effect::CloseAgent { connection } => self.break_stream(connection),
            master::Effect::WriteRegistry { id, ops } => {
                let done =
                    self.now.max(self.master.disk_free) + self.random(self.options.write_max);
                self.master.disk_free = done;
                let input = Box::new(master::Input::Written { id, result: Ok(()) });
                let life = self.master.life;
                self.at(done, Event::MasterApply { life, input, ops });
            }
            // No simulated operator listens.
            master::Effect::Announce { .. } => {}
            master::Effect::Log { text } => self.trace.line(self.now, &format!("master: {text}")),
            master::Effect::Abort { message } => {
                self.trace.line(self.now, &format!("master aborts: {message}"));
                self.master_crash();
            }
        }
    }

    fn master_crash(&mut self) {
        self.trace.line(self.now, "master dies");
        self.master.core = None;
        self.master.life += 1;
        for stream in self.network.all() {
            self.break_stream(stream);
        }
        let requests = std::mem::take(&mut self.requests);
        for (_, (framework, tasks)) in requests {
            self.frameworks[framework].settle(&tasks);
        }
        let delay = self.random(Duration::from_secs(20));
        self.after(delay, Event::MasterStart);
    }

    /// A stream to or from the master breaks: both ends notice, later, each for itself.
    fn break_stream(&mut self, stream: Token) {
        let Some(peer) = self.network.close(stream) else { return };
        let life = self.master.life;
        let delay = self.delay();
        match peer {
            Peer::Agent(agent) => {
                let input = Box::new(master::Input::AgentClosed { connection: stream });
                self.after(delay, Event::MasterInput { life, input });
                let life = self.agents[agent].life;
                let input = Box::new(agent::Input::MasterClosed { connection: stream });
                let delay = self.delay();
                self.after(delay, Event::AgentInput { agent, life, input });
                if self.agents[agent].master == Some(stream) {
                    self.agents[agent].master = None;
                    let delay = delay + self.random(REDIAL_MAX);
                    self.after(delay, Event::AgentDial { agent, life });
                }
            }
            Peer::Framework(framework) => {
                let input = Box::new(master::Input::StreamClosed { stream });
                self.after(delay, Event::MasterInput { life, input });
                if self.frameworks[framework].stream == Some(stream) {
                    self.frameworks[framework].stream = None;
                    let delay = self.random(REDIAL_MAX);
                    self.after(delay, Event::FrameworkDial { framework });
                }
            }
        }
    }

    fn share(&mut self) {
        let Some(every) = self.options.share_every.filter(|_| !self.is_calm()) else { return };
        let call = operator::next(&mut self.rng);
        self.trace.line(self.now, &format!("operator asks for {call:?}"));
        let token = self.network.token();
        self.step_master(master::Input::Operator { token, call });
        let delay = self.random(2 * every);
        self.after(delay, Event::Share);
    }

    fn is_calm(&self) -> bool {
        self.frameworks.iter().all(|f| f.calm)
    }

    // --- agents -----------------------------------------------------------------------------------------------

    fn agent_start(&mut self, agent: usize) {
        let seed = self.rng.next_u64();
        let node = &mut self.agents[agent];
        node.life += 1;
        node.wake = None;
        node.disk_free = self.now;
        let life = node.life;
        node.core = Some(Agent::new(node.config(seed)));
        node.disk = agent_core::compact(std::mem::take(&mut node.disk));
        let input =
            agent::Input::Recovered { records: node.disk.clone(), containers: node.found() };
        self.trace.line(self.now, &format!("agent {agent} starts"));
        self.step_agent(agent, input);
        let delay = self.random(REDIAL_MAX);
        self.after(delay, Event::AgentDial { agent, life });
    }

    fn agent_crash(&mut self, agent: usize) {
        self.trace.line(self.now, &format!("agent {agent} dies"));
        self.agents[agent].core = None;
        self.agents[agent].life += 1;
        for stream in self.network.of(Peer::Agent(agent)) {
            self.break_stream(stream);
        }
        self.agents[agent].master = None;
        let delay = self.random(Duration::from_secs(30));
        self.after(delay, Event::AgentStart { agent });
    }

    fn agent_dial(&mut self, agent: usize) {
        let node = &self.agents[agent];
        if node.master.is_some() || node.core.is_none() {
            return;
        }
        let life = node.life;
        let reachable = self.network.unreachable_until(Peer::Agent(agent)) <= self.now;
        if self.master.core.is_none() || !reachable {
            let delay = self.random(REDIAL_MAX);
            self.after(delay, Event::AgentDial { agent, life });
            return;
        }
        let connection = self.network.token();
        self.network.open(connection, Peer::Agent(agent));
        self.agents[agent].master = Some(connection);
        self.step_agent(agent, agent::Input::MasterConnected { connection });
    }

    fn step_agent(&mut self, agent: usize, input: agent::Input) {
        let node = &mut self.agents[agent];
        let now = node.now(self.now);
        let Some(core) = &mut node.core else { return };
        let mut out = Vec::new();
        core.step(now, input, &mut out);
        let wake = core.next_wake();
        let life = node.life;
        for effect in out {
            self.agent_effect(agent, effect);
        }
        let node = &mut self.agents[agent];
        if node.life == life
            && let Some(at) = wake.filter(|at| node.wake.is_none_or(|w| *at < w || w <= self.now))
        {
            let at = at.max(Time(self.now.0 + 1));
            node.wake = Some(at);
            self.at(at, Event::AgentInput { agent, life, input: Box::new(agent::Input::Wake) });
        }
    }

    fn agent_effect(&mut self, agent: usize, effect: agent::Effect) {
        let life = self.agents[agent].life;
        match effect {
            agent::Effect::SendToMaster { connection, message } => {
                let at = self.now + self.delay();
                if let Some((_, at)) = self.network.arrival(connection, Direction::ToMaster, at) {
                    let ip = format!("10.0.0.{}", agent + 1);
                    let input = Box::new(master::Input::FromAgent { connection, ip, message });
                    self.at(at, Event::ToMaster { stream: connection, input });
                }
            }
            agent::Effect::CloseMaster { connection } => self.break_stream(connection),
            agent::Effect::Store { id, record, sync: _ } => {
                let done = self.now.max(self.agents[agent].disk_free)
                    + self.random(self.options.write_max);
                self.agents[agent].disk_free = done;
                let input = Box::new(agent::Input::Stored { id, result: Ok(()) });
                self.at(done, Event::AgentStore { agent, life, input, record });
            }
            agent::Effect::StartContainer { spec } => {
                let container_id = spec.container_id.clone();
                let result = self.agents[agent].start_container(&spec);
                if result.is_ok() {
                    let plan = self.agents[agent].containers[&container_id].plan;
                    let event = Event::ContainerEnd {
                        agent,
                        container: container_id.clone(),
                        status: plan.status(),
                    };
                    self.after(plan.runs + Duration::from_millis(1), event);
                }
                let input = Box::new(agent::Input::ContainerStarted { container_id, result });
                self.after(Duration::from_micros(900), Event::AgentInput { agent, life, input });
            }
            agent::Effect::SignalContainer { container_id, signal } => {
                self.signal(agent, container_id, signal)
            }
            agent::Effect::DestroyContainer { container_id } => self.signal(agent, container_id, 9),
            agent::Effect::ForgetContainer { container_id } => {
                self.agents[agent].containers.remove(&container_id);
            }
            agent::Effect::SyncVolumes { operation, make, remove } => {
                let event = Event::AgentVolumes { agent, life, operation, make, remove };
                let done = self.now.max(self.agents[agent].disk_free)
                    + self.random(self.options.write_max);
                self.agents[agent].disk_free = done;
                self.at(done, event);
            }
            agent::Effect::Exit { message, .. } => {
                self.trace.line(self.now, &format!("agent {agent} exits: {message}"));
                self.agent_crash(agent);
            }
            // No simulated executor opens a stream, and there is neither file system nor load.
            agent::Effect::AcceptStream { .. }
            | agent::Effect::Respond { .. }
            | agent::Effect::SendEvent { .. }
            | agent::Effect::CloseStream { .. }
            | agent::Effect::Measure { .. }
            | agent::Effect::RemoveDirectory { .. }
            | agent::Effect::Link { .. } => {}
        }
    }

    fn volumes_synced(
        &mut self,
        agent: usize,
        life: u32,
        operation: Vec<u8>,
        make: Vec<String>,
        remove: &[agent::RemovedVolume],
    ) {
        if self.agents[agent].life != life {
            return;
        }
        let volumes = &mut self.agents[agent].volumes;
        volumes.extend(make);
        volumes.retain(|path| !remove.iter().any(|r| r.path == *path));
        let input = Box::new(agent::Input::VolumesSynced { operation, result: Ok(()) });
        self.after(Duration::from_micros(10), Event::AgentInput { agent, life, input });
    }

    fn signal(&mut self, agent: usize, container: String, signal: i32) {
        if let Some(status) = self.agents[agent].signal(&container, signal) {
            let delay = self.random(Duration::from_millis(20));
            self.after(delay, Event::ContainerEnd { agent, container, status });
        }
    }

    fn container_end(&mut self, agent: usize, id: String, status: i32) {
        let node = &mut self.agents[agent];
        let life = node.life;
        let Some(container) = node.containers.get_mut(&id).filter(|c| c.status.is_none()) else {
            return;
        };
        container.status = Some(status);
        let input =
            Box::new(agent::Input::ContainerExited { container_id: id, status: Some(status) });
        self.after(Duration::from_micros(300), Event::AgentInput { agent, life, input });
    }

    // --- frameworks -------------------------------------------------------------------------------------------

    fn framework_dial(&mut self, framework: usize) {
        if self.frameworks[framework].stream.is_some() {
            return;
        }
        let peer = Peer::Framework(framework);
        if self.master.core.is_none() || self.network.unreachable_until(peer) > self.now {
            let delay = self.random(REDIAL_MAX);
            self.after(delay, Event::FrameworkDial { framework });
            return;
        }
        let stream = self.network.token();
        self.network.open(stream, peer);
        let stream_id = self.rng.uuid();
        self.frameworks[framework].stream = Some(stream);
        self.frameworks[framework].stream_id.clone_from(&stream_id);
        let call = Box::new(self.frameworks[framework].subscribe());
        let input = Box::new(master::Input::Subscribe { stream, stream_id, call, principal: None });
        let at = self.now + self.delay();
        if let Some((_, at)) = self.network.arrival(stream, Direction::ToMaster, at) {
            self.at(at, Event::ToMaster { stream, input });
        }
    }

    fn framework_event(&mut self, framework: usize, event: &scheduler::Event) {
        if let Some(update) = &event.update {
            let status = &update.status;
            let (task, state) = (&status.task_id.value, status.state().as_str_name());
            let more =
                (status.reason.map(|_| status.reason().as_str_name()), status.message.as_deref());
            self.trace
                .line(self.now, &format!("framework {framework} hears {state} of {task} {more:?}"));
        }
        for offer in event.inverse_offers.iter().flat_map(|o| &o.inverse_offers) {
            let (id, on) = (&offer.id.value, offer.agent_id.clone().unwrap_or_default().value);
            self.trace
                .line(self.now, &format!("framework {framework} hears inverse offer {id} on {on}"));
        }
        let requests = self.frameworks[framework].on_event(event, &mut self.rng);
        self.send_requests(framework, requests);
    }

    fn framework_tick(&mut self, framework: usize) {
        if self.frameworks[framework].stream.is_some() && self.frameworks[framework].id.is_some() {
            let requests = self.frameworks[framework].tick(&mut self.rng);
            self.send_requests(framework, requests);
        }
        let pause = if self.frameworks[framework].calm { 60 } else { 5 };
        self.after(Duration::from_secs(pause), Event::FrameworkTick { framework });
    }

    /// Calls go on connections of their own: each has its own delay, so they overtake each other.
    fn send_requests(&mut self, framework: usize, requests: Vec<Request>) {
        let Some(stream) = self.frameworks[framework].stream else {
            for request in requests {
                self.frameworks[framework].settle(&request.tasks);
            }
            return;
        };
        for request in requests {
            let delay = self.delay();
            self.after(delay, Event::Request { framework, stream, request: Box::new(request) });
        }
    }

    /// A call reaches the master, or is lost with the stream it belongs to.
    fn request(&mut self, framework: usize, stream: Token, request: Request) {
        let cut = self.network.unreachable_until(Peer::Framework(framework)) > self.now;
        if self.master.core.is_none() || !self.network.is_open(stream) || cut {
            self.frameworks[framework].settle(&request.tasks);
            return;
        }
        let token = self.network.token();
        let call = request.call;
        if !request.tasks.is_empty() {
            self.trace.line(
                self.now,
                &format!("framework {framework} launches {}", request.tasks.join(" ")),
            );
        }
        if let Some(acknowledge) = &call.acknowledge
            && let Some(task) = self.frameworks[framework].tasks.get_mut(&acknowledge.task_id.value)
        {
            task.acknowledged.insert(acknowledge.uuid.clone());
        }
        if let Some(kill) = &call.kill {
            self.trace
                .line(self.now, &format!("framework {framework} kills {}", kill.task_id.value));
        }
        self.requests.insert(token, (framework, request.tasks));
        let stream_id = Some(self.frameworks[framework].stream_id.clone());
        self.step_master(master::Input::SchedulerCall {
            token,
            stream_id,
            call: Box::new(call),
            principal: None,
        });
    }

    // --- faults -----------------------------------------------------------------------------------------------

    fn fault(&mut self) {
        let (Some(every), false) =
            (self.options.fault_every, self.frameworks.iter().all(|f| f.calm))
        else {
            return;
        };
        let pause = self.random(every * 2);
        self.after(pause, Event::Fault);
        let fault = self.options.faults[self.rng.below(self.options.faults.len() as u64) as usize];
        let agent = self.rng.below(self.agents.len() as u64) as usize;
        let framework = self.rng.below(self.frameworks.len() as u64) as usize;
        self.faults += 1;
        self.trace.line(self.now, &format!("fault {fault:?}"));
        match fault {
            Fault::AgentCrash if self.agents[agent].core.is_some() => self.agent_crash(agent),
            Fault::MasterCrash if self.master.core.is_some() => self.master_crash(),
            Fault::AgentCrash | Fault::MasterCrash => {}
            Fault::FrameworkReset => self.reset(Peer::Framework(framework)),
            Fault::LinkReset => self.reset(Peer::Agent(agent)),
            Fault::Partition => self.cut(agent, &[Direction::ToMaster, Direction::FromMaster]),
            Fault::PartitionUp => self.cut(agent, &[Direction::ToMaster]),
            Fault::PartitionDown => self.cut(agent, &[Direction::FromMaster]),
        }
    }

    fn reset(&mut self, peer: Peer) {
        for stream in self.network.of(peer) {
            self.break_stream(stream);
        }
    }

    fn cut(&mut self, agent: usize, directions: &[Direction]) {
        let longest = [5, 60, 200][self.rng.below(3) as usize];
        let until = self.now + self.random(Duration::from_secs(longest));
        for direction in directions {
            self.network.cut(Peer::Agent(agent), *direction, until);
        }
    }
}
