//! Digests: what content is called in a registry.

use std::fmt;
use std::io;

/// `sha256:…` or `sha512:…`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl Digest {
    /// Parses a digest.
    ///
    /// # Errors
    /// When it is of another kind or length.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(name, hex)| {
            let all = [Algorithm::Sha256, Algorithm::Sha512];
            let algorithm = all.into_iter().find(|a| a.name() == name)?;
            let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            let good = hex.len() == algorithm.digits() && hex.bytes().all(digit);
            good.then(|| Self { algorithm, hex: hex.to_owned() })
        });
        parsed.ok_or_else(|| {
            let shown: String = text.chars().take(150).collect();
            format!("has the digest '{shown}', which is not sha256 or sha512 and so many digits")
        })
    }

    /// The SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// A hasher whose result can be compared with this digest.
    pub(crate) fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    /// Whether it is that of some bytes.
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }

    /// As the name of a file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}", self.algorithm.name(), self.hex)
    }

    /// From the name of a file.
    pub(crate) fn of_file_name(name: &str) -> Option<Self> {
        Self::parse(&name.replacen('-', ":", 1)).ok()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// Makes a digest of what comes piece by piece.
#[derive(Clone)]
pub(crate) struct Hasher {
    algorithm: Algorithm,
    context: ring::digest::Context,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        let chosen = match algorithm {
            Algorithm::Sha256 => &ring::digest::SHA256,
            Algorithm::Sha512 => &ring::digest::SHA512,
        };
        Self { algorithm, context: ring::digest::Context::new(chosen) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let bytes = self.context.finish();
        let hex = bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Digest { algorithm: self.algorithm, hex }
    }
}

/// Hashes all that is read through it.
#[derive(Debug)]
pub(crate) struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R> HashingReader<R> {
    pub(crate) fn new(inner: R, hasher: Hasher) -> Self {
        Self { inner, hasher }
    }

    pub(crate) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl<R: io::Read> io::Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), known);
        let parsed = Digest::parse(known).expect("a digest");
        assert!(parsed.matches(b"") && !parsed.matches(b"x"));
        assert_eq!(Digest::of_file_name(&parsed.file_name()), Some(parsed));
    }
}
