//! A registry in a file of this master's own: one master, no other service.

use crate::{Change, Key, Registry, RegistryError};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::path::Path;

const TABLE: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("registry");

/// A file on disk.
#[derive(Debug)]
pub(crate) struct Embedded {
    database: Database,
    place: String,
}

impl Embedded {
    /// Opens the registry in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// When the file can't be opened: no permission, not a registry, in use.
    pub(crate) fn open(directory: &Path) -> Result<Self, RegistryError> {
        let path = directory.join("registry.redb");
        let fault = |source: redb::Error| RegistryError::Open {
            path: path.display().to_string(),
            source: Box::new(source),
        };
        std::fs::create_dir_all(directory).map_err(|e| fault(redb::Error::Io(e)))?;
        let database = Database::create(&path).map_err(|e| fault(e.into()))?;
        let registry = Self { database, place: path.display().to_string() };
        registry.update(&[]).map_err(fault)?;
        Ok(registry)
    }

    fn update(&self, writes: &[&[Change]]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for change in writes.iter().copied().flatten() {
                let key = (change.key.0.as_str(), change.key.1.as_str());
                match &change.value {
                    Some(value) => table.insert(key, value.as_slice())?,
                    None => table.remove(key)?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn all(&self) -> Result<Vec<(Key, Vec<u8>)>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(TABLE)?;
        let mut out = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let (section, key) = key.value();
            out.push(((section.to_owned(), key.to_owned()), value.value().to_vec()));
        }
        Ok(out)
    }
}

impl Registry for Embedded {
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        self.all().map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    fn write(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        self.update(writes).map_err(|e| RegistryError::unavailable(&self.place, e))
    }
}
