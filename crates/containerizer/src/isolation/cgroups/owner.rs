//! Whose a cgroup is: an extended attribute, since several agents may share a machine.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

const NAME: &CStr = c"trusted.proffer.work_dir";
/// Longest path that is read.
const LENGTH: usize = 4096;

fn terminated(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Writes the owner's work directory on a cgroup.
pub(super) fn write(cgroup: &Path, owner: &Path) -> Result<(), String> {
    let fault = |e: io::Error| format!("cannot mark the cgroup {}: {e}", cgroup.display());
    let path = terminated(cgroup).map_err(fault)?;
    let value = owner.as_os_str().as_bytes();
    // SAFETY: strings are terminated, and the value's length is given.
    let status = unsafe {
        libc::setxattr(path.as_ptr(), NAME.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if status == 0 { Ok(()) } else { Err(fault(io::Error::last_os_error())) }
}

/// The owner's work directory, if there is one.
pub(super) fn read(cgroup: &Path) -> Option<PathBuf> {
    let path = terminated(cgroup).ok()?;
    let mut value = vec![0_u8; LENGTH];
    // SAFETY: strings are terminated; the buffer's length is given.
    let length = unsafe {
        libc::getxattr(path.as_ptr(), NAME.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    value.truncate(usize::try_from(length).ok()?);
    Some(OsString::from_vec(value).into())
}
