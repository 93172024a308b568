//! Where a master keeps its registry: sections of keys with values, changed atomically and durably.
//!
//! [`Embedded`] is a file on disk; [`InMemory`] forgets everything. Calls block: use them on a thread of their own.
#![forbid(unsafe_code)]

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;

const TABLE: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("registry");

/// A section and a key in it.
pub type Key = (String, String);

/// One change: a new value, or None to remove the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is changed.
    pub key: Key,
    /// Its new value; None: it is removed.
    pub value: Option<Vec<u8>>,
}

/// Why the registry can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file could not be opened or made.
    #[error(
        "failed to open the registry {path}: {source}; is another master running on the same --work_dir?"
    )]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A read or write failed.
    #[error("failed to use the registry")]
    Use(#[source] Box<redb::Error>),
}

/// A registry's store.
pub trait Registry: Send + std::fmt::Debug {
    /// Everything in it, in order of keys.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError>;

    /// Makes all changes or none, durable when it returns.
    ///
    /// # Errors
    /// When it can't be written; nothing has changed then.
    fn write(&mut self, changes: &[Change]) -> Result<(), RegistryError>;
}

/// A file on disk.
#[derive(Debug)]
pub struct Embedded {
    database: Database,
}

impl Embedded {
    /// Opens the registry in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// When the file can't be opened: no permission, not a registry, in use.
    pub fn open(directory: &Path) -> Result<Self, RegistryError> {
        let path = directory.join("registry.redb");
        let fault = |source: redb::Error| RegistryError::Open {
            path: path.display().to_string(),
            source: Box::new(source),
        };
        std::fs::create_dir_all(directory).map_err(|e| fault(redb::Error::Io(e)))?;
        let database = Database::create(&path).map_err(|e| fault(e.into()))?;
        let registry = Self { database };
        registry.update(&[]).map_err(fault)?;
        Ok(registry)
    }

    fn update(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for change in changes {
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
        self.all().map_err(|e| RegistryError::Use(Box::new(e)))
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), RegistryError> {
        self.update(changes).map_err(|e| RegistryError::Use(Box::new(e)))
    }
}

/// Memory only: for trying and for tests.
#[derive(Debug, Default)]
pub struct InMemory {
    entries: BTreeMap<Key, Vec<u8>>,
}

impl Registry for InMemory {
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        Ok(self.entries.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), RegistryError> {
        for change in changes {
            match &change.value {
                Some(value) => self.entries.insert(change.key.clone(), value.clone()),
                None => self.entries.remove(&change.key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> Change {
        Change {
            key: ("s".to_owned(), key.to_owned()),
            value: value.map(|v| v.as_bytes().to_vec()),
        }
    }

    fn contract(registry: &mut dyn Registry) {
        assert_eq!(registry.read().expect("readable"), []);
        registry
            .write(&[change("b", Some("2")), change("a", Some("1")), change("c", Some("3"))])
            .expect("writable");
        registry
            .write(&[change("b", None), change("a", Some("4")), change("x", None)])
            .expect("writable");
        assert_eq!(
            keys(registry),
            [("a", "4"), ("c", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    fn keys(registry: &dyn Registry) -> Vec<(String, String)> {
        let all = registry.read().expect("readable");
        all.into_iter().map(|((_, k), v)| (k, String::from_utf8(v).expect("text"))).collect()
    }

    #[test]
    fn in_memory_keeps_the_contract() {
        contract(&mut InMemory::default());
    }

    #[test]
    fn embedded_keeps_the_contract_and_its_content() {
        let directory = testkit::cluster::temporary_directory();
        let mut registry = Embedded::open(&directory).expect("a registry");
        contract(&mut registry);
        assert!(Embedded::open(&directory).is_err(), "one master at a time");
        drop(registry);
        let registry = Embedded::open(&directory).expect("a registry");
        assert_eq!(keys(&registry).len(), 2);
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
