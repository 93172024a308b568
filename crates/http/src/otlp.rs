//! Traces for collectors of OpenTelemetry: OTLP over HTTP, as JSON (opentelemetry.io/docs/specs/otlp).
//!
//! The trace of a task is named by the task, so that master and agent tell parts of the same one without a word about it.
//! Spans wait in a bounded queue for a task that sends them in batches; what does not fit is counted and dropped.

use base::WallTime;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Spans that may wait.
const QUEUE: usize = 16_384;
/// Most spans in one request.
const BATCH: usize = 512;
/// Time in which spans are gathered for a request.
const GATHER: Duration = Duration::from_millis(500);
/// Longest time for a request.
const LIMIT: Duration = Duration::from_secs(5);
/// Shortest time between two lines of the log on a collector that does not take spans.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// Where a collector takes spans, below its address.
const PATH: &str = "/v1/traces";

/// Where the collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: String,
    path: String,
}

impl Endpoint {
    /// Parses `http://host[:port][/path]`; spans go to `/v1/traces` below it.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("expected http://host:port of a collector (TLS is not supported), got '{text}'")
        };
        let rest = text.strip_prefix("http://").ok_or_else(expected)?;
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, String::new()),
        };
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "4318"));
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_plain = |c: char| c.is_ascii_graphic() && !"@?#\\\"".contains(c);
        if name.is_empty() || !is_port || !rest.chars().all(is_plain) {
            return Err(expected());
        }
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix(PATH).unwrap_or(path);
        Ok(Self { address: format!("{name}:{port}"), path: format!("{path}{PATH}") })
    }
}

/// Something that took time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The trace it is part of.
    pub trace: Trace,
    /// Its own name among those of the trace; None: it is the whole.
    pub name: &'static str,
    /// What it is a part of.
    pub parent: Parent,
    /// When it began.
    pub start: WallTime,
    /// When it ended.
    pub end: WallTime,
    /// What else is known.
    pub attributes: Vec<(&'static str, String)>,
    /// Whether it went wrong.
    pub failed: bool,
}

/// Where a span belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// It is the whole.
    None,
    /// Part of the whole.
    Whole,
    /// Part of the one of this name, of which there is one in the trace.
    Of(&'static str),
}

/// The trace of a task's launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u128);

/// FNV-1a (RFC 9923) of parts, with marks between them: the same in each version of the program.
fn hash(parts: &[&[u8]]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    let whole =
        |hash, part: &&[u8]| step(part.iter().fold(hash, |hash, byte| step(hash, *byte)), 0xff);
    parts.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, whole)
}

impl Trace {
    /// Of a task; one that has the id of a former one on another agent is told apart from it.
    #[must_use]
    pub fn of(framework: &str, agent: &str, task: &str) -> Self {
        let hash = hash(&[framework.as_bytes(), agent.as_bytes(), task.as_bytes()]);
        Self(hash.max(1))
    }

    /// The id of a part; `when` tells those apart of which there are several.
    fn part(self, name: &str, when: u64) -> u64 {
        let hash = hash(&[&self.0.to_be_bytes(), name.as_bytes(), &when.to_be_bytes()]);
        #[expect(clippy::cast_possible_truncation, reason = "half of it is enough")]
        let half = (hash >> 64) as u64 ^ hash as u64;
        half.max(1)
    }
}

/// Names of spans of which there is one in a trace, so that others can be parts of them.
const SINGLE: [&str; 3] = ["launch", "accept", "run"];
/// The whole.
pub const WHOLE: &str = SINGLE[0];

