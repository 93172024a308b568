//! Where the leading master is: the ways to name it (spec/operations.md 1.4), and following it.
#![forbid(unsafe_code)]

pub mod etcd;
mod name;
mod url;
pub mod zookeeper;

pub use name::{MasterName, ParseError};
pub use url::{Service, Url};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Timeout of sessions with ZooKeeper or etcd where no other is given (`--zk_session_timeout`).
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that [`Detector::addresses`] waits for a leader.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What is known of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was not looked yet.
    Nothing,
    /// Where it listens.
    Leader(String),
    /// Why none is known.
    Nobody(String),
}

/// Why no master is found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DetectError(String);

/// Finds the leading master again and again. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Detector {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Addresses(Arc<[String]>),
    File(PathBuf),
    Found(watch::Receiver<Found>),
}

impl Detector {
    /// Finds the master of that name; must be called within a tokio runtime. `session_timeout` is that of sessions
    /// with ZooKeeper, and the longest time for an answer of etcd.
    #[must_use]
    pub fn new(name: MasterName, session_timeout: Duration) -> Self {
        let source = match name {
            MasterName::Addresses(addresses) => Source::Addresses(addresses.into()),
            MasterName::File(path) => Source::File(path),
            MasterName::Meeting(url) => {
                let (sender, found) = watch::channel(Found::Nothing);
                match url.service {
                    Service::ZooKeeper => {
                        tokio::spawn(zookeeper::look(url, session_timeout, sender))
                    }
                    Service::Etcd => tokio::spawn(etcd::look(url, session_timeout, sender)),
                };
                Source::Found(found)
            }
        };
        Self { source }
    }

    /// The addresses to try now, `host:port`, in order. Waits some seconds for a leader.
    ///
    /// # Errors
    /// Why none is known.
    pub async fn addresses(&self) -> Result<Vec<String>, DetectError> {
        match &self.source {
            Source::Addresses(addresses) => Ok(addresses.to_vec()),
            Source::File(path) => name::read(path).map_err(|e| DetectError(e.to_string())),
            Source::Found(found) => {
                let mut waiting = found.clone();
                let is_known = |found: &Found| matches!(found, Found::Leader(_));
                let _ = tokio::time::timeout(ANSWER_MAX, waiting.wait_for(is_known)).await;
                match &*found.borrow() {
                    Found::Leader(address) => Ok(vec![address.clone()]),
                    Found::Nobody(why) => Err(DetectError(why.clone())),
                    Found::Nothing => {
                        Err(DetectError("no server answers that knows the leader".to_owned()))
                    }
                }
            }
        }
    }

    /// Waits until another master than the one at this address is known to lead; for ever where the name does not
    /// tell of changes.
    pub async fn other_than(&self, address: &str) {
        if let Source::Found(found) = &self.source {
            let is_other =
                |found: &Found| matches!(found, Found::Leader(leader) if leader != address);
            if found.clone().wait_for(is_other).await.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }
}
