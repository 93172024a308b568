//! Cgroups of tests: each test has a root of its own, of which nothing is left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where all hierarchies are.
const MOUNTS: &str = "/sys/fs/cgroup";
/// How often a cgroup is tried to be removed.
const TRIES: u32 = 200;

/// Every cgroup of this name at the root of a hierarchy.
#[must_use]
pub fn roots(name: &str) -> Vec<PathBuf> {
    let mounts = children(Path::new(MOUNTS)).into_iter().chain([MOUNTS.into()]);
    mounts.map(|mount| mount.join(name)).filter(|root| root.is_dir()).collect()
}

/// Kills what is in them and removes them.
pub fn remove(name: &str) {
    let roots = roots(name);
    roots.iter().for_each(|root| empty(root));
    for root in &roots {
        for _ in 0..TRIES {
            if remove_tree(root) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn empty(cgroup: &Path) {
    let _ = std::fs::write(cgroup.join("cgroup.kill"), "1");
    let list = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in list.lines() {
        let _ = Command::new("kill").args(["-9", pid]).output();
    }
    children(cgroup).iter().for_each(|child| empty(child));
}

fn remove_tree(cgroup: &Path) -> bool {
    children(cgroup).iter().for_each(|child| {
        remove_tree(child);
    });
    std::fs::remove_dir(cgroup).is_ok()
}
