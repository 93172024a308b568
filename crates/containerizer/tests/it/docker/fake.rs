//! An engine of the test's own: it answers as a Docker Engine does, and misbehaves when it is told to.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

/// How a request is answered otherwise than it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mischief {
    /// As it should be, but late.
    Late(Duration),
    /// An error of the engine's, and nothing is done.
    Error(u16),
    /// It is done, and answered with what nobody understands.
    Garbage,
    /// It is done, and answered with JSON of another shape.
    OtherShape,
    /// It is done, and the connection is closed without an answer.
    NoAnswer,
    /// It is done, and the connection is closed in the middle of the answer.
    Cut,
}

/// A container.
#[derive(Debug, Default)]
struct Container {
    labels: Value,
    is_started: bool,
    code: Option<i64>,
    was_oom: bool,
    output: Vec<u8>,
    limits: Vec<Value>,
    /// What it was made of.
    body: Value,
}

#[derive(Debug, Default)]
struct Engine {
    containers: BTreeMap<String, Container>,
    /// By the method and a part of the path; each once.
    mischiefs: Vec<(&'static str, &'static str, Mischief)>,
    /// All requests: method and path without the version.
    asked: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Fake {
    socket: PathBuf,
    engine: Arc<Mutex<Engine>>,
    changed: Arc<Notify>,
    serving: Arc<Mutex<Option<AbortHandle>>>,
}

impl Fake {
    pub(super) fn start(directory: &Path) -> Self {
        let fake = Self {
            socket: directory.join("d.sock"),
            engine: Arc::default(),
            changed: Arc::default(),
            serving: Arc::default(),
        };
        fake.serve();
        fake
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let fake = self.clone();
        let serving = tokio::spawn(async move {
            // Ends with all connections when it is stopped.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let fake = fake.clone();
                connections.spawn(async move { fake.answer(stream).await });
            }
        });
        *self.serving.lock().expect("not poisoned") = Some(serving.abort_handle());
    }

    /// The engine goes down with all its connections; containers run on.
    pub(super) fn go_down(&self) {
        let serving = self.serving.lock().expect("not poisoned").take();
        serving.expect("it is up").abort();
        let _ = std::fs::remove_file(&self.socket);
    }

    pub(super) fn come_up(&self) {
        self.serve();
    }

    /// The next request of this kind is answered so.
    pub(super) fn misbehave(&self, method: &'static str, path: &'static str, how: Mischief) {
        self.engine().mischiefs.push((method, path, how));
    }

    /// Everything that it was told to do wrong was done.
    pub(super) fn is_good_again(&self) -> bool {
        self.engine().mischiefs.is_empty()
    }

    pub(super) fn asked(&self, what: &str) -> usize {
        self.engine().asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.engine().containers.keys().cloned().collect()
    }

    /// What it was told that a container may use from now on.
    pub(super) fn limits(&self, name: &str) -> Vec<Value> {
        self.engine().containers[name].limits.clone()
    }

    /// What it was told to make a container of.
    pub(super) fn body(&self, name: &str) -> Value {
        self.engine().containers[name].body.clone()
    }

    fn change(&self, name: &str, how: impl FnOnce(&mut Container)) {
        how(self.engine().containers.get_mut(name).expect("it is there"));
        self.changed.notify_waiters();
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        self.change(name, |container| {
            let length = u32::try_from(text.len()).expect("short").to_be_bytes();
            container.output.extend([1, 0, 0, 0]);
            container.output.extend(length);
            container.output.extend(text.as_bytes());
        });
    }

    pub(super) fn exit(&self, name: &str, code: i64) {
        self.change(name, |container| container.code = Some(code));
    }

    pub(super) fn out_of_memory(&self, name: &str) {
        self.change(name, |container| {
            (container.code, container.was_oom) = (Some(137), true);
        });
    }

    /// Somebody else removes a container.
    pub(super) fn remove(&self, name: &str) {
        self.engine().containers.remove(name);
        self.changed.notify_waiters();
    }

