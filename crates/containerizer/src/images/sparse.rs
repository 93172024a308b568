//! Sparse files in archives of the POSIX format, as GNU tar writes them in its versions 0.0, 0.1 and 1.0 (GNU tar manual,
//! appendix "Storing Sparse Files"). Those of GNU's own format are the archive reader's matter.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// Most parts of a file; with more its holes are no gain.
const PARTS_MAX: u64 = 1 << 20;
/// What the list of parts in front of the content is filled up to.
const BLOCK: u64 = 512;
/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// A part of a file that is no hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// What the headers of a sparse file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Its name, if the entry has another one.
    pub(super) name: Option<Vec<u8>>,
    /// Its length with its holes.
    pub(super) size: u64,
    /// Its parts; None: they are told in front of the content.
    parts: Option<Vec<Part>>,
}

/// The fields of headers, as they come.
#[derive(Debug, Default)]
pub(super) struct Fields {
    fields: BTreeMap<String, String>,
    /// Of version 0.0: one offset and one length after the other.
    pairs: Vec<u64>,
}

impl Fields {
    /// Takes a record whose key begins with `GNU.sparse.`.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let (Ok(key), Ok(value)) = (std::str::from_utf8(key), std::str::from_utf8(value)) else {
            return Err(malformed());
        };
        match key {
            "GNU.sparse.offset" | "GNU.sparse.numbytes" => self.pairs.push(number(value)?),
            _ => drop(self.fields.insert(key.to_owned(), value.to_owned())),
        }
        if self.pairs.len() as u64 > 2 * PARTS_MAX { Err(too_many()) } else { Ok(()) }
    }

    /// What they say together; None if they say nothing.
    pub(super) fn sparse(self) -> Result<Option<Sparse>, String> {
        if self.fields.is_empty() && self.pairs.is_empty() {
            return Ok(None);
        }
        let field = |name: &str| self.fields.get(&format!("GNU.sparse.{name}")).map(String::as_str);
        let size = field("realsize").or(field("size")).ok_or_else(malformed)?;
        let parts = match (field("major"), field("map")) {
            (Some("1"), _) if field("minor") == Some("0") => None,
            (Some("0") | None, Some(map)) => {
                let numbers = map.split(',').filter(|part| !part.is_empty()).map(number);
                Some(numbers.collect::<Result<Vec<_>, _>>()?)
            }
            (Some("0") | None, None) => Some(self.pairs.clone()),
            (major, _) => {
                return Err(format!(
                    "it is a sparse file of version {}.{}, which is not known",
                    major.unwrap_or("0"),
                    field("minor").unwrap_or("0")
                ));
            }
        };
        let size = number(size)?;
        let parts = parts.map(|numbers| parts_of(&numbers, size)).transpose()?;
        Ok(Some(Sparse { name: field("name").map(|name| name.as_bytes().to_vec()), size, parts }))
    }
}

impl Sparse {
    /// Its parts; what stands in front of the content is read.
    pub(super) fn parts(&self, content: &mut impl Read) -> Result<Vec<Part>, String> {
        if let Some(parts) = &self.parts {
            return Ok(parts.clone());
        }
        let mut content = Counted { inner: content, count: 0 };
        let count = content.number()?;
        if count > PARTS_MAX {
            return Err(too_many());
        }
        let numbers = (0..2 * count).map(|_| content.number()).collect::<Result<Vec<_>, _>>()?;
        let filled = content.count.next_multiple_of(BLOCK) - content.count;
        io::copy(&mut content.inner.by_ref().take(filled), &mut io::sink())
            .map_err(|e| e.to_string())?;
        parts_of(&numbers, self.size)
    }
}

struct Counted<'a, R> {
    inner: &'a mut R,
    count: u64,
}

impl<R: Read> Counted<'_, R> {
    /// A number with a line of its own.
    fn number(&mut self) -> Result<u64, String> {
        let mut digits = String::new();
        loop {
            let mut byte = [0];
            self.inner.read_exact(&mut byte).map_err(|_| malformed())?;
            self.count += 1;
            match byte[0] {
                b'\n' => return number(&digits),
                digit if digits.len() < DIGITS_MAX => digits.push(char::from(digit)),
                _ => return Err(malformed()),
            }
        }
    }
}

/// Parts, each after the one before it, in a file of a size.
fn parts_of(numbers: &[u64], size: u64) -> Result<Vec<Part>, String> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    let mut end = 0;
    let part = |&[offset, length]: &[u64; 2]| {
        let next = offset.checked_add(length).filter(|next| *next <= size && offset >= end);
        end = next?;
        Some(Part { offset, length })
    };
    let parts: Option<Vec<Part>> = pairs.iter().map(part).collect();
    parts.filter(|_| rest.is_empty()).ok_or_else(malformed)
}

fn number(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(malformed)
}

fn malformed() -> String {
    "it is a sparse file whose parts are malformed".to_owned()
}

fn too_many() -> String {
    format!("it is a sparse file of more than {PARTS_MAX} parts")
}
