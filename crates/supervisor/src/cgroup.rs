//! The container's cgroups: joined at its birth, its processes found and killed in one of them.

use crate::spec::{list, text};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `CLONE_INTO_CGROUP`: the C library's constant is too narrow for it.
const INTO_CGROUP: u64 = 1 << 33;

/// Where the container's own processes are put when cgroups inside its own are to have limits (version 2).
const LEAF: &str = "leaf";
/// How often a cgroup is tried to be removed that a process is still leaving, and the time between.
const REMOVALS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// What the specification says of them.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// Those to join, directories.
    pub(crate) joined: Vec<PathBuf>,
    /// The one of them in which the container's processes are found.
    pub(crate) tracker: Option<Tracker>,
    /// The one of them that tells when memory is short.
    pub(crate) memory: Option<PathBuf>,
    /// What to write to `oom_score_adj`; nothing if empty.
    pub(crate) oom_score_adj: Vec<u8>,
}

impl Cgroups {
    pub(crate) fn parse(rest: &mut &[u8]) -> Option<Self> {
        let path = |text: CString| PathBuf::from(OsString::from_vec(text.into_bytes()));
        let joined = list(rest)?.into_iter().map(path).collect();
        let mut place = || Some(Some(path(text(rest)?)).filter(|p| !p.as_os_str().is_empty()));
        let (tracker, memory) = (place()?.map(Tracker), place()?);
        let oom_score_adj = text(rest)?.into_bytes();
        Some(Self { joined, tracker, memory, oom_score_adj })
    }

    /// Removes the container's own cgroups, for an agent that is gone. All have its name; the tracker is the last one,
    /// since it tells whose they are.
    pub(crate) fn remove(&self) {
        let Some(Tracker(tracker)) = &self.tracker else { return };
        let own = self
            .joined
            .iter()
            .filter(|cgroup| *cgroup != tracker && cgroup.file_name() == tracker.file_name());
        for cgroup in own.chain([tracker]) {
            // Those of containers that were inside this one, and of its own processes.
            for inside in ["mesos", LEAF] {
                let _ = std::fs::remove_dir(cgroup.join(inside));
            }
            for _ in 0..REMOVALS {
                match std::fs::remove_dir(cgroup) {
                    Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(PAUSE);
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Ways into all cgroups of a container, opened before the fork.
#[derive(Debug)]
pub(crate) struct Entrances {
    /// `tasks` of cgroups of version 1. A process of one thread that moves itself there needs no lock on the forks of
    /// the whole machine, which takes milliseconds to get.
    files: Vec<File>,
    /// The cgroup of version 2, in which the process is born: moving it there would need that lock.
    birthplace: Option<OwnedFd>,
}

impl Entrances {
    pub(crate) fn open(cgroups: &[PathBuf]) -> Result<Self, String> {
        let mut entrances = Self { files: Vec::new(), birthplace: None };
        for cgroup in cgroups {
            let fault = |e: io::Error| format!("cannot join the cgroup {}: {e}", cgroup.display());
            match File::options().write(true).open(cgroup.join("tasks")) {
                Ok(file) => entrances.files.push(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    entrances.birthplace = Some(File::open(cgroup).map_err(fault)?.into());
                }
                Err(e) => return Err(fault(e)),
            }
        }
        Ok(entrances)
    }

    /// Forks into the cgroup of version 2, if there is one: 0 in the child, the child's process id in the parent.
    pub(crate) fn fork(&self) -> io::Result<libc::pid_t> {
        let pid = match &self.birthplace {
            // SAFETY: this process has one thread, so the child may use the whole library.
            None => unsafe { libc::fork() },
            Some(cgroup) => {
                // SAFETY: an empty structure is one that asks for nothing.
                let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
                arguments.flags = INTO_CGROUP;
                arguments.exit_signal = libc::SIGCHLD.unsigned_abs().into();
                arguments.cgroup = cgroup.as_raw_fd().unsigned_abs().into();
                // SAFETY: as fork: neither stack nor memory are shared, and the structure's size is given.
                let pid = unsafe {
                    libc::syscall(
                        libc::SYS_clone3,
                        &raw mut arguments,
                        size_of::<libc::clone_args>(),
                    )
                };
                libc::pid_t::try_from(pid).unwrap_or(-1)
            }
        };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }

    /// In the child: joins the cgroups of version 1.
    pub(crate) fn join(&self) -> Result<(), String> {
        let join = |mut file: &File| file.write_all(b"0");
        self.files.iter().try_for_each(join).map_err(|e| format!("cannot join a cgroup: {e}"))
    }
}

/// The cgroup in which the container's processes, and those of containers inside it, are found.
#[derive(Debug)]
pub(crate) struct Tracker(pub(crate) PathBuf);

impl Tracker {
    /// Kills all of them, those too that are forked meanwhile.
    pub(crate) fn kill(&self) {
        if write(&self.0, "cgroup.kill", "1") {
            return;
        }
        // What is frozen does not fork.
        let freezes = [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")];
        let frozen = freezes.iter().find(|(file, on, _)| write(&self.0, file, on));
        let mut open = vec![self.0.clone()];
        while let Some(directory) = open.pop() {
            signal_in(&directory, libc::SIGKILL, None);
            let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            open.extend(entries.filter(|e| e.path().is_dir()).map(|e| e.path()));
        }
        if let Some((file, _, off)) = frozen {
            write(&self.0, file, off);
        }
    }

    /// Sends a signal to the container's processes but to `spared`.
    pub(crate) fn signal(&self, signal: i32, spared: Option<libc::pid_t>) {
        signal_in(&self.0, signal, spared);
        signal_in(&self.0.join(LEAF), signal, spared);
    }
}

fn write(cgroup: &Path, file: &str, text: &str) -> bool {
    let file = File::options().write(true).open(cgroup.join(file));
    file.and_then(|mut file| file.write_all(text.as_bytes())).is_ok()
}

fn signal_in(cgroup: &Path, signal: i32, spared: Option<libc::pid_t>) {
    let list = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let pids = list.lines().filter_map(|line| line.parse::<libc::pid_t>().ok());
    for pid in pids.filter(|pid| *pid > 0 && Some(*pid) != spared) {
        // SAFETY: a plain system call.
        unsafe { libc::kill(pid, signal) };
    }
}
