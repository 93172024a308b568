//! The containerizer that `--containerizers=mesos` names: sessions of processes, each under its supervisor, separated
//! by isolators.

mod launch;
mod recovery;

use crate::family::Family;
use crate::fetcher::{Fetcher, FetcherFigures, FetcherOptions};
use crate::images::{Images, Provisioner, ProvisionerOptions};
use crate::isolation::{Gpus, Isolator, Isolators, Running, Selection, Settings};
use crate::network::Network;
use crate::pods::Pods;
use crate::probe::{self, ProbeAnswer, Target};
use crate::spawner::Spawner;
use crate::supervisor::{self, Files};
use crate::systemd::Slice;
use crate::watch::Watch;
use crate::{
    Appearance, BoxFuture, ContainerSpec, Containerizer, Exited, Found, Logs, MountedVolume,
    StartError, Started, Terminal,
};
use base::Timings;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
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
        let program = std::fs::create_dir_all(&containers)
            .and_then(|()| supervisor::install(&options.runtime_dir.join("bin")));
        let program = program.map_err(|e| {
            let runtime = options.runtime_dir.display();
            io::Error::new(e.kind(), format!("failed to use {runtime}: {e}; see --runtime_dir"))
        })?;
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
        Box::pin(self.recover_all())
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
