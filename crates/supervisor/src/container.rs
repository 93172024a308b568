//! What is set up around the main process of a container, as it comes with the specification (`spec`): numbers, texts
//! and lists as there, each kind of thing with a number in front.

use crate::spec::{long, number, text};
use std::ffi::{CStr, CString};

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Container {
    /// The container inside which this one runs, if it shares anything with it.
    pub(crate) parent: Option<Parent>,
    /// Network namespace to enter, a file.
    pub(crate) network: Option<CString>,
    /// Namespaces of its own: `CLONE_NEW…`.
    pub(crate) namespaces: libc::c_int,
    /// Name of the host, in a namespace of its own.
    pub(crate) hostname: Option<CString>,
    /// Root file system.
    pub(crate) root: Option<Root>,
    /// Where the sandbox is for the container.
    pub(crate) sandbox: CString,
    /// What is mounted and made, in this order.
    pub(crate) steps: Vec<Step>,
    /// A terminal of so many rows and columns.
    pub(crate) terminal: Option<(u16, u16)>,
    /// What the process may do.
    pub(crate) privileges: Privileges,
}

/// A running container, by its first process.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) pid: libc::pid_t,
    /// Its supervisor: tells the process from another one with its number.
    pub(crate) supervisor: libc::pid_t,
    /// Namespaces to enter: `CLONE_NEW…`.
    pub(crate) namespaces: libc::c_int,
}

#[derive(Debug, Default)]
pub(crate) struct Privileges {
    /// Resource, soft and hard limit.
    pub(crate) limits: Vec<(u32, u64, u64)>,
    /// Capabilities that can be had at all, one bit each.
    pub(crate) bounding: Option<u64>,
    /// Capabilities that it has.
    pub(crate) effective: Option<u64>,
    /// No program gives it more.
    pub(crate) no_new: bool,
    /// Filters of system calls: programs of eight bytes an instruction.
    pub(crate) filters: Vec<Vec<u8>>,
}

/// What is mounted for this container alone.
#[derive(Debug)]
pub(crate) enum Root {
    /// A directory of the host, with attributes (`MOUNT_ATTR_…`).
    Directory {
        path: CString,
        attributes: u64,
    },
    Layers(Layers),
}

impl Root {
    /// What it is called towards people: where it is, or what is written to it.
    pub(crate) fn path(&self) -> &CStr {
        match self {
            Self::Directory { path, .. } => path,
            Self::Layers(layers) => &layers.upper,
        }
    }
}

/// Directories of the host that overlayfs puts together.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The topmost first.
    pub(crate) lower: Vec<CString>,
    pub(crate) upper: CString,
    pub(crate) work: CString,
}

/// Where something that is mounted comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The host.
    Host(CString),
    /// A directory of the host whose content is not trusted. What is not there is made, a directory of its owner's.
    Within { base: CString, path: CString },
    /// The container itself, as it is by then.
    Container(CString),
    /// The container inside which this one runs.
    Parent(CString),
    /// Made for this container.
    Root(Root),
}

/// Where something appears in the container.
#[derive(Debug)]
pub(crate) struct Target {
    /// Relative to the sandbox and inside it; else to the root.
    pub(crate) in_sandbox: bool,
    pub(crate) path: CString,
    /// Made if it is not there.
    pub(crate) made: bool,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// Shows something that is elsewhere.
    Bind {
        source: Source,
        target: Target,
        recursive: bool,
        /// `MOUNT_ATTR_…`.
        attributes: u64,
        /// What is mounted there by the container appears on the host too.
        shared: bool,
        /// No fault if the source is not there.
        optional: bool,
    },
    /// Mounts a new file system, on a directory that is made if it is not there; no link leads to it.
    Mount { kind: CString, options: CString, attributes: u64, path: CString },
    /// Mounts a directory in memory, on a directory that is made if it is not there; no link leads to it.
    Memory { mode: u32, attributes: u64, path: CString },
    /// Makes a symbolic link.
    Link { to: CString, path: CString },
    /// Makes a device, with type and permissions.
    Device { path: CString, mode: u32, number: u64 },
    /// Makes a file that is in memory alone.
    Secret { content: Vec<u8>, attributes: u64, target: Target },
    /// Hides a file or directory, if there is one.
    Mask { path: CString },
}

