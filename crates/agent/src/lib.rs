//! The agent's process: sockets, the store and the containerizer around the core, and no decisions.
//!
//! One task owns the core (`engine`); `routes` brings it requests of executors; a task for the link dials the
//! leading master again and again; the store writes on a thread of its own. Readers get snapshots.
#![forbid(unsafe_code)]

mod attach;
mod container_calls;
mod container_list;
pub mod detect;
pub mod disks;
mod endpoints;
mod engine;
mod exclusive;
mod former;
mod frames;
mod garbage;
mod link;
mod load;
mod media;
mod meters;
mod metrics;
mod operator;
mod prometheus;
mod routes;
mod session;
mod shared;
mod statistics;
mod store;
mod traces;
mod v0;
mod volumes;

use containerizer::docker::Docker;
use containerizer::{
    Composing, Containerizer, Exited, Fetcher, Found, Member, Mesos, MesosOptions,
};
pub use containerizer::{FetcherOptions, Logs, SecretResolver, clock, docker, images, isolation};
use detector::{Detector, MasterName};
pub use endpoints::ENDPOINTS;
use http_api::logging::LogLevel;
use http_api::otlp::Endpoint;
use http_api::server::{self, Limits};
use shared::Shared;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Settings of the process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the masters are.
    pub master: MasterName,
    /// `--zk_session_timeout`.
    pub zk_session_timeout: std::time::Duration,
    /// `--runtime_dir`, absolute.
    pub runtime_dir: PathBuf,
    /// `--http_heartbeat_interval`.
    pub http_heartbeat_interval: Duration,
    /// How logs of containers are rotated, if they are.
    pub logs: Option<Logs>,
    /// Whether a damaged store is refused (`--strict`).
    pub strict: bool,
    /// Whether `--containerizers` has `mesos`.
    pub mesos: bool,
    /// Settings of `docker`, if `--containerizers` has that.
    pub docker: Option<docker::DockerOptions>,
    /// Settings of the core. A port of 0 is filled when the port is known.
    pub core: agent_core::contract::Config,
    /// Log file to be shown as `/slave/log`.
    pub log_file: Option<PathBuf>,
    /// Soft limit on open files for containers; None: this process's own.
    pub open_files: Option<u64>,
    /// `--isolation`.
    pub isolation: isolation::Selection,
    /// Images that containers may have; None: they have none.
    pub images: Option<images::ProvisionerOptions>,
    /// Settings of the isolators.
    pub isolation_settings: isolation::Settings,
    /// Who knows secrets that are named; None: nobody.
    pub secrets: Option<SecretResolver>,
    /// How URIs are fetched.
    pub fetcher: FetcherOptions,
    /// The logging level.
    pub log_level: Arc<LogLevel>,
    /// `--otlp_endpoint`: who is told of launches.
    pub otlp: Option<Endpoint>,
    /// Limits on connections.
    pub limits: Limits,
}

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not to be had.
    #[error("cannot bind {address}: {source}; another agent? try --port=0")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent has the directory.
    #[error(
        "another agent (process {pid}) uses {directory}; stop it, or give each agent a {flag} of its own"
    )]
    InUse {
        /// The directory.
        directory: String,
        /// Its process id.
        pid: String,
        /// The flag that names the directory.
        flag: &'static str,
    },
    /// The directory can't be locked.
    #[error("failed to lock {path}: {source}; see {flag}")]
    Lock {
        /// The lock file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
        /// The flag that names the directory.
        flag: &'static str,
    },
    /// The store is not to be had.
    #[error("failed to open the agent's store below {work_dir}: {source}; see --work_dir")]
    Store {
        /// The work directory.
        work_dir: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store can be read only in part.
    #[error(
        "what the agent kept in {log} is damaged: {places} places can't be read, the first at byte {at}, {readable} records can; start it with --no-strict to go on with those (the damaged file is kept beside, and what it said of tasks, reservations or volumes may be lost), or remove {meta} to start a new agent without any of them"
    )]
    Damaged {
        /// The log.
        log: String,
        /// Places that can't be read.
        places: usize,
        /// Where the first is.
        at: usize,
        /// Records that can be read.
        readable: usize,
        /// The directory with the log.
        meta: String,
    },
    /// A containerizer can't do its work.
    #[error("the containerizer '{name}' cannot be used: {text}")]
    Containerizer {
        /// Its name in `--containerizers`.
        name: &'static str,
        /// Why.
        text: String,
    },
    /// Containers of before can't be found again.
    #[error("failed to find the containers of before: {0}")]
    Containers(String),
}

/// An agent that runs.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
    engine: JoinHandle<Result<String, String>>,
    /// Its directories are nobody else's as long as these are open.
    _locks: [File; 2],
}

