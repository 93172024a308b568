//! RecordIO: each record is its length in decimal, a newline, and so many bytes.

use std::fmt;

/// Longest length line that makes sense.
const HEADER_MAX: usize = 20;

/// One record with its length before it.
#[must_use]
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut out = record.len().to_string().into_bytes();
    out.reserve_exact(record.len() + 1);
    out.push(b'\n');
    out.extend_from_slice(record);
    out
}

/// Why a stream is not RecordIO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The length is not a decimal number.
    BadLength,
    /// The record is longer than allowed.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadLength => {
                f.write_str("expected the record's length in decimal and a newline")
            }
            Error::TooLong { length, limit } => {
                write!(f, "a record of {length} bytes; the limit is {limit}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Cuts a stream of bytes, which may come in any pieces, into records.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    limit: usize,
}

impl Decoder {
    /// Accepts records of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, limit }
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole record; None when more bytes are needed.
    ///
    /// # Errors
    /// When the stream is not RecordIO; it can't be read any further then.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at None; this one goes on"
    )]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let open = &self.buffer[self.start..];
        let Some(at) = open.iter().take(HEADER_MAX + 1).position(|b| *b == b'\n') else {
            return if open.len() > HEADER_MAX || open.iter().any(|b| !b.is_ascii_digit()) {
                Err(Error::BadLength)
            } else {
                Ok(None)
            };
        };
        let digits =
            std::str::from_utf8(&open[..at]).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let length: usize = digits.and_then(|d| d.parse().ok()).ok_or(Error::BadLength)?;
        if length > self.limit {
            return Err(Error::TooLong { length, limit: self.limit });
        }
        let Some(record) = open[at + 1..].get(..length) else { return Ok(None) };
        let record = record.to_vec();
        self.start += at + 1 + length;
        Ok(Some(record))
    }

    /// Whether bytes of an unfinished record are waiting.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.start < self.buffer.len()
    }
}
