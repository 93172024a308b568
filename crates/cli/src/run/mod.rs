//! `proffer run` and `mesos-execute`: a small framework that runs tasks and follows them.

mod said;
mod wanted;

use crate::daemon;
use crate::flags::Flags;
use crate::operator_client::{OperatorClient, master_name};
use client::Scheduler;
use detector::{Detector, MasterName, SESSION_TIMEOUT};
use resources::Resources;
use said::Said;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;
use wanted::{framework, wanted};
use wire::v1::scheduler::{Call, call, event};
use wire::v1::{self, TaskState};

/// Prints a line. Who stops reading, as `head` does, does not stop the tasks.
macro_rules! say {
    ($($text:tt)*) => {{ let _ = writeln!(std::io::stdout(), $($text)*); }};
}

/// Tells how it goes, beside what the tasks say.
macro_rules! tell {
    ($($text:tt)*) => {{ let _ = writeln!(std::io::stderr(), $($text)*); }};
}

/// Executor of a group of tasks.
const POD: &str = "default-executor";

/// Whose words are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    Proffer,
    /// As the peer's program, for those who read its output.
    Mesos,
}

/// A task on an agent.
struct Launched {
    /// The latest.
    state: TaskState,
    agent: v1::AgentId,
    /// The one that it names itself; empty: its own.
    executor: String,
}

struct Runner {
    voice: Voice,
    kill_after: Option<Duration>,
    /// Not launched yet.
    waiting: Vec<v1::TaskInfo>,
    group: bool,
    /// Those that are launched.
    tasks: BTreeMap<String, Launched>,
    kill_at: BTreeMap<String, Instant>,
    /// The user knows that an offer was too small.
    told: bool,
    /// The tasks go on without it once they run.
    detaches: bool,
    /// What tasks say is shown here; None: it is not.
    said: Option<Said>,
    framework: String,
}

/// What was asked for makes no sense: exit status 2.
pub(crate) fn misused(text: &str) -> ExitCode {
    eprintln!("proffer: {text}");
    ExitCode::from(2)
}

/// Runs the tasks that the flags describe.
pub(crate) async fn run(flags: &Flags, voice: Voice) -> Result<ExitCode, String> {
    let master = flags.text("master");
    let master = match voice {
        Voice::Mesos => {
            let master = master.ok_or("Missing required option --master")?;
            MasterName::parse(master).map_err(|e| format!("--master: {e}"))?
        }
        Voice::Proffer => master_name(master)?,
    };
    let wanted = match wanted(flags, voice) {
        Ok(wanted) => wanted,
        Err(text) => return Ok(misused(&text)),
    };
    let role = flags.text("role").unwrap_or("*").to_owned();
    let detector = Detector::new(master.clone(), SESSION_TIMEOUT);
    let scheduler = Scheduler::subscribe(&detector, framework(flags, &role)).await;
    let scheduler = scheduler.map_err(|e| e.to_string())?;
    let detaches = flags.is_set("detach");
    let shows = voice == Voice::Proffer && !detaches;
    let runner = Runner {
        voice,
        kill_after: flags.optional_duration("kill_after")?,
        waiting: wanted.tasks,
        group: wanted.group,
        tasks: BTreeMap::new(),
        kill_at: BTreeMap::new(),
        told: false,
        detaches,
        said: shows.then(|| Said::new(OperatorClient::new(master), wanted.count)),
        framework: String::new(),
    };
    runner.follow(scheduler).await
}

