//! Many agents in one process: they connect, register, answer pings and come back with their tasks, and run nothing.
//!
//! What they send is encoded beforehand: real agents do that on other machines.

use http_api::link::{self, Dialed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wire::internal::{self, agent_to_master, master_to_agent};
use wire::v1;

/// Times between attempts to connect, as a real agent's.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Times until an unanswered registration is sent again, as a real agent's.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Version of the messages between masters and agents.
const PROTOCOL: u32 = 1;

/// Raises the limit on open files: each agent is one here and one at the master, which inherits the limit.
pub(crate) fn allow_files() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: files.maximum, ..files };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, most) {
        eprintln!("the limit on open files stays: {error}");
    }
}

/// How many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Agents.
    pub(crate) agents: usize,
    /// Tasks of each.
    pub(crate) tasks: usize,
}

/// The agents; they are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Agents {
    _runtime: Runtime,
    board: Arc<Board>,
}

/// When each agent was registered last.
#[derive(Debug)]
struct Board {
    begin: Instant,
    /// Microseconds; 0: never.
    registered: Vec<AtomicU64>,
}

impl Board {
    fn note(&self, agent: usize) {
        let micros = self.begin.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
        self.registered[agent].store(micros, Ordering::Relaxed);
    }
}

impl Agents {
    /// Starts them; they look for the master that leads among these.
    pub(crate) fn start(masters: Vec<String>, size: Size) -> Self {
        let runtime = Runtime::new().expect("threads");
        let masters: Arc<[String]> = masters.into();
        let registered = (0..size.agents).map(|_| AtomicU64::new(0)).collect();
        let board = Arc::new(Board { begin: Instant::now(), registered });
        for number in 0..size.agents {
            let registration = encoded(&registration(number, None, 0));
            let agent = Agent {
                number,
                tasks: size.tasks,
                is_known: false,
                registration,
                board: board.clone(),
            };
            runtime.spawn(agent.live(masters.clone()));
        }
        Self { _runtime: runtime, board }
    }

    /// How long after `since` each was registered, in order; None: some are not yet.
    pub(crate) fn registered_since(&self, since: Instant) -> Option<Vec<Duration>> {
        let since = since.saturating_duration_since(self.board.begin);
        let at = |micros: &AtomicU64| {
            Duration::from_micros(micros.load(Ordering::Relaxed)).checked_sub(since)
        };
        let mut times: Vec<Duration> =
            self.board.registered.iter().map(at).collect::<Option<_>>()?;
        times.sort_unstable();
        Some(times)
    }
}

struct Agent {
    number: usize,
    tasks: usize,
    /// It has an id, and tasks from its next registration on.
    is_known: bool,
    /// What it says when it is connected.
    registration: Vec<u8>,
    board: Arc<Board>,
}

impl Agent {
    async fn live(mut self, masters: Arc<[String]>) {
        let mut pause = PAUSE.0;
        loop {
            for address in masters.iter() {
                if let Ok(dialed) = link::dial(address).await
                    && self.serve(dialed).await
                {
                    pause = PAUSE.0;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Until the link ends: whether it was registered.
    async fn serve(&mut self, Dialed { sender, mut receiver, .. }: Dialed) -> bool {
        sender.send_encoded(&self.registration);
        let mut is_registered = false;
        let mut retry = RETRY.0;
        loop {
            let next = receiver.next::<internal::MasterToAgent>();
            tokio::pin!(next);
            let told = loop {
                // Between a half and the whole of the time.
                let part = 0.5 + 0.5 * (self.number % 100) as f64 / 100.0;
                tokio::select! {
                    told = &mut next => break told,
                    () = tokio::time::sleep(retry.mul_f64(part)), if !is_registered => {
                        sender.send_encoded(&self.registration);
                        retry = (retry * 2).min(RETRY.1);
                    }
                }
            };
            let Ok(Some(told)) = told else { return is_registered };
            match told.message {
                Some(master_to_agent::Message::Registered(registered)) => {
                    is_registered = true;
                    self.board.note(self.number);
                    if !self.is_known {
                        let with_tasks =
                            registration(self.number, Some(registered.agent_id), self.tasks);
                        self.registration = encoded(&with_tasks);
                        self.is_known = true;
                    }
                }
                Some(master_to_agent::Message::Ping(_)) => {
                    let pong = agent_to_master::Message::Pong(internal::Pong::default());
                    sender.send(&internal::AgentToMaster { message: Some(pong) });
                }
                _ => {}
            }
        }
    }
}

fn encoded(register: &internal::Register) -> Vec<u8> {
    let message = agent_to_master::Message::Register(register.clone());
    wire::protobuf::to_vec(&internal::AgentToMaster { message: Some(message) })
}

/// What an agent says; one without an id is new, and has no tasks.
fn registration(number: usize, id: Option<v1::AgentId>, tasks: usize) -> internal::Register {
    let info = v1::AgentInfo {
        hostname: format!("agent{number}"),
        port: Some(5051),
        resources: ["cpus", "mem"].iter().map(|name| scalar(name, 64.0)).collect(),
        id: id.clone(),
        ..Default::default()
    };
    let framework = v1::FrameworkInfo {
        user: "root".to_owned(),
        name: "bench".to_owned(),
        id: Some(v1::FrameworkId::from("bench-framework")),
        failover_timeout: Some(3600.0),
        checkpoint: Some(true),
        ..Default::default()
    };
    let task = |id: &v1::AgentId, n: usize| v1::Task {
        name: "bench".to_owned(),
        task_id: v1::TaskId::from(format!("bench-{number}-{n}").as_str()),
        framework_id: v1::FrameworkId::from("bench-framework"),
        agent_id: id.clone(),
        state: v1::TaskState::TaskRunning.into(),
        resources: ["cpus", "mem"].iter().map(|name| allocated(scalar(name, 1.0))).collect(),
        statuses: vec![v1::TaskStatus {
            task_id: v1::TaskId::from(format!("bench-{number}-{n}").as_str()),
            state: v1::TaskState::TaskRunning.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let tasks = id.iter().flat_map(|id| (0..tasks).map(|n| task(id, n))).collect();
    internal::Register {
        protocol: PROTOCOL,
        info,
        version: "1.11.0".to_owned(),
        resource_version_uuid: Some("0".repeat(16)),
        frameworks: id.iter().map(|_| framework.clone()).collect(),
        tasks,
        ..Default::default()
    }
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    }
}

fn allocated(resource: v1::Resource) -> v1::Resource {
    let role = Some("*".to_owned());
    v1::Resource { allocation_info: Some(v1::resource::AllocationInfo { role }), ..resource }
}
