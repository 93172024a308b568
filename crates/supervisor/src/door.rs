//! Where others get at the terminal of a container: a socket `terminal` in the runtime directory. Who connects is handed
//! the outer end of the terminal, to write to it and to change its size, and then a copy of what comes out of it. Nobody is
//! waited for: who does not take what he gets is left.

use crate::terminal;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The socket, and who came in.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    inside: Vec<UnixStream>,
}

impl Door {
    /// Makes the socket.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        // Paths of sockets are short: that of the directory is not part of it.
        let directory = File::open(directory)?;
        let path = format!("/proc/self/fd/{}/terminal", directory.as_raw_fd());
        // SAFETY: plain system calls; this process has one thread.
        let mask = unsafe { libc::umask(0o177) };
        let listener = UnixListener::bind(path);
        // SAFETY: as above.
        unsafe { libc::umask(mask) };
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, inside: Vec::new() })
    }

    /// What is polled to see somebody come.
    pub(crate) fn descriptor(&self) -> i32 {
        self.listener.as_raw_fd()
    }

    /// Lets in who waits, to a terminal.
    pub(crate) fn admit(&mut self, outer: BorrowedFd<'_>) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() && terminal::send(&stream, outer).is_ok() {
                self.inside.push(stream);
            }
        }
    }

    /// Gives all of them what came out.
    pub(crate) fn tell(&mut self, bytes: &[u8]) {
        // A copy with a hole in it would be of no use.
        self.inside.retain_mut(|stream| matches!(stream.write(bytes), Ok(n) if n == bytes.len()));
    }
}
