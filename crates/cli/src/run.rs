//! `proffer run` and `mesos-execute`: a small framework that runs tasks and follows them.

use crate::flags::Flags;
use crate::operator_client::master_name;
use crate::{daemon, host};
use client::Scheduler;
use detector::{Detector, MasterName, SESSION_TIMEOUT};
use resources::Resources;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;
use wire::v1::scheduler::{Call, call, event};
use wire::v1::{self, TaskState};

/// Prints a line. Who stops reading, as `head` does, does not stop the tasks.
macro_rules! say {
    ($($text:tt)*) => {{ let _ = writeln!(std::io::stdout(), $($text)*); }};
}

/// Whose words are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    Proffer,
    /// As the peer's program, for those who read its output.
    Mesos,
}

/// What shall run.
struct Wanted {
    tasks: Vec<v1::TaskInfo>,
    /// All of `tasks` together on one agent.
    group: bool,
}

struct Runner {
    voice: Voice,
    kill_after: Option<Duration>,
    /// Not launched yet.
    waiting: Vec<v1::TaskInfo>,
    group: bool,
    /// Launched: latest state, and where.
    tasks: BTreeMap<String, (TaskState, v1::AgentId)>,
    kill_at: BTreeMap<String, Instant>,
    /// The user knows that an offer was too small.
    told: bool,
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
    let scheduler =
        Scheduler::subscribe(&Detector::new(master, SESSION_TIMEOUT), framework(flags, &role))
            .await
            .map_err(|e| e.to_string())?;
    let runner = Runner {
        voice,
        kill_after: flags.optional_duration("kill_after")?,
        waiting: wanted.tasks,
        group: wanted.group,
        tasks: BTreeMap::new(),
        kill_at: BTreeMap::new(),
        told: false,
    };
    runner.follow(scheduler).await
}

