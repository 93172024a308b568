//! The containerizer that `--containerizers=mesos` names: sessions of processes, each under its supervisor, separated
//! by isolators.

use crate::family::Family;
use crate::fetcher::{Fetcher, FetcherFigures, FetcherOptions, Wanted};
use crate::images::{self, Images, Provisioner, ProvisionerOptions};
use crate::isolation::{Gpus, Isolator, Isolators, Preparation, Running, Selection, Settings};
use crate::network::Network;
use crate::pods::Pods;
use crate::probe::{self, ProbeAnswer, Target};
use crate::spawner::{Spawned, Spawner};
use crate::supervisor::{self, Files};
use crate::systemd::Slice;
use crate::watch::Watch;
use crate::{
    Appearance, BoxFuture, ContainerSpec, Containerizer, Exited, Found, Logs, MountedVolume,
    StartError, Started, Terminal, around, limitation, limits, processes, sandbox,
};
use base::Timings;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc, oneshot};
use wire::v1;

/// Time that a supervisor has to kill its container before it is killed itself: it may have been stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Settings.
#[derive(Debug, Clone)]
pub struct MesosOptions {
    /// Holds the supervisor program and a directory for each container.
    pub runtime_dir: PathBuf,
    /// Sandboxes of all containers are below it, and of nobody else's.
    pub work_dir: PathBuf,
    /// Soft limit on open files of containers; None: that of this process.
    pub open_files: Option<u64>,
    /// How logs are rotated, if they are.
    pub logs: Option<Logs>,
    /// How containers are separated.
    pub isolation: Selection,
    /// Settings of that.
    pub settings: Settings,
    /// How URIs are fetched.
    pub fetcher: FetcherOptions,
    /// Images that containers may have; None: they have none.
    pub images: Option<ProvisionerOptions>,
}

/// The containerizer.
#[derive(Debug)]
pub struct Mesos {
    containers: PathBuf,
    work_dir: PathBuf,
    program: PathBuf,
    spawner: Spawner,
    open_files: Option<u64>,
    isolation: Arc<Selection>,
    logs: Option<Logs>,
    isolators: Arc<Isolators>,
    updates: mpsc::UnboundedSender<Update>,
    watch: Watch,
    fetcher: Arc<Fetcher>,
    images: Option<Arc<Provisioner>>,
    /// Whether images say what is run.
    as_images_say: bool,
    /// Containers whose start is not finished.
    starting: Mutex<BTreeMap<String, Starting>>,
    family: Arc<Family>,
    /// Where supervisors are, if systemd runs here.
    slice: Option<Slice>,
    pods: Pods,
    /// `--sandbox_directory`.
    sandbox_directory: String,
}

/// A start that is not finished.
#[derive(Debug, Clone, Default)]
struct Starting {
    /// It shall be destroyed as soon as it is.
    doomed: bool,
    /// Ends what can be left unfinished.
    cancel: Arc<Notify>,
}

impl Mesos {
    /// Prepares the runtime directory. Ends of containers come out of the receiver.
    ///
    /// # Errors
    /// When the runtime directory can't be written, or this host has nothing for an isolator.
    pub fn new(options: &MesosOptions) -> io::Result<(Arc<Self>, mpsc::UnboundedReceiver<Exited>)> {
        let containers = options.runtime_dir.join("containers");
        std::fs::create_dir_all(&containers)?;
        let program = supervisor::install(&options.runtime_dir.join("bin"))?;
        if options.images.is_some() && !options.isolation.has("filesystem/linux") {
            let text = "--image_providers needs 'filesystem/linux' in --isolation";
            return Err(io::Error::other(text));
        }
        let images = options.images.as_ref().map(Provisioner::new).transpose();
        let images = images.map_err(io::Error::other)?;
        if let Some(images) = &images {
            images.watch_disk();
        }
        let rootfs = images.clone().map(|images| Box::new(Images(images)) as Box<dyn Isolator>);
        let isolators = Isolators::new(options, rootfs).map_err(io::Error::other)?;
        let isolators = Arc::new(isolators);
        let slice = options.settings.systemd.as_deref().map(|runtime| {
            let slice = Slice::start(runtime, &options.isolation.cgroups().hierarchy);
            slice.map_err(|e| io::Error::other(format!("{e}; see --systemd_enable_support")))
        });
        let slice = slice.transpose()?.flatten();
        let (family, doomed) = Family::new();
        let family = Arc::new(family);
        let (work_dir, runtime) = (options.work_dir.clone(), containers.clone());
        let (watch, exits) = Watch::new(work_dir, runtime, isolators.clone(), family.clone());
        let starting = Mutex::new(BTreeMap::new());
        let (updates, queue) = mpsc::unbounded_channel();
        tokio::task::spawn_blocking({
            let isolators = isolators.clone();
            move || update_all(&isolators, queue)
        });
        let mesos = Self {
            containers,
            work_dir: options.work_dir.clone(),
            program,
            spawner: Spawner::start()?,
            open_files: options.open_files,
            isolation: Arc::new(options.isolation.clone()),
            logs: options.logs.clone(),
            isolators,
            updates,
            watch,
            fetcher: Arc::new(Fetcher::new(options.fetcher.clone())),
            images,
            as_images_say: options.isolation.has("docker/runtime"),
            starting,
            family,
            slice,
            pods: Pods::default(),
            sandbox_directory: options.settings.sandbox_directory.clone(),
        };
        let mesos = Arc::new(mesos);
        tokio::spawn(destroy_all(Arc::downgrade(&mesos), doomed));
        Ok((mesos, exits))
    }

