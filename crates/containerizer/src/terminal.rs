//! The terminal of a running container, which its supervisor shares with whoever connects to a socket
//! (`crates/supervisor/src/door.rs`).

use crate::supervisor::Files;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What is said of a container without a terminal of its supervisor's.
pub(crate) const DISABLED: &str = "I/O switchboard server was disabled for this container";
/// Time for a supervisor to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The terminal of a running container.
#[derive(Debug)]
pub struct Terminal {
    /// What is written here is typed, and its size is the terminal's. It does not block, and must not be read.
    pub input: File,
    /// What comes out of it from now on, to its end. Who reads too slowly is left. It does not block.
    pub output: UnixStream,
}

impl Terminal {
    /// Asks the supervisor of a container for it. Blocks.
    pub(crate) fn of(files: &Files) -> Result<Self, String> {
        // Paths of sockets are short: that of the directory is not part of it.
        let directory = File::open(&files.0).map_err(|_| DISABLED.to_owned())?;
        let path = format!("/proc/self/fd/{}/terminal", directory.as_raw_fd());
        let output = match UnixStream::connect(path) {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DISABLED.to_owned());
            }
            Err(error) => return Err(format!("The terminal is closed: {error}")),
        };
        Self::receive(output).map_err(|e| format!("The terminal could not be had: {e}"))
    }

    fn receive(output: UnixStream) -> io::Result<Self> {
        output.set_read_timeout(Some(PATIENCE))?;
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(&output, into, &mut beside, flags)?;
        let mut sent = beside.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        match sent.next().filter(|_| received.bytes == 1) {
            Some(file) => {
                output.set_nonblocking(true)?;
                Ok(Self { input: file.into(), output })
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
