//! What separates a container from others: a list of isolators, chosen by `--isolation` (spec/agent.md 6.2, 6.3).
//!
//! An isolator acts in the agent's process: it makes what can be made from outside (cgroups, directories), and writes
//! down in a [`Preparation`] what only the container's own process can do between fork and exec (enter cgroups,
//! namespaces, mounts). The containerizer hands the preparation to the supervisor with the command; see
//! `crates/supervisor/src/spec.rs` for its form there. What the supervisor can't set up fails the launch with the text
//! that it gives, and nothing is started.

pub mod cgroups;
mod disk;
mod filesystem;
mod gpu;
mod linux;
mod namespaces;
mod network;
mod posix;
mod processes;
mod rlimits;
mod root;
mod rounds;
mod selection;
mod settings;
mod setup;
pub(crate) mod volume;

pub use disk::ProjectOptions;
pub(crate) use filesystem::{give, link_volume};
pub(crate) use gpu::is_asked_for as asks_for_nvidia;
pub use gpu::{GpuOptions, Gpus};
pub use network::{CniOptions, NetworkStatistics, PortsOptions, Rate, Rates, Resolver};
pub use processes::Processes;
pub use root::Root;
pub use selection::{Launcher, Selection};
pub use settings::Settings;
pub use setup::{Attributes, Parent, Privileges, Setup, Source, Step, Target};

use crate::{ContainerSpec, Limitation, MesosOptions, Rotation};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wire::v1;

/// What the supervisor shall set up for the main process of a container. Isolators add to it, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preparation {
    /// Cgroups that the process joins, absolute directories. It joins them first of all, as the agent's user and in the
    /// host's mounts, so that whatever is set up afterwards counts as the container's already.
    pub cgroups: Vec<PathBuf>,
    /// The one of them in which its processes, and those of containers inside it, are found and killed.
    pub tracker: Option<PathBuf>,
    /// The one of them that limits memory: when that is short, the supervisor kills the container.
    pub memory: Option<PathBuf>,
    /// How likely it is chosen when the whole machine is short of memory, in addition to what the kernel thinks.
    pub oom_score_adj: Option<i32>,
    /// Root file system, in which the container may write, or that is read only.
    pub rootfs: Option<Root>,
    /// User and group of the container, if they are not the agent's.
    pub owner: Option<(u32, u32)>,
    /// Variables that replace those of the container, and those that come beside them.
    pub environment: BTreeMap<String, String>,
    /// Namespaces, mounts, privileges, terminal.
    pub setup: Setup,
    /// How long `stdout` and `stderr` become.
    pub logs: [Rotation; 2],
}

/// A container that runs, as its isolators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The container.
    pub container_id: String,
    /// Process id of its supervisor, of which all its processes descend.
    pub supervisor: u32,
}

/// One way to separate containers. Calls may block for as long as files of the kernel do; the containerizer makes none
/// of them on a thread that serves others.
pub trait Isolator: Send + Sync + std::fmt::Debug {
    /// Its name in `--isolation`.
    fn name(&self) -> &'static str;

    /// Takes over the containers of a former process of the agent: those that still run, and those that ended since,
    /// for each of which [`Self::cleanup`] follows. What it finds of others it removes. Called once, before anything
    /// else.
    ///
    /// # Errors
    /// With a text for the operator; the agent does not start.
    fn recover(&self, _running: &[Running], _ended: &[String]) -> Result<(), String> {
        Ok(())
    }

    /// Makes ready for a container. When it fails, or any other isolator, [`Self::cleanup`] follows.
    ///
    /// # Errors
    /// With a text for the framework; the container is not started.
    fn prepare(&self, _spec: &ContainerSpec, _preparation: &mut Preparation) -> Result<(), String> {
        Ok(())
    }

    /// Changes what a running container may use: `resources` are what it asked for, `limits` (by name of the resource,
    /// infinity included) what it may take beyond that.
    ///
    /// # Errors
    /// With a text for the log; the container runs on as it was.
    fn update(
        &self,
        _container_id: &str,
        _resources: &[v1::Resource],
        _limits: &BTreeMap<String, f64>,
    ) -> Result<(), String> {
        Ok(())
    }

