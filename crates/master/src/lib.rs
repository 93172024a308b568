//! The master's process: sockets and the registry around the core, and no decisions.
//!
//! One task owns the core (`engine`): it takes inputs from a bounded queue in batches and carries the effects out
//! in order. Three tables connect it to the outside (`shared`): requests that wait for an answer, event streams, and
//! links of agents. Readers get snapshots and never enter the queue.
#![forbid(unsafe_code)]

mod endpoints;
mod engine;
mod kill;
mod maintenance;
mod masters;
mod meters;
mod metrics;
mod observers;
mod offered;
mod operator;
mod overlaps;
mod reads;
mod routes;
mod shared;
mod shares;
mod traces;
mod ui;
mod v0;
mod whitelist;
mod why;
mod writes;

use coordination::RegistryError;
pub use coordination::{Backend, Meeting, Replicas, Secret, Timeouts};
pub use endpoints::ENDPOINTS;
use engine::Engine;
use http_api::bulk::Bulk;
use http_api::logging::LogLevel;
use http_api::otlp::Endpoint;
use http_api::server::{self, Limits};
use shared::Shared;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Settings of the process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where masters meet, and where the registry is.
    pub coordination: Backend,
    /// Settings of the core. Its `info.port`, `info.pid` and `info.address` are filled when the port is known.
    pub core: master_core::contract::Config,
    /// Log file to be shown as `/master/log`.
    pub log_file: Option<PathBuf>,
    /// The logging level.
    pub log_level: Arc<LogLevel>,
    /// `--max_operator_event_stream_subscribers`.
    pub observers_max: usize,
    /// `--whitelist`: a file with the names of the hosts whose agents are offered, one a line.
    pub whitelist: Option<PathBuf>,
    /// `--otlp_endpoint`: who is told of launches.
    pub otlp: Option<Endpoint>,
    /// `--publish_per_framework_metrics`.
    pub per_framework_metrics: bool,
    /// Limits on connections.
    pub limits: Limits,
}

/// Why a master could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not to be had.
    #[error("cannot bind {address}: {source}; another master? try --port=0")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The whitelist is not to be had.
    #[error("cannot read the whitelist {}: {source}; give a file with one host name a line, or no --whitelist", path.display())]
    Whitelist {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no thread for large answers.
    #[error(
        "cannot start a thread: {0}; see the limits on processes (ulimit -u, pids of the cgroup)"
    )]
    Thread(#[source] io::Error),
    /// The registry is not to be had.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A master that runs.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    engine: JoinHandle<Result<(), String>>,
}

impl Running {
    /// Ends it.
    ///
    /// # Errors
    /// Why it had ended by itself before.
    pub async fn stop(self) -> Result<(), String> {
        let _ = self.stop.send(true);
        self.engine.await.unwrap_or_else(|e| Err(format!("the master's core failed: {e}")))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), String> {
        (&mut self.engine).await.unwrap_or_else(|e| Err(format!("the master's core failed: {e}")))
    }
}

/// What a master measures.
#[must_use]
pub fn metrics() -> &'static http_api::prometheus::Table {
    &metrics::TABLE
}

/// Starts a master.
///
/// # Errors
/// When the address or the registry is not to be had.
pub async fn start(mut config: Config) -> Result<Running, StartError> {
    let listener = server::listen(config.listen)
        .map_err(|source| StartError::Bind { address: config.listen, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| StartError::Bind { address: config.listen, source })?;
    fill_info(&mut config, address);
    let whitelist = match config.whitelist.clone() {
        Some(path) => {
            let opened = whitelist::Whitelist::open(path.clone()).await;
            Some(opened.map_err(|source| StartError::Whitelist { path, source })?)
        }
        None => None,
    };
    let member = coordination::join(&config.coordination, config.core.info.clone()).await?;
    let (stop, stopped) = watch::channel(false);
    let bulk = Bulk::start().map_err(StartError::Thread)?;
    let (shared, engine) = Shared::new(&config, member, bulk);
    if let Some(whitelist) = whitelist {
        // It is in the queue before anything of agents and frameworks.
        let _ = shared.inputs.send(whitelist.input()).await;
        tokio::spawn(whitelist.follow(shared.inputs.clone(), stopped.clone()));
    }
    let engine = tokio::spawn(run(engine, shared.clone(), stopped.clone()));
    tokio::spawn(ui::sample(shared.clone(), stopped.clone()));
    tokio::spawn(server::serve(
        listener,
        Arc::new(routes::Routes::new(shared)),
        config.limits,
        stopped,
    ));
    Ok(Running { address, stop, engine })
}

/// Runs the core, and tells those who wait when it ends by itself.
async fn run(
    engine: Engine,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) -> Result<(), String> {
    let ended = engine.run(stopped).await;
    if let Err(why) = &ended {
        shared.end(why).await;
    }
    ended
}

/// What others are told of this master follows from its address.
fn fill_info(config: &mut Config, address: SocketAddr) {
    let info = &mut config.core.info;
    let hostname = info.hostname.clone().unwrap_or_else(|| address.ip().to_string());
    let ip = info
        .address
        .as_ref()
        .and_then(|a| a.ip.clone())
        .unwrap_or_else(|| address.ip().to_string());
    let port = info
        .address
        .as_ref()
        .map(|a| a.port)
        .filter(|p| *p != 0)
        .unwrap_or(i32::from(address.port()));
    if let Ok(std::net::IpAddr::V4(v4)) = ip.parse() {
        info.ip = u32::from_le_bytes(v4.octets());
    }
    info.port = u32::try_from(port).unwrap_or(0);
    info.pid = Some(format!("master@{ip}:{port}"));
    info.hostname = Some(hostname.clone());
    info.version = Some(http_api::version::VERSION.to_owned());
    info.address = Some(wire::v1::Address { hostname: Some(hostname), ip: Some(ip), port });
}
