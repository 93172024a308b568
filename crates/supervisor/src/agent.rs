//! The agent, as seen from the container: whether it is there, and what follows when it stays away.

use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// What is to be done with the container of an agent that stayed away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask it to end.
    Terminate,
    /// Kill it.
    Kill,
}

/// The agent.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Polls as ready once the agent is gone: our standard output, or the process that came back. None: it is gone.
    sign: Option<OwnedFd>,
    /// What happens next if it stays away.
    next: Option<(Instant, Due)>,
    recovery_timeout: Duration,
    grace_period: Duration,
}

impl Agent {
    /// The agent that reads our standard output.
    pub(crate) fn listening(recovery_timeout: Duration, grace_period: Duration) -> Self {
        let sign = std::io::stdout().as_fd().try_clone_to_owned().ok();
        Self { sign, next: None, recovery_timeout, grace_period }
    }

    /// What is polled to see it go; -1 if it is gone.
    pub(crate) fn descriptor(&self) -> i32 {
        self.sign.as_ref().map_or(-1, |fd| fd.as_raw_fd())
    }

    /// Whether it is there at this moment.
    pub(crate) fn is_there(&self) -> bool {
        let mut polled = libc::pollfd { fd: self.descriptor(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives through the call.
        polled.fd >= 0 && unsafe { libc::poll(&raw mut polled, 1, 0) } == 0
    }

    /// It is gone: the time runs.
    pub(crate) fn leave(&mut self) {
        self.sign = None;
        if self.next.is_none() {
            let end = Instant::now().checked_add(self.recovery_timeout);
            self.next = end.map(|end| (end, Due::Terminate));
        }
    }

    /// It is back as this process. What was begun goes on.
    pub(crate) fn come_back(&mut self, pid: libc::pid_t) {
        // SAFETY: a system call without pointers; the descriptor it gives is nobody else's.
        let sign = unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| OwnedFd::from_raw_fd(fd))
        };
        if sign.is_none() {
            self.leave();
            return;
        }
        self.sign = sign;
        self.next = self.next.filter(|(_, due)| *due == Due::Kill);
    }

    /// Milliseconds until something is due; -1: nothing will be.
    pub(crate) fn wait_ms(&self) -> i32 {
        let Some((at, _)) = self.next else { return -1 };
        let left = at.saturating_duration_since(Instant::now());
        i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    }

    /// What is due now, once.
    pub(crate) fn due(&mut self) -> Option<Due> {
        let (_, due) = self.next.filter(|(at, _)| *at <= Instant::now())?;
        self.next = match due {
            Due::Terminate => {
                Instant::now().checked_add(self.grace_period).map(|end| (end, Due::Kill))
            }
            Due::Kill => None,
        };
        Some(due)
    }
}
