//! What is checked in protobuf bytes: required fields, wire types, text, nesting.

use wire::v1::{self, executor, scheduler};

/// A field that holds bytes; shorter than 128.
fn field(number: u8, inside: &[u8]) -> Vec<u8> {
    let length = u8::try_from(inside.len()).expect("short");
    assert!(number < 16 && length < 128);
    [&[number << 3 | 2, length], inside].concat()
}

#[track_caller]
fn refused<M: wire::Message>(bytes: &[u8], error: &str) {
    let got = wire::protobuf::from_slice::<M>(bytes).expect_err("must be refused");
    assert_eq!(got.to_string(), error);
}

#[test]
fn a_missing_required_field_is_named_by_its_path() {
    refused::<v1::TaskStatus>(&[], "task_id: required field is missing");
    // accept (4) { operations (2) { launch (2) { task_infos (1) } } }
    let call = |tasks: &[u8]| field(4, &field(2, &field(2, tasks)));
    let whole = [field(1, b"a"), field(2, &field(1, b"t")), field(3, &field(1, b"s"))].concat();
    let without_agent = [field(1, b"b"), field(2, &field(1, b"t"))].concat();
    let tasks = [field(1, &whole), field(1, &whole), field(1, &without_agent)].concat();
    refused::<scheduler::Call>(
        &call(&tasks),
        "accept.operations[0].launch.task_infos[2].agent_id: required field is missing",
    );
    let empty_id = [field(1, b"b"), field(2, &[]), field(3, &[])].concat();
    refused::<scheduler::Call>(
        &call(&field(1, &empty_id)),
        "accept.operations[0].launch.task_infos[0].task_id.value: required field is missing",
    );
    wire::protobuf::from_slice::<scheduler::Call>(&call(&field(1, &whole))).expect("complete");
}

#[test]
fn a_path_goes_through_a_map_by_its_key() {
    let pair = [field(1, b"cpus"), field(2, &[])].concat();
    let bytes =
        [field(1, b"a"), field(2, &field(1, b"t")), field(3, &field(1, b"s")), field(15, &pair)];
    refused::<v1::TaskInfo>(&bytes.concat(), "limits[\"cpus\"].value: required field is missing");
}

#[test]
fn parts_of_one_message_are_complete_together() {
    // executor_id (1) and framework_id (2), then a subscribe (4) in two parts.
    let parts = [field(1, &field(1, b"e")), field(2, &[]), field(2, &field(1, b"f"))].concat();
    let call: executor::Call = wire::protobuf::from_slice(&parts).expect("complete");
    assert_eq!((call.executor_id, call.framework_id), ("e".into(), "f".into()));
    let parts = [field(1, &field(1, b"e")), field(2, &[]), field(2, &[])].concat();
    refused::<executor::Call>(&parts, "framework_id.value: required field is missing");
}

#[test]
fn an_unknown_value_of_a_required_enum_counts_as_missing() {
    let status = v1::TaskStatus { task_id: "t".into(), state: 99, ..Default::default() };
    refused::<v1::TaskStatus>(&wire::protobuf::to_vec(&status), "state: required field is missing");
    // The value before it stays.
    let status = [field(1, &field(1, b"t")), vec![0x10, 1, 0x10, 99]].concat();
    let status: v1::TaskStatus = wire::protobuf::from_slice(&status).expect("complete");
    assert_eq!(status.state(), v1::TaskState::TaskRunning);
}

#[test]
fn an_unknown_value_of_an_optional_or_repeated_enum_is_unset() {
    let call = scheduler::Call {
        r#type: Some(99),
        framework_id: Some("f".into()),
        accept: Some(scheduler::call::Accept {
            operations: vec![v1::offer::Operation { r#type: Some(77), ..Default::default() }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let call: scheduler::Call =
        wire::protobuf::from_slice(&wire::protobuf::to_vec(&call)).expect("a call");
    assert_eq!((call.r#type, call.framework_id), (None, Some("f".into())));
    assert_eq!(call.accept.map(|a| a.operations), Some(vec![v1::offer::Operation::default()]));
    let raw = v1::CapabilityInfo { capabilities: vec![1000, 9999, 1001] };
    let bytes = wire::protobuf::to_vec(&raw);
    let packed = field(1, &[0xE8, 7, 0x8F, 0x4E, 0xE9, 7]);
    for bytes in [bytes, packed] {
        let info: v1::CapabilityInfo = wire::protobuf::from_slice(&bytes).expect("two");
        assert_eq!(info.capabilities, [1000, 1001]);
    }
}

#[test]
fn a_default_value_in_a_map_is_written() {
    let zero = v1::value::Scalar { value: 0.0 };
    let info = v1::TaskInfo { limits: [("cpus".into(), zero)].into(), ..Default::default() };
    let bytes = wire::protobuf::to_vec(&info);
    let pair = [field(1, b"cpus"), field(2, &[9, 0, 0, 0, 0, 0, 0, 0, 0])].concat();
    assert!(bytes.windows(pair.len()).any(|w| w == pair), "{bytes:?}");
}

#[test]
fn text_is_utf8_and_a_field_has_its_wire_type() {
    refused::<v1::TaskId>(&field(1, &[0xFF]), "value: expected text in UTF-8");
    refused::<v1::TaskId>(&[0x08, 1], "value: wrong wire type for the field's type");
    refused::<scheduler::Call>(
        &field(4, &field(1, &[0x08, 1])),
        "accept.offer_ids[0].value: wrong wire type for the field's type",
    );
    refused::<scheduler::Call>(&field(2, b""), "type: wrong wire type for the field's type");
}

#[test]
fn unknown_fields_are_ignored() {
    let bytes = [field(15, b"x"), field(1, b"t"), vec![0x78, 1, 0x7D, 0, 0, 0, 0]].concat();
    assert_eq!(wire::protobuf::from_slice::<v1::TaskId>(&bytes), Ok("t".into()));
}

#[test]
fn deep_nesting_is_refused() {
    let id = |depth| {
        let mut id = v1::ContainerId { value: "x".into(), parent: None };
        for _ in 0..depth {
            id = v1::ContainerId { value: "x".into(), parent: Some(Box::new(id)) };
        }
        id
    };
    let bytes = wire::protobuf::to_vec(&id(60));
    assert_eq!(wire::protobuf::from_slice(&bytes), Ok(id(60)));
    let error = wire::protobuf::from_slice::<v1::ContainerId>(&wire::protobuf::to_vec(&id(70)));
    assert!(error.expect_err("too deep").path.starts_with("parent.parent."));
}

#[test]
fn garbage_is_refused() {
    let long = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
    for bytes in [&[0xFF, 0xFF, 0xFF][..], &[0x0A], &[0x0A, 0x7F, 0], &[0], &[0x0B], &long] {
        assert!(wire::protobuf::from_slice::<scheduler::Call>(bytes).is_err(), "{bytes:?}");
    }
}
