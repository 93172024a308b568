//! Queries of addresses, and percent-encoding.

/// Pairs of a query that are looked at.
const PAIRS_MAX: usize = 32;
/// Longest value that is looked at, in bytes.
const VALUE_MAX: usize = 4096;

/// The query of an address, decoded: what is not UTF-8 is replaced, what is too long is cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of an address after `?`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX);
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), cut(decode(value, true)))
        });
        Self(pairs.collect())
    }

    /// The first value of a name, if it is not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The same address with another value of a name, `?` included; without the name if there is none. The list begins
    /// at its first page again, unless the page is what is changed.
    #[must_use]
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let stays = |known: &str| known != name && known != "page";
        let kept = self.0.iter().filter(|(known, value)| stays(known) && !value.is_empty());
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs = kept.chain(value.map(|value| (name, value)));
        let pairs = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    /// All pairs but those of these names.
    pub(crate) fn besides<'a>(
        &'a self,
        names: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let others = self.0.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        others.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn cut(mut value: String) -> String {
    let mut end = value.len().min(VALUE_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.truncate(end);
    value
}

/// Percent-encodes all but letters, digits and `-._~`.
#[must_use]
pub fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

/// Percent-decodes; in queries a `+` is a space.
#[must_use]
pub fn decode(text: &str, is_query: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', ..) if is_query => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
