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
fn numbers_with_a_fraction_lose_it_and_those_that_do_not_fit_are_refused() {
    let read = |text: &str| {
        wire::json::from_value::<v1::TimeInfo>(&json!({ "nanoseconds": text }))
            .map(|time| time.nanoseconds)
            .map_err(|e| e.path)
    };
    assert_eq!(read("5000.9"), Ok(5000));
    assert_eq!(read("-5000.9"), Ok(-5000));
    assert_eq!(read("1e3"), Ok(1000));
    assert_eq!(read(&i64::MIN.to_string()), Ok(i64::MIN));
    for bad in ["9223372036854775808", "1e19", "1e300", "0x10", "", "+1", "NaN", "Infinity"] {
        assert_eq!(read(bad), Err("nanoseconds".to_owned()), "{bad}");
    }
    for bad in [json!(-1), json!("-1"), json!(4_294_967_296_u64), json!(true)] {
        refused::<v1::MasterInfo>(json!({"id": "m", "ip": bad, "port": 1}), "ip");
    }
}

#[test]
fn a_double_is_a_number_or_an_infinity() {
    let read = |value: serde_json::Value| {
        wire::json::from_value::<v1::value::Scalar>(&json!({ "value": value })).map(|s| s.value)
    };
    assert_eq!(read(json!("-2.5e3")), Ok(-2500.0));
    assert_eq!(read(json!(7)), Ok(7.0));
    for bad in [json!("NaN"), json!("nan"), json!("inf"), json!(".5"), json!(""), json!(false)] {
        refused::<v1::value::Scalar>(json!({ "value": bad }), "value");
    }
    let write = |value| wire::json::to_string(&v1::value::Scalar { value });
    for (value, text) in [
        (0.0, "0.0"),
        (-0.1, "-0.1"),
        (1e15, "1000000000000000.0"),
        (1.5e20, "150000000000000000000.0"),
        (1e21, "1e21"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e300, "-1.5e300"),
        (f64::NAN, "\"NaN\""),
    ] {
        assert_eq!(write(value), format!(r#"{{"value":{text}}}"#));
    }
}

#[test]
fn bytes_are_standard_base64_with_or_without_padding_and_white_space() {
    let read = |text: &str| {
        let status = json!({"task_id": {"value": "t"}, "state": "TASK_LOST", "data": text});
        wire::json::from_value::<v1::TaskStatus>(&status).map(|s| s.data).map_err(|e| e.path)
    };
    for text in ["AP8=", "AP8", " A P\n8=", "AP8=ignored"] {
        assert_eq!(read(text), Ok(Some(vec![0, 255])), "{text}");
    }
    for text in ["_-8=", "A", "ä"] {
        assert_eq!(read(text), Err("data".to_owned()), "{text}");
    }
}

#[test]
fn a_repeated_field_takes_one_element_and_passes_over_null() {
    let roles = |value| {
        let info = json!({"user": "u", "name": "n", "roles": value});
        wire::json::from_value::<v1::FrameworkInfo>(&info).map(|info| info.roles)
    };
    assert_eq!(roles(json!("web")), Ok(vec!["web".to_owned()]));
    assert_eq!(roles(json!(["a", null, "b"])), Ok(vec!["a".to_owned(), "b".to_owned()]));
    refused::<v1::FrameworkInfo>(
        json!({"user": "u", "name": "n", "roles": ["a", null, 1]}),
        "roles[2]",
    );
    let call = json!({"type": "REQUEST", "request": {"requests": {"resources": []}}});
    let call: scheduler::Call = wire::json::from_value(&call).expect("one element");
    assert_eq!(call.request.map(|r| r.requests.len()), Some(1));
}

#[test]
fn an_element_with_an_unknown_enum_name_is_dropped() {
    let info: v1::CapabilityInfo =
        wire::json::from_slice(br#"{"capabilities": ["NET_RAW", "NOPE", "CHOWN"]}"#).expect("two");
    assert_eq!(wire::json::to_string(&info), r#"{"capabilities":["NET_RAW","CHOWN"]}"#);
}

#[test]
fn a_map_is_an_object() {
    let text = json!({"name": "a", "task_id": {"value": "a"}, "agent_id": {"value": "s"},
        "limits": {"cpus": {"value": 0}, "mem": {"value": "Infinity"}}});
    let info: v1::TaskInfo = wire::json::from_value(&text).expect("a task");
    let printed = wire::json::to_value(&info);
    assert_eq!(
        printed["limits"].to_string(),
        r#"{"cpus":{"value":0.0},"mem":{"value":"Infinity"}}"#
    );
    refused::<v1::TaskInfo>(
        json!({"name": "a", "task_id": {"value": "a"}, "agent_id": {"value": "s"}, "limits": []}),
        "limits",
    );
    let limits = json!({"name": "a", "task_id": {"value": "a"}, "agent_id": {"value": "s"}, "limits": {"cpus": null}});
    refused::<v1::TaskInfo>(limits, "limits[\"cpus\"].value");
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
