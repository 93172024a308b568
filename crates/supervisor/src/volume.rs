//! A volume that comes to a container while it runs, or goes: what the agent executes for each, since the agent itself
//! never enters a container.
//!
//! `--show` or `--hide`, then the container's first process, its supervisor, the volume's directory on the host, and in
//! the container the sandbox and the volume's path below it; for `--show` at last `rw` or `ro`.

use crate::container::Parent;
use crate::mount;
use crate::namespaces;
use crate::rooted::{self, Made, Within};
use crate::steps;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

/// The first argument, if a volume shall appear.
pub(crate) const SHOW: &str = "--show";
/// The first argument, if it shall go.
pub(crate) const HIDE: &str = "--hide";

/// Shows or hides a volume.
///
/// # Errors
/// Why that can't be done.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    let texts = arguments.map(|argument| CString::new(argument.into_vec()));
    let texts: Vec<CString> = texts.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let [what, pid, supervisor, volume, sandbox, path, mode @ ..] = texts.as_slice() else {
        return Err("expected a process, a supervisor, a volume, a sandbox and a path".to_owned());
    };
    let number = |text: &CString| text.to_str().ok().and_then(|text| text.parse().ok());
    let (Some(pid), Some(supervisor)) = (number(pid), number(supervisor)) else {
        return Err("expected numbers of processes".to_owned());
    };
    let parent = Parent { pid, supervisor, namespaces: libc::CLONE_NEWNS };
    let process = namespaces::open_parent(&parent)?;
    let fault = |e: io::Error| format!("cannot use {}: {e}", steps::shown(volume));
    let directory = steps::open(volume).map_err(fault)?;
    let read_only = mode.first().is_some_and(|mode| mode.as_bytes() == b"ro");
    let attributes = if read_only { mount::READ_ONLY } else { 0 };
    // From here on all paths are the container's.
    let copy = steps::copy(directory.as_fd(), true, attributes, false).map_err(fault)?;
    namespaces::enter(&process, libc::CLONE_NEWNS).map_err(|e| namespaces::around("mount", &e))?;
    let fault = |e: io::Error| format!("cannot mount on {}: {e}", steps::shown(path));
    let root = steps::open(c"/").map_err(fault)?;
    let sandbox = rooted::open(root.as_fd(), sandbox, Within::Root, libc::O_PATH).map_err(fault)?;
    if what.as_bytes() == SHOW.as_bytes() {
        let made = rooted::make(sandbox.as_fd(), path, Within::Bounds, Made::Directory);
        let at = made.map_err(fault)?;
        if is_same(at.as_fd(), directory.as_fd()).map_err(fault)? {
            return Ok(());
        }
        mount::attach(copy.as_fd(), at.as_fd()).map_err(fault)
    } else {
        hide(&sandbox, path, &directory).map_err(|e| format!("cannot unmount: {e}"))
    }
}

/// Takes the volume away if it is there. What still has a file of it open keeps that.
fn hide(sandbox: &OwnedFd, path: &CString, volume: &OwnedFd) -> io::Result<()> {
    let at = match rooted::open(sandbox.as_fd(), path, Within::Bounds, libc::O_PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        at => at?,
    };
    if !is_same(at.as_fd(), volume.as_fd())? {
        return Ok(());
    }
    // SAFETY: the descriptor is open, and the path is terminated. A mount that is the working directory can be detached.
    unsafe {
        if libc::fchdir(at.as_raw_fd()) != 0 || libc::umount2(c".".as_ptr(), libc::MNT_DETACH) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> io::Result<bool> {
    let (a, b) = (rooted::status(a)?, rooted::status(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}
