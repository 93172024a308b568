//! What a master of a group has left in its file, for who goes on without the group.

use super::store::{APPLIED, LOG, MEMBERSHIP, META, STATE, decode};
use super::{Command, Raft};
use crate::{Key, embedded};
use openraft::{BasicNode, Entry, EntryPayload, LogId, Membership, StoredMembership};
use redb::{Database, ReadableDatabase as _, WriteTransaction};
use std::collections::BTreeMap;

/// What is in such a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Other masters may have more of the registry.
    Part,
    /// The master is the only one of its group, and this is all of the registry.
    All(BTreeMap<Key, Vec<u8>>),
}

/// What the master at one of these addresses has left; None: it was in no group.
pub(crate) fn left(database: &Database, own: &[String]) -> Result<Option<Left>, redb::Error> {
    let read = database.begin_read()?;
    let (meta, log) = match (read.open_table(META), read.open_table(LOG)) {
        (Err(redb::TableError::TableDoesNotExist(_)), _)
        | (_, Err(redb::TableError::TableDoesNotExist(_))) => return Ok(None),
        (meta, log) => (meta?, log?),
    };
    let applied: Option<Option<LogId<u64>>> =
        meta.get(APPLIED)?.map(|value| decode(value.value())).transpose()?;
    let applied = applied.flatten();
    let kept: Option<StoredMembership<u64, BasicNode>> =
        meta.get(MEMBERSHIP)?.map(|value| decode(value.value())).transpose()?;
    let mut members = kept.map(|kept| kept.membership().clone()).unwrap_or_default();
    let mut content: BTreeMap<Key, Vec<u8>> =
        embedded::content(database, STATE)?.into_iter().collect();
    let mut is_new = applied.is_none();
    // Whoever is alone is a majority: what is in the log was promised, or could have been.
    for entry in log.range(applied.map_or(0, |last| last.index + 1)..)? {
        is_new = false;
        let entry: Entry<Raft> = decode(entry?.1.value())?;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(changed) => members = changed,
            EntryPayload::Normal(Command { changes }) => {
                for change in changes {
                    match change.value {
                        Some(value) => content.insert(change.key, value),
                        None => content.remove(&change.key),
                    };
                }
            }
        }
    }
    if is_new {
        return Ok(None);
    }
    Ok(Some(if is_only(&members, own) { Left::All(content) } else { Left::Part }))
}

/// From now on the file is of no group.
pub(crate) fn forget(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.delete_table(LOG)?;
    transaction.delete_table(META)?;
    transaction.delete_table(STATE)?;
    Ok(())
}

/// Whether all that count for a majority are the master at one of these addresses, now and before the last change.
fn is_only(members: &Membership<u64, BasicNode>, own: &[String]) -> bool {
    let is_own = |id: u64| members.get_node(&id).is_some_and(|node| own.contains(&node.addr));
    let mut voters = members.voter_ids().peekable();
    voters.peek().is_some() && voters.all(is_own)
}
