//! Requests to a Docker Engine over its socket. Every one has a time by which it is answered; there is one connection
//! for each, so that one that hangs does not hold up another.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Newest version of the API that is spoken.
const VERSION_MAX: (u32, u32) = (1, 47);
/// Time for an answer about something that is there.
const QUICK: Duration = Duration::from_secs(10);
/// Time in which a container is made, started or removed: disks may be slow.
const SLOW: Duration = Duration::from_secs(120);
/// Time without a word of a pull; the engine tells its progress all the time, but not while it checks a layer.
const PULL_STALL: Duration = Duration::from_secs(600);
/// Longest answer that is read.
const ANSWER_MAX: usize = 64 << 20;

/// Why the engine did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Nobody listens.
    #[error("the Docker engine at {socket} cannot be reached: {text}; see --docker_socket")]
    Unreachable {
        /// Its socket.
        socket: String,
        /// Why.
        text: String,
    },
    /// It does not answer.
    #[error("the Docker engine at {socket} did not answer within {} seconds when it was asked to {what}", after.as_secs())]
    Hung {
        /// Its socket.
        socket: String,
        /// What it was asked for.
        what: String,
        /// The time it had.
        after: Duration,
    },
    /// What it says is not understood.
    #[error("the Docker engine's answer was cut off or is not understood: {0}")]
    Broken(String),
    /// It says no.
    #[error("{message}")]
    Refused {
        /// Status of HTTP.
        status: StatusCode,
        /// In its words.
        message: String,
    },
}

impl Fault {
    /// Whether the thing asked about is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether there is one of that name already, or it is in another state.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::CONFLICT, .. })
    }

    /// Whether it is the engine that is out of order, not what it was asked for.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => status.is_server_error(),
            _ => true,
        }
    }
}

/// A Docker Engine.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    socket: PathBuf,
    /// Prefix of all paths, such as `/v1.41`.
    version: String,
}

