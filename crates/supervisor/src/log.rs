//! What a container writes to its standard output and error, in the sandbox.
//!
//! Without a limit the container has the files themselves. With one it has pipes, and this process copies: before a
//! file would grow beyond its limit, it is renamed to `stdout.1`, the one of that name to `stdout.2`, and so on.

use crate::door::Door;
use crate::rooted::{self, Within};
use crate::spec::Spec;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

/// What is read at once; a limit is at least as much.
const CHUNK: usize = 4096;
/// How often it is read before others get their turn.
const TURN: usize = 64;

/// How long a file becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    /// Bytes; 0: as long as it likes.
    pub(crate) max: u64,
    /// Full files that are kept.
    pub(crate) keep: u32,
}

/// A file for output.
#[derive(Debug)]
pub(crate) struct Log {
    sandbox: File,
    name: &'static CStr,
    owner: Option<(u32, u32)>,
    rotation: Rotation,
    file: File,
    size: u64,
}

impl Log {
    /// Opens it in the sandbox; what was put there before does not lead out of it.
    pub(crate) fn open(
        spec: &Spec,
        name: &'static CStr,
        rotation: Rotation,
    ) -> Result<Self, String> {
        let directory = spec.directory.to_string_lossy();
        let fault =
            |e: io::Error| format!("cannot open {directory}/{}: {e}", name.to_string_lossy());
        let sandbox = File::open(&*directory).map_err(fault)?;
        let owner = spec.user.as_ref().map(|user| (user.uid, user.gid));
        let file = open(&sandbox, name, owner, 0).map_err(fault)?;
        let size = file.metadata().map_err(fault)?.len();
        Ok(Self { sandbox, name, owner, rotation, file, size })
    }

    /// What the container gets, and the stream that has to be copied if that is not the file.
    pub(crate) fn share(self) -> Result<(OwnedFd, Option<Stream>), String> {
        let fault = |e: io::Error| format!("cannot make a pipe: {e}");
        if self.rotation.max == 0 {
            return Ok((self.file.into(), None));
        }
        let mut fds = [0; 2];
        // SAFETY: the array has room for the two descriptors, which nobody else owns.
        let (source, sink) = unsafe {
            if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
                return Err(fault(io::Error::last_os_error()));
            }
            libc::fcntl(fds[0], libc::F_SETFL, libc::O_NONBLOCK);
            (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
        };
        if let Some((uid, gid)) = self.owner {
            // So that `/dev/stdout` can be opened by the container's user.
            std::os::unix::fs::fchown(&sink, Some(uid), Some(gid)).map_err(fault)?;
        }
        Ok((sink, Some(Stream::new(source.into(), self))))
    }

    /// Puts full files one place further. What can't be moved is written over.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| match number {
            0 => self.name.to_owned(),
            number => {
                let name = format!("{}.{number}", self.name.to_string_lossy());
                CString::new(name).expect("a name without zero bytes")
            }
        };
        for number in (0..self.rotation.keep).rev() {
            let (from, to) = (numbered(number), numbered(number + 1));
            let sandbox = self.sandbox.as_raw_fd();
            // SAFETY: names are terminated; both are entries of the sandbox itself.
            unsafe { libc::renameat(sandbox, from.as_ptr(), sandbox, to.as_ptr()) };
        }
        self.file = open(&self.sandbox, self.name, self.owner, libc::O_TRUNC)?;
        self.size = 0;
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let is_over = self.rotation.max > 0 && self.size + bytes.len() as u64 > self.rotation.max;
        // A full disk is no reason to stop the container, and none to let the file grow.
        if is_over && self.rotate().is_err() {
            return;
        }
        if self.file.write_all(bytes).is_ok() {
            self.size += bytes.len() as u64;
        }
    }
}

fn open(sandbox: &File, name: &CStr, owner: Option<(u32, u32)>, flags: i32) -> io::Result<File> {
    let flags = flags | libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK;
    let file = File::from(rooted::open(sandbox.as_fd(), name, Within::Bounds, flags)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    // SAFETY: the descriptor is open. Programs shall not find a flag that was for the opening only.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
    if let Some((uid, gid)) = owner {
        let _ = std::os::unix::fs::fchown(&file, Some(uid), Some(gid));
    }
    Ok(file)
}

/// Output that this process copies: of a terminal, or of a pipe.
#[derive(Debug)]
pub(crate) struct Stream {
    source: File,
    log: Log,
    /// Of a terminal: where others get at it.
    door: Option<Door>,
    /// All that had come out was written.
    is_empty: bool,
}

impl Stream {
    /// `source` does not block.
    pub(crate) fn new(source: File, log: Log) -> Self {
        Self { source, log, door: None, is_empty: true }
    }

    /// Others get what comes out as well, and at the terminal that it comes out of.
    pub(crate) fn share(&mut self, door: Door) {
        self.door = Some(door);
    }

    /// What is polled to see output, and who wants to have it too.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        let door = self.door.as_ref().map(Door::descriptor);
        [self.source.as_raw_fd()].into_iter().chain(door)
    }

    /// Writes what has come out to the sandbox; None when nothing will come any more.
    pub(crate) fn copied(mut self) -> Option<Self> {
        let mut chunk = [0; CHUNK];
        self.is_empty = false;
        if let Some(door) = &mut self.door {
            door.admit(self.source.as_fd());
        }
        // A bound, since others wait for this process.
        for _ in 0..TURN {
            match self.source.read(&mut chunk) {
                Ok(0) => return None,
                Ok(length) => {
                    self.log.write(&chunk[..length]);
                    if let Some(door) = &mut self.door {
                        door.tell(&chunk[..length]);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.is_empty = true;
                    return Some(self);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The last process that had the other end is gone.
                Err(_) => return None,
            }
        }
        Some(self)
    }

    /// Writes all that has come out, at the end.
    pub(crate) fn drain(self) {
        let mut left = Some(self);
        while let Some(stream) = left.take() {
            left = stream.copied().filter(|stream| !stream.is_empty);
        }
    }
}