    /// Metrics of it, by their names.
    fn figures(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Who gives out GPUs, if it is this one.
    fn gpus(&self) -> Option<Arc<Gpus>> {
        None
    }

    /// Adds what it knows of the use of resources.
    ///
    /// # Errors
    /// With a text for the log; statistics of other isolators are shown without it.
    fn usage(
        &self,
        _running: &Running,
        _processes: &Processes,
        _out: &mut v1::ResourceStatistics,
    ) -> Result<(), String> {
        Ok(())
    }

    /// What tells what a container sends from what others do (`net_cls`).
    fn network_class(&self, _container_id: &str) -> Option<u32> {
        None
    }

    /// The networks that a running container is attached to, with its addresses; none: it is in that of the host.
    fn networks(&self, _container_id: &str) -> Vec<v1::NetworkInfo> {
        Vec::new()
    }

    /// Kills the processes of a container that has no supervisor any more, as far as it knows them.
    fn kill(&self, _container_id: &str) {}

    /// Why a container that has ended was ended by what it may use, if it was; asked before [`Self::cleanup`].
    /// `saw_oom`: the supervisor killed it for a lack of memory.
    fn limitation(&self, _container_id: &str, _saw_oom: bool) -> Option<Limitation> {
        None
    }

    /// Removes what it made for a container, whose processes are all gone; in reverse order of preparation; idempotent.
    ///
    /// # Errors
    /// With a text for the log.
    fn cleanup(&self, _container_id: &str) -> Result<(), String> {
        Ok(())
    }
}

/// The chosen isolators, in the order in which they prepare.
#[derive(Debug, Default)]
pub(crate) struct Isolators(Vec<Box<dyn Isolator>>);

impl Isolators {
    /// `first` prepares first, and cleans up last.
    pub(crate) fn new(
        options: &MesosOptions,
        first: Option<Box<dyn Isolator>>,
    ) -> Result<Self, String> {
        let chosen = options.isolation.make(options)?;
        Ok(Self(first.into_iter().chain(chosen).collect()))
    }

    /// Metrics of all.
    pub(crate) fn figures(&self) -> Vec<(&'static str, u64)> {
        self.0.iter().flat_map(|isolator| isolator.figures()).collect()
    }

    /// Who gives out GPUs, if anybody does.
    pub(crate) fn gpus(&self) -> Option<Arc<Gpus>> {
        self.0.iter().find_map(|isolator| isolator.gpus())
    }

    pub(crate) fn recover(&self, running: &[Running], ended: &[String]) -> Result<(), String> {
        for isolator in &self.0 {
            isolator.recover(running, ended).map_err(|e| format!("{}: {e}", isolator.name()))?;
        }
        Ok(())
    }

    /// Has every isolator prepare; when one can't, nothing is left of what the others made.
    pub(crate) fn prepare(
        &self,
        spec: &ContainerSpec,
        mut preparation: Preparation,
    ) -> Result<Preparation, String> {
        for isolator in &self.0 {
            if let Err(text) = isolator.prepare(spec, &mut preparation) {
                self.cleanup(&spec.container_id);
                return Err(format!("{}: {text}", isolator.name()));
            }
        }
        Ok(preparation)
    }

    pub(crate) fn update(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
        limits: &BTreeMap<String, f64>,
    ) {
        for isolator in &self.0 {
            if let Err(error) = isolator.update(container_id, resources, limits) {
                tracing::error!(container = %container_id, isolator = isolator.name(), %error, "cannot update");
            }
        }
    }

    /// What each of these containers uses.
    pub(crate) fn usage(&self, running: &[Running]) -> Vec<v1::ResourceStatistics> {
        let processes = Processes::default();
        let usage = |running: &Running| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut out =
                v1::ResourceStatistics { timestamp: now.as_secs_f64(), ..Default::default() };
            for isolator in &self.0 {
                if let Err(error) = isolator.usage(running, &processes, &mut out) {
                    // It may have ended at this moment.
                    tracing::debug!(container = %running.container_id, isolator = isolator.name(), %error, "no statistics");
                }
            }
            out
        };
        running.iter().map(usage).collect()
    }

    pub(crate) fn network_class(&self, container_id: &str) -> Option<u32> {
        self.0.iter().find_map(|isolator| isolator.network_class(container_id))
    }

    pub(crate) fn networks(&self, container_id: &str) -> Vec<v1::NetworkInfo> {
        self.0.iter().flat_map(|isolator| isolator.networks(container_id)).collect()
    }

    pub(crate) fn kill(&self, container_id: &str) {
        self.0.iter().for_each(|isolator| isolator.kill(container_id));
    }

    pub(crate) fn limitation(&self, container_id: &str, saw_oom: bool) -> Option<Limitation> {
        self.0.iter().find_map(|isolator| isolator.limitation(container_id, saw_oom))
    }

    pub(crate) fn cleanup(&self, container_id: &str) {
        for isolator in self.0.iter().rev() {
            if let Err(error) = isolator.cleanup(container_id) {
                tracing::error!(container = %container_id, isolator = isolator.name(), %error, "cannot clean up");
            }
        }
    }
}