impl Engine {
    /// Finds out which version of the API it speaks.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, Fault> {
        let engine = Self { socket: socket.to_owned(), version: String::new() };
        let about = engine.call(Method::GET, "/version", None, QUICK).await?;
        let version = about["ApiVersion"].as_str().unwrap_or_default();
        let parsed = version
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor): (u32, u32) = parsed.ok_or_else(|| {
            Fault::Broken(format!("'ApiVersion' is '{version}', expected such as 1.41"))
        })?;
        let (major, minor) = (major, minor).min(VERSION_MAX);
        Ok(Self { version: format!("/v{major}.{minor}"), ..engine })
    }

    /// Asks, and reads the whole answer; null if there is none.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        time: Duration,
    ) -> Result<Value, Fault> {
        let what = what(&method, path);
        let answer = async {
            let body = self.open(method, path, HeaderMap::new(), body).await?;
            let bytes = collect(body).await?;
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&bytes).map_err(|e| Fault::Broken(e.to_string()))
        };
        self.within(time, &what, answer).await
    }

    async fn within<T>(
        &self,
        time: Duration,
        what: &str,
        answer: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        tokio::time::timeout(time, answer).await.unwrap_or_else(|_| {
            let socket = self.socket.display().to_string();
            Err(Fault::Hung { socket, what: what.to_owned(), after: time })
        })
    }

    /// Asks, and gives the body of a good answer as it comes.
    async fn open(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&Value>,
    ) -> Result<Incoming, Fault> {
        let unreachable = |e: io::Error| Fault::Unreachable {
            socket: self.socket.display().to_string(),
            text: e.to_string(),
        };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let broken = |e: hyper::Error| Fault::Broken(e.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer's body.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.version))
            .header("host", "docker");
        if let Some(all) = request.headers_mut() {
            all.extend(headers);
        }
        let content = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(content)).map_err(|e| Fault::Broken(e.to_string()))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        // 304: it was so already.
        if head.status.is_success() || head.status == StatusCode::NOT_MODIFIED {
            return Ok(body);
        }
        let text = collect(body).await.unwrap_or_default();
        let parsed: Option<Value> = serde_json::from_slice(&text).ok();
        let message = parsed
            .as_ref()
            .and_then(|v| v["message"].as_str())
            .map_or_else(|| String::from_utf8_lossy(&text).trim().to_owned(), str::to_owned);
        let message = if message.is_empty() { head.status.to_string() } else { message };
        Err(Fault::Refused { status: head.status, message })
    }

    /// All containers with a label, whatever their state.
    pub(crate) async fn list(&self, label: &str) -> Result<Vec<Value>, Fault> {
        let filters = serde_json::json!({ "label": [label] }).to_string();
        let path = format!("/containers/json?all=true&filters={}", quoted(&filters));
        match self.call(Method::GET, &path, None, SLOW).await? {
            Value::Array(all) if all.iter().all(|c| c["State"].is_string()) => Ok(all),
            _ => Err(Fault::Broken("expected a list of containers".to_owned())),
        }
    }

    /// Everything that is known of a container.
    pub(crate) async fn inspect(&self, name: &str) -> Result<Value, Fault> {
        let path = format!("/containers/{name}/json");
        let known = self.call(Method::GET, &path, None, QUICK).await?;
        // Without it a container that runs would look like one that has ended.
        match known["State"].is_object() {
            true => Ok(known),
            false => Err(Fault::Broken("expected the 'State' of a container".to_owned())),
        }
    }

    /// Makes a container of a name that is free.
    pub(crate) async fn create(
        &self,
        name: &str,
        platform: Option<&str>,
        body: &Value,
    ) -> Result<(), Fault> {
        let platform = platform.map(|p| format!("&platform={}", quoted(p))).unwrap_or_default();
        let path = format!("/containers/create?name={name}{platform}");
        self.call(Method::POST, &path, Some(body), SLOW).await.map(drop)
    }

    /// Starts a container, unless it runs.
    pub(crate) async fn start(&self, name: &str) -> Result<(), Fault> {
        let path = format!("/containers/{name}/start");
        self.call(Method::POST, &path, None, SLOW).await.map(drop)
    }

    /// Sends a signal to a container's first process.
    pub(crate) async fn kill(&self, name: &str, signal: &str) -> Result<(), Fault> {
        let path = format!("/containers/{name}/kill?signal={}", quoted(signal));
        self.call(Method::POST, &path, None, QUICK).await.map(drop)
    }

    /// Removes a container and its anonymous volumes, also if it runs. No error if it is gone.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Fault> {
        let path = format!("/containers/{name}?force=true&v=true");
        match self.call(Method::DELETE, &path, None, SLOW).await {
            Err(fault) if fault.is_missing() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Waits for the end of a container for as long as it takes: its exit code.
    pub(crate) async fn wait(&self, name: &str) -> Result<i32, Fault> {
        let path = format!("/containers/{name}/wait");
        let body = self.open(Method::POST, &path, HeaderMap::new(), None).await?;
        let answer = collect(body).await?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|e| Fault::Broken(e.to_string()))?;
        let code = answer["StatusCode"].as_i64().and_then(|code| i32::try_from(code).ok());
        code.ok_or_else(|| Fault::Broken("expected 'StatusCode'".to_owned()))
    }

    /// Changes what a container may use.
    pub(crate) async fn update(&self, name: &str, amounts: &Value) -> Result<(), Fault> {
        let path = format!("/containers/{name}/update");
        self.call(Method::POST, &path, Some(amounts), SLOW).await.map(drop)
    }

    /// What a container uses at this moment.
    pub(crate) async fn statistics(&self, name: &str) -> Result<Value, Fault> {
        let path = format!("/containers/{name}/stats?stream=false&one-shot=true");
        self.call(Method::GET, &path, None, QUICK).await
    }

    /// What a container has written and writes, in frames (see [`super::output`]); ends with it.
    pub(crate) async fn output(&self, name: &str) -> Result<Incoming, Fault> {
        let path = format!("/containers/{name}/logs?follow=true&stdout=true&stderr=true");
        let opened = self.open(Method::GET, &path, HeaderMap::new(), None);
        self.within(QUICK, "show what a container writes", opened).await
    }

    /// What a container writes from now on, in the same frames.
    pub(crate) async fn attach(&self, name: &str) -> Result<Incoming, Fault> {
        let path = format!("/containers/{name}/attach?stream=true&stdout=true&stderr=true");
        let opened = self.open(Method::POST, &path, HeaderMap::new(), None);
        self.within(QUICK, "attach to a container", opened).await
    }

    /// Makes a command inside a container ready: its id.
    pub(crate) async fn make_exec(&self, name: &str, what: &Value) -> Result<String, Fault> {
        let path = format!("/containers/{name}/exec");
        let made = self.call(Method::POST, &path, Some(what), QUICK).await?;
        let id = made["Id"].as_str().map(str::to_owned);
        id.ok_or_else(|| Fault::Broken("expected 'Id'".to_owned()))
    }

    /// Starts it: what it writes, in the same frames, until its end.
    pub(crate) async fn start_exec(&self, id: &str) -> Result<Incoming, Fault> {
        let path = format!("/exec/{id}/start");
        let how = serde_json::json!({ "Detach": false, "Tty": false });
        let opened = self.open(Method::POST, &path, HeaderMap::new(), Some(&how));
        self.within(SLOW, "start a command in a container", opened).await
    }

    /// What is known of it.
    pub(crate) async fn inspect_exec(&self, id: &str) -> Result<Value, Fault> {
        self.call(Method::GET, &format!("/exec/{id}/json"), None, QUICK).await
    }

    /// Whether it has an image.
    pub(crate) async fn has_image(&self, image: &str) -> Result<bool, Fault> {
        match self.call(Method::GET, &format!("/images/{image}/json"), None, QUICK).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_missing() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Gets an image from its registry; `login` is what `X-Registry-Auth` holds.
    pub(crate) async fn pull(
        &self,
        (image, version): (&str, &str),
        platform: Option<&str>,
        login: Option<http::HeaderValue>,
    ) -> Result<(), Fault> {
        let platform = platform.map(|p| format!("&platform={}", quoted(p))).unwrap_or_default();
        let path =
            format!("/images/create?fromImage={}&tag={}{platform}", quoted(image), quoted(version));
        let mut headers = HeaderMap::new();
        headers
            .extend(login.map(|login| (http::HeaderName::from_static("x-registry-auth"), login)));
        let what = "pull an image";
        let opened = self.open(Method::POST, &path, headers, None);
        let mut body = self.within(PULL_STALL, what, opened).await?;
        let mut line = Vec::new();
        loop {
            let frame = async { Ok(body.frame().await) };
            let Some(frame) = self.within(PULL_STALL, what, frame).await? else { break };
            let frame = frame.map_err(|e| Fault::Broken(e.to_string()))?;
            for byte in frame.into_data().unwrap_or_default() {
                if byte == b'\n' {
                    progress(&line)?;
                    line.clear();
                } else if line.len() < ANSWER_MAX {
                    line.push(byte);
                }
            }
        }
        progress(&line)
    }
}

