//! Waiting for the ends of containers.

use crate::family::Family;
use crate::isolation::Isolators;
use crate::supervisor::{Files, Kept};
use crate::{Exited, limitation, processes};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc, oneshot};

/// Lost containers that are swept at once.
const BATCH: usize = 1024;
/// What a supervisor says at once; thousands of them may be listened to.
const LINE: usize = 256;

/// A container whose supervisor ended without a word.
struct Lost {
    container_id: String,
    /// Sessions of its processes, as far as they are known.
    sessions: Vec<u32>,
}

/// What is done when the last process of a container is gone.
#[derive(Debug, Clone)]
struct Ends {
    exits: mpsc::UnboundedSender<Exited>,
    isolators: Arc<Isolators>,
    family: Arc<Family>,
    /// Runtime directories of containers.
    containers: PathBuf,
}

impl Ends {
    /// Removes what isolators made for a container that has no process any more.
    async fn clean_up(&self, container_id: &str) {
        let (isolators, container_id) = (self.isolators.clone(), container_id.to_owned());
        let cleaned = tokio::task::spawn_blocking(move || isolators.cleanup(&container_id));
        if let Err(error) = cleaned.await {
            tracing::error!(%error, "an isolator failed");
        }
    }

    /// Ends what is inside, finds out why it ended, cleans up, and tells it.
    async fn finish(self, container_id: String, kept: Option<Kept>) {
        self.family.end_inside(&container_id).await;
        let isolators = self.isolators.clone();
        let (id, files) = (container_id.clone(), Files(self.containers.join(&container_id)));
        let limited = tokio::task::spawn_blocking(move || {
            let limitation = limitation::find(&id, &files, kept, &isolators);
            isolators.cleanup(&id);
            limitation
        });
        let limitation = limited.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an isolator failed");
            None
        });
        let status = kept.map(|kept| kept.status);
        let _ = self.exits.send(Exited { container_id: container_id.clone(), status, limitation });
        self.family.remove(&container_id);
    }
}

/// All supervisors that run, and where their ends are told.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    ends: Ends,
    lost: mpsc::UnboundedSender<Lost>,
    /// For each container that runs what has its supervisor killed.
    kills: Arc<Mutex<BTreeMap<String, Arc<Notify>>>>,
}

impl Watch {
    /// Ends of containers come out of the receiver; there are at most as many as containers, so that the channel needs
    /// no bound.
    pub(crate) fn new(
        work_dir: PathBuf,
        containers: PathBuf,
        isolators: Arc<Isolators>,
        family: Arc<Family>,
    ) -> (Self, mpsc::UnboundedReceiver<Exited>) {
        let (exits, receiver) = mpsc::unbounded_channel();
        let (lost, queue) = mpsc::unbounded_channel();
        let ends = Ends { exits, isolators, family, containers };
        tokio::spawn(sweep(work_dir, queue, ends.clone()));
        (Self { ends, lost, kills: Arc::default() }, receiver)
    }

    fn kills(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Notify>>> {
        self.kills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the supervisor of a container that has not ended by then.
    pub(crate) async fn kill_after(self, container_id: String, patience: Duration) {
        tokio::time::sleep(patience).await;
        if let Some(kill) = self.kills().get(&container_id) {
            kill.notify_one();
        }
    }

    /// From now on it counts as running; what is notified has its supervisor killed.
    pub(crate) fn add(&self, container_id: &str) -> Arc<Notify> {
        self.kills().entry(container_id.to_owned()).or_default().clone()
    }

    /// Whether it has not ended. Something that is put inside it before this is asked ends with it.
    pub(crate) fn is_running(&self, container_id: &str) -> bool {
        self.kills().contains_key(container_id)
    }

    /// Removes what isolators made for a container that could not be started.
    pub(crate) async fn clean_up(&self, container_id: &str) {
        self.ends.clean_up(container_id).await;
    }

    async fn end(&self, container_id: String, kept: Option<Kept>, sessions: Vec<u32>) {
        self.kills().remove(&container_id);
        // Without a status the supervisor did not see its last process end: some may run on.
        if kept.is_none() {
            let _ = self.lost.send(Lost { container_id, sessions });
            return;
        }
        self.ends.clone().finish(container_id, kept).await;
    }

    /// Reads what a supervisor says until its end.
    pub(crate) async fn listen(
        self,
        container_id: String,
        files: Files,
        mut child: Child,
        stdout: pipe::Receiver,
        started: oneshot::Sender<Result<(), String>>,
    ) {
        let kill = self.add(&container_id);
        let mut lines = BufReader::with_capacity(LINE, stdout).lines();
        let mut started = Some(started);
        let mut kept = None;
        let mut main = None;
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line,
                () = kill.notified() => {
                    let _ = child.kill();
                    continue;
                }
            };
            let Ok(Some(line)) = line else { break };
            match line.split_once(' ') {
                Some(("started", pid)) => {
                    main = pid.parse().ok();
                    started.take().map(|s| s.send(Ok(())));
                }
                Some(("failed", text)) => {
                    started.take().map(|s| s.send(Err(text.to_owned())));
                }
                Some(("exited", text)) => {
                    kept = Kept::parse(text);
                    break;
                }
                _ => {}
            }
        }
        drop(started);
        match main {
            // The main process leads a session.
            Some(main) => {
                let kept = kept.or_else(|| files.kept());
                self.end(container_id, kept, vec![main]).await;
            }
            None => {
                self.kills().remove(&container_id);
            }
        }
        // It ends now, if it has not: nothing is left behind in the table of processes.
        let _ = tokio::task::spawn_blocking(move || child.wait()).await;
    }

    /// Waits for the end of a supervisor that was started by a former process of the agent.
    pub(crate) async fn await_end(
        self,
        container_id: String,
        files: Files,
        fd: OwnedFd,
        sessions: Vec<u32>,
        kill: Arc<Notify>,
    ) {
        // SAFETY: the descriptor is owned by what is registered, so it stays open as long as that.
        if let Ok(fd) = unsafe { AsyncFd::register(fd) } {
            loop {
                tokio::select! {
                    _ = fd.readable() => break,
                    () = kill.notified() => processes::kill(fd.get_ref()),
                }
            }
        }
        self.end(container_id, files.kept(), sessions).await;
    }
}

/// Ends the processes of lost containers, then tells of their ends.
async fn sweep(work_dir: PathBuf, mut queue: mpsc::UnboundedReceiver<Lost>, ends: Ends) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let lost = std::mem::take(&mut batch);
        let (work_dir, isolators) = (work_dir.clone(), ends.isolators.clone());
        let swept = tokio::task::spawn_blocking(move || {
            let sessions: Vec<u32> = lost.iter().flat_map(|l| l.sessions.clone()).collect();
            let is_in = |path: &Path, l: &Lost| path.iter().any(|name| name == &*l.container_id);
            let is_lost = |path: &Path| {
                path.starts_with(&work_dir) && lost.iter().any(|container| is_in(path, container))
            };
            lost.iter().for_each(|l| isolators.kill(&l.container_id));
            processes::sweep(&is_lost, &sessions);
            lost
        });
        for Lost { container_id, .. } in swept.await.unwrap_or_default() {
            tracing::warn!(container = %container_id, "its supervisor ended without a word; its processes were killed");
            tokio::spawn(ends.clone().finish(container_id, None));
        }
    }
}
