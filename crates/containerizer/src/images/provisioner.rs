//! Root file systems of containers.
//!
//! ```text
//! <work_dir>/provisioner/containers/<id>/
//!     layers                                 layers in use, one digest a line; written before anything uses them
//!     backends/<backend>/rootfses/<number>   empty, or a copy of all layers
//!     backends/overlay/scratch/<number>/{upperdir, workdir}
//! <work_dir>/provisioner/removed/<number>        what is being removed
//! ```
//!
//! Nothing is mounted there: each container mounts its own. Agents of before did that for them, and what they mounted is
//! unmounted when such a container ends.

use super::backend::Backend;
use super::blob::blocking;
use super::credentials::Credentials;
use super::digest::Digest;
use super::manifest::ImageConfig;
use super::mounts;
use super::options::ProvisionerOptions;
use super::pull::{Puller, Source};
use super::reference::Reference;
use super::store::{Store, StoredImage};
use super::trash::Trash;
use crate::download::Client;
use crate::isolation::Root;
use base::Timings;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use wire::v1;

/// How many times it is looked whether images can be removed.
const MOMENTS: u32 = 200;
/// Pause between two of these looks.
const MOMENT: Duration = Duration::from_millis(5);

/// A root file system that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// What the container mounts; gone after [`Provisioner::destroy`].
    pub root: Root,
    /// A directory of its own, of this name alone.
    pub place: PathBuf,
    /// How the image wants to be run.
    pub config: ImageConfig,
}

/// An image that is in the store, and stays there as long as this is held.
#[derive(Debug)]
pub struct Pulled {
    image: Arc<StoredImage>,
    _open: OwnedRwLockReadGuard<()>,
}

/// Provides containers with root file systems.
#[derive(Debug)]
pub struct Provisioner {
    containers: PathBuf,
    trash: Trash,
    backend: Backend,
    store: Arc<Store>,
    puller: Puller,
    in_use: Mutex<BTreeMap<String, InUse>>,
    /// Held for writing while images are removed.
    gate: Arc<RwLock<()>>,
    docker_ignore_runtime: bool,
    gc: Option<super::gc::GcConfig>,
}

/// What a container has.
#[derive(Debug, Default)]
struct InUse {
    layers: BTreeSet<Digest>,
    /// Root file systems that were begun.
    count: usize,
}

