//! Encodings of calls and answers (spec/master.md 1.1): Content-Type is compared exactly; Accept prefers JSON.

use crate::{Request, Response, intake, respond};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use std::io;

/// One of the two encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

impl Encoding {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Protobuf => "application/x-protobuf",
        }
    }

    /// Writes a large message in this encoding.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(self, tree: &wire::Tree<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        match self {
            Encoding::Json => tree.write_json(out),
            Encoding::Protobuf => tree.write_protobuf(out),
        }
    }

    /// A message in this encoding.
    #[must_use]
    pub fn encode<M: wire::Message>(self, message: &M) -> Vec<u8> {
        match self {
            Encoding::Json => wire::json::to_vec(message),
            Encoding::Protobuf => wire::protobuf::to_vec(message),
        }
    }
}

/// The encoding for the answer: JSON if acceptable (or nothing is said), else protobuf, else None (406).
#[must_use]
pub fn accepted(headers: &HeaderMap) -> Option<Encoding> {
    let Some(accept) = headers.get(ACCEPT) else { return Some(Encoding::Json) };
    let accept = accept.to_str().unwrap_or_default();
    [Encoding::Json, Encoding::Protobuf].into_iter().find(|e| is_accepted(accept, e.media_type()))
}

/// Whether the value of an Accept header allows a media type.
#[must_use]
pub fn is_accepted(accept: &str, media_type: &str) -> bool {
    let family = media_type.split('/').next().unwrap_or_default();
    accept.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let fits =
            range == media_type || range == "*/*" || range.strip_suffix("/*") == Some(family);
        let quality =
            parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.trim().parse::<f64>().ok());
        fits && quality.is_none_or(|q| q > 0.0)
    })
}

/// Reads and decodes the body of a call: rows 4 to 7 of the table of checks. `limit` in bytes.
///
/// # Errors
/// The answer that refuses it.
pub async fn call<M: wire::Message>(request: Request, limit: usize) -> Result<M, Box<Response>> {
    let refuse = |status, text: String| Err(Box::new(respond::text(status, text)));
    if request.method() != http::Method::POST {
        return Err(Box::new(respond::method_not_allowed("POST", request.method())));
    }
    let Some(content_type) = request.headers().get(CONTENT_TYPE).cloned() else {
        return refuse(400, "Expecting 'Content-Type' to be present".to_owned());
    };
    let encoding = match content_type.as_bytes() {
        b"application/json" => Encoding::Json,
        b"application/x-protobuf" => Encoding::Protobuf,
        _ => {
            let text = "Expecting 'Content-Type' of application/json or application/x-protobuf";
            return refuse(415, text.to_owned());
        }
    };
    let bytes = intake::body(request, limit).await?;
    let decoded = match encoding {
        Encoding::Json => match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Err(error) => return refuse(400, format!("Failed to parse body into JSON: {error}")),
            Ok(value) => wire::json::from_value(&value)
                .map_err(|e| format!("Failed to convert JSON into Call protobuf: {e}")),
        },
        Encoding::Protobuf => wire::protobuf::from_slice(&bytes)
            .map_err(|e| format!("Failed to parse body into Call protobuf: {e}")),
    };
    decoded.or_else(|text| refuse(400, text))
}
