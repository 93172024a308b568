//! Getting images into the store, from a registry or from a directory of archives. What several containers want at the
//! same time is fetched once.

use super::blob::{blocking, download, partial_path};
use super::credentials::Credentials;
use super::digest::Digest;
use super::flights::Flights;
use super::hadoop::Hadoop;
use super::local;
use super::manifest::{CONFIG_MAX, Descriptor, ImageConfig};
use super::reference::Reference;
use super::registry::{DefaultRegistry, Repository};
use super::store::{Store, StoredImage};
use crate::download::Client;
use base::Timings;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Layers that are downloaded and unpacked at the same time, of all images together.
const LAYERS_AT_ONCE: usize = 4;

/// Where images come from that are not in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Registry(DefaultRegistry),
    /// Archives of `docker save`, and directories.
    Directory(PathBuf),
    /// Archives that the Hadoop client gets.
    Hadoop(Hadoop),
}

impl Source {
    /// Understands `--docker_registry`.
    pub(crate) fn parse(text: &str, hadoop_home: Option<&str>) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file://").or(text.starts_with('/').then_some(text)) {
            return Ok(Self::Directory(PathBuf::from(path)));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return DefaultRegistry::parse(text).map(Self::Registry);
        }
        if text.starts_with("hdfs://") {
            return Ok(Self::Hadoop(Hadoop::new(text, hadoop_home)));
        }
        Err(format!(
            "--docker_registry='{text}': expected https://host[:port], http://host[:port], or the absolute path or \
             hdfs:// URI of a directory with archives"
        ))
    }
}

/// Pulls images.
#[derive(Debug)]
pub(crate) struct Puller {
    shared: Arc<Shared>,
    images: Flights<Arc<StoredImage>>,
    /// Pulls that are not finished.
    pulling: AtomicUsize,
    /// How long they took.
    times: Arc<Mutex<Timings>>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    source: Source,
    credentials: Credentials,
    client: Client,
    layers: Flights<()>,
    slots: Semaphore,
}

impl Puller {
    pub(crate) fn new(
        store: Arc<Store>,
        source: Source,
        credentials: Credentials,
        client: Client,
    ) -> Self {
        let layers = Flights::new();
        let slots = Semaphore::new(LAYERS_AT_ONCE);
        let shared = Shared { store, source, credentials, client, layers, slots };
        let (images, pulling) = (Flights::new(), AtomicUsize::new(0));
        Self { shared: Arc::new(shared), images, pulling, times: Arc::default() }
    }

    /// An image, pulled if it is not in the store, or if `cached` is false.
    pub(crate) async fn get(
        &self,
        reference: &Reference,
        cached: bool,
        credentials: Option<Credentials>,
    ) -> Result<Arc<StoredImage>, String> {
        let name = reference.to_string();
        if let Some(image) = self.shared.store.image(&name).filter(|_| cached) {
            return Ok(image);
        }
        let _pulling = Counted::new(&self.pulling);
        let work = || {
            let (shared, reference) = (self.shared.clone(), reference.clone());
            let (credentials, times) = (credentials.clone(), self.times.clone());
            async move {
                tracing::info!(image = %reference, "an image is pulled");
                let begun = std::time::Instant::now();
                let image = shared.pull(&reference, credentials).await;
                let took = begun.elapsed();
                times.lock().unwrap_or_else(PoisonError::into_inner).record(took);
                let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                match &image {
                    Ok(_) => tracing::info!(image = %reference, ms, "an image was pulled"),
                    Err(error) => {
                        tracing::warn!(image = %reference, ms, %error, "an image was not pulled")
                    }
                }
                image
            }
        };
        self.images
            .join(&name, work)
            .await
            .map_err(|text| format!("cannot pull the image {name}: {text}"))
    }

