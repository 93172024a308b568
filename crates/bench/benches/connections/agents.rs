//! Many agents in one process: they connect, register, answer pings and come back with their tasks, and run nothing.

use http_api::link::{self, Dialed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use wire::internal::{self, agent_to_master, master_to_agent};
use wire::v1;

/// Times between attempts to connect, as a real agent's.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Version of the messages between masters and agents.
const PROTOCOL: u32 = 1;

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
    run_tasks: Arc<AtomicBool>,
}

impl Agents {
    /// Starts them; they look for the master that leads among these.
    ///
    pub(crate) fn start(masters: Vec<String>, size: Size) -> Self {
        let runtime = Runtime::new().expect("threads");
        let masters: Arc<[String]> = masters.into();
        let run_tasks = Arc::new(AtomicBool::new(false));
        for number in 0..size.agents {
            let agent = Agent { number, tasks: size.tasks, id: None, run_tasks: run_tasks.clone() };
            runtime.spawn(agent.live(masters.clone()));
        }
        Self { _runtime: runtime, run_tasks }
    }

    /// From their next connection on they have tasks.
    pub(crate) fn run_tasks(&self) {
        self.run_tasks.store(true, Ordering::Relaxed);
    }
}

struct Agent {
    number: usize,
    tasks: usize,
    id: Option<v1::AgentId>,
    run_tasks: Arc<AtomicBool>,
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
        let say = |message| sender.send(&internal::AgentToMaster { message: Some(message) });
        say(agent_to_master::Message::Register(self.registration()));
        let mut is_registered = false;
        while let Ok(Some(told)) = receiver.next::<internal::MasterToAgent>().await {
            match told.message {
                Some(master_to_agent::Message::Registered(registered)) => {
                    self.id = Some(registered.agent_id);
                    is_registered = true;
                }
                Some(master_to_agent::Message::Ping(_)) => {
                    say(agent_to_master::Message::Pong(internal::Pong::default()));
                }
                _ => {}
            }
        }
        is_registered
    }

    fn registration(&self) -> internal::Register {
        let number = self.number;
        let info = v1::AgentInfo {
            hostname: format!("agent{number}"),
            port: Some(5051),
            resources: ["cpus", "mem"].iter().map(|name| scalar(name, 64.0)).collect(),
            id: self.id.clone(),
            ..Default::default()
        };
        let id = self.id.clone().filter(|_| self.run_tasks.load(Ordering::Relaxed));
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
        let tasks = id.iter().flat_map(|id| (0..self.tasks).map(|n| task(id, n))).collect();
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
