//! Mounts by file descriptors: nothing is looked up twice, and nothing goes through `/proc`. Needs Linux 5.12.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

const OPEN_TREE_CLONE: libc::c_long = 1;
const FSOPEN_CLOEXEC: libc::c_long = 1;
const FSCONFIG_SET_FLAG: libc::c_long = 0;
const FSCONFIG_SET_STRING: libc::c_long = 1;
const FSCONFIG_CMD_CREATE: libc::c_long = 6;
const FSMOUNT_CLOEXEC: libc::c_long = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_long = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_long = 0x40;

/// Attributes of a mount, as the kernel knows them (`MOUNT_ATTR_…`).
pub(crate) const READ_ONLY: u64 = 1;
pub(crate) const NO_SUID: u64 = 2;
pub(crate) const NO_DEV: u64 = 4;

/// What mount_setattr(2) takes.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: the kernel has just made it for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A copy of the mount at a path or, if that is empty, at a descriptor. It is attached nowhere.
pub(crate) fn clone(at: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OPEN_TREE_CLONE
        | libc::c_long::from(libc::O_CLOEXEC)
        | libc::c_long::from(libc::AT_EMPTY_PATH);
    if recursive {
        flags |= libc::c_long::from(libc::AT_RECURSIVE);
    }
    // SAFETY: the path is terminated, and the descriptor is open.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) })
}

/// A new instance of a file system, attached nowhere. `options`: `name=value` or `name`, with commas between them.
pub(crate) fn new(kind: &CStr, options: &CStr, attributes: u64) -> io::Result<OwnedFd> {
    // SAFETY: the string is terminated.
    let context =
        descriptor(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let configure =
        |command: libc::c_long, key: *const libc::c_char, value: *const libc::c_char| {
            // SAFETY: both strings are terminated or null, as the command wants.
            done(unsafe {
                libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0)
            })
        };
    for option in options.to_bytes().split(|byte| *byte == b',').filter(|o| !o.is_empty()) {
        let at = option.iter().position(|byte| *byte == b'=');
        let key = std::ffi::CString::new(&option[..at.unwrap_or(option.len())])?;
        match at {
            Some(at) => {
                let value = std::ffi::CString::new(&option[at + 1..])?;
                configure(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())?;
            }
            None => configure(FSCONFIG_SET_FLAG, key.as_ptr(), std::ptr::null())?,
        }
    }
    configure(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
    // SAFETY: a system call without pointers.
    descriptor(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            attributes as libc::c_long,
        )
    })
}

/// Sets attributes and propagation (`MS_SLAVE` and such; 0: as it is) of a mount, or of a tree of them.
pub(crate) fn set(
    mount: BorrowedFd<'_>,
    attributes: u64,
    propagation: u64,
    recursive: bool,
) -> io::Result<()> {
    let wanted = Attributes { set: attributes, clear: 0, propagation, user_namespace: 0 };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is terminated, the structure lives through the call and its size is given.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<Attributes>(),
        )
    })
}

/// Attaches a mount that is attached nowhere.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the paths are terminated, and the descriptors are open.
    done(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })
}

/// Makes a directory, which is a mount, the root of this mount namespace and of this process; the former root is gone.
pub(crate) fn pivot(root: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the paths are terminated.
    unsafe {
        if libc::fchdir(root.as_raw_fd()) != 0 {
            return Err(io::Error::last_os_error());
        }
        // The former root comes to lie on the new one, from where it is taken away.
        done(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        if libc::umount2(c".".as_ptr(), libc::MNT_DETACH) != 0 || libc::chdir(c"/".as_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
