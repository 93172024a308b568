//! The supervisor program and its files, seen from the agent.

use crate::ContainerSpec;
use crate::isolation::Preparation;
use crate::user::User;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a supervisor is looked at that has not decided whether it starts anything.
const SETTLES: u32 = 5000;
/// Time between two looks.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

static PROGRAM: &[u8] = include_bytes!(env!("PROFFER_SUPERVISOR"));

/// Writes the program below `directory`, under a name with its hash, unless it is there.
pub(crate) fn install(directory: &Path) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    PROGRAM.hash(&mut hasher);
    let path = directory.join(format!("proffer-supervisor-{:016x}", hasher.finish()));
    if std::fs::read(&path).is_ok_and(|bytes| bytes == PROGRAM) {
        return Ok(path);
    }
    std::fs::create_dir_all(directory)?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&new, PROGRAM)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&new, &path)?;
    Ok(path)
}

/// Whether there is something to execute.
pub(crate) fn check(spec: &ContainerSpec) -> Result<(), String> {
    match spec.command.value.as_deref().unwrap_or_default() {
        "" => Err("'CommandInfo.value' is not set".to_owned()),
        _ => Ok(()),
    }
}

/// The specification as the supervisor reads it (`crates/supervisor/src/spec.rs`).
pub(crate) fn encode(
    spec: &ContainerSpec,
    user: Option<&User>,
    open_files: Option<u64>,
    preparation: &Preparation,
) -> Result<Vec<u8>, String> {
    check(spec)?;
    let value = spec.command.value.as_deref().unwrap_or_default();
    let (program, arguments) = if spec.command.shell() {
        ("/bin/sh", vec!["sh".to_owned(), "-c".to_owned(), value.to_owned()])
    } else if spec.command.arguments.is_empty() {
        (value, vec![value.to_owned()])
    } else {
        (value, spec.command.arguments.clone())
    };
    let mut out = Vec::new();
    text(&mut out, program)?;
    list(&mut out, arguments.iter().map(String::as_str))?;
    let Preparation {
        cgroups,
        tracker,
        memory,
        oom_score_adj,
        rootfs,
        owner: _,
        environment: replaced,
        setup,
        logs,
    } = preparation;
    let kept = spec.environment.iter().filter(|(name, _)| !replaced.contains_key(*name));
    let environment = kept.chain(replaced).map(|(name, value)| format!("{name}={value}"));
    let environment: Vec<String> = environment.collect();
    list(&mut out, environment.iter().map(String::as_str))?;
    text(&mut out, spec.output.as_ref().unwrap_or(&spec.directory))?;
    number(&mut out, usize::from(spec.output.is_some()))?;
    number(&mut out, usize::from(spec.streams.is_some()))?;
    if let Some(streams) = &spec.streams {
        for path in [&streams.input, &streams.output, &streams.errors] {
            text(&mut out, path)?;
        }
        number(&mut out, usize::from(streams.is_terminal))?;
    }
    let inside = setup.working_directory.as_ref().or(spec.working_directory.as_ref());
    text(&mut out, inside.or(setup.sandbox.as_ref()).unwrap_or(&spec.directory))?;
    number(&mut out, usize::from(user.is_some()))?;
    if let Some(user) = user {
        out.extend_from_slice(&user.uid.to_le_bytes());
        out.extend_from_slice(&user.gid.to_le_bytes());
        number(&mut out, user.groups.len())?;
        user.groups.iter().for_each(|group| out.extend_from_slice(&group.to_le_bytes()));
    }
    out.extend_from_slice(&open_files.unwrap_or(0).to_le_bytes());
    for time in [spec.recovery_timeout, spec.shutdown_grace_period] {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        out.extend_from_slice(&nanos.to_le_bytes());
    }
    let cgroups = cgroups.iter().map(|path| path_text(path)).collect::<Result<Vec<&str>, _>>()?;
    list(&mut out, cgroups.into_iter())?;
    for path in [tracker, memory] {
        text(&mut out, path.as_deref().map_or(Ok(""), path_text)?)?;
    }
    text(&mut out, &oom_score_adj.map(|score| score.to_string()).unwrap_or_default())?;
    setup.encode(&mut out, rootfs.as_ref(), &spec.directory)?;
    for log in logs {
        out.extend_from_slice(&log.max.to_le_bytes());
        out.extend_from_slice(&log.keep.to_le_bytes());
    }
    Ok(out)
}

