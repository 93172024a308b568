//! Lack of memory in the container: the kernel tells it, and the container is ended as a whole.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;

/// What becomes ready when the memory of a cgroup was not enough.
#[derive(Debug)]
pub(crate) struct Watch {
    sign: File,
    /// In version 2: how many processes were killed for it so far. In version 1 the sign counts by itself.
    kills: Option<u64>,
}

impl Watch {
    pub(crate) fn new(cgroup: &Path) -> Result<Self, String> {
        let fault = |e: io::Error| format!("cannot watch the memory of {}: {e}", cgroup.display());
        let v2 = File::open(cgroup.join("memory.events"));
        if let Ok(mut sign) = v2 {
            let kills = kills(&mut sign);
            return Ok(Self { sign, kills: Some(kills) });
        }
        // SAFETY: a plain system call; the descriptor it gives is nobody else's.
        let sign = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(fault(io::Error::last_os_error()));
            }
            File::from_raw_fd(fd)
        };
        let control = File::open(cgroup.join("memory.oom_control")).map_err(fault)?;
        let line = format!("{} {}", sign.as_raw_fd(), control.as_raw_fd());
        let register = File::options().write(true).open(cgroup.join("cgroup.event_control"));
        register.and_then(|mut file| file.write_all(line.as_bytes())).map_err(fault)?;
        Ok(Self { sign, kills: None })
    }

    /// What is polled, and for what.
    pub(crate) fn polled(&self) -> (i32, i16) {
        let event = if self.kills.is_some() { libc::POLLPRI } else { libc::POLLIN };
        (self.sign.as_raw_fd(), event)
    }

    /// Whether memory was short since this was last asked.
    pub(crate) fn saw_oom(&mut self) -> bool {
        match self.kills {
            Some(before) => {
                let now = kills(&mut self.sign);
                self.kills = Some(now);
                now > before
            }
            None => self.sign.read(&mut [0; 8]).is_ok(),
        }
    }
}

/// How many processes of the cgroup were killed for a lack of memory (version 2).
fn kills(events: &mut File) -> u64 {
    let mut text = String::new();
    if events.rewind().and_then(|()| events.read_to_string(&mut text)).is_err() {
        return 0;
    }
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
