//! A registry in ZooKeeper: a node for each entry below `<path>/log_replicas/registry/<section>`. Every client of Mesos
//! passes `log_replicas` over when it looks for the leader, where some take any other child for one.
//!
//! The node `registry` tells who writes and how many writes it has made. Every write is one transaction that
//! changes this node from the version that is known: after another master has written to it, nothing of a former
//! leader is accepted; and whether a write was made before the connection broke can be read there.

use super::acls_within;
use crate::{Change, Key, Registry, RegistryError};
use detector::zookeeper::{Session, Url, connected, is_lost_connection, persist};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::runtime::Handle;
use zookeeper_client::{Acls, Client, CreateMode, Error, MultiWriteError, MultiWriteResult};

/// The child of the directory that holds the registry.
const PARENT: &str = "log_replicas";
/// Most bytes of a transaction: ZooKeeper takes 1 MiB (`jute.maxbuffer`).
const SIZE_MAX: usize = 900 << 10;
/// Bytes that an operation takes besides its path and data.
const OVERHEAD: usize = 96;
/// Longest time for a call.
const CALL_MAX: Duration = Duration::from_secs(20);
/// Reads that are on their way at a time.
const READS: usize = 1000;

/// What masters share.
#[derive(Debug)]
pub(crate) struct Shared {
    client: Client,
    runtime: Handle,
    root: String,
    place: String,
    acls: Acls<'static>,
    /// Id of this master.
    leader: String,
    /// Writes made by this master.
    writes: u64,
    /// Version of the root's data.
    version: i32,
    /// Names of the entries that there are, by section.
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Shared {
    /// From now on nobody else writes.
    pub(crate) async fn take(session: &Session, url: &Url, leader: &str) -> Result<Self, Error> {
        let parent = format!("{}/{PARENT}", url.path);
        let root = format!("{parent}/registry");
        let (client, acls) = (session.client(), acls_within(url));
        let version = loop {
            let taken = persist(client, || async {
                make(client, &parent, &acls).await?;
                make(client, &root, &acls).await?;
                client.sync(&root).await?;
                let (_, found) = client.get_data(&root).await?;
                client.set_data(&root, &stamp(leader, 0), Some(found.version)).await
            });
            match taken.await {
                // The former leader was quicker.
                Err(Error::BadVersion) => {}
                taken => break taken?.version,
            }
        };
        Ok(Self {
            client: client.clone(),
            runtime: Handle::current(),
            place: format!("at {url}/{PARENT}/registry"),
            acls,
            leader: leader.to_owned(),
            writes: 0,
            version,
            names: BTreeMap::new(),
            root,
        })
    }

    fn path(&self, section: &str, name: &str) -> String {
        format!("{}/{section}/{name}", self.root)
    }

    async fn all(&self) -> Result<Vec<(Key, Vec<u8>)>, Error> {
        let mut sections = self.client.list_children(&self.root).await?;
        sections.sort_unstable();
        let mut out = Vec::new();
        for section in sections {
            let names = self.client.list_children(&format!("{}/{section}", self.root)).await?;
            for names in names.chunks(READS) {
                // Each of them is on its way before the first one is waited for.
                let reads: Vec<_> =
                    names.iter().map(|n| self.client.get_data(&self.path(&section, n))).collect();
                for (name, read) in names.iter().zip(reads) {
                    let (value, _) = read.await?;
                    let key = (decode(&section), decode(name));
                    out.push((key, value));
                }
            }
        }
        out.sort_unstable();
        Ok(out)
    }

    async fn commit(&mut self, changes: &[&Change]) -> Result<(), RegistryError> {
        let fault = |error: Error| RegistryError::unavailable(&self.place, error);
        let next = self.writes + 1;
        let stamp = stamp(&self.leader, next);
        loop {
            let mut names = BTreeMap::new();
            let mut writer = self.client.new_multi_writer();
            writer.add_set_data(&self.root, &stamp, Some(self.version)).map_err(fault)?;
            for change in changes {
                let (section, name) = (encode(&change.key.0), encode(&change.key.1));
                let path = self.path(&section, &name);
                let existed = names.get(&path).map_or_else(
                    || self.names.get(&section).is_some_and(|names| names.contains(&name)),
                    |(_, _, exists)| *exists,
                );
                match (&change.value, existed) {
                    (Some(value), true) => writer.add_set_data(&path, value, None),
                    (Some(value), false) => {
                        let options = CreateMode::Persistent.with_acls(self.acls);
                        writer.add_create(&path, value, &options)
                    }
                    (None, true) => writer.add_delete(&path, None),
                    (None, false) => Ok(()),
                }
                .map_err(fault)?;
                names.insert(path, (section, name, change.value.is_some()));
            }
            let version = match writer.commit().await {
                Ok(results) => match results.first() {
                    Some(MultiWriteResult::SetData { stat }) => stat.version,
                    other => {
                        let text = format!("unexpected answer {other:?}");
                        return Err(RegistryError::unavailable(&self.place, text));
                    }
                },
                Err(MultiWriteError::RequestFailed { source }) if is_lost_connection(&source) => {
                    connected(&self.client).await.map_err(fault)?;
                    continue;
                }
                Err(MultiWriteError::OperationFailed {
                    index: 0,
                    source: Error::BadVersion | Error::NoNode,
                }) => {
                    // Either it is this very write, made before the connection broke, or another master leads.
                    let deposed = || RegistryError::Deposed { place: self.place.clone() };
                    match self.client.get_data(&self.root).await {
                        Ok((data, stat)) if data == stamp => stat.version,
                        Err(error) if is_lost_connection(&error) => {
                            connected(&self.client).await.map_err(fault)?;
                            continue;
                        }
                        _ => return Err(deposed()),
                    }
                }
                Err(error) => return Err(RegistryError::unavailable(&self.place, error)),
            };
            self.version = version;
            self.writes = next;
            for (section, name, exists) in names.into_values() {
                let names = self.names.entry(section).or_default();
                if exists {
                    names.insert(name);
                } else {
                    names.remove(&name);
                }
            }
            return Ok(());
        }
    }

    async fn prepare(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        for change in writes.iter().copied().flatten() {
            let section = encode(&change.key.0);
            if self.names.contains_key(&section) {
                continue;
            }
            // Entries that were there before this master led are known only now.
            let path = format!("{}/{section}", self.root);
            let names = persist(&self.client, || async {
                make(&self.client, &path, &self.acls).await?;
                self.client.list_children(&path).await
            });
            let names = names.await.map_err(|e| RegistryError::unavailable(&self.place, e))?;
            self.names.insert(section, names.into_iter().collect());
        }
        Ok(())
    }

    async fn write_all(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        self.prepare(writes).await?;
        let mut batch: Vec<&Change> = Vec::new();
        let mut batch_size = 0;
        for write in writes {
            let size = write.iter().map(|change| self.size(change)).sum();
            if size > SIZE_MAX {
                return Err(RegistryError::TooLarge {
                    place: self.place.clone(),
                    size,
                    max: SIZE_MAX,
                });
            }
            if batch_size + size > SIZE_MAX {
                self.commit(&batch).await?;
                batch.clear();
                batch_size = 0;
            }
            batch.extend(*write);
            batch_size += size;
        }
        self.commit(&batch).await
    }

    fn size(&self, change: &Change) -> usize {
        let value = change.value.as_ref().map_or(0, Vec::len);
        // A name is at most three times as long as its key.
        OVERHEAD + self.root.len() + 3 * (change.key.0.len() + change.key.1.len()) + value
    }
}

impl Registry for Shared {
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        let all = persist(&self.client, || async { self.all().await });
        let read = self.runtime.block_on(async { tokio::time::timeout(3 * CALL_MAX, all).await });
        read.unwrap_or(Err(Error::Timeout)).map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    fn write(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        let (runtime, place) = (self.runtime.clone(), self.place.clone());
        let written = runtime
            .block_on(async { tokio::time::timeout(CALL_MAX, self.write_all(writes)).await });
        written.unwrap_or_else(|_| Err(RegistryError::unavailable(&place, Error::Timeout)))
    }
}

/// Data of the root: who writes, and how many writes it has made.
fn stamp(leader: &str, writes: u64) -> Vec<u8> {
    format!("{leader} {writes}").into_bytes()
}

/// Makes a node if it is not there.
async fn make(client: &Client, path: &str, acls: &Acls<'static>) -> Result<(), Error> {
    match client.create(path, b"", &CreateMode::Persistent.with_acls(*acls)).await {
        Ok(_) | Err(Error::NodeExists) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A key as the name of a node: what can't be in one stands as `%` and two hexadecimal digits.
fn encode(key: &str) -> String {
    if key.is_empty() {
        return "%".to_owned();
    }
    let mut name = String::with_capacity(key.len());
    for (at, byte) in key.bytes().enumerate() {
        let is_plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0);
        if is_plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name
}

fn decode(name: &str) -> String {
    let mut key = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: Vec<u8> = bytes.by_ref().take(2).collect();
            let digits = std::str::from_utf8(&digits).unwrap_or_default();
            key.extend(u8::from_str_radix(digits, 16).ok());
        } else {
            key.push(byte);
        }
    }
    String::from_utf8_lossy(&key).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_of_nodes_stand_for_any_key(key in ".*") {
            let name = encode(&key);
            prop_assert_eq!(decode(&name), key);
            prop_assert!(!name.is_empty() && !name.contains('/') && !name.starts_with('.'));
        }
    }
}
