//! A registry in a service whose transactions are small: what is larger is divided.
//!
//! A value that is too large stands in pieces of its own section. A write that is too large goes to a journal first,
//! part by part; the moment its last key is written, it is made. Then its parts are carried out, each in one
//! transaction that removes it from the journal. Whoever takes the registry over finishes what has begun so, or removes
//! it if it was never made.

use crate::{Change, Key, Registry, RegistryError, registry_id};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Bytes of a piece of a value.
const PIECE: usize = 256 << 10;
/// Bytes of a part of a write that is divided, if it has more than one change.
const PART: usize = 384 << 10;
/// Most bytes of a key.
const KEY_MAX: usize = 16 << 10;
/// Most bytes of a write.
const WRITE_MAX: usize = 64 << 20;

/// Section of pieces.
const PIECES: &str = ".pieces";
/// Section of parts of a write that is divided.
const JOURNAL: &str = ".journal";
/// The key of the journal that says that all of its parts are there.
const MADE: &str = "made";

/// Keys with their new values; None: removed.
pub(crate) type Changes = BTreeMap<Key, Option<Vec<u8>>>;

/// Everything of a registry.
pub(crate) type Content = BTreeMap<Key, Vec<u8>>;

/// Longest times for calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For reading all of the registry (`--registry_fetch_timeout`).
    pub fetch: Duration,
    /// For writes that are made together (`--registry_store_timeout`).
    pub store: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { fetch: Duration::from_secs(60), store: Duration::from_secs(20) }
    }
}

/// What one transaction takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes of keys and values.
    pub(crate) bytes: usize,
    /// Changes.
    pub(crate) changes: usize,
}

/// Keys and values of the one master that leads, changed in small transactions.
pub(crate) trait Transactions: Send + Sync + std::fmt::Debug {
    /// Where it is.
    fn place(&self) -> &str;

    /// What one transaction takes.
    fn room(&self) -> Room;

    /// Everything in it.
    fn all(&self) -> impl Future<Output = Result<Content, RegistryError>> + Send;

