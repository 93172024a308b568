//! The world: agenda, nodes and the models between them. Its loop is `step`: pop, deliver to one core, route effects.

mod agents;
mod executors;
mod faults;
mod frameworks;
mod leader;
mod maintenance;
mod masters;

use crate::agent_node::AgentNode;
use crate::coordination::{Answer, Ask, History, Service};
use crate::framework::{Framework, Request};
use crate::invariants;
use crate::master_node::MasterNode;
use crate::network::{Direction, Network, Peer};
use crate::operator;
use crate::options::{Fault, Options};
use crate::sabotage::Sabotage;
use crate::trace::Trace;
use agent_core::Agent;
use agent_core::contract as agent;
use base::{Rng, Time, Token};
use master_core::contract as master;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use wire::v1::scheduler;

/// More events than any sane run has: a core that spins is found by this.
const EVENTS_MAX: u64 = 20_000_000;
/// How long a broken connection needs to be noticed and dialled again, at most.
const REDIAL_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Event {
    MasterStart {
        master: usize,
    },
    MasterInput {
        master: usize,
        life: u32,
        input: Box<master::Input>,
    },
    /// Arrives only while its stream is open.
    ToMaster {
        stream: Token,
        input: Box<master::Input>,
    },
    /// A write on the disk of the only master is done.
    MasterApply {
        life: u32,
        id: base::WriteId,
        ops: Vec<master_core::registry::RegistryOp>,
    },
    /// A master gives a sign of life to those it shares the registry with.
    MasterBeat {
        master: usize,
        life: u32,
    },
    /// What it asks arrives.
    MasterAsks {
        master: usize,
        life: u32,
        ask: Box<Ask>,
    },
    /// What it is answered arrives.
    MasterHears {
        master: usize,
        life: u32,
        answer: Box<Answer>,
    },
    /// A stopped process goes on.
    MasterResumes {
        master: usize,
        life: u32,
    },
    /// An agent or a framework is told who leads.
    Notice {
        peer: Peer,
        master: usize,
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
    /// The URIs of a container are there, or can't be had.
    Fetched {
        agent: usize,
        life: u32,
        container: String,
    },
    ContainerEnd {
        agent: usize,
        container: String,
        status: i32,
    },
    Executor {
        agent: usize,
        container: String,
        event: executors::ExecutorEvent,
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
    /// An operator takes an agent or a machine out of use, or back.
    Maintain,
    Check,
}

/// A run that broke an invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The run.
    pub seed: u64,
    /// Masters of its cluster.
    pub masters: usize,
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
        write!(f, "replay: cargo xtask sim --seed {} --trace", self.seed)?;
        if self.masters > 1 {
            write!(f, " --masters {}", self.masters)?;
        }
        Ok(())
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
    /// Of these, those that used what was lent.
    pub borrowed: usize,
    /// Of these, those that were ended to give it back.
    pub preempted: usize,
    /// Tasks in executors of their framework.
    pub in_executors: usize,
    /// Whether something was wanted back while a role had a share in percent.
    pub recalled_beside_shares: bool,
    /// Faults injected.
    pub faults: u64,
    /// Leaderships that began.
    pub leaderships: u64,
    /// Reads and writes of the registry in the history that was checked.
    pub registry: usize,
    /// Time from the last fault until everything had converged.
    pub converged: Duration,
}

/// A cluster under virtual time.
#[derive(Debug)]
pub struct World {
    pub(crate) options: Options,
    rng: Rng,
    now: Time,
    serial: u64,
    agenda: BTreeMap<(Time, u64), Event>,
    network: Network,
    /// Calls that are not answered: framework, tasks, master.
    requests: BTreeMap<Token, (usize, Vec<String>, usize)>,
    /// Streams and calls of executors: agent, container, and uuid of the update.
    executor_calls: BTreeMap<Token, (usize, String, Vec<u8>)>,
    faults: u64,
    recalled_beside_shares: bool,
    trace: Trace,
    /// Whether what is promised to roles was kept for them so far.
    pub(crate) promise: Result<(), String>,
    hunger: invariants::starvation::Hunger,
    recalls: invariants::lending::Recalls,
    pub(crate) masters: Vec<MasterNode>,
    /// What waits for each master that is stopped, or may not act.
    stalled: Vec<Vec<Event>>,
    service: Service,
    between: masters::Between,
    pub(crate) history: History,
    policy: invariants::policy::Policy,
    pub(crate) leadership: invariants::leadership::Leadership,
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
        // Clocks of masters differ by up to two parts in a hundred.
        let masters: Vec<MasterNode> = (0..options.masters)
            .map(|i| {
                let rate = if options.masters > 1 { 980 + rng.below(41) } else { 1000 };
                MasterNode::new(i, options.overlaps.clone(), rate)
            })
            .collect();
        let mut world = Self {
            rng,
            now: Time(1_000_000_000),
            serial: 0,
            agenda: BTreeMap::new(),
            network: Network::default(),
            requests: BTreeMap::new(),
            executor_calls: BTreeMap::new(),
            faults: 0,
            recalled_beside_shares: false,
            trace: Trace::new(print),
            promise: Ok(()),
            hunger: invariants::starvation::Hunger::default(),
            recalls: invariants::lending::Recalls::default(),
            stalled: masters.iter().map(|_| Vec::new()).collect(),
            service: Service::default(),
            between: masters::Between::new(masters.len()),
            history: History::default(),
            policy: invariants::policy::Policy::default(),
            leadership: invariants::leadership::Leadership::default(),
            masters,
            agents,
            frameworks,
            options,
        };
        for master in 0..world.masters.len() {
            world.after(Duration::ZERO, Event::MasterStart { master });
        }
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
        if world.options.maintain_every.is_some() {
            world.after(Duration::from_secs(10), Event::Maintain);
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
            let check = matches!(event, Event::Check | Event::Fault)
                || events % self.options.check_every == 0;
            let done = matches!(event, Event::Check)
                && at >= calm_from
                && invariants::convergence::open(&self).is_empty();
            self.step(event);
            if check {
                invariants::always(&self).map_err(|what| self.failure(what))?;
            }
            events += 1;
            if done {
                invariants::registry::check(&self).map_err(|what| self.failure(what))?;
                return Ok(self.report(events, at.since(calm_from)));
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

    fn report(&self, events: u64, converged: Duration) -> Report {
        let tasks = |f: &Framework| f.tasks.len();
        let in_executors = self.frameworks.iter().filter(|f| f.has_executors).map(tasks).sum();
        let all = || self.frameworks.iter().flat_map(|f| f.tasks.values());
        Report {
            events,
            lines: self.trace.lines(),
            hash: self.trace.hash(),
            tasks: all().count(),
            borrowed: all().filter(|task| task.revocable).count(),
            preempted: all().filter(|task| task.is_preempted).count(),
            in_executors,
            recalled_beside_shares: self.recalled_beside_shares,
            faults: self.faults,
            leaderships: self.service.term,
            registry: self.history.operations().len(),
            converged,
        }
    }

    fn failure(&self, what: String) -> Failure {
        Failure {
            seed: self.options.seed,
            masters: self.options.masters,
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
        let Some(event) = self.unless_stalled(event) else { return };
        match event {
            Event::MasterStart { master } => self.master_start(master),
            Event::MasterInput { master, life, input } if life == self.masters[master].life => {
                self.step_master(master, *input);
            }
            Event::ToMaster { stream, input } => {
                if let Some(master) = self.network.master(stream) {
                    self.step_master(master, *input);
                }
            }
            Event::MasterApply { life, id, ops } if life == self.masters[0].life => {
                self.registry_written(id, ops);
            }
            Event::MasterBeat { master, life } if life == self.masters[master].life => {
                self.master_beat(master);
            }
            Event::MasterAsks { master, life, ask } => self.master_asks(master, life, *ask),
            Event::MasterHears { master, life, answer } if life == self.masters[master].life => {
                self.master_hears(master, *answer);
            }
            Event::MasterResumes { master, life } if life == self.masters[master].life => {
                self.master_resumes(master);
            }
            Event::Notice { peer, master } => self.notice(peer, master),
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
                self.obeys(agent, stream);
                self.step_agent(agent, *input);
            }
            Event::AgentStore { agent, life, input, record } if life == self.agents[agent].life => {
                self.agents[agent].append(*record);
                self.step_agent(agent, *input);
            }
            Event::AgentVolumes { agent, life, operation, make, remove } => {
                self.volumes_synced(agent, life, operation, make, &remove);
            }
            Event::Fetched { agent, life, container } if life == self.agents[agent].life => {
                self.fetched(agent, &container);
            }
            Event::ContainerEnd { agent, container, status } => {
                self.container_end(agent, container, status)
            }
            Event::Executor { agent, container, event } => {
                self.executor_event(agent, &container, event);
            }
            Event::FrameworkDial { framework } => self.framework_dial(framework),
            Event::ToFramework { stream, framework, event } if self.network.is_open(stream) => {
                self.frameworks[framework].heard = self.now;
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
            Event::Maintain => self.maintain(),
            Event::Check => {
                if self.options.hoarding {
                    let mut hunger = std::mem::take(&mut self.hunger);
                    self.promise = self.promise.clone().and_then(|()| hunger.look(self, self.now));
                    self.hunger = hunger;
                }
                let pause = if self.options.steady { 10 } else { 1 };
                self.after(Duration::from_secs(pause), Event::Check);
            }
            // What belongs to an older life or a closed stream is void.
            _ => {}
        }
    }
}
