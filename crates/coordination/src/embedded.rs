//! A registry in a file of this master's own: one master, no other service.

use crate::raft::Left;
use crate::{Change, Key, Registry, RegistryError};
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A table of sections and keys to values.
pub(crate) type Entries<'a> = TableDefinition<'a, (&'static str, &'static str), &'static [u8]>;

/// What a master that is alone has written.
pub(crate) const TABLE: Entries<'_> = TableDefinition::new("registry");

/// Name of the file.
const FILE: &str = "registry.redb";

/// A file on disk.
#[derive(Debug)]
pub(crate) struct Embedded {
    database: Database,
    place: String,
}

impl Embedded {
    /// Opens the registry in a directory, for the master that is at these addresses.
    ///
    /// # Errors
    /// When the file can't be opened, or holds a part of a replicated registry.
    pub(crate) fn open(directory: &Path, own: &[String]) -> Result<Self, RegistryError> {
        let (database, place) = open(directory)?;
        let of_group = of_group(&database, &place, own)?;
        let registry = Self { database, place };
        let made = guarded(|| match of_group {
            None => registry.update(&[]),
            Some(content) => registry.leave_group(content),
        });
        made.map_err(|e| RegistryError::unavailable(&registry.place, e))?;
        Ok(registry)
    }

    /// Goes on alone with what was the registry of a group.
    fn leave_group(&self, content: BTreeMap<Key, Vec<u8>>) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        certain(&mut transaction);
        transaction.delete_table(TABLE)?;
        let changes: Vec<Change> =
            content.into_iter().map(|(key, value)| Change { key, value: Some(value) }).collect();
        apply(&mut transaction.open_table(TABLE)?, &changes)?;
        crate::raft::forget(&transaction)?;
        transaction.commit()?;
        Ok(())
    }

    fn update(&self, writes: &[&[Change]]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        certain(&mut transaction);
        apply(&mut transaction.open_table(TABLE)?, writes.iter().copied().flatten())?;
        transaction.commit()?;
        Ok(())
    }
}

impl Registry for Embedded {
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        guarded(|| content(&self.database, TABLE))
            .map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    fn write(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        guarded(|| self.update(writes)).map_err(|e| RegistryError::unavailable(&self.place, e))
    }
}

/// What the last master of a group has left, which is at one of these addresses; None: there was no group.
///
/// # Errors
/// When others may have more of it.
fn of_group(
    database: &Database,
    place: &str,
    own: &[String],
) -> Result<Option<BTreeMap<Key, Vec<u8>>>, RegistryError> {
    let left = guarded(|| crate::raft::left(database, own));
    match left.map_err(|e| RegistryError::unavailable(place, e))? {
        None => Ok(None),
        Some(Left::All(content)) => Ok(Some(content)),
        Some(Left::Part) => Err(RegistryError::Replicated { place: place.to_owned() }),
    }
}

/// Where the registry of a directory is.
pub(crate) fn path_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// What a master at one of these addresses, that was alone, has left in a directory.
///
/// # Errors
/// When it can't be read, or is a part of a replicated registry.
pub(crate) fn read_alone(
    directory: &Path,
    own: &[String],
) -> Result<BTreeMap<Key, Vec<u8>>, RegistryError> {
    let (database, place) = open(directory)?;
    if let Some(content) = of_group(&database, &place, own)? {
        return Ok(content);
    }
    let content = guarded(|| content(&database, TABLE));
    Ok(content.map_err(|e| RegistryError::unavailable(&place, e))?.into_iter().collect())
}

/// Keeps a registry under a name that no master looks for.
///
/// # Errors
/// When it can't be renamed.
pub(crate) fn move_away(directory: &Path) -> Result<(), RegistryError> {
    let path = path_in(directory);
    let moved = std::fs::rename(&path, directory.join("registry.moved"));
    moved.map_err(|e| RegistryError::unavailable(&path.display().to_string(), e))
}

/// Opens the registry's file in a directory, which is made if it is not there; also says where the file is.
///
/// # Errors
/// When the file can't be opened: no permission, not a registry, in use.
pub(crate) fn open(directory: &Path) -> Result<(Database, String), RegistryError> {
    let path = path_in(directory);
    let place = path.display().to_string();
    let fault = |error: redb::Error| {
        let advice = advice(&error);
        RegistryError::Open { place: place.clone(), source: error.into(), advice }
    };
    std::fs::create_dir_all(directory).map_err(|e| fault(redb::Error::Io(e)))?;
    if !path.exists() {
        make(directory).map_err(fault)?;
    }
    let is_empty = std::fs::metadata(&path).is_ok_and(|file| file.len() == 0);
    if is_empty {
        return Err(fault(redb::Error::Corrupted("it has no content".to_owned())));
    }
    let database = guarded(|| -> Result<Database, redb::Error> {
        let mut database = Database::open(&path)?;
        // What was repaired is what the last complete write has left.
        database.check_integrity()?;
        Ok(database)
    });
    Ok((database.map_err(fault)?, place.clone()))
}

/// What is committed is not taken for a write that was cut off if it is damaged later, which would bring back what was
/// before it.
pub(crate) fn certain(transaction: &mut WriteTransaction) {
    transaction.set_two_phase_commit(true);
}

/// Makes changes in their order.
pub(crate) fn apply<'a>(
    table: &mut Table<'_, (&str, &str), &[u8]>,
    changes: impl IntoIterator<Item = &'a Change>,
) -> Result<(), redb::Error> {
    for change in changes {
        let key = (change.key.0.as_str(), change.key.1.as_str());
        match &change.value {
            Some(value) => table.insert(key, value.as_slice())?,
            None => table.remove(key)?,
        };
    }
    Ok(())
}

/// Everything in a table, in order of keys; nothing if there is no such table.
pub(crate) fn content(
    database: &Database,
    table: Entries<'_>,
) -> Result<Vec<(Key, Vec<u8>)>, redb::Error> {
    let table = match database.begin_read()?.open_table(table) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut out = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (section, key) = key.value();
        out.push(((section.to_owned(), key.to_owned()), value.value().to_vec()));
    }
    Ok(out)
}

/// Makes a new file: whole, or not at all.
fn make(directory: &Path) -> Result<(), redb::Error> {
    let unfinished = directory.join("registry.unfinished");
    let _ = std::fs::remove_file(&unfinished);
    drop(Database::create(&unfinished)?);
    std::fs::rename(&unfinished, path_in(directory))?;
    std::fs::File::open(directory)?.sync_all()?;
    Ok(())
}

/// What to do about a file that can't be opened.
fn advice(error: &redb::Error) -> &'static str {
    match error {
        redb::Error::DatabaseAlreadyOpen => "is another master running on the same --work_dir?",
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            "check the rights and the space of --work_dir"
        }
        _ => {
            "restore a copy of it, or move it away to begin with an empty registry: agents are admitted as they come \
             back and nothing that runs is touched, but quotas, weights, shares and the lists of gone and unreachable \
             agents are lost"
        }
    }
}

/// Damaged pages make the store panic.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    caught.unwrap_or_else(|_| Err(redb::Error::Corrupted("a page is damaged".to_owned())))
}
