//! What the supervisor sets up around the main process beside cgroups: namespaces, a file system, privileges, a
//! terminal. `crates/supervisor/src/container.rs` has the same, and reads what [`Setup::encode`] writes.

use super::root::Root;
use crate::supervisor::{number, text};
use std::path::{Path, PathBuf};

/// All of it. The default is nothing: the process is the host's as any other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// The container inside which this one runs, and the namespaces that it shares with it (`CLONE_NEW…`).
    pub parent: Option<Parent>,
    /// Network namespace to enter: a file.
    pub network: Option<PathBuf>,
    /// Namespaces of its own (`CLONE_NEW…`). One for mounts is needed for a root file system and [`Self::steps`].
    pub namespaces: i32,
    /// Name of the host, in a namespace of its own (`CLONE_NEWUTS`).
    pub hostname: Option<String>,
    /// Where the sandbox is for the container; None: where it is on the host.
    pub sandbox: Option<String>,
    /// Where the process starts, as the container sees it; None: where the specification says, or in the sandbox.
    pub working_directory: Option<String>,
    /// What is mounted and made in the container's file system, in this order. Nothing is mounted on the host.
    pub steps: Vec<Step>,
    /// A terminal of so many rows and columns.
    pub terminal: Option<(u16, u16)>,
    /// What the process may do.
    pub privileges: Privileges,
}

/// A running container, by its first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The process that its supervisor started.
    pub pid: u32,
    /// Its supervisor: tells the process from another one with its number.
    pub supervisor: u32,
    /// The namespaces that are shared (`CLONE_NEW…`).
    pub namespaces: i32,
}

/// What a process may do. The default is what the agent may, as far as the user may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Resource as setrlimit(2) numbers it, soft and hard limit.
    pub limits: Vec<(u32, u64, u64)>,
    /// Capabilities that can be had at all, one bit each.
    pub bounding: Option<u64>,
    /// Capabilities that the process has, whoever its user is.
    pub effective: Option<u64>,
    /// No program that is executed gives it more.
    pub no_new: bool,
    /// Filters of system calls in the form of the kernel, eight bytes an instruction; all of them hold.
    pub filters: Vec<Vec<u8>>,
}

/// Attributes of a mount (`MOUNT_ATTR_…`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes(pub u64);

impl Attributes {
    /// Nothing can be written.
    pub const READ_ONLY: Self = Self(1);
    /// No devices.
    pub const NO_DEV: Self = Self(4);
    /// No set-user-id, no devices.
    pub const NO_SUID_NO_DEV: Self = Self(2 | 4);
    /// No set-user-id, no devices, nothing to execute.
    pub const DATA: Self = Self(2 | 4 | 8);
    /// As above, and read only.
    pub const READ_ONLY_DATA: Self = Self(1 | 2 | 4 | 8);
    /// No set-user-id, nothing to execute.
    pub const DEVICES: Self = Self(2 | 8);

    /// For a volume that may be written or not.
    pub fn writable(writable: bool) -> Self {
        if writable { Self::default() } else { Self::READ_ONLY }
    }
}

/// Where something that is mounted comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The host.
    Host(PathBuf),
    /// A directory of the host whose content is not trusted: `path` does not lead out of it. What is not there is made,
    /// a directory of its owner's.
    Within {
        /// The directory.
        base: PathBuf,
        /// What is in it.
        path: String,
    },
    /// The container itself, as it is by then.
    Container(String),
    /// The container inside which this one runs.
    Parent(String),
    /// Mounted for this container.
    Root(Root),
}

/// Where something appears in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether `path` is relative to the sandbox, out of which it does not lead; else it is absolute.
    pub in_sandbox: bool,
    /// Where it appears.
    pub path: String,
    /// Whether it is made if it is not there, with the directories on the way.
    pub made: bool,
}

impl Target {
    /// An absolute path in the container, made if it is not there.
    pub fn made(path: &str) -> Self {
        Self { in_sandbox: false, path: path.to_owned(), made: true }
    }
}

