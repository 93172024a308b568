//! Secrets as files, for as long as the engine needs to mount them: they are in memory, and their names are gone as soon
//! as the container runs. What it has mounted stays with it.

use rustix::fs::statfs;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// File systems that have no disk: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Files of one container. They go when this is dropped.
#[derive(Debug)]
pub(super) struct SecretFiles(PathBuf);

impl SecretFiles {
    /// Writes files that are called by their numbers. Without content nothing is made.
    ///
    /// # Errors
    /// When the directory's file system has a disk, or there is no room.
    pub(super) fn write(directory: &Path, contents: &[Vec<u8>]) -> Result<Self, String> {
        let files = Self(directory.to_owned());
        if contents.is_empty() {
            return Ok(files);
        }
        let fault = |e: io::Error| format!("cannot keep secrets in {}: {e}", directory.display());
        // Nobody but the engine looks into it; in the container the files are for every user.
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory).map_err(fault)?;
        let kind = statfs(directory).map_err(|e| fault(e.into()))?.f_type;
        if !IN_MEMORY.contains(&(kind as u64)) {
            return Err(format!(
                "volumes of type SECRET in containers of type DOCKER need --runtime_dir on a tmpfs, so that secrets reach \
                 no disk; {} is on none",
                directory.display()
            ));
        }
        for (number, content) in contents.iter().enumerate() {
            let mut options = File::options();
            options.write(true).create_new(true).mode(0o444);
            let path = directory.join(number.to_string());
            let _ = std::fs::remove_file(&path);
            let written = options.open(path).and_then(|mut file| file.write_all(content));
            written.map_err(fault)?;
        }
        Ok(files)
    }
}

impl Drop for SecretFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
