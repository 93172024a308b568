//! The event stream of the v1 operator API.

use crate::operator::CONNECT_MAX;
use crate::search::Search;
use crate::{ClientError, PROTOBUF, RECORD_MAX, broken, connect, redirected, refused};
use bytes::Bytes;
use detector::Detector;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::time::Duration;
use wire::recordio::Decoder;
use wire::v1::master::call::Subscribe;
use wire::v1::master::{Call, Event, call};

/// Heartbeats that may be missing before a stream counts as lost.
const MISSED_MAX: f64 = 3.0;
/// Longest silence until the first event says how often there are heartbeats: the state of a large cluster takes a
/// while.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A subscription to what happens in a cluster: SUBSCRIBED, with the whole state if that is wanted, then every change.
///
/// It does not subscribe again by itself: when [`Events::next`] gives None the stream has ended.
#[derive(Debug)]
pub struct Events {
    address: String,
    body: Incoming,
    decoder: Decoder,
    waiting: VecDeque<Event>,
    silence_max: Duration,
}

impl Events {
    pub(crate) async fn subscribe(
        master: &Detector,
        wanted: &Subscribe,
    ) -> Result<Self, ClientError> {
        let mut search = Search::begin(master).await?;
        while let Some(address) = search.next() {
            let late = |_| "it does not answer in time".to_owned();
            let response =
                tokio::time::timeout(CONNECT_MAX, post(&address, wanted)).await.map_err(late);
            let response = match response.and_then(|response| response) {
                Ok(response) => response,
                Err(text) => {
                    search.failed(text);
                    continue;
                }
            };
            if redirected(&response).is_some_and(|leader| search.follow(&leader)) {
                continue;
            }
            if response.status() != StatusCode::OK {
                return Err(refused(response).await);
            }
            return Ok(Self {
                address,
                body: response.into_body(),
                decoder: Decoder::new(RECORD_MAX),
                waiting: VecDeque::new(),
                silence_max: SILENCE_MAX,
            });
        }
        Err(search.end())
    }

    /// Address of the master that tells the events.
    #[must_use]
    pub fn master(&self) -> &str {
        &self.address
    }

    /// The next event; None at the end of the stream. It may be dropped and called again.
    ///
    /// # Errors
    /// When the connection breaks, an event is malformed, or heartbeats are missing.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                let interval = event.subscribed.as_ref().map(|s| s.heartbeat_interval_seconds());
                if let Some(seconds) = interval.filter(|seconds| *seconds > 0.0) {
                    let most = Duration::try_from_secs_f64(seconds * MISSED_MAX);
                    self.silence_max = most.unwrap_or(SILENCE_MAX);
                }
                return Ok(Some(event));
            }
            let frame = tokio::time::timeout(self.silence_max, self.body.frame()).await;
            let frame = frame.map_err(|_| broken("it has not been heard of for too long"))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                self.decoder.push(&data);
            }
            while let Some(record) = self.decoder.next().map_err(broken)? {
                self.waiting.push_back(wire::protobuf::from_slice(&record).map_err(broken)?);
            }
        }
    }
}

async fn post(address: &str, wanted: &Subscribe) -> Result<Response<Incoming>, String> {
    let call = Call {
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(wanted.clone()),
        ..Default::default()
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1")
        .header(HOST, address)
        .header(CONTENT_TYPE, PROTOBUF)
        .header(ACCEPT, PROTOBUF)
        .body(Full::new(Bytes::from(wire::protobuf::to_vec(&call))))
        .map_err(|e| e.to_string())?;
    connect(address).await?.send_request(request).await.map_err(|e| e.to_string())
}
