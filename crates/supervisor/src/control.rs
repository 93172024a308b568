//! Commands of the agent, through a FIFO in the runtime directory.

use crate::agent::Agent;
use crate::oom;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What the agent asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Send a signal to every process.
    Signal(i32),
    /// Kill every process until none is left.
    Kill,
    /// The agent is this process now.
    Agent(libc::pid_t),
}

/// What happened while it waited.
#[derive(Debug)]
pub(crate) struct Woken {
    /// Commands that came.
    pub(crate) commands: Vec<Command>,
    /// The container's memory was not enough.
    pub(crate) saw_oom: bool,
}

/// The reading end. It is open for writing too, so that it never ends.
#[derive(Debug)]
pub(crate) struct Control {
    fifo: File,
    buffer: Vec<u8>,
}

impl Control {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: `name` is a terminated string.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        let error = io::Error::last_os_error();
        if made != 0 && error.kind() != io::ErrorKind::AlreadyExists {
            return Err(format!("cannot make {}: {error}", path.display()));
        }
        let fifo = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path);
        Ok(Self {
            fifo: fifo.map_err(|e| format!("cannot open {}: {e}", path.display()))?,
            buffer: Vec::new(),
        })
    }

    /// Waits for a command, the end of a process or of the agent, a lack of memory, anything on `also` (-1: nothing), or
    /// the time.
    pub(crate) fn wait(
        &mut self,
        signals: &OwnedFd,
        agent: &mut Agent,
        memory: Option<&mut oom::Watch>,
        also: &[i32],
        wait_ms: i32,
    ) -> Woken {
        let (sign, event) = memory.as_ref().map_or((-1, 0), |memory| memory.polled());
        let entry = |fd: i32, events: i16| libc::pollfd { fd, events, revents: 0 };
        let mut polled = vec![
            entry(self.fifo.as_raw_fd(), libc::POLLIN),
            entry(signals.as_raw_fd(), libc::POLLIN),
            entry(agent.descriptor(), libc::POLLIN),
            entry(sign, event),
        ];
        polled.extend(also.iter().map(|fd| entry(*fd, libc::POLLIN)));
        // SAFETY: the array lives through the call, and its length is given.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, wait_ms) };
        if polled[1].revents != 0 {
            let mut info = [0_u8; 128];
            // SAFETY: reads into a live buffer of the given length. What it says is not needed: all children are looked at.
            while unsafe { libc::read(signals.as_raw_fd(), info.as_mut_ptr().cast(), info.len()) }
                > 0
            {}
        }
        if polled[2].revents != 0 {
            agent.leave();
        }
        let is_ready = polled[3].revents != 0;
        let saw_oom = memory.is_some_and(|memory| is_ready && memory.saw_oom());
        let mut commands = Vec::new();
        let mut chunk = [0; 256];
        while let Ok(length) = self.fifo.read(&mut chunk) {
            self.buffer.extend_from_slice(&chunk[..length]);
        }
        while let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=at).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim().split_once(' ') {
                Some(("signal", number)) => {
                    commands.extend(number.parse().ok().map(Command::Signal))
                }
                Some(("agent", pid)) => commands.extend(pid.parse().ok().map(Command::Agent)),
                None if line.trim() == "kill" => commands.push(Command::Kill),
                _ => {}
            }
        }
        Woken { commands, saw_oom }
    }
}