impl Span {
    fn json(&self) -> Value {
        let when = if SINGLE.contains(&self.name) { 0 } else { self.start.0 };
        let parent = match self.parent {
            Parent::None => None,
            Parent::Whole => Some(WHOLE),
            Parent::Of(name) => Some(name),
        };
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace.0),
            "spanId": format!("{:016x}", self.trace.part(self.name, when)),
            "name": self.name,
            "kind": 1,
            "startTimeUnixNano": self.start.0.to_string(),
            "endTimeUnixNano": self.end.0.max(self.start.0).to_string(),
            "attributes": self.attributes.iter().map(|(key, value)| attribute(key, value)).collect::<Value>(),
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = format!("{:016x}", self.trace.part(parent, 0)).into();
        }
        if self.failed {
            span["status"] = json!({"code": 2});
        }
        span
    }
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// Takes spans and sends them on.
#[derive(Debug, Clone)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Spans {
    /// Begins to send what `service` at `instance` does; must be called within a runtime.
    #[must_use]
    pub fn start(endpoint: Endpoint, service: &'static str, instance: &str) -> Self {
        let (queue, spans) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let resource = json!({"attributes": [
            attribute("service.name", service),
            attribute("service.instance.id", instance),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ]});
        tokio::spawn(send_all(spans, endpoint, resource, counts.clone()));
        Self { queue, counts }
    }

    /// Sends a span, unless too many wait.
    pub fn record(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds how many were sent and dropped to a snapshot of metrics.
    pub fn print(&self, out: &mut Map<String, Value>) {
        let Counts { sent, dropped } = &*self.counts;
        for (name, count) in [("otlp/spans_sent", sent), ("otlp/spans_dropped", dropped)] {
            out.insert(name.to_owned(), json!(count.load(Ordering::Relaxed)));
        }
    }
}

async fn send_all(
    mut spans: mpsc::Receiver<Span>,
    endpoint: Endpoint,
    resource: Value,
    counts: Arc<Counts>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut complained: Option<Instant> = None;
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        let until = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match tokio::time::timeout_at(until, spans.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                _ => break,
            }
        }
        let count = batch.len() as u64;
        let all: Value = batch.drain(..).map(|span| span.json()).collect();
        let scope = json!({"scope": {"name": "proffer"}, "spans": all});
        let body = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]});
        let sent = tokio::time::timeout(LIMIT, post(&endpoint, body.to_string())).await;
        let sent = sent.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        let counter = if sent.is_ok() { &counts.sent } else { &counts.dropped };
        counter.fetch_add(count, Ordering::Relaxed);
        if let Err(error) = sent
            && complained.is_none_or(|at| at.elapsed() >= COMPLAINTS)
        {
            complained = Some(Instant::now());
            tracing::warn!(collector = endpoint.address, %error, "spans are dropped; see --otlp_endpoint");
        }
    }
}

async fn post(endpoint: &Endpoint, body: String) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(&endpoint.address).await.map_err(|e| text(&e))?;
    let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|e| text(&e))?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post(&endpoint.path)
        .header(http::header::HOST, &endpoint.address)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(bytes::Bytes::from(body)))
        .map_err(|e| text(&e))?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(|e| text(&e))?;
        let status = answer.status();
        // All of it, so that the collector sees no broken connection.
        let _ = answer.into_body().collect().await;
        if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
    };
    let answered = answered.await;
    connection.abort();
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_those_of_other_programs() {
        let parse = |text: &str| Endpoint::parse(text).map(|e| (e.address, e.path));
        let of = |address: &str, path: &str| Ok((address.to_owned(), path.to_owned()));
        assert_eq!(parse("http://c:4318"), of("c:4318", "/v1/traces"));
        assert_eq!(parse("http://c"), of("c:4318", "/v1/traces"));
        assert_eq!(parse("http://c:1/v1/traces"), of("c:1", "/v1/traces"));
        assert_eq!(parse("http://c:1/otlp/"), of("c:1", "/otlp/v1/traces"));
        for wrong in ["https://c", "c:4318", "http://", "http://c:x", "http://a b", "http://u@c"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_of_a_task_are_of_one_trace() {
        let trace = Trace::of("f", "a", "t");
        assert_eq!(trace, Trace::of("f", "a", "t"));
        assert_ne!(trace, Trace::of("f", "at", ""));
        let span = Span {
            trace,
            name: "fetch",
            parent: Parent::Of("run"),
            start: WallTime(5),
            end: WallTime(7),
            attributes: vec![("task", "t".to_owned())],
            failed: true,
        };
        let json = span.json();
        assert_eq!(json["traceId"].as_str().map(str::len), Some(32));
        assert_eq!(json["spanId"].as_str().map(str::len), Some(16));
        let run =
            Span { name: "run", parent: Parent::Whole, start: WallTime(9), ..span.clone() }.json();
        assert_eq!(json["parentSpanId"], run["spanId"]);
        let whole = Span { name: WHOLE, parent: Parent::None, ..span }.json();
        assert_eq!(run["parentSpanId"], whole["spanId"]);
        assert!(whole["parentSpanId"].is_null());
        assert_eq!((&json["startTimeUnixNano"], &json["status"]["code"]), (&json!("5"), &json!(2)));
    }
}
