//! The container around one that runs inside it, as its namespaces show.

use crate::isolation::Parent;
use crate::processes;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const NAMESPACES: [(&str, i32); 6] = [
    ("mnt", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("net", libc::CLONE_NEWNET),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

/// Which namespaces a container has that the agent has not; None if there are none.
pub(crate) fn parent(supervisor: u32) -> Result<Option<Parent>, String> {
    let first = processes::first_child(supervisor);
    let pid = first.ok_or("the container around this one has ended")?;
    let link = |pid: &str, name: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
    let differs = |name: &str| link(&pid.to_string(), name) != link("self", name);
    let differing = NAMESPACES.iter().filter(|(name, _)| differs(name));
    let namespaces = differing.fold(0, |all, (_, one)| all | one);
    Ok((namespaces != 0).then_some(Parent { pid, supervisor, namespaces }))
}

/// Its root file system, if that is not the host's; the path is good as long as it runs.
pub(crate) fn root(parent: &Parent) -> Option<PathBuf> {
    let root = PathBuf::from(format!("/proc/{}/root", parent.pid));
    (identity(&root.metadata().ok()?) != identity(&Path::new("/").metadata().ok()?)).then_some(root)
}

/// How a container with such a root, whose sandbox is at `sandbox_directory`, sees a directory of its sandbox.
pub(crate) fn inside(root: &Path, sandbox_directory: &str, directory: &Path) -> String {
    let relative = sandbox_directory.trim_start_matches('/');
    let Ok(sandbox) = root.join(relative).metadata() else { return sandbox_directory.to_owned() };
    let is_sandbox =
        |path: &&Path| path.metadata().is_ok_and(|m| identity(&m) == identity(&sandbox));
    let below = directory.ancestors().find(is_sandbox);
    let below = below.and_then(|ancestor| directory.strip_prefix(ancestor).ok());
    match below {
        Some(below) if !below.as_os_str().is_empty() => {
            format!("{}/{}", sandbox_directory.trim_end_matches('/'), below.display())
        }
        _ => sandbox_directory.to_owned(),
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
