//! Containers as sessions of processes, each under its supervisor.

use crate::supervisor::{self, Files};
use crate::user::User;
use crate::{BoxFuture, ContainerSpec, Containerizer, Exited, Found, MountedVolume, limits};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

/// How many times an execution is tried again while another thread's child still has the program open for writing.
const BUSY_RETRIES: u32 = 50;

/// Settings.
#[derive(Debug, Clone)]
pub struct PosixOptions {
    /// Holds the supervisor program and a directory for each container.
    pub runtime_dir: PathBuf,
    /// Whether containers die when this process does.
    pub die_with_agent: bool,
    /// Soft limit on open files of containers; None: that of this process.
    pub open_files: Option<u64>,
}

/// The containerizer.
#[derive(Debug)]
pub struct Posix {
    containers: PathBuf,
    program: PathBuf,
    die_with_agent: bool,
    open_files: Option<u64>,
    exits: mpsc::UnboundedSender<Exited>,
    /// Containers whose start is not finished; true: they shall be destroyed as soon as it is.
    starting: Mutex<BTreeMap<String, bool>>,
}

impl Posix {
    /// Prepares the runtime directory. Ends of containers come out of the receiver; there are at most as many as
    /// containers, so the channel needs no bound.
    ///
    /// # Errors
    /// When the runtime directory can't be written.
    pub fn new(options: &PosixOptions) -> io::Result<(Arc<Self>, mpsc::UnboundedReceiver<Exited>)> {
        let containers = options.runtime_dir.join("containers");
        std::fs::create_dir_all(&containers)?;
        let program = supervisor::install(&options.runtime_dir.join("bin"))?;
        let (exits, receiver) = mpsc::unbounded_channel();
        let starting = Mutex::new(BTreeMap::new());
        let posix = Self {
            containers,
            program,
            die_with_agent: options.die_with_agent,
            open_files: options.open_files,
            exits,
            starting,
        };
        Ok((Arc::new(posix), receiver))
    }

    fn files(&self, container_id: &str) -> Files {
        Files(self.containers.join(container_id))
    }

    fn starting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, bool>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn launch(&self, spec: ContainerSpec) -> Result<u32, String> {
        limits::check(&spec)?;
        let user = spec.user.as_deref().map(User::named).transpose()?;
        let encoded =
            supervisor::encode(&spec, user.as_ref(), self.open_files, self.die_with_agent)?;
        prepare_sandbox(&spec, user.as_ref())?;
        let files = self.files(&spec.container_id);
        std::fs::create_dir_all(&files.0)
            .map_err(|e| format!("cannot create {}: {e}", files.0.display()))?;
        self.starting().insert(spec.container_id.clone(), false);
        let started = self.spawn(&spec.container_id, &files, &encoded).await;
        let doomed = self.starting().remove(&spec.container_id) == Some(true);
        match started {
            Ok(pid) => {
                if doomed {
                    files.command("kill\n");
                }
                Ok(pid)
            }
            Err(text) => {
                let _ = std::fs::remove_dir_all(&files.0);
                Err(text)
            }
        }
    }

    async fn spawn(
        &self,
        container_id: &str,
        files: &Files,
        encoded: &[u8],
    ) -> Result<u32, String> {
        let mut child =
            self.execute(&files.0).map_err(|e| format!("cannot execute the supervisor: {e}"))?;
        let pid = child.id();
        let mut stdin = child.stdin.take().ok_or("the supervisor has no standard input")?;
        let stdout = child.stdout.take().ok_or("the supervisor has no standard output")?;
        if encoded.len() <= 4096 {
            stdin.write_all(encoded).map_err(|e| format!("cannot write to the supervisor: {e}"))?;
            drop(stdin);
        } else {
            // More than fits a pipe at once may block.
            let encoded = encoded.to_vec();
            tokio::task::spawn_blocking(move || stdin.write_all(&encoded));
        }
        let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))
            .map_err(|e| format!("cannot listen to the supervisor: {e}"))?;
        let (started, answer) = oneshot::channel();
        let listener = Listener {
            container_id: container_id.to_owned(),
            files: files.clone(),
            exits: self.exits.clone(),
        };
        tokio::spawn(listener.listen(child, stdout, started));
        answer.await.unwrap_or_else(|_| Err("the supervisor ended at once".to_owned()))?;
        Ok(pid)
    }

    fn execute(&self, directory: &Path) -> io::Result<Child> {
        let mut tries = 0;
        loop {
            let mut command = Command::new(&self.program);
            command.arg(directory).current_dir("/").env_clear();
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            match command.spawn() {
                Err(error)
                    if error.raw_os_error() == Some(libc::ETXTBSY) && tries < BUSY_RETRIES =>
                {
                    tries += 1
                }
                other => return other,
            }
        }
    }

    fn find(&self, container_id: String) -> Found {
        let files = self.files(&container_id);
        if let Some(status) = files.status() {
            return Found { container_id, pid: None, status: Some(status) };
        }
        let watched = files.supervisor().and_then(|pid| supervisor::watch(pid).map(|fd| (pid, fd)));
        // The lock is looked at again: the watched process is the one that held it, not one that got its number.
        match watched.filter(|(pid, _)| files.supervisor() == Some(*pid)) {
            Some((pid, fd)) => {
                tokio::spawn(await_end(container_id.clone(), files, fd, self.exits.clone()));
                Found { container_id, pid: Some(pid), status: None }
            }
            None => Found { container_id, pid: None, status: files.status() },
        }
    }
}

