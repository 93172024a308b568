//! The pass over protobuf bytes before prost sees them.

use super::raw::{Entries, Entry, Raw, truncate, varint};
use crate::DecodeError;
use crate::table::{DEPTH_MAX, ENUMS, Field, Kind, Label, MESSAGES, Message};

/// What is known of bytes that hold a message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checked {
    /// Somewhere in it is an enum value that is not known; it counts as unset.
    pub(super) has_unknown_enum: bool,
}

/// Checks a message in `bytes` at every level. Its own fields come before what is inside them.
pub(super) fn message(
    message: &'static Message,
    bytes: &[u8],
    depth: usize,
) -> Result<Checked, DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::new(format!("more than {DEPTH_MAX} messages inside each other")));
    }
    let mut checked = Checked::default();
    let mut seen = 0_u64;
    let mut several = 0_u64;
    let mut has_children = false;
    for entry in Entries::of(bytes) {
        let entry = entry?;
        let Some(at) = message.position(entry.number) else { continue };
        let field = &message.fields[at];
        if !is_known(field, entry.value).map_err(|e| e.within(&segment(field, &entry, bytes)))? {
            checked.has_unknown_enum = true;
            continue;
        }
        if matches!(field.kind, Kind::Message(_)) {
            has_children = true;
            if field.label != Label::Repeated {
                several |= seen & (1 << at);
            }
        }
        seen |= 1 << at;
    }
    let is_missing =
        |(at, f): &(usize, &Field)| f.label == Label::Required && seen & (1 << at) == 0;
    if let Some((_, field)) = message.fields.iter().enumerate().find(is_missing) {
        return Err(DecodeError::new("required field is missing").within(field.name));
    }
    if has_children {
        children(message, bytes, several, depth, &mut checked)?;
    }
    Ok(checked)
}

/// Checks the messages inside. `several`: fields of which there are several parts, that together are one message.
fn children(
    message: &'static Message,
    bytes: &[u8],
    several: u64,
    depth: usize,
    checked: &mut Checked,
) -> Result<(), DecodeError> {
    let mut merged = 0_u64;
    for entry in Entries::of(bytes) {
        let entry = entry?;
        let Some(at) = message.position(entry.number) else { continue };
        let field = &message.fields[at];
        let (Kind::Message(child), Raw::Bytes(value)) = (field.kind, entry.value) else { continue };
        let child = &MESSAGES[child];
        let inside = if several & (1 << at) == 0 {
            self::message(child, value, depth + 1)
        } else if merged & (1 << at) == 0 {
            merged |= 1 << at;
            self::message(child, &together(entry.number, bytes), depth + 1)
        } else {
            continue;
        };
        let inside = inside.map_err(|e| {
            // The path goes to a map's value by its key, not through the entry.
            let e = if child.is_map { e.without("value") } else { e };
            e.within(&segment(field, &entry, bytes))
        })?;
        checked.has_unknown_enum |= inside.has_unknown_enum;
    }
    Ok(())
}

/// All parts of a field: protobuf merges messages by joining their bytes.
fn together(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in Entries::of(bytes).flatten().filter(|e| e.number == number) {
        if let Raw::Bytes(part) = entry.value {
            all.extend_from_slice(part);
        }
    }
    all
}

/// Whether a value counts as set: all but enum values that are not known.
fn is_known(field: &Field, value: Raw<'_>) -> Result<bool, DecodeError> {
    match (field.kind, value) {
        (Kind::Enum(at), Raw::Varint(number)) => Ok(ENUMS[at].name_of(truncate(number)).is_some()),
        (Kind::String, Raw::Bytes(text)) if std::str::from_utf8(text).is_err() => {
            Err(DecodeError::new("expected text in UTF-8"))
        }
        (Kind::Double, Raw::Fixed64(_))
        | (Kind::Int64 | Kind::Uint64 | Kind::Int32 | Kind::Uint32 | Kind::Bool, Raw::Varint(_))
        | (Kind::String | Kind::Bytes | Kind::Message(_), Raw::Bytes(_)) => Ok(true),
        (_, Raw::Bytes(packed)) if field.label == Label::Repeated => all_known(field, packed),
        _ => Err(DecodeError::new("wrong wire type for the field's type")),
    }
}

/// As [`is_known`], for the numbers of a repeated field in one piece.
fn all_known(field: &Field, packed: &[u8]) -> Result<bool, DecodeError> {
    if field.kind == Kind::Double {
        return match packed.len() % 8 {
            0 => Ok(true),
            _ => Err(DecodeError::new("the message ends within a field")),
        };
    }
    let mut known = true;
    let mut rest = packed;
    while !rest.is_empty() {
        let (number, after) = varint(rest)?;
        known &= is_known(field, Raw::Varint(number))?;
        rest = after;
    }
    Ok(known)
}

/// The segment of a path for `entry` of the message in `bytes`.
fn segment(field: &Field, entry: &Entry<'_>, bytes: &[u8]) -> String {
    if field.label != Label::Repeated {
        return field.name.to_owned();
    }
    if let (Some(_), Raw::Bytes(pair)) = (field.map_entry(), entry.value) {
        let key = match Entries::of(pair).flatten().filter(|e| e.number == 1).last() {
            Some(Entry { value: Raw::Bytes(key), .. }) => String::from_utf8_lossy(key),
            _ => "".into(),
        };
        return format!("{}[{key:?}]", field.name);
    }
    let before = Entries::of(bytes).flatten().take_while(|e| !std::ptr::eq(e.bytes, entry.bytes));
    format!("{}[{}]", field.name, before.filter(|e| e.number == entry.number).count())
}
