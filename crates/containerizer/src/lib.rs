//! Containers of one node: start, signal, destroy, recover; behind one trait.
//!
//! [`Mesos`] runs each container under a supervisor process of its own, which outlives the agent. How containers are
//! separated from each other is the matter of a list of isolators: see [`isolation`]. [`docker`] leaves containers to a
//! Docker Engine. [`Composing`] gives each container to the one whose matter it is.

mod around;
pub mod clock;
mod composing;
pub mod docker;
pub mod download;
mod family;
mod fetcher;
pub mod images;
pub mod isolation;
mod limitation;
mod limits;
mod logs;
mod mesos;
mod network;
pub mod phases;
mod pods;
mod probe;
mod processes;
mod removal;
mod rooted;
mod sandbox;
mod secrets;
mod spawner;
mod supervisor;
mod systemd;
mod terminal;
mod user;
mod volumes;
mod walk;
mod watch;

pub use composing::{Composing, Member};
pub use fetcher::{Fetcher, FetcherFigures, FetcherOptions};
pub use logs::{Logs, Rotation};
pub use mesos::{Mesos, MesosOptions};
pub use removal::{empty_tree, remove_tree};
pub use secrets::SecretResolver;
pub use terminal::Terminal;
pub use user::User;

pub use probe::{ProbeAnswer, Target};

use base::Timings;
use isolation::Root;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use wire::v1;

/// What to start. Paths are absolute.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    /// Unique name (random UUID).
    pub container_id: String,
    /// The running container inside which this one runs: it shares its namespaces, root and cgroup, and ends with it.
    /// With a description of its own (`container`) it shares only what that does not separate.
    pub parent: Option<String>,
    /// The pod that it belongs to: where containers are separated, it runs inside what stands for the pod, and has a
    /// description of its own. With others of the pod it shares the pod's network, unless it asks for one of its own.
    pub pod: Option<Pod>,
    /// Sandbox: made with mode 0750, holds `stdout` and `stderr`.
    pub directory: String,
    /// Where the process starts; None: in the sandbox.
    pub working_directory: Option<String>,
    /// Directory whose `stderr` takes all output; None: the sandbox, with `stdout` apart.
    pub output: Option<String>,
    /// Its standard streams, instead of files in its sandbox.
    pub streams: Option<Streams>,
    /// Link that shall point at `directory`, if any.
    pub latest_link: Option<String>,
    /// `shell`, `value`, `arguments` as in CommandInfo (spec/agent.md 3.6).
    pub command: v1::CommandInfo,
    /// Whole environment of the process.
    pub environment: BTreeMap<String, String>,
    /// User to run as; None: the agent's own.
    pub user: Option<String>,
    /// Who its image wants it to run as, if that counts: it does instead of root, where the framework named nobody.
    pub image_user: Option<User>,
    /// Whether its image asks for the driver of NVIDIA's GPUs.
    pub image_wants_nvidia: bool,
    /// Container description, if any.
    pub container: Option<v1::ContainerInfo>,
    /// Resources for isolation: what it asked for.
    pub resources: Vec<v1::Resource>,
    /// What it may take beyond that, by name of the resource; infinity: no limit.
    pub limits: BTreeMap<String, f64>,
    /// Persistent volumes that appear in the sandbox.
    pub volumes: Vec<MountedVolume>,
    /// Root file system; None: the host's.
    pub rootfs: Option<Root>,
    /// Volumes that are images, by the host paths that stand for them.
    pub image_volumes: BTreeMap<String, Root>,
    /// For how long the container waits for an agent that is gone, before it is shut down.
    pub recovery_timeout: Duration,
    /// Time from SIGTERM to SIGKILL of that shutdown.
    pub shutdown_grace_period: Duration,
    /// It may have been started before, for all that is known: the start fails if its sandbox is there.
    pub unless_sandbox: bool,
}

