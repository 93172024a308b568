//! Protobuf bytes to JSON.

use crate::protobuf::put_default;
use crate::protobuf::raw::{Entries, Raw, truncate};
use crate::table::{ENUMS, Field, Kind, Label, MESSAGES, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;

/// Writes the message in `bytes`, which prost has encoded.
pub(super) fn message(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    let mut values: Vec<(u32, Raw<'_>)> = Vec::with_capacity(8);
    values.extend(Entries::of(bytes).flatten().map(|e| (e.number, e.value)));
    out.push(b'{');
    let start = out.len();
    for field in message.fields {
        let mut of_field =
            values.iter().filter(|(n, _)| *n == field.number).map(|(_, v)| *v).peekable();
        if of_field.peek().is_none() {
            if let Some(default) = field.default.filter(|_| field.label == Label::Optional) {
                name(field, start, out);
                out.extend_from_slice(default.as_bytes());
            }
            continue;
        }
        let before = out.len();
        name(field, start, out);
        let written = match (field.map_entry(), field.label) {
            (Some(entry), _) => {
                map(entry, of_field, out);
                true
            }
            (None, Label::Repeated) => array(field, of_field, out),
            // Of a field that is there twice, the last one counts.
            (None, _) => of_field.last().is_some_and(|value| scalar(field, value, out)),
        };
        if !written {
            out.truncate(before);
        }
    }
    out.push(b'}');
}

fn name(field: &Field, start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes the values that have a JSON form; false if none has.
fn array<'a>(field: &Field, values: impl Iterator<Item = Raw<'a>>, out: &mut Vec<u8>) -> bool {
    out.push(b'[');
    let first = out.len();
    for value in values {
        let before = out.len();
        if before > first {
            out.push(b',');
        }
        if !scalar(field, value, out) {
            out.truncate(before);
        }
    }
    out.push(b']');
    out.len() > first + 1
}

/// Writes one value; false if it has no JSON form (an enum number without a name).
fn scalar(field: &Field, value: Raw<'_>, out: &mut Vec<u8>) -> bool {
    match (field.kind, value) {
        (Kind::Double, Raw::Fixed64(bits)) => double(f64::from_bits(bits), out),
        (Kind::Int64, Raw::Varint(v)) => print(out, format_args!("{}", v.cast_signed())),
        (Kind::Uint64, Raw::Varint(v)) => print(out, format_args!("{v}")),
        (Kind::Int32, Raw::Varint(v)) => print(out, format_args!("{}", truncate(v))),
        (Kind::Uint32, Raw::Varint(v)) => {
            print(out, format_args!("{}", truncate(v).cast_unsigned()));
        }
        (Kind::Bool, Raw::Varint(v)) => {
            out.extend_from_slice(if v == 0 { b"false" } else { b"true" });
        }
        (Kind::String, Raw::Bytes(v)) => string(&String::from_utf8_lossy(v), out),
        (Kind::Bytes, Raw::Bytes(v)) => {
            out.push(b'"');
            let start = out.len();
            out.resize(start + v.len().div_ceil(3) * 4, 0);
            let _ = STANDARD.encode_slice(v, &mut out[start..]);
            out.push(b'"');
        }
        (Kind::Enum(at), Raw::Varint(v)) => {
            let Some(name) = ENUMS[at].name_of(truncate(v)) else { return false };
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
        (Kind::Message(at), Raw::Bytes(v)) => message(&MESSAGES[at], v, out),
        _ => return false,
    }
    true
}

fn map<'a>(entry: &'static Message, pairs: impl Iterator<Item = Raw<'a>>, out: &mut Vec<u8>) {
    let [key_field, value_field] = entry.fields else { return };
    out.push(b'{');
    let first = out.len();
    for pair in pairs {
        let Raw::Bytes(pair) = pair else { continue };
        let (mut key, mut value) = (&b""[..], None);
        for entry in Entries::of(pair).flatten() {
            match entry.value {
                Raw::Bytes(text) if entry.number == key_field.number => key = text,
                other if entry.number == value_field.number => value = Some(other),
                _ => {}
            }
        }
        if out.len() > first {
            out.push(b',');
        }
        string(&String::from_utf8_lossy(key), out);
        out.push(b':');
        if !value.is_some_and(|value| scalar(value_field, value, out)) {
            default(value_field, out);
        }
    }
    out.push(b'}');
}

/// Writes a map's value that prost left out because it is the default.
fn default(field: &Field, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    put_default(&mut bytes, field);
    if let Some(Ok(entry)) = Entries::of(&bytes).next() {
        scalar(field, entry.value, out);
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A double: whole numbers as `1.0`, exponents only where Mesos has them. What JSON can't express is text: the
/// infinities are accepted on input, NaN is not.
fn double(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        print(out, format_args!("{value:e}"));
    } else if value.fract() == 0.0 {
        print(out, format_args!("{value}.0"));
    } else {
        print(out, format_args!("{value}"));
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}