/// One thing that is mounted or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Shows something that is elsewhere.
    Bind {
        /// What.
        source: Source,
        /// Where.
        target: Target,
        /// With what is mounted in it.
        recursive: bool,
        /// What is not allowed there.
        attributes: Attributes,
        /// What the container mounts in it appears on the host too.
        shared: bool,
        /// No fault if the source is not there.
        optional: bool,
    },
    /// Mounts a new file system, on a directory that is made if it is not there; no symbolic link leads to it.
    Mount {
        /// Name of the file system.
        kind: &'static str,
        /// Its options, with commas between them.
        options: String,
        /// What is not allowed there.
        attributes: Attributes,
        /// Absolute path of the directory.
        path: String,
    },
    /// Mounts a directory in memory, on a directory that is made if it is not there; no symbolic link leads to it. All of
    /// a container are in one file system: the kernel's work for each cgroup that goes grows with the number of those.
    Memory {
        /// Permissions of the directory.
        mode: u32,
        /// What is not allowed there.
        attributes: Attributes,
        /// Absolute path of the directory.
        path: String,
    },
    /// Makes a symbolic link.
    Link {
        /// What it points to.
        to: String,
        /// Absolute path of the link.
        path: String,
    },
    /// Makes a device.
    Device {
        /// Its absolute path.
        path: String,
        /// Type and permissions, as of mknod(2).
        mode: u32,
        /// Its number, as of mknod(2).
        number: u64,
    },
    /// Makes a file that is in memory alone.
    Secret {
        /// What is in it.
        content: Vec<u8>,
        /// What is not allowed there.
        attributes: Attributes,
        /// Where.
        target: Target,
    },
    /// Hides a file or directory, if there is one.
    Mask {
        /// Its absolute path.
        path: String,
    },
}

impl Step {
    /// Shows something that is elsewhere, with what is mounted in it.
    pub fn bind(source: Source, target: Target, attributes: Attributes) -> Self {
        Self::Bind { source, target, recursive: true, attributes, shared: false, optional: false }
    }
}

impl Step {
    /// Memory that everybody may write to, of so many bytes.
    pub(super) fn memory(path: &str, size: Option<u64>) -> Self {
        let (attributes, path) = (Attributes::NO_SUID_NO_DEV, path.to_owned());
        match size {
            Some(size) => {
                let options = format!("mode=1777,size={size}");
                Self::Mount { kind: "tmpfs", options, attributes, path }
            }
            None => Self::Memory { mode: 0o1777, attributes, path },
        }
    }
}

impl Setup {
    /// Puts a mount in the place of another one on the same path, if there is one.
    pub(super) fn replace(&mut self, path: &str, step: Step) {
        let is_there = |one: &Step| match one {
            Step::Bind { target, .. } => !target.in_sandbox && target.path == path,
            Step::Mount { path: mounted, .. } | Step::Memory { path: mounted, .. } => {
                mounted == path
            }
            _ => false,
        };
        match self.steps.iter_mut().find(|one| is_there(one)) {
            Some(found) => *found = step,
            None => self.steps.push(step),
        }
    }

    /// Adds a namespace of its own.
    pub fn own(&mut self, namespace: i32) {
        self.namespaces |= namespace;
        if let Some(parent) = &mut self.parent {
            parent.namespaces &= !namespace;
        }
    }

