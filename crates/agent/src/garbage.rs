//! Removal of directories. They are moved out of the way at once, so that nothing which is made at their path
//! afterwards can be hit, and removed then.

use agent_core::contract::DiskUse;
use rustix::mount::{UnmountFlags, unmount};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// Where directories are while they are being removed.
#[derive(Debug)]
pub(crate) struct Bin {
    work_dir: PathBuf,
    count: u64,
}

impl Bin {
    pub(crate) fn new(work_dir: &Path) -> Self {
        let bin = Self { work_dir: work_dir.to_owned(), count: 0 };
        // On a full disk it could not be made any more; if that fails now it is told when it is needed.
        let _ = std::fs::create_dir_all(bin.directory());
        bin
    }

    fn directory(&self) -> PathBuf {
        self.work_dir.join("gc")
    }

    /// What a former run did not get done.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.directory())
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect()
    }

    /// Moves a directory into the bin: where it is now, if it was there. If there is no room even for that, it is removed
    /// where it is, before anything else happens.
    ///
    /// # Errors
    /// When something is mounted in it that can't be unmounted, or it is not below the work directory.
    pub(crate) fn take(&mut self, path: &Path) -> Result<Option<PathBuf>, String> {
        let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::RootDir);
        if !path.starts_with(&self.work_dir)
            || path == self.work_dir
            || !path.components().all(plain)
        {
            return Err(format!("{} is not below --work_dir", path.display()));
        }
        // A link that leads nowhere is there too.
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        // What is mounted belongs to somebody else.
        unmount_below(path)?;
        let fault = |e: io::Error| format!("cannot move {} out of the way: {e}", path.display());
        std::fs::create_dir_all(self.directory()).map_err(fault)?;
        self.count += 1;
        let aside = self.directory().join(format!("{}-{}", std::process::id(), self.count));
        match std::fs::rename(path, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => remove(path).map(|()| None),
            Err(error) => Err(fault(error)),
        }
    }
}

/// Removes a tree as far as that goes; links are not followed.
///
/// # Errors
/// The first thing that could not be removed, and why.
pub(crate) fn remove(path: &Path) -> Result<(), String> {
    containerizer::remove_tree(path).map_err(|e| format!("cannot remove {}: {e}", path.display()))
}

/// Unmounts everything at or below a directory, the last first.
fn unmount_below(path: &Path) -> Result<(), String> {
    let mounts = mount_points().into_iter();
    let below: Vec<PathBuf> = mounts.filter(|mount| mount.starts_with(path)).collect();
    for mount in below.iter().rev() {
        unmount(mount, UnmountFlags::DETACH)
            .map_err(|e| format!("cannot unmount {}: {e}", mount.display()))?;
    }
    Ok(())
}

/// Where something is mounted, in the order of the mounts.
pub(crate) fn mount_points() -> Vec<PathBuf> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.split(|b| *b == b'\n').filter_map(|line| {
        let point = line.split(|b| *b == b' ').nth(4)?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
    });
    mounts.collect()
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|d| *first == b'\\' && d.iter().all(u8::is_ascii_digit));
        match digits {
            Some(digits) => {
                out.push(digits.iter().fold(0_u8, |n, d| n.wrapping_mul(8).wrapping_add(d - b'0')));
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// How full the disk with a directory is; what is kept for root counts as free.
pub(crate) fn disk_use(path: &Path) -> io::Result<DiskUse> {
    let found = rustix::fs::statvfs(path)?;
    Ok(DiskUse { used: found.f_blocks.saturating_sub(found.f_bfree), total: found.f_blocks })
}

/// Lets a directory count as changed now.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_out_of_the_way_at_once_and_nothing_else_is_touched() {
        let work_dir = testkit::cluster::temporary_directory();
        let outside = testkit::cluster::temporary_directory();
        std::fs::write(outside.join("kept"), "").expect("a file");
        let old = work_dir.join("slaves/s/frameworks/f");
        std::fs::create_dir_all(old.join("executors/e")).expect("directories");
        std::os::unix::fs::symlink(&outside, old.join("link")).expect("a link");
        let mut bin = Bin::new(&work_dir);
        let aside = bin.take(&old).expect("taken").expect("it was there");
        assert!(!old.exists());
        std::fs::create_dir_all(&old).expect("made anew");
        assert_eq!(bin.leftovers(), std::slice::from_ref(&aside));
        remove(&aside).expect("removed");
        assert!(old.exists() && outside.join("kept").exists() && bin.leftovers().is_empty());
        assert_eq!(bin.take(&work_dir.join("slaves/none")), Ok(None));
        for path in [&outside, &work_dir, &work_dir.join("../x")] {
            assert!(bin.take(path).is_err(), "{}", path.display());
        }
        std::fs::remove_dir_all(work_dir).expect("removed");
        std::fs::remove_dir_all(outside).expect("removed");
    }

    #[test]
    fn what_is_mounted_in_it_is_unmounted_and_stays_as_it_is() {
        let work_dir = testkit::cluster::temporary_directory();
        let (old, volume) = (work_dir.join("slaves/a sandbox"), work_dir.join("volume"));
        std::fs::create_dir_all(old.join("data")).expect("directories");
        std::fs::create_dir_all(&volume).expect("directories");
        std::fs::write(volume.join("kept"), "").expect("a file");
        if let Err(error) = rustix::mount::mount_bind(&volume, old.join("data")) {
            eprintln!("skipped: cannot mount here: {error}");
            return;
        }
        assert!(old.join("data/kept").exists());
        let aside = Bin::new(&work_dir).take(&old).expect("taken").expect("it was there");
        assert!(!aside.join("data/kept").exists());
        remove(&aside).expect("removed");
        assert!(volume.join("kept").exists());
        std::fs::remove_dir_all(work_dir).expect("removed");
    }
}
