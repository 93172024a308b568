//! Processes that tests start, signal and end.

use crate::cluster::temporary_directory;
use crate::wait;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Sends a signal such as `STOP` or `CONT`.
///
/// # Panics
/// When there is no such process.
#[track_caller]
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} to {pid}");
}

/// Stops a process until it is sent `CONT`; when this returns none of its threads runs any more.
///
/// # Panics
/// When there is no such process, or it does not stop.
#[track_caller]
pub fn stop(pid: u32) {
    signal(pid, "STOP");
    let is_stopped = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    };
    wait::until("all threads stand still", Duration::from_secs(30), || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        threads.flatten().all(is_stopped).then_some(())
    });
}

/// Servers of a service, each with a log and room for data; they end and their files go when it is dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    directory: PathBuf,
    running: Vec<Option<Child>>,
}

impl Servers {
    /// None of them runs yet.
    pub(crate) fn new(count: usize) -> Self {
        Self { directory: temporary_directory(), running: (0..count).map(|_| None).collect() }
    }

    /// Where their logs and data are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A server's place for data, which it may have to make.
    pub(crate) fn data(&self, server: usize) -> PathBuf {
        self.directory.join(server.to_string())
    }

    /// Starts one; what it says goes to `<server>.log`.
    ///
    /// # Panics
    /// When it can't be started.
    pub(crate) fn spawn(&mut self, server: usize, command: &mut Command) {
        let log = self.directory.join(format!("{server}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.running[server] = Some(child);
    }

    /// Kills one.
    pub(crate) fn kill(&mut self, server: usize) {
        if let Some(mut child) = self.running[server].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Process id of one that runs.
    pub(crate) fn pid(&self, server: usize) -> Option<u32> {
        self.running[server].as_ref().map(Child::id)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in 0..self.running.len() {
            self.kill(server);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
