//! Masters that replicate the registry among themselves and elect their leader, with no other service.

mod members;
mod network;
mod replicated;
mod store;

pub use members::{MemberState, MembersError, Peers};

use crate::{Change, Registry as _, RegistryError, Standing};
use network::Network;
use openraft::{BasicNode, Config, ServerState};
use replicated::Replicated;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use store::STATE;
use store::Store;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use wire::v1;

/// Begin of the paths of calls between masters.
pub const PATH: &str = "/coordination/raft/";

/// Time between signs of life of the leader.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// Time without a sign of life after which another master may lead: it differs from election to election.
const ELECTION: (Duration, Duration) = (Duration::from_millis(1100), Duration::from_millis(1700));
/// Time without an answer of a majority after which a leader gives up: before another one may lead.
const LEASE: Duration = Duration::from_millis(1000);

/// Longest wait for the end of Raft's tasks.
const CLOSE_MAX: Duration = Duration::from_secs(3);

openraft::declare_raft_types!(
    /// The types of our Raft.
    pub(crate) Raft:
        D = Command,
        R = (),
);

/// One or more writes of the registry: all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    /// What they change, in order.
    pub(crate) changes: Vec<Change>,
}

/// Number of the master at this address.
fn id_of(address: &str) -> u64 {
    // FNV-1a: the number must be the same wherever and whenever it is counted.
    address.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Who listens at `host:port`.
fn info_of(address: &str) -> Option<v1::MasterInfo> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let ip = host.parse::<std::net::IpAddr>().ok();
    Some(v1::MasterInfo {
        id: format!("master@{address}"),
        port: u32::from(port),
        pid: Some(format!("master@{address}")),
        hostname: Some(host.to_owned()),
        address: Some(v1::Address {
            hostname: Some(host.to_owned()),
            ip: ip.map(|ip| ip.to_string()),
            port: i32::from(port),
        }),
        ..Default::default()
    })
}

/// Takes part; `peers` are the first masters of the cluster, this one among them, or none to be added later.
pub(crate) async fn take_part(
    directory: &Path,
    me: &str,
    peers: &[String],
) -> Result<Group, RegistryError> {
    let store = Store::open(directory)?;
    let place = store.place().to_owned();
    let fault =
        |error: &dyn std::error::Error| RegistryError::unavailable(&place, error.to_string());
    let config = Config {
        cluster_name: "proffer".to_owned(),
        heartbeat_interval: millis(HEARTBEAT),
        election_timeout_min: millis(ELECTION.0),
        election_timeout_max: millis(ELECTION.1),
        // A new master counts for majorities when it has everything.
        replication_lag_threshold: 0,
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|e| fault(&e))?);
    let raft = openraft::Raft::new(id_of(me), config, Network, store.clone(), store.clone())
        .await
        .map_err(|e| fault(&e))?;
    let group = Group { raft, store, me: me.to_owned() };
    let is_new = !group.raft.is_initialized().await.map_err(|e| fault(&e))?;
    if is_new && peers.iter().any(|peer| peer == me) {
        if peers.len() > 1 && !group.store.of_one_master()?.is_empty() {
            group.close().await;
            return Err(RegistryError::NotEmpty { place, me: me.to_owned() });
        }
        let members: BTreeMap<u64, BasicNode> =
            peers.iter().map(|peer| (id_of(peer), BasicNode::new(peer))).collect();
        group.raft.initialize(members).await.map_err(|e| fault(&e))?;
    }
    Ok(group)
}

/// A master's part in the group.
pub(crate) struct Group {
    raft: openraft::Raft<Raft>,
    store: Store,
    me: String,
}

impl Group {
    pub(crate) fn peers(&self) -> Peers {
        Peers::new(self.raft.clone())
    }

    /// Tells of this master's standing until it leaves.
    pub(crate) async fn follow(
        self,
        standing: mpsc::Sender<Standing>,
        left: oneshot::Receiver<()>,
    ) {
        tokio::select! {
            why = self.watch(&standing) => {
                let _ = standing.send(Standing::Over(why)).await;
            }
            _ = left => {}
        }
        self.close().await;
    }

    async fn close(&self) {
        let _ = self.raft.shutdown().await;
        // Whoever leaves may come back at once: the file is closed when the last of Raft's tasks has ended.
        let deadline = Instant::now() + CLOSE_MAX;
        while self.store.is_shared() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn watch(&self, standing: &mpsc::Sender<Standing>) -> String {
        let id = id_of(&self.me);
        let mut metrics = self.raft.metrics();
        let mut last = None;
        loop {
            let now = metrics.borrow_and_update().clone();
            if let Err(error) = &now.running_state {
                return format!("the replicated registry has failed: {error}");
            }
            if now.state == ServerState::Leader
                && now.current_leader == Some(id)
                && self.raft.ensure_linearizable().await.is_ok()
            {
                match self.registry().await {
                    Ok(registry) => {
                        let _ = standing.send(Standing::Leads(Box::new(registry))).await;
                        return self.lead().await;
                    }
                    Err(error) => return error.to_string(),
                }
            }
            let leader = now.current_leader.filter(|leader| *leader != id);
            if leader != last {
                let nodes = now.membership_config.membership();
                let node = leader.and_then(|leader| nodes.get_node(&leader));
                let told = match node.and_then(|node| info_of(&node.addr)) {
                    Some(info) => Standing::Follows(Box::new(info)),
                    None => Standing::Nobody,
                };
                let _ = standing.send(told).await;
                last = leader;
            }
            let _ = tokio::time::timeout(HEARTBEAT, metrics.changed()).await;
        }
    }

    /// The registry, with what this master has left in its file when it was alone.
    async fn registry(&self) -> Result<Replicated, RegistryError> {
        let (raft, store, runtime) = (self.raft.clone(), self.store.clone(), Handle::current());
        let registry = Replicated { raft, store, runtime };
        let is_empty = registry.read()?.is_empty();
        let former = self.store.of_one_master()?;
        if is_empty && !former.is_empty() {
            let changes =
                former.into_iter().map(|(key, value)| Change { key, value: Some(value) }).collect();
            registry.commit(Command { changes }).await?;
        }
        Ok(registry)
    }

    /// Waits for the end of the leadership: why it has ended.
    async fn lead(&self) -> String {
        let mut confirmed = Instant::now();
        loop {
            let begun = Instant::now();
            let deadline = confirmed + LEASE;
            match tokio::time::timeout_at(deadline, self.raft.ensure_linearizable()).await {
                Ok(Ok(_)) => confirmed = begun,
                Ok(Err(error)) if error.fatal().is_some() => {
                    return format!("the replicated registry has failed: {error}");
                }
                Ok(Err(_)) if self.raft.metrics().borrow().state != ServerState::Leader => {
                    return "Lost leadership: another master may lead now".to_owned();
                }
                Ok(Err(_)) => {}
                Err(_) => return "Lost leadership: no majority of masters answers".to_owned(),
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    }
}
