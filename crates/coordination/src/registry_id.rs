//! Whether the registry where masters meet is the one that this master has led with before: one that was removed, or is
//! of another cluster, is not gone on with unnoticed.

use crate::{Change, Key, Registry, RegistryError};
use std::io;
use std::path::Path;

/// Section of a registry's own id.
pub(crate) const SECTION: &str = ".registry";
/// File in which a master keeps the id of the registry that it has led with.
const FILE: &str = "registry.id";

/// Where a registry keeps its id.
pub(crate) fn key() -> Key {
    (SECTION.to_owned(), "id".to_owned())
}

/// Compares a registry with that of before, and remembers it; one that is new gets an id.
///
/// # Errors
/// When it is another one, or that can't be kept.
pub(crate) fn recognize(
    registry: &mut dyn Registry,
    place: &str,
    directory: &Path,
) -> Result<(), RegistryError> {
    let path = directory.join(FILE);
    let file = path.display().to_string();
    let fault = |error: io::Error| RegistryError::unavailable(&file, error);
    let known = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fault(error)),
    };
    let id = match (registry.id(), &known) {
        (Some(id), Some(known)) if id == *known => return Ok(()),
        (_, Some(_)) => {
            return Err(RegistryError::Another { place: place.to_owned(), file });
        }
        (Some(id), None) => id,
        (None, None) => {
            let id: String =
                crate::raft::new_id().map_err(fault)?.iter().map(|b| format!("{b:02x}")).collect();
            let value = Some(id.clone().into_bytes());
            registry.write(&[&[Change { key: key(), value }]])?;
            id
        }
    };
    std::fs::create_dir_all(directory).map_err(fault)?;
    let unfinished = directory.join("registry.id.unfinished");
    std::fs::write(&unfinished, format!("{id}\n")).map_err(fault)?;
    std::fs::rename(&unfinished, &path).map_err(fault)
}

/// The registry that was led with is somewhere else now.
///
/// # Errors
/// When it can't be forgotten.
pub(crate) fn forget(directory: &Path) -> Result<(), RegistryError> {
    let path = directory.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RegistryError::unavailable(&path.display().to_string(), error))
        }
        _ => Ok(()),
    }
}
