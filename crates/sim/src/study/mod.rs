//! A study of offer overlap: the real master and allocator, frameworks that think, and agents that do as they are told,
//! under virtual time.
//!
//! Half of the frameworks are fast (0.1 s for a job, the paper's batch scheduler), the others think as long as the
//! study says. All of them are in one role and have the same load: jobs of 20 tasks in the mean arrive at random.

mod figures;
mod scheduler;

pub use figures::Figures;

use crate::master_node::{MasterNode, config};
use allocator::Overlap;
use base::{Rng, Time, Token};
use figures::Tally;
use master_core::Master;
use master_core::contract::{Config, Effect, Input};
use scheduler::{Scheduler, TASK_CPUS};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::internal::{self, agent_to_master, master_to_agent};
use wire::v1;
use wire::v1::scheduler::{Call, Event as SchedulerEvent};

const FRAMEWORKS: usize = 8;
const AGENTS: usize = 40;
const AGENT_CPUS: f64 = 16.0;
const AGENT_MEM: f64 = 16384.0;
/// Mean run time of a task.
const RUN_TIME: f64 = 100.0;
/// Greatest number of tasks in a job; the mean is half of it.
const TASKS_MAX: u64 = 39;
/// Decision time of fast frameworks for a job, as in the paper.
const FAST: Duration = Duration::from_millis(100);
/// How long a message takes.
const DELAY: Duration = Duration::from_millis(1);
/// Nothing is counted before.
const WARM_UP: Duration = Duration::from_secs(300);
const END: Duration = Duration::from_secs(1500);

/// One point of the study.
#[derive(Debug, Clone, Copy)]
pub struct Study {
    /// The seed of arrivals, sizes and run times.
    pub seed: u64,
    /// Overlap of the role.
    pub overlap: Overlap,
    /// What slow frameworks need to decide about a job.
    pub think: Duration,
    /// What all jobs need, as a part of the cluster.
    pub load: f64,
    /// Whether schedulers commit to the newest offers of the agents they decided for, instead of those they began with.
    pub fresh: bool,
    /// `--max_time_to_offer`; zero: offers are never taken back for being slow.
    pub max_time_to_offer: Duration,
}

#[derive(Debug)]
enum Event {
    Master(Box<Input>),
    Wake,
    Framework { framework: usize, event: Box<SchedulerEvent> },
    Arrival { framework: usize },
    Decision { framework: usize },
    Started { agent: usize, task: String, framework: usize },
    Ended { agent: usize, task: String, framework: usize },
}

struct World {
    study: Study,
    /// Choices of schedulers.
    rng: Rng,
    /// Arrivals and sizes of each framework's jobs: the same for every overlap.
    arrivals: Vec<Rng>,
    /// Run times of each framework's tasks.
    runs: Vec<Rng>,
    now: Time,
    serial: u64,
    agenda: BTreeMap<(Time, u64), Event>,
    master: Master,
    wake: Option<Time>,
    schedulers: Vec<Scheduler>,
    tally: Tally,
}

fn stream(framework: usize) -> Token {
    Token(1 + framework as u64)
}

fn connection(agent: usize) -> Token {
    Token(1_000 + agent as u64)
}

impl Study {
    /// Runs it.
    #[must_use]
    pub fn run(self) -> Figures {
        let mut config = config("study".to_owned(), self.seed);
        config.allocator.max_time_to_offer = self.max_time_to_offer;
        config.offer_timeout = None;
        config.agent_ping_timeout = END;
        let offer_overlap = BTreeMap::from([("study".to_owned(), self.overlap)]);
        let config = Config { offer_overlap, ..config };
        let allocator = allocator::hierarchical(config.allocator.clone());
        let schedulers = (0..FRAMEWORKS)
            .map(|index| {
                let per_job = if is_fast(index) { FAST } else { self.think };
                Scheduler::new(index, per_job, self.fresh)
            })
            .collect();
        let mut world = World {
            study: self,
            rng: Rng::new(self.seed),
            arrivals: (1..=FRAMEWORKS as u64).map(|f| Rng::new(self.seed << 8 | f)).collect(),
            runs: (1..=FRAMEWORKS as u64).map(|f| Rng::new(self.seed << 8 | f << 4)).collect(),
            now: Time(1_000_000_000),
            serial: 0,
            agenda: BTreeMap::new(),
            master: Master::new(config, allocator),
            wake: None,
            schedulers,
            tally: Tally::new(FRAMEWORKS),
        };
        world.run()
    }
}

/// Whether a framework is one of the fast half.
fn is_fast(framework: usize) -> bool {
    framework < FRAMEWORKS / 2
}

