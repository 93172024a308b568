//! Protobuf bytes before the types of their fields are known.

use crate::DecodeError;
use crate::table::Field;

/// A value on the wire, before its type is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// A field of a message: its number, its value, and all of its bytes with the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) number: u32,
    pub(crate) value: Raw<'a>,
    pub(crate) bytes: &'a [u8],
}

/// The fields of a message in the order of its bytes. After an error it is at its end.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let before = std::mem::take(&mut self.rest);
        Some(entry(before).map(|(number, value, after)| {
            self.rest = after;
            Entry { number, value, bytes: &before[..before.len() - after.len()] }
        }))
    }
}

fn entry(bytes: &[u8]) -> Result<(u32, Raw<'_>, &[u8]), DecodeError> {
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

/// The first varint of `bytes` and what follows it.
pub(crate) fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte has room for one bit.
        if at == 9 && *byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[at + 1..]));
        }
    }
    Err(DecodeError::new("bad variable-length number"))
}

/// An enum or 32-bit value from its varint.
#[expect(clippy::cast_possible_truncation, reason = "as protobuf defines it")]
pub(crate) fn truncate(varint: u64) -> i32 {
    varint as i32
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, field: &Field, wire_type: u64) {
    put_varint(out, u64::from(field.number) << 3 | wire_type);
}

/// Appends a field that is a number other than a double.
pub(crate) fn put_number(out: &mut Vec<u8>, field: &Field, value: u64) {
    put_key(out, field, 0);
    put_varint(out, value);
}

/// Appends a field that is a double.
pub(crate) fn put_double(out: &mut Vec<u8>, field: &Field, value: f64) {
    put_key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field that is text, bytes or a message.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: &Field, value: &[u8]) {
    put_key(out, field, 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
