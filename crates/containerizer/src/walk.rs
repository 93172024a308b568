//! Walks through directories that others made: deeper than any path is long, perhaps, and with links that lead elsewhere.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is done on the way.
pub(crate) trait Visitor {
    /// In a directory, by its name (of the first one it is empty): names of those in it that are to be visited.
    fn enter(&mut self, directory: &OwnedFd, name: &CStr) -> io::Result<Vec<CString>>;

    /// Back from one of them, in the directory that it is in.
    fn leave(&mut self, _above: &OwnedFd, _name: &CStr) -> io::Result<()> {
        Ok(())
    }
}

/// A directory on the way to where the walk is.
struct Level {
    name: CString,
    /// What in it has to be visited yet.
    below: Vec<CString>,
    identity: (u64, u64),
}

/// Visits a directory and those below it, with few descriptors and little stack. No link in it is followed, and nothing
/// that is mounted there is entered; what can't be opened is left out.
///
/// # Errors
/// When the first directory can't be opened, when directories are moved meanwhile, or what the visitor says.
pub(crate) fn walk(first: &Path, visitor: &mut impl Visitor) -> io::Result<()> {
    let mut at = rustix::fs::open(first, DIRECTORY, Mode::empty())?;
    let mut levels = vec![level(&at, CString::default(), visitor)?];
    while let Some(level_here) = levels.last_mut() {
        if let Some(name) = level_here.below.pop() {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let opened = rustix::fs::openat2(&at, &name, DIRECTORY, Mode::empty(), resolve);
            if let Ok(below) = opened {
                at = below;
                levels.push(level(&at, name, visitor)?);
            }
        } else if let Some(done) = levels.pop()
            && let Some(above) = levels.last()
        {
            at = rustix::fs::openat(&at, c"..", DIRECTORY, Mode::empty())?;
            if identity(&rustix::fs::fstat(&at)?) != above.identity {
                return Err(io::Error::other("directories were moved meanwhile"));
            }
            visitor.leave(&at, &done.name)?;
        }
    }
    Ok(())
}

fn level(at: &OwnedFd, name: CString, visitor: &mut impl Visitor) -> io::Result<Level> {
    let identity = identity(&rustix::fs::fstat(at)?);
    Ok(Level { below: visitor.enter(at, &name)?, name, identity })
}

fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

/// What is in a directory: names, and whether they are directories.
pub(crate) fn entries(directory: &OwnedFd) -> io::Result<Vec<(CString, bool)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Unknown => {
                let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
                found.is_ok_and(|f| FileType::from_raw_mode(f.st_mode) == FileType::Directory)
            }
            kind => kind == FileType::Directory,
        };
        entries.push((name.to_owned(), is_directory));
    }
    Ok(entries)
}
