//! Masters that replicate the registry among themselves and elect their leader, with no other service.

mod election;
mod identity;
mod left;
mod members;
mod network;
mod replicated;
mod sealed;
mod store;

pub(crate) use left::{Left, forget, left};
pub use members::{MemberState, MembersError, Peers};

use crate::lease::Report;
use crate::{Change, Registry as _, RegistryError, Replicas, Standing, Timeouts};
use identity::{Begun, Identity};
use network::Network;
use openraft::error::{InitializeError, RaftError};
use openraft::{BasicNode, Config, ServerState};
use replicated::Replicated;
pub(crate) use sealed::new_id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wire::v1;

/// Begin of the paths of calls between masters.
pub const PATH: &str = "/coordination/raft/";

/// Time between signs of life of the leader.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// Time without a sign of life after which another master may lead: it differs from election to election.
const ELECTION: (Duration, Duration) = (Duration::from_millis(1100), Duration::from_millis(1600));
/// For how long a leader may act after an answer of a majority, and for which nobody votes for another one after a sign
/// of life: before another one may lead.
const LEASE: Duration = Duration::from_millis(1000);
/// Time without an answer of a majority after which a leader gives up. From the end of its lease on it does nothing: a
/// stall that nobody took for its end is over when a majority answers again.
const PATIENCE: Duration = Duration::from_millis(2000);

/// Longest time for the answer to a call: also of a machine that is busy, and to as many while a lease lasts.
const ANSWER_MAX: Duration = Duration::from_millis(450);
/// Longest time for the answer to a piece of a snapshot, of which the last one is that all of it is on disk.
const SNAPSHOT_MAX: Duration = Duration::from_secs(20);

/// Longest time for a leader who is alone to answer itself.
const CALL_MAX: Duration = Duration::from_secs(60);
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

/// Takes part.
pub(crate) async fn take_part(settings: &Replicas) -> Result<Group, RegistryError> {
    let Replicas { directory, me, peers, secret, timeouts } = settings;
    let store = Store::open(directory)?;
    let place = store.place().to_owned();
    let fault =
        |error: &dyn std::error::Error| RegistryError::unavailable(&place, error.to_string());
    let secret = secret.as_ref().map_or(&[][..], |secret| &secret.0);
    let identity = Arc::new(Identity::new(&store, me, peers, secret)?);
    let config = Config {
        cluster_name: "proffer".to_owned(),
        // To openraft this is the longest time for an answer as well; signs of life are sent more often.
        heartbeat_interval: millis(ANSWER_MAX),
        install_snapshot_timeout: millis(SNAPSHOT_MAX),
        // openraft has its lease as long as the longest time until an election; when there is one, `election` says.
        election_timeout_min: millis(LEASE) - 1,
        election_timeout_max: millis(LEASE),
        enable_elect: false,
        // A new master counts for majorities when it has everything.
        replication_lag_threshold: 0,
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|e| fault(&e))?);
    let network = Network::new(identity.clone());
    let raft = openraft::Raft::new(id_of(me), config, network, store.clone(), store.clone())
        .await
        .map_err(|e| fault(&e))?;
    let group = Group { raft, store, identity, timeouts: *timeouts };
    let is_new = !group.raft.is_initialized().await.map_err(|e| fault(&e))?;
    if is_new && peers.len() > 1 && !group.store.of_one_master()?.is_empty() {
        group.close().await;
        return Err(RegistryError::NotEmpty { place, me: me.clone() });
    }
    if !is_new && group.identity.begun().is_none() {
        // Its file is older than the names of clusters.
        let begun = Begun { cluster: Default::default(), founders: Vec::new() };
        group.identity.begin(&group.store, begun)?;
    }
    Ok(group)
}

/// A master's part in the group.
pub(crate) struct Group {
    raft: openraft::Raft<Raft>,
    store: Store,
    identity: Arc<Identity>,
    timeouts: Timeouts,
}

impl Group {
    pub(crate) fn peers(&self) -> Peers {
        Peers::new(self.raft.clone(), self.identity.clone(), &self.store)
    }