    async fn answer(&self, mut stream: UnixStream) {
        let Some((method, path, body)) = request(&mut stream).await else { return };
        self.engine().asked.push(format!("{method} {path}"));
        let mischief = {
            let all = &mut self.engine().mischiefs;
            let at = all.iter().position(|(m, p, _)| *m == method && path.contains(p));
            at.map(|at| all.remove(at).2)
        };
        if let Some(Mischief::Late(delay)) = mischief {
            tokio::time::sleep(delay).await;
        }
        if let Some(Mischief::Error(status)) = mischief {
            send(&mut stream, status, br#"{"message":"out of order"}"#).await;
            return;
        }
        if path.contains("/logs?") {
            self.logs(&mut stream, &path, mischief).await;
            return;
        }
        let (status, answer) = self.carry_out(&method, &path, &body).await;
        let answer = if answer.is_null() { Vec::new() } else { answer.to_string().into_bytes() };
        match mischief {
            Some(Mischief::Garbage) => send(&mut stream, 200, b"<html>{\"").await,
            Some(Mischief::OtherShape) => send(&mut stream, 200, b"[\"what?\", 7]").await,
            Some(Mischief::NoAnswer) => {}
            Some(Mischief::Cut) => {
                // An answer without content can't be cut.
                let status = if status == 204 { 200 } else { status };
                let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 1000\r\n\r\n{{\"Sta");
                let _ = stream.write_all(head.as_bytes()).await;
            }
            _ => send(&mut stream, status, &answer).await,
        }
    }

    async fn carry_out(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (plain, query) = path.split_once('?').unwrap_or((path, ""));
        let words: Vec<&str> = plain.trim_start_matches('/').split('/').collect();
        let missing = (404, json!({ "message": "no such thing" }));
        match (method, &words[..]) {
            ("GET", ["version"]) => (200, json!({ "ApiVersion": "1.41" })),
            ("GET", ["images", "here:latest", "json"]) => (200, json!({ "Id": "sha256:1" })),
            ("POST", ["images", "create"]) if query.contains("fromImage=there") => (200, json!({})),
            ("POST", ["containers", "create"]) => {
                let name = query.trim_start_matches("name=").to_owned();
                let labels = body["Labels"].clone();
                let container = Container { labels, body: body.clone(), ..Container::default() };
                if self.engine().containers.contains_key(&name) {
                    return (409, json!({ "message": "in use" }));
                }
                self.engine().containers.insert(name, container);
                (201, json!({ "Id": "1" }))
            }
            ("GET", ["containers", "json"]) => {
                let engine = self.engine();
                let all = engine.containers.values();
                let told = |c: &Container| json!({ "Labels": c.labels, "State": c.state() });
                (200, all.map(told).collect())
            }
            (_, ["containers", name, ..]) if !self.engine().containers.contains_key(*name) => {
                missing
            }
            ("POST", ["containers", name, "wait"]) => loop {
                let changed = self.changed.notified();
                match self.engine().containers.get(*name).map(|c| c.code) {
                    Some(Some(code)) => break (200, json!({ "StatusCode": code })),
                    Some(None) => {}
                    None => break missing,
                }
                changed.await;
            },
            ("POST", ["containers", name, "start"]) => {
                self.change(name, |container| container.is_started = true);
                (204, Value::Null)
            }
            ("POST", ["containers", name, "kill"]) => {
                let kill = |container: &mut Container| {
                    container.code = container.code.or(Some(137));
                };
                self.change(name, kill);
                (204, Value::Null)
            }
            ("POST", ["containers", name, "update"]) => {
                self.change(name, |container| container.limits.push(body.clone()));
                (200, json!({}))
            }
            ("GET", ["containers", name, "json"]) => {
                (200, self.engine().containers[*name].described())
            }
            ("GET", ["containers", _, "stats"]) => {
                (200, json!({ "memory_stats": { "usage": 4096 } }))
            }
            ("DELETE", ["containers", name]) => {
                self.remove(name);
                (204, Value::Null)
            }
            _ => missing,
        }
    }

    /// Everything that a container writes until its end, or half of what there is now.
    async fn logs(&self, stream: &mut UnixStream, path: &str, mischief: Option<Mischief>) {
        let name = path.split('/').nth(2).unwrap_or_default();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let mut told = 0;
        loop {
            let changed = self.changed.notified();
            let (output, ended) = match self.engine().containers.get(name) {
                Some(container) => (container.output.clone(), container.code.is_some()),
                None => (Vec::new(), true),
            };
            let mut new = output.get(told..).unwrap_or_default();
            told = output.len();
            let cut = mischief.is_some() && !new.is_empty();
            if cut {
                new = &new[..new.len() / 2 + 3];
            }
            if !new.is_empty() {
                let _ = stream.write_all(format!("{:x}\r\n", new.len()).as_bytes()).await;
                let _ = stream.write_all(new).await;
                let _ = stream.write_all(b"\r\n").await;
            }
            if cut {
                return;
            }
            if ended {
                let _ = stream.write_all(b"0\r\n\r\n").await;
                return;
            }
            changed.await;
        }
    }
}

impl Container {
    fn state(&self) -> &'static str {
        match (self.is_started, self.code) {
            (false, _) => "created",
            (true, None) => "running",
            (true, Some(_)) => "exited",
        }
    }

    fn described(&self) -> Value {
        json!({
            "Id": "1",
            "State": {
                "Running": self.state() == "running",
                "Pid": 0,
                "ExitCode": self.code.unwrap_or(0),
                "OOMKilled": self.was_oom
            },
            "Config": { "Tty": false },
            "HostConfig": { "Memory": 64 << 20 }
        })
    }
}

/// Method, path without the version, and body.
async fn request(stream: &mut UnixStream) -> Option<(String, String, Value)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    while bytes.len() < end + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let first = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?);
    let path = path.strip_prefix("/v1.41").unwrap_or(path).to_owned();
    Some((method, path, serde_json::from_slice(&bytes[end..]).unwrap_or_default()))
}

async fn send(stream: &mut UnixStream, status: u16, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
}
