//! Namespaces of a container: entered, or made.

use crate::container::{Container, Parent};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

/// The namespaces that are entered, held open while the host's files can be seen.
#[derive(Debug)]
pub(crate) struct Namespaces {
    parent: Option<OwnedFd>,
    network: Option<File>,
    host: Option<File>,
}

impl Namespaces {
    /// Opens what is entered. From here on, children of this process are in the container's pid namespace.
    pub(crate) fn prepare(container: &Container) -> Result<Self, String> {
        let parent = container.parent.as_ref().map(open_parent).transpose()?;
        let network = container.network.as_ref().map(|path| {
            let text = path.to_string_lossy();
            File::open(&*text).map_err(|e| format!("cannot open the network namespace {text}: {e}"))
        });
        let network = network.transpose()?;
        if let (Some(fd), Some(parent)) = (&parent, &container.parent)
            && parent.namespaces & libc::CLONE_NEWPID != 0
        {
            enter(fd, libc::CLONE_NEWPID).map_err(|e| around("pid", &e))?;
        }
        if container.namespaces & libc::CLONE_NEWPID != 0 {
            make(libc::CLONE_NEWPID)?;
        }
        let host = parent.as_ref().map(|_| File::open("/proc/self/ns/mnt")).transpose();
        let host = host.map_err(|e| format!("cannot open the mount namespace: {e}"))?;
        Ok(Self { parent, network, host })
    }

    /// Has something done in the mount namespace of the container around this one.
    pub(crate) fn visit(&self, what: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let (Some(parent), Some(host)) = (&self.parent, &self.host) else { return Ok(()) };
        enter(parent, libc::CLONE_NEWNS).map_err(|e| around("mount", &e))?;
        let result = what();
        enter(host, libc::CLONE_NEWNS).map_err(|e| format!("cannot come back: {e}"))?;
        result
    }

    /// In the first process of the container: enters and makes the others.
    pub(crate) fn enter(self, container: &Container) -> Result<(), String> {
        if let (Some(fd), Some(parent)) = (&self.parent, &container.parent) {
            let others = parent.namespaces & !libc::CLONE_NEWPID;
            if others != 0 {
                enter(fd, others).map_err(|e| around("other", &e))?;
            }
        }
        if let Some(network) = &self.network {
            enter(network, libc::CLONE_NEWNET)
                .map_err(|e| format!("cannot enter the network namespace: {e}"))?;
        }
        let own = container.namespaces & !libc::CLONE_NEWPID;
        if own != 0 {
            make(own)?;
        }
        if own & libc::CLONE_NEWNS != 0 {
            let flags = libc::MS_SLAVE | libc::MS_REC;
            let (none, root) = (std::ptr::null(), c"/".as_ptr());
            // SAFETY: the path is terminated; the kernel wants nothing else for a change of propagation.
            if unsafe { libc::mount(none, root, none, flags, none.cast()) } != 0 {
                let error = io::Error::last_os_error();
                return Err(format!("cannot keep mounts from the host: {error}"));
            }
        }
        if let Some(name) = &container.hostname {
            // SAFETY: the name lives through the call, and its length is given.
            if unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) } != 0 {
                return Err(format!("cannot set the host's name: {}", io::Error::last_os_error()));
            }
        }
        Ok(())
    }
}

/// Whether the first process of the container must outlive its main process, and reap what others leave.
pub(crate) fn needs_init(container: &Container) -> bool {
    let joins = |parent: &Parent| {
        let file =
            |pid: libc::pid_t| std::fs::metadata(format!("/proc/{pid}/ns/pid")).map(|m| m.ino());
        // SAFETY: a plain system call.
        let own = unsafe { libc::getpid() };
        parent.namespaces & libc::CLONE_NEWPID != 0 && file(parent.pid).ok() != file(own).ok()
    };
    container.namespaces & libc::CLONE_NEWPID != 0 || container.parent.as_ref().is_some_and(joins)
}

/// Opens a running container by its first process.
pub(crate) fn open_parent(parent: &Parent) -> Result<OwnedFd, String> {
    let gone = || "the container around this one has ended".to_owned();
    // SAFETY: a system call without pointers; the descriptor it gives is nobody else's.
    let fd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, parent.pid, 0);
        i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| OwnedFd::from_raw_fd(fd))
    };
    let fd = fd.ok_or_else(gone)?;
    // Only its supervisor reaps it: if that is its parent now, the number was not given to another one before.
    match crate::tree::parent_of(parent.pid) {
        Some(supervisor) if supervisor == parent.supervisor => Ok(fd),
        _ => Err(gone()),
    }
}

/// Enters namespaces of a process, or one that is open.
pub(crate) fn enter(fd: &impl AsFd, kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: a system call with an open descriptor.
    match unsafe { libc::setns(fd.as_fd().as_raw_fd(), kinds) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn make(kinds: libc::c_int) -> Result<(), String> {
    // SAFETY: a plain system call.
    match unsafe { libc::unshare(kinds) } {
        0 => Ok(()),
        _ => Err(format!("cannot make namespaces: {}", io::Error::last_os_error())),
    }
}

pub(crate) fn around(kind: &str, error: &io::Error) -> String {
    format!("cannot enter the {kind} namespaces of the container around this one: {error}")
}
