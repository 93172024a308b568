//! Bad input and bad clients: each gets its answer or is dropped, memory stays bounded, others notice nothing.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testkit::framework::command_task;
use testkit::http::{self, Connection};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

/// Longest body of a call.
const BODY_MAX: usize = 64 << 20;
/// Time in which a well-behaved client is served whatever others do.
const SERVED: Duration = Duration::from_secs(5);

fn cluster() -> Cluster {
    Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1))
}

/// Resident memory of a process in MiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("its memory");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number") / 1024
}

/// A new framework launches a task and hears that it ended.
#[track_caller]
fn others_are_served(cluster: &Cluster, task: &str) {
    let begun = Instant::now();
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, task, "true", 0.1, 32.0)]);
    let last = framework.until_end(task).pop().expect("a status");
    assert_eq!(last["state"], "TASK_FINISHED", "{last}");
    // What it was offered since is for the next one.
    framework.disconnect();
    assert!(begun.elapsed() < SERVED, "it took {:?}", begun.elapsed());
}

#[test]
fn malformed_calls_get_their_status_on_every_endpoint() {
    let cluster = cluster();
    let endpoints = [
        (cluster.master(), "/api/v1/scheduler"),
        (cluster.master(), "/api/v1"),
        (cluster.agent(0), "/api/v1/executor"),
        (cluster.agent(0), "/api/v1"),
    ];
    let cases: [(&str, &[u8], u16); 7] = [
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"{\"type\":\"NO_SUCH_CALL\"}", 400),
        ("application/json", b"{\"type\":{}}", 400),
        ("application/x-protobuf", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 400),
        ("application/x-protobuf", b"\x0a\x7f", 400),
        ("text/plain", b"{}", 415),
    ];
    for (address, path) in &endpoints {
        for (content_type, body, expected) in &cases {
            let headers = [("Content-Type", *content_type)];
            let answer = Connection::open(address)
                .and_then(|mut c| c.request("POST", path, &headers, body))
                .expect("an answer");
            let what = format!("{path}: {content_type}: {}", String::from_utf8_lossy(body));
            assert_eq!(answer.status, *expected, "{what}: {}", answer.text());
            assert!(!answer.text().is_empty(), "{what} gets no explanation");
        }
    }
    // Brackets without end must not exhaust the stack.
    let deep = [b'['; 1 << 20];
    let headers = [("Content-Type", "application/json")];
    let answer = Connection::open(&cluster.master())
        .and_then(|mut c| c.request("POST", "/api/v1/scheduler", &headers, &deep))
        .expect("an answer");
    assert_eq!(answer.status, 400);
    others_are_served(&cluster, "after-malformed");
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_kept() {
    let cluster = cluster();
    let pid = cluster.master_pid().expect("it runs");
    let before = memory(pid);
    let mut socket = TcpStream::connect(cluster.master()).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let length = 1_u64 << 40;
    let head = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).expect("the head");
    let piece = vec![b' '; 1 << 20];
    let mut sent = 0;
    while sent <= BODY_MAX + (8 << 20) && socket.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    let grown = memory(pid).saturating_sub(before);
    assert!(grown < 256, "the master grew by {grown} MiB");
    others_are_served(&cluster, "after-large");
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped_and_disturbs_nobody() {
    let cluster = cluster();
    let pid = cluster.master_pid().expect("it runs");
    let before = memory(pid);
    let info = json!({"user": "root", "name": "deaf", "roles": ["deaf"], "failover_timeout": 600.0,
        "capabilities": [{"type": "MULTI_ROLE"}]});
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}).to_string();
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let (answer, mut records) = Connection::open(&cluster.master())
        .and_then(|c| c.stream("/api/v1/scheduler", &headers, call.as_bytes()))
        .expect("a stream");
    let stream_id = answer.header("mesos-stream-id").expect("a stream id").to_owned();
    let first = records.next_record().expect("an event").expect("an event");
    let first: serde_json::Value = serde_json::from_slice(&first).expect("JSON");
    let id = first["subscribed"]["framework_id"].clone();

    // Each unknown task is an event; from here on nobody reads them.
    let tasks: Vec<_> =
        (0..2000).map(|n| json!({"task_id": {"value": format!("{n:0>200}")}})).collect();
    let reconcile = json!({"type": "RECONCILE", "framework_id": id, "reconcile": {"tasks": tasks}});
    let headers = [("Mesos-Stream-Id", stream_id.as_str())];
    let mut rounds = 0;
    let refused = loop {
        let answer = http::post_json(&cluster.master(), "/api/v1/scheduler", &headers, &reconcile);
        if answer.status != 202 {
            break answer;
        }
        rounds += 1;
        assert!(rounds < 1000, "it was never dropped");
    };
    assert_eq!((refused.status, refused.text().as_str()), (403, "Framework is not subscribed"));
    let grown = memory(pid).saturating_sub(before);
    assert!(grown < 300, "the master grew by {grown} MiB");
    others_are_served(&cluster, "after-deaf");
    drop(records);
}

#[test]
fn ten_thousand_silent_connections_disturb_nobody() {
    const SILENT: usize = 10_000;
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|n| n < 2 * SILENT as u64) {
        eprintln!("skipped: the system allows only {:?} open files", limit.maximum);
        return;
    }
    // Master and agent start with the usual limit and raise it themselves.
    setrlimit(Resource::Nofile, Rlimit { current: Some(1024), ..limit }).expect("a limit");
    let cluster = cluster();
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a limit");
    let processes = [
        (cluster.master(), cluster.master_pid(), "master"),
        (cluster.agent(0), cluster.agent_pid(0), "agent"),
    ];
    for (address, pid, name) in processes {
        let pid = pid.expect("it runs");
        let before = memory(pid);
        let silent: Vec<TcpStream> = (0..SILENT)
            .map(|n| TcpStream::connect(&address).unwrap_or_else(|e| panic!("connection {n}: {e}")))
            .collect();
        others_are_served(&cluster, &format!("among-silent-of-{name}"));
        let grown = memory(pid).saturating_sub(before);
        assert!(grown < 400, "the {name} grew by {grown} MiB");
        drop(silent);
        wait::until("the connections are closed", Duration::from_secs(60), || {
            let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
            (open < 1000).then_some(())
        });
    }
}
