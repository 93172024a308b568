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

/// Sends a signal to all descendants. A descendant can't be reaped by anyone but its parent or, once orphaned, us,
/// who do not reap meanwhile; a process id that was seen as a descendant's may only be stale if its own parent reaps it
/// at this moment.
pub(crate) fn signal_all(signal: i32) {
    for pid in descendants() {
        // SAFETY: a plain system call.
        unsafe { libc::kill(pid, signal) };
    }
}

fn descendants() -> Vec<libc::pid_t> {
    let mut parents: BTreeMap<libc::pid_t, Vec<libc::pid_t>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // After the name, which is in parentheses and may hold anything: state, parent.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.entry(parent.unwrap_or(0)).or_default().push(pid);
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
