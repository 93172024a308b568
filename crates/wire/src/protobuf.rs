//! The protobuf encoding, with the check for required fields that prost does not do.

use crate::table::{DEPTH_MAX, ENUMS, Field, Kind, Label, MESSAGES, Message};
use crate::{DecodeError, Message as AnyMessage};

/// The message as bytes.
#[must_use]
pub fn to_vec<M: AnyMessage>(message: &M) -> Vec<u8> {
    message.encode_to_vec()
}

/// The message in `bytes`.
///
/// # Errors
/// When the bytes are not protobuf, a field has the wrong wire type, a required field is missing (or holds an enum
/// value that is not known), or the nesting is too deep; with the path of the first such field.
pub fn from_slice<M: AnyMessage>(bytes: &[u8]) -> Result<M, DecodeError> {
    check(Message::of::<M>(), bytes, 0)?;
    M::decode(bytes).map_err(|e| DecodeError::new(e.to_string()))
}

/// Checks that the required fields of a message in `bytes` are there, at every level.
fn check(message: &'static Message, bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::new(format!("more than {DEPTH_MAX} messages inside each other")));
    }
    let mut seen = 0_u64;
    let mut counts: Vec<(u32, usize)> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, value, after) = entry(rest)?;
        rest = after;
        let Some(at) = message.fields.iter().position(|f| f.number == number) else { continue };
        let field = &message.fields[at];
        let index = index_of(&mut counts, field);
        match (field.kind, value) {
            (Kind::Message(child), Raw::Bytes(bytes)) => {
                check(&MESSAGES[child], bytes, depth + 1)
                    .map_err(|e| e.within(&segment(field, index)))?;
            }
            // An unknown value counts as unset.
            (Kind::Enum(at), Raw::Varint(number))
                if ENUMS[at].name_of(truncate(number)).is_none() =>
            {
                continue;
            }
            _ => {}
        }
        seen |= 1 << at;
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

/// Index of this occurrence of a repeated field.
fn index_of(counts: &mut Vec<(u32, usize)>, field: &Field) -> usize {
    if field.label != Label::Repeated {
        return 0;
    }
    if let Some((_, count)) = counts.iter_mut().find(|(n, _)| *n == field.number) {
        *count += 1;
        return *count;
    }
    counts.push((field.number, 0));
    0
}

/// A field's segment of a path.
pub(crate) fn segment(field: &Field, index: usize) -> String {
    match field.label {
        Label::Repeated => format!("{}[{index}]", field.name),
        Label::Optional | Label::Required => field.name.to_owned(),
    }
}

/// A value on the wire, before its type is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// An enum or 32-bit value from its varint.
#[expect(clippy::cast_possible_truncation, reason = "as protobuf defines it")]
pub(crate) fn truncate(varint: u64) -> i32 {
    varint as i32
}

/// The first field of `bytes` and what follows it.
pub(crate) fn entry(bytes: &[u8]) -> Result<(u32, Raw<'_>, &[u8]), DecodeError> {
    let (key, rest) = varint(bytes)?;
    let number = u32::try_from(key >> 3)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| DecodeError::new("bad field number"))?;
    let short = || DecodeError::new("the message ends within a field");
    Ok(match key & 7 {
        0 => {
            let (value, rest) = varint(rest)?;
            (number, Raw::Varint(value), rest)
        }
        1 => {
            let (value, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            (number, Raw::Fixed64(u64::from_le_bytes(*value)), rest)
        }
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).map_err(|_| short())?;
            let (value, rest) = rest.split_at_checked(length).ok_or_else(short)?;
            (number, Raw::Bytes(value), rest)
        }
        5 => {
            let (_, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            (number, Raw::Fixed32, rest)
        }
        other => return Err(DecodeError::new(format!("bad wire type {other}"))),
    })
}

pub(crate) fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[at + 1..]));
        }
    }
    Err(DecodeError::new("bad variable-length number"))
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