    /// What fetches for its containers, to be shared with other containerizers.
    pub fn fetcher(&self) -> Arc<Fetcher> {
        self.fetcher.clone()
    }

    /// Who gives out the machine's GPUs, to be shared with other containerizers; None without `gpu/nvidia`.
    pub fn gpus(&self) -> Option<Arc<Gpus>> {
        self.isolators.gpus()
    }

    fn files(&self, container_id: &str) -> Files {
        Files(self.containers.join(container_id))
    }

    pub(crate) fn files_of(&self, container_id: &str) -> Files {
        self.files(container_id)
    }

    pub(crate) fn isolation(&self) -> &Selection {
        &self.isolation
    }

    pub(crate) fn pods(&self) -> &Pods {
        &self.pods
    }

    pub(crate) fn sandbox_directory(&self) -> &str {
        &self.sandbox_directory
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn runs(&self, container_id: &str) -> bool {
        self.watch.is_running(container_id)
    }

    fn starting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Starting>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn launch(&self, mut spec: ContainerSpec) -> Result<u32, StartError> {
        let container_id = spec.container_id.clone();
        let files = self.files(&container_id);
        let cancel = self.starting().entry(container_id.clone()).or_default().cancel.clone();
        let joined = match self.enter_pod(&mut spec).await.and_then(|()| Ok(self.join(&spec)?)) {
            Ok(()) => self.attach(&mut spec, &cancel).await.map_err(StartError::Launch),
            Err(error) => Err(error),
        };
        // Users may be those of its image.
        let wanted = Wanted::of(&spec);
        let has_images = joined.as_ref().is_ok_and(|has_images| *has_images);
        let prepared = match joined {
            Ok(_) => {
                let (isolators, open_files) = (self.isolators.clone(), self.open_files);
                let logs = self.logs.clone();
                let files = files.clone();
                let isolation = self.isolation.clone();
                let around = spec.parent.as_ref().map(|parent| self.files(parent));
                let preparing = tokio::task::spawn_blocking(move || {
                    let logs = logs.as_ref();
                    prepare(
                        &spec,
                        &isolation,
                        &isolators,
                        open_files,
                        logs,
                        &files,
                        around.as_ref(),
                    )
                });
                let prepared = preparing.await;
                prepared
                    .unwrap_or_else(|e| Err(format!("cannot prepare the container: {e}").into()))
            }
            Err(error) => Err(error),
        };
        let started = match prepared {
            Ok(encoded) => {
                let started = match self.fetcher.fetch(wanted, &cancel).await {
                    Ok(()) => self.spawn(&container_id, &files, &encoded).await,
                    Err(text) => Err(text),
                };
                if started.is_err() {
                    self.watch.clean_up(&container_id).await;
                }
                started.map_err(StartError::Launch)
            }
            Err(error) => Err(error),
        };
        let doomed = self.starting().remove(&container_id).is_some_and(|start| start.doomed);
        match started {
            Ok(pid) => {
                if doomed {
                    self.destroy(&container_id);
                }
                Ok(pid)
            }
            Err(error) => {
                if has_images {
                    self.watch.clean_up(&container_id).await;
                }
                let _ = std::fs::remove_dir_all(&files.0);
                self.family.remove(&container_id);
                Err(error)
            }
        }
    }

    /// Notes inside which container one runs. If that ends from now on, this one is destroyed.
    fn join(&self, spec: &ContainerSpec) -> Result<(), String> {
        let Some(parent) = &spec.parent else { return Ok(()) };
        self.family.add(&spec.container_id, parent);
        if self.watch.is_running(parent) {
            Ok(())
        } else {
            Err(format!("the container '{parent}' around it is not running"))
        }
    }

    /// Makes what the container has of images, if it has any.
    async fn attach(&self, spec: &mut ContainerSpec, cancel: &Notify) -> Result<bool, String> {
        let wanted = images::wanted(spec);
        // One that may have been started before keeps what it has; that it is not started again is seen later.
        let started = spec.unless_sandbox && Path::new(&spec.directory).exists();
        if wanted.is_empty() || started {
            return Ok(false);
        }
        let provisioner = self.images.clone().ok_or(
            "the container has an image, and this agent knows none: --image_providers is not set",
        )?;
        let pull = async {
            let mut pulled = Vec::new();
            for image in &wanted {
                pulled.push(provisioner.pull(image).await?);
            }
            Ok::<_, String>(pulled)
        };
        let pulled = tokio::select! {
            pulled = pull => pulled?,
            () = cancel.notified() => {
                return Err("Container destroyed while pulling image".to_owned());
            }
        };
        let as_told = self.as_images_say && provisioner.honours_runtime();
        let attached = images::attach(&provisioner, spec, pulled, as_told).await;
        if attached.is_err() {
            self.watch.clean_up(&spec.container_id).await;
        }
        attached.map(|()| true)
    }

    async fn spawn(
        &self,
        container_id: &str,
        files: &Files,
        encoded: &[u8],
    ) -> Result<u32, String> {
        let spawned = self.spawner.spawn(&self.program, &files.0);
        let Spawned { mut child, mut stdin, stdout } =
            spawned.map_err(|e| format!("cannot execute the supervisor: {e}"))?;
        let pid = child.id();
        // Before it starts anything: what it starts is where it is.
        if let Some(Err(text)) = self.slice.as_ref().map(|slice| slice.take(pid)) {
            let _ = child.kill().and_then(|()| child.wait());
            return Err(text);
        }
        if encoded.len() <= 4096 {
            stdin.write_all(encoded).map_err(|e| format!("cannot write to the supervisor: {e}"))?;
            drop(stdin);
        } else {
            // More than fits a pipe at once may block.
            let encoded = encoded.to_vec();
            tokio::task::spawn_blocking(move || stdin.write_all(&encoded));
        }
        let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))
            .map_err(|e| format!("cannot listen to the supervisor: {e}"))?;
        let (started, answer) = oneshot::channel();
        let (container_id, files) = (container_id.to_owned(), files.clone());
        tokio::spawn(self.watch.clone().listen(container_id, files, child, stdout, started));
        answer.await.unwrap_or_else(|_| Err("the supervisor ended at once".to_owned()))?;
        Ok(pid)
    }

    /// How a container that runs looks from outside.
    fn appearance(&self, container_id: &str) -> Option<Appearance> {
        let networks = self.isolators.networks(container_id);
        let network_class = self.isolators.network_class(container_id);
        (!networks.is_empty() || network_class.is_some()).then(|| Appearance {
            networks,
            network_class,
            ..Appearance::default()
        })
    }

    fn find(&self, container_id: String) -> Found {
        let files = self.files(&container_id);
        if let Some(kept) = files.kept() {
            return Found { status: Some(kept.status), ..Found::of(container_id) };
        }
        let supervisor = files.settled_supervisor();
        let watched = supervisor.and_then(|pid| supervisor::watch(pid).map(|fd| (pid, fd)));
        // The lock is looked at again: the watched process is the one that held it, not one that got its number.
        match watched.filter(|(pid, _)| files.supervisor() == Some(*pid)) {
            Some((pid, fd)) => {
                let sessions = processes::sessions_below(pid);
                let watch = self.watch.clone();
                let kill = watch.add(&container_id);
                tokio::spawn(watch.await_end(container_id.clone(), files, fd, sessions, kill));
                Found { pid: Some(pid), ..Found::of(container_id) }
            }
            None => {
                let status = files.kept().map(|kept| kept.status);
                let unstarted = files.is_unstarted();
                Found { status, unstarted, ..Found::of(container_id) }
            }
        }
    }

    fn find_all(&self) -> io::Result<Vec<Found>> {
        let entries = std::fs::read_dir(&self.containers)?.flatten();
        let names =
            entries.filter(|e| e.path().is_dir()).filter_map(|e| e.file_name().into_string().ok());
        Ok(names.map(|name| self.find(name)).collect())
    }
}