/// One line of what a pull says. Errors come after the status, which was good.
fn progress(line: &[u8]) -> Result<(), Fault> {
    let said: Value = serde_json::from_slice(line).unwrap_or_default();
    match said["errorDetail"]["message"].as_str().or_else(|| said["error"].as_str()) {
        Some(message) => {
            Err(Fault::Refused { status: StatusCode::OK, message: message.to_owned() })
        }
        None => Ok(()),
    }
}

/// For the text of an error: the path without what is in its query.
fn what(method: &Method, path: &str) -> String {
    format!("{method} {}", path.split('?').next().unwrap_or(path))
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Fault::Broken(e.to_string()))?;
        all.extend_from_slice(&frame.into_data().unwrap_or_default());
        if all.len() > ANSWER_MAX {
            return Err(Fault::Broken(format!("it is longer than {ANSWER_MAX} bytes")));
        }
    }
    Ok(all)
}

/// Text as part of a query.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_progress() {
        assert_eq!(quoted("a/b:1 {\"x\"}"), "a%2Fb%3A1%20%7B%22x%22%7D");
        assert_eq!(progress(b"{\"status\":\"Pulling\"}"), Ok(()));
        assert_eq!(progress(b""), Ok(()));
        let fault = progress(br#"{"errorDetail":{"message":"no such tag"},"error":"x"}"#);
        assert_eq!(fault.expect_err("a fault").to_string(), "no such tag");
    }
}
