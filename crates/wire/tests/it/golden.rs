//! Streams recorded from a real Mesos master and agent decode and encode equal.

use base64::Engine as _;
use serde_json::Value;
use wire::v1::{executor, scheduler};

fn events(recording: &str) -> Vec<Vec<u8>> {
    let lines =
        recording.lines().map(|l| serde_json::from_str::<Value>(l).expect("a line is JSON"));
    lines
        .filter(|l| l["kind"] == "event")
        .map(|l| {
            base64::engine::general_purpose::STANDARD
                .decode(l["data"].as_str().expect("data"))
                .expect("base64")
        })
        .collect()
}

fn without_digits(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn check_json<M: wire::Message>(recording: &str) {
    let events = events(recording);
    assert!(events.len() >= 4);
    for event in events {
        let message: M = wire::json::from_slice(&event).expect("the recorded event decodes");
        let text = wire::json::to_vec(&message);
        // Two texts of one double may differ in their last digit: compare values, and all but digits as text.
        let value = |text| serde_json::from_slice::<Value>(text).expect("JSON");
        assert_eq!(value(&text), value(&event));
        assert_eq!(without_digits(&text), without_digits(&event));
    }
}

/// `reordered`: the first event has a field of the older interface, which the peer puts behind those that it knows.
fn check_protobuf<M: wire::Message>(recording: &str, reordered: bool) {
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    let events = events(recording);
    assert!(events.len() >= 4);
    for (index, event) in events.iter().enumerate() {
        let message: M = wire::protobuf::from_slice(event).expect("the recorded event decodes");
        let again = wire::protobuf::to_vec(&message);
        if index == 0 && reordered {
            assert_eq!(sorted(&again), sorted(event));
            assert_eq!(wire::protobuf::from_slice::<M>(&again).expect("decodes"), message);
        } else {
            assert_eq!(&again, event);
        }
    }
}

#[test]
fn recorded_scheduler_events_in_json() {
    check_json::<scheduler::Event>(include_str!("../golden/scheduler.json.jsonl"));
}

#[test]
fn recorded_executor_events_in_json() {
    check_json::<executor::Event>(include_str!("../golden/executor.json.jsonl"));
}

#[test]
fn recorded_scheduler_events_in_protobuf() {
    check_protobuf::<scheduler::Event>(include_str!("../golden/scheduler.protobuf.jsonl"), false);
}

#[test]
fn recorded_executor_events_in_protobuf() {
    check_protobuf::<executor::Event>(include_str!("../golden/executor.protobuf.jsonl"), true);
}