impl Running {
    /// Ends the process' part; containers go on, unless they die with the agent.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.engine.await;
    }

    /// Asks it to unregister, end all tasks and stop.
    pub async fn unregister(&self) {
        let _ = self.shared.inputs.send(agent_core::contract::Input::Unregister).await;
    }

    /// Waits until it ends by itself; says why.
    ///
    /// # Errors
    /// Why it can't go on.
    pub async fn ended(&mut self) -> Result<String, String> {
        (&mut self.engine).await.unwrap_or_else(|e| Err(format!("the agent's core failed: {e}")))
    }
}

/// Everything the engine needs besides the core.
struct Outside {
    containerizer: Arc<dyn Containerizer>,
    exits: mpsc::UnboundedReceiver<Exited>,
    store: store::Store,
    records: Vec<wire::internal::AgentRecord>,
    /// Places of the store that could not be read, and where it was kept.
    damage: Option<(usize, String)>,
    found: Vec<Found>,
}

/// Makes all containerizers that are wanted.
async fn containerizers(
    config: &Config,
) -> Result<(Arc<Composing>, mpsc::UnboundedReceiver<Exited>), StartError> {
    let mut members = Vec::new();
    let (mut fetcher, mut gpus) = (None, None);
    if config.mesos {
        let options = MesosOptions {
            runtime_dir: config.runtime_dir.clone(),
            work_dir: PathBuf::from(&config.core.work_dir),
            open_files: config.open_files,
            logs: config.logs.clone(),
            isolation: config.isolation.clone(),
            images: config.images.clone(),
            settings: config.isolation_settings.clone(),
            fetcher: config.fetcher.clone(),
        };
        let (mesos, exits) = Mesos::new(&options)
            .map_err(|e| StartError::Containerizer { name: "mesos", text: e.to_string() })?;
        (fetcher, gpus) = (Some(mesos.fetcher()), mesos.gpus());
        members.push(Member { name: "mesos", containerizer: mesos, exits });
    }
    if let Some(options) = &config.docker {
        let fetcher = fetcher.unwrap_or_else(|| Arc::new(Fetcher::new(config.fetcher.clone())));
        let docker = Docker::new(options, fetcher, gpus).await;
        let (docker, exits) =
            docker.map_err(|text| StartError::Containerizer { name: "docker", text })?;
        members.push(Member { name: "docker", containerizer: docker, exits });
    }
    Ok(Composing::new(members, config.secrets.clone()))
}

/// What an agent measures.
#[must_use]
pub fn metrics() -> &'static http_api::prometheus::Table {
    &metrics::TABLE
}

/// Starts an agent.
///
/// # Errors
/// When the address, the store or the runtime directory is not to be had, or another agent has one of these.
pub async fn start(mut config: Config) -> Result<Running, StartError> {
    let meta = PathBuf::from(&config.core.work_dir).join("meta");
    // What runs below another agent's directories would be taken for strays.
    let locks = [
        exclusive::hold(&meta, "--work_dir").await?,
        exclusive::hold(&config.runtime_dir, "--runtime_dir").await?,
    ];
    let opened = store::Store::open(&meta, config.strict).map_err(|error| match error {
        store::OpenError::Io(source) => {
            StartError::Store { work_dir: config.core.work_dir.clone(), source }
        }
        store::OpenError::Damaged { path, places, at, readable } => StartError::Damaged {
            log: path.display().to_string(),
            places,
            at,
            readable,
            meta: meta.display().to_string(),
        },
    })?;
    if let Some((places, aside)) = &opened.damage {
        tracing::error!(places, kept = %aside.display(), "the agent's store is damaged; it goes on with what could be read");
    }
    let (containerizer, exits) = containerizers(&config).await?;
    let found = containerizer.recover().await.map_err(StartError::Containers)?;
    let listener = server::listen(config.listen)
        .map_err(|source| StartError::Bind { address: config.listen, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| StartError::Bind { address: config.listen, source })?;
    if config.core.info.port() == 0 {
        config.core.info.port = Some(i32::from(address.port()));
    }
    let outside = Outside {
        containerizer,
        exits,
        store: opened.store,
        records: opened.records,
        damage: opened.damage.map(|(places, aside)| (places, aside.display().to_string())),
        found,
    };
    let (stop, stopped) = watch::channel(false);
    let (shared, engine) = Shared::new(&config, outside);
    let engine = tokio::spawn(engine.run(stopped.clone()));
    tokio::task::spawn_blocking({
        let (inputs, work_dir) = (shared.inputs.clone(), config.core.work_dir.clone());
        move || {
            for found in former::directories(work_dir.as_ref(), SystemTime::now()) {
                if inputs.blocking_send(found).is_err() {
                    return;
                }
            }
        }
    });
    let master = Detector::new(config.master.clone(), config.zk_session_timeout);
    tokio::spawn(link::keep(shared.clone(), master, stopped.clone()));
    tokio::spawn(server::serve(
        listener,
        Arc::new(routes::Routes::new(shared.clone())),
        config.limits,
        stopped,
    ));
    Ok(Running { address, stop, shared, engine, _locks: locks })
}
