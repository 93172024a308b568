//! A registry in etcd: a key `<path>/registry/<section>/<key>` for each entry.
//!
//! The key `<path>/registry` tells who writes and how many writes it has made. Every write is one transaction, made only
//! if this key is as the leader has left it, and if the key by which it was elected is the same and bound to its lease:
//! nothing of a former leader is accepted, and whether a write was made before the connection broke can be read there.

use super::Candidacy;
use crate::divided::{Changes, Content, Room, Transactions};
use crate::{Key, RegistryError};
use detector::etcd::{Client, Error, decoded, encoded, end_of, number};
use serde_json::{Value, json};
use std::time::Duration;

/// What a transaction takes: etcd takes 1.5 MiB (`--max-request-bytes`) and 128 operations (`--max-txn-ops`).
const ROOM: Room = Room { bytes: 1 << 20, changes: 120 };
/// Entries that are read at a time.
const PAGE: usize = 128;
/// Longest time for one call; calls that fail for want of a server are made again.
const CALL_MAX: Duration = Duration::from_secs(60);

/// What masters share.
#[derive(Debug)]
pub(crate) struct Shared {
    client: Client,
    root: String,
    place: String,
    own: Candidacy,
    /// Id of this master.
    leader: String,
    /// Writes made by this master.
    writes: u64,
    /// Revision at which the root has got its value.
    version: i64,
}

impl Shared {
    /// The registry as anybody may read it.
    pub(crate) fn new(client: Client, place: &str, own: Candidacy, leader: &str) -> Self {
        let root = format!("{}/registry", client.path());
        let place = format!("at {place}/registry");
        Self { client, root, place, own, leader: leader.to_owned(), writes: 0, version: 0 }
    }

    /// From now on nobody else writes.
    pub(crate) async fn take(mut self) -> Result<Self, RegistryError> {
        loop {
            let range = json!({"key": encoded(&self.root)});
            let found = self.call("kv/range", &range).await?;
            self.version = number(&found["kvs"][0]["mod_revision"]);
            let stamp = self.stamp(0);
            match self.transact(&stamp, Vec::new()).await? {
                Ok(version) => {
                    self.version = version;
                    return Ok(self);
                }
                // The former leader was quicker.
                Err(is_candidate) if is_candidate => {}
                Err(_) => return Err(self.deposed()),
            }
        }
    }

    async fn call(&self, name: &str, body: &Value) -> Result<Value, RegistryError> {
        self.client.call(name, body, CALL_MAX).await.map_err(|e| self.fault(e))
    }

    fn fault(&self, error: Error) -> RegistryError {
        let text = error.to_string();
        let advice = if text.contains("space exceeded") {
            "; compact and defragment etcd, or raise its --quota-backend-bytes, and then `etcdctl alarm disarm`"
        } else if text.contains("too large") || text.contains("too many operations") {
            "; etcd's --max-request-bytes and --max-txn-ops must not be below their defaults"
        } else {
            ""
        };
        RegistryError::unavailable(&self.place, format!("{text}{advice}"))
    }

    fn deposed(&self) -> RegistryError {
        RegistryError::Deposed { place: self.place.clone() }
    }

    fn stamp(&self, writes: u64) -> String {
        format!("{} {:016x} {writes}", self.leader, self.own.lease)
    }

    /// The revision of the write, now or when it was made before; else whether this master may still lead.
    async fn transact(
        &self,
        stamp: &str,
        mut changes: Vec<Value>,
    ) -> Result<Result<i64, bool>, RegistryError> {
        changes.push(json!({"request_put": {"key": encoded(&self.root), "value": encoded(stamp)}}));
        let own = encoded(&self.own.key);
        let transaction = json!({
            "compare": [
                {"key": own, "target": "CREATE", "create_revision": self.own.revision.to_string()},
                {"key": own, "target": "LEASE", "lease": self.own.lease.to_string()},
                {"key": encoded(&self.root), "target": "MOD", "mod_revision": self.version.to_string()},
            ],
            "success": changes,
            "failure": [
                {"request_range": {"key": own}},
                {"request_range": {"key": encoded(&self.root)}},
            ],
        });
        let answer = self.call("kv/txn", &transaction).await?;
        if answer["succeeded"] == true {
            return Ok(Ok(number(&answer["header"]["revision"])));
        }
        let found = |at: usize| &answer["responses"][at]["response_range"]["kvs"][0];
        let is_candidate = number(&found(0)["create_revision"]) == self.own.revision
            && number(&found(0)["lease"]) == self.own.lease;
        let is_made = decoded(&found(1)["value"]) == stamp.as_bytes();
        Ok(if is_made { Ok(number(&found(1)["mod_revision"])) } else { Err(is_candidate) })
    }

    fn prefix(&self) -> String {
        format!("{}/", self.root)
    }

    fn key_of(&self, (section, key): &Key) -> String {
        let section = section.replace('%', "%25").replace('/', "%2f");
        format!("{}{section}/{key}", self.prefix())
    }

    fn entry(&self, bytes: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(bytes).ok()?.strip_prefix(&self.prefix())?;
        let (section, key) = text.split_once('/')?;
        Some((section.replace("%2f", "/").replace("%25", "%"), key.to_owned()))
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
        let (mut from, end) = (self.prefix().into_bytes(), encoded(end_of(&self.prefix())));
        let mut revision = 0;
        let mut content = Content::new();
        loop {
            let range = json!({
                "key": encoded(&from), "range_end": end, "limit": PAGE.to_string(),
                "revision": revision.to_string(),
            });
            let answer = self.call("kv/range", &range).await?;
            if revision == 0 {
                revision = number(&answer["header"]["revision"]);
            }
            for found in answer["kvs"].as_array().into_iter().flatten() {
                let bytes = decoded(&found["key"]);
                let key = self.entry(&bytes).ok_or_else(|| {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let text = format!("the key '{text}' is none of a registry; remove it");
                    RegistryError::unavailable(&self.place, text)
                })?;
                content.insert(key, decoded(&found["value"]));
                from = bytes;
            }
            if answer["more"] != true {
                return Ok(content);
            }
            from.push(0);
        }
    }

    async fn commit(&mut self, changes: &Changes) -> Result<(), RegistryError> {
        let changes = changes.iter().map(|(key, value)| {
            let key = encoded(self.key_of(key));
            match value {
                Some(value) => json!({"request_put": {"key": key, "value": encoded(value)}}),
                None => json!({"request_delete_range": {"key": key}}),
            }
        });
        let changes = changes.collect();
        // What is given up may still arrive: no other write looks like it.
        self.writes += 1;
        let made = self.transact(&self.stamp(self.writes), changes).await?;
        self.version = made.map_err(|_| self.deposed())?;
        Ok(())
    }
}