/// What the containers of a pod have in common: cgroups, and namespaces that they do not separate.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// Its name, as unique as those of containers. [`Containerizer::update`] and [`Containerizer::destroy`] know it, and
    /// its end is told as that of a container.
    pub id: String,
    /// Its description, if any: of this hold namespaces, networks and privileges.
    pub container: Option<v1::ContainerInfo>,
    /// What all of them together asked for.
    pub resources: Vec<v1::Resource>,
    /// What they may take beyond that, by name of the resource; infinity: no limit.
    pub limits: BTreeMap<String, f64>,
    /// Persistent volumes in the pod's sandbox. A container sees them by a volume that shows that sandbox.
    pub volumes: Vec<MountedVolume>,
    /// Whose these volumes are; None: the agent's own user's.
    pub user: Option<String>,
}

impl ContainerSpec {
    /// Who it runs as, None: as the agent does. Names are those of this host or of the root file system.
    pub(crate) fn who(&self, rootfs: Option<&Root>) -> Result<Option<User>, String> {
        if let Some(user) = &self.image_user {
            return Ok(Some(user.clone()));
        }
        self.user.as_deref().map(|name| User::named(name, rootfs)).transpose()
    }

    /// Whether it is in another container as that container's own processes are.
    pub(crate) fn shares_everything(&self) -> bool {
        self.parent.is_some() && self.container.is_none()
    }
}

/// Makes a symbolic link at a path inside a directory, in place of one that is there; directories on the way are made.
/// Links that others put into the directory don't lead out of it.
///
/// # Errors
/// When the path leads out of the directory, or can't be made.
pub fn link(directory: &Path, path: &Path, target: &Path) -> io::Result<()> {
    rooted::link(&rooted::directory(directory)?, path, target)
}

/// Files that a container has as its standard streams, absolute: named pipes, or a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub input: String,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
    /// Whether all three are one terminal, which it takes as its own.
    pub is_terminal: bool,
}

/// A persistent volume in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedVolume {
    /// Where it is, absolute.
    pub path: String,
    /// Where the container sees it: relative to the sandbox.
    pub container_path: String,
    /// Whether only this container uses it: then it belongs to the container's user.
    pub exclusive: bool,
    /// Whether the container may not write to it. Links can't keep it from that, mounts do.
    pub read_only: bool,
}

/// A container that was there when the agent started.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The container.
    pub container_id: String,
    /// Its supervisor, if it still runs.
    pub pid: Option<u32>,
    /// Raw wait status of its main process, if it ended and the status was kept.
    pub status: Option<i32>,
    /// Its main process was never started: who was to do that died before.
    pub unstarted: bool,
    /// What it was ended for, if it ended.
    pub limitation: Option<Limitation>,
    /// How it looks, if it runs.
    pub appearance: Option<Appearance>,
}

/// A container that was started.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// Its supervisor, or who stands for one.
    pub pid: u32,
    /// How it looks; None: there is nothing to be told of it.
    pub appearance: Option<Appearance>,
}

impl From<u32> for Started {
    fn from(pid: u32) -> Self {
        Self { pid, appearance: None }
    }
}

/// How a container looks from outside.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appearance {
    /// The networks that it has, with its addresses in them; empty: the host's.
    pub networks: Vec<v1::NetworkInfo>,
    /// What tells what it sends from what others do: its `net_cls` class.
    pub network_class: Option<u32>,
    /// What its framework is told of it when it runs; empty: nothing.
    pub description: Vec<u8>,
}

impl Found {
    /// One of which nothing else is known.
    fn of(container_id: String) -> Self {
        Self {
            container_id,
            pid: None,
            status: None,
            unstarted: false,
            limitation: None,
            appearance: None,
        }
    }
}

/// The end of a container: its last process is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Exited {
    /// The container.
    pub container_id: String,
    /// Raw wait status of its main process; None if its supervisor was killed.
    pub status: Option<i32>,
    /// What it was ended for by its isolation, if it was.
    pub limitation: Option<Limitation>,
}

/// A limit that a container was ended for.
#[derive(Debug, Clone, PartialEq)]
pub struct Limitation {
    /// Which one.
    pub reason: v1::task_status::Reason,
    /// What the framework is told.
    pub message: String,
    /// How much it used.
    pub resources: Vec<v1::Resource>,
}

