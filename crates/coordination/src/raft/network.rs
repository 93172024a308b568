//! Calls between masters: HTTP POST to the masters' own port.

use super::Raft;
use super::identity::{Identity, path};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest body of a call or an answer.
pub(super) const BODY_MAX: usize = 64 << 20;
/// Time between attempts to reach a master that does not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes clients of other masters.
#[derive(Debug, Clone)]
pub(super) struct Network {
    identity: Arc<Identity>,
    silent: Silent,
}

impl Network {
    pub(super) fn new(identity: Arc<Identity>) -> Self {
        Self { identity, silent: Silent::default() }
    }
}

/// Masters that do not answer, and those that refuse to: each is logged once, and once again when it answers.
#[derive(Debug, Clone, Default)]
struct Silent(Arc<Mutex<BTreeSet<(u64, io::ErrorKind)>>>);

impl Silent {
    fn take_note(&self, id: u64, master: &str, error: Option<&io::Error>) {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(why) = error else {
            let before = silent.len();
            silent.retain(|(of, _)| *of != id);
            if silent.len() < before {
                tracing::info!(master, "that master answers again");
            }
            return;
        };
        let refused = io::ErrorKind::PermissionDenied;
        if why.kind() == refused && silent.insert((id, refused)) {
            tracing::warn!(master, %why, "a master refuses to take part");
        } else if why.kind() != refused && silent.insert((id, io::ErrorKind::Other)) {
            tracing::warn!(master, %why, "a master does not answer; trying on");
        }
    }
}

/// A client of one other master.
#[derive(Debug)]
pub(super) struct Peer {
    id: u64,
    identity: Arc<Identity>,
    address: String,
    connection: Option<Connection>,
    silent: Silent,
}

/// A connection to another master.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

impl RaftNetworkFactory<Raft> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, node: &BasicNode) -> Peer {
        let Self { identity, silent } = self.clone();
        Peer { id, identity, address: node.addr.clone(), connection: None, silent }
    }
}

impl Connection {
    pub(super) async fn open(address: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) =
            handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, address: address.to_owned() })
    }

    /// Makes a call: the answer, if it is from a master of the same cluster.
    pub(super) async fn call(
        &mut self,
        identity: &Identity,
        kind: &str,
        body: &[u8],
    ) -> io::Result<Vec<u8>> {
        let (nonce, call) = identity.seal(kind, &self.address, body)?;
        self.sender.ready().await.map_err(io::Error::other)?;
        let request = hyper::Request::post(path(kind))
            .header(hyper::header::HOST, &self.address)
            .body(Full::new(Bytes::from(call)))
            .map_err(io::Error::other)?;
        let response = self.sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        if status != hyper::StatusCode::OK {
            let text = String::from_utf8_lossy(&body).into_owned();
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(identity.open_answer(&nonce, &body)?.to_vec())
    }
}

impl Peer {
    async fn post(&mut self, kind: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        // Taken out: a call that is given up leaves a connection that nobody may use again.
        let mut connection = match self.connection.take().filter(|c| !c.sender.is_closed()) {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        let answer = connection.call(&self.identity, kind, body).await?;
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn call<T, A, E>(
        &mut self,
        kind: &str,
        call: &T,
        option: &RPCOption,
    ) -> Result<A, RPCError<u64, BasicNode, RaftError<u64, E>>>
    where
        T: Serialize,
        A: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let lost = |error: io::Error| RPCError::Unreachable(Unreachable::new(&error));
        let body = postcard::to_stdvec(call).map_err(|e| lost(io::Error::other(e)))?;
        let answer = tokio::time::timeout(option.hard_ttl(), self.post(kind, &body)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.silent.take_note(self.id, &self.address, answer.as_ref().err());
        let answer = answer.map_err(lost)?;
        let answer: Result<A, RaftError<u64, E>> =
            postcard::from_bytes(&answer).map_err(|e| lost(io::Error::other(e)))?;
        answer.map_err(|e| RPCError::RemoteError(RemoteError::new(self.id, e)))
    }
}

impl RaftNetwork<Raft> for Peer {
    async fn append_entries(
        &mut self,
        call: AppendEntriesRequest<Raft>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        self.call("append", &call, &option).await
    }

    async fn install_snapshot(
        &mut self,
        call: InstallSnapshotRequest<Raft>,
        option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>,
    > {
        self.call("snapshot", &call, &option).await
    }

    async fn vote(
        &mut self,
        call: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        self.call("vote", &call, &option).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(PAUSE))
    }
}
