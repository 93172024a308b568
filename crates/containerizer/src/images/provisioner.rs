//! Root file systems of containers.
//!
//! ```text
//! <work_dir>/provisioner/containers/<id>/
//!     layers                                 layers in use, one digest a line; written before anything is mounted
//!     backends/<backend>/rootfses/<number>
//!     backends/overlay/scratch/<number>/{upperdir, workdir}
//! ```

use super::backend::Backend;
use super::blob::blocking;
use super::credentials::Credentials;
use super::digest::Digest;
use super::manifest::ImageConfig;
use super::mounts;
use super::options::ProvisionerOptions;
use super::pull::{Puller, Source};
use super::reference::Reference;
use super::store::Store;
use crate::download::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::RwLock;
use wire::v1;

/// A root file system that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// Where it is, a mount point; gone after [`Provisioner::destroy`].
    pub rootfs: PathBuf,
    /// How the image wants to be run.
    pub config: ImageConfig,
}

/// Provides containers with root file systems.
#[derive(Debug)]
pub struct Provisioner {
    containers: PathBuf,
    backend: Backend,
    store: Arc<Store>,
    puller: Puller,
    in_use: Mutex<BTreeMap<String, InUse>>,
    /// Held for writing while images are removed.
    gate: RwLock<()>,
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
        let source = Source::parse(&options.docker_registry)?;
        let backend = Backend::choose(options.backend.as_deref(), &directory)?;
        let store = Arc::new(Store::open(&options.docker_store_dir, backend.form())?);
        let client = Client::new(options.docker_stall_timeout);
        let puller = Puller::new(store.clone(), source, options.docker_config.clone(), client);
        tracing::info!(backend = backend.name(), "root file systems are made of images");
        Ok(Arc::new(Self {
            containers,
            backend,
            store,
            puller,
            in_use: Mutex::new(BTreeMap::new()),
            gate: RwLock::new(()),
            gc: options.gc.clone(),
        }))
    }

    fn in_use(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, InUse>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the containers of a former process, and removes what there is of others. Called once, first.
    ///
    /// # Errors
    /// When something can't be removed or read.
    pub async fn recover(&self, known: &BTreeSet<String>) -> Result<(), String> {
        let entries = std::fs::read_dir(&self.containers)
            .map_err(|e| cannot("read", &self.containers, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| cannot("read", &self.containers, &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if known.contains(&name) {
                let found = read_layers(&entry.path());
                self.in_use().insert(name, found);
            } else {
                self.remove(entry.path()).await?;
            }
        }
        Ok(())
    }

    /// Makes a root file system for a container out of an image, which is pulled if need be. A container may have
    /// several. When it fails, [`Self::destroy`] removes what is left.
    ///
    /// # Errors
    /// With a text for the framework.
    pub async fn provision(
        &self,
        container_id: &str,
        image: &v1::Image,
    ) -> Result<Provisioned, String> {
        let (reference, credentials) = docker(image)?;
        let _open = self.gate.read().await;
        let found = self.puller.get(&reference, image.cached(), credentials).await?;
        let directory = self.containers.join(container_id);
        let number = {
            let mut all = self.in_use();
            let in_use = all.entry(container_id.to_owned()).or_default();
            in_use.layers.extend(found.layers.iter().cloned());
            in_use.count += 1;
            write_layers(&directory, &in_use.layers)
                .map_err(|e| cannot("write", &directory, &e))?;
            in_use.count
        };
        let layers: Vec<PathBuf> =
            found.layers.iter().map(|layer| self.store.layer_path(layer)).collect();
        let backend = self.backend;
        let own = directory.join("backends").join(backend.name());
        let rootfs = own.join("rootfses").join(number.to_string());
        let scratch = own.join("scratch").join(number.to_string());
        let config = found.config.clone();
        blocking(move || {
            backend.provision(&layers, &rootfs, &scratch)?;
            Ok(Provisioned { rootfs, config })
        })
        .await
    }

    /// Removes the root file systems of a container that ended; idempotent.
    ///
    /// # Errors
    /// With what is left; it is tried again when the agent starts.
    pub async fn destroy(&self, container_id: &str) -> Result<(), String> {
        if self.in_use().remove(container_id).is_none() {
            return Ok(());
        }
        self.remove(self.containers.join(container_id)).await
    }

    async fn remove(&self, directory: PathBuf) -> Result<(), String> {
        blocking(move || {
            // Never through a mount into what belongs to others.
            mounts::unmount_all(&directory).map_err(|e| cannot("unmount", &directory, &e))?;
            match std::fs::remove_dir_all(&directory) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(cannot("remove", &directory, &e))
                }
                _ => Ok(()),
            }
        })
        .await
    }

    /// Removes images that are neither excluded nor in use by a container.
    ///
    /// # Errors
    /// While an image is pulled, or when the store is shared with another agent.
    pub async fn prune(&self, excluded: &[v1::Image]) -> Result<(), String> {
        let mut keep = BTreeSet::new();
        for image in excluded.iter().filter(|image| image.r#type() == v1::image::Type::Docker) {
            let name = image.docker.as_ref().map(|d| d.name.as_str()).unwrap_or_default();
            keep.insert(Reference::parse(name)?.to_string());
        }
        let busy = || "Cannot prune and pull at the same time".to_owned();
        let _closed = match self.gate.try_write() {
            Ok(closed) => closed,
            Err(_) if self.puller.is_pulling() => return Err(busy()),
            Err(_) => self.gate.write().await,
        };
        let used: BTreeSet<Digest> =
            self.in_use().values().flat_map(|c| c.layers.iter().cloned()).collect();
        let store = self.store.clone();
        blocking(move || store.prune(&keep, &used)).await
    }

    /// Removes images whenever the disk is fuller than `--image_gc_config` allows. Never ends if that is given.
    pub async fn collect(self: Arc<Self>) {
        let Some(config) = self.gc.clone() else { return };
        loop {
            tokio::time::sleep(config.interval).await;
            match self.store.disk_usage() {
                Ok(usage) if config.headroom + usage > 1.0 => {
                    tracing::info!(usage, "images are removed: the disk is full");
                    if let Err(error) = self.prune(&config.excluded).await {
                        tracing::warn!(%error, "images are not removed");
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "cannot tell how full the disk of images is"),
            }
        }
    }

    /// Images that stay when the operator has others removed: those of `--image_gc_config`.
    pub fn excluded(&self) -> &[v1::Image] {
        self.gc.as_ref().map_or(&[], |gc| &gc.excluded)
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
        let data: &[u8] = data.ok_or("'Image.Docker.config' must be a secret of the type VALUE")?;
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
