//! The processes of the container: all descendants of this process, which is their subreaper.

use std::collections::{BTreeMap, BTreeSet};

/// What ended since the last look.
#[derive(Debug)]
pub(crate) struct Reaped {
    /// Process ids with raw wait statuses.
    pub(crate) exited: Vec<(libc::pid_t, i32)>,
    /// No child is left.
    pub(crate) none_left: bool,
}

/// Collects every child that has ended.
pub(crate) fn reap() -> Reaped {
    let mut exited = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live integer.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            0 => return Reaped { exited, none_left: false },
            pid if pid > 0 => exited.push((pid, status)),
            _ => return Reaped { exited, none_left: true },
        }
    }
}

/// Kills a child that was not reaped.
pub(crate) fn kill(child: libc::pid_t) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(child, libc::SIGKILL) };
}

/// Sends a signal to all descendants but one. A descendant can't be reaped by anyone but its parent or, once orphaned, us,
/// who do not reap meanwhile; a process id that was seen as a descendant's may only be stale if its own parent reaps it
/// at this moment.
pub(crate) fn signal_all(signal: i32, except: Option<libc::pid_t>) {
    for pid in descendants().into_iter().filter(|pid| Some(*pid) != except) {
        // SAFETY: a plain system call.
        unsafe { libc::kill(pid, signal) };
    }
}

/// The parent of a process.
pub(crate) fn parent_of(pid: libc::pid_t) -> Option<libc::pid_t> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which is in parentheses and may hold anything: state, parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn descendants() -> Vec<libc::pid_t> {
    let mut parents: BTreeMap<libc::pid_t, Vec<libc::pid_t>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = parent_of(pid) {
            parents.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    // SAFETY: a plain system call.
    let mut open = vec![unsafe { libc::getpid() }];
    while let Some(pid) = open.pop() {
        for child in parents.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found.into_iter().collect()
}