    /// Makes all of the changes or none.
    fn commit(
        &mut self,
        changes: &Changes,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// A registry of writes of any size.
#[derive(Debug)]
pub(crate) struct Divided<T> {
    inner: T,
    runtime: Handle,
    timeouts: Timeouts,
    /// How many pieces there are of values that are divided.
    pieces: BTreeMap<Key, usize>,
    /// Its own id.
    id: Option<String>,
    /// A write was not finished.
    broken: bool,
    /// Everything in it, until it is read or changed.
    first: Mutex<Option<Content>>,
}

fn size(key: &Key, value: Option<&Vec<u8>>) -> usize {
    key.0.len() + key.1.len() + value.map_or(0, Vec::len)
}

fn piece(key: &Key, number: usize) -> Key {
    (PIECES.to_owned(), format!("{number:06}/{}/{}/{}", key.0.len(), key.0, key.1))
}

/// Which piece it is, and of what; pieces of a value come in order.
fn whole(piece: &str) -> Option<(usize, Key)> {
    let (number, rest) = piece.split_once('/')?;
    let (length, rest) = rest.split_once('/')?;
    let (section, key) = rest.split_at_checked(length.parse().ok()?)?;
    let key = (section.to_owned(), key.strip_prefix('/')?.to_owned());
    Some((number.parse().ok()?, key))
}

/// Batch of changes for one transaction.
#[derive(Default)]
struct Batch {
    changes: Changes,
    bytes: usize,
}

impl Batch {
    fn of(changes: Changes) -> Self {
        let bytes = changes.iter().map(|(key, value)| size(key, value.as_ref())).sum();
        Self { changes, bytes }
    }

    /// Takes another batch in if there is room; gives it back otherwise.
    fn take(&mut self, mut other: Self, room: Room) -> Option<Self> {
        let fits = self.bytes + other.bytes <= room.bytes
            && self.changes.len() + other.changes.len() <= room.changes;
        if !fits {
            return Some(other);
        }
        self.changes.append(&mut other.changes);
        self.bytes += other.bytes;
        None
    }
}

impl<T: Transactions> Divided<T> {
    /// Finishes what the former leader has begun.
    pub(crate) async fn open(inner: T, timeouts: Timeouts) -> Result<Self, RegistryError> {
        let mut registry = Self {
            inner,
            runtime: Handle::current(),
            timeouts,
            pieces: BTreeMap::new(),
            id: None,
            broken: true,
            first: Mutex::new(None),
        };
        let opened = tokio::time::timeout(timeouts.fetch, registry.repair()).await;
        let content =
            opened.unwrap_or_else(|_| Err(late(registry.inner.place(), timeouts.fetch)))?;
        registry.first = Mutex::new(Some(content));
        Ok(registry)
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &str {
        self.inner.place()
    }

    /// What it held when it was opened, until it is read or changed.
    pub(crate) fn first(&self) -> Content {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Makes writes in their order.
    pub(crate) async fn commit(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        self.first = Mutex::new(None);
        let max = self.timeouts.store;
        let made = tokio::time::timeout(max, self.write_all(writes)).await;
        made.unwrap_or_else(|_| Err(late(self.inner.place(), max)))
    }

    /// Everything in it, with nothing half made.
    async fn repair(&mut self) -> Result<Content, RegistryError> {
        let mut all = self.inner.all().await?;
        let journal: Vec<Key> = all.keys().filter(|key| key.0 == JOURNAL).cloned().collect();
        let made = (JOURNAL.to_owned(), MADE.to_owned());
        if all.contains_key(&made) {
            for key in journal.iter().filter(|key| **key != made) {
                let part = all.get(key).map(Vec::as_slice).unwrap_or_default();
                let part = postcard::from_bytes(part).map_err(|e| self.fault(key, &e))?;
                self.carry_out(key.clone(), part).await?;
            }
            self.inner.commit(&Changes::from([(made, None)])).await?;
            all = self.inner.all().await?;
        } else {
            for keys in journal.chunks(self.inner.room().changes) {
                self.inner.commit(&keys.iter().map(|key| (key.clone(), None)).collect()).await?;
            }
            all.retain(|key, _| key.0 != JOURNAL);
        }
        self.id = all.get(&registry_id::key()).map(|id| String::from_utf8_lossy(id).into_owned());
        let (content, pieces) = self.whole(all)?;
        self.pieces = pieces;
        self.broken = false;
        Ok(content)
    }

    fn fault(&self, key: &Key, why: &dyn std::fmt::Display) -> RegistryError {
        let text = format!("{}/{} is not understood: {why}", key.0, key.1);
        RegistryError::unavailable(self.inner.place(), text)
    }

    /// Values in one piece, and how many pieces there were.
    fn whole(&self, all: Content) -> Result<(Content, BTreeMap<Key, usize>), RegistryError> {
        let mut content = Content::new();
        let mut pieces: BTreeMap<Key, usize> = BTreeMap::new();
        for (key, value) in all {
            if key.0 == PIECES {
                let (number, whole) =
                    whole(&key.1).ok_or_else(|| self.fault(&key, &"no such piece"))?;
                let before = pieces.entry(whole.clone()).or_default();
                if number != *before {
                    return Err(self.fault(&key, &format!("piece {before} is missing")));
                }
                *before += 1;
                content.entry(whole).or_default().extend(value);
            } else if key.0 != registry_id::SECTION {
                content.insert(key, value);
            }
        }
        Ok((content, pieces))
    }

    /// The changes that a write is, with values that are divided.
    fn divide(&mut self, write: &[Change]) -> Changes {
        let last: BTreeMap<&Key, Option<&Vec<u8>>> =
            write.iter().map(|change| (&change.key, change.value.as_ref())).collect();
        let mut changes = Changes::new();
        for (key, value) in last {
            let large = value.filter(|value| value.len() > PIECE);
            let pieces = large.map_or(&[][..], Vec::as_slice).chunks(PIECE);
            let count = pieces.len();
            for (number, bytes) in pieces.enumerate() {
                changes.insert(piece(key, number), Some(bytes.to_vec()));
            }
            for number in count..self.pieces.get(key).copied().unwrap_or(0) {
                changes.insert(piece(key, number), None);
            }
            changes.insert(key.clone(), if large.is_some() { None } else { value.cloned() });
            if count > 0 {
                self.pieces.insert(key.clone(), count);
            } else {
                self.pieces.remove(key);
            }
        }
        changes
    }

    async fn write_all(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        for write in writes {
            let bytes = write.iter().map(|change| size(&change.key, change.value.as_ref())).sum();
            let key = write.iter().map(|change| size(&change.key, None)).max().unwrap_or(0);
            for (size, max) in [(bytes, WRITE_MAX), (key, KEY_MAX)] {
                if size > max {
                    let place = self.inner.place().to_owned();
                    return Err(RegistryError::TooLarge { place, size, max });
                }
            }
        }
        if self.broken {
            self.repair().await?;
        }
        // If this is given up, nobody knows what was made.
        self.broken = true;
        let mut batch = Batch::default();
        for write in writes {
            let next = Batch::of(self.divide(write));
            let Some(next) = batch.take(next, self.inner.room()) else { continue };
            self.inner.commit(&std::mem::take(&mut batch).changes).await?;
            if let Some(next) = batch.take(next, self.inner.room()) {
                self.by_journal(next.changes).await?;
            }
        }
        if !batch.changes.is_empty() {
            self.inner.commit(&batch.changes).await?;
        }
        self.broken = false;
        Ok(())
    }

    async fn by_journal(&mut self, changes: Changes) -> Result<(), RegistryError> {
        // One place is for the removal from the journal.
        let room = Room { bytes: PART, changes: self.inner.room().changes - 1 };
        let mut parts: Vec<Batch> = Vec::new();
        for (key, value) in changes {
            let one = Batch::of(Changes::from([(key, value)]));
            let rest = match parts.last_mut() {
                Some(part) => part.take(one, room),
                None => Some(one),
            };
            parts.extend(rest);
        }
        let key = |number: usize| (JOURNAL.to_owned(), format!("{number:06}"));
        for (number, part) in parts.iter().enumerate() {
            let bytes =
                postcard::to_stdvec(&part.changes).map_err(|e| self.fault(&key(number), &e))?;
            self.inner.commit(&Changes::from([(key(number), Some(bytes))])).await?;
        }
        let made = (JOURNAL.to_owned(), MADE.to_owned());
        self.inner.commit(&Changes::from([(made.clone(), Some(Vec::new()))])).await?;
        for (number, part) in parts.into_iter().enumerate() {
            self.carry_out(key(number), part.changes).await?;
        }
        self.inner.commit(&Changes::from([(made, None)])).await
    }

    /// Makes a part of the journal.
    async fn carry_out(&mut self, key: Key, mut part: Changes) -> Result<(), RegistryError> {
        part.insert(key, None);
        self.inner.commit(&part).await
    }
}

fn late(place: &str, max: Duration) -> RegistryError {
    RegistryError::unavailable(place, format!("it does not answer within {max:?}"))
}

impl<T: Transactions> Registry for Divided<T> {
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        if let Some(first) = self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(first.into_iter().collect());
        }
        let max = self.timeouts.fetch;
        let all = async { tokio::time::timeout(max, self.inner.all()).await };
        let all = self.runtime.block_on(all);
        let all = all.unwrap_or_else(|_| Err(late(self.inner.place(), max)))?;
        Ok(self.whole(all)?.0.into_iter().collect())
    }

    fn id(&self) -> Option<String> {
        self.id.clone()
    }

    fn write(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        self.runtime.clone().block_on(self.commit(writes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// A service whose transactions are small, and which is out of reach after some of them.
    #[derive(Debug, Clone, Default)]
    struct Service {
        content: Arc<Mutex<Content>>,
        left: Option<usize>,
    }

    impl Transactions for Service {
        fn place(&self) -> &str {
            "in memory"
        }

        fn room(&self) -> Room {
            Room { bytes: 512 << 10, changes: 4 }
        }

        async fn all(&self) -> Result<Content, RegistryError> {
            Ok(self.content.lock().expect("no panic").clone())
        }

        async fn commit(&mut self, changes: &Changes) -> Result<(), RegistryError> {
            let sizes = changes.iter().map(|(key, value)| size(key, value.as_ref()));
            assert!(changes.len() <= 4 && sizes.sum::<usize>() <= 512 << 10, "it does not fit");
            match &mut self.left {
                Some(0) => return Err(RegistryError::unavailable("in memory", "out of reach")),
                Some(left) => *left -= 1,
                None => {}
            }
            let mut content = self.content.lock().expect("no panic");
            for (key, value) in changes {
                match value {
                    Some(value) => content.insert(key.clone(), value.clone()),
                    None => content.remove(key),
                };
            }
            Ok(())
        }
    }

    fn writes() -> impl Strategy<Value = Vec<Vec<Change>>> {
        let length = prop_oneof![Just(None), (0_usize..9).prop_map(Some)];
        let change = (0_u8..9, length).prop_map(|(key, length)| Change {
            key: ("s".to_owned(), format!("{key}/x")),
            value: length.map(|n| vec![key; n * n * 12_000]),
        });
        proptest::collection::vec(proptest::collection::vec(change, 0..9), 1..5)
    }

    fn apply(content: &mut Content, write: &[Change]) {
        for change in write {
            match &change.value {
                Some(value) => content.insert(change.key.clone(), value.clone()),
                None => content.remove(&change.key),
            };
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// The service goes out of reach at any moment: every write is made whole or not at all, and those that were
        /// answered are made.
        #[test]
        fn writes_are_whole_whenever_the_leader_ends(writes in writes(), left in 0_usize..40) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let service = Service::default();
            let mut states = vec![Content::new()];
            let mut answered = 0;
            runtime.block_on(async {
                let inner = Service { left: Some(left), ..service.clone() };
                let mut registry = Divided::open(inner, Timeouts::default()).await.expect("empty");
                for (number, write) in writes.iter().enumerate() {
                    let mut next = states[number].clone();
                    apply(&mut next, write);
                    states.push(next);
                    if registry.commit(&[write]).await.is_err() {
                        break;
                    }
                    answered = number + 1;
                }
                let next = Divided::open(service.clone(), Timeouts::default()).await.expect("whole");
                let found = next.first();
                assert!(states[answered..].contains(&found), "a write is made in part, or lost");
                let hidden = service.content.lock().expect("no panic");
                assert!(hidden.keys().all(|key| key.0 != JOURNAL), "the journal is empty");
            });
        }
    }
}
