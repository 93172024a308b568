//! Project quotas of a file system (xfs, or ext4 with the feature `project`): files carry the number of a project, and the
//! kernel counts what the files of each project take, and limits it.

use crate::walk::{Visitor, entries, walk};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

/// Bytes of the unit in which quotas are told.
const BLOCK: u64 = 512;
/// FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR of ioctl(2).
const GET_ATTRIBUTES: libc::Ioctl = 0x801C_581F_u32 as libc::Ioctl;
const SET_ATTRIBUTES: libc::Ioctl = 0x401C_5820_u32 as libc::Ioctl;
/// What is made in a directory is of its project.
const INHERIT: u32 = 0x200;
/// Commands of quotactl(2), for projects.
const GET_QUOTA: u32 = command(3);
const SET_LIMIT: u32 = command(4);
const GET_STATE: u32 = command(5);
/// Among the flags of the state: projects are counted.
const COUNTED: u16 = 1 << 4;
/// Kind of a quota: a project's.
const OF_PROJECT: i8 = 2;
/// Which fields count: limits on bytes, soft and hard.
const LIMITS: u16 = 1 << 2 | 1 << 3;

const fn command(number: u32) -> u32 {
    (((b'X' as u32) << 8) + number) << 8 | 2
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    version: i8,
    kind: i8,
    fields: u16,
    id: u32,
    hard_blocks: u64,
    soft_blocks: u64,
    others: [u64; 2],
    blocks: u64,
    rest: [u64; 8],
}

/// Whether the file system of a directory counts what projects take.
pub(super) fn are_counted(directory: &Path) -> io::Result<bool> {
    // Flags are in the second two bytes.
    let mut state = [0_u16; 64];
    match control(directory, GET_STATE, 0, state.as_mut_ptr().cast()) {
        Ok(()) => Ok(state[1] & COUNTED != 0),
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => match errno_of_unknown() {
            true => Err(io::Error::other("the kernel is too old (quotactl_fd needs Linux 5.14)")),
            false => Ok(false),
        },
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTSUP | libc::EINVAL | libc::ESRCH)) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// Whether nobody can write beyond a limit, not even who has CAP_SYS_RESOURCE: so it is on xfs.
pub(super) fn holds_all(directory: &Path) -> io::Result<bool> {
    let directory = File::open(directory)?;
    // SAFETY: the descriptor is open, and the structure lives through the call.
    unsafe {
        let mut answer: libc::statfs = std::mem::zeroed();
        match libc::fstatfs(directory.as_raw_fd(), &raw mut answer) {
            0 => Ok(answer.f_type == libc::XFS_SUPER_MAGIC),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Whether the kernel does not know the call at all: with a wrong command it says something else.
fn errno_of_unknown() -> bool {
    let Ok(root) = File::open("/") else { return false };
    // SAFETY: the command is wrong, so that no pointer is followed.
    let status = unsafe {
        libc::syscall(libc::SYS_quotactl_fd, root.as_raw_fd(), u32::MAX, 0, std::ptr::null::<u8>())
    };
    status != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
}

/// What a project takes, in bytes; nothing was ever counted of one that is not known.
pub(super) fn used(directory: &Path, id: u32) -> io::Result<u64> {
    let mut quota = Quota::default();
    match control(directory, GET_QUOTA, id, (&raw mut quota).cast()) {
        Ok(()) => Ok(quota.blocks * BLOCK),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

/// Limits a project to so many bytes; 0: no limit. More than the soft limit is reported, more than the hard one refused.
pub(super) fn limit(directory: &Path, id: u32, soft: u64, hard: u64) -> io::Result<()> {
    let mut quota = Quota {
        version: 1,
        kind: OF_PROJECT,
        fields: LIMITS,
        id,
        soft_blocks: soft.div_ceil(BLOCK),
        hard_blocks: hard.div_ceil(BLOCK),
        ..Quota::default()
    };
    control(directory, SET_LIMIT, id, (&raw mut quota).cast())
}

fn control(directory: &Path, command: u32, id: u32, data: *mut libc::c_void) -> io::Result<()> {
    let directory = File::open(directory)?;
    let fd = directory.as_raw_fd();
    // SAFETY: the descriptor is open; the data is what the command reads or writes, and lives through the call.
    match unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command, id, data) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The project of a directory; 0: none.
pub(super) fn of(directory: &Path) -> io::Result<u32> {
    Ok(attributes(&File::open(directory)?)?.project)
}

fn attributes(file: &File) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the descriptor is open, and the structure lives through the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) } {
        0 => Ok(attributes),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a directory, and what is in it, of a project.
pub(super) fn assign(path: &Path, id: u32) -> io::Result<()> {
    walk(path, &mut Assignment(id))
}

struct Assignment(u32);

impl Visitor for Assignment {
    fn enter(&mut self, directory: &OwnedFd, _name: &CStr) -> io::Result<Vec<CString>> {
        set(&directory.try_clone()?.into(), self.0, INHERIT)?;
        let mut below = Vec::new();
        for (name, is_directory) in entries(directory)? {
            if is_directory {
                below.push(name);
                continue;
            }
            // Of others than files nothing is counted.
            let found = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME;
                let flags = flags | OFlags::CLOEXEC;
                let file = rustix::fs::openat(directory, &name, flags, Mode::empty())?;
                set(&file.into(), self.0, 0)?;
            }
        }
        Ok(below)
    }
}

fn set(file: &File, id: u32, flags: u32) -> io::Result<()> {
    let mut attributes = attributes(file)?;
    attributes.project = id;
    attributes.flags |= flags;
    // SAFETY: the descriptor is open, and the structure lives through the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
