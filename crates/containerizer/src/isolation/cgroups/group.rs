//! One cgroup: a directory of the kernel.

use super::hierarchy::{Place, Version};
use crate::walk::{Visitor, entries, walk};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two tries to remove one that a process is still leaving.
const PAUSE: Duration = Duration::from_millis(1);

/// A cgroup of a controller, or of several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) path: PathBuf,
    /// Whether its files are those of version 2.
    pub(super) is_v2: bool,
}

impl Group {
    pub(super) fn at(place: &Place, relative: &Path) -> Self {
        Self { path: place.mount.join(relative), is_v2: place.version == Version::V2 }
    }

    /// Makes it; one that is there is taken as it is. Whether it is new.
    pub(super) fn create(&self) -> Result<bool, String> {
        match std::fs::create_dir(&self.path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(format!("cannot create the cgroup {}: {e}", self.path.display())),
        }
    }

    pub(super) fn write(&self, file: &str, value: impl std::fmt::Display) -> Result<(), String> {
        let value = value.to_string();
        let path = self.path.join(file);
        let open = File::options().write(true).open(&path);
        open.and_then(|mut file| file.write_all(value.as_bytes()))
            .map_err(|e| format!("cannot write '{value}' to {}: {e}", path.display()))
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.path.join(file).exists()
    }

    pub(super) fn read(&self, file: &str) -> Result<String, String> {
        let path = self.path.join(file);
        std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    }

    /// A file that holds one number; None: it is not there, or says `max`.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.read(file).ok()?.trim().parse().ok()
    }

    /// A file of lines `name number`.
    pub(super) fn table(&self, file: &str) -> Result<Table, String> {
        let content = self.read(file)?;
        let pair = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        Ok(Table(content.lines().filter_map(pair).collect()))
    }

    /// Removes it with all cgroups below it; no process is in them any more, or will be in a moment.
    pub(super) fn remove(&self, deadline: Instant) -> Result<(), String> {
        loop {
            match remove_tree(&self.path) {
                Ok(()) => return Ok(()),
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(e) => {
                    return Err(format!("cannot remove the cgroup {}: {e}", self.path.display()));
                }
            }
        }
    }

    /// Process ids in it, and in all below.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut found = Processes(Vec::new());
        // What goes meanwhile has no processes.
        let _ = walk(&self.path, &mut found);
        found.0
    }
}

/// Cgroups right below one.
pub(super) fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Names of the cgroups right below one, which a container may have made deeper than any path is long.
fn below(cgroup: &OwnedFd) -> io::Result<Vec<CString>> {
    let found = entries(cgroup)?.into_iter().filter(|(_, is_directory)| *is_directory);
    Ok(found.map(|(name, _)| name).collect())
}

/// Collects the processes of cgroups.
struct Processes(Vec<i32>);

impl Visitor for Processes {
    fn enter(&mut self, cgroup: &OwnedFd, _name: &CStr) -> io::Result<Vec<CString>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let list = rustix::fs::openat(cgroup, "cgroup.procs", flags, Mode::empty());
        let list = list.map_err(io::Error::from);
        let list = list.and_then(|list| io::read_to_string(File::from(list))).unwrap_or_default();
        self.0.extend(list.lines().filter_map(|l| l.parse::<i32>().ok()));
        Ok(below(cgroup).unwrap_or_default())
    }
}

/// Removes cgroups below one.
struct Removal;

impl Visitor for Removal {
    fn enter(&mut self, cgroup: &OwnedFd, _name: &CStr) -> io::Result<Vec<CString>> {
        below(cgroup)
    }

    fn leave(&mut self, above: &OwnedFd, name: &CStr) -> io::Result<()> {
        let removed = rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR);
        ignore_absence(removed.map_err(io::Error::from))
    }
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir(directory) {
        // Busy with processes or with cgroups below.
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
            ignore_absence(walk(directory, &mut Removal))?;
            ignore_absence(std::fs::remove_dir(directory))
        }
        other => ignore_absence(other),
    }
}

fn ignore_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Numbers by name.
#[derive(Debug, Default)]
pub(super) struct Table(std::collections::BTreeMap<String, u64>);

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }
}
