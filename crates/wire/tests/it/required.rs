//! Required fields in protobuf bytes.

use wire::v1::{self, scheduler};

#[test]
fn a_missing_required_field_is_named_by_its_path() {
    let error = wire::protobuf::from_slice::<v1::TaskStatus>(&[]).expect_err("nothing is there");
    assert_eq!(error.to_string(), "task_id: required field is missing");
    // accept (4) { operations (2) { launch (2) { task_infos (1) { name "a" } } } }
    let bytes = [0x22, 9, 0x12, 7, 0x12, 5, 0x0A, 3, 0x0A, 1, b'a'];
    let error = wire::protobuf::from_slice::<scheduler::Call>(&bytes).expect_err("incomplete");
    assert_eq!(error.path, "accept.operations[0].launch.task_infos[0].task_id");
}

#[test]
fn an_unknown_value_of_a_required_enum_counts_as_missing() {
    let status = v1::TaskStatus { task_id: "t".into(), state: 99, ..Default::default() };
    let error = wire::protobuf::from_slice::<v1::TaskStatus>(&wire::protobuf::to_vec(&status))
        .expect_err("unknown");
    assert_eq!(error.path, "state");
}

#[test]
fn garbage_is_refused() {
    for bytes in [&[0xFF, 0xFF, 0xFF][..], &[0x0A], &[0x0A, 0x7F, 0], &[0], &[0x0B]] {
        assert!(wire::protobuf::from_slice::<scheduler::Call>(bytes).is_err(), "{bytes:?}");
    }
}
