//! Fetching of a command's URIs into the sandbox (spec/agent.md 5).
//!
//! The work is done by a program of its own for each container (`crates/fetcher`), as the container's user; here are the
//! books of the cache, and what a URI means.

mod cache;
mod directory;
mod session;
mod uri;

use crate::ContainerSpec;
use crate::isolation::Root;
use crate::user::User;
use cache::Cache;
use session::Session;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use wire::internal::{FetchRequest, FetchUser};
use wire::v1;

/// Settings.
#[derive(Debug, Clone)]
pub struct FetcherOptions {
    /// What fetches; started under the name `mesos-fetcher`.
    pub program: PathBuf,
    /// `--fetcher_cache_dir`, absolute.
    pub cache_dir: PathBuf,
    /// `--fetcher_cache_size`, in bytes.
    pub cache_size: u64,
    /// `--fetcher_stall_timeout`.
    pub stall_timeout: Duration,
    /// `--frameworks_home`: what relative paths are relative to.
    pub frameworks_home: Option<String>,
    /// `--hadoop_home`.
    pub hadoop_home: Option<String>,
}

impl FetcherOptions {
    /// The default settings.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            cache_dir: cache_dir.into(),
            cache_size: 2 << 30,
            stall_timeout: Duration::from_secs(60),
            frameworks_home: None,
            hadoop_home: None,
        }
    }
}

/// Figures of the fetcher (spec/agent.md 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetcherFigures {
    /// Containers for which everything was fetched; those without URIs count, as with the peer.
    pub succeeded: u64,
    /// Containers for which something was not.
    pub failed: u64,
    /// Most bytes that the cache may hold.
    pub cache_total: u64,
    /// Bytes that it holds.
    pub cache_used: u64,
}

