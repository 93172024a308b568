//! Clients of a master: of the v1 scheduler API in protobuf (one subscription, its events, and calls), and of the
//! endpoints and events for operators; and of an agent's files.
//!
//! They follow redirects to the leading master. A scheduler does not subscribe again by itself: when
//! [`Scheduler::next`] gives None the stream has ended, and the caller decides.
#![forbid(unsafe_code)]

mod agent;
mod events;
mod operator;
mod search;

pub use agent::{Agent, AgentError};
pub use events::Events;
pub use operator::{Answer, Operator};

use bytes::Bytes;
use detector::Detector;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, LOCATION};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use tokio::net::TcpStream;
use wire::recordio::Decoder;
use wire::v1;
use wire::v1::scheduler::{Call, Event, call};

const PATH: &str = "/api/v1/scheduler";
const PROTOBUF: &str = "application/x-protobuf";
const STREAM_ID: &str = "mesos-stream-id";
/// Longest event.
const RECORD_MAX: usize = 256 << 20;

/// Why a client can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No master answers.
    #[error(
        "failed to reach a master at {addresses}: {text}; is it running? `proffer local` starts one for trying; --master, PROFFER_MASTER or MESOS_MASTER say where it is"
    )]
    Unreachable {
        /// Where it was looked for.
        addresses: String,
        /// The last error.
        text: String,
    },
    /// A master has taken a request, and did not answer.
    #[error(
        "the master at {address} did not answer ({text}): whether it was carried out is not known; see what is so now before it is tried again"
    )]
    Unknown {
        /// Where it is.
        address: String,
        /// The error.
        text: String,
    },
    /// It is not known which master leads.
    #[error("the leading master is not known: {0}; see --master")]
    Undetected(String),
    /// The master refuses a call.
    #[error("the master refused the call with status {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// The connection broke.
    #[error("the connection to the master broke: {0}")]
    Broken(String),
}

fn broken(error: impl std::fmt::Display) -> ClientError {
    ClientError::Broken(error.to_string())
}

/// A subscribed scheduler.
#[derive(Debug)]
pub struct Scheduler {
    address: String,
    stream_id: String,
    framework_id: Option<v1::FrameworkId>,
    body: Incoming,
    decoder: Decoder,
    events: VecDeque<Event>,
    calls: Option<SendRequest<Full<Bytes>>>,
}

impl Scheduler {
    /// Subscribes with the leading master.
    ///
    /// # Errors
    /// When no master can be reached or the call is refused. A refused subscription is an ERROR event.
    pub async fn subscribe(
        master: &Detector,
        info: v1::FrameworkInfo,
    ) -> Result<Self, ClientError> {
        let subscribe = call::Subscribe { framework_info: info, ..Default::default() };
        let call = Call {
            r#type: Some(call::Type::Subscribe as i32),
            framework_id: subscribe.framework_info.id.clone(),
            subscribe: Some(subscribe),
            ..Default::default()
        };
        let mut search = search::Search::begin(master).await?;
        while let Some(address) = search.next() {
            let response = match Self::post(&address, &call, None).await {
                Ok(response) => response,
                Err(text) => {
                    search.failed(text);
                    continue;
                }
            };
            let header = |name: &str| {
                response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
            };
            if redirected(&response).is_some_and(|leader| search.follow(&leader)) {
                continue;
            }
            if response.status() != http::StatusCode::OK {
                return Err(refused(response).await);
            }
            let stream_id = header(STREAM_ID).unwrap_or_default();
            return Ok(Self {
                address,
                stream_id,
                framework_id: None,
                body: response.into_body(),
                decoder: Decoder::new(RECORD_MAX),
                events: VecDeque::new(),
                calls: None,
            });
        }
        Err(search.end())
    }

    /// The next event; None at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks or an event is malformed.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                if let Some(subscribed) = &event.subscribed {
                    self.framework_id = Some(subscribed.framework_id.clone());
                }
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                self.decoder.push(&data);
            }
            while let Some(record) = self.decoder.next().map_err(broken)? {
                self.events.push_back(wire::protobuf::from_slice(&record).map_err(broken)?);
            }
        }
    }

    /// Sends a call; its framework id is filled in.
    ///
    /// # Errors
    /// When the master can't be reached or refuses it.
    pub async fn call(&mut self, mut call: Call) -> Result<(), ClientError> {
        call.framework_id.clone_from(&self.framework_id);
        let request = request(&self.address, &call, Some(&self.stream_id))?;
        let mut sender = match self.calls.take().filter(|s| !s.is_closed()) {
            Some(sender) => sender,
            None => connect(&self.address).await.map_err(broken)?,
        };
        sender.ready().await.map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        response.into_body().collect().await.map_err(broken)?;
        self.calls = Some(sender);
        Ok(())
    }

    async fn post(
        address: &str,
        call: &Call,
        stream_id: Option<&str>,
    ) -> Result<Response<Incoming>, String> {
        let request = request(address, call, stream_id).map_err(|e| e.to_string())?;
        let mut sender = connect(address).await?;
        sender.send_request(request).await.map_err(|e| e.to_string())
    }
}

/// Address of the leading master, if an answer names it.
fn redirected(response: &Response<Incoming>) -> Option<String> {
    if !matches!(response.status().as_u16(), 302 | 307) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let leader = location.split_once("//")?.1;
    Some(leader.split('/').next()?.to_owned())
}

/// A connection; Err: why there is none.
async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, String> {
    let socket = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let _ = socket.set_nodelay(true);
    let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

fn request(
    address: &str,
    call: &Call,
    stream_id: Option<&str>,
) -> Result<Request<Full<Bytes>>, ClientError> {
    let mut builder = Request::builder()
        .method(Method::POST)
        .uri(PATH)
        .header(HOST, address)
        .header(CONTENT_TYPE, PROTOBUF)
        .header(ACCEPT, PROTOBUF);
    if let Some(id) = stream_id {
        builder = builder.header(STREAM_ID, id);
    }
    builder.body(Full::new(wire::protobuf::to_vec(call).into())).map_err(broken)
}

async fn refused(response: Response<Incoming>) -> ClientError {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    ClientError::Refused { status, text: String::from_utf8_lossy(&body).into_owned() }
}
