//! The link between agent and master: an HTTP upgrade, then frames of a big-endian length and a protobuf message.

use crate::{Body, Request, Response, respond};
use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Where a master takes links.
pub const PATH: &str = "/proffer/v1/agent";
const PROTOCOL: &str = "proffer-agent";
/// Header in which a master that leads says its id, also when no link is asked for.
const MASTER_ID: &str = "proffer-master-id";
/// Longest frame.
const FRAME_MAX: usize = 64 << 20;
/// Messages that may wait for a slow peer before the link is dropped.
const QUEUE: usize = 65_536;
/// What is read at once of short messages: a master has thousands of links, most of them silent.
const READ_AHEAD: usize = 1 << 10;
/// Redirections that are followed.
const REDIRECTS_MAX: usize = 3;
/// Longest time until an answer: a master that hangs is passed over.
const ANSWER_MAX: Duration = Duration::from_secs(2);
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

/// Accepts a link at the master of that id: the answer to the request, and the link once that is sent, if it is such a
/// request.
#[must_use]
pub fn accept(
    request: Request,
    master: &str,
) -> (Response, Option<impl Future<Output = io::Result<(LinkSender, LinkReceiver)>> + Send + use<>>)
{
    let named = |mut response: Response| {
        if let Ok(id) = HeaderValue::from_str(master) {
            response.headers_mut().insert(MASTER_ID, id);
        }
        response
    };
    if request.headers().get(UPGRADE).map(HeaderValue::as_bytes) != Some(PROTOCOL.as_bytes()) {
        return (named(respond::text(400, format!("Expecting 'Upgrade: {PROTOCOL}'"))), None);
    }
    let mut response = named(respond::text(101, ""));
    *response.body_mut() = Body::empty();
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let link = async move {
        let upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        Ok(split(reader, writer))
    };
    (response, Some(link))
}

/// A link that was opened.
#[derive(Debug)]
pub struct Dialed {
    /// The sending end.
    pub sender: LinkSender,
    /// The receiving end.
    pub receiver: LinkReceiver,
    /// Id of the master; None for one that does not say it.
    pub master: Option<String>,
}

/// Dials the master that leads; this one or the one it redirects to.
///
/// # Errors
/// When it can't be reached, does not answer in time, or refuses.
pub async fn dial(address: &str) -> io::Result<Dialed> {
    let (socket, head, address) = ask(address, &format!("upgrade\r\nUpgrade: {PROTOCOL}")).await?;
    if !head.starts_with("HTTP/1.1 101 ") {
        let line = head.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!(
            "{address} is no master that leads: it answered '{line}'"
        )));
    }
    let (reader, writer) = socket.into_split();
    let (sender, receiver) = split(reader, writer);
    Ok(Dialed { sender, receiver, master: header(&head, MASTER_ID).map(str::to_owned) })
}

/// Id of the master that leads, as the one at this address knows it; None if nobody does.
///
/// # Errors
/// When it can't be reached or does not answer in time.
pub async fn leading(address: &str) -> io::Result<Option<String>> {
    let (_, head, _) = ask(address, "close").await?;
    Ok(header(&head, MASTER_ID).map(str::to_owned))
}

/// Asks for a link: the head of the answer of whoever does not redirect, and its address.
async fn ask(address: &str, connection: &str) -> io::Result<(TcpStream, String, String)> {
    let mut address = address.to_owned();
    for _ in 0..REDIRECTS_MAX {
        let asked = tokio::time::timeout(ANSWER_MAX, ask_one(&address, connection)).await;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time");
        let (socket, head) = asked.map_err(late)??;
        match redirected(&head) {
            Some(leader) => address = leader,
            None => return Ok((socket, head, address)),
        }
    }
    Err(io::Error::other("masters redirect to each other: none of them leads now"))
}

async fn ask_one(address: &str, connection: &str) -> io::Result<(TcpStream, String)> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > HEAD_MAX {
            return Err(io::Error::other("the answer to the upgrade is too long"));
        }
        answer.push(socket.read_u8().await?);
    }
    Ok((socket, String::from_utf8_lossy(&answer).into_owned()))
}

/// Value of a header of an answer.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Where the answer of a master that does not lead redirects to, `host:port`.
fn redirected(answer: &str) -> Option<String> {
    answer.strip_prefix("HTTP/1.1 307 ")?;
    let authority = header(answer, "location")?.split_once("//")?.1;
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
    let reader = BufReader::with_capacity(READ_AHEAD, reader);
    (LinkSender { frames }, LinkReceiver { reader: Box::pin(reader) })
}
