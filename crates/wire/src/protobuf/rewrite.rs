//! Changes to protobuf bytes which the structs of prost can't express.

use super::raw::{Entries, Raw, put_bytes, put_double, put_number, truncate, varint};
use crate::table::{ENUMS, Field, Kind, Label, MESSAGES, Message};

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Enum values that are not known are left out, so that the field is unset.
    DropUnknownEnums,
    /// A map's value that prost left out because it is the default is written: others take a message that lacks its
    /// required fields for incomplete.
    FillMaps,
}

/// The message in `bytes`, which have been checked or written by prost, with the change at every level.
pub(super) fn message(message: &'static Message, bytes: &[u8], change: Change) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut has_value = false;
    for entry in Entries::of(bytes).flatten() {
        let field = message.position(entry.number).map(|at| &message.fields[at]);
        has_value |= entry.number == 2;
        match (field.map(|f| (f, f.kind)), entry.value) {
            (Some((field, Kind::Message(at))), Raw::Bytes(value))
                if change == Change::DropUnknownEnums || MESSAGES[at].fill_maps =>
            {
                put_bytes(&mut out, field, &self::message(&MESSAGES[at], value, change));
            }
            (Some((field, Kind::Enum(_))), Raw::Varint(number))
                if change == Change::DropUnknownEnums =>
            {
                put_known(&mut out, field, number);
            }
            (Some((field, Kind::Enum(_))), Raw::Bytes(mut packed))
                if change == Change::DropUnknownEnums =>
            {
                while let Ok((number, rest)) = varint(packed) {
                    put_known(&mut out, field, number);
                    packed = rest;
                }
            }
            _ => out.extend_from_slice(entry.bytes),
        }
    }
    if message.fill_maps && message.is_map && !has_value {
        put_default(&mut out, &message.fields[1]);
    }
    out
}

fn put_known(out: &mut Vec<u8>, field: &Field, number: u64) {
    if let Kind::Enum(at) = field.kind
        && ENUMS[at].name_of(truncate(number)).is_some()
    {
        put_number(out, field, number);
    }
}

/// Appends the default value of a field's type, with what is required inside it.
pub(crate) fn put_default(out: &mut Vec<u8>, field: &Field) {
    match field.kind {
        Kind::Double => put_double(out, field, 0.0),
        Kind::Int64 | Kind::Uint64 | Kind::Int32 | Kind::Uint32 | Kind::Bool => {
            put_number(out, field, 0);
        }
        Kind::Enum(at) => {
            let first = ENUMS[at].values.first().map_or(0, |(_, number)| *number);
            put_number(out, field, i64::from(first).cast_unsigned());
        }
        Kind::String | Kind::Bytes => put_bytes(out, field, &[]),
        Kind::Message(at) => {
            let mut inside = Vec::new();
            for field in MESSAGES[at].fields.iter().filter(|f| f.label == Label::Required) {
                put_default(&mut inside, field);
            }
            put_bytes(out, field, &inside);
        }
    }
}
