//! JSON to protobuf bytes.

use crate::DecodeError;
use crate::protobuf::raw::{put_bytes, put_double, put_number};
use crate::table::{DEPTH_MAX, ENUMS, Field, Kind, Label, MESSAGES, Message};
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Number, Value};

/// Standard base64, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

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
    let is_missing = |f: &&Field| f.label == Label::Required && get(members, f).is_none();
    if let Some(field) = message.fields.iter().find(is_missing) {
        return Err(DecodeError::new("required field is missing").within(field.name));
    }
    for field in message.fields {
        if let Some(value) = get(members, field) {
            set(field, value, out, depth)?;
        }
    }
    Ok(())
}

/// The value of a field; null is as good as absent.
fn get<'a>(members: &'a Map<String, Value>, field: &Field) -> Option<&'a Value> {
    members.get(field.name).filter(|v| !v.is_null())
}

fn set(
    field: &'static Field,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), DecodeError> {
    if let Some(entry) = field.map_entry() {
        return map(field, entry, value, out, depth).map_err(|e| e.within(field.name));
    }
    match value {
        Value::Array(items) if field.label == Label::Repeated => {
            for (index, item) in items.iter().enumerate().filter(|(_, i)| !i.is_null()) {
                let within = |e: DecodeError| e.within(&format!("[{index}]")).within(field.name);
                one(field, item, out, depth).map_err(within)?;
            }
            Ok(())
        }
        // A repeated field takes one element without brackets too.
        single => one(field, single, out, depth).map_err(|e| e.within(field.name)),
    }
}

fn map(
    field: &'static Field,
    entry: &'static Message,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), DecodeError> {
    let Value::Object(members) = value else { return Err(expected("an object", value)) };
    let [key_field, value_field] = entry.fields else { return Ok(()) };
    for (key, value) in members {
        let mut pair = Vec::new();
        put_bytes(&mut pair, key_field, key.as_bytes());
        let unset = match value_field.kind {
            Kind::Message(_) => Some(Value::Object(Map::new())),
            _ => None,
        };
        if let Some(value) = if value.is_null() { unset.as_ref() } else { Some(value) } {
            let within = |e: DecodeError| e.within(&format!("[{key:?}]"));
            one(value_field, value, &mut pair, depth + 1).map_err(within)?;
        }
        put_bytes(out, field, &pair);
    }
    Ok(())
}

/// Appends one value. An enum name that is not known appends nothing.
fn one(
    field: &'static Field,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), DecodeError> {
    match field.kind {
        Kind::Double => put_double(out, field, double(value)?),
        Kind::Int64 => put_number(out, field, integer::<i64>(value)?.cast_unsigned()),
        Kind::Uint64 => put_number(out, field, integer(value)?),
        Kind::Int32 => put_number(out, field, i64::from(integer::<i32>(value)?).cast_unsigned()),
        Kind::Uint32 => put_number(out, field, u64::from(integer::<u32>(value)?)),
        Kind::Bool => put_number(out, field, u64::from(boolean(value)?)),
        Kind::String => {
            let Value::String(text) = value else { return Err(expected("a string", value)) };
            put_bytes(out, field, text.as_bytes());
        }
        Kind::Bytes => put_bytes(out, field, &bytes(value)?),
        Kind::Enum(at) => {
            let Value::String(name) = value else {
                return Err(expected("the name of an enum value", value));
            };
            match ENUMS[at].number(name) {
                Some(number) => put_number(out, field, i64::from(number).cast_unsigned()),
                None if field.label == Label::Required => {
                    let of = ENUMS[at].name;
                    return Err(DecodeError::new(format!("'{name}' is not a value of {of}")));
                }
                None => {}
            }
        }
        Kind::Message(at) => {
            let mut inside = Vec::new();
            message(&MESSAGES[at], value, &mut inside, depth + 1)?;
            put_bytes(out, field, &inside);
        }
    }
    Ok(())
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

/// The number in a number or in a string that holds one as JSON writes it.
fn number(value: &Value, what: &str) -> Result<Number, DecodeError> {
    match value {
        Value::Number(number) => Ok(number.clone()),
        Value::String(text) => serde_json::from_str(text)
            .map_err(|_| DecodeError::new(format!("expected {what}, got '{text}'"))),
        other => Err(expected(what, other)),
    }
}

fn double(value: &Value) -> Result<f64, DecodeError> {
    match value.as_str() {
        Some("Infinity") => Ok(f64::INFINITY),
        Some("-Infinity") => Ok(f64::NEG_INFINITY),
        // JSON has no other number that is not finite.
        _ => number(value, "a number")?.as_f64().ok_or_else(|| expected("a number", value)),
    }
}

/// An integer; of a number with a fraction the whole part, as in Mesos.
fn integer<T: TryFrom<i128>>(value: &Value) -> Result<T, DecodeError> {
    let number = number(value, "an integer")?;
    let wide = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(n), _, _) => Some(i128::from(n)),
        (None, Some(n), _) => Some(i128::from(n)),
        #[expect(clippy::cast_possible_truncation, reason = "within the checked range")]
        (None, None, Some(n)) if n.abs() < 1e20 => Some(n as i128),
        _ => None,
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

/// Bytes in standard base64. White space and what follows the first `=` do not count.
fn bytes(value: &Value) -> Result<Vec<u8>, DecodeError> {
    let Value::String(text) = value else { return Err(expected("a base64 string", value)) };
    let digits = text.split('=').next().unwrap_or_default();
    let decoded = if digits.bytes().any(|b| b.is_ascii_whitespace()) {
        BASE64.decode(digits.split_ascii_whitespace().collect::<String>())
    } else {
        BASE64.decode(digits)
    };
    decoded.map_err(|e| DecodeError::new(format!("expected standard base64: {e}")))
}
