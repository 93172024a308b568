//! Protobuf bytes to JSON.

use crate::protobuf::{Raw, entry, truncate};
use crate::table::{ENUMS, Field, Kind, Label, MESSAGES, Message};
use base64::Engine as _;
use std::io::Write as _;

/// Writes the message in `bytes`, which prost has encoded.
pub(super) fn message(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    let mut values: Vec<(u32, Raw<'_>)> = Vec::with_capacity(8);
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok((number, value, after)) = entry(rest) else { break };
        values.push((number, value));
        rest = after;
    }
    out.push(b'{');
    let start = out.len();
    for field in message.fields {
        let mut of_field =
            values.iter().filter(|(n, _)| *n == field.number).map(|(_, v)| *v).peekable();
        if of_field.peek().is_none() {
            if let Some(default) = field.default.filter(|_| field.label == Label::Optional) {
                name(field, start, out);
                self::default(field, default, out);
            }
            continue;
        }
        match field.label {
            Label::Repeated if is_map(field) => {
                name(field, start, out);
                map(field, of_field, out);
            }
            Label::Repeated => {
                let before = out.len();
                name(field, start, out);
                out.push(b'[');
                let first = out.len();
                for value in of_field {
                    let at = out.len();
                    if at > first {
                        out.push(b',');
                    }
                    if !scalar(field, value, out) {
                        out.truncate(at);
                    }
                }
                if out.len() == first {
                    out.truncate(before);
                } else {
                    out.push(b']');
                }
            }
            Label::Optional | Label::Required => {
                let before = out.len();
                name(field, start, out);
                // Of a field that is there twice, the last one counts.
                if !of_field.last().is_some_and(|value| scalar(field, value, out)) {
                    out.truncate(before);
                }
            }
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

fn is_map(field: &Field) -> bool {
    matches!(field.kind, Kind::Message(at) if MESSAGES[at].is_map)
}

/// Writes one value; false if it has no JSON form (an enum number without a name).
fn scalar(field: &Field, value: Raw<'_>, out: &mut Vec<u8>) -> bool {
    match (field.kind, value) {
        (Kind::Double, Raw::Fixed64(bits)) => double(f64::from_bits(bits), out),
        (Kind::Int64, Raw::Varint(v)) => print(out, format_args!("{}", v.cast_signed())),
        (Kind::Uint64, Raw::Varint(v)) => print(out, format_args!("{v}")),
        (Kind::Int32, Raw::Varint(v)) => print(out, format_args!("{}", truncate(v))),
        (Kind::Uint32, Raw::Varint(v)) => {
            print(out, format_args!("{}", truncate(v).cast_unsigned()))
        }
        (Kind::Bool, Raw::Varint(v)) => {
            out.extend_from_slice(if v == 0 { b"false" } else { b"true" })
        }
        (Kind::String, Raw::Bytes(v)) => string(&String::from_utf8_lossy(v), out),
        (Kind::Bytes, Raw::Bytes(v)) => {
            out.push(b'"');
            out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(v).as_bytes());
            out.push(b'"');
        }
        (Kind::Enum(at), Raw::Varint(v)) => {
            let Some(name) = ENUMS[at].name_of(truncate(v)) else { return false };
            print(out, format_args!("\"{name}\""));
        }
        (Kind::Message(at), Raw::Bytes(v)) => message(&MESSAGES[at], v, out),
        _ => return false,
    }
    true
}

fn default(field: &Field, default: &str, out: &mut Vec<u8>) {
    match field.kind {
        Kind::String | Kind::Enum(_) => string(default.trim_matches('"'), out),
        _ => out.extend_from_slice(default.as_bytes()),
    }
}

fn map<'a>(field: &Field, entries: impl Iterator<Item = Raw<'a>>, out: &mut Vec<u8>) {
    let Kind::Message(at) = field.kind else { return };
    let table = &MESSAGES[at];
    out.push(b'{');
    let first = out.len();
    for pair in entries {
        let Raw::Bytes(mut rest) = pair else { continue };
        let (mut key, mut value) = (String::new(), None);
        while let Ok((number, raw, after)) = entry(rest) {
            match (number, raw) {
                (1, Raw::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                (2, raw) => value = Some(raw),
                _ => {}
            }
            rest = after;
        }
        if out.len() > first {
            out.push(b',');
        }
        string(&key, out);
        out.push(b':');
        let Some(field) = table.field(2) else { continue };
        match value {
            Some(value) if scalar(field, value, out) => {}
            // A value equal to the default is not on the wire.
            _ => empty(field, out),
        }
    }
    out.push(b'}');
}

/// Writes the default value of a type, with what is required inside it.
fn empty(field: &Field, out: &mut Vec<u8>) {
    match field.kind {
        Kind::Double => out.extend_from_slice(b"0.0"),
        Kind::Int64 | Kind::Uint64 | Kind::Int32 | Kind::Uint32 => out.push(b'0'),
        Kind::Bool => out.extend_from_slice(b"false"),
        Kind::String | Kind::Bytes => out.extend_from_slice(b"\"\""),
        Kind::Enum(at) => string(ENUMS[at].values.first().map_or("", |(name, _)| name), out),
        Kind::Message(at) => {
            out.push(b'{');
            let start = out.len();
            for field in MESSAGES[at].fields.iter().filter(|f| f.label == Label::Required) {
                name(field, start, out);
                empty(field, out);
            }
            out.push(b'}');
        }
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A double: whole numbers as `1.0`; what JSON can't express as the text that is accepted on input.
fn double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    } else {
        let _ = serde_json::to_writer(out, &value);
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}
