//! The containerizer that `--containerizers=docker` names: containers of type DOCKER, through the HTTP API of a Docker
//! Engine (spec/agent.md 6.7, docs/docker.md).
//!
//! The engine keeps containers, their output and their exit statuses while no agent runs, so no process of ours stands
//! beside a container. From the outside in: a `plan` decides what the engine shall make of a specification
//! (`amounts`, `network`, `parameters` and `volumes` are its parts), `engine` makes requests, `life` watches
//! over a container until its end, `output` brings what it writes into its sandbox, and `record`s with `recovery`
//! find everything again.

mod amounts;
mod appearance;
mod engine;
mod exec;
mod joined;
mod life;
mod network;
mod output;
mod parameters;
mod plan;
mod pull;
mod record;
mod recovery;
mod secrets;
mod statistics;
mod volumes;

pub use network::NameServers;

use crate::fetcher::Wanted;
use crate::images::Credentials;
use crate::isolation::Gpus;
use crate::isolation::cgroups::{Foreign, host_memory};
use crate::network::Network;
use crate::probe::probe;
use crate::user::User;
use crate::{
    BoxFuture, ContainerSpec, Containerizer, Exited, Fetcher, FetcherFigures, Found, Limitation,
    MountedVolume, ProbeAnswer, StartError, Started, Target, isolation, sandbox, supervisor,
};
use amounts::Host;
use base::Timings;
use engine::Engine;
use life::Seen;
use output::Files;
use plan::{Circumstances, Plan};
use record::{Record, Records};
use secrets::SecretFiles;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use wire::v1;

/// SIGTERM: a container may want another signal for it.
const SIGTERM: i32 = 15;
/// Label with the id of a container.
const ID: &str = "proffer.container_id";
/// Label with the runtime directory of a container's agent: others on this host leave it alone.
const RUNTIME: &str = "proffer.runtime_dir";

/// Settings.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// `--docker_socket`.
    pub socket: PathBuf,
    /// `--cgroups_hierarchy`.
    pub cgroups: PathBuf,
    /// `--runtime_dir`.
    pub runtime_dir: PathBuf,
    /// `--sandbox_directory`.
    pub sandbox_directory: String,
    /// `--docker_config`, read.
    pub config: Credentials,
    /// `--docker_remove_delay`.
    pub remove_delay: Duration,
    /// `--docker_kill_orphans`.
    pub kill_orphans: bool,
    /// `docker` of `--default_container_dns`.
    pub name_servers: Vec<NameServers>,
    /// `--cgroups_enable_cfs`.
    pub quota: bool,
}

/// The containerizer.
#[derive(Debug)]
pub struct Docker(Arc<Shared>);

/// What its tasks share.
#[derive(Debug)]
struct Shared {
    engine: Engine,
    records: Records,
    fetcher: Arc<Fetcher>,
    runtime_dir: String,
    circumstances: Circumstances,
    config: Credentials,
    remove_delay: Duration,
    kill_orphans: bool,
    /// Who gives out GPUs, if the agent has any.
    gpus: Option<Arc<Gpus>>,
    /// What the engine does not tell of its cgroups.
    cgroups: Foreign,
    live: Mutex<BTreeMap<String, Live>>,
    /// How long images took to come, those that were there included.
    pulls: Mutex<Timings>,
    exits: mpsc::UnboundedSender<Exited>,
    /// Shows volumes in containers that run.
    program: PathBuf,
    /// Containers and what they may use from now on, one after the other.
    updates: mpsc::UnboundedSender<(String, Value)>,
}

/// A container that is being started or runs.
#[derive(Debug, Default)]
struct Live {
    /// Ends what can be left unfinished of its start.
    cancel: Arc<Notify>,
    /// That was asked for.
    is_cancelled: bool,
    /// It shall be destroyed as soon as it is started.
    is_doomed: bool,
    /// It does not outlive its agent.
    is_mortal: bool,
    /// The container inside which it runs.
    parent: Option<String>,
    /// Why it is ended, if the engine does not know.
    limitation: Option<Limitation>,
    /// What is known of it since it was started.
    running: Option<Running>,
}