impl Runner {
    async fn follow(mut self, mut scheduler: Scheduler) -> Result<ExitCode, String> {
        let stop = daemon::stopped();
        tokio::pin!(stop);
        loop {
            let kill =
                self.kill_at.iter().min_by_key(|(_, at)| **at).map(|(id, at)| (id.clone(), *at));
            let kill_time = kill
                .as_ref()
                .map_or_else(|| Instant::now() + Duration::from_secs(3600), |(_, at)| *at);
            tokio::select! {
                event = scheduler.next() => {
                    let Some(event) = event.map_err(|e| e.to_string())? else {
                        return Err("the master closed the stream; the tasks' fate is not known".to_owned());
                    };
                    if let Some(code) = self.on_event(&mut scheduler, event).await? {
                        if let Some(said) = self.said.take() {
                            said.finish().await;
                        }
                        if self.detaches && code == ExitCode::SUCCESS {
                            self.tell_detached();
                            return Ok(code);
                        }
                        let _ = scheduler.call(typed(call::Type::Teardown)).await;
                        return Ok(code);
                    }
                }
                () = tokio::time::sleep_until(kill_time), if kill.is_some() => {
                    if let Some((id, _)) = kill {
                        self.kill_at.remove(&id);
                        self.kill(&mut scheduler, &id).await?;
                    }
                }
                () = &mut stop => {
                    eprintln!("stopping: the framework and its tasks are torn down");
                    let _ = scheduler.call(typed(call::Type::Teardown)).await;
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
    }

    async fn on_event(
        &mut self,
        scheduler: &mut Scheduler,
        event: wire::v1::scheduler::Event,
    ) -> Result<Option<ExitCode>, String> {
        match event.r#type() {
            event::Type::Subscribed => {
                let id = event.subscribed.map(|s| s.framework_id.value).unwrap_or_default();
                self.framework.clone_from(&id);
                match self.voice {
                    Voice::Proffer => tell!("Framework registered with {id}"),
                    Voice::Mesos => say!("Subscribed with ID {id}"),
                }
            }
            event::Type::Offers => {
                for offer in event.offers.unwrap_or_default().offers {
                    self.on_offer(scheduler, offer).await?;
                }
            }
            event::Type::Update => {
                let status = event.update.unwrap_or_default().status;
                return self.on_update(scheduler, status).await;
            }
            event::Type::Error => {
                let message = event.error.map(|e| e.message).unwrap_or_default();
                eprintln!("Received an ERROR event: {message}");
                return Ok(Some(ExitCode::FAILURE));
            }
            _ => {}
        }
        Ok(None)
    }

    async fn on_offer(
        &mut self,
        scheduler: &mut Scheduler,
        offer: v1::Offer,
    ) -> Result<(), String> {
        let mut room =
            Resources::from_wire(&offer.resources).map_err(|e| e.to_string())?.unallocated();
        let mut chosen = Vec::new();
        let fits = |room: &mut Resources, task: &mut v1::TaskInfo| {
            let Ok(need) = Resources::from_wire(&task.resources).map(|r| r.unallocated()) else {
                return false;
            };
            if !room.contains(&need) {
                return false;
            }
            *room -= &need;
            task.agent_id = offer.agent_id.clone();
            task.resources = need.to_wire();
            true
        };
        if self.group {
            let mut tasks = self.waiting.clone();
            let executor =
                Resources::parse("cpus:0.1;mem:32;disk:32", "*").map_err(|e| e.to_string())?;
            if room.contains(&executor) {
                room -= &executor;
                if !tasks.is_empty() && tasks.iter_mut().all(|t| fits(&mut room, t)) {
                    chosen = tasks;
                    self.waiting.clear();
                }
            }
        } else {
            self.waiting.retain_mut(|task| {
                let fit = fits(&mut room, task);
                if fit {
                    chosen.push(task.clone());
                }
                !fit
            });
        }
        if chosen.is_empty() {
            self.tell_too_small(&offer);
            let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
            let call = Call { decline: Some(decline), ..typed(call::Type::Decline) };
            return scheduler.call(call).await.map_err(|e| e.to_string());
        }
        self.launch(scheduler, offer, chosen).await
    }

    /// Says once what is waited for.
    fn tell_too_small(&mut self, offer: &v1::Offer) {
        let Some(task) = self.waiting.first().filter(|_| !self.told) else { return };
        self.told = true;
        let shown = |resources: &[v1::Resource]| {
            Resources::from_wire(resources)
                .map_or_else(|e| e.to_string(), |r| r.unallocated().to_string())
        };
        let extra = if self.group { ", its group and 'cpus:0.1; mem:32; disk:32'" } else { "" };
        eprintln!(
            "waiting for a larger offer: agent {} offers '{}', task {} needs '{}'{extra}",
            offer.hostname,
            shown(&offer.resources),
            task.task_id.value,
            shown(&task.resources),
        );
    }

    async fn launch(
        &mut self,
        scheduler: &mut Scheduler,
        offer: v1::Offer,
        tasks: Vec<v1::TaskInfo>,
    ) -> Result<(), String> {
        use v1::offer::operation::{Launch, LaunchGroup, Type};
        let agent = offer.agent_id.value.clone();
        let names: Vec<String> = tasks.iter().map(|t| t.task_id.value.clone()).collect();
        for task in &tasks {
            let own = task.executor.as_ref().map(|e| e.executor_id.value.clone());
            let launched = Launched {
                state: TaskState::TaskStaging,
                agent: offer.agent_id.clone(),
                executor: if self.group { POD.to_owned() } else { own.unwrap_or_default() },
            };
            self.tasks.insert(task.task_id.value.clone(), launched);
        }
        let operation = if self.group {
            let resources =
                Resources::parse("cpus:0.1;mem:32;disk:32", "*").map_err(|e| e.to_string())?;
            let executor = v1::ExecutorInfo {
                r#type: Some(v1::executor_info::Type::Default as i32),
                executor_id: POD.into(),
                framework_id: Some(offer.framework_id.clone()),
                resources: resources.to_wire(),
                ..Default::default()
            };
            let launch_group = LaunchGroup { executor, task_group: v1::TaskGroupInfo { tasks } };
            v1::offer::Operation {
                r#type: Some(Type::LaunchGroup as i32),
                launch_group: Some(launch_group),
                ..Default::default()
            }
        } else {
            v1::offer::Operation {
                r#type: Some(Type::Launch as i32),
                launch: Some(Launch { task_infos: tasks }),
                ..Default::default()
            }
        };
        let accept =
            call::Accept { offer_ids: vec![offer.id], operations: vec![operation], filters: None };
        let call = Call { accept: Some(accept), ..typed(call::Type::Accept) };
        scheduler.call(call).await.map_err(|e| e.to_string())?;
        match (self.voice, self.group) {
            (Voice::Proffer, _) => {
                names.iter().for_each(|name| tell!("task {name} submitted to agent {agent}"))
            }
            (Voice::Mesos, true) => {
                say!("Submitted task group with tasks [ {} ] to agent '{agent}'", names.join(", "));
            }
            (Voice::Mesos, false) => {
                names.iter().for_each(|name| say!("Submitted task '{name}' to agent '{agent}'"))
            }
        }
        if self.waiting.is_empty() {
            scheduler.call(typed(call::Type::Suppress)).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    async fn on_update(
        &mut self,
        scheduler: &mut Scheduler,
        status: v1::TaskStatus,
    ) -> Result<Option<ExitCode>, String> {
        let id = status.task_id.value.clone();
        let state = status.state();
        self.print(&id, &status);
        if let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) {
            let acknowledge = call::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid };
            let call = Call { acknowledge: Some(acknowledge), ..typed(call::Type::Acknowledge) };
            scheduler.call(call).await.map_err(|e| e.to_string())?;
        }
        if let Some(task) = self.tasks.get_mut(&id) {
            task.state = state;
        }
        self.show_said(&id, state);
        if state == TaskState::TaskRunning
            && let Some(after) = self.kill_after
        {
            self.kill_at.entry(id).or_insert_with(|| Instant::now() + after);
        }
        let goes_on = |state: TaskState| self.detaches && state == TaskState::TaskRunning;
        let settled = |t: &Launched| master_core::is_terminal(t.state) || goes_on(t.state);
        if !self.waiting.is_empty() || !self.tasks.values().all(settled) {
            return Ok(None);
        }
        let is_well = |state: TaskState| state == TaskState::TaskFinished || goes_on(state);
        let finished = self.tasks.values().all(|task| is_well(task.state));
        Ok(Some(if finished { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
    }

    /// Shows what a task says from when it runs, and the rest when it has ended.
    fn show_said(&mut self, id: &str, state: TaskState) {
        let Some(said) = &mut self.said else { return };
        let has_ended = master_core::is_terminal(state);
        if (state == TaskState::TaskRunning || has_ended)
            && let Some(task) = self.tasks.get(id)
        {
            said.begin(&self.framework, id, &task.agent.value, &task.executor);
        }
        if has_ended {
            said.end(id);
        }
    }

    /// What a user needs who comes back for the tasks.
    fn tell_detached(&self) {
        for id in self.tasks.keys() {
            say!("{id}");
        }
        let (framework, first) = (&self.framework, self.tasks.keys().next());
        let first = first.map_or("", String::as_str);
        tell!("detached: `proffer logs -f --framework {framework} {first}` shows what is said,");
        tell!("`proffer teardown {framework}` ends it and forgets the framework");
    }

    fn print(&self, id: &str, status: &v1::TaskStatus) {
        let state = status.state().as_str_name();
        match self.voice {
            Voice::Proffer => {
                let message = status.message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
                tell!("Received status update {state} for task {id}{message}");
            }
            Voice::Mesos => {
                say!("Received status update {state} for task '{id}'");
                if let Some(message) = &status.message {
                    say!("  message: '{message}'");
                }
                if status.source.is_some() {
                    say!("  source: {}", status.source().as_str_name());
                }
                if status.reason.is_some() {
                    say!("  reason: {}", status.reason().as_str_name());
                }
                if let Some(healthy) = status.healthy {
                    say!("  healthy?: {}", u8::from(healthy));
                }
            }
        }
    }

    async fn kill(&self, scheduler: &mut Scheduler, id: &str) -> Result<(), String> {
        let Some(Launched { agent, .. }) = self.tasks.get(id) else { return Ok(()) };
        match self.voice {
            Voice::Proffer => tell!("asked to kill task {id} on agent {}", agent.value),
            Voice::Mesos => say!("Asked to kill task '{id}' on agent '{}'", agent.value),
        }
        let kill =
            call::Kill { task_id: id.into(), agent_id: Some(agent.clone()), kill_policy: None };
        let call = Call { kill: Some(kill), ..typed(call::Type::Kill) };
        scheduler.call(call).await.map_err(|e| e.to_string())
    }
}

fn typed(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Default::default() }
}
