//! What is kept of a cluster: sections of keys with values, changed atomically and durably.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A section and a key in it.
pub type Key = (String, String);

/// One change: a new value, or None to remove the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    #[error("failed to open the registry {place}: {source}; {advice}")]
    Open {
        /// The file.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to do.
        advice: &'static str,
    },
    /// A read or write failed. A write may have become durable or not.
    #[error("failed to use the registry {place}: {source}")]
    Unavailable {
        /// Where the registry is.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another master leads: nothing was changed, and nothing can be changed any more.
    #[error("another master has taken over the registry {place}")]
    Deposed {
        /// Where the registry is.
        place: String,
    },
    /// Several masters can't begin with what one of them alone has left.
    #[error(
        "{place} holds the registry of one master; start this one with --peers={me} alone, then add the others to it"
    )]
    NotEmpty {
        /// The file.
        place: String,
        /// Address of this master.
        me: String,
    },
    /// A master of a group is not where the others look for it.
    #[error(
        "{place} is the part of the master that others know as {was}, and this one is {me}; start it with the same --ip, \
         --port, --hostname and --peers as before; or remove {was} with `proffer masters remove`, move the file away, \
         start this one without --peers, and add it"
    )]
    Elsewhere {
        /// The file.
        place: String,
        /// Address of the master of that file.
        was: String,
        /// Address of this master.
        me: String,
    },
    /// There is a registry where masters meet, and another one in the directory of this master.
    #[error(
        "{file} holds the registry of this master when it was alone, and there is another one {place}; move the file \
         away to go on with the other one, or remove that one to go on with the file"
    )]
    InBoth {
        /// The file.
        file: String,
        /// Where the other one is.
        place: String,
    },
    /// One master can't go on alone with its part of what several have replicated.
    #[error(
        "{place} holds a part of a registry that masters replicate, and others may have more of it; go on with \
         --coordination=raft; or remove all masters but one with `proffer masters remove` and start that one so, at the \
         address that it had; or move the file away to begin with another registry"
    )]
    Replicated {
        /// The file.
        place: String,
    },
    /// What there is where masters meet is not what this master has led with before.
    #[error(
        "the registry {place} is not the one that this master has led with before: that one was removed, or this one is \
         of another cluster; give the right place, or remove {file} to go on with this one"
    )]
    Another {
        /// Where it is.
        place: String,
        /// Where this master remembers the other one.
        file: String,
    },
    /// A change is larger than the registry takes: nothing was changed.
    #[error("a change of {size} bytes is too large for the registry {place}, which takes {max}")]
    TooLarge {
        /// Where the registry is.
        place: String,
        /// Bytes of the change.
        size: usize,
        /// Most bytes of a change.
        max: usize,
    },
}

impl RegistryError {
    pub(crate) fn unavailable(
        place: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { place: place.to_owned(), source: source.into() }
    }
}

/// A registry's store, in the hands of the one master that leads. Calls block: use them on a thread of their own.
pub trait Registry: Send + std::fmt::Debug {
    /// Everything in it, in order of keys.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError>;

    /// What tells it from others; None: it has no such id (yet).
    fn id(&self) -> Option<String> {
        None
    }

    /// Makes writes in their order, each of them with all of its changes or none; durable when it returns.
    ///
    /// # Errors
    /// When one can't be written, or another master leads now; earlier ones may have been made.
    fn write(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError>;
}

/// Memory only: for trying and for tests.
#[derive(Debug, Default)]
pub(crate) struct InMemory {
    entries: BTreeMap<Key, Vec<u8>>,
}

impl Registry for InMemory {
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        Ok(self.entries.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn write(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        for change in writes.iter().copied().flatten() {
            match &change.value {
                Some(value) => self.entries.insert(change.key.clone(), value.clone()),
                None => self.entries.remove(&change.key),
            };
        }
        Ok(())
    }
}