    /// Writes it as the supervisor reads it; nothing but a zero if there is nothing to set up. `directory` is the sandbox
    /// on the host.
    pub(crate) fn encode(
        &self,
        out: &mut Vec<u8>,
        rootfs: Option<&Root>,
        directory: &str,
    ) -> Result<(), String> {
        if *self == Self::default() && rootfs.is_none() {
            return number(out, 0);
        }
        number(out, 1)?;
        optional(out, self.parent.as_ref(), |out, parent| {
            let numbers = [parent.pid, parent.supervisor, parent.namespaces.cast_unsigned()];
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            Ok(())
        })?;
        optional(out, self.network.as_deref(), path)?;
        out.extend_from_slice(&self.namespaces.to_le_bytes());
        optional(out, self.hostname.as_deref(), text)?;
        optional(out, rootfs, |out, root| root.encode(out))?;
        text(out, self.sandbox.as_deref().unwrap_or(directory))?;
        number(out, self.steps.len())?;
        self.steps.iter().try_for_each(|one| step(out, one))?;
        optional(out, self.terminal, |out, (rows, columns)| {
            number(out, rows.into())?;
            number(out, columns.into())
        })?;
        let Privileges { limits, bounding, effective, no_new, filters } = &self.privileges;
        number(out, limits.len())?;
        for (resource, soft, hard) in limits {
            out.extend_from_slice(&resource.to_le_bytes());
            long(out, *soft);
            long(out, *hard);
        }
        for capabilities in [bounding, effective] {
            optional(out, *capabilities, |out, bits| {
                long(out, bits);
                Ok(())
            })?;
        }
        flag(out, *no_new)?;
        number(out, filters.len())?;
        filters.iter().try_for_each(|filter| bytes(out, filter))
    }
}

fn step(out: &mut Vec<u8>, step: &Step) -> Result<(), String> {
    match step {
        Step::Bind { source: from, target: to, recursive, attributes, shared, optional } => {
            number(out, 0)?;
            source(out, from)?;
            target(out, to)?;
            flag(out, *recursive)?;
            long(out, attributes.0);
            flag(out, *shared)?;
            flag(out, *optional)
        }
        Step::Mount { kind, options, attributes, path } => {
            number(out, 1)?;
            text(out, kind)?;
            text(out, options)?;
            long(out, attributes.0);
            text(out, path)
        }
        Step::Link { to, path } => {
            number(out, 2)?;
            text(out, to)?;
            text(out, path)
        }
        Step::Device { path, mode, number: device } => {
            number(out, 3)?;
            text(out, path)?;
            out.extend_from_slice(&mode.to_le_bytes());
            long(out, *device);
            Ok(())
        }
        Step::Secret { content, attributes, target: to } => {
            number(out, 4)?;
            bytes(out, content)?;
            long(out, attributes.0);
            target(out, to)
        }
        Step::Mask { path } => {
            number(out, 5)?;
            text(out, path)
        }
        Step::Memory { mode, attributes, path } => {
            number(out, 6)?;
            out.extend_from_slice(&mode.to_le_bytes());
            long(out, attributes.0);
            text(out, path)
        }
    }
}

fn source(out: &mut Vec<u8>, source: &Source) -> Result<(), String> {
    match source {
        Source::Host(from) => {
            number(out, 0)?;
            path(out, from)
        }
        Source::Within { base, path: inside } => {
            number(out, 1)?;
            path(out, base)?;
            text(out, inside)
        }
        Source::Container(from) => {
            number(out, 2)?;
            text(out, from)
        }
        Source::Parent(from) => {
            number(out, 3)?;
            text(out, from)
        }
        Source::Root(root) => {
            number(out, 4)?;
            root.encode(out)
        }
    }
}

fn target(out: &mut Vec<u8>, target: &Target) -> Result<(), String> {
    flag(out, target.in_sandbox)?;
    text(out, &target.path)?;
    flag(out, target.made)
}

fn optional<T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    write: impl FnOnce(&mut Vec<u8>, T) -> Result<(), String>,
) -> Result<(), String> {
    number(out, usize::from(value.is_some()))?;
    value.map_or(Ok(()), |value| write(out, value))
}

fn flag(out: &mut Vec<u8>, flag: bool) -> Result<(), String> {
    number(out, usize::from(flag))
}

pub(super) fn long(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    number(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

pub(super) fn path(out: &mut Vec<u8>, path: &Path) -> Result<(), String> {
    text(out, path.to_str().ok_or_else(|| format!("{} is not text", path.display()))?)
}