/// A container that was started.
#[derive(Debug, Clone)]
struct Running {
    /// The engine's own name for it.
    id: String,
    /// Its first process; 0 if it has ended.
    pid: u32,
    /// Signal by which it is asked to end.
    stop_signal: String,
    /// Its first process, if that is to be seen from here.
    process: Option<Arc<OwnedFd>>,
}

impl Docker {
    /// Reaches the engine. GPUs are shared with other containerizers. Ends of containers come out of the receiver; there are at most as many as containers.
    ///
    /// # Errors
    /// When there is no engine, or the runtime directory can't be written.
    pub async fn new(
        options: &DockerOptions,
        fetcher: Arc<Fetcher>,
        gpus: Option<Arc<Gpus>>,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<Exited>), String> {
        let engine = Engine::connect(&options.socket).await.map_err(|e| e.to_string())?;
        let directory = options.runtime_dir.join("docker");
        let records = Records::open(directory.clone())
            .map_err(|e| format!("cannot use {}: {e}", directory.display()))?;
        let program = options.runtime_dir.join("bin");
        let program = supervisor::install(&program)
            .map_err(|e| format!("cannot write to {}: {e}", program.display()))?;
        let (exits, receiver) = mpsc::unbounded_channel();
        let (updates, queue) = mpsc::unbounded_channel();
        tokio::spawn(life::update_all(engine.clone(), queue));
        let shared = Shared {
            engine,
            records,
            fetcher,
            runtime_dir: options.runtime_dir.display().to_string(),
            circumstances: Circumstances {
                sandbox_directory: options.sandbox_directory.clone(),
                name_servers: options.name_servers.clone(),
                secrets: options.runtime_dir.join("docker-secrets"),
                host: Host { quota: options.quota, memory: host_memory() },
            },
            config: options.config.clone(),
            remove_delay: options.remove_delay,
            kill_orphans: options.kill_orphans,
            gpus,
            cgroups: Foreign::new(&options.cgroups),
            live: Mutex::default(),
            pulls: Mutex::default(),
            exits,
            program,
            updates,
        };
        Ok((Arc::new(Self(Arc::new(shared))), receiver))
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, BTreeMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn launch(self: &Arc<Self>, spec: ContainerSpec) -> Result<Started, StartError> {
        let container_id = spec.container_id.clone();
        let cancel = self.live().entry(container_id.clone()).or_default().cancel.clone();
        let begun = self.begin(spec, &cancel).await;
        if begun.is_err() {
            self.live().remove(&container_id);
            self.gpus.iter().for_each(|gpus| gpus.release(&container_id));
            if self.records.get(&container_id).is_some() {
                self.records.remove(&container_id);
                self.remove_after(plan::name(&container_id), Duration::ZERO);
            }
        } else if self.live().get(&container_id).is_some_and(|live| live.is_doomed) {
            // Who wanted its end before it had begun gets it now.
            tokio::spawn(self.clone().kill(container_id));
        }
        begun
    }

    async fn begin(
        self: &Arc<Self>,
        spec: ContainerSpec,
        cancel: &Notify,
    ) -> Result<Started, StartError> {
        if let Some(parent) = &spec.parent {
            if !spec.shares_everything() {
                let text = "containers of their own inside one of type DOCKER are not supported";
                return Err(text.to_owned().into());
            }
            return self.launch_inside(&spec, parent).await.map(Started::from);
        }
        if let Some(live) = self.live().get_mut(&spec.container_id) {
            live.is_mortal = spec.recovery_timeout.is_zero();
        }
        let gpus = self.give_gpus(&spec)?;
        let plan = Plan::of(&spec, &self.circumstances, &gpus)?;
        let container_id = spec.container_id.clone();
        let asked = spec.container.as_ref().and_then(|c| c.network_infos.first());
        let log = plan.body["HostConfig"].pointer("/LogConfig/Type");
        let mut record = Record {
            sandbox: PathBuf::from(&spec.directory),
            before: None,
            started: false,
            remove: plan.beside.remove,
            unlogged: log.is_some_and(|driver| driver == "none"),
            network: asked.map(wire::json::to_value),
            secret_variables: plan.secret_variables.clone(),
            gpus,
        };
        // First the record, then the sandbox: who finds neither knows that nothing was started.
        self.records.put(&container_id, &record)?;
        let wanted = Wanted::of(&spec);
        let preparing = tokio::task::spawn_blocking(move || {
            let prepared = prepare(&spec);
            prepared.map(|()| spec)
        });
        let prepared = preparing.await.map_err(|e| format!("cannot prepare the sandbox: {e}"))?;
        let spec = prepared?;
        self.fetcher.fetch(wanted, cancel).await?;
        let files = open(&spec)?;
        record.before = Some(files.before());
        let begun = Instant::now();
        let pull = pull::image(&self.engine, &plan, &record.sandbox, &self.config);
        tokio::select! {
            pulled = crate::phases::timed("pull", pull) => {
                self.pulls.lock().unwrap_or_else(PoisonError::into_inner).record(begun.elapsed());
                pulled?
            }
            () = cancel.notified() => {
                return Err("Container destroyed while pulling image".to_owned().into());
            }
        }
        let secrets = self.circumstances.secrets_of(&container_id);
        let _secrets = SecretFiles::write(&secrets, &plan.secrets)?;
        self.create(&container_id, &plan).await?;
        if self.live().get(&container_id).is_some_and(|live| live.is_cancelled) {
            return Err("Container destroyed before it was started".to_owned().into());
        }
        let name = plan::name(&container_id);
        let fault = |fault: engine::Fault| fault.to_string();
        let attached = match record.unlogged {
            true => Some(self.engine.attach(&name).await.map_err(fault)?),
            false => None,
        };
        record.started = true;
        self.records.put(&container_id, &record)?;
        let started = self.engine.start(&name).await;
        if let Err(fault) = started {
            files.tell(&fault.to_string());
            return Err(format!("the engine cannot start the container: {fault}").into());
        }
        let inspected = self.engine.inspect(&name).await.map_err(fault)?;
        let seen = Seen::of(&inspected);
        self.watch(&container_id, &seen, files, attached);
        Ok(Started { pid: seen.pid, appearance: Some(appearance::of(&inspected, &record)) })
    }

    /// Gives a container the GPUs that it asks for.
    fn give_gpus(&self, spec: &ContainerSpec) -> Result<Vec<String>, String> {
        let wanted = amounts::scalar(&spec.resources, "gpus").is_some_and(|gpus| gpus > 0.0);
        match &self.gpus {
            _ if !wanted => Ok(Vec::new()),
            Some(gpus) => gpus.give(&spec.container_id, &spec.resources),
            None => {
                Err("GPUs need 'gpu/nvidia' in --isolation, and 'mesos' among the --containerizers"
                    .to_owned())
            }
        }
    }

    /// Has the engine make the container. One of its name was made by an agent that was killed before it could start it.
    async fn create(&self, container_id: &str, plan: &Plan) -> Result<(), String> {
        let mut body = plan.body.clone();
        let labels = parameters::object(&mut body, "Labels");
        labels.insert(ID.to_owned(), json!(container_id));
        labels.insert(RUNTIME.to_owned(), json!(self.runtime_dir));
        let (name, body) = (plan::name(container_id), json!(body));
        let platform = plan.beside.platform.as_deref();
        let made = match self.engine.create(&name, platform, &body).await {
            Err(fault) if fault.is_conflict() => match self.engine.remove(&name).await {
                Ok(()) => self.engine.create(&name, platform, &body).await,
                Err(fault) => Err(fault),
            },
            other => other,
        };
        made.map_err(|fault| format!("the engine cannot make the container: {fault}"))
    }
}

/// Makes the sandbox. Blocks.
fn prepare(spec: &ContainerSpec) -> Result<(), StartError> {
    let user = spec.user.as_deref().map(|name| User::named(name, None)).transpose();
    let user = user.map_err(StartError::Sandbox)?;
    sandbox::prepare(spec, user.as_ref())?;
    let owner = user.map(|user| (user.uid, user.gid));
    let mut linked = spec.volumes.iter().filter(|volume| !volume.container_path.starts_with('/'));
    linked
        .try_for_each(|volume| isolation::link_volume(Path::new(&spec.directory), volume, owner))?;
    Ok(())
}

/// Opens the sandbox's output, for the container's user.
fn open(spec: &ContainerSpec) -> Result<Files, StartError> {
    let files = Files::open(Path::new(&spec.directory), None).map_err(|e| {
        StartError::Sandbox(format!("cannot open the output in {}: {e}", spec.directory))
    })?;
    if let Some(user) = &spec.user {
        files
            .own(&User::named(user, None).map_err(StartError::Sandbox)?)
            .map_err(StartError::Sandbox)?;
    }
    Ok(files)
}

impl Containerizer for Docker {
    fn supports(&self, spec: &ContainerSpec) -> bool {
        let docker = v1::container_info::Type::Docker;
        spec.container.as_ref().is_some_and(|container| container.r#type() == docker)
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, String>> {
        Box::pin(self.0.recover())
    }

    /// The engine asks for no agent.
    fn attend(&self, _container_id: &str) {}

    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(self.0.launch(spec))
    }

    fn announce(&self, spec: &ContainerSpec) {
        self.0.live().entry(spec.container_id.clone()).or_default();
    }

    fn cancel(&self, container_id: &str) {
        if let Some(live) = self.0.live().get_mut(container_id) {
            live.is_cancelled = true;
            live.cancel.notify_one();
        }
    }

    fn pull_times(&self) -> Vec<(&'static str, Timings)> {
        let times = self.0.pulls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        vec![("containerizer/docker/image_pull", times)]
    }

    fn fetcher_figures(&self) -> FetcherFigures {
        self.0.fetcher.figures()
    }

    fn update(
        &self,
        container_id: &str,
        resources: Vec<v1::Resource>,
        limits: BTreeMap<String, f64>,
    ) {
        let changes = amounts::changes(&resources, &limits, self.0.circumstances.host);
        let _ = self.0.updates.send((container_id.to_owned(), json!(changes)));
    }

    fn show_volume(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        self.0.show(container_id, sandbox, volume)
    }

    fn hide_volume(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        self.0.hide(container_id, sandbox, volume)
    }

    fn usage(&self, running: &[isolation::Running]) -> Vec<v1::ResourceStatistics> {
        let usage = |running: &isolation::Running| {
            let (shared, container_id) = (self.0.clone(), running.container_id.clone());
            tokio::spawn(async move { shared.usage(&container_id).await })
        };
        let asked: Vec<_> = running.iter().map(usage).collect();
        let answers = async {
            let mut all = Vec::new();
            for answer in asked {
                all.push(answer.await.unwrap_or_default());
            }
            all
        };
        tokio::runtime::Handle::current().block_on(answers)
    }

    fn probe(
        &self,
        container_id: &str,
        target: Target,
    ) -> BoxFuture<'static, Result<ProbeAnswer, String>> {
        let running = self.0.live().get(container_id).and_then(|live| live.running.clone());
        let pid = running.map_or(0, |running| running.pid);
        let network = if pid > 0 { Network::of(pid) } else { Network::default() };
        Box::pin(probe(network, target))
    }

