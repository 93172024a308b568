//! Executors that do not do what executors do.

use super::{Node, says};
use crate::tasks::{launch, nodes};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use testkit::framework::command_task;
use testkit::http::Connection;

/// Launches a task for an executor with this command; its first status.
fn launch_with_executor(node: &mut Node, name: &str, command: &str) -> Value {
    let id = node.framework.id.clone();
    launch(&mut node.framework, |offer| {
        let mut task = command_task(offer, name, "", 0.1, 32.0);
        let resources = task["resources"].clone();
        task["executor"] = json!({"executor_id": {"value": name}, "framework_id": {"value": id},
            "resources": resources, "command": {"value": command}});
        task.as_object_mut().expect("an object").remove("command");
        task
    })
}

#[test]
fn an_executor_that_never_registers_is_ended_after_its_time() {
    for flags in nodes() {
        let mut node = Node::start(flags, &["--executor_registration_timeout=1secs"]);
        let deaf = "trap '' TERM; (setsid sleep 1000 &); while :; do sleep 0.1; done";
        let end = launch_with_executor(&mut node, "silent", deaf);
        says(
            &end,
            "TASK_FAILED",
            "REASON_EXECUTOR_REGISTRATION_TIMEOUT",
            "Executor did not register within 1secs",
        );
        node.is_as_before();
        let end = launch_with_executor(&mut node, "brief", "exit 9");
        says(&end, "TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "");
        node.is_as_before();
    }
}

#[test]
fn an_executor_that_does_not_come_back_is_ended_and_its_tasks_are_told() {
    for flags in nodes() {
        let mut node = Node::start(flags, &["--executor_reregistration_timeout=1secs"]);
        let program = std::env::current_exe().expect("this program");
        let command = format!(
            "FAULTY_EXECUTOR=once exec {} --exact faults::executors::executor_process --nocapture",
            program.display()
        );
        let first = launch_with_executor(&mut node, "once", &command);
        assert_eq!(first["state"], "TASK_RUNNING", "{first}");
        node.cluster.kill_agent(0);
        node.cluster.start_agent(0);
        let end = node.framework.until_end("once").pop().expect("a status");
        says(
            &end,
            "TASK_LOST",
            "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
            "Executor did not reregister within 1secs",
        );
        node.is_as_before();
    }
}

#[test]
fn an_executor_that_speaks_garbage_harms_only_its_own_tasks() {
    for flags in nodes() {
        let mut node = Node::start(flags, &["--executor_registration_timeout=5secs"]);
        let program = std::env::current_exe().expect("this program");
        let command = format!(
            "FAULTY_EXECUTOR=garbage exec {} --exact faults::executors::executor_process --nocapture",
            program.display()
        );
        let mut first = launch_with_executor(&mut node, "garbage", &command);
        if first["state"] == "TASK_RUNNING" {
            first = node.framework.until_end("garbage").pop().expect("a status");
        }
        // It gave up by itself after its last words.
        says(&first, "TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "");
        node.is_as_before();
    }
}

/// Not a test: the executors of the tests above, in processes of their own.
#[test]
fn executor_process() {
    match std::env::var("FAULTY_EXECUTOR").as_deref() {
        Ok("once") => run_once(),
        Ok("garbage") => speak_garbage(),
        _ => {}
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

fn call(kind: &str) -> Value {
    json!({"type": kind, "framework_id": {"value": variable("MESOS_FRAMEWORK_ID")},
        "executor_id": {"value": variable("MESOS_EXECUTOR_ID")}})
}

/// Status of the answer to some bytes.
fn post(content_type: &str, body: &[u8]) -> Option<u16> {
    let headers = [("Content-Type", content_type), ("Accept", "application/json")];
    let mut connection = Connection::open(&variable("MESOS_AGENT_ENDPOINT")).ok()?;
    Some(connection.request("POST", "/api/v1/executor", &headers, body).ok()?.status)
}

/// Subscribes and waits for the first task.
fn subscribe() -> (String, testkit::http::Records) {
    let mut subscribe = call("SUBSCRIBE");
    subscribe["subscribe"] = json!({"unacknowledged_tasks": [], "unacknowledged_updates": []});
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let (answer, mut records) = Connection::open(&variable("MESOS_AGENT_ENDPOINT"))
        .and_then(|c| c.stream("/api/v1/executor", &headers, subscribe.to_string().as_bytes()))
        .expect("a stream");
    assert_eq!(answer.status, 200, "{}", answer.text());
    loop {
        let record = records.next_record().expect("an event").expect("an event");
        let event: Value = serde_json::from_slice(&record).expect("JSON");
        if event["type"] == "LAUNCH" {
            let id = event["launch"]["task"]["task_id"]["value"].as_str().expect("an id");
            return (id.to_owned(), records);
        }
    }
}

fn update(task: &str, state: &str) -> Value {
    let mut update = call("UPDATE");
    update["update"] = json!({"status": {"task_id": {"value": task}, "state": state,
        "source": "SOURCE_EXECUTOR", "uuid": "MDEyMzQ1Njc4OWFiY2RlZg==", "timestamp": 0.0}});
    update
}

/// Has its task run, and does nothing any more.
fn run_once() {
    let (task, records) = subscribe();
    let told = post("application/json", update(&task, "TASK_RUNNING").to_string().as_bytes());
    assert_eq!(told, Some(202));
    drop(records);
    std::thread::sleep(Duration::from_secs(1000));
}

fn speak_garbage() {
    let agent = variable("MESOS_AGENT_ENDPOINT");
    // Not even HTTP, or half of it.
    let pieces: [&[u8]; 4] = [
        &[0xff; 4096],
        b"POST /api/v1/executor HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/executor HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        b"POST /api/v1/executor HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
    ];
    let mut open = Vec::new();
    for piece in pieces {
        let mut socket = TcpStream::connect(&agent).expect("a connection");
        let _ = socket.write_all(piece);
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let _ = socket.read(&mut [0; 64]);
        open.push(socket);
    }
    // Calls that are none, and calls in the name of others or before it has subscribed.
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in
        ["", "{", "[]", "null", "{\"type\":\"SUBSCRIBE\"}", "{\"type\":\"UPDATE\"}", &nested]
    {
        assert_eq!(post("application/json", body.as_bytes()), Some(400), "{body:.40}");
    }
    assert_eq!(post("application/x-protobuf", &[0x9a; 1000]), Some(400));
    assert_eq!(post("text/plain", b"hello"), Some(415));
    let early = update("t", "TASK_FINISHED");
    assert_eq!(post("application/json", early.to_string().as_bytes()), Some(403));
    let mut other = update("neighbour", "TASK_FAILED");
    other["executor_id"]["value"] = json!("neighbour");
    let of_another = post("application/json", other.to_string().as_bytes());
    assert!(matches!(of_another, Some(400 | 403)), "{of_another:?}");
    let (task, records) = subscribe();
    // Statuses that make no sense; those of tasks that are not its own are nobody's.
    for (task, state) in [(task.as_str(), "TASK_STAGING"), ("", "TASK_RUNNING")] {
        let answer = post("application/json", update(task, state).to_string().as_bytes());
        assert!(matches!(answer, Some(202 | 400)), "{answer:?}");
    }
    let stolen =
        post("application/json", update("neighbour", "TASK_FAILED").to_string().as_bytes());
    assert!(matches!(stolen, Some(202 | 400 | 403)), "{stolen:?}");
    let mut bad = update(&task, "TASK_RUNNING");
    bad["update"]["status"]["uuid"] = json!("AAAA");
    assert_eq!(post("application/json", bad.to_string().as_bytes()), Some(400));
    let mut huge = call("MESSAGE");
    huge["message"] = json!({"data": "A".repeat(4 << 20)});
    for _ in 0..8 {
        let _ = post("application/json", huge.to_string().as_bytes());
    }
    // The stream is cut and never read.
    let _ = records.socket().and_then(|socket| socket.shutdown(std::net::Shutdown::Both));
    drop(open);
}
