//! A container from its start to its end, as the engine tells of it.

use super::engine::{Engine, Fault};
use super::output::Files;
use super::{Running, Shared, plan, statistics};
use crate::{Exited, Limitation, processes, supervisor};
use hyper::body::Incoming;
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wire::v1::{self, ResourceStatistics};

/// Exit code of what was ended by SIGKILL.
const KILLED: i32 = 128 + 9;
/// Bytes of the unit of the resource `mem`.
const MEGABYTE: f64 = 1_048_576.0;
/// Time between two looks at what ends soon.
pub(super) const GLANCE: Duration = Duration::from_millis(20);
/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Time that an engine has to tell how a process ended that is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Time without progress after which the rest of a container's output is given up when it has ended.
const STALL: Duration = Duration::from_secs(10);

/// What an engine says of a container that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its first process; 0 if it has ended.
    pub(super) pid: u32,
    /// The engine's own name for it.
    id: String,
    /// Signal by which it is asked to end.
    stop_signal: String,
    /// It has a terminal: its output is in one stream.
    pub(super) plain: bool,
}

impl Seen {
    pub(super) fn of(inspected: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let signal = text(&inspected["Config"]["StopSignal"]);
        Self {
            pid: inspected["State"]["Pid"].as_u64().and_then(|p| p.try_into().ok()).unwrap_or(0),
            id: text(&inspected["Id"]),
            stop_signal: if signal.is_empty() { "SIGTERM".to_owned() } else { signal },
            plain: inspected["Config"]["Tty"].as_bool().unwrap_or(false),
        }
    }

    /// A descriptor of its first process, if that is to be seen from here: the engine may live in another namespace.
    fn process(&self) -> Option<OwnedFd> {
        process_of(self.pid, &self.id)
    }
}

/// A descriptor of a process of the container that the engine calls `id`.
pub(super) fn process_of(pid: u32, id: &str) -> Option<OwnedFd> {
    let process = supervisor::watch(Some(pid).filter(|pid| *pid > 0)?)?;
    // What was opened is the container's, if that number still is.
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    (!id.is_empty() && cgroup.contains(id)).then_some(process)
}

impl Shared {
    /// Watches over a container that was started, until its end is told.
    pub(super) fn watch(
        self: &Arc<Self>,
        container_id: &str,
        seen: &Seen,
        files: Files,
        attached: Option<Incoming>,
    ) {
        let process = seen.process().map(Arc::new);
        if process.is_some() {
            self.cgroups.watch(container_id, seen.pid);
        }
        let stop_signal = seen.stop_signal.clone();
        let running =
            Running { id: seen.id.clone(), pid: seen.pid, stop_signal, process: process.clone() };
        self.live().entry(container_id.to_owned()).or_default().running = Some(running);
        let (shared, container_id, plain) = (self.clone(), container_id.to_owned(), seen.plain);
        tokio::spawn(async move {
            let name = plan::name(&container_id);
            let files = Arc::new(files);
            let copying = tokio::spawn({
                let (files, engine, name) = (files.clone(), shared.engine.clone(), name.clone());
                async move {
                    match attached {
                        Some(body) => files.follow_attached(body, plain).await,
                        None => files.follow(&engine, &name, plain).await,
                    }
                }
            });
            let code = ended(&shared.engine, &name, process).await;
            finish_copying(copying, &files, &name).await;
            // What ran inside has ended with it, and is told of first.
            let inside = async {
                while shared.has_inside(&container_id) {
                    tokio::time::sleep(GLANCE).await;
                }
            };
            let _ = tokio::time::timeout(STALL, inside).await;
            let live = shared.live().remove(&container_id);
            let status = code.map(|code| (code & 0xFF) << 8);
            let inspected = match code {
                Some(KILLED) => shared.engine.inspect(&name).await.unwrap_or_default(),
                _ => Value::Null,
            };
            let known = live.and_then(|live| live.limitation);
            let limitation = known.or_else(|| limitation(&inspected));
            shared.cgroups.forget(&container_id);
            shared.gpus.iter().for_each(|gpus| gpus.release(&container_id));
            let _ = shared.exits.send(Exited { container_id, status, limitation });
        });
    }

    /// What a container uses; nothing but the time if the engine does not tell.
    pub(super) async fn usage(&self, container_id: &str) -> ResourceStatistics {
        let name = plan::name(container_id);
        let asked = tokio::join!(self.engine.statistics(&name), self.engine.inspect(&name));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (stats, inspected) = (asked.0.unwrap_or_default(), asked.1.unwrap_or_default());
        let mut told = statistics::read(now.as_secs_f64(), &stats, &inspected);
        self.cgroups.tell(container_id, &mut told);
        told
    }

