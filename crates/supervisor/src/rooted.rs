//! Paths inside a root file system or a sandbox. Their content is not to be trusted: no symbolic link leads out of them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// How often a path is looked up while somebody renames what is on it.
const TRIES: u32 = 100;

/// What a directory means to the paths inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// It is the root: absolute paths and links start in it, and `..` stays in it.
    Root,
    /// It is the root, and no link is followed.
    Plain,
    /// Whatever leads out of it is an error.
    Bounds,
}

/// What a path shall be if there is nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Directory,
    File,
}

/// Opens what is at `path`, with the flags of `open`.
pub(crate) fn open(
    base: BorrowedFd<'_>,
    path: &CStr,
    within: Within,
    flags: i32,
) -> io::Result<OwnedFd> {
    // SAFETY: all zero is a valid value of these integers.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = if flags & libc::O_CREAT == 0 { 0 } else { 0o644 };
    let bounds = match within {
        Within::Root => libc::RESOLVE_IN_ROOT,
        Within::Plain => libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS,
        Within::Bounds => libc::RESOLVE_BENEATH,
    };
    how.resolve = bounds | libc::RESOLVE_NO_MAGICLINKS;
    let path = if path.is_empty() { c"." } else { path };
    for _ in 0..TRIES {
        // SAFETY: the path is terminated, the structure lives through the call and its size is given; the descriptor
        // is nobody else's.
        unsafe {
            let fd = libc::syscall(
                libc::SYS_openat2,
                base.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            );
            if fd >= 0 {
                return Ok(OwnedFd::from_raw_fd(fd as i32));
            }
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EAGAIN) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Gives a handle (O_PATH) of what is at `path`, which is made if it is not there, and the directories on the way.
pub(crate) fn make(
    base: BorrowedFd<'_>,
    path: &CStr,
    within: Within,
    made: Made,
) -> io::Result<OwnedFd> {
    match open(base, path, within, libc::O_PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let bytes = path.to_bytes();
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    let (parent, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&b""[..], bytes),
    };
    if name.is_empty() || name == b"." || name == b".." {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    let (parent, name) = (CString::new(parent)?, CString::new(name)?);
    let parent = make(base, &parent, within, Made::Directory)?;
    // SAFETY: the name is terminated, and the descriptor is open.
    let status = unsafe {
        match made {
            Made::Directory => libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755),
            Made::File => {
                libc::mknodat(parent.as_raw_fd(), name.as_ptr(), libc::S_IFREG | 0o644, 0)
            }
        }
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let parent = std::os::fd::AsFd::as_fd(&parent);
    open(parent, &name, Within::Bounds, libc::O_PATH | libc::O_NOFOLLOW)
}

/// Type and permissions of what a descriptor is open for.
pub(crate) fn status(fd: BorrowedFd<'_>) -> io::Result<libc::stat> {
    // SAFETY: all zero is a valid value of these integers, and the structure lives through the call.
    unsafe {
        let mut status = std::mem::zeroed();
        match libc::fstat(fd.as_raw_fd(), &raw mut status) {
            0 => Ok(status),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Whether a descriptor is open for a directory.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(status(fd)?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}
