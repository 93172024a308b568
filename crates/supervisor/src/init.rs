//! The first process of a pid namespace, or of what shares one with another container: it reaps what is left to it, and
//! says how the main process ended.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// The supervisor's view of it.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) pid: libc::pid_t,
    /// Whether its end is the end of every process in its namespace.
    pub(crate) is_first: bool,
    /// Where it writes the raw wait status of the main process.
    pub(crate) status: OwnedFd,
}

impl Init {
    /// The raw wait status of the main process, if it has ended.
    pub(crate) fn main_status(&self) -> Option<i32> {
        let mut status = [0; 4];
        // SAFETY: reads into a live buffer of the given length; the descriptor does not block.
        let length = unsafe { libc::read(self.status.as_raw_fd(), status.as_mut_ptr().cast(), 4) };
        (length == 4).then(|| i32::from_le_bytes(status))
    }
}

/// A pipe; reading does not block.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), String> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors, which nobody else owns.
    unsafe {
        if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
            return Err(format!("cannot make a pipe: {}", io::Error::last_os_error()));
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// Before the main process is forked: nothing but SIGKILL from outside ends this process, it inherits orphans, and who
/// is inside can't look at it or trace it.
pub(crate) fn become_init() {
    // SAFETY: the set is initialised before use; the other calls have no pointers.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// Reaps until the main process has ended, and says so. The first process of a namespace then takes all others along;
/// another one waits until the supervisor has killed them.
pub(crate) fn run(main: libc::pid_t, told: &OwnedFd, is_first: bool) -> ! {
    // SAFETY: descriptors are plain numbers here, and nothing else uses those that are closed; `status` lives.
    unsafe {
        libc::dup2(told.as_raw_fd(), 0);
        libc::close_range(1, libc::c_uint::MAX, 0);
        loop {
            let mut status = 0;
            match libc::waitpid(-1, &raw mut status, 0) {
                pid if pid == main => {
                    let bytes = status.to_le_bytes();
                    libc::write(0, bytes.as_ptr().cast(), bytes.len());
                    if is_first {
                        libc::_exit(0);
                    }
                }
                pid if pid > 0 => {}
                _ if *libc::__errno_location() == libc::EINTR => {}
                _ => libc::_exit(0),
            }
        }
    }
}
