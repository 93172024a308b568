//! What to start, as it comes over standard input: fields in a fixed order, each a little-endian length and so many
//! bytes; lists begin with their count.

use crate::cgroup::Cgroups;
use crate::container::{Container, optional};
use crate::log::Rotation;
use std::ffi::CString;
use std::time::Duration;

/// Ids to take on.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
    pub(crate) groups: Vec<libc::gid_t>,
}

/// Files that a container has as its standard streams.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Input, output and errors.
    pub(crate) paths: [CString; 3],
    /// They are one terminal.
    pub(crate) is_terminal: bool,
}

impl Streams {
    fn parse(rest: &mut &[u8]) -> Option<Self> {
        let paths = [text(rest)?, text(rest)?, text(rest)?];
        Some(Self { paths, is_terminal: number(rest)? == 1 })
    }
}

/// The main process of a container.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Program, searched in PATH of `environment` unless it has a slash.
    pub(crate) program: CString,
    /// All arguments, the first is the program's own name.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`, all of it.
    pub(crate) environment: Vec<CString>,
    /// Where `stdout` and `stderr` are opened.
    pub(crate) directory: CString,
    /// All output goes to `stderr`.
    pub(crate) is_joined: bool,
    /// What it has as its standard streams instead of files there.
    pub(crate) streams: Option<Streams>,
    /// Where the process starts.
    pub(crate) working_directory: CString,
    /// User to become, if any.
    pub(crate) user: Option<User>,
    /// Soft limit on open files; 0: as it is.
    pub(crate) open_files: u64,
    /// For how long the container waits for an agent that is gone.
    pub(crate) recovery_timeout: Duration,
    /// Time from SIGTERM to SIGKILL after that.
    pub(crate) grace_period: Duration,
    /// Its cgroups.
    pub(crate) cgroups: Cgroups,
    /// What separates it from the host.
    pub(crate) container: Option<Container>,
    /// How long `stdout` and `stderr` become.
    pub(crate) logs: [Rotation; 2],
}

impl Spec {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let program = text(&mut rest)?;
        let arguments = list(&mut rest)?;
        let environment = list(&mut rest)?;
        let directory = text(&mut rest)?;
        let is_joined = number(&mut rest)? == 1;
        let streams = optional(&mut rest, Streams::parse)?;
        let working_directory = text(&mut rest)?;
        let user = if number(&mut rest)? == 1 { Some(user(&mut rest)?) } else { None };
        let open_files = long(&mut rest)?;
        let recovery_timeout = Duration::from_nanos(long(&mut rest)?);
        let grace_period = Duration::from_nanos(long(&mut rest)?);
        let cgroups = Cgroups::parse(&mut rest)?;
        let container = optional(&mut rest, Container::parse)?;
        let logs = [rotation(&mut rest)?, rotation(&mut rest)?];
        rest.is_empty().then_some(Self {
            program,
            arguments,
            environment,
            directory,
            is_joined,
            streams,
            working_directory,
            user,
            open_files,
            recovery_timeout,
            grace_period,
            cgroups,
            container,
            logs,
        })
    }
}

fn rotation(rest: &mut &[u8]) -> Option<Rotation> {
    Some(Rotation { max: long(rest)?, keep: number(rest)? })
}

fn user(rest: &mut &[u8]) -> Option<User> {
    let (uid, gid) = (number(rest)?, number(rest)?);
    let groups = (0..number(rest)?).map(|_| number(rest)).collect::<Option<_>>()?;
    Some(User { uid, gid, groups })
}

pub(crate) fn number(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

pub(crate) fn long(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from(number(rest)?) | u64::from(number(rest)?) << 32)
}

pub(crate) fn text(rest: &mut &[u8]) -> Option<CString> {
    let length = number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    CString::new(head).ok()
}

pub(crate) fn list(rest: &mut &[u8]) -> Option<Vec<CString>> {
    (0..number(rest)?).map(|_| text(rest)).collect()
}
