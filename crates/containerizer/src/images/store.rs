//! The store: layers by the digest of their unpacked content, and which image has which.
//!
//! ```text
//! staging/<random>           half-made things; removed at the start
//! partial/<digest>           downloads that are not complete
//! layers/<digest>/rootfs[.overlay]
//! configs/<digest>           descriptions of images
//! images/<hash of the reference>.json
//! lock                       held (shared) by every process that uses the store
//! ```
//!
//! A layer or record gets its name in one step, after it is on the disk; an image's record comes last. So whatever has
//! its name is whole.

use super::digest::{Digest, HashingReader};
use super::manifest::{CONFIG_MAX, ImageConfig};
use super::whiteout::Form;
use super::{compression, layer};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest record.
const RECORD_MAX: u64 = 1 << 20;

/// An image that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredImage {
    /// Its name.
    pub reference: String,
    /// Digest of its description.
    pub config_digest: Digest,
    /// Its description.
    pub config: ImageConfig,
    /// Its layers, the lowest first, each once.
    pub layers: Vec<Digest>,
}

/// An image's record on the disk.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    reference: String,
    config: String,
    layers: Vec<String>,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    form: Form,
    images: Mutex<BTreeMap<String, Arc<StoredImage>>>,
    counter: AtomicU64,
    lock: File,
}

/// A directory that is removed unless it is taken.
#[derive(Debug)]
pub(crate) struct Staging(PathBuf);

impl Staging {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Store {
    /// Opens a store, makes it if there is none, and removes what a former process left half-made.
    pub(crate) fn open(directory: &Path, form: Form) -> Result<Self, String> {
        let fault = |path: &Path, e: io::Error| {
            format!("cannot use the store of images {}: {e}", path.display())
        };
        let make = |path: &Path| {
            // Programs of images that change their user are for nobody else on this host.
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(|e| fault(path, e))
        };
        make(directory)?;
        for name in ["staging", "partial", "layers", "configs", "images"] {
            make(&directory.join(name))?;
        }
        let path = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| fault(&path, e))?;
        let store = Self {
            directory: directory.to_owned(),
            form,
            images: Mutex::new(BTreeMap::new()),
            counter: AtomicU64::new(0),
            lock,
        };
        if store.is_alone() {
            store.empty("staging").map_err(|e| fault(&directory.join("staging"), e))?;
        }
        store.share().map_err(|e| fault(&path, e))?;
        store.read_images().map_err(|e| fault(&directory.join("images"), e))?;
        Ok(store)
    }

    /// Whether no other process uses the store; until [`Self::share`] none can begin to.
    fn is_alone(&self) -> bool {
        rustix::fs::flock(self.lock.as_fd(), rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .is_ok()
    }

    fn share(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(self.lock.as_fd(), rustix::fs::FlockOperation::LockShared)?)
    }

    fn empty(&self, name: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(self.directory.join(name))? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(())
    }

    fn read_images(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(self.directory.join("images"))? {
            let path = entry?.path();
            match self.read_image(&path) {
                Ok(image) => {
                    self.images().insert(image.reference.clone(), Arc::new(image));
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the record of an image is not used");
                    let _ = std::fs::remove_file(&path);
                }
            }
        }
        Ok(())
    }

