//! Whose a cgroup is: an extended attribute, since several agents may share a machine.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

const NAME: &CStr = c"trusted.proffer.work_dir";
/// On those of containers inside others that have limits of their own.
const LIMITED: &CStr = c"trusted.proffer.limited";
/// Longest path that is read.
const LENGTH: usize = 4096;

fn terminated(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Writes the owner's work directory on a cgroup.
pub(super) fn write(cgroup: &Path, owner: &Path) -> Result<(), String> {
    set(cgroup, NAME, owner.as_os_str().as_bytes())
}

/// Notes that a container inside another one has limits of its own.
pub(super) fn mark(cgroup: &Path) -> Result<(), String> {
    set(cgroup, LIMITED, b"1")
}

/// Whether that was noted.
pub(super) fn has_mark(cgroup: &Path) -> bool {
    get(cgroup, LIMITED).is_some()
}

fn set(cgroup: &Path, name: &CStr, value: &[u8]) -> Result<(), String> {
    let fault = |e: io::Error| format!("cannot mark the cgroup {}: {e}", cgroup.display());
    let path = terminated(cgroup).map_err(fault)?;
    // SAFETY: strings are terminated, and the value's length is given.
    let status = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if status == 0 { Ok(()) } else { Err(fault(io::Error::last_os_error())) }
}

/// The owner's work directory, if there is one.
pub(super) fn read(cgroup: &Path) -> Option<PathBuf> {
    get(cgroup, NAME).map(|value| OsString::from_vec(value).into())
}

fn get(cgroup: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = terminated(cgroup).ok()?;
    let mut value = vec![0_u8; LENGTH];
    // SAFETY: strings are terminated; the buffer's length is given.
    let length = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}
