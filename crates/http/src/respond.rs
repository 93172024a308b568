//! Answers.

use crate::{Body, Response};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::io::{self, Write as _};

/// Bodies below this size are not compressed (spec/master.md 1.1).
const GZIP_MIN: usize = 1024;

/// An answer with plain text; no text, no content type.
#[must_use]
pub fn text(status: u16, text: impl Into<String>) -> Response {
    let text = text.into();
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !text.is_empty() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        *response.body_mut() = text.into();
    }
    response
}

/// 405 with the methods that are allowed.
#[must_use]
pub fn method_not_allowed(allow: &'static str, got: &http::Method) -> Response {
    let mut response = text(405, format!("Expecting one of {{ '{allow}' }}, but received '{got}'"));
    response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// 200 with bytes of a content type.
#[must_use]
pub fn content(content_type: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = http::Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Content type of JSON, or of a script when the query has `jsonp`.
#[must_use]
pub fn json_type(query: &str) -> &'static str {
    match query_value(query, "jsonp") {
        None => "application/json",
        Some(_) => "text/javascript",
    }
}

/// Writes JSON, wrapped into a call when the query has `jsonp`.
///
/// # Errors
/// Those of the writer.
pub fn write_json<W: io::Write + ?Sized>(
    query: &str,
    out: &mut W,
    json: impl FnOnce(&mut W) -> io::Result<()>,
) -> io::Result<()> {
    match query_value(query, "jsonp") {
        None => json(out),
        Some(callback) => {
            write!(out, "{callback}(")?;
            json(out)?;
            out.write_all(b");")
        }
    }
}

/// 200 with JSON, wrapped into a call when the query has `jsonp`.
#[must_use]
pub fn json(query: &str, bytes: Vec<u8>) -> Response {
    let mut out = Vec::with_capacity(bytes.len());
    let _ = write_json(query, &mut out, |out| out.write_all(&bytes));
    content(json_type(query), out)
}

/// Compresses a whole body if it is large and the client accepts gzip.
#[must_use]
pub fn compress(request: &HeaderMap, mut response: Response) -> Response {
    if let Body::Whole(Some(bytes)) = response.body()
        && takes_gzip(request)
        && bytes.len() >= GZIP_MIN
        && !response.headers().contains_key(CONTENT_ENCODING)
    {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        if encoder.write_all(bytes).is_ok()
            && let Ok(packed) = encoder.finish()
        {
            *response.body_mut() = packed.into();
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    response
}

/// Whether the client accepts gzip.
pub(crate) fn takes_gzip(request: &HeaderMap) -> bool {
    request.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(accepts_gzip)
}

fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts
            .any(|p| matches!(p.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (name == "gzip" || name == "*") && !refused
    })
}

/// Value of a query parameter, decoded.
#[must_use]
pub fn query_value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(n, v)| (decode(n), v)).find(|(n, _)| n == name).map(|(_, v)| decode(v))
}

/// The answer to `timeout=` in a query that is no duration. Metrics are read from a view and never time out.
#[must_use]
pub fn bad_timeout(query: &str) -> Option<Response> {
    let given = query_value(query, "timeout")?;
    let error = base::duration::parse(&given).err()?;
    Some(text(400, format!("Invalid 'timeout' in the query: {error}")))
}

/// Percent-decoding; `+` is a space.
#[must_use]
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
