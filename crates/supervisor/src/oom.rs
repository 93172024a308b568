//! Lack of memory in the container: the kernel tells it, and the container is ended as a whole.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;

/// What becomes ready when the memory of a cgroup was not enough.
#[derive(Debug)]
pub(crate) struct Watch {
    sign: File,
    /// In version 2: how often it was so far. In version 1 the sign counts by itself.
    lacks: Option<u64>,
}

impl Watch {
    pub(crate) fn new(cgroup: &Path) -> Result<Self, String> {
        let fault = |e: io::Error| format!("cannot watch the memory of {}: {e}", cgroup.display());
        // What cgroups below lack within limits of their own is their business.
        let v2 = File::open(cgroup.join("memory.events.local"));
        if let Ok(mut sign) = v2 {
            let lacks = lacks(&mut sign);
            return Ok(Self { sign, lacks: Some(lacks) });
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
        Ok(Self { sign, lacks: None })
    }

    /// What is polled, and for what.
    pub(crate) fn polled(&self) -> (i32, i16) {
        let event = if self.lacks.is_some() { libc::POLLPRI } else { libc::POLLIN };
        (self.sign.as_raw_fd(), event)
    }

    /// Whether memory was short since this was last asked.
    pub(crate) fn saw_oom(&mut self) -> bool {
        match self.lacks {
            Some(before) => {
                let now = lacks(&mut self.sign);
                self.lacks = Some(now);
                now > before
            }
            None => self.sign.read(&mut [0; 8]).is_ok(),
        }
    }
}

/// How often the cgroup's own limit was reached, and how many of its own processes were killed (version 2).
fn lacks(events: &mut File) -> u64 {
    let mut text = String::new();
    if events.rewind().and_then(|()| events.read_to_string(&mut text)).is_err() {
        return 0;
    }
    let count = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let count = |name: &str| count(name).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
    count("oom ") + count("oom_kill ")
}
