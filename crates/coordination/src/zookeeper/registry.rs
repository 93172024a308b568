//! A registry in ZooKeeper: a node for each entry below `<path>/log_replicas/registry/<section>`. Every client of Mesos
//! passes `log_replicas` over when it looks for the leader, where some take any other child for one.
//!
//! The node `registry` tells who writes and how many writes it has made. Every write is one transaction that
//! changes this node from the version that is known: after another master has written to it, nothing of a former
//! leader is accepted; and whether a write was made before the connection broke can be read there.

use super::acls_within;
use crate::RegistryError;
use crate::divided::{Changes, Content, Room, Transactions};
use detector::Url;
use detector::zookeeper::{Session, connected, is_lost_connection, persist};
use std::collections::{BTreeMap, BTreeSet};
use zookeeper_client::{Acls, Client, CreateMode, Error, MultiWriteError, MultiWriteResult};

/// The child of the directory that holds the registry.
const PARENT: &str = "log_replicas";
/// What a transaction takes: ZooKeeper takes 1 MiB (`jute.maxbuffer`). The rest is for paths: a name is at most three
/// times as long as its key, and keys are short.
const ROOM: Room = Room { bytes: 640 << 10, changes: 1000 };
/// Reads that are on their way at a time.
const READS: usize = 1000;

/// What masters share.
#[derive(Debug)]
pub(crate) struct Shared {
    client: Client,
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
    /// The registry as any master may read it.
    pub(crate) fn new(session: &Session, url: &Url, leader: &str) -> Self {
        Self {
            client: session.client().clone(),
            place: format!("at {url}/{PARENT}/registry"),
            acls: acls_within(url),
            leader: leader.to_owned(),
            writes: 0,
            version: 0,
            names: BTreeMap::new(),
            root: format!("{}/{PARENT}/registry", url.path),
        }
    }

    /// From now on nobody else writes.
    pub(crate) async fn take(mut self) -> Result<Self, Error> {
        let parent = self.root.trim_end_matches("/registry");
        let (client, root) = (&self.client, &self.root);
        self.version = loop {
            let taken = persist(client, || async {
                make(client, parent, &self.acls).await?;
                make(client, root, &self.acls).await?;
                client.sync(root).await?;
                let (_, found) = client.get_data(root).await?;
                client.set_data(root, &stamp(&self.leader, 0), Some(found.version)).await
            });
            match taken.await {
                // The former leader was quicker.
                Err(Error::BadVersion) => {}
                taken => break taken?.version,
            }
        };
        Ok(self)
    }

    fn path(&self, section: &str, name: &str) -> String {
        format!("{}/{section}/{name}", self.root)
    }

    async fn read(&self) -> Result<Content, Error> {
        let sections = match self.client.list_children(&self.root).await {
            Err(Error::NoNode) => Vec::new(),
            sections => sections?,
        };
        let mut content = Content::new();
        for section in sections {
            let names = self.client.list_children(&format!("{}/{section}", self.root)).await?;
            for names in names.chunks(READS) {
                // Each of them is on its way before the first one is waited for.
                let reads: Vec<_> =
                    names.iter().map(|n| self.client.get_data(&self.path(&section, n))).collect();
                for (name, read) in names.iter().zip(reads) {
                    let (value, _) = read.await?;
                    content.insert((decode(&section), decode(name)), value);
                }
            }
        }
        Ok(content)
    }

    /// Knows the names of a section, which is made if it is not there.
    async fn prepare(&mut self, section: &str) -> Result<(), Error> {
        if self.names.contains_key(section) {
            return Ok(());
        }
        // Entries that were there before this master led are known only now.
        let path = format!("{}/{section}", self.root);
        let names = persist(&self.client, || async {
            make(&self.client, &path, &self.acls).await?;
            self.client.list_children(&path).await
        });
        let names = names.await?.into_iter().collect();
        self.names.insert(section.to_owned(), names);
        Ok(())
    }
}

impl Transactions for Shared {
    fn place(&self) -> &str {
        &self.place
    }

    fn room(&self) -> Room {
        ROOM
    }

    async fn all(&self) -> Result<Content, RegistryError> {
        let all = persist(&self.client, || async { self.read().await });
        all.await.map_err(|e| RegistryError::unavailable(&self.place, e))
    }

    async fn commit(&mut self, changes: &Changes) -> Result<(), RegistryError> {
        let mut named = Vec::new();
        for ((section, key), value) in changes {
            let (section, name) = (encode(section), encode(key));
            let prepared = self.prepare(&section).await;
            prepared.map_err(|e| RegistryError::unavailable(&self.place, e))?;
            named.push((section, name, value));
        }
        // What is given up may still arrive: no other write looks like it.
        self.writes += 1;
        let stamp = stamp(&self.leader, self.writes);
        let fault = |error: Error| RegistryError::unavailable(&self.place, error);
        self.version = loop {
            let mut writer = self.client.new_multi_writer();
            writer.add_set_data(&self.root, &stamp, Some(self.version)).map_err(fault)?;
            for (section, name, value) in &named {
                let path = self.path(section, name);
                let existed = self.names.get(section).is_some_and(|names| names.contains(name));
                match (value, existed) {
                    (Some(value), true) => writer.add_set_data(&path, value, None),
                    (Some(value), false) => {
                        let options = CreateMode::Persistent.with_acls(self.acls);
                        writer.add_create(&path, value, &options)
                    }
                    (None, true) => writer.add_delete(&path, None),
                    (None, false) => Ok(()),
                }
                .map_err(fault)?;
            }
            match writer.commit().await {
                Ok(results) => match results.first() {
                    Some(MultiWriteResult::SetData { stat }) => break stat.version,
                    other => {
                        let text = format!("unexpected answer {other:?}");
                        return Err(RegistryError::unavailable(&self.place, text));
                    }
                },
                Err(MultiWriteError::RequestFailed { source }) if is_lost_connection(&source) => {
                    connected(&self.client).await.map_err(fault)?;
                }
                Err(MultiWriteError::OperationFailed {
                    index: 0,
                    source: Error::BadVersion | Error::NoNode,
                }) => {
                    // Either it is this very write, made before the connection broke, or another master leads.
                    match self.client.get_data(&self.root).await {
                        Ok((data, stat)) if data == stamp => break stat.version,
                        Err(error) if is_lost_connection(&error) => {
                            connected(&self.client).await.map_err(fault)?;
                        }
                        _ => return Err(RegistryError::Deposed { place: self.place.clone() }),
                    }
                }
                Err(error) => return Err(RegistryError::unavailable(&self.place, error)),
            }
        };
        for (section, name, value) in named {
            let names = self.names.entry(section).or_default();
            if value.is_some() {
                names.insert(name);
            } else {
                names.remove(&name);
            }
        }
        Ok(())
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
