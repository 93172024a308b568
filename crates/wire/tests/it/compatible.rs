//! Messages between masters and agents of this version and of the last one that has landed
//! (docs/decisions/014-rolling-upgrade.md).

use prost_reflect::{Cardinality, DescriptorPool, Kind, MessageDescriptor};
use std::collections::BTreeSet;

/// Every field and value of `proffer/internal.proto` as of the version that has landed last.
const LANDED: &str = include_str!("../golden/internal.txt");

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn lines(message: &MessageDescriptor, out: &mut BTreeSet<String>) {
    for field in message.fields() {
        let label = match field.cardinality() {
            Cardinality::Optional => "optional",
            Cardinality::Required => "required",
            Cardinality::Repeated => "repeated",
        };
        let (name, number, kind) = (message.full_name(), field.number(), kind(&field.kind()));
        out.insert(format!("{name} {number:>3} {label} {kind} {}", field.name()));
    }
    message.child_messages().for_each(|child| lines(&child, out));
}

fn now() -> BTreeSet<String> {
    let bytes = &include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"))[..];
    let pool = DescriptorPool::decode(bytes).expect("descriptors");
    let file = pool.get_file_by_name("proffer/internal.proto").expect("the file");
    let mut out = BTreeSet::new();
    file.messages().for_each(|message| lines(&message, &mut out));
    for of in file.enums() {
        let value = |v: prost_reflect::EnumValueDescriptor| {
            format!("{} {:>3} value enum {}", of.full_name(), v.number(), v.name())
        };
        out.extend(of.values().map(value));
    }
    out
}

/// What has landed stays as it is, and what is new may be left out: so each side understands the other.
#[test]
fn what_has_landed_stays_and_what_is_new_is_optional() {
    let now = now();
    let landed: BTreeSet<String> = LANDED.lines().map(str::to_owned).collect();
    let gone: Vec<&String> = landed.difference(&now).collect();
    assert!(gone.is_empty(), "the last version sends or expects these: {gone:#?}");
    let messages: BTreeSet<&str> = landed.iter().filter_map(|l| l.split(' ').next()).collect();
    for line in now.difference(&landed) {
        let message = line.split(' ').next().expect("a name");
        let known = messages.contains(message);
        assert!(
            !(known && line.contains(" required ")),
            "the last version does not send this: {line}"
        );
    }
    let all: Vec<&str> = now.iter().map(String::as_str).collect();
    println!("when a version has landed, tests/golden/internal.txt becomes:\n{}", all.join("\n"));
}
