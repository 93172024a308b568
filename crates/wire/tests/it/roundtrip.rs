//! Every message, filled with generated values, survives both encodings.

use base::Rng;
use wire::{internal, v1};

/// JSON of a message with random fields set.
fn generate(name: &str, rng: &mut Rng, depth: usize) -> serde_json::Value {
    let mut members = serde_json::Map::new();
    for field in wire::schema(name).expect("a known message") {
        let is_message = field.kind.contains('.') && wire::schema(&field.kind).is_ok();
        let required = field.label == "required";
        if !required && (rng.chance(1, 3) || (is_message && depth > 3)) {
            continue;
        }
        let mut value = || one(&field.kind, rng, depth);
        let is_map = is_message && !wire::message_names().any(|n| n == field.kind);
        let value = match field.label {
            _ if is_map => {
                let entry = value();
                serde_json::json!({"key": entry["value"].clone()})
            }
            "repeated" => serde_json::Value::Array(vec![value(), value()]),
            _ => value(),
        };
        if !(value.is_null() || is_map && value["key"].is_null()) {
            members.insert(field.name.to_owned(), value);
        }
    }
    serde_json::Value::Object(members)
}

fn one(kind: &str, rng: &mut Rng, depth: usize) -> serde_json::Value {
    match kind {
        "string" => ["", "x", "ä\"\\\n\u{1}", "a/b"][rng.below(4) as usize].into(),
        "bytes" => ["", "AP8=", "AAAA"][rng.below(3) as usize].into(),
        "bool" => rng.chance(1, 2).into(),
        "double" => [0.0, 1.0, -2.5, 1e-7, 1e17, 123_456.789][rng.below(6) as usize].into(),
        "int32" => [0, 1, -1, i32::MIN, i32::MAX][rng.below(5) as usize].into(),
        "int64" => [0, 1, -1, i64::MIN, i64::MAX][rng.below(5) as usize].into(),
        "uint32" => [0, 1, u32::MAX][rng.below(3) as usize].into(),
        "uint64" => [0, 1, u64::MAX][rng.below(3) as usize].into(),
        name => match wire::enum_values(name) {
            Some(values) => values[rng.below(values.len() as u64) as usize].0.into(),
            None => generate(name, rng, depth + 1),
        },
    }
}

fn check<M: wire::Message>() {
    let name = M::full_name();
    let mut rng = Rng::new(42);
    for _ in 0..50 {
        let json = generate(&name, &mut rng, 0);
        let message: M =
            wire::json::from_value(&json).unwrap_or_else(|e| panic!("{name}: {e}\n{json:#}"));
        let text = wire::json::to_vec(&message);
        let again: M = wire::json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(wire::json::to_vec(&again), text, "{name} in JSON: {json:#}");
        let bytes = wire::protobuf::to_vec(&message);
        let back: M = wire::protobuf::from_slice(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(back, message, "{name} in protobuf");
        let printed: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        for (key, value) in json.as_object().expect("an object") {
            // Of a oneof, which only internal messages have at the top, one member survives.
            if !name.starts_with("proffer.") && value.as_array().is_none_or(|a| !a.is_empty()) {
                assert!(
                    printed.get(key).is_some(),
                    "{name}.{key} is lost: {json:#} -> {printed:#}"
                );
            }
        }
    }
}

/// The outermost messages; every other message is inside one of them.
#[test]
fn every_message_survives_both_encodings() {
    check::<v1::scheduler::Call>();
    check::<v1::scheduler::Event>();
    check::<v1::scheduler::Response>();
    check::<v1::executor::Call>();
    check::<v1::executor::Event>();
    check::<v1::master::Call>();
    check::<v1::master::Response>();
    check::<v1::master::Event>();
    check::<v1::agent::Call>();
    check::<v1::agent::Response>();
    check::<v1::agent::ProcessIo>();
    check::<v1::resource_provider::Call>();
    check::<v1::resource_provider::Event>();
    check::<v1::allocator::InverseOfferStatus>();
    check::<v1::quota::QuotaRequest>();
    check::<v1::maintenance::ClusterStatus>();
    check::<v1::TaskInfo>();
    check::<v1::Task>();
    check::<v1::Offer>();
    check::<v1::FrameworkInfo>();
    check::<v1::ContainerInfo>();
    check::<v1::Resource>();
    check::<v1::ResourceStatistics>();
    check::<internal::AgentToMaster>();
    check::<internal::MasterToAgent>();
    check::<internal::AgentRecord>();
}

#[test]
fn all_messages_of_the_v1_packages_are_there() {
    let count = wire::message_names().filter(|n| n.starts_with("mesos.v1.")).count();
    assert!(count > 290, "{count} messages");
}
