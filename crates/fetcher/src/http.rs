//! http and https.

use ::http::{HeaderMap, HeaderValue, Uri};
use containerizer::download::{Answer, Client};
use std::io::{self, Read};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Begins a download: its length, if the server tells, and its bytes.
pub(crate) fn get(url: &str, stall_timeout: Duration) -> Result<(Option<u64>, Body), String> {
    let runtime = runtime()?;
    let client = Client::new(stall_timeout);
    let answer = runtime.block_on(client.follow(&uri(url)?, &headers())).map_err(fault)?;
    check(&answer)?;
    let length = length(&answer);
    Ok((length, Body { runtime, answer, rest: bytes::Bytes::new() }))
}

/// How large a download would be.
pub(crate) fn size(url: &str, stall_timeout: Duration) -> Result<u64, String> {
    let client = Client::new(stall_timeout);
    let answer = runtime()?.block_on(client.head(&uri(url)?, &headers())).map_err(fault)?;
    check(&answer)?;
    match length(&answer) {
        None => Err("No URL content-length available".to_owned()),
        Some(0) => Err(format!("URI reported content-length 0: {url}")),
        Some(length) => Ok(length),
    }
}

fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)
}

fn fault(error: impl std::fmt::Display) -> String {
    format!("Error downloading resource: failed to {error}")
}

/// As it is, not packed for the way.
fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (::http::header::ACCEPT, HeaderValue::from_static("*/*")),
        (::http::header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ])
}

fn check(answer: &Answer) -> Result<(), String> {
    match answer.status.as_u16() {
        200 => Ok(()),
        code => Err(format!("Error downloading resource, received HTTP return code {code}")),
    }
}

fn length(answer: &Answer) -> Option<u64> {
    answer.header(::http::header::CONTENT_LENGTH)?.trim().parse().ok()
}

/// The bytes of a download.
#[derive(Debug)]
pub(crate) struct Body {
    runtime: Runtime,
    answer: Answer,
    rest: bytes::Bytes,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.answer.chunk()) {
                Ok(Some(chunk)) => self.rest = chunk,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(format!("failed to {error}"))),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// A URL as it is sent: without fragment, and with what can't be in a URL percent-encoded.
fn uri(url: &str) -> Result<Uri, String> {
    let text = escaped(url.split('#').next().unwrap_or(url));
    text.parse().map_err(|e| format!("Error downloading resource: '{url}' is no URL: {e}"))
}

fn escaped(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Undoes percent-encoding.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_sent_without_fragment_and_what_no_url_has() {
        let shown = |url: &str| uri(url).expect("a URL").to_string();
        let url = "http://h:8080/a b/ü?q=1|2#part";
        assert_eq!(shown(url), "http://h:8080/a%20b/%C3%BC?q=1%7C2");
        assert_eq!(shown("http://h/%41"), "http://h/%41");
        assert!(uri("http:///a").is_err());
    }

    #[test]
    fn percent_encoding_is_undone_and_what_is_none_stays() {
        assert_eq!(decoded("a%20b%2f%zz%4"), b"a b/%zz%4");
    }
}
