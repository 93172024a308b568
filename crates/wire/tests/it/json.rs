//! Rules of Mesos' JSON mapping.

use serde_json::json;
use wire::v1::{self, scheduler};

#[track_caller]
fn refused<M: wire::Message>(text: serde_json::Value, path: &str) {
    let error =
        wire::json::from_slice::<M>(text.to_string().as_bytes()).expect_err("must be refused");
    assert_eq!(error.path, path, "{error}");
}

#[test]
fn unset_optional_fields_with_a_default_are_printed_and_others_are_not() {
    let info = v1::FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
    assert_eq!(
        wire::json::to_string(&info),
        r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#
    );
}

#[test]
fn numbers_enums_bytes_and_durations_have_mesos_forms() {
    let status = v1::TaskStatus {
        task_id: "t".into(),
        state: v1::TaskState::TaskRunning as i32,
        data: Some(vec![0, 255, 8]),
        timestamp: Some(1.5),
        ..Default::default()
    };
    assert_eq!(
        wire::json::to_string(&status),
        r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","data":"AP8I","timestamp":1.5}"#
    );
    let time = v1::TimeInfo { nanoseconds: i64::MAX };
    assert_eq!(wire::json::to_string(&time), r#"{"nanoseconds":9223372036854775807}"#);
    let duration = wire::google::protobuf::Duration { seconds: 3, nanos: 5 };
    assert_eq!(wire::json::to_string(&duration), r#"{"seconds":3,"nanos":5}"#);
    let scalar = v1::value::Scalar { value: f64::INFINITY };
    assert_eq!(wire::json::to_string(&scalar), r#"{"value":"Infinity"}"#);
}

#[test]
fn lenient_forms_are_accepted() {
    let time: v1::TimeInfo =
        wire::json::from_slice(br#"{"nanoseconds":"12"}"#).expect("a numeric string");
    assert_eq!(time.nanoseconds, 12);
    let info: v1::FrameworkInfo = wire::json::from_slice(
        br#"{"user":"u","name":"n","checkpoint":"true","id":null,"banana":[1]}"#,
    )
    .expect("lenient");
    assert_eq!((info.checkpoint, info.id), (Some(true), None));
    let scalar: v1::value::Scalar =
        wire::json::from_slice(br#"{"value":"-Infinity"}"#).expect("an infinity");
    assert_eq!(scalar.value, f64::NEG_INFINITY);
}

#[test]
fn an_unknown_enum_name_is_unset_or_refused_when_required() {
    let call: scheduler::Call = wire::json::from_slice(br#"{"type":"NOPE"}"#).expect("optional");
    assert_eq!(call.r#type, None);
    refused::<v1::TaskStatus>(json!({"task_id": {"value": "t"}, "state": "NOPE"}), "state");
    refused::<scheduler::Call>(json!({"type": 3}), "type");
}

#[test]
fn a_wrong_type_is_refused_with_its_path() {
    let subscribe =
        json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": 5, "name": "x"}}});
    refused::<scheduler::Call>(subscribe, "subscribe.framework_info.user");
    let accept = json!({"accept": {"operations": [{"launch": {"task_infos": [
        {"name": "a", "task_id": {"value": "a"}, "agent_id": {"value": "s"}}, {"name": "b", "task_id": {"value": "b"}}]}}]}});
    refused::<scheduler::Call>(accept, "accept.operations[0].launch.task_infos[1].agent_id");
    refused::<scheduler::Call>(json!([]), "");
    refused::<v1::TimeInfo>(json!({"nanoseconds": 1e300}), "nanoseconds");
    refused::<v1::TaskStatus>(
        json!({"task_id": {"value": "t"}, "state": "TASK_LOST", "uuid": "not base64!"}),
        "uuid",
    );
    let limits = json!({"name": "a", "task_id": {"value": "a"}, "agent_id": {"value": "s"}, "limits": {"cpus": "Infinity"}});
    refused::<v1::TaskInfo>(limits, "limits[\"cpus\"]");
}

#[test]
fn deep_nesting_is_refused() {
    let mut id = json!({"value": "x"});
    for _ in 0..100 {
        id = json!({"value": "x", "parent": id});
    }
    assert!(wire::json::from_value::<v1::ContainerId>(&id).is_err());
    let text = "[".repeat(100_000);
    assert!(wire::json::from_slice::<v1::ContainerId>(text.as_bytes()).is_err());
}
