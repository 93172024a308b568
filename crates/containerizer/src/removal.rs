//! Removal of directories that others filled. However deep they are, it takes few descriptors and little stack.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// So many directories, one in the other, are open at once. What lies deeper is moved up first.
const DEPTH: u32 = 32;

/// Removes a file, a link, or a directory with all that is in it, as far as that goes. Links are not followed, and nothing
/// is removed of what is mounted there.
///
/// # Errors
/// The first thing that could not be removed, and why; `NotFound` only if there was nothing.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(top) => {
            Removal { top, lifted: 0, error: None }.run()?;
            std::fs::remove_dir(path)
        }
        Err(Errno::NOTDIR | Errno::LOOP) => std::fs::remove_file(path),
        Err(error) => Err(error.into()),
    }
}

/// Empties a directory: as [`remove_tree`], without the directory itself.
///
/// # Errors
/// The first thing that could not be removed, and why.
pub fn empty_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty())?;
    Removal { top, lifted: 0, error: None }.run()
}

struct Removal {
    top: OwnedFd,
    /// Names that were given to directories from deep below.
    lifted: u64,
    /// What could not be removed first.
    error: Option<io::Error>,
}

impl Removal {
    fn run(mut self) -> io::Result<()> {
        loop {
            let before = self.lifted;
            self.error = None;
            let top = self.top.try_clone()?;
            self.empty(&top, DEPTH);
            // What came up has its turn now.
            if self.lifted == before {
                return self.error.map_or(Ok(()), Err);
            }
        }
    }

    fn empty(&mut self, directory: &OwnedFd, depth: u32) {
        let entries = match Dir::read_from(directory) {
            Ok(entries) => entries,
            Err(error) => return self.failed(c".", error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.failed(c".", error),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let removed = match is_directory(directory, name, entry.file_type()) {
                Ok(false) => rustix::fs::unlinkat(directory, name, AtFlags::empty()),
                Ok(true) if depth == 0 => self.lift(directory, name),
                Ok(true) => open(directory, name).and_then(|child| {
                    self.empty(&child, depth - 1);
                    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
                }),
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => self.failed(name, error),
            }
        }
    }

    /// Moves a directory up to the top.
    fn lift(&mut self, directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        loop {
            let above = format!(".lifted-{}", self.lifted);
            self.lifted += 1;
            match rustix::fs::renameat(directory, name, &self.top, above) {
                // Somebody had that idea before.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => return other,
            }
        }
    }

    fn failed(&mut self, name: &CStr, error: Errno) {
        self.error.get_or_insert_with(|| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("'{}': {error}", name.to_string_lossy()))
        });
    }
}

fn is_directory(directory: &OwnedFd, name: &CStr, kind: FileType) -> Result<bool, Errno> {
    if kind != FileType::Unknown {
        return Ok(kind == FileType::Directory);
    }
    let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

fn open(directory: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Makes directories in each other, deeper than any path is long, with a file at the end.
    fn dig(path: &Path, depth: u32) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::open(path, flags, Mode::empty()).expect("a directory");
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("a directory");
            at = rustix::fs::openat(&at, "d", flags, Mode::empty()).expect("a directory");
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(&at, "file", flags, Mode::RUSR).expect("a file");
    }

    #[test]
    fn no_directory_is_too_deep() {
        let directory = testkit::cluster::temporary_directory();
        let tree = directory.join("tree");
        std::fs::create_dir_all(tree.join("a/b")).expect("directories");
        // Names that are taken.
        std::fs::write(tree.join(".lifted-0"), "").expect("a file");
        std::fs::create_dir_all(tree.join(".lifted-1/x")).expect("directories");
        dig(&tree, 20_000);
        dig(&tree.join("a/b"), 100);
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
        assert_eq!(remove_tree(&tree).expect_err("gone").kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir(directory).expect("nothing else was there");
    }

    #[test]
    fn links_are_not_followed() {
        let directory = testkit::cluster::temporary_directory();
        let (tree, kept) = (directory.join("tree"), directory.join("kept"));
        std::fs::create_dir_all(kept.join("in")).expect("directories");
        std::fs::create_dir(&tree).expect("a directory");
        symlink(&kept, tree.join("link")).expect("a link");
        empty_tree(&tree).expect("emptied");
        assert_eq!(std::fs::read_dir(&tree).expect("a directory").count(), 0);
        for target in [kept.as_path(), Path::new("/nowhere")] {
            let link = directory.join("itself");
            symlink(target, &link).expect("a link");
            remove_tree(&link).expect("removed");
            assert!(link.symlink_metadata().is_err());
        }
        assert!(kept.join("in").exists());
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn what_can_not_be_removed_is_named_and_the_rest_goes() {
        let directory = testkit::cluster::temporary_directory();
        let fixed = directory.join("tree/a/fixed");
        std::fs::create_dir_all(fixed.parent().expect("a parent")).expect("directories");
        std::fs::create_dir(directory.join("tree/b")).expect("a directory");
        std::fs::write(&fixed, "").expect("a file");
        let set = |flag: &str| {
            let done = std::process::Command::new("chattr").arg(flag).arg(&fixed).output();
            done.is_ok_and(|output| output.status.success())
        };
        if !set("+i") {
            eprintln!("skipped: files can't be made immutable here");
            return;
        }
        let error = remove_tree(&directory.join("tree")).expect_err("it stays").to_string();
        assert!(set("-i"));
        assert!(error.starts_with("'fixed': "), "{error}");
        assert!(fixed.exists() && !directory.join("tree/b").exists());
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
