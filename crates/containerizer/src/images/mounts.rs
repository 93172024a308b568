//! What former agents mounted for containers, in the agent's own namespace.

use rustix::mount::UnmountFlags;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Unmounts whatever is mounted at or below a directory. When it answers without an error nothing is.
pub(crate) fn unmount_all(directory: &Path) -> io::Result<()> {
    // Each round takes away at least the topmost of those that were seen.
    for _ in 0..64 {
        let found = below(directory)?;
        if found.is_empty() {
            return Ok(());
        }
        for target in found.iter().rev() {
            match rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                // It went with one that was above it.
                Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(io::Error::other("something is mounted there again and again"))
}

/// Where something is mounted at or below a directory, in the order of mounting.
pub(crate) fn below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let targets = table.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4));
    let targets = targets.map(|target| PathBuf::from(OsString::from_vec(unescape(target))));
    Ok(targets.filter(|target| target.starts_with(directory)).collect())
}

/// The kernel writes some characters as `\040`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.filter(|_| *first == b'\\').and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
