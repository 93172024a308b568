//! Log and registry of one master, in one file: every call is a transaction.

use super::identity::Begun;
use super::sealed::Id;
use super::{Command, Raft};
use crate::embedded::{self, Entries, guarded};
use crate::{Key, RegistryError};
use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    BasicNode, Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend,
    RaftLogReader, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError, StoredMembership,
    Vote,
};
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Few values of one kind each: [`VOTE`], [`PURGED`], [`APPLIED`], [`MEMBERSHIP`].
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("raft");
/// The registry as it is replicated.
pub(super) const STATE: Entries<'_> = TableDefinition::new("replicated_registry");

const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";
pub(super) const APPLIED: &str = "applied";
pub(super) const MEMBERSHIP: &str = "membership";
const FILE_ID: &str = "file_id";
const BEGUN: &str = "begun";
const ADDRESS: &str = "address";

/// Bytes of log entries that are sent in one call: it must be answered in time.
const CALL_BYTES: usize = 512 << 10;

type Fault = StorageError<u64>;
type Membership = StoredMembership<u64, BasicNode>;
/// A snapshot, in memory: the registry itself is durable.
type LastSnapshot = (SnapshotMeta<u64, BasicNode>, Vec<u8>);
/// What a snapshot holds.
type Content = Vec<(Key, Vec<u8>)>;

/// A master's part of the replicated registry. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    database: Arc<Database>,
    place: Arc<str>,
    snapshot: Arc<Mutex<Option<LastSnapshot>>>,
}

/// The same, without keeping the file open.
#[derive(Debug, Clone)]
pub(super) struct WeakStore {
    database: Weak<Database>,
    place: Arc<str>,
    snapshot: Arc<Mutex<Option<LastSnapshot>>>,
}

