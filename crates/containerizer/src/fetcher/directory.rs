//! The directory of the cache: emptied at the agent's start, and nobody else's.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Takes the directory, and removes what is in it. It is ours as long as the answer is open.
///
/// # Errors
/// Why there can be no cache.
pub(super) fn take(path: &Path) -> Result<File, String> {
    let fault = |e: io::Error| format!("cannot use {}: {e}", path.display());
    std::fs::create_dir_all(path).map_err(fault)?;
    check_owners(path)?;
    let directory = File::open(path).map_err(fault)?;
    // SAFETY: the descriptor is open; the lock goes with it.
    if unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        return Err(format!("another agent uses {}", path.display()));
    }
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let removed = if entry.file_type().map_err(fault)?.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        removed.map_err(fault)?;
    }
    Ok(directory)
}

/// Whoever may rename a directory on the way could put files of their own in the place of cached ones.
fn check_owners(path: &Path) -> Result<(), String> {
    // SAFETY: a plain system call.
    let own = unsafe { libc::geteuid() };
    for directory in path.ancestors() {
        let fault = |e: io::Error| format!("cannot look at {}: {e}", directory.display());
        let found = directory.symlink_metadata().map_err(fault)?;
        let is_link = found.file_type().is_symlink();
        let is_shared = found.mode() & 0o002 != 0 && found.mode() & 0o1000 == 0;
        if found.uid() != own && found.uid() != 0 || is_shared && !is_link {
            return Err(format!(
                "{} belongs to others, or others may write to it",
                directory.display()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_emptied_and_held() {
        let base = testkit::cluster::temporary_directory();
        let path = base.join("cache");
        std::fs::create_dir_all(path.join("user")).expect("a directory");
        std::fs::write(path.join("user/c1-a"), "").expect("a file");
        let held = take(&path).expect("it can be used");
        assert_eq!(std::fs::read_dir(&path).expect("a directory").count(), 0);
        let error = take(&path).expect_err("somebody has it");
        assert!(error.contains("another agent"), "{error}");
        drop(held);
        take(&path).expect("it is free again");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))
            .expect("permissions");
        let error = take(&path).expect_err("others may write to it");
        assert!(error.contains("others may write"), "{error}");
        let _ = std::fs::remove_dir_all(base);
    }
}
