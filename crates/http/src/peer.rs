//! Calls to another daemon's own interface: within bounds of time and of size.

use crate::Body;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Longest time for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const PROTOBUF: &str = "application/x-protobuf";

/// A connection to another daemon, for one call after the other.
#[derive(Debug)]
pub struct Peer {
    address: String,
    sender: SendRequest<Body>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum PeerError {
    /// It can't be reached, does not answer in time, or answers what it should not: why, in words.
    Unreachable(String),
    /// It refused: status and text.
    Refused(u16, String),
}

fn unreachable(what: impl std::fmt::Display) -> PeerError {
    PeerError::Unreachable(what.to_string())
}

impl Peer {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When it can't be reached in time.
    pub async fn connect(address: &str) -> Result<Self, PeerError> {
        let late = |_| unreachable(format!("no connection within {} s", CONNECT_MAX.as_secs()));
        let socket = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await;
        let socket = socket.map_err(late)?.map_err(unreachable)?;
        let _ = socket.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(unreachable)?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Self { address: address.to_owned(), sender })
    }

    /// Sends a message to a path and waits for the message that answers it, of `limit` bytes at most.
    ///
    /// # Errors
    /// When there is none in time, or the peer refuses.
    pub async fn call<Q: wire::Message, A: wire::Message>(
        &mut self,
        path: &str,
        message: &Q,
        limit: usize,
    ) -> Result<A, PeerError> {
        let request = http::Request::post(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, PROTOBUF)
            .header(ACCEPT, PROTOBUF)
            .body(Body::from(wire::protobuf::to_vec(message)))
            .map_err(unreachable)?;
        let late = |_| unreachable(format!("no answer within {} s", ANSWER_MAX.as_secs()));
        let answer = tokio::time::timeout(ANSWER_MAX, self.exchange(request, limit)).await;
        let (status, body) = answer.map_err(late)??;
        match status {
            200 => wire::protobuf::from_slice(&body).map_err(unreachable),
            _ => Err(PeerError::Refused(status, String::from_utf8_lossy(&body).trim().to_owned())),
        }
    }

    async fn exchange(
        &mut self,
        request: http::Request<Body>,
        limit: usize,
    ) -> Result<(u16, Bytes), PeerError> {
        self.sender.ready().await.map_err(unreachable)?;
        let answer = self.sender.send_request(request).await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(unreachable)?.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(unreachable(format!("its answer is longer than {limit} bytes")));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((status, bytes.freeze()))
    }
}
