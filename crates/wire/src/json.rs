//! Mesos' own JSON mapping, which is not the canonical one of protobuf: field names as in the
//! .proto files, 64-bit integers as numbers, enums by name, bytes as base64, unset optional fields printed when they
//! have an explicit default.

mod read;
mod write;

use crate::{DecodeError, Message, table};

/// The message as JSON text.
#[must_use]
pub fn to_vec<M: Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write::message(table::Message::of::<M>(), &message.to_bytes(), &mut out);
    out
}

/// The message as JSON text.
#[must_use]
pub fn to_string<M: Message>(message: &M) -> String {
    String::from_utf8(to_vec(message)).expect("only text is written")
}

/// The message as a JSON value.
#[must_use]
pub fn to_value<M: Message>(message: &M) -> serde_json::Value {
    serde_json::from_slice(&to_vec(message)).expect("what is written is JSON")
}

/// The message in JSON text.
///
/// # Errors
/// When the text is not JSON, a field has the wrong type, or a required field is missing; with the field's path.
pub fn from_slice<M: Message>(text: &[u8]) -> Result<M, DecodeError> {
    let value = serde_json::from_slice(text).map_err(|e| DecodeError::new(e.to_string()))?;
    from_value(&value)
}

/// The message in a JSON value.
///
/// # Errors
/// As [`from_slice`].
pub fn from_value<M: Message>(value: &serde_json::Value) -> Result<M, DecodeError> {
    let mut bytes = Vec::new();
    read::message(table::Message::of::<M>(), value, &mut bytes, 0)?;
    M::from_bytes(&bytes).map_err(|e| DecodeError::new(e.to_string()))
}
