//! What a directory takes on its disk.

use crate::walk::{Visitor, entries, walk};
use rustix::fs::AtFlags;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The kernel counts blocks in units of so many bytes.
const BLOCK: u64 = 512;

/// Bytes that everything below a directory takes, itself included, as `du` counts them: links are not followed, what has
/// several names counts once, other file systems and what is at or below `except` don't. No directory is too deep.
///
/// # Errors
/// When the directory itself can't be read, or directories were moved meanwhile; what disappears takes nothing.
pub(super) fn of(directory: &Path, except: &[PathBuf]) -> io::Result<u64> {
    let root = directory.metadata()?;
    let mut count = Count {
        device: root.dev(),
        total: root.blocks() * BLOCK,
        seen: BTreeSet::new(),
        except: except.iter().filter_map(|path| path.strip_prefix(directory).ok()).collect(),
        path: PathBuf::new(),
    };
    walk(directory, &mut count)?;
    Ok(count.total)
}

struct Count<'a> {
    device: u64,
    total: u64,
    seen: BTreeSet<u64>,
    /// Relative to the root.
    except: Vec<&'a Path>,
    path: PathBuf,
}

impl Count<'_> {
    fn is_excepted(&self, name: &CStr) -> bool {
        let name = OsStr::from_bytes(name.to_bytes());
        let is = |path: &&Path| {
            path.file_name() == Some(name) && path.parent() == Some(self.path.as_path())
        };
        self.except.iter().any(is)
    }
}

impl Visitor for Count<'_> {
    fn enter(&mut self, directory: &OwnedFd, name: &CStr) -> io::Result<Vec<CString>> {
        self.path.push(OsStr::from_bytes(name.to_bytes()));
        let mut below = Vec::new();
        for (name, is_directory) in entries(directory).unwrap_or_default() {
            let found = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW);
            let Ok(found) = found else { continue };
            if found.st_dev != self.device || self.is_excepted(&name) {
                continue;
            }
            if !is_directory && found.st_nlink > 1 && !self.seen.insert(found.st_ino) {
                continue;
            }
            self.total += found.st_blocks.unsigned_abs() * BLOCK;
            if is_directory {
                below.push(name);
            }
        }
        Ok(below)
    }

    fn leave(&mut self, _above: &OwnedFd, _name: &CStr) -> io::Result<()> {
        self.path.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn links_count_once_and_what_is_excepted_does_not() {
        let directory = testkit::cluster::temporary_directory();
        let empty = of(&directory, &[]).expect("it is there");
        std::fs::create_dir_all(directory.join("a/b")).expect("directories");
        let file = directory.join("a/b/file");
        std::fs::write(&file, vec![1; 1 << 20]).expect("a file");
        std::fs::hard_link(&file, directory.join("again")).expect("a link");
        std::os::unix::fs::symlink("/usr", directory.join("elsewhere")).expect("a link");
        let all = of(&directory, &[]).expect("it is there") - empty;
        assert!(((1 << 20)..(1 << 20) + 65536).contains(&all), "{all}");
        // A hole takes nothing.
        std::fs::File::create(directory.join("hole"))
            .and_then(|f| f.set_len(1 << 30))
            .expect("a file");
        std::fs::remove_file(directory.join("again")).expect("removed");
        let less = of(&directory, &[directory.join("a")]).expect("it is there") - empty;
        assert!(less < 65536, "{less}");
        assert!(of(&directory.join("none"), &[]).is_err());
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn nothing_hides_where_paths_are_too_long() {
        const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        let directory = testkit::cluster::temporary_directory();
        let mut at = rustix::fs::open(&directory, FLAGS, Mode::empty()).expect("a directory");
        let before = of(&directory, &[]).expect("it is there");
        for _ in 0..5000 {
            rustix::fs::mkdirat(&at, "deep", Mode::RWXU).expect("a directory");
            at = rustix::fs::openat(&at, "deep", FLAGS, Mode::empty()).expect("a directory");
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let file = rustix::fs::openat(&at, "file", flags, Mode::RUSR).expect("a file");
        std::io::Write::write_all(&mut std::fs::File::from(file), &vec![1; 4 << 20]).expect("full");
        let after = of(&directory, &[]).expect("it is there");
        assert!(after - before >= 4 << 20, "{after}");
        assert!(of(&directory, &[directory.join("deep")]).expect("it is there") - before < 65536);
        crate::remove_tree(&directory).expect("removed");
    }
}