    fn signal(&self, container_id: &str, signal: i32) {
        let running = self.0.live().get(container_id).and_then(|live| live.running.clone());
        let Some(running) = running else { return };
        let signal = if signal == SIGTERM { running.stop_signal } else { signal.to_string() };
        tokio::spawn(self.0.clone().signal(container_id.to_owned(), signal));
    }

    fn destroy(&self, container_id: &str) {
        if self.0.kill_inside(container_id) {
            return;
        }
        if let Some(live) = self.0.live().get_mut(container_id) {
            if live.running.is_some() {
                tokio::spawn(self.0.clone().kill(container_id.to_owned()));
            } else {
                live.is_doomed = true;
                live.is_cancelled = true;
                live.cancel.notify_one();
            }
        }
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        let live = self.0.live();
        let mortal = live.iter().filter(|(_, live)| live.is_mortal);
        let mortal: Vec<String> = mortal.map(|(id, _)| plan::name(id)).collect();
        drop(live);
        let engine = &self.0.engine;
        Box::pin(async move {
            for name in mortal {
                if let Err(fault) = engine.remove(&name).await {
                    tracing::error!(container = %name, %fault, "cannot remove a container that ends with its agent");
                }
            }
        })
    }

    fn forget(&self, container_id: &str) {
        let Some(record) = self.0.records.get(container_id) else { return };
        self.0.records.remove(container_id);
        let delay = if record.remove { Duration::ZERO } else { self.0.remove_delay };
        self.0.remove_after(plan::name(container_id), delay);
    }
}