    /// Begins a cluster with the other first masters, unless it has begun.
    async fn begin(&self) -> Result<(), String> {
        if !self.identity.is_founder() {
            return Ok(());
        }
        if self.identity.begun().is_none() {
            self.identity.meet(&self.store).await?;
        }
        // One of them does it, and asks for votes at once: each of those who did later would depose it.
        let is_first = self.identity.peers().iter().min() == Some(&self.identity.me);
        if !is_first || self.raft.is_initialized().await.map_err(|e| e.to_string())? {
            return Ok(());
        }
        let members: BTreeMap<u64, BasicNode> =
            self.identity.peers().iter().map(|peer| (id_of(peer), BasicNode::new(peer))).collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells of this master's standing until it leaves.
    pub(crate) async fn follow(self, standing: Report, left: oneshot::Receiver<()>) {
        tokio::select! {
            why = self.watch(&standing) => {
                standing.send(Standing::Over(why)).await;
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

    async fn watch(&self, standing: &Report) -> String {
        if let Err(why) = self.begin().await {
            return why;
        }
        let elections = election::run(self.raft.clone(), self.store.clone(), self.identity.clone());
        tokio::select! {
            why = self.stand(standing) => why,
            never = elections => match never {},
            never = self.live() => match never {},
        }
    }

    /// Gives signs of life while this master leads.
    async fn live(&self) -> Infallible {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            if self.raft.metrics().borrow().state == ServerState::Leader {
                let _ = self.raft.trigger().heartbeat().await;
            }
        }
    }

    /// Since when it is certain that a majority follows this master, which was elected just now.
    async fn settled(&self) -> Option<Instant> {
        self.raft.ensure_linearizable().await.ok()?;
        // Of two candidates at once, the one that was not elected deposes the other when it answers it.
        tokio::time::sleep(HEARTBEAT).await;
        let begun = Instant::now();
        self.raft.ensure_linearizable().await.ok()?;
        Some(begun)
    }

    async fn stand(&self, standing: &Report) -> String {
        let id = id_of(&self.identity.me);
        let mut metrics = self.raft.metrics();
        let mut last = None;
        loop {
            let now = metrics.borrow_and_update().clone();
            if let Err(error) = &now.running_state {
                return format!("the replicated registry has failed: {error}");
            }
            if now.state == ServerState::Leader
                && now.current_leader == Some(id)
                && let Some(begun) = self.settled().await
            {
                match self.registry().await {
                    Ok(registry) => {
                        standing.lasts(begun + LEASE);
                        standing.send(Standing::Leads(Box::new(registry))).await;
                        return self.lead(standing).await;
                    }
                    Err(error) => return error.to_string(),
                }
            }
            // openraft forgets a leader only when another election begins.
            let is_heard = self.identity.heard.elapsed() <= ELECTION.1;
            let leader = now.current_leader.filter(|leader| *leader != id && is_heard);
            if leader != last {
                let nodes = now.membership_config.membership();
                let node = leader.and_then(|leader| nodes.get_node(&leader));
                let told = match node.and_then(|node| info_of(&node.addr)) {
                    Some(info) => Standing::Follows(Box::new(info)),
                    None => Standing::Nobody,
                };
                standing.send(told).await;
                last = leader;
            }
            let _ = tokio::time::timeout(HEARTBEAT, metrics.changed()).await;
        }
    }

    /// The registry, with what this master has left in its file when it was alone.
    async fn registry(&self) -> Result<Replicated, RegistryError> {
        let (raft, store, runtime) = (self.raft.clone(), self.store.clone(), Handle::current());
        let store_max = self.timeouts.store;
        let registry = Replicated { raft, store, runtime, store_max };
        let is_empty = registry.read()?.is_empty();
        let former = self.store.of_one_master()?;
        if is_empty && !former.is_empty() {
            let changes =
                former.into_iter().map(|(key, value)| Change { key, value: Some(value) }).collect();
            registry.commit(Command { changes }).await?;
            self.store.forget_one_master()?;
        }
        Ok(registry)
    }

    /// Waits for the end of the leadership: why it has ended.
    async fn lead(&self, standing: &Report) -> String {
        let mut confirmed = Instant::now();
        loop {
            let begun = Instant::now();
            // Nobody else can lead where nobody else votes.
            let is_alone = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow();
                metrics.membership_config.membership().voter_ids().count() == 1
            };
            let deadline = if is_alone { begun + CALL_MAX } else { confirmed + PATIENCE };
            match tokio::time::timeout_at(deadline, self.raft.ensure_linearizable()).await {
                Ok(Ok(_)) => {
                    confirmed = begun;
                    standing.lasts(begun + LEASE);
                }
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