impl Provisioner {
    /// Opens the store and chooses how root file systems are made.
    ///
    /// # Errors
    /// With a text for the operator that names the flag.
    pub fn new(options: &ProvisionerOptions) -> Result<Arc<Self>, String> {
        let directory = options.work_dir.join("provisioner");
        let containers = directory.join("containers");
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&containers)
            .map_err(|e| cannot("create", &containers, &e))?;
        let containers = containers.canonicalize().map_err(|e| cannot("find", &containers, &e))?;
        let source = Source::parse(&options.docker_registry, options.hadoop_home.as_deref())?;
        let backend = Backend::choose(options.backend.as_deref(), &directory)?;
        let store = Arc::new(Store::open(&options.docker_store_dir, backend.form())?);
        let client = Client::new(options.stall_timeout);
        let puller = Puller::new(store.clone(), source, options.docker_config.clone(), client);
        tracing::info!(backend = backend.name(), "root file systems are made of images");
        let trash =
            Trash::new(directory.join("removed")).map_err(|e| cannot("use", &directory, &e))?;
        Ok(Arc::new(Self {
            containers,
            trash,
            backend,
            store,
            puller,
            in_use: Mutex::new(BTreeMap::new()),
            gate: Arc::new(RwLock::new(())),
            docker_ignore_runtime: options.docker_ignore_runtime,
            gc: options.gc.clone(),
        }))
    }

    fn in_use(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, InUse>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many containers have something of images.
    pub(crate) fn containers(&self) -> usize {
        self.in_use().len()
    }

    /// How long pulls took.
    pub(crate) fn pull_times(&self) -> Timings {
        self.puller.times()
    }

    /// Whether images say what is run, where the isolator for that is chosen.
    pub(crate) fn honours_runtime(&self) -> bool {
        !self.docker_ignore_runtime
    }

    /// Takes over the containers of a former process, and removes what there is of others. Called once, first. Blocks.
    ///
    /// # Errors
    /// When something can't be removed or read.
    pub fn recover(&self, known: &BTreeSet<String>) -> Result<(), String> {
        let entries = std::fs::read_dir(&self.containers)
            .map_err(|e| cannot("read", &self.containers, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| cannot("read", &self.containers, &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if known.contains(&name) {
                let found = read_layers(&entry.path());
                self.in_use().insert(name, found);
            } else {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Gets an image into the store if it is not there, or if it shall not be taken from there. May be given up.
    ///
    /// # Errors
    /// With a text for the framework.
    pub async fn pull(&self, image: &v1::Image) -> Result<Pulled, String> {
        let (reference, credentials) = docker(image)?;
        let open = self.gate.clone().read_owned().await;
        let image = self.puller.get(&reference, image.cached(), credentials).await?;
        Ok(Pulled { image, _open: open })
    }

    /// Makes a root file system for a container out of an image. A container may have several. When it fails, or is given
    /// up, [`Self::destroy`] removes what is left.
    ///
    /// # Errors
    /// With a text for the framework.
    pub async fn provision(
        &self,
        container_id: &str,
        pulled: Pulled,
    ) -> Result<Provisioned, String> {
        let image = &pulled.image;
        let directory = self.containers.join(container_id);
        let number = {
            let mut all = self.in_use();
            let in_use = all.entry(container_id.to_owned()).or_default();
            in_use.layers.extend(image.layers.iter().cloned());
            in_use.count += 1;
            write_layers(&directory, &in_use.layers)
                .map_err(|e| cannot("write", &directory, &e))?;
            in_use.count
        };
        let layers: Vec<PathBuf> =
            image.layers.iter().map(|layer| self.store.layer_path(layer)).collect();
        let backend = self.backend;
        let own = directory.join("backends").join(backend.name());
        let rootfs = own.join("rootfses").join(number.to_string());
        let scratch = own.join("scratch").join(number.to_string());
        let config = image.config.clone();
        blocking(move || {
            let root = backend.provision(layers, &rootfs, &scratch)?;
            Ok(Provisioned { root, place: rootfs, config })
        })
        .await
    }

    /// Removes the root file systems of a container that ended; idempotent. Blocks.
    ///
    /// # Errors
    /// With what is left; it is tried again when the agent starts.
    pub fn destroy(&self, container_id: &str) -> Result<(), String> {
        if self.in_use().remove(container_id).is_none() {
            return Ok(());
        }
        let directory = self.containers.join(container_id);
        mounts::unmount_all(&directory).map_err(|e| cannot("unmount", &directory, &e))?;
        // Nobody waits for many files to go.
        self.trash.take(&directory).map_err(|e| cannot("remove", &directory, &e))
    }

    /// Removes images that are neither excluded, here or by `--image_gc_config`, nor in use by a container.
    ///
    /// # Errors
    /// While an image is pulled, or when the store is shared with another agent.
    pub async fn prune(&self, excluded: &[v1::Image]) -> Result<(), String> {
        let mut keep = BTreeSet::new();
        let always = self.gc.iter().flat_map(|gc| &gc.excluded);
        for image in
            excluded.iter().chain(always).filter(|image| image.r#type() == v1::image::Type::Docker)
        {
            let name = image.docker.as_ref().map(|d| d.name.as_str()).unwrap_or_default();
            keep.insert(Reference::parse(name)?.to_string());
        }
        let _closed = self.close().await?;
        let used: BTreeSet<Digest> =
            self.in_use().values().flat_map(|c| c.layers.iter().cloned()).collect();
        let store = self.store.clone();
        blocking(move || store.prune(&keep, &used)).await
    }

    /// Waits for a moment in which nobody takes an image out of the store. It is not queued for: who holds one image may
    /// wait for another.
    async fn close(&self) -> Result<tokio::sync::RwLockWriteGuard<'_, ()>, String> {
        for _ in 0..MOMENTS {
            if let Ok(closed) = self.gate.try_write() {
                return Ok(closed);
            }
            if self.puller.is_pulling() {
                break;
            }
            tokio::time::sleep(MOMENT).await;
        }
        Err("Cannot prune and pull at the same time".to_owned())
    }

    /// Begins to remove images whenever the disk is fuller than `--image_gc_config` allows, if that is given.
    pub fn watch_disk(self: &Arc<Self>) {
        let Some(interval) = self.gc.as_ref().map(|gc| gc.interval) else { return };
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(provisioner) = weak.upgrade() else { return };
                provisioner.look_at_disk().await;
            }
        });
    }

    async fn look_at_disk(&self) {
        let headroom = self.gc.as_ref().map_or(0.0, |gc| gc.headroom);
        match self.store.disk_usage() {
            Ok(usage) if headroom + usage > 1.0 => {
                tracing::info!(
                    usage,
                    "unused images are removed: the disk is fuller than it shall be"
                );
                if let Err(error) = self.prune(&[]).await {
                    tracing::warn!(%error, "images are not removed");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot tell how full the disk of images is"),
        }
    }
}

fn remove(directory: &Path) -> Result<(), String> {
    // Never through a mount into what belongs to others.
    mounts::unmount_all(directory).map_err(|e| cannot("unmount", directory, &e))?;
    match crate::remove_tree(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cannot("remove", directory, &e)),
        _ => Ok(()),
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

/// What an image is called, and the credentials that come with it.
fn docker(image: &v1::Image) -> Result<(Reference, Option<Credentials>), String> {
    if image.r#type() == v1::image::Type::Appc {
        return Err("images of the type APPC are not supported: use DOCKER".to_owned());
    }
    let docker = image.docker.as_ref().ok_or("'Image.docker' is not set")?;
    if docker.credential.is_some() {
        return Err(
            "'Image.Docker.credential' is not supported: use 'Image.Docker.config'".to_owned()
        );
    }
    let credentials = docker.config.as_ref().map(|secret| {
        let data = secret.value.as_ref().map(|value| value.data.as_ref());
        let data: &[u8] = data.ok_or(
            "'Image.Docker.config' must be a secret of the type VALUE, or one that --secret_resolver knows",
        )?;
        Credentials::parse(data).map_err(|e| format!("'Image.Docker.config' {e}"))
    });
    Ok((Reference::parse(&docker.name)?, credentials.transpose()?))
}

fn write_layers(directory: &Path, layers: &BTreeSet<Digest>) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let text: String = layers.iter().map(|layer| format!("{layer}\n")).collect();
    std::fs::write(directory.join("new"), text)?;
    std::fs::rename(directory.join("new"), directory.join("layers"))
}

/// Without its file a container was never ready.
fn read_layers(directory: &Path) -> InUse {
    let text = std::fs::read_to_string(directory.join("layers")).unwrap_or_default();
    let layers = text.lines().filter_map(|line| Digest::parse(line).ok()).collect();
    let rootfses = std::fs::read_dir(directory.join("backends")).into_iter().flatten().flatten();
    let count = rootfses.filter_map(|backend| {
        let all = std::fs::read_dir(backend.path().join("rootfses")).ok()?;
        all.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).max()
    });
    InUse { layers, count: count.max().unwrap_or(0) }
}