    /// Asks a container's first process to end, or sends it something else.
    pub(super) async fn signal(self: Arc<Self>, container_id: String, signal: String) {
        let name = plan::name(&container_id);
        while self.live().contains_key(&container_id) {
            match self.engine.kill(&name, &signal).await {
                Err(fault) if fault.is_passing() && !fault.is_conflict() => {
                    tracing::warn!(container = %name, %fault, "cannot send {signal}");
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return,
            }
        }
    }

    /// Kills a container; if the engine does not, its first process is killed without it.
    pub(super) async fn kill(self: Arc<Self>, container_id: String) {
        let name = plan::name(&container_id);
        loop {
            let process = match self.live().get(&container_id) {
                Some(live) => live.running.as_ref().and_then(|r| r.process.clone()),
                None => return,
            };
            match self.engine.kill(&name, "SIGKILL").await {
                Err(fault) if fault.is_passing() && !fault.is_conflict() => {
                    tracing::warn!(container = %name, %fault, "cannot kill a container");
                    process.iter().for_each(|process| processes::kill(process));
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return,
            }
        }
    }

    /// Removes a container from the engine after a while, however long that takes.
    pub(super) fn remove_after(&self, name: String, delay: Duration) {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let mut pause = PAUSE;
            while let Err(fault) = engine.remove(&name).await {
                if fault.is_conflict() {
                    // Somebody else removes it.
                    return;
                }
                tracing::warn!(container = %name, %fault, "cannot remove a container");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SILENCE);
            }
        });
    }
}

/// Changes what containers may use.
pub(super) async fn update_all(
    engine: Engine,
    mut queue: mpsc::UnboundedReceiver<(String, Value)>,
) {
    while let Some((container_id, changes)) = queue.recv().await {
        if let Err(fault) = engine.update(&plan::name(&container_id), &changes).await {
            tracing::error!(container = %container_id, %fault, "cannot change what a container may use");
        }
    }
}

/// Why a container was killed, if it took more memory than it may.
pub(super) fn limitation(inspected: &Value) -> Option<Limitation> {
    if inspected["State"]["OOMKilled"] != true || inspected["State"]["ExitCode"] != KILLED {
        return None;
    }
    let megabytes = inspected["HostConfig"]["Memory"].as_f64().unwrap_or(0.0) / MEGABYTE;
    let resource = v1::Resource {
        name: "mem".to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: megabytes }),
        ..Default::default()
    };
    Some(Limitation {
        reason: v1::task_status::Reason::ContainerLimitationMemory,
        message: format!("Memory limit exceeded: Requested: {megabytes}MB"),
        resources: vec![resource],
    })
}

/// Waits for the end: the exit code, or None if nobody can tell.
async fn ended(engine: &Engine, name: &str, process: Option<Arc<OwnedFd>>) -> Option<i32> {
    let asked = async {
        loop {
            match engine.wait(name).await {
                Ok(code) => return Some(code),
                Err(fault) if fault.is_missing() => return None,
                Err(
                    Fault::Refused { .. }
                    | Fault::Broken(_)
                    | Fault::Unreachable { .. }
                    | Fault::Hung { .. },
                ) => {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    let gone = async {
        let watched = process.and_then(|p| p.try_clone().ok());
        // SAFETY: the descriptor is owned by what is registered, so it stays open as long as that.
        match watched.and_then(|fd| unsafe { AsyncFd::register(fd) }.ok()) {
            Some(fd) => drop(fd.readable().await),
            None => std::future::pending().await,
        }
        tokio::time::sleep(SILENCE).await;
    };
    tokio::select! {
        code = asked => code,
        () = gone => {
            tracing::error!(container = name, "the engine does not tell how a container ended whose process is gone");
            None
        }
    }
}

/// What a container wrote last is there when its end is told, unless the engine or the disk stands still.
async fn finish_copying(mut copying: JoinHandle<()>, files: &Files, name: &str) {
    let mut before = files.have();
    while tokio::time::timeout(STALL, &mut copying).await.is_err() {
        let now = files.have();
        if now == before {
            tracing::warn!(
                container = name,
                "the rest of what a container wrote is given up: nothing comes of it"
            );
            copying.abort();
            return;
        }
        before = now;
    }
}