/// Why a container was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// There is no sandbox for its user.
    Sandbox(String),
    /// Its sandbox is there, though [`ContainerSpec::unless_sandbox`] was asked for.
    MayHaveRun,
    /// Anything else.
    Launch(String),
}

impl From<String> for StartError {
    fn from(text: String) -> Self {
        Self::Launch(text)
    }
}

/// A boxed future, so that implementations can be chosen at run time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Starts and ends containers. Ends are reported on the channel given at construction, once per container; that of a
/// container after those of all inside it, which are destroyed when it ends.
pub trait Containerizer: Send + Sync + std::fmt::Debug {
    /// Whether it has something that stands for a pod.
    fn holds_pods(&self) -> bool {
        false
    }
    /// Process id of the supervisor of a container that runs, or of what stands for a pod.
    fn supervisor(&self, _container_id: &str) -> Option<u32> {
        None
    }
    /// Whether containers of this kind are its matter.
    fn supports(&self, spec: &ContainerSpec) -> bool;
    /// Finds the containers of a former run and attaches to those that still run; of the others no process is left when
    /// it answers. Called once, first.
    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, String>>;
    /// Tells a container that was found running that it has an agent again: it need not be shut down.
    fn attend(&self, container_id: &str);
    /// A start follows: a cancellation or an end that is asked for before it has begun counts.
    fn announce(&self, _spec: &ContainerSpec) {}
    /// Gives up the start of a container if that takes its time (URIs are fetched, say): it answers with an error. Does
    /// nothing to one that has got further.
    fn cancel(&self, _container_id: &str) {}
    /// How long images took to come, by the name of the metric.
    fn pull_times(&self) -> Vec<(&'static str, Timings)> {
        Vec::new()
    }
    /// Other metrics, by their names.
    fn figures(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// Figures of what was fetched.
    fn fetcher_figures(&self) -> FetcherFigures {
        FetcherFigures::default()
    }
    /// Starts a container and answers when the main process is running.
    ///
    /// # Errors
    /// With a text for the framework; nothing of the container is left running. A container inside one that does not
    /// run is not started.
    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Started, StartError>>;
    /// Changes what a running container may use. What can't be changed is logged. Calls for one container take effect in
    /// their order.
    fn update(
        &self,
        container_id: &str,
        resources: Vec<v1::Resource>,
        limits: BTreeMap<String, f64>,
    );
    /// Shows a persistent volume in the sandbox of a running container, for a task that joins it. Blocks for a moment.
    ///
    /// # Errors
    /// Why it is not there; the container has less than it shall have then.
    fn show_volume(
        &self,
        _container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        volumes::link(sandbox, volume)
    }
    /// Takes such a volume away, when the task has ended. Blocks for a moment.
    ///
    /// # Errors
    /// Why it is still there.
    fn hide_volume(
        &self,
        _container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        volumes::unlink(sandbox, volume)
    }
    /// What running containers use, one for each. Blocks.
    fn usage(&self, running: &[isolation::Running]) -> Vec<v1::ResourceStatistics>;
    /// Looks at something from inside the network of a container. Takes as long as the other side does.
    ///
    /// # Errors
    /// Why nothing was learnt.
    fn probe(
        &self,
        container_id: &str,
        target: Target,
    ) -> BoxFuture<'static, Result<ProbeAnswer, String>>;
    /// The terminal of a container that has one (`tty_info`).
    ///
    /// # Errors
    /// Why it can't be had.
    fn attach(&self, _container_id: &str) -> BoxFuture<'_, Result<Terminal, String>> {
        Box::pin(async { Err(terminal::DISABLED.to_owned()) })
    }
    /// Sends a signal to all processes of a container. No error if it is gone.
    fn signal(&self, container_id: &str, signal: i32);
    /// Kills all processes of a container; idempotent.
    fn destroy(&self, container_id: &str);
    /// Drops what is kept of a container that ended; idempotent. Its sandbox stays.
    fn forget(&self, container_id: &str);
    /// The agent ends: ends what does not outlive it, if nobody else does.
    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
    /// Removes images that no container uses, and that are neither excluded here nor by the agent's settings.
    ///
    /// # Errors
    /// With a text for the operator.
    fn prune_images(&self, _excluded: Vec<v1::Image>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}