impl WeakStore {
    /// The store, while this master takes part.
    pub(super) fn upgrade(&self) -> Option<Store> {
        let (place, snapshot) = (self.place.clone(), self.snapshot.clone());
        Some(Store { database: self.database.upgrade()?, place, snapshot })
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, redb::Error> {
    postcard::to_stdvec(value).map_err(|e| redb::Error::Corrupted(e.to_string()))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, redb::Error> {
    postcard::from_bytes(bytes).map_err(|e| redb::Error::Corrupted(e.to_string()))
}

fn put(
    transaction: &WriteTransaction,
    name: &str,
    value: &impl Serialize,
) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert(name, encode(value)?.as_slice())?;
    Ok(())
}

impl Store {
    /// Opens the file of a directory.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(crate) fn open(directory: &Path) -> Result<Self, RegistryError> {
        let (database, place) = embedded::open(directory)?;
        let store =
            Self { database: Arc::new(database), place: place.into(), snapshot: Arc::default() };
        let made = store.write(Durability::Immediate, |transaction| {
            transaction.open_table(LOG)?;
            transaction.open_table(META)?;
            transaction.open_table(STATE)?;
            Ok(())
        });
        made.map_err(|e| RegistryError::unavailable(&store.place, e))?;
        Ok(store)
    }

    pub(super) fn downgrade(&self) -> WeakStore {
        let (place, snapshot) = (self.place.clone(), self.snapshot.clone());
        WeakStore { database: Arc::downgrade(&self.database), place, snapshot }
    }

    /// Whether others hold the file as well.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.database) > 1
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What a master that was alone has left in the file.
    pub(crate) fn of_one_master(&self) -> Result<Content, RegistryError> {
        let all = guarded(|| embedded::content(&self.database, embedded::TABLE));
        all.map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    /// Forgets [`Store::of_one_master`]: it is in the group's registry now.
    pub(super) fn forget_one_master(&self) -> Result<(), RegistryError> {
        let forgotten = self.write(Durability::Immediate, |transaction| {
            transaction.delete_table(embedded::TABLE)?;
            Ok(())
        });
        forgotten.map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    /// The random number of this file; made when it is not there.
    pub(super) fn file_id(
        &self,
        make: impl FnOnce() -> std::io::Result<Id>,
    ) -> Result<Id, RegistryError> {
        let found = || match self.meta(FILE_ID)? {
            Some(id) => Ok(id),
            None => self.write(Durability::Immediate, |transaction| {
                let id = make()?;
                put(transaction, FILE_ID, &id)?;
                Ok(id)
            }),
        };
        found().map_err(|e: redb::Error| RegistryError::unavailable(&self.place, e))
    }

    /// The cluster that this master is of.
    pub(super) fn begun(&self) -> Result<Option<Begun>, RegistryError> {
        self.meta(BEGUN).map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    /// Keeps the cluster that this master is of, and where others know it to be.
    pub(super) fn begin(&self, begun: &Begun, me: &str) -> Result<(), RegistryError> {
        let kept = self.write(Durability::Immediate, |transaction| {
            put(transaction, BEGUN, begun)?;
            put(transaction, ADDRESS, &me)
        });
        kept.map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    /// Where others know this master to be; None: it is of no cluster, or the file is older than this.
    pub(super) fn address(&self) -> Result<Option<String>, RegistryError> {
        self.meta(ADDRESS).map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    fn write<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        guarded(|| {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(durability)?;
            embedded::certain(&mut transaction);
            let out = change(&transaction)?;
            transaction.commit()?;
            Ok(out)
        })
    }

    fn meta<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, redb::Error> {
        guarded(|| {
            let table = self.database.begin_read()?.open_table(META)?;
            table.get(name)?.map(|value| decode(value.value())).transpose()
        })
    }

    /// The last entry of the log that there is or was.
    pub(super) fn last_log(&self) -> Result<Option<LogId<u64>>, redb::Error> {
        let last = guarded(|| {
            let table = self.database.begin_read()?.open_table(LOG)?;
            let last = table.last()?;
            last.map(|(_, entry)| Ok(decode::<Entry<Raft>>(entry.value())?.log_id)).transpose()
        })?;
        Ok(last.or(self.meta(PURGED)?.flatten()))
    }

    /// Everything in the registry, in order of keys.
    pub(crate) fn content(&self) -> Result<Content, redb::Error> {
        guarded(|| embedded::content(&self.database, STATE))
    }

    fn snapshot_lock(&self) -> MutexGuard<'_, Option<LastSnapshot>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self) -> Result<(Option<LogId<u64>>, Membership), redb::Error> {
        Ok((self.meta(APPLIED)?.flatten(), self.meta(MEMBERSHIP)?.unwrap_or_default()))
    }
}

fn fault(subject: ErrorSubject<u64>, verb: ErrorVerb, error: redb::Error) -> Fault {
    StorageError::from_io_error(subject, verb, std::io::Error::other(error))
}

fn read_log(error: redb::Error) -> Fault {
    fault(ErrorSubject::Logs, ErrorVerb::Read, error)
}

fn write_log(error: redb::Error) -> Fault {
    fault(ErrorSubject::Logs, ErrorVerb::Write, error)
}

fn read_state(error: redb::Error) -> Fault {
    fault(ErrorSubject::StateMachine, ErrorVerb::Read, error)
}

fn write_state(error: redb::Error) -> Fault {
    fault(ErrorSubject::StateMachine, ErrorVerb::Write, error)
}

impl RaftLogReader<Raft> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry<Raft>>, Fault> {
        let bounds: (Bound<u64>, Bound<u64>) =
            (range.start_bound().cloned(), range.end_bound().cloned());
        let entries = guarded(|| {
            let table = self.database.begin_read()?.open_table(LOG)?;
            let mut out = Vec::new();
            for entry in table.range(bounds)? {
                out.push(decode(entry?.1.value())?);
            }
            Ok(out)
        });
        entries.map_err(read_log)
    }

    /// As many as go into one call, at least one.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry<Raft>>, Fault> {
        let entries = guarded(|| {
            let table = self.database.begin_read()?.open_table(LOG)?;
            let (mut out, mut bytes) = (Vec::new(), 0);
            for entry in table.range(start..end)? {
                let (_, entry) = entry?;
                bytes += entry.value().len();
                if bytes > CALL_BYTES && !out.is_empty() {
                    break;
                }
                out.push(decode(entry.value())?);
            }
            Ok(out)
        });
        entries.map_err(read_log)
    }
}

impl RaftLogStorage<Raft> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Raft>, Fault> {
        let purged: Option<LogId<u64>> = self.meta(PURGED).map_err(read_log)?.flatten();
        let last = self.last_log().map_err(read_log)?;
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), Fault> {
        self.write(Durability::Immediate, |transaction| put(transaction, VOTE, vote))
            .map_err(|e| fault(ErrorSubject::Vote, ErrorVerb::Write, e))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Fault> {
        self.meta(VOTE).map_err(|e| fault(ErrorSubject::Vote, ErrorVerb::Read, e))
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), Fault> {
        self.write(Durability::None, |transaction| put(transaction, COMMITTED, &committed))
            .map_err(write_log)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, Fault> {
        Ok(self.meta(COMMITTED).map_err(read_log)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Raft>) -> Result<(), Fault>
    where
        I: IntoIterator<Item = Entry<Raft>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry<Raft>> = entries.into_iter().collect();
        let written = self.write(Durability::Immediate, |transaction| {
            let mut log = transaction.open_table(LOG)?;
            for entry in &entries {
                log.insert(entry.log_id.index, encode(entry)?.as_slice())?;
            }
            Ok(())
        });
        match written {
            Ok(()) => callback.log_io_completed(Ok(())),
            Err(error) => {
                let text = error.to_string();
                callback.log_io_completed(Err(std::io::Error::other(text.clone())));
                return Err(write_log(redb::Error::Corrupted(text)));
            }
        }
        Ok(())
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Result<(), Fault> {
        self.write(Durability::Immediate, |transaction| {
            let mut log = transaction.open_table(LOG)?;
            log.retain_in(from.index.., |_, _| false)?;
            Ok(())
        })
        .map_err(write_log)
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<(), Fault> {
        self.write(Durability::Immediate, |transaction| {
            transaction.open_table(LOG)?.retain_in(..=upto.index, |_, _| false)?;
            put(transaction, PURGED, &Some(upto))
        })
        .map_err(write_log)
    }
}

impl RaftSnapshotBuilder<Raft> for Store {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Raft>, Fault> {
        let made = (|| {
            let (applied, membership) = self.applied()?;
            Ok((applied, membership, encode(&self.content()?)?))
        })();
        let (last_log_id, last_membership, bytes) = made.map_err(read_state)?;
        let snapshot_id = last_log_id.map_or_else(|| "0".to_owned(), |id| id.to_string());
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
        *self.snapshot_lock() = Some((meta.clone(), bytes.clone()));
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<Raft> for Store {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, Membership), Fault> {
        self.applied().map_err(read_state)
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Fault>
    where
        I: IntoIterator<Item = Entry<Raft>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry<Raft>> = entries.into_iter().collect();
        // The log is durable: what is lost of this in a crash is applied again.
        self.write(Durability::None, |transaction| {
            for entry in &entries {
                match &entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(Command { changes }) => {
                        embedded::apply(&mut transaction.open_table(STATE)?, changes)?;
                    }
                    EntryPayload::Membership(membership) => {
                        let stored = StoredMembership::new(Some(entry.log_id), membership.clone());
                        put(transaction, MEMBERSHIP, &stored)?;
                    }
                }
            }
            match entries.last() {
                Some(last) => put(transaction, APPLIED, &Some(last.log_id)),
                None => Ok(()),
            }
        })
        .map_err(write_state)?;
        Ok(vec![(); entries.len()])
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Fault> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), Fault> {
        let bytes = snapshot.into_inner();
        self.write(Durability::Immediate, |transaction| {
            let content: Content = decode(&bytes)?;
            let mut state = transaction.open_table(STATE)?;
            state.retain(|_, _| false)?;
            for ((section, key), value) in &content {
                state.insert((section.as_str(), key.as_str()), value.as_slice())?;
            }
            drop(state);
            put(transaction, APPLIED, &meta.last_log_id)?;
            put(transaction, MEMBERSHIP, &meta.last_membership)
        })
        .map_err(write_state)?;
        *self.snapshot_lock() = Some((meta.clone(), bytes));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Raft>>, Fault> {
        Ok(self
            .snapshot_lock()
            .clone()
            .map(|(meta, bytes)| Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::testing::{StoreBuilder, Suite};
    use std::path::PathBuf;

    struct Builder;

    /// Removes the directory at the end.
    struct Guard(PathBuf);

    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl StoreBuilder<Raft, Store, Store, Guard> for Builder {
        async fn build(&self) -> Result<(Guard, Store, Store), Fault> {
            let directory = testkit::cluster::temporary_directory();
            let store = Store::open(&directory).expect("a store");
            Ok((Guard(directory), store.clone(), store))
        }
    }

    #[test]
    fn the_store_keeps_the_contract_of_raft() {
        Suite::test_all(Builder).expect("the contract");
    }
}