#[expect(clippy::cast_precision_loss, reason = "53 random bits are enough")]
fn exponential(rng: &mut Rng, mean: f64) -> Duration {
    let uniform = ((rng.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    Duration::from_secs_f64(-mean * uniform.ln())
}

impl World {
    fn run(&mut self) -> Figures {
        let begin = self.now;
        self.step(Input::Elected { registry: Vec::new() });
        for agent in 0..AGENTS {
            self.step(register(agent));
        }
        for framework in 0..FRAMEWORKS {
            let call = Box::new(self.schedulers[framework].subscribe());
            let (stream, stream_id) = (stream(framework), framework.to_string());
            self.step(Input::Subscribe { stream, stream_id, call, principal: None });
            self.await_job(framework);
        }
        let (mut warm, end) = (false, begin + END);
        while let Some(((at, _), event)) = self.agenda.pop_first() {
            if !warm && at >= begin + WARM_UP {
                warm = true;
                self.tally.restart(begin + WARM_UP, self.schedulers.iter().map(|s| s.accepts));
            }
            if at >= end {
                break;
            }
            self.now = at;
            self.happen(event);
        }
        let accepts = self.schedulers.iter().map(|s| s.accepts);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let cpus = AGENTS as f64 * AGENT_CPUS;
        self.tally.figures(end, accepts, cpus / TASK_CPUS, is_fast)
    }

    /// Mean time between two jobs of a framework.
    fn pause(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (slots, tasks, frameworks) = (
            AGENTS as f64 * AGENT_CPUS / TASK_CPUS,
            (TASKS_MAX + 1) as f64 / 2.0,
            FRAMEWORKS as f64,
        );
        let tasks_per_second = self.study.load * slots / RUN_TIME;
        tasks * frameworks / tasks_per_second
    }

    fn await_job(&mut self, framework: usize) {
        let mean = self.pause();
        let pause = exponential(&mut self.arrivals[framework], mean);
        self.after(pause, Event::Arrival { framework });
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.serial += 1;
        self.agenda.insert((self.now + delay, self.serial), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Master(input) => self.step(*input),
            // Others were asked for later, and have been replaced since.
            Event::Wake if self.wake.is_some_and(|at| at <= self.now) => {
                self.wake = None;
                self.step(Input::Wake);
            }
            Event::Wake => {}
            Event::Framework { framework, event } => {
                let calls = self.schedulers[framework].on_event(&event);
                self.send(framework, calls);
            }
            Event::Arrival { framework } => {
                let tasks = 1 + self.arrivals[framework].below(TASKS_MAX) as usize;
                let calls = self.schedulers[framework].arrive(self.now, tasks);
                self.send(framework, calls);
                self.await_job(framework);
            }
            Event::Decision { framework } => {
                let calls = self.schedulers[framework].decide(&mut self.rng);
                self.send(framework, calls);
            }
            Event::Started { agent, task, framework } => {
                if let Some(arrived) = self.schedulers[framework].arrival_of(&task) {
                    self.tally.place(self.now, framework, self.now.since(arrived));
                }
                let runs = exponential(&mut self.runs[framework], RUN_TIME);
                self.after(runs, Event::Ended { agent, task, framework });
            }
            Event::Ended { agent, task, framework } => {
                self.tally.end(self.now, framework);
                let input = ended(agent, &task, self.framework_id(framework));
                self.after(DELAY, Event::Master(Box::new(input)));
            }
        }
    }

    fn framework_id(&self, framework: usize) -> String {
        let known = self.master.state().frameworks.values();
        let mut known = known.filter(|f| f.stream == Some(stream(framework)));
        known.next().map(|f| f.id.clone()).unwrap_or_default()
    }

    /// Sends calls, and lets the framework decide about what it has.
    fn send(&mut self, framework: usize, calls: Vec<Call>) {
        for call in calls {
            self.serial += 1;
            let token = Token(1_000_000 + self.serial);
            let stream_id = Some(framework.to_string());
            let call = Box::new(call);
            let input = Input::SchedulerCall { token, stream_id, call, principal: None };
            self.after(DELAY, Event::Master(Box::new(input)));
        }
        if let Some(time) = self.schedulers[framework].begin() {
            self.after(time, Event::Decision { framework });
        }
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.master.step(MasterNode::now(self.now), input, &mut out);
        for effect in out {
            self.effect(effect);
        }
        let next = self.master.next_wake().map(|at| at.max(Time(self.now.0 + 1)));
        if let Some(at) = next.filter(|at| self.wake.is_none_or(|known| *at < known)) {
            self.wake = Some(at);
            self.after(at.since(self.now), Event::Wake);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::SendEvent { stream: to, event } => {
                let framework = (0..FRAMEWORKS).find(|f| stream(*f) == to);
                if let Some(framework) = framework {
                    self.after(DELAY, Event::Framework { framework, event });
                }
            }
            Effect::SendToAgent { connection: to, message } => {
                let agent = (0..AGENTS).find(|a| connection(*a) == to);
                if let (Some(agent), master_to_agent::Message::RunTask(run)) = (agent, *message) {
                    let task = run.task.task_id.value;
                    let owner = task.trim_start_matches('f').split('-').next();
                    let framework = owner.and_then(|n| n.parse().ok()).unwrap_or_default();
                    self.after(DELAY, Event::Started { agent, task, framework });
                }
            }
            Effect::WriteRegistry { id, .. } => {
                self.after(DELAY, Event::Master(Box::new(Input::Written { id, result: Ok(()) })));
            }
            _ => {}
        }
    }
}

fn register(agent: usize) -> Input {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    let capability = v1::agent_info::capability::Type::MultiRole;
    let register = internal::Register {
        protocol: 1,
        info: v1::AgentInfo {
            hostname: format!("host{agent}"),
            port: Some(5051),
            resources: vec![scalar("cpus", AGENT_CPUS), scalar("mem", AGENT_MEM)],
            ..Default::default()
        },
        version: "1.0.0".to_owned(),
        capabilities: vec![v1::agent_info::Capability { r#type: Some(capability as i32) }],
        ..Default::default()
    };
    let message = Box::new(agent_to_master::Message::Register(register));
    Input::FromAgent { connection: connection(agent), ip: format!("10.0.0.{}", agent + 1), message }
}

fn ended(agent: usize, task: &str, framework_id: String) -> Input {
    let status = v1::TaskStatus {
        task_id: v1::TaskId { value: task.to_owned() },
        state: v1::TaskState::TaskFinished as i32,
        source: Some(v1::task_status::Source::Agent as i32),
        ..Default::default()
    };
    let update = internal::StatusUpdate {
        framework_id: framework_id.as_str().into(),
        status,
        latest_state: None,
    };
    let message = Box::new(agent_to_master::Message::StatusUpdate(update));
    Input::FromAgent { connection: connection(agent), ip: format!("10.0.0.{}", agent + 1), message }
}
