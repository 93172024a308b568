//! Every message, filled with generated values, survives both encodings.

use base::Rng;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions, prost::Message as _};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The descriptors of the same .proto files, for a codec that is not ours.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes = &include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"))[..];
    DescriptorPool::decode(bytes).expect("descriptors")
});

const DURATION: &str = "google.protobuf.Duration";

/// Makes messages as JSON with random fields set.
struct Generator {
    rng: Rng,
    /// Durations are the one type that protobuf's own JSON writes in another form.
    with_durations: bool,
}

impl Generator {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.rng.below(end as u64)).expect("small")
    }

    fn message(&mut self, name: &str, depth: usize) -> Value {
        let mut members = serde_json::Map::new();
        for field in wire::schema(name).expect("a known message") {
            let inner = wire::schema(&field.kind);
            let is_message = inner.is_ok();
            let is_map = is_message && !wire::message_names().any(|n| n == field.kind);
            let optional = field.label != "required";
            let too_deep = is_message && depth > 3;
            if optional && (too_deep || self.rng.chance(1, 3))
                || field.kind == DURATION && !self.with_durations
                || in_oneof(name, field.name) && members.keys().any(|other| in_oneof(name, other))
            {
                continue;
            }
            let value = if is_map {
                let value = &inner.expect("an entry")[1].kind;
                json!({"": self.value(value, depth + 1), "ü\"": self.value(value, depth + 1)})
            } else if field.label == "repeated" {
                json!([self.value(&field.kind, depth), self.value(&field.kind, depth)])
            } else {
                self.value(&field.kind, depth)
            };
            members.insert(field.name.to_owned(), value);
        }
        Value::Object(members)
    }

    fn value(&mut self, kind: &str, depth: usize) -> Value {
        match kind {
            "string" => ["", "x", "ä\"\\\n\u{1}", "a/b"][self.below(4)].into(),
            "bytes" => ["", "AP8=", "AAAA"][self.below(3)].into(),
            "bool" => self.rng.chance(1, 2).into(),
            "double" => match self.below(9) {
                0 => "Infinity".into(),
                1 => "-Infinity".into(),
                at => [0.0, 1.0, -2.5, 1e-7, 2e-6, 1e17, 123_456.789][at - 2].into(),
            },
            "int32" => [0, 1, -1, i32::MIN, i32::MAX][self.below(5)].into(),
            "int64" => [0, 1, -1, i64::MIN, i64::MAX][self.below(5)].into(),
            "uint32" => [0, 1, u32::MAX][self.below(3)].into(),
            "uint64" => [0, 1, u64::MAX][self.below(3)].into(),
            // Of this type, zeros are not on the wire.
            DURATION => json!({"seconds": -1 - self.below(9) as i64, "nanos": 1 + self.below(9)}),
            name => match wire::enum_values(name) {
                Some(values) => values[self.below(values.len())].0.into(),
                None => self.message(name, depth + 1),
            },
        }
    }
}

/// Of the fields of a oneof one can be set. Only internal messages have one, each at most one.
fn in_oneof(message: &str, field: &str) -> bool {
    let message = POOL.get_message_by_name(message).expect("a known message");
    message.get_field_by_name(field).is_some_and(|f| f.containing_oneof().is_some())
}

/// `printed` has all of `given`, and else only defaults that are printed for unset fields.
#[track_caller]
fn check_printed(name: &str, given: &Value, printed: &Value) {
    match (given, printed) {
        (Value::Object(given), Value::Object(printed)) => {
            for (key, value) in given {
                let got = printed.get(key).unwrap_or_else(|| panic!("{name}: {key} is lost"));
                check_printed(name, value, got);
            }
            for (key, value) in printed.iter().filter(|(k, _)| !given.contains_key(*k)) {
                assert!(!value.is_object() && !value.is_array(), "{name}: {key} came from nowhere");
            }
        }
        (Value::Array(given), Value::Array(printed)) => {
            assert_eq!(given.len(), printed.len(), "{name}");
            given.iter().zip(printed).for_each(|(g, p)| check_printed(name, g, p));
        }
        _ => assert_eq!(given, printed, "{name}"),
    }
}

fn check<M: wire::Message>(rng: &mut Rng) {
    let name = &M::full_name();
    let descriptor = POOL.get_message_by_name(name).expect("the same messages");
    for round in 0..10 {
        let with_durations = round % 2 == 0 || *name == DURATION;
        let mut generator = Generator { rng: Rng::new(rng.next_u64()), with_durations };
        let given = match name.as_str() {
            DURATION => generator.value(DURATION, 0),
            _ => generator.message(name, 0),
        };
        let message: M =
            wire::json::from_value(&given).unwrap_or_else(|e| panic!("{name}: {e}\n{given:#}"));

        let text = wire::json::to_vec(&message);
        let printed: Value = serde_json::from_slice(&text).expect("JSON");
        check_printed(name, &given, &printed);
        let again: M = wire::json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(wire::json::to_vec(&again), text, "{name} in JSON: {given:#}");

        let bytes = wire::protobuf::to_vec(&message);
        let back: M = wire::protobuf::from_slice(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(back, message, "{name} in protobuf");

        let other = DynamicMessage::decode(descriptor.clone(), &bytes[..]).expect("the same bytes");
        assert_eq!(other.unknown_fields().count(), 0, "{name}");
        let back: M = wire::protobuf::from_slice(&other.encode_to_vec())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(back, message, "{name} through the other codec");
        if !with_durations {
            let options =
                SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
            let theirs = other
                .serialize_with_options(serde_json::value::Serializer, &options)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            check_printed(name, &given, &theirs);
            check_printed(name, &theirs, &printed);
        }
    }
}

macro_rules! each_message {
    ($($at:literal $($message:ident)::+,)*) => {
        const COUNT: usize = [$($at),*].len();
        const CHECKS: [fn(&mut Rng); COUNT] = [$(check::<wire::$($message)::+>),*];
    };
}

include!(concat!(env!("OUT_DIR"), "/each_message.rs"));

#[test]
fn every_message_survives_both_encodings() {
    let mut rng = Rng::new(42);
    CHECKS.iter().for_each(|check| check(&mut rng));
}

#[test]
fn all_messages_of_the_v1_packages_are_there() {
    // Proffer's own besides those of the peer.
    let own = ["mesos.v1.master.Call.Subscribe"];
    let v1 = || wire::message_names().filter(|n| n.starts_with("mesos.v1."));
    assert_eq!(v1().filter(|name| own.contains(name)).count(), own.len());
    assert_eq!(v1().count() - own.len(), 351);
    assert_eq!(wire::message_names().count(), COUNT);
}