fn path_text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path {} is not text", path.display()))
}

/// Writes a number as the supervisor reads it.
pub(crate) fn number(out: &mut Vec<u8>, number: usize) -> Result<(), String> {
    let number = u32::try_from(number).map_err(|_| "the command is too long".to_owned())?;
    out.extend_from_slice(&number.to_le_bytes());
    Ok(())
}

/// Writes a text as the supervisor reads it.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("the command or its environment contains a zero byte".to_owned());
    }
    number(out, text.len())?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn list<'a>(
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), String> {
    number(out, items.len())?;
    items.into_iter().try_for_each(|item| text(out, item))
}

/// The end of a container, in the words of its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Raw wait status of the main process.
    pub(crate) status: i32,
    /// It killed the container because the kernel told that memory was short.
    pub(crate) saw_oom: bool,
}

impl Kept {
    /// Reads `<status>` or `<status> oom`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (status, saw_oom) = match text.strip_suffix(" oom") {
            Some(status) => (status, true),
            None => (text, false),
        };
        Some(Self { status: status.parse().ok()?, saw_oom })
    }
}

/// Runtime directory of one container.
#[derive(Debug, Clone)]
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    /// What the supervisor left behind.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let lock = std::fs::read_to_string(self.0.join("lock")).unwrap_or_default();
        let kept = lock.split_once('\n').and_then(|(_, status)| status.strip_suffix('\n'));
        if let Some(kept) = kept {
            return Kept::parse(kept);
        }
        // Supervisors of before kept it in a file of its own.
        Kept::parse(std::fs::read_to_string(self.0.join("status")).ok()?.trim())
    }

    /// Whether the main process was never forked: that is written down before.
    pub(crate) fn is_unstarted(&self) -> bool {
        match std::fs::metadata(self.0.join("lock")) {
            Ok(metadata) => metadata.len() == 0,
            Err(error) => {
                error.kind() == io::ErrorKind::NotFound && !self.0.join("status").exists()
            }
        }
    }

    fn is_locked(&self) -> bool {
        let Ok(lock) = File::open(self.0.join("lock")) else { return false };
        // SAFETY: the descriptor is open; the lock taken here, if any, goes with it.
        unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) != 0 }
    }

    /// The supervisor that holds the lock, if one does.
    pub(crate) fn supervisor(&self) -> Option<u32> {
        if !self.is_locked() {
            return None;
        }
        std::fs::read_to_string(self.0.join("lock")).ok()?.lines().next()?.parse().ok()
    }

    /// Makes the directory, and keeps there the id of the container inside which this one runs.
    pub(crate) fn create(&self, parent: Option<&str>) -> Result<(), String> {
        let made = std::fs::create_dir_all(&self.0);
        made.and_then(|()| match parent {
            Some(parent) => std::fs::write(self.0.join("parent"), parent),
            None => Ok(()),
        })
        .map_err(|e| format!("cannot create {}: {e}", self.0.display()))
    }

    /// The process that was started first, if it is there: its namespaces are the container's.
    pub(crate) fn main(&self) -> Option<u32> {
        let supervisor = self.supervisor()?;
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        std::fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// The container inside which this one runs, if any.
    pub(crate) fn parent(&self) -> Option<String> {
        std::fs::read_to_string(self.0.join("parent")).ok()
    }

    /// The same, when it has decided whether it starts anything: it sees at once that its agent is gone.
    pub(crate) fn settled_supervisor(&self) -> Option<u32> {
        for _ in 0..SETTLES {
            if !self.is_locked() {
                return None;
            }
            if let Some(pid) = self.supervisor() {
                return Some(pid);
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
        None
    }

    /// Sends a command; false if nobody listens.
    pub(crate) fn command(&self, line: &str) -> bool {
        let fifo =
            File::options().write(true).custom_flags(libc::O_NONBLOCK).open(self.0.join("control"));
        fifo.and_then(|mut fifo| fifo.write_all(line.as_bytes())).is_ok()
    }
}

/// A descriptor that becomes readable when the process ends; None if it is gone.
pub(crate) fn watch(pid: u32) -> Option<OwnedFd> {
    // SAFETY: a system call without pointers; the descriptor it gives is nobody else's.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_pidfd_open,
            libc::c_long::from(pid),
            libc::c_long::from(libc::PIDFD_NONBLOCK),
        );
        (fd >= 0).then(|| OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)))
    }
}
