//! A framework's own executor: for each task it tells a row of numbered updates, until the gate opens.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use testkit::http::Connection;

/// Time between two updates of a task.
const PERIOD: Duration = Duration::from_millis(300);
/// Time between two tries to subscribe.
const RETRY: Duration = Duration::from_millis(20);

struct Task {
    info: Value,
    /// Updates that were told so far.
    told: u64,
    next: Instant,
    ended: bool,
    /// An update of it was acknowledged.
    known: bool,
}

struct Executor {
    agent: String,
    framework: String,
    id: String,
    directory: PathBuf,
    tasks: BTreeMap<String, Task>,
    /// Updates in order that are not acknowledged.
    open: VecDeque<Value>,
    count: u64,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

/// Runs until all its tasks have ended, or the agent says so.
pub(super) fn run() {
    let mut executor = Executor {
        agent: variable("MESOS_AGENT_ENDPOINT"),
        framework: variable("MESOS_FRAMEWORK_ID"),
        id: variable("MESOS_EXECUTOR_ID"),
        directory: variable("TORTURE_EXECUTOR").into(),
        tasks: BTreeMap::new(),
        open: VecDeque::new(),
        count: 0,
    };
    while !executor.is_done() {
        if let Some(events) = executor.subscribe() {
            executor.serve(&events);
        } else {
            std::thread::sleep(RETRY);
            executor.work(false);
        }
    }
}

impl Executor {
    fn is_done(&self) -> bool {
        !self.tasks.is_empty() && self.tasks.values().all(|t| t.ended) && self.open.is_empty()
    }

    fn call(&self, kind: &str) -> Value {
        json!({"type": kind, "framework_id": {"value": self.framework}, "executor_id": {"value": self.id}})
    }

    fn subscribe(&self) -> Option<Receiver<Value>> {
        let mut call = self.call("SUBSCRIBE");
        let tasks: Vec<&Value> =
            self.tasks.values().filter(|t| !t.known).map(|t| &t.info).collect();
        let updates: Vec<Value> = self.open.iter().map(|s| json!({"status": s})).collect();
        call["subscribe"] =
            json!({"unacknowledged_tasks": tasks, "unacknowledged_updates": updates});
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        let (answer, mut records) = Connection::open(&self.agent)
            .and_then(|c| c.stream("/api/v1/executor", &headers, call.to_string().as_bytes()))
            .ok()?;
        if answer.status != 200 {
            return None;
        }
        let (sender, events) = channel();
        std::thread::spawn(move || {
            while let Ok(Some(record)) = records.next_record() {
                let Ok(event) = serde_json::from_slice(&record) else { return };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Some(events)
    }

    /// Until the stream ends.
    fn serve(&mut self, events: &Receiver<Value>) {
        loop {
            match events.recv_timeout(Duration::from_millis(20)) {
                Ok(event) => self.on_event(&event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.work(true);
            if self.is_done() {
                return;
            }
        }
    }

    fn on_event(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "LAUNCH" => {
                let info = event["launch"]["task"].clone();
                let id = info["task_id"]["value"].as_str().unwrap_or_default().to_owned();
                let path = self.directory.join(&id);
                let file = std::fs::File::options().create(true).append(true).open(path);
                let mut file = file.expect("a file");
                writeln!(file, "{}", std::process::id()).expect("written");
                let task = Task { info, told: 0, next: Instant::now(), ended: false, known: false };
                self.tasks.insert(id, task);
            }
            "ACKNOWLEDGED" => {
                let (uuid, id) =
                    (&event["acknowledged"]["uuid"], &event["acknowledged"]["task_id"]["value"]);
                self.open.retain(|status| status["uuid"] != *uuid);
                if let Some(task) = self.tasks.get_mut(id.as_str().unwrap_or_default()) {
                    task.known = true;
                }
            }
            "SHUTDOWN" => std::process::exit(0),
            _ => {}
        }
    }

    /// Tells what is due.
    fn work(&mut self, is_connected: bool) {
        let is_open = self.directory.join("gate").exists();
        let now = Instant::now();
        let mut due = Vec::new();
        for (id, task) in self.tasks.iter_mut().filter(|(_, t)| !t.ended) {
            if is_open || now >= task.next {
                task.next = now + PERIOD;
                task.ended = is_open && task.told > 0;
                due.push((id.clone(), task.ended, task.told));
                task.told += 1;
            }
        }
        for (id, ended, number) in due {
            self.count += 1;
            let state = if ended { "TASK_FINISHED" } else { "TASK_RUNNING" };
            let uuid = encode(format!("{:08x}{:08x}", std::process::id(), self.count).as_bytes());
            let status = json!({"task_id": {"value": id}, "state": state, "source": "SOURCE_EXECUTOR",
                "executor_id": {"value": self.id}, "uuid": uuid, "message": number.to_string(),
                "timestamp": 0.0});
            if is_connected {
                let mut call = self.call("UPDATE");
                call["update"] = json!({"status": status});
                // Without an answer it is told again with the next subscription.
                let _ = Connection::open(&self.agent).and_then(|mut c| {
                    let headers = [("Content-Type", "application/json"), ("Connection", "close")];
                    c.request("POST", "/api/v1/executor", &headers, call.to_string().as_bytes())
                });
            }
            self.open.push_back(status);
        }
    }
}

/// Base64 of a length that needs no padding beyond `=` at the end.
fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * at) & 63) as usize];
            out.push(if at > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    out
}
