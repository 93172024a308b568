//! Zip archives.

use super::{TARGET_MAX, permissions};
use crate::beneath::{Directory, Relative};
use crate::guard::Guard;
use ::zip::ZipArchive;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;

/// Bits of a mode that tell what kind of file it is.
const KIND: u32 = 0o170_000;

pub(super) fn extract(
    file: File,
    directory: &Directory,
    guard: &mut Guard<'_>,
) -> Result<(), String> {
    let mut archive = ZipArchive::new(BufReader::new(file))
        .map_err(|e| format!("Failed to read archive header: {e}"))?;
    for index in 0..archive.len() {
        let mut entry =
            archive.by_index(index).map_err(|e| format!("Failed to read archive header: {e}"))?;
        let name = Relative::parse(entry.name_raw())?;
        let shown = name.path().display().to_string();
        guard.count()?;
        let mode = entry.unix_mode().unwrap_or(0);
        if entry.is_dir() {
            directory.make_directory(&name)?;
            continue;
        }
        if name.is_root() {
            return Err("an entry that is no directory has no name".to_owned());
        }
        match mode & KIND {
            0o120_000 => {
                let mut target = Vec::new();
                let limit = TARGET_MAX as u64 + 1;
                entry
                    .by_ref()
                    .take(limit)
                    .read_to_end(&mut target)
                    .map_err(|e| format!("'{shown}': {e}"))?;
                if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
                    return Err(format!(
                        "the link '{shown}' has no target, or one that is too long"
                    ));
                }
                directory.symlink(&name, OsStr::from_bytes(&target))?;
            }
            0 | 0o100_000 => {
                let permissions = if mode & 0o777 == 0 { 0o644 } else { permissions(mode) };
                let mut file = directory.create(&name, permissions)?;
                guard
                    .copy(&mut entry, &mut file, name.path())
                    .map_err(|e| format!("'{shown}': {e}"))?;
            }
            _ => return Err(format!("'{shown}' is neither file, directory nor link")),
        }
    }
    Ok(())
}