/// A change of what a container may use.
#[derive(Debug)]
struct Update {
    container_id: String,
    resources: Vec<v1::Resource>,
    limits: BTreeMap<String, f64>,
}

/// Carries out updates one after the other. There are as many as tasks come and go, so the queue needs no bound.
fn update_all(isolators: &Isolators, mut queue: mpsc::UnboundedReceiver<Update>) {
    while let Some(Update { container_id, resources, limits }) = queue.blocking_recv() {
        isolators.update(&container_id, &resources, &limits);
    }
}

/// The terminal that a container asks for.
fn terminal(spec: &ContainerSpec) -> Result<Option<(u16, u16)>, String> {
    let Some(terminal) = spec.container.as_ref().and_then(|c| c.tty_info.as_ref()) else {
        return Ok(None);
    };
    let size = terminal.window_size.as_ref().map_or((0, 0), |size| (size.rows, size.columns));
    match (u16::try_from(size.0), u16::try_from(size.1)) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err("'tty_info.window_size' must have at most 65535 rows and columns".to_owned()),
    }
}

/// Makes everything that a container needs before its supervisor starts; what that one is told. Blocks.
fn prepare(
    spec: &ContainerSpec,
    isolation: &Selection,
    isolators: &Isolators,
    open_files: Option<u64>,
    logs: Option<&Logs>,
    files: &Files,
    around: Option<&Files>,
) -> Result<Vec<u8>, StartError> {
    limits::check(spec, isolation)?;
    let parent = match around.map(|files| files.supervisor()) {
        None => None,
        Some(None) => return Err("the container around this one has ended".to_owned().into()),
        Some(Some(supervisor)) => around::parent(supervisor)?,
    };
    let rootfs = spec.rootfs.as_ref().map(PathBuf::from);
    let shared = parent.as_ref().filter(|_| spec.shares_everything()).and_then(around::root);
    let users = rootfs.as_deref().or(shared.as_deref());
    let user = spec.who(users).map_err(StartError::Sandbox)?;
    supervisor::check(spec)?;
    // First the directory, then the sandbox: who finds neither knows that nothing was started.
    files.create(spec.parent.as_deref())?;
    sandbox::prepare(spec, user.as_ref())?;
    let logs = logs.map(|logs| logs.of(spec)).transpose()?.unwrap_or_default();
    let owner = user.as_ref().map(|user| (user.uid, user.gid));
    let mut begun = Preparation { rootfs, owner, logs, ..Default::default() };
    begun.setup.terminal = terminal(spec)?;
    begun.setup.parent = parent;
    let preparation = isolators.prepare(spec, begun)?;
    supervisor::encode(spec, user.as_ref(), open_files, &preparation).map_err(|text| {
        isolators.cleanup(&spec.container_id);
        StartError::Launch(text)
    })
}

