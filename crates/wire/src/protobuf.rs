//! The protobuf encoding, with what prost's leaves out: required fields are checked, an enum value that is not known
//! is as good as unset (proto2), and an error names its field.

mod check;
pub(crate) mod raw;
mod rewrite;

use crate::{DecodeError, Message, table};
use rewrite::Change;
pub(crate) use rewrite::put_default;

/// The message as bytes.
#[must_use]
pub fn to_vec<M: Message>(message: &M) -> Vec<u8> {
    let bytes = message.to_bytes();
    let table = table::Message::of::<M>();
    if table.fill_maps { rewrite::message(table, &bytes, Change::FillMaps) } else { bytes }
}

/// The message in `bytes`.
///
/// # Errors
/// When the bytes are not protobuf, a field has the wrong wire type, text is not UTF-8, a required field is missing
/// (or holds an enum value that is not known), or the nesting is too deep; with the path of the first such field.
pub fn from_slice<M: Message>(bytes: &[u8]) -> Result<M, DecodeError> {
    let table = table::Message::of::<M>();
    let decoded = if check::message(table, bytes, 0)?.has_unknown_enum {
        M::from_bytes(&rewrite::message(table, bytes, Change::DropUnknownEnums))
    } else {
        M::from_bytes(bytes)
    };
    decoded.map_err(|e| DecodeError::new(e.to_string()))
}
