//! Removal of directories that others filled, however deep they are.

use crate::walk::{Visitor, entries, walk};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Removes a file, a link, or a directory with all that is in it, as far as that goes. Links are not followed, and nothing
/// is removed of what is mounted there.
///
/// # Errors
/// The first thing that could not be removed, and why; `NotFound` only if there was nothing.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match path.symlink_metadata()?.is_dir() {
        true => empty_tree(path).and_then(|()| std::fs::remove_dir(path)),
        false => std::fs::remove_file(path),
    }
}

/// Empties a directory: as [`remove_tree`], without the directory itself.
///
/// # Errors
/// The first thing that could not be removed, and why.
pub fn empty_tree(path: &Path) -> io::Result<()> {
    let mut removal = Removal { error: None };
    walk(path, &mut removal)?;
    removal.error.map_or(Ok(()), Err)
}

struct Removal {
    /// What could not be removed first.
    error: Option<io::Error>,
}

impl Removal {
    fn remove(&mut self, directory: &OwnedFd, name: &CStr, flags: AtFlags) {
        match rustix::fs::unlinkat(directory, name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => self.failed(name, &error.into()),
        }
    }

    fn failed(&mut self, name: &CStr, error: &io::Error) {
        let text = format!("'{}': {error}", name.to_string_lossy());
        self.error.get_or_insert_with(|| io::Error::new(error.kind(), text));
    }
}

impl Visitor for Removal {
    fn enter(&mut self, directory: &OwnedFd, name: &CStr) -> io::Result<Vec<CString>> {
        let entries = entries(directory).unwrap_or_else(|error| {
            self.failed(name, &error);
            Vec::new()
        });
        let (below, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, is)| *is);
        for (name, _) in others {
            self.remove(directory, &name, AtFlags::empty());
        }
        Ok(below.into_iter().map(|(name, _)| name).collect())
    }

    fn leave(&mut self, above: &OwnedFd, name: &CStr) -> io::Result<()> {
        self.remove(above, name, AtFlags::REMOVEDIR);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
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