fn framework(flags: &Flags, role: &str) -> v1::FrameworkInfo {
    use v1::framework_info::capability::Type;
    let mut capabilities = vec![Type::ReservationRefinement, Type::TaskKillingState];
    if flags.is_set("partition_aware") {
        capabilities.push(Type::PartitionAware);
    }
    v1::FrameworkInfo {
        user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
        name: "mesos-execute instance".to_owned(),
        role: Some(role.to_owned()),
        checkpoint: Some(flags.is_set("checkpoint")),
        principal: flags.text("principal").map(str::to_owned),
        capabilities: capabilities
            .into_iter()
            .map(|t| v1::framework_info::Capability { r#type: Some(t as i32) })
            .collect(),
        ..Default::default()
    }
}

fn wanted(flags: &Flags, voice: Voice) -> Result<Wanted, String> {
    if let Some(group) = flags.message::<v1::TaskGroupInfo>("task_group")? {
        for name in ["task", "name", "command", "docker_image", "env"] {
            if flags.is_given(name) {
                return Err(format!("--{name} can't be given together with --task_group"));
            }
        }
        if group.tasks.is_empty() {
            return Err("--task_group: expected at least one task in 'tasks'".to_owned());
        }
        return Ok(Wanted { tasks: group.tasks, group: true });
    }
    if let Some(task) = flags.message::<v1::TaskInfo>("task")? {
        return Ok(Wanted { tasks: vec![task], group: false });
    }
    let container = container(flags)?;
    let command = command(flags, container.as_ref())?;
    let name = match (flags.text("name"), voice) {
        (Some(name), _) => name.to_owned(),
        (None, Voice::Mesos) => return Err("Missing required option --name".to_owned()),
        (None, Voice::Proffer) => format!("task-{:08x}", host::seed()? >> 32),
    };
    let resources = Resources::parse(flags.text("resources").unwrap_or_default(), "*");
    let resources = resources.map_err(|e| format!("--resources: {e}"))?.to_wire();
    let instances: usize = flags.number("instances")?;
    if instances == 0 {
        return Err("--instances: expected at least 1".to_owned());
    }
    let task = |id: String| v1::TaskInfo {
        name: name.clone(),
        task_id: id.into(),
        resources: resources.clone(),
        command: Some(command.clone()),
        container: container.clone(),
        ..Default::default()
    };
    let ids =
        (1..=instances).map(|n| if instances == 1 { name.clone() } else { format!("{name}-{n}") });
    Ok(Wanted { tasks: ids.map(task).collect(), group: false })
}

/// The container that flags describe, if they do.
fn container(flags: &Flags) -> Result<Option<v1::ContainerInfo>, String> {
    use v1::container_info::docker_info::Network;
    use v1::container_info::{DockerInfo, MesosInfo, Type};
    let (image, networks) = (flags.text("docker_image"), flags.text("networks"));
    let networks = networks.into_iter().flat_map(|text| text.split(',')).map(str::trim);
    let networks: Vec<&str> = networks.filter(|name| !name.is_empty()).collect();
    let network_infos = networks
        .iter()
        .map(|name| v1::NetworkInfo { name: Some((*name).to_owned()), ..Default::default() });
    // A list is no message: it is read as a field of one.
    let volumes = flags.text("volumes").map(|text| {
        let whole = format!("{{\"type\": \"MESOS\", \"volumes\": {text}}}");
        wire::json::from_slice::<v1::ContainerInfo>(whole.as_bytes())
            .map_err(|e| format!("--volumes: {e}"))
    });
    let container = v1::ContainerInfo {
        volumes: volumes.transpose()?.unwrap_or_default().volumes,
        network_infos: network_infos.collect(),
        ..Default::default()
    };
    match flags.text("containerizer") {
        Some("mesos") | None => {
            if image.is_none() && networks.is_empty() && container.volumes.is_empty() {
                return Ok(None);
            }
            let image = image.map(|name| v1::Image {
                r#type: v1::image::Type::Docker as i32,
                docker: Some(v1::image::Docker { name: name.to_owned(), ..Default::default() }),
                ..Default::default()
            });
            let mesos = image.map(|image| MesosInfo { image: Some(image) });
            Ok(Some(v1::ContainerInfo { r#type: Type::Mesos as i32, mesos, ..container }))
        }
        Some("docker") => {
            let image = image.ok_or("--containerizer=docker needs --docker_image")?.to_owned();
            if networks.len() > 1 {
                return Err("--networks: a container of Docker's has one network".to_owned());
            }
            let network = networks.first().map(|_| Network::User as i32);
            let docker = Some(DockerInfo { image, network, ..Default::default() });
            Ok(Some(v1::ContainerInfo { r#type: Type::Docker as i32, docker, ..container }))
        }
        Some(other) => Err(format!("--containerizer: expected mesos or docker, got '{other}'")),
    }
}

fn command(
    flags: &Flags,
    container: Option<&v1::ContainerInfo>,
) -> Result<v1::CommandInfo, String> {
    let has_image = container.is_some_and(|c| c.docker.is_some() || c.mesos.is_some());
    let is_docker = container.is_some_and(|c| c.docker.is_some());
    let mut command = match (flags.text("command"), flags.words.as_slice()) {
        (Some(_), [_, ..]) => {
            return Err("give the command once: as --command or as the last words".to_owned());
        }
        (Some(text), []) if flags.is_set("shell") => {
            v1::CommandInfo { value: Some(text.to_owned()), ..Default::default() }
        }
        (Some(text), []) => v1::CommandInfo {
            shell: Some(false),
            value: Some(text.to_owned()),
            arguments: if is_docker { Vec::new() } else { vec![text.to_owned()] },
            ..Default::default()
        },
        (None, [one]) if flags.is_set("shell") => {
            v1::CommandInfo { value: Some(one.clone()), ..Default::default() }
        }
        (None, words @ [program, ..]) => v1::CommandInfo {
            shell: Some(false),
            value: Some(program.clone()),
            // Docker's images want the program once.
            arguments: words[usize::from(is_docker)..].to_vec(),
            ..Default::default()
        },
        (None, []) if has_image => v1::CommandInfo { shell: Some(false), ..Default::default() },
        (None, []) => {
            return Err("nothing to run: give a command, --task or --task_group".to_owned());
        }
    };
    if let Some(text) = flags.text("env") {
        let map: BTreeMap<String, String> = serde_json::from_str(text)
            .map_err(|e| format!("--env: expected a JSON object of strings: {e}"))?;
        let variable = |(name, value)| v1::environment::Variable {
            name,
            value: Some(value),
            ..Default::default()
        };
        command.environment =
            Some(v1::Environment { variables: map.into_iter().map(variable).collect() });
    }
    Ok(command)
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
                match self.voice {
                    Voice::Proffer => say!("Framework registered with {id}"),
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
        for name in &names {
            self.tasks.insert(name.clone(), (TaskState::TaskStaging, offer.agent_id.clone()));
        }
        let operation = if self.group {
            let resources =
                Resources::parse("cpus:0.1;mem:32;disk:32", "*").map_err(|e| e.to_string())?;
            let executor = v1::ExecutorInfo {
                r#type: Some(v1::executor_info::Type::Default as i32),
                executor_id: "default-executor".into(),
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
                names.iter().for_each(|name| say!("task {name} submitted to agent {agent}"))
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
            task.0 = state;
        }
        if state == TaskState::TaskRunning
            && let Some(after) = self.kill_after
        {
            self.kill_at.entry(id).or_insert_with(|| Instant::now() + after);
        }
        let ended = |(state, _): &(TaskState, v1::AgentId)| master_core::is_terminal(*state);
        if !self.waiting.is_empty() || !self.tasks.values().all(ended) {
            return Ok(None);
        }
        let finished = self.tasks.values().all(|(state, _)| *state == TaskState::TaskFinished);
        Ok(Some(if finished { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
    }

    fn print(&self, id: &str, status: &v1::TaskStatus) {
        let state = status.state().as_str_name();
        match self.voice {
            Voice::Proffer => {
                let message = status.message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
                say!("Received status update {state} for task {id}{message}");
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
        let Some((_, agent)) = self.tasks.get(id) else { return Ok(()) };
        match self.voice {
            Voice::Proffer => say!("asked to kill task {id} on agent {}", agent.value),
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
