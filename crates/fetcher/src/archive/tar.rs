//! Tar archives.

use super::{TARGET_MAX, permissions};
use crate::beneath::{Directory, Relative};
use crate::guard::Guard;
use ::tar::{Archive, Entry, EntryType};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, UNIX_EPOCH};

pub(super) fn extract(
    reader: Box<dyn Read>,
    directory: &Directory,
    guard: &mut Guard<'_>,
) -> Result<(), String> {
    let mut archive = Archive::new(reader);
    let mut count = 0_u64;
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| format!("Failed to read archive header: {e}"))?;
        one(entry, directory, guard)?;
        count += 1;
    }
    // The library takes text, or anything that ends before a header does, for an archive of nothing.
    if count == 0 && !ends_as_an_archive(archive.into_inner()) {
        return Err("Failed to read archive header: Unrecognized archive format".to_owned());
    }
    Ok(())
}

/// Whether there is nothing but zeros.
fn ends_as_an_archive(mut rest: Box<dyn Read>) -> bool {
    let mut buffer = [0; 512];
    matches!(rest.read(&mut buffer), Ok(count) if buffer[..count].iter().all(|b| *b == 0))
}

fn one(
    mut entry: Entry<'_, Box<dyn Read>>,
    directory: &Directory,
    guard: &mut Guard<'_>,
) -> Result<(), String> {
    let name = Relative::parse(&entry.path_bytes())?;
    let shown = name.path().display().to_string();
    guard.count()?;
    let kind = entry.header().entry_type();
    match kind {
        // Says something about others.
        EntryType::XGlobalHeader | EntryType::XHeader => Ok(()),
        _ if name.is_root() && kind != EntryType::Directory => {
            Err("an entry that is no directory has no name".to_owned())
        }
        EntryType::Directory => directory.make_directory(&name),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let header = entry.header();
            let mode = header.mode().map_err(|e| format!("'{shown}': {e}"))?;
            let modified = header.mtime().ok();
            let mut file = directory.create(&name, permissions(mode))?;
            guard
                .copy(&mut entry, &mut file, name.path())
                .map_err(|e| format!("'{shown}': {e}"))?;
            if let Some(modified) =
                modified.and_then(|secs| UNIX_EPOCH.checked_add(Duration::from_secs(secs)))
            {
                let _ = file.set_modified(modified);
            }
            Ok(())
        }
        EntryType::Symlink => {
            let target = entry
                .link_name_bytes()
                .ok_or_else(|| format!("the link '{shown}' has no target"))?;
            if target.is_empty() || target.len() > TARGET_MAX {
                return Err(format!("the link '{shown}' has no target, or one that is too long"));
            }
            directory.symlink(&name, OsStr::from_bytes(&target))
        }
        EntryType::Link => {
            let target = entry
                .link_name_bytes()
                .ok_or_else(|| format!("the link '{shown}' has no target"))?;
            let target =
                Relative::parse(&target).map_err(|e| format!("the link '{shown}': {e}"))?;
            directory.link(&name, &target)
        }
        other => Err(format!(
            "'{shown}' is neither file, directory nor link, but of type '{}'",
            char::from(other.as_byte()).escape_debug()
        )),
    }
}
