//! Operations convert resources: nothing is created or lost (spec/master.md 1.4).

use proptest::prelude::*;
use resources::{Conversion, Resources, from_milli};
use serde_json::{Value, json};
use wire::v1::offer::Operation;

fn disk(milli: i64, depth: usize, volume: Option<&str>, source: Option<&str>) -> Value {
    let roles = ["a", "a/b", "a/b/c"];
    let stack: Vec<Value> =
        roles[..depth].iter().map(|role| json!({"type": "DYNAMIC", "role": role})).collect();
    let mut disk =
        json!({"name": "disk", "type": "SCALAR", "scalar": {"value": from_milli(milli)}});
    if depth > 0 {
        disk["reservations"] = json!(stack);
    }
    if let Some(kind) = source {
        let place = kind.to_lowercase();
        disk["disk"]["source"] = json!({"type": kind, place: {"root": "/mnt"}});
    }
    if let Some(id) = volume {
        disk["disk"]["persistence"] = json!({"id": id});
        disk["disk"]["volume"] = json!({"container_path": "data", "mode": "RW"});
    }
    disk
}

fn conversion(operation: &Value) -> Conversion {
    let operation: Operation = wire::json::from_value(operation).expect("an operation");
    Conversion::of(&operation).expect("valid").expect("a conversion")
}

fn read(list: &[Value]) -> Resources {
    let list: Vec<_> = list.iter().map(|r| wire::json::from_value(r).expect("it")).collect();
    Resources::from_wire(&list).expect("resources")
}

fn operations() -> impl Strategy<Value = Value> {
    let source = prop_oneof![Just(None), Just(Some("PATH"))];
    (0..6_u8, 1..100_000_i64, 1..100_000_i64, 1..3_usize, source).prop_map(
        |(kind, size, more, depth, source)| {
            let plain = disk(size, depth, None, source);
            let volume = disk(size, depth, Some("v"), source);
            match kind {
                0 => json!({"type": "RESERVE", "reserve": {"resources": [plain]}}),
                1 => json!({"type": "UNRESERVE", "unreserve": {"resources": [plain]}}),
                2 => json!({"type": "CREATE", "create": {"volumes": [volume]}}),
                3 => json!({"type": "DESTROY", "destroy": {"volumes": [volume]}}),
                4 => json!({"type": "GROW_VOLUME", "grow_volume": {
                    "volume": volume, "addition": disk(more, depth, None, source)}}),
                _ => json!({"type": "SHRINK_VOLUME", "shrink_volume": {
                    "volume": disk(size + more, depth, Some("v"), source),
                    "subtract": {"value": from_milli(more)}}}),
            }
        },
    )
}

proptest! {
    #[test]
    fn an_operation_creates_and_loses_nothing(operation in operations(), rest in 0..100_000_i64) {
        let conversion = conversion(&operation);
        prop_assert_eq!(conversion.consumed.quantities(), conversion.converted.quantities());
        // On a whole agent: undoing it gives back what was there.
        let mut before = read(&[disk(rest + 1, 0, None, None)]);
        before += &conversion.consumed;
        let after = before.convert(&conversion).expect("it is there");
        prop_assert_eq!(before.quantities(), after.quantities());
        let back = Conversion {
            consumed: conversion.converted.clone(),
            converted: conversion.consumed.clone(),
        };
        prop_assert_eq!(after.convert(&back).expect("it is there"), before);
    }

    #[test]
    fn what_an_agent_remembers_puts_its_resources_together_again(
        reserved in 1..1000_i64, size in 1..1000_i64, rest in 0..1000_i64,
    ) {
        let base = read(&[disk(reserved + size + rest, 0, None, None)]);
        let checkpointed = read(&[disk(reserved, 2, None, None), disk(size, 1, Some("v"), None)]);
        let total = base.with_checkpointed(&checkpointed).expect("there is enough");
        prop_assert_eq!(total.to_checkpoint(), checkpointed.clone());
        prop_assert_eq!(total.quantities(), base.quantities());
        let small = read(&[disk(reserved + size - 1, 0, None, None)]);
        let error = small.with_checkpointed(&checkpointed).expect_err("too little");
        prop_assert!(error.0.starts_with("Incompatible agent resources: "), "{}", error);
    }
}

#[test]
fn a_mount_disk_is_one_piece() {
    let whole = read(&[disk(1000, 1, None, Some("MOUNT"))]);
    let part =
        json!({"type": "CREATE", "create": {"volumes": [disk(400, 1, Some("v"), Some("MOUNT"))]}});
    let error = whole.convert(&conversion(&part)).expect_err("it can't be divided");
    assert!(error.0.contains("does not contain"), "{error}");
    let all =
        json!({"type": "CREATE", "create": {"volumes": [disk(1000, 1, Some("v"), Some("MOUNT"))]}});
    let made = whole.convert(&conversion(&all)).expect("the whole disk");
    assert_eq!(made.volumes(), made);
}