impl Container {
    pub(crate) fn parse(rest: &mut &[u8]) -> Option<Self> {
        let parent = optional(rest, |rest| {
            Some(Parent {
                pid: number(rest)? as libc::pid_t,
                supervisor: number(rest)? as libc::pid_t,
                namespaces: number(rest)? as libc::c_int,
            })
        })?;
        Some(Self {
            parent,
            network: optional(rest, text)?,
            namespaces: number(rest)? as libc::c_int,
            hostname: optional(rest, text)?,
            root: optional(rest, root)?,
            sandbox: text(rest)?,
            steps: many(rest, step)?,
            terminal: optional(rest, |rest| {
                Some((u16::try_from(number(rest)?).ok()?, u16::try_from(number(rest)?).ok()?))
            })?,
            privileges: Privileges {
                limits: many(rest, |rest| Some((number(rest)?, long(rest)?, long(rest)?)))?,
                bounding: optional(rest, long)?,
                effective: optional(rest, long)?,
                no_new: flag(rest)?,
                filters: many(rest, bytes)?,
            },
        })
    }
}

fn step(rest: &mut &[u8]) -> Option<Step> {
    Some(match number(rest)? {
        0 => Step::Bind {
            source: source(rest)?,
            target: target(rest)?,
            recursive: flag(rest)?,
            attributes: long(rest)?,
            shared: flag(rest)?,
            optional: flag(rest)?,
        },
        1 => Step::Mount {
            kind: text(rest)?,
            options: text(rest)?,
            attributes: long(rest)?,
            path: text(rest)?,
        },
        2 => Step::Link { to: text(rest)?, path: text(rest)? },
        3 => Step::Device { path: text(rest)?, mode: number(rest)?, number: long(rest)? },
        4 => Step::Secret { content: bytes(rest)?, attributes: long(rest)?, target: target(rest)? },
        5 => Step::Mask { path: text(rest)? },
        6 => Step::Memory { mode: number(rest)?, attributes: long(rest)?, path: text(rest)? },
        _ => return None,
    })
}

fn source(rest: &mut &[u8]) -> Option<Source> {
    Some(match number(rest)? {
        0 => Source::Host(text(rest)?),
        1 => Source::Within { base: text(rest)?, path: text(rest)? },
        2 => Source::Container(text(rest)?),
        3 => Source::Parent(text(rest)?),
        4 => Source::Root(root(rest)?),
        _ => return None,
    })
}

fn root(rest: &mut &[u8]) -> Option<Root> {
    Some(match number(rest)? {
        0 => Root::Directory { path: text(rest)?, attributes: long(rest)? },
        1 => {
            Root::Layers(Layers { lower: many(rest, text)?, upper: text(rest)?, work: text(rest)? })
        }
        _ => return None,
    })
}

fn target(rest: &mut &[u8]) -> Option<Target> {
    Some(Target { in_sandbox: flag(rest)?, path: text(rest)?, made: flag(rest)? })
}

fn flag(rest: &mut &[u8]) -> Option<bool> {
    match number(rest)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head.to_vec())
}

/// What may be left out: it says so itself.
pub(crate) fn optional<T>(
    rest: &mut &[u8],
    one: impl FnOnce(&mut &[u8]) -> Option<T>,
) -> Option<Option<T>> {
    if flag(rest)? { Some(Some(one(rest)?)) } else { Some(None) }
}

fn many<T>(rest: &mut &[u8], one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    (0..number(rest)?).map(|_| one(rest)).collect()
}
