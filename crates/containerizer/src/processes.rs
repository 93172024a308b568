//! Processes of containers that have no supervisor any more.
//!
//! Nobody is their subreaper, so they are found by what a process inherits: the variable with its sandbox, its parent,
//! its session. What gave itself a clean environment and a session of its own, and has no parent left, is not found.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Variables that hold the sandbox; a command may set one of them anew.
const MARKS: [&[u8]; 2] = [b"MESOS_SANDBOX=", b"MESOS_DIRECTORY="];
/// How often strays are looked for until none is left: one may fork while it is found.
const SWEEPS: u32 = 500;
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    session: u32,
    /// Clock tick since the boot at which it started: with the pid, its identity.
    started: u64,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which is in parentheses and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let state = *fields.first()?;
        if state == "Z" || state == "X" {
            return None;
        }
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    fn all() -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::read).collect()
    }

    /// Whether it, or one that it descends from, was started in such a sandbox.
    fn is_marked(&self, is_stray: &dyn Fn(&Path) -> bool) -> bool {
        let environment = std::fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| {
            let value = MARKS.iter().find_map(|mark| variable.strip_prefix(*mark));
            value.and_then(|v| std::str::from_utf8(v).ok()).is_some_and(|v| is_stray(Path::new(v)))
        })
    }

    fn kill(&self) {
        // What is opened is this process, if it is still the same afterwards.
        if let Some(fd) = crate::supervisor::watch(self.pid)
            && Self::read(self.pid).is_some_and(|now| now.started == self.started)
        {
            kill(&fd);
        }
    }
}

/// The parent of the process behind a descriptor, which has this number; None if it has ended.
pub(crate) fn parent_of(pid: u32, process: &OwnedFd) -> Option<u32> {
    let parent = Process::read(pid)?.parent;
    // What was read is of this process, if it is still there.
    send(process, 0).then_some(parent)
}

/// Sends SIGKILL to the process behind a descriptor.
pub(crate) fn kill(process: &OwnedFd) {
    send(process, libc::SIGKILL);
}

/// Whether a signal could be sent; 0 is none.
fn send(process: &OwnedFd, signal: i32) -> bool {
    // SAFETY: a system call with an open descriptor; no information goes with the signal.
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    status == 0
}

/// The oldest child of a process: of a supervisor its main process, or the init around that.
pub(crate) fn first_child(pid: u32) -> Option<u32> {
    match std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(children) => children.split_whitespace().next()?.parse().ok(),
        // Not every kernel has the file.
        Err(_) => {
            let children = Process::all().into_iter().filter(|p| p.parent == pid);
            children.min_by_key(|p| p.started).map(|p| p.pid)
        }
    }
}

/// The sessions that children of a supervisor lead.
pub(crate) fn sessions_below(supervisor: u32) -> Vec<u32> {
    let children = Process::all().into_iter().filter(|p| p.parent == supervisor);
    children.filter(|p| p.session == p.pid).map(|p| p.pid).collect()
}

/// Kills the processes of lost containers until none is left: those that were started in a sandbox for which
/// `is_stray` holds, those in `sessions`, their descendants, and the rest of their sessions. Blocks.
pub(crate) fn sweep(is_stray: &dyn Fn(&Path) -> bool, sessions: &[u32]) {
    for _ in 0..SWEEPS {
        let strays = find(&Process::all(), is_stray, sessions);
        if strays.is_empty() {
            return;
        }
        strays.iter().for_each(Process::kill);
        std::thread::sleep(PAUSE);
    }
    tracing::error!("processes of a container without a supervisor can't be killed");
}

fn find(all: &[Process], is_stray: &dyn Fn(&Path) -> bool, sessions: &[u32]) -> Vec<Process> {
    let own = std::process::id();
    // The agent's, and that of processes whose session is of another namespace.
    let foreign = [all.iter().find(|p| p.pid == own).map_or(0, |p| p.session), 0];
    let alive: BTreeSet<u32> = all.iter().map(|p| p.pid).collect();
    let mut lost: BTreeSet<u32> = BTreeSet::new();
    // A session is a container's if its leader is; of one without a leader nobody else can be.
    let mut lost_sessions: BTreeSet<u32> = sessions.iter().copied().collect();
    loop {
        let before = lost.len();
        for process in all.iter().filter(|p| p.pid != own) {
            let is_lost = lost.contains(&process.pid)
                || lost.contains(&process.parent)
                || lost_sessions.contains(&process.session)
                || before == 0 && process.is_marked(is_stray);
            if !is_lost {
                continue;
            }
            lost.insert(process.pid);
            let leader = process.session;
            if (lost.contains(&leader) || !alive.contains(&leader)) && !foreign.contains(&leader) {
                lost_sessions.insert(leader);
            }
        }
        if lost.len() == before {
            return all.iter().filter(|p| lost.contains(&p.pid)).copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, session: u32) -> Process {
        Process { pid, parent, session, started: 0 }
    }

    #[test]
    fn sessions_and_descendants_are_found_and_nothing_else() {
        let nobody = u32::MAX;
        let all = [
            process(nobody - 9, 1, nobody - 9),
            process(nobody - 8, nobody - 9, nobody - 9),
            // A child in a session of its own, and its child.
            process(nobody - 7, nobody - 8, nobody - 7),
            process(nobody - 6, nobody - 7, nobody - 7),
            // Another's.
            process(nobody - 5, 1, nobody - 5),
            process(nobody - 4, nobody - 5, nobody - 5),
        ];
        let found = find(&all, &|_| false, &[nobody - 9]);
        assert_eq!(found, all[..4]);
        assert_eq!(find(&all, &|_| false, &[]), []);
    }
}
