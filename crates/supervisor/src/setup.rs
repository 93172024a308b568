//! What the container's process sets up for itself between fork and exec: first it joins its cgroups, then it
//! enters its namespaces and makes its file system.
//!
//! It runs as the agent's user. What fails is told to the supervisor through a pipe, and by it to the agent: the launch
//! has failed then, unlike that of a command which can't be executed.

use crate::cgroup::Entrances;
use crate::main_process::Stdio;
use crate::namespaces::Namespaces;
use crate::spec::Spec;
use crate::steps::Copies;
use crate::terminal;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Whether there is anything to set up.
pub(crate) fn is_needed(spec: &Spec) -> bool {
    !spec.cgroups.joined.is_empty() || spec.container.is_some()
}

/// Sets up everything, in the child; `terminal` is where the outer end of a terminal is handed over. Gives what the main
/// process has for standard input and output, if it has a terminal.
pub(crate) fn set_up(
    spec: &Spec,
    entrances: &Entrances,
    namespaces: Option<Namespaces>,
    terminal: Option<&OwnedFd>,
) -> Result<Option<Stdio>, String> {
    entrances.join()?;
    let score = &spec.cgroups.oom_score_adj;
    if !score.is_empty() {
        std::fs::write("/proc/self/oom_score_adj", score)
            .map_err(|e| format!("cannot set oom_score_adj: {e}"))?;
    }
    let (Some(container), Some(namespaces)) = (&spec.container, namespaces) else {
        return Ok(None);
    };
    // What is made has the permissions that are said.
    // SAFETY: a plain system call.
    let mask = unsafe { libc::umask(0) };
    let mut copies = Copies::of_host(container)?;
    namespaces.visit(|| copies.add_parent(container))?;
    namespaces.enter(container)?;
    copies.attach(container)?;
    // SAFETY: a plain system call.
    unsafe { libc::umask(mask) };
    let (Some(size), Some(to)) = (container.terminal, terminal) else { return Ok(None) };
    let user = spec.user.as_ref().map(|user| user.uid);
    let made = terminal::make(size, user, to).and_then(Stdio::of_terminal);
    made.map(Some).map_err(|e| format!("cannot make a terminal: {e}"))
}

/// Tells the supervisor what becomes of the set-up.
#[derive(Debug)]
pub(crate) struct Report {
    read: OwnedFd,
    write: OwnedFd,
}

impl Report {
    pub(crate) fn new() -> Result<Self, String> {
        let mut fds = [0; 2];
        // SAFETY: the array has room for the two descriptors, which nobody else owns.
        unsafe {
            if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
                return Err(format!("cannot make a pipe: {}", io::Error::last_os_error()));
            }
            Ok(Self { read: OwnedFd::from_raw_fd(fds[0]), write: OwnedFd::from_raw_fd(fds[1]) })
        }
    }

    /// In the child: it failed.
    pub(crate) fn failed(&self, text: &str) {
        // SAFETY: writes bytes of a live buffer.
        unsafe { libc::write(self.write.as_raw_fd(), text.as_ptr().cast(), text.len()) };
    }

    /// In the supervisor: waits until the child has set up everything, which closes its end; or why it could not.
    pub(crate) fn outcome(self) -> Result<(), String> {
        drop(self.write);
        let mut text = String::new();
        match File::from(self.read).read_to_string(&mut text) {
            Ok(0) => Ok(()),
            Ok(_) => Err(text),
            Err(e) => Err(format!("cannot learn whether the container was set up: {e}")),
        }
    }
}