impl Containerizer for Mesos {
    fn supports(&self, spec: &ContainerSpec) -> bool {
        let docker = v1::container_info::Type::Docker;
        spec.container.as_ref().is_none_or(|container| container.r#type() != docker)
    }

    fn holds_pods(&self) -> bool {
        true
    }

    fn supervisor(&self, container_id: &str) -> Option<u32> {
        self.watch.is_running(container_id).then(|| self.files(container_id).supervisor())?
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, String>> {
        Box::pin(async {
            let mut found = self
                .find_all()
                .map_err(|e| format!("cannot read {}: {e}", self.containers.display()))?;
            // What ran inside a container that ended meanwhile follows it.
            for child in found.iter().filter(|f| f.pid.is_some()) {
                let Some(parent) = self.files(&child.container_id).parent() else { continue };
                if found.iter().any(|f| f.container_id == parent && f.pid.is_some()) {
                    self.family.add(&child.container_id, &parent);
                } else {
                    self.destroy(&child.container_id);
                }
            }
            // Whatever else runs in a sandbox lost its supervisor, or its supervisor's files.
            let live = found.iter().filter(|f| f.pid.is_some());
            let live: BTreeSet<OsString> = live.map(|f| f.container_id.clone().into()).collect();
            let running = found.iter().filter_map(|f| {
                Some(Running { container_id: f.container_id.clone(), supervisor: f.pid? })
            });
            let running: Vec<Running> = running.collect();
            let ended = found.iter().filter(|f| f.pid.is_none()).map(|f| f.container_id.clone());
            let ended: Vec<String> = ended.collect();
            let (work_dir, isolators) = (self.work_dir.clone(), self.isolators.clone());
            let directories = self.containers.clone();
            let swept = tokio::task::spawn_blocking(move || {
                let is_live = |path: &Path| path.iter().any(|name| live.contains(name));
                processes::sweep(&|path| path.starts_with(&work_dir) && !is_live(path), &[]);
                isolators.recover(&running, &ended)?;
                let end = |container_id: &String| {
                    isolators.kill(container_id);
                    let files = Files(directories.join(container_id));
                    let limitation =
                        limitation::find(container_id, &files, files.kept(), &isolators);
                    isolators.cleanup(container_id);
                    Some((container_id.clone(), limitation?))
                };
                Ok::<_, String>(ended.iter().filter_map(end).collect::<BTreeMap<_, _>>())
            });
            let swept = swept.await.map_err(|e| format!("cannot look for processes: {e}"))?;
            let mut limitations = swept?;
            for found in &mut found {
                found.limitation = limitations.remove(&found.container_id);
                found.appearance = found.pid.and_then(|_| self.appearance(&found.container_id));
            }
            Ok(found)
        })
    }

    fn attend(&self, container_id: &str) {
        self.files(container_id).command(&format!("agent {}\n", std::process::id()));
    }

    fn announce(&self, spec: &ContainerSpec) {
        self.starting().entry(spec.container_id.clone()).or_default();
    }

    fn cancel(&self, container_id: &str) {
        if let Some(start) = self.starting().get(container_id) {
            start.cancel.notify_one();
        }
    }

    fn pull_times(&self) -> Vec<(&'static str, Timings)> {
        let times = self.images.as_ref().map(|images| images.pull_times());
        let name = "containerizer/mesos/provisioner/docker_store/image_pull";
        times.map(|times| (name, times)).into_iter().collect()
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        let mut all = self.isolators.figures();
        if let Some(images) = &self.images {
            let count = images.containers() as u64;
            all.push(("containerizer/mesos/filesystem/containers_new_rootfs", count));
        }
        all
    }

    fn fetcher_figures(&self) -> FetcherFigures {
        self.fetcher.figures()
    }

    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(async {
            let container_id = spec.container_id.clone();
            let pid = self.launch(spec).await?;
            Ok(Started { pid, appearance: self.appearance(&container_id) })
        })
    }

    fn update(
        &self,
        container_id: &str,
        resources: Vec<v1::Resource>,
        limits: BTreeMap<String, f64>,
    ) {
        let container_id = container_id.to_owned();
        let _ = self.updates.send(Update { container_id, resources, limits });
    }

    fn show_volume(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        self.show(container_id, sandbox, volume)
    }

    fn hide_volume(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        self.hide(container_id, sandbox, volume)
    }

    fn usage(&self, running: &[Running]) -> Vec<v1::ResourceStatistics> {
        self.isolators.usage(running)
    }

    fn probe(
        &self,
        container_id: &str,
        target: Target,
    ) -> BoxFuture<'static, Result<ProbeAnswer, String>> {
        let files = self.files(container_id);
        Box::pin(async move {
            let network = files.main().map_or_else(Network::default, Network::of);
            probe::probe(network, target).await
        })
    }

