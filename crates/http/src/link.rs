//! The link between agent and master: an HTTP upgrade, then frames of a big-endian length and a protobuf message.

use crate::{Body, Request, Response, respond};
use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Where a master takes links.
pub const PATH: &str = "/proffer/v1/agent";
const PROTOCOL: &str = "proffer-agent";
/// Longest frame.
const FRAME_MAX: usize = 64 << 20;
/// Messages that may wait for a slow peer before the link is dropped.
const QUEUE: usize = 65_536;
/// Redirections that are followed.
const REDIRECTS_MAX: usize = 3;
/// Longest head of the answer to the upgrade.
const HEAD_MAX: usize = 8 << 10;

/// The sending end. Dropping it closes the link after what was sent.
#[derive(Debug, Clone)]
pub struct LinkSender {
    frames: mpsc::Sender<Vec<u8>>,
}

impl LinkSender {
    /// Queues a message; false if the peer is gone or too slow.
    pub fn send<M: wire::Message>(&self, message: &M) -> bool {
        let bytes = wire::protobuf::to_vec(message);
        let Ok(length) = u32::try_from(bytes.len()) else { return false };
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend_from_slice(&bytes);
        self.frames.try_send(frame).is_ok()
    }
}

/// The receiving end.
pub struct LinkReceiver {
    reader: Pin<Box<dyn AsyncRead + Send>>,
}

impl std::fmt::Debug for LinkReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkReceiver").finish_non_exhaustive()
    }
}

impl LinkReceiver {
    /// The next message; None at the end.
    ///
    /// # Errors
    /// When the link breaks or the peer does not speak the protocol.
    pub async fn next<M: wire::Message>(&mut self) -> io::Result<Option<M>> {
        let mut length = [0; 4];
        match self.reader.read_exact(&mut length).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_MAX {
            return Err(io::Error::other(format!(
                "a frame of {length} bytes; the limit is {FRAME_MAX}"
            )));
        }
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).await?;
        wire::protobuf::from_slice(&bytes).map(Some).map_err(io::Error::other)
    }
}

/// Accepts a link: the answer to the request, and the link once that is sent. None if it is no such request.
#[must_use]
pub fn accept(
    request: Request,
) -> Option<(Response, impl Future<Output = io::Result<(LinkSender, LinkReceiver)>> + Send)> {
    if request.headers().get(UPGRADE).map(HeaderValue::as_bytes) != Some(PROTOCOL.as_bytes()) {
        return None;
    }
    let mut response = respond::text(101, "");
    *response.body_mut() = Body::empty();
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let link = async move {
        let upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        Ok(split(reader, writer))
    };
    Some((response, link))
}

/// Dials a master.
///
/// # Errors
/// When it can't be reached or refuses.
pub async fn dial(address: &str) -> io::Result<(LinkSender, LinkReceiver)> {
    let mut address = address.to_owned();
    for _ in 0..REDIRECTS_MAX {
        match dial_one(&address).await? {
            Ok(link) => return Ok(link),
            Err(leader) => address = leader,
        }
    }
    Err(io::Error::other("masters redirect to each other: none of them leads now"))
}

/// A link, or the address of the master that leads.
async fn dial_one(address: &str) -> io::Result<Result<(LinkSender, LinkReceiver), String>> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: upgrade\r\nUpgrade: {PROTOCOL}\r\nContent-Length: 0\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > HEAD_MAX {
            return Err(io::Error::other("the answer to the upgrade is too long"));
        }
        answer.push(socket.read_u8().await?);
    }
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        let text = String::from_utf8_lossy(&answer);
        if let Some(leader) = redirected(&text) {
            return Ok(Err(leader));
        }
        let line = text.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!(
            "{address} is no master that leads: it answered '{line}'"
        )));
    }
    let (reader, writer) = socket.into_split();
    Ok(Ok(split(reader, writer)))
}

/// Where the answer of a master that does not lead redirects to, `host:port`.
fn redirected(answer: &str) -> Option<String> {
    let mut lines = answer.lines();
    lines.next().filter(|line| line.starts_with("HTTP/1.1 307 "))?;
    let location = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim())
    })?;
    let authority = location.split_once("//")?.1;
    authority.split('/').next().map(str::to_owned)
}

fn split(
    reader: impl AsyncRead + Send + 'static,
    mut writer: impl AsyncWrite + Send + Unpin + 'static,
) -> (LinkSender, LinkReceiver) {
    let (frames, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
    tokio::spawn(async move {
        while let Some(mut frame) = queue.recv().await {
            // What waits already goes with it, in one write.
            while frame.len() < 1 << 16
                && let Ok(more) = queue.try_recv()
            {
                frame.extend_from_slice(&more);
            }
            if writer.write_all(&frame).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    (LinkSender { frames }, LinkReceiver { reader: Box::pin(BufReader::new(reader)) })
}
