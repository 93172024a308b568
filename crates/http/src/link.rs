//! The link between agent and master: an HTTP upgrade, then frames of a big-endian length and a protobuf message.

use crate::{Body, Request, Response, respond};
use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Where a master takes links.
pub const PATH: &str = "/proffer/v1/agent";
const PROTOCOL: &str = "proffer-agent";
/// Header in which a master that leads says its id, also when no link is asked for.
const MASTER_ID: &str = "proffer-master-id";
/// Header in which a request says that the leader at this address, `host:port`, could not be reached.
const UNREACHABLE: &str = "proffer-unreachable";
/// Header in which a request says for how many seconds a master that knows of no leader may wait for one
/// (RFC 7240 section 4.3).
const PREFER: &str = "prefer";
/// How long a dialled master may wait for a leader: about an election, and not too long with one that hears of none.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest time that a master waits for a leader before it answers.
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// Agents that waited for the same leader dial it within this time, not all at once.
const SPREAD: Duration = Duration::from_millis(300);
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
        self.send_encoded(&wire::protobuf::to_vec(message))
    }

    /// Queues the bytes of a message; false if the peer is gone or too slow.
    pub fn send_encoded(&self, message: &[u8]) -> bool {
        let Ok(length) = u32::try_from(message.len()) else { return false };
        let mut frame = Vec::with_capacity(4 + message.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(message);
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

/// What a request for a link is ready to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Longest time until a leader is known.
    pub time: Duration,
    /// The one at this address, `host:port`, is none: it could not be reached.
    pub unreachable: Option<String>,
}

impl Patience {
    /// What a request says of it; None: it wants its answer now.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        let mut preferences = header(PREFER)?.split(',').map(str::trim);
        let seconds = preferences.find_map(|p| p.strip_prefix("wait=")?.parse().ok())?;
        let time = Duration::from_secs(seconds).min(PATIENCE_MAX);
        Some(Self { time, unreachable: header(UNREACHABLE).map(str::to_owned) })
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

/// Dials the master that leads; this one or the one it redirects to. While none is known to lead, waits a second for
/// one.
///
/// # Errors
/// When it can't be reached, does not answer in time, or refuses.
pub async fn dial(address: &str) -> io::Result<Dialed> {
    let connection = format!("upgrade\r\nUpgrade: {PROTOCOL}");
    let Answer { socket, head, rest, address } = ask(address, &connection, Some(PATIENCE)).await?;
    if !head.starts_with("HTTP/1.1 101 ") {
        let line = head.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!(
            "{address} is no master that leads: it answered '{line}'"
        )));
    }
    let (reader, writer) = socket.into_split();
    let (sender, receiver) = split(io::Cursor::new(rest).chain(reader), writer);
    Ok(Dialed { sender, receiver, master: header(&head, MASTER_ID).map(str::to_owned) })
}

/// Id of the master that leads, as the one at this address knows it; None if nobody does.
///
/// # Errors
/// When it can't be reached or does not answer in time.
pub async fn leading(address: &str) -> io::Result<Option<String>> {
    let Answer { head, .. } = ask(address, "close", None).await?;
    Ok(header(&head, MASTER_ID).map(str::to_owned))
}

/// The answer of a master to the request for a link.
struct Answer {
    socket: TcpStream,
    head: String,
    /// What came with the head.
    rest: Vec<u8>,
    /// Of the master.
    address: String,
}

/// Asks for a link: the answer of whoever does not redirect.
async fn ask(first: &str, connection: &str, patience: Option<Duration>) -> io::Result<Answer> {
    let mut address = first.to_owned();
    let mut unreachable = None;
    // Once more from the beginning when the leader is not there.
    for _ in 0..2 * REDIRECTS_MAX {
        let begun = Instant::now();
        let mut headers = format!("Connection: {connection}\r\nContent-Length: 0\r\n");
        if let Some(patience) = patience {
            headers += &format!("{PREFER}: wait={}\r\n", patience.as_secs());
        }
        if let Some(leader) = &unreachable {
            headers += &format!("{UNREACHABLE}: {leader}\r\n");
        }
        let limit = ANSWER_MAX + patience.unwrap_or_default();
        let asked = tokio::time::timeout(limit, ask_one(&address, &headers)).await;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time");
        let answer = match asked.map_err(late).flatten() {
            Ok(answer) => answer,
            // Who said that this one leads may know better in a moment.
            Err(_) if address != first && unreachable.is_none() && patience.is_some() => {
                unreachable = Some(std::mem::replace(&mut address, first.to_owned()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(leader) = redirected(&answer.head) else { return Ok(answer) };
        if unreachable.as_ref() == Some(&leader) {
            return Err(io::Error::other(format!("{leader}, which is said to lead, is not there")));
        }
        address = leader;
        if begun.elapsed() > SPREAD {
            tokio::time::sleep(SPREAD.mul_f64(random())).await;
        }
    }
    Err(io::Error::other("masters redirect to each other: none of them leads now"))
}

async fn ask_one(address: &str, headers: &str) -> io::Result<Answer> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let head = format!("GET {PATH} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    let end = loop {
        if let Some(at) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if answer.len() > HEAD_MAX {
            return Err(io::Error::other("the answer to the upgrade is too long"));
        }
        if socket.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = answer.split_off(end);
    let head = String::from_utf8_lossy(&answer).into_owned();
    Ok(Answer { socket, head, rest, address: address.to_owned() })
}

/// From 0 to 1.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    bits as f64 / f64::from(u32::MAX)
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
