//! Directories of persistent volumes.

use agent_core::contract::RemovedVolume;
use std::fs::File;
use std::io;
use std::path::Path;

/// Makes and removes directories; they are on the disk, or off it, when this returns.
///
/// # Errors
/// The first directory that could not be made or removed, and why.
pub(crate) fn sync(make: &[String], remove: &[RemovedVolume]) -> Result<(), String> {
    for path in make {
        create(Path::new(path)).map_err(|e| format!("cannot make the volume {path}: {e}"))?;
    }
    for volume in remove {
        let path = Path::new(&volume.path);
        let removed = if volume.keeps_root { empty(path) } else { remove_tree(path) };
        removed.map_err(|e| format!("cannot remove the volume {}: {e}", volume.path))?;
    }
    Ok(())
}

/// Makes a directory and those above it, each durable in the one above.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create(parent)?;
        std::fs::create_dir(path)?;
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match containerizer::remove_tree(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn empty(path: &Path) -> io::Result<()> {
    containerizer::empty_tree(path)?;
    File::open(path)?.sync_all()
}
