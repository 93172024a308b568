//! A framework that speaks the v1 scheduler API in JSON.

use crate::http::{Answer, Connection, Records};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How a framework subscribes.
#[derive(Debug, Clone)]
pub struct FrameworkOptions {
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Names of its capabilities.
    pub capabilities: Vec<String>,
    /// Id to come back with.
    pub id: Option<String>,
    /// Seconds that its tasks survive its absence.
    pub failover_timeout: f64,
    /// Whether its tasks survive their agent's absence.
    pub checkpoint: bool,
}

impl Default for FrameworkOptions {
    fn default() -> Self {
        Self {
            name: "testkit".to_owned(),
            roles: vec!["*".to_owned()],
            capabilities: vec!["MULTI_ROLE".to_owned()],
            id: None,
            failover_timeout: 0.0,
            checkpoint: false,
        }
    }
}

/// A subscribed framework.
#[derive(Debug)]
pub struct Framework {
    master: String,
    /// Framework id.
    pub id: String,
    stream_id: String,
    events: Receiver<(Instant, Value)>,
    kept: VecDeque<(Instant, Value)>,
    socket: TcpStream,
    calls: Connection,
    is_closed: bool,
}

/// States that end a task.
pub const TERMINAL: [&str; 8] = [
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_LOST",
    "TASK_ERROR",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
];