/// Reads what a supervisor says until its end.
struct Listener {
    container_id: String,
    files: Files,
    exits: mpsc::UnboundedSender<Exited>,
}

impl Listener {
    async fn listen(
        self,
        mut child: Child,
        stdout: pipe::Receiver,
        started: oneshot::Sender<Result<(), String>>,
    ) {
        let mut lines = BufReader::new(stdout).lines();
        let mut started = Some(started);
        let mut status = None;
        let mut running = false;
        while let Ok(Some(line)) = lines.next_line().await {
            match line.split_once(' ') {
                Some(("started", _)) => {
                    running = true;
                    started.take().map(|s| s.send(Ok(())));
                }
                Some(("failed", text)) => {
                    started.take().map(|s| s.send(Err(text.to_owned())));
                }
                Some(("exited", text)) => {
                    status = text.parse().ok();
                    break;
                }
                _ => {}
            }
        }
        drop(started);
        if running {
            let status = status.or_else(|| self.files.status());
            let _ = self.exits.send(Exited { container_id: self.container_id, status });
        }
        // It ends now, if it has not: nothing is left behind in the table of processes.
        let _ = tokio::task::spawn_blocking(move || child.wait()).await;
    }
}

/// Waits for the end of a supervisor that was started by a former process of the agent.
async fn await_end(
    container_id: String,
    files: Files,
    fd: OwnedFd,
    exits: mpsc::UnboundedSender<Exited>,
) {
    // SAFETY: the descriptor is owned by what is registered, so it stays open as long as that.
    if let Ok(fd) = unsafe { AsyncFd::register(fd) } {
        let _ = fd.readable().await;
    }
    let _ = exits.send(Exited { container_id, status: files.status() });
}

fn prepare_sandbox(spec: &ContainerSpec, user: Option<&User>) -> Result<(), String> {
    let directory = Path::new(&spec.directory);
    let fault = |what: &str, e: &io::Error| {
        format!("cannot {what} the sandbox {}: {e}", directory.display())
    };
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent).map_err(|e| fault("create", &e))?;
    }
    match std::fs::DirBuilder::new().mode(0o750).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(fault("create", &e)),
        _ => {}
    }
    if let Some(user) = user {
        user.own(directory)?;
    }
    for volume in &spec.volumes {
        link_volume(directory, volume, user)?;
    }
    if let Some(link) = &spec.latest_link {
        replace_link(Path::new(link), directory).map_err(|e| format!("cannot link {link}: {e}"))?;
    }
    Ok(())
}

/// Without mounts of its own a container sees a volume through a link in its sandbox.
fn link_volume(sandbox: &Path, volume: &MountedVolume, user: Option<&User>) -> Result<(), String> {
    let shown = &volume.container_path;
    let relative = Path::new(shown);
    let plain = |c| matches!(c, std::path::Component::Normal(_) | std::path::Component::CurDir);
    if shown.is_empty() || !relative.components().all(plain) {
        return Err(format!(
            "the volume's container_path '{shown}' must be relative to the sandbox and without '..'"
        ));
    }
    let link = sandbox.join(relative);
    let fault = |e: io::Error| format!("cannot link the volume {} to {shown}: {e}", volume.path);
    if !Path::new(&volume.path).is_dir() {
        return Err(format!("the volume {} does not exist", volume.path));
    }
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent).map_err(fault)?;
    }
    replace_link(&link, Path::new(&volume.path)).map_err(fault)?;
    match user.filter(|_| volume.exclusive) {
        Some(user) => user.own(Path::new(&volume.path)),
        None => Ok(()),
    }
}

/// Makes a symbolic link, in one step if there was one.
fn replace_link(link: &Path, target: &Path) -> io::Result<()> {
    match symlink(target, link) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let new = link.with_extension("new");
            let _ = std::fs::remove_file(&new);
            symlink(target, &new)?;
            std::fs::rename(&new, link)
        }
        other => other,
    }
}

impl Containerizer for Posix {
    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, String>> {
        Box::pin(async {
            let entries = std::fs::read_dir(&self.containers)
                .map_err(|e| format!("cannot read {}: {e}", self.containers.display()))?;
            let names = entries
                .flatten()
                .filter(|e| e.path().is_dir())
                .filter_map(|e| e.file_name().into_string().ok());
            Ok(names.map(|name| self.find(name)).collect())
        })
    }

    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<u32, String>> {
        Box::pin(self.launch(spec))
    }

    fn signal(&self, container_id: &str, signal: i32) {
        self.files(container_id).command(&format!("signal {signal}\n"));
    }

    fn destroy(&self, container_id: &str) {
        if let Some(doomed) = self.starting().get_mut(container_id) {
            *doomed = true;
        }
        self.files(container_id).command("kill\n");
    }

    fn forget(&self, container_id: &str) {
        let _ = std::fs::remove_dir_all(self.files(container_id).0);
    }
}