    fn read_image(&self, path: &Path) -> Result<StoredImage, String> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|e| e.to_string())?;
        file.take(RECORD_MAX).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
        if record.version != 1 {
            return Err(format!("its version is {}", record.version));
        }
        let config_digest = Digest::parse(&record.config)?;
        let layers: Result<Vec<_>, _> = record.layers.iter().map(|l| Digest::parse(l)).collect();
        let config = self.read_config(&config_digest)?;
        Ok(StoredImage { reference: record.reference, config_digest, config, layers: layers? })
    }

    fn read_config(&self, digest: &Digest) -> Result<ImageConfig, String> {
        let bytes =
            std::fs::read(self.config_path(digest)).map_err(|e| format!("its config: {e}"))?;
        if !digest.matches(&bytes) {
            return Err("its config is corrupt".to_owned());
        }
        ImageConfig::parse(&bytes).map_err(|e| format!("its config {e}"))
    }

    fn images(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<StoredImage>>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An image that is there with all its layers.
    pub(crate) fn image(&self, reference: &str) -> Option<Arc<StoredImage>> {
        let image = self.images().get(reference).cloned();
        image.filter(|image| image.layers.iter().all(|layer| self.has_layer(layer)))
    }

    /// A description that is there.
    pub(crate) fn config(&self, digest: &Digest) -> Option<ImageConfig> {
        self.read_config(digest).ok()
    }

    pub(crate) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer_path(diff_id).is_dir()
    }

    /// The content of a layer.
    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join("layers").join(diff_id.file_name()).join(self.form.directory())
    }

    fn config_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("configs").join(digest.file_name())
    }

    /// Where downloads are kept until they are complete.
    pub(crate) fn partial(&self) -> PathBuf {
        self.directory.join("partial")
    }

    /// Unpacks a layer, perhaps compressed, which must have the digest `diff_id` when unpacked. Blocks.
    pub(crate) fn add_layer(
        &self,
        diff_id: &Digest,
        compressed: impl Read + Send,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let fault = |e: io::Error| format!("cannot unpack the layer {diff_id}: {e}");
        let staging = self.stage().map_err(fault)?;
        let content = staging.0.join(self.form.directory());
        std::fs::DirBuilder::new().mode(0o755).create(&content).map_err(fault)?;
        let archive =
            compression::decompress(compressed).map_err(|e| format!("the layer {diff_id}: {e}"))?;
        let mut hashing = HashingReader::new(archive, diff_id.hasher());
        layer::unpack(&mut hashing, &content, self.form, stop)
            .map_err(|e| format!("the layer {diff_id} {e}"))?;
        let found = hashing.finish();
        if found != *diff_id {
            return Err(format!(
                "the layer {diff_id} has the digest {found} when unpacked: it is corrupt"
            ));
        }
        let directory = File::open(&content).map_err(fault)?;
        rustix::fs::syncfs(directory.as_fd()).map_err(|e| fault(e.into()))?;
        let parent = self.directory.join("layers").join(diff_id.file_name());
        std::fs::create_dir_all(&parent).map_err(fault)?;
        match std::fs::rename(&content, self.layer_path(diff_id)) {
            // Another process was faster.
            Err(_) if self.has_layer(diff_id) => Ok(()),
            other => other.and_then(|()| sync_directory(&parent)).map_err(fault),
        }
    }

    /// Puts the description of an image into the store. Blocks.
    pub(crate) fn add_config(&self, digest: &Digest, bytes: &[u8]) -> Result<(), String> {
        self.write(&self.config_path(digest), bytes)
            .map_err(|e| format!("cannot keep the image's config: {e}"))
    }

    /// Makes it known that an image is there, now that its layers and its description are. Blocks.
    pub(crate) fn add_image(&self, image: StoredImage) -> Result<Arc<StoredImage>, String> {
        let fault = |e: io::Error| format!("cannot keep the image {}: {e}", image.reference);
        let record = Record {
            version: 1,
            reference: image.reference.clone(),
            config: image.config_digest.to_string(),
            layers: image.layers.iter().map(Digest::to_string).collect(),
        };
        let bytes = serde_json::to_vec(&record).map_err(|e| fault(e.into()))?;
        self.write(&self.image_path(&image.reference), &bytes).map_err(fault)?;
        let image = Arc::new(image);
        self.images().insert(image.reference.clone(), image.clone());
        Ok(image)
    }

    fn image_path(&self, reference: &str) -> PathBuf {
        let name = Digest::of(reference.as_bytes()).file_name();
        self.directory.join("images").join(format!("{name}.json"))
    }

    /// A file that is whole on the disk when it has its name.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let staging = self.stage()?;
        let new = staging.0.join("new");
        let mut file = File::create_new(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_directory(path.parent().unwrap_or(&self.directory))
    }

    /// A directory for what is half-made.
    pub(crate) fn stage(&self) -> io::Result<Staging> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let path =
                self.directory.join("staging").join(format!("{}-{number}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Staging(path)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes all images but those whose names are in `keep`, and all layers that neither they have nor `used`. Blocks.
    ///
    /// # Errors
    /// When another process uses the store: what its containers have is not known here.
    pub(crate) fn prune(
        &self,
        keep: &BTreeSet<String>,
        used: &BTreeSet<Digest>,
    ) -> Result<(), String> {
        let fault =
            |e: io::Error| format!("cannot prune the images in {}: {e}", self.directory.display());
        if !self.is_alone() {
            self.share().map_err(fault)?;
            return Err(format!(
                "the images in {} are used by another agent; give each agent its own --docker_store_dir",
                self.directory.display()
            ));
        }
        let pruned = self.prune_alone(keep, used).map_err(fault);
        self.share().map_err(fault)?;
        pruned
    }

    fn prune_alone(&self, keep: &BTreeSet<String>, used: &BTreeSet<Digest>) -> io::Result<()> {
        // Records go first: an image that is known has its layers.
        let gone: Vec<Arc<StoredImage>> = self
            .images()
            .extract_if(.., |name, _| !keep.contains(name))
            .map(|(_, image)| image)
            .collect();
        for image in &gone {
            tracing::info!(image = %image.reference, "an image is removed");
            remove_file(&self.image_path(&image.reference))?;
        }
        sync_directory(&self.directory.join("images"))?;
        let (mut layers, mut configs) = (used.clone(), BTreeSet::new());
        for image in self.images().values() {
            layers.extend(image.layers.iter().cloned());
            configs.insert(image.config_digest.clone());
        }
        let staging = self.stage()?;
        self.remove_others("layers", &layers, &staging)?;
        self.remove_others("configs", &configs, &staging)?;
        self.remove_others("partial", &BTreeSet::new(), &staging)
    }

    /// In one step each, then bit by bit.
    fn remove_others(
        &self,
        name: &str,
        keep: &BTreeSet<Digest>,
        staging: &Staging,
    ) -> io::Result<()> {
        for entry in std::fs::read_dir(self.directory.join(name))? {
            let entry = entry?;
            let digest = entry.file_name().to_str().and_then(Digest::of_file_name);
            if digest.is_none_or(|digest| !keep.contains(&digest)) {
                std::fs::rename(
                    entry.path(),
                    staging.0.join(format!("{name}-{}", entry.file_name().display())),
                )?;
            }
        }
        Ok(())
    }

    /// The part of the file system that is in use, from 0 to 1.
    pub(crate) fn disk_usage(&self) -> io::Result<f64> {
        let space = rustix::fs::statvfs(&self.directory)?;
        let used = space.f_blocks.saturating_sub(space.f_bavail);
        Ok(used as f64 / space.f_blocks.max(1) as f64)
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Reads a description that may be too long.
pub(crate) fn read_config(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader.take(CONFIG_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() > CONFIG_MAX {
        Err(format!("it is longer than {CONFIG_MAX} bytes"))
    } else {
        Ok(bytes)
    }
}
