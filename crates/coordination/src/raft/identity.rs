//! Who a master is among those that replicate the registry: which cluster its file is of, and how a cluster begins.
//!
//! A file that is new must not take part as if it remembered what it has promised before: a master whose disk was lost
//! could vote twice, or elect a leader who lacks what was promised to be kept. So a cluster begins when all its first
//! masters have met and none of them has begun; each keeps who they were. A master that comes with a new file later is
//! refused, and must be removed and added as a new one.

use super::PATH;
use super::election::Heard;
use super::network::Connection;
use super::sealed::{Id, Sealer, new_id};
use super::store::Store;
use crate::RegistryError;
use ring::digest;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Time between attempts to meet the others.
const PAUSE: Duration = Duration::from_millis(200);

/// What a master's file remembers of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The cluster.
    pub(super) cluster: Id,
    /// Its first masters with the ids of their files; empty where a master was added.
    pub(super) founders: Vec<(String, Id)>,
}

/// A master that wants to begin a cluster, and what another one says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Where it listens.
    address: String,
    /// Id of its file.
    file: Id,
    /// The first masters as it knows them, in order.
    peers: Vec<String>,
    /// The cluster that it is of, if it has begun.
    begun: Option<Begun>,
}

/// A master, to itself and to others.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) me: String,
    pub(super) heard: Heard,
    peers: Vec<String>,
    file: Id,
    sealer: Sealer,
    begun: Mutex<Option<Begun>>,
}

/// How calls of others are refused.
pub(super) const NOT_BEGUN: &str = "this master has no part of a registry: it is new, or its disk was lost; remove it with \
     `proffer masters remove`, start it without --peers, and add it again";
const OTHER_CLUSTER: &str = "this master is of another cluster; move the registry.redb in its --work_dir away if it shall join";

impl Identity {
    pub(super) fn new(
        store: &Store,
        me: &str,
        peers: &[String],
        secret: &[u8],
    ) -> Result<Self, RegistryError> {
        let file = store.file_id(new_id)?;
        let begun = store.begun()?;
        let founder = begun.iter().flat_map(|b| &b.founders).find(|(_, of)| *of == file);
        let was = store.address()?.or_else(|| founder.map(|(address, _)| address.clone()));
        if let Some(was) = was.filter(|was| was != me) {
            let (place, me) = (store.place().to_owned(), me.to_owned());
            return Err(RegistryError::Elsewhere { place, was, me });
        }
        let mut peers = peers.to_vec();
        peers.sort_unstable();
        Ok(Self {
            me: me.to_owned(),
            heard: Heard::default(),
            peers,
            file,
            sealer: Sealer::new(secret),
            begun: Mutex::new(begun),
        })
    }

    /// All first masters of a new cluster, in order; none where this master is added to others.
    pub(super) fn peers(&self) -> &[String] {
        &self.peers
    }

    /// Whether it is one of the first masters.
    pub(super) fn is_founder(&self) -> bool {
        self.peers.contains(&self.me)
    }

    pub(super) fn begun(&self) -> Option<Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this master is one of the cluster, also after it was started again.
    pub(super) fn begin(&self, store: &Store, begun: Begun) -> Result<(), RegistryError> {
        store.begin(&begun, &self.me)?;
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        Ok(())
    }

    /// What another master is told that wants to begin.
    pub(super) fn hello(&self) -> Hello {
        let (address, peers) = (self.me.clone(), self.peers.clone());
        Hello { address, file: self.file, peers, begun: self.begun() }
    }

