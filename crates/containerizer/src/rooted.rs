//! Paths inside a sandbox or root file system, whose content is not to be trusted: no symbolic link leads out.

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// How often a path is looked up while somebody renames what is on it.
const TRIES: u32 = 100;

/// What a directory means to the paths inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// It is the root: absolute paths and links start in it, and `..` stays in it.
    Root,
    /// Whatever leads out of it is an error.
    Bounds,
    /// So is every link on the way.
    Plain,
}

/// Opens what is at `path` inside `base`.
pub(crate) fn open(
    base: &OwnedFd,
    path: &Path,
    within: Within,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let bounds = match within {
        Within::Root => ResolveFlags::IN_ROOT,
        Within::Bounds => ResolveFlags::BENEATH,
        Within::Plain => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    };
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for _ in 0..TRIES {
        let resolve = bounds | ResolveFlags::NO_MAGICLINKS;
        match openat2(base, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Opens a directory that is trusted.
pub(crate) fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(path)?.into())
}

/// Reads a file inside a directory.
pub(crate) fn read(base: &Path, path: &Path, within: Within) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = File::from(open(&directory(base)?, path, within, flags)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    io::read_to_string(file)
}

/// Gives a handle of a directory below another, which is made if it is not there, and those on the way.
pub(crate) fn make_directory(base: &OwnedFd, path: &Path, within: Within) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match open(base, path, within, flags) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
    let parent = make_directory(base, path.parent().unwrap_or(Path::new("")), within)?;
    match rustix::fs::mkdirat(&parent, name, Mode::from(0o755)) {
        // Somebody else was faster.
        Err(Errno::EXIST) => {}
        other => other?,
    }
    open(&parent, Path::new(name), Within::Bounds, flags | OFlags::NOFOLLOW)
}

/// Makes a symbolic link inside a directory, or has one that is there point elsewhere.
pub(crate) fn link(base: &OwnedFd, path: &Path, target: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = make_directory(base, path.parent().unwrap_or(Path::new("")), Within::Bounds)?;
    match rustix::fs::symlinkat(target, &parent, name) {
        Err(Errno::EXIST) => {
            let mut new = name.to_owned();
            new.push(".new");
            let _ = rustix::fs::unlinkat(&parent, &new, rustix::fs::AtFlags::empty());
            rustix::fs::symlinkat(target, &parent, &new)?;
            Ok(rustix::fs::renameat(&parent, &new, &parent, name)?)
        }
        other => Ok(other?),
    }
}

/// Removes a symbolic link inside a directory, if it points at `target`.
pub(crate) fn unlink(base: &OwnedFd, path: &Path, target: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let parent = open(base, path.parent().unwrap_or(Path::new("")), Within::Bounds, flags)?;
    match rustix::fs::readlinkat(&parent, name, Vec::new()) {
        Ok(found) if Path::new(OsStr::from_bytes(found.to_bytes())) == target => {
            Ok(rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::empty())?)
        }
        Ok(_) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