/// What fetches.
#[derive(Debug)]
pub struct Fetcher {
    options: FetcherOptions,
    cache: Option<Arc<Cache>>,
    /// The cache's directory is nobody else's as long as this is open.
    _held: Option<File>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// What is to be fetched for a container.
#[derive(Debug)]
pub(crate) struct Wanted {
    container_id: String,
    directory: PathBuf,
    user: Option<String>,
    /// Users may be those of an image.
    rootfs: Option<Root>,
    image_user: Option<User>,
    command: v1::CommandInfo,
}

impl Wanted {
    /// What a container wants, if it is something.
    pub(crate) fn of(spec: &ContainerSpec) -> Option<Self> {
        if spec.command.uris.is_empty() {
            return None;
        }
        let command = v1::CommandInfo { uris: spec.command.uris.clone(), ..Default::default() };
        let (container_id, user) = (spec.container_id.clone(), spec.user.clone());
        let rootfs = spec.rootfs.clone();
        let directory = PathBuf::from(&spec.directory);
        let image_user = spec.image_user.clone();
        Some(Self { container_id, directory, user, rootfs, image_user, command })
    }
}

impl Fetcher {
    /// Empties the cache. If there can be none, everything is fetched into the sandboxes.
    pub fn new(options: FetcherOptions) -> Self {
        let held = directory::take(&options.cache_dir)
            .inspect_err(|error| {
                tracing::warn!(%error, "URIs are fetched without a cache; see --fetcher_cache_dir");
            })
            .ok();
        let cache =
            held.is_some().then(|| Cache::new(options.cache_dir.clone(), options.cache_size));
        Self {
            options,
            cache,
            _held: held,
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn figures(&self) -> FetcherFigures {
        FetcherFigures {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            cache_total: self.options.cache_size,
            cache_used: self.cache.as_ref().map_or(0, |cache| cache.used()),
        }
    }

    /// Fetches what a container wants into its sandbox, which is there; until it is cancelled.
    pub(crate) async fn fetch(
        &self,
        wanted: Option<Wanted>,
        cancel: &Notify,
    ) -> Result<(), String> {
        let fetched = match wanted {
            Some(wanted) => crate::phases::timed("fetch", self.run(&wanted, cancel)).await,
            None => Ok(()),
        };
        let count = if fetched.is_ok() { &self.succeeded } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        fetched
    }

    async fn run(&self, wanted: &Wanted, cancel: &Notify) -> Result<(), String> {
        let items = uri::items(&wanted.command, self.options.frameworks_home.as_deref())
            .map_err(|e| format!("Could not fetch: {e}"))?;
        let user = match (&wanted.image_user, &wanted.user) {
            (Some(user), _) => Some(user.clone()),
            (None, Some(name)) => Some(User::named(name, wanted.rootfs.as_ref())?),
            (None, None) => None,
        };
        let log = logs(&wanted.directory, user.as_ref())?;
        let name = wanted.user.as_deref();
        let cache = self.cache.as_ref().filter(|_| name.is_none_or(|name| !name.contains('/')));
        // Caches belong to users of this host.
        let cache = cache.filter(|_| wanted.image_user.is_none());
        let cache_directory = cache.map(|cache| cache.directory(name).display().to_string());
        let request = FetchRequest {
            directory: wanted.directory.display().to_string(),
            user: user.map(|user| FetchUser { uid: user.uid, gid: user.gid, groups: user.groups }),
            cache_directory,
            hadoop: hadoop_client(self.options.hadoop_home.as_deref()),
            stall_timeout_nanos: u64::try_from(self.options.stall_timeout.as_nanos())
                .unwrap_or(u64::MAX),
            items,
        };
        let environment = self.environment(&wanted.directory);
        let mut session = Session::start(
            &self.options.program,
            &environment,
            log,
            cache.cloned(),
            wanted.user.clone(),
        )?;
        let status = tokio::select! {
            status = session.fetch(request) => status?,
            () = cancel.notified() => {
                session.kill().await;
                return Err("Container destroyed during fetching".to_owned());
            }
        };
        if status.success() {
            return Ok(());
        }
        tracing::warn!(container = %wanted.container_id, "not all URIs could be fetched; the sandbox's stderr says why");
        Err(format!(
            "Failed to fetch all URIs for container '{}': {}",
            wanted.container_id,
            shown(status)
        ))
    }

    /// The agent's variables without its settings; the mark by which strays of a sandbox are found is among them.
    fn environment(&self, sandbox: &Path) -> BTreeMap<String, String> {
        let is_setting = |name: &str| name.starts_with("MESOS_") || name.starts_with("LIBPROCESS_");
        let own = std::env::vars_os()
            .filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        let mut environment: BTreeMap<String, String> =
            own.filter(|(name, _)| !is_setting(name)).collect();
        if let Some(home) = &self.options.hadoop_home {
            environment.insert("HADOOP_HOME".to_owned(), home.clone());
        }
        environment.insert("MESOS_SANDBOX".to_owned(), sandbox.display().to_string());
        environment
    }
}

/// The Hadoop client of an installation, which may be that of `HADOOP_HOME`, else that in PATH.
pub(crate) fn hadoop_client(home: Option<&str>) -> String {
    let home = home.map(str::to_owned).or_else(|| std::env::var("HADOOP_HOME").ok());
    home.map_or_else(
        || "hadoop".to_owned(),
        |home| format!("{}/bin/hadoop", home.trim_end_matches('/')),
    )
}

/// Makes the sandbox's `stdout` and `stderr`, for the user; the second is where fetching is told of.
fn logs(sandbox: &Path, user: Option<&User>) -> Result<File, String> {
    let open = |name: &str| {
        let mut options = File::options();
        options.create(true).append(true).mode(0o644);
        // Nobody reads what somebody may have put in its place.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(sandbox.join(name)).and_then(|file| file.set_len(0).map(|()| file));
        let file = file.map_err(|e| format!("Failed to create '{name}' file: {e}"))?;
        if let Some(user) = user {
            std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid)).map_err(|e| {
                format!("Failed to chown '{name}' to the user with id {}: {e}", user.uid)
            })?;
        }
        Ok::<_, String>(file)
    };
    open("stdout")?;
    open("stderr")
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(libc::SIGKILL)) => "terminated with signal Killed".to_owned(),
        (None, signal) => format!("terminated with signal {}", signal.unwrap_or(0)),
    }
}