    /// Asks another master once, over a connection of its own.
    pub(super) async fn ask(&self, to: &str, kind: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let asked = async { Connection::open(to).await?.call(self, kind, body).await };
        tokio::time::timeout(ANSWER_MAX, asked)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether a master of this cluster answers there.
    pub(super) async fn is_of_cluster(&self, address: &str) -> bool {
        let answer = self.ask(address, "hello", &[]).await;
        let hello = answer.ok().and_then(|answer| postcard::from_bytes::<Hello>(&answer).ok());
        let theirs = hello.and_then(|hello| hello.begun).map(|begun| begun.cluster);
        theirs.is_some() && theirs == self.begun().map(|begun| begun.cluster)
    }

    /// A call to another master, sealed.
    pub(super) fn seal(&self, kind: &str, to: &str, body: &[u8]) -> io::Result<(Id, Vec<u8>)> {
        let nonce = new_id()?;
        let cluster = self.begun().map_or([0; 16], |begun| begun.cluster);
        Ok((nonce, self.sealer.call(kind, to, &nonce, &cluster, body)))
    }

    /// An answer of another master.
    pub(super) fn open_answer<'a>(&self, nonce: &Id, answer: &'a [u8]) -> io::Result<&'a [u8]> {
        self.sealer.open_answer(nonce, answer).map_err(io::Error::other)
    }

    /// Opens a call, and refuses what is not for this master; gives its nonce and its body.
    pub(super) fn open<'a>(&self, kind: &str, call: &'a [u8]) -> Result<(Id, &'a [u8]), String> {
        let opened = self.sealer.open(kind, &self.me, call);
        let opened = opened.map_err(|why| format!("{why}; this master is {}", self.me))?;
        if !matches!(kind, "hello" | "invite") {
            let begun = self.begun().ok_or(NOT_BEGUN)?;
            if begun.cluster != opened.cluster {
                return Err(OTHER_CLUSTER.to_owned());
            }
        }
        Ok((opened.nonce, opened.body))
    }

    /// Seals an answer.
    pub(super) fn answer(&self, nonce: &Id, body: Vec<u8>) -> Vec<u8> {
        self.sealer.answer(nonce, body)
    }

    /// Takes an invitation of a leader, or says why not.
    pub(super) fn invited(&self, store: &Store, cluster: Id) -> Result<(), String> {
        match self.begun() {
            Some(begun) if begun.cluster == cluster => Ok(()),
            Some(_) => Err(OTHER_CLUSTER.to_owned()),
            None if !store.of_one_master().map_err(|e| e.to_string())?.is_empty() => {
                Err("its --work_dir holds the registry of a master that was alone; move registry.redb away".to_owned())
            }
            None if self.peers.is_empty() => self
                .begin(store, Begun { cluster, founders: Vec::new() })
                .map_err(|e| e.to_string()),
            None => {
                Err("this master was started with --peers; start it without to add it".to_owned())
            }
        }
    }

    /// Meets the first masters of a new cluster; returns when it has begun.
    ///
    /// # Errors
    /// Why it can't begin.
    pub(super) async fn meet(self: &Arc<Self>, store: &Store) -> Result<(), String> {
        let others: Vec<&String> = self.peers.iter().filter(|peer| **peer != self.me).collect();
        let mut told = String::new();
        loop {
            let mut founders = vec![(self.me.clone(), self.file)];
            let mut absent = Vec::new();
            for peer in &others {
                let answer = self.ask(peer, "hello", &[]).await;
                let answer = answer.and_then(|answer| {
                    postcard::from_bytes::<Hello>(&answer).map_err(io::Error::other)
                });
                match answer {
                    Err(why) => absent.push(format!("{peer}: {why}")),
                    Ok(other) => match self.learn(&other)? {
                        Some(begun) => {
                            return self.begin(store, begun).map_err(|e| e.to_string());
                        }
                        None => founders.push((other.address, other.file)),
                    },
                }
            }
            if absent.is_empty() {
                founders.sort_unstable();
                let begun = Begun { cluster: cluster_of(&founders), founders };
                return self.begin(store, begun).map_err(|e| e.to_string());
            }
            let absent = absent.join("; ");
            if absent != told {
                tracing::info!(
                    absent,
                    "a new cluster begins when all masters of --peers are there"
                );
                told = absent;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What follows from what another first master says: the cluster that has begun with this one, or nothing yet.
    fn learn(&self, other: &Hello) -> Result<Option<Begun>, String> {
        match &other.begun {
            Some(begun) if begun.founders.contains(&(self.me.clone(), self.file)) => {
                Ok(Some(begun.clone()))
            }
            Some(begun) if begun.founders.iter().any(|(address, _)| *address == self.me) => {
                Err(format!(
                    "{} knows {} with another disk: what was on it is lost, and it must not vote anew; remove it with \
                     `proffer masters remove {}`, start it without --peers, and add it again",
                    other.address, self.me, self.me
                ))
            }
            Some(_) => Err(format!(
                "the cluster of {} has begun without {}; start it without --peers, and add it with `proffer masters \
                 add {}`",
                other.address, self.me, self.me
            )),
            None if other.peers != self.peers => Err(format!(
                "--peers differ: {} was started with {}, this master with {}",
                other.address,
                if other.peers.is_empty() { "none".to_owned() } else { other.peers.join(",") },
                self.peers.join(",")
            )),
            None => Ok(None),
        }
    }
}

/// The id that all first masters give their cluster.
fn cluster_of(founders: &[(String, Id)]) -> Id {
    let mut all = digest::Context::new(&digest::SHA256);
    for (address, file) in founders {
        all.update(address.as_bytes());
        all.update(&[0]);
        all.update(file);
    }
    let mut id = Id::default();
    let digest = all.finish();
    id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    id
}

pub(super) fn path(kind: &str) -> String {
    format!("{PATH}{kind}")
}