impl Framework {
    /// Subscribes.
    ///
    /// # Panics
    /// When the subscription is refused.
    #[must_use]
    #[track_caller]
    pub fn subscribe(master: &str, options: &FrameworkOptions) -> Self {
        let subscribed = Self::request(master, options);
        let (answer, records) =
            subscribed.unwrap_or_else(|e| panic!("cannot subscribe at {master}: {e}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self::listen(master, &answer, records).expect("the first event")
    }

    /// Subscribes; None while there is no master that takes it.
    #[must_use]
    pub fn try_subscribe(master: &str, options: &FrameworkOptions) -> Option<Self> {
        let (answer, records) = Self::request(master, options).ok()?;
        if answer.status == 200 { Self::listen(master, &answer, records) } else { None }
    }

    fn request(master: &str, options: &FrameworkOptions) -> io::Result<(Answer, Records)> {
        let mut info = json!({"user": "root", "name": options.name, "roles": options.roles,
            "checkpoint": options.checkpoint, "failover_timeout": options.failover_timeout,
            "capabilities": options.capabilities.iter().map(|c| json!({"type": c})).collect::<Vec<_>>()});
        let mut call = json!({"type": "SUBSCRIBE"});
        if let Some(id) = &options.id {
            info["id"] = json!({"value": id});
            call["framework_id"] = json!({"value": id});
        }
        call["subscribe"] = json!({"framework_info": info});
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        Connection::open(master)
            .and_then(|c| c.stream("/api/v1/scheduler", &headers, call.to_string().as_bytes()))
    }

    fn listen(master: &str, answer: &Answer, mut records: Records) -> Option<Self> {
        let stream_id = answer.header("mesos-stream-id").expect("a stream id").to_owned();
        let socket = records.socket().ok()?;
        let (sender, events) = channel();
        std::thread::spawn(move || {
            while let Ok(Some(record)) = records.next_record() {
                let event = serde_json::from_slice(&record).expect("an event is JSON");
                if sender.send((Instant::now(), event)).is_err() {
                    return;
                }
            }
        });
        let mut framework = Self {
            master: master.to_owned(),
            id: String::new(),
            stream_id,
            events,
            kept: VecDeque::new(),
            socket,
            calls: Connection::open(master).ok()?,
            is_closed: false,
        };
        let limit = Duration::from_secs(30);
        let first = framework.event_within(limit, &["SUBSCRIBED", "ERROR"], |_| true)?.1;
        assert_eq!(first["type"], "SUBSCRIBED", "{first}");
        framework.id = text(&first["subscribed"]["framework_id"]["value"]);
        Some(framework)
    }

    /// Whether its stream has ended, as far as events were waited for.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Cuts the event stream without a farewell.
    pub fn disconnect(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Sends a call and gives its answer.
    ///
    /// # Panics
    /// When the master can't be reached.
    #[track_caller]
    pub fn call(&mut self, call: &Value) -> Answer {
        self.try_call(call).expect("the master answers")
    }

    /// Sends a call; None when the master can't be reached.
    pub fn try_call(&mut self, call: &Value) -> Option<Answer> {
        let mut call = call.clone();
        call["framework_id"] = json!({"value": self.id});
        let headers =
            [("Content-Type", "application/json"), ("Mesos-Stream-Id", self.stream_id.as_str())];
        let body = call.to_string();
        if let Ok(answer) =
            self.calls.request("POST", "/api/v1/scheduler", &headers, body.as_bytes())
        {
            return Some(answer);
        }
        self.calls = Connection::open(&self.master).ok()?;
        self.calls.request("POST", "/api/v1/scheduler", &headers, body.as_bytes()).ok()
    }

    /// The next event of one of these types for which `wanted` holds, and when it came. Others are kept for later.
    ///
    /// # Panics
    /// When none comes within 30 seconds or the stream ends.
    #[track_caller]
    pub fn event(&mut self, types: &[&str], wanted: impl Fn(&Value) -> bool) -> (Instant, Value) {
        self.event_within(Duration::from_secs(30), types, wanted)
            .unwrap_or_else(|| panic!("no event of {types:?} came; kept: {:?}", self.kept))
    }

    /// As [`Framework::event`], None when none comes within `limit` or the stream ends.
    pub fn event_within(
        &mut self,
        limit: Duration,
        types: &[&str],
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<(Instant, Value)> {
        let fits = |event: &Value| types.iter().any(|t| event["type"] == **t) && wanted(event);
        if let Some(at) = self.kept.iter().position(|(_, e)| fits(e)) {
            return self.kept.remove(at);
        }
        let deadline = Instant::now() + limit;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((at, event)) if fits(&event) => return Some((at, event)),
                Ok((_, event)) if event["type"] == "HEARTBEAT" => {}
                Ok(kept) => self.kept.push_back(kept),
                Err(error) => {
                    self.is_closed |= error == RecvTimeoutError::Disconnected;
                    return None;
                }
            }
        }
    }

    /// All offers of the next OFFERS event.
    ///
    /// # Panics
    /// When none comes within 30 seconds.
    #[track_caller]
    pub fn offers(&mut self) -> Vec<Value> {
        let (_, event) = self.event(&["OFFERS"], |_| true);
        event["offers"]["offers"].as_array().cloned().unwrap_or_default()
    }

    /// Accepts `offer` for these tasks; what is left comes back at once.
    ///
    /// # Panics
    /// When the master does not answer 202.
    #[track_caller]
    pub fn launch(&mut self, offer: &Value, tasks: &[Value]) {
        let answer = self.call(&json!({"type": "ACCEPT", "accept": {
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
            "filters": {"refuse_seconds": 0.0}}}));
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    /// Declines `offer`.
    ///
    /// # Panics
    /// When the master does not answer 202.
    #[track_caller]
    pub fn decline(&mut self, offer: &Value, refuse_seconds: f64) {
        let answer = self.call(&json!({"type": "DECLINE", "decline": {
            "offer_ids": [offer["id"]], "filters": {"refuse_seconds": refuse_seconds}}}));
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    /// The next status of `task` (any task if None), acknowledged if it wants that.
    ///
    /// # Panics
    /// When none comes within 30 seconds.
    #[track_caller]
    pub fn update(&mut self, task: Option<&str>) -> (Instant, Value) {
        let (at, event) = self.event(&["UPDATE"], |e| {
            task.is_none_or(|task| e["update"]["status"]["task_id"]["value"] == task)
        });
        let status = event["update"]["status"].clone();
        self.acknowledge(&status);
        (at, status)
    }

    /// Acknowledges a status that carries a uuid.
    pub fn acknowledge(&mut self, status: &Value) {
        if status.get("uuid").is_some() {
            self.call(&json!({"type": "ACKNOWLEDGE", "acknowledge": {
                "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]}}));
        }
    }

    /// All statuses of `task` until it ends.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn until_end(&mut self, task: &str) -> Vec<Value> {
        let mut statuses = Vec::new();
        loop {
            let status = self.update(Some(task)).1;
            let state = text(&status["state"]);
            statuses.push(status);
            if TERMINAL.contains(&state.as_str()) {
                return statuses;
            }
        }
    }

    /// Kills `task` and waits for its end.
    ///
    /// # Panics
    /// When it does not end as killed.
    #[track_caller]
    pub fn kill_and_wait(&mut self, task: &str) {
        self.call(&json!({"type": "KILL", "kill": {"task_id": {"value": task}}}));
        let last = self.until_end(task).pop().expect("a status");
        assert_eq!(last["state"], "TASK_KILLED", "{last}");
    }

    /// Statuses of `task` up to and with `state`.
    ///
    /// # Panics
    /// When it never comes.
    #[track_caller]
    pub fn until_state(&mut self, task: &str, state: &str) -> Value {
        loop {
            let status = self.update(Some(task)).1;
            if status["state"] == state {
                return status;
            }
            assert!(
                !TERMINAL.iter().any(|t| status["state"] == **t),
                "waited for {state}, got {status}"
            );
        }
    }
}

/// A command task on the agent of `offer`, with resources in the offer's role.
#[must_use]
pub fn command_task(offer: &Value, id: &str, command: &str, cpus: f64, mem: f64) -> Value {
    let resource = |name: &str, value: f64| {
        let mut resource = json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        if let Some(info) = offer.get("allocation_info") {
            resource["allocation_info"] = info.clone();
        }
        resource
    };
    json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "resources": [resource("cpus", cpus), resource("mem", mem)], "command": {"value": command}})
}

/// Sum of a scalar in an offer.
#[must_use]
pub fn amount(offer: &Value, name: &str) -> f64 {
    let resources = offer["resources"].as_array().into_iter().flatten();
    resources.filter(|r| r["name"] == name).filter_map(|r| r["scalar"]["value"].as_f64()).sum()
}

/// A JSON string's text; empty for anything else.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