    fn attach(&self, container_id: &str) -> BoxFuture<'_, Result<Terminal, String>> {
        let files = self.files(container_id);
        Box::pin(async move {
            let attaching = tokio::task::spawn_blocking(move || Terminal::of(&files));
            attaching.await.map_err(|e| e.to_string())?
        })
    }

    fn signal(&self, container_id: &str, signal: i32) {
        self.files(container_id).command(&format!("signal {signal}\n"));
    }

    fn destroy(&self, container_id: &str) {
        if let Some(start) = self.starting().get_mut(container_id) {
            start.doomed = true;
            start.cancel.notify_one();
            return;
        }
        let told = self.files(container_id).command("kill\n");
        let patience = if told { PATIENCE } else { Duration::ZERO };
        tokio::spawn(self.watch.clone().kill_after(container_id.to_owned(), patience));
    }

    fn forget(&self, container_id: &str) {
        let _ = std::fs::remove_dir_all(self.files(container_id).0);
    }

    fn prune_images(&self, excluded: Vec<v1::Image>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            match &self.images {
                Some(images) => images.prune(&excluded).await,
                None => Ok(()),
            }
        })
    }
}

/// Destroys containers whose turn it is because the one around them has ended.
async fn destroy_all(mesos: Weak<Mesos>, mut doomed: mpsc::UnboundedReceiver<String>) {
    while let Some(container_id) = doomed.recv().await {
        let Some(mesos) = mesos.upgrade() else { return };
        mesos.destroy(&container_id);
    }
}
