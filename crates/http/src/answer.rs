//! Answers of the v1 operator API: protobuf, or JSON in which lists are there even when they are empty.

use crate::negotiate::Encoding;
use crate::{Response, respond};

/// A JSON object that is written piece by piece.
#[derive(Debug)]
pub struct Object(Vec<u8>);

impl Default for Object {
    fn default() -> Self {
        Self(vec![b'{'])
    }
}

impl Object {
    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A member whose value is JSON already. `name` needs no escaping.
    #[must_use]
    pub fn raw(mut self, name: &str, json: &[u8]) -> Self {
        self.name(name);
        self.0.extend_from_slice(json);
        self
    }

    /// A list of messages.
    #[must_use]
    pub fn list<M: wire::Message>(mut self, name: &str, items: &[M]) -> Self {
        self.name(name);
        self.0.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            self.0.extend_from_slice(&wire::json::to_vec(item));
        }
        self.0.push(b']');
        self
    }

    /// The text.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// An answer in the encoding that was asked for. `json` is made only if it is needed; None: the message's own JSON.
pub fn encode<M: wire::Message>(
    encoding: Encoding,
    message: &M,
    json: Option<impl FnOnce() -> Vec<u8>>,
) -> Response {
    let bytes = match (encoding, json) {
        (Encoding::Json, Some(json)) => json(),
        _ => encoding.encode(message),
    };
    respond::content(encoding.media_type(), bytes)
}
