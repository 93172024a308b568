//! JSON to protobuf bytes.

use crate::DecodeError;
use crate::protobuf::{put_varint, segment};
use crate::table::{DEPTH_MAX, ENUMS, Field, Kind, Label, MESSAGES, Message};
use base64::Engine as _;
use serde_json::Value;

/// Appends the message in `value` as protobuf.
pub(super) fn message(
    message: &'static Message,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::new(format!("more than {DEPTH_MAX} messages inside each other")));
    }
    let Value::Object(members) = value else { return Err(expected("an object", value)) };
    let mut seen = 0_u64;
    for (name, value) in members {
        let Some(at) = message.fields.iter().position(|f| f.name == name) else { continue };
        if value.is_null() {
            continue;
        }
        let field = &message.fields[at];
        if set(field, value, out, depth)? {
            seen |= 1 << at;
        }
    }
    let missing = message
        .fields
        .iter()
        .enumerate()
        .find(|(at, f)| f.label == Label::Required && seen & (1 << at) == 0);
    match missing {
        Some((_, field)) => Err(DecodeError::new("required field is missing").within(field.name)),
        None => Ok(()),
    }
}

/// Appends one field; false if its value counts as unset.
fn set(
    field: &'static Field,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<bool, DecodeError> {
    if field.label != Label::Repeated {
        return one(field, value, out, depth).map_err(|e| e.within(field.name));
    }
    if let Kind::Message(at) = field.kind
        && MESSAGES[at].is_map
    {
        return map(field, &MESSAGES[at], value, out, depth);
    }
    let Value::Array(items) = value else {
        return Err(expected("an array", value).within(field.name));
    };
    for (index, item) in items.iter().enumerate() {
        one(field, item, out, depth).map_err(|e| e.within(&segment(field, index)))?;
    }
    Ok(!items.is_empty())
}

fn map(
    field: &'static Field,
    entry: &'static Message,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<bool, DecodeError> {
    let Value::Object(members) = value else {
        return Err(expected("an object", value).within(field.name));
    };
    let (Some(key_field), Some(value_field)) =
        (entry.field_named("key"), entry.field_named("value"))
    else {
        return Ok(false);
    };
    for (key, value) in members {
        let mut pair = Vec::new();
        let within = |e: DecodeError| e.within(&format!("[\"{key}\"]")).within(field.name);
        one(key_field, &Value::String(key.clone()), &mut pair, depth + 1).map_err(within)?;
        one(value_field, value, &mut pair, depth + 1).map_err(within)?;
        put_bytes(field, &pair, out);
    }
    Ok(!members.is_empty())
}

/// Appends one value; false if it counts as unset.
fn one(
    field: &'static Field,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<bool, DecodeError> {
    match field.kind {
        Kind::Double => {
            let number = double(value)?;
            key(field, 1, out);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Int64 => put_number(field, integer::<i64>(value)?.cast_unsigned(), out),
        Kind::Uint64 => put_number(field, integer::<u64>(value)?, out),
        Kind::Int32 => put_number(field, i64::from(integer::<i32>(value)?).cast_unsigned(), out),
        Kind::Uint32 => put_number(field, u64::from(integer::<u32>(value)?), out),
        Kind::Bool => put_number(field, u64::from(boolean(value)?), out),
        Kind::String => {
            let Value::String(text) = value else { return Err(expected("a string", value)) };
            put_bytes(field, text.as_bytes(), out);
        }
        Kind::Bytes => {
            let Value::String(text) = value else { return Err(expected("a base64 string", value)) };
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            put_bytes(
                field,
                &bytes.map_err(|e| DecodeError::new(format!("expected base64: {e}")))?,
                out,
            );
        }
        Kind::Enum(at) => {
            let Value::String(name) = value else {
                return Err(expected("the name of an enum value", value));
            };
            match ENUMS[at].number(name) {
                Some(number) => put_number(field, i64::from(number).cast_unsigned(), out),
                None if field.label == Label::Required => {
                    return Err(DecodeError::new(format!(
                        "'{name}' is not a value of {}",
                        ENUMS[at].name
                    )));
                }
                None => return Ok(false),
            }
        }
        Kind::Message(at) => {
            let mut bytes = Vec::new();
            message(&MESSAGES[at], value, &mut bytes, depth + 1)?;
            put_bytes(field, &bytes, out);
        }
    }
    Ok(true)
}

fn expected(what: &str, got: &Value) -> DecodeError {
    let kind = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    DecodeError::new(format!("expected {what}, got {kind}"))
}

fn double(value: &Value) -> Result<f64, DecodeError> {
    match value {
        Value::Number(number) => number.as_f64().ok_or_else(|| expected("a number", value)),
        Value::String(text) => match text.as_str() {
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            "NaN" => Ok(f64::NAN),
            number => number
                .parse()
                .map_err(|_| DecodeError::new(format!("expected a number, got '{number}'"))),
        },
        other => Err(expected("a number", other)),
    }
}

fn integer<T: TryFrom<i128>>(value: &Value) -> Result<T, DecodeError> {
    let wide = match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(n), _, _) => Some(i128::from(n)),
            (None, Some(n), _) => Some(i128::from(n)),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole and within the checked range"
            )]
            (None, None, Some(n)) if n.fract() == 0.0 && n.abs() < 1e19 => Some(n as i128),
            _ => None,
        },
        Value::String(text) => text.parse().ok(),
        other => return Err(expected("an integer", other)),
    };
    let fits = wide.and_then(|n| T::try_from(n).ok());
    fits.ok_or_else(|| {
        DecodeError::new(format!("expected an integer that fits the field, got {value}"))
    })
}

fn boolean(value: &Value) -> Result<bool, DecodeError> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(expected("a boolean", other)),
    }
}

fn key(field: &Field, wire_type: u64, out: &mut Vec<u8>) {
    put_varint(out, u64::from(field.number) << 3 | wire_type);
}

fn put_number(field: &Field, value: u64, out: &mut Vec<u8>) {
    key(field, 0, out);
    put_varint(out, value);
}

fn put_bytes(field: &Field, bytes: &[u8], out: &mut Vec<u8>) {
    key(field, 2, out);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