    /// How long pulls took, also those that failed.
    pub(crate) fn times(&self) -> Timings {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether any image is being pulled.
    pub(crate) fn is_pulling(&self) -> bool {
        self.pulling.load(Ordering::Acquire) > 0
    }
}

impl Shared {
    async fn pull(
        self: Arc<Self>,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Arc<StoredImage>, String> {
        match &self.source {
            Source::Directory(directory) => {
                let (store, directory, reference) =
                    (self.store.clone(), directory.clone(), reference.clone());
                let stop = Stop::default();
                let flag = stop.0.clone();
                blocking(move || local::pull(&directory, &reference, &store, &flag)).await
            }
            Source::Hadoop(hadoop) => {
                let fault = |e: std::io::Error| format!("cannot make a directory for it: {e}");
                let (store, reference) = (self.store.clone(), reference.clone());
                let staging = store.stage().map_err(fault)?;
                let path = hadoop.fetch(&reference, staging.path()).await?;
                let stop = Stop::default();
                let flag = stop.0.clone();
                let taken = blocking(move || {
                    let taken = local::take(&path, false, &reference, &store, &flag);
                    drop(staging);
                    taken
                });
                taken.await
            }
            Source::Registry(default) => {
                let credentials = credentials.as_ref().unwrap_or(&self.credentials);
                let repository = Repository::of(reference, default, credentials, &self.client);
                let repository = Arc::new(repository);
                self.clone().pull_from(repository, reference).await
            }
        }
    }

    async fn pull_from(
        self: Arc<Self>,
        repository: Arc<Repository>,
        reference: &Reference,
    ) -> Result<Arc<StoredImage>, String> {
        let (config, layers) = repository.manifest(reference).await?;
        let config_digest = config.digest.clone();
        let config = self.config(&repository, &config).await?;
        if let Some(other) =
            config.architecture.as_deref().filter(|a| *a != super::manifest::architecture())
        {
            tracing::warn!(image = %reference, architecture = other, "an image says that it is for another architecture");
        }
        if config.diff_ids.len() != layers.len() {
            return Err(format!(
                "its manifest has {} layers, its config {}: it is corrupt",
                layers.len(),
                config.diff_ids.len()
            ));
        }
        let mut tasks = JoinSet::new();
        for (diff_id, layer) in config.diff_ids.iter().cloned().zip(layers) {
            if !self.store.has_layer(&diff_id) {
                tasks.spawn(self.clone().layer(repository.clone(), layer, diff_id));
            }
        }
        // The first failure ends the others.
        while let Some(done) = tasks.join_next().await {
            done.map_err(|e| e.to_string())??;
        }
        let layers = super::stacked(&config.diff_ids);
        let image = StoredImage { reference: reference.to_string(), config_digest, config, layers };
        let store = self.store.clone();
        blocking(move || store.add_image(image)).await
    }

    async fn config(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<ImageConfig, String> {
        if let Some(config) = self.store.config(&blob.digest) {
            return Ok(config);
        }
        let answer = repository.blob(&blob.digest, 0).await?;
        if answer.status != http::StatusCode::OK {
            return Err(repository.refusal(&format!("the config {}", blob.digest), answer).await);
        }
        let bytes = answer.bytes(CONFIG_MAX).await.map_err(|e| format!("failed to {e}"))?;
        if !blob.digest.matches(&bytes) {
            return Err(format!(
                "what {} gave as {} is something else: it is corrupt",
                repository.shown(),
                blob.digest
            ));
        }
        let config =
            ImageConfig::parse(&bytes).map_err(|e| format!("the config of the image {e}"))?;
        let (store, digest) = (self.store.clone(), blob.digest.clone());
        blocking(move || store.add_config(&digest, &bytes)).await?;
        Ok(config)
    }

    async fn layer(
        self: Arc<Self>,
        repository: Arc<Repository>,
        blob: Descriptor,
        diff_id: Digest,
    ) -> Result<(), String> {
        let name = diff_id.to_string();
        let work = || self.clone().fetch(repository.clone(), blob.clone(), diff_id.clone());
        self.layers.join(&name, work).await
    }

    async fn fetch(
        self: Arc<Self>,
        repository: Arc<Repository>,
        blob: Descriptor,
        diff_id: Digest,
    ) -> Result<(), String> {
        let _slot = self.slots.acquire().await.map_err(|e| e.to_string())?;
        if self.store.has_layer(&diff_id) {
            return Ok(());
        }
        let path = partial_path(&self.store.partial(), &blob.digest);
        download(&repository, &blob, &path).await?;
        let stop = Stop::default();
        let (store, flag) = (self.store.clone(), stop.0.clone());
        blocking(move || {
            let file =
                File::open(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            let added = store.add_layer(&diff_id, file, &flag);
            // Either it is in the store, or it is of no use, unless this was only given up.
            if !flag.load(Ordering::Relaxed) {
                let _ = std::fs::remove_file(&path);
            }
            added
        })
        .await
    }
}

/// Ends work on another thread when nobody waits for it any more.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
