//! Names of images: `[registry[:port]/]repository[:tag][@digest]`.

use super::digest::Digest;
use std::fmt;

/// Longest reference.
const LENGTH_MAX: usize = 1024;
/// Longest tag.
const TAG_MAX: usize = 128;

/// Which image of which registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Host and port, if the name has them.
    pub registry: Option<String>,
    /// Path within the registry.
    pub repository: String,
    /// Tag; None if the name has none.
    pub tag: Option<String>,
    /// Digest of the manifest; it decides if there is a tag too.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Parses a name. Its first part is a registry if it has a dot or a colon, or is `localhost` (spec/agent.md 6.6).
    ///
    /// # Errors
    /// With a text for the framework. No name leads out of a directory.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::parts(name).map_err(|text| {
            let shown: String = name.chars().take(LENGTH_MAX).collect();
            format!("the image's name '{shown}' {text}: expected [registry[:port]/]repository[:tag][@digest]")
        })
    }

    fn parts(name: &str) -> Result<Self, String> {
        if name.len() > LENGTH_MAX {
            return Err(format!("is longer than {LENGTH_MAX} bytes"));
        }
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (name, None),
        };
        // A colon before the last slash is that of a registry's port.
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && (tag.is_empty()
                || tag.len() > TAG_MAX
                || tag.starts_with(['.', '-'])
                || !tag.bytes().all(plain))
        {
            return Err("has a malformed tag".to_owned());
        }
        let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (registry, repository) = match rest.split_once('/') {
            Some((first, rest)) if is_registry(first) => (Some(first), rest),
            _ => (None, rest),
        };
        if let Some(registry) = registry {
            check_registry(registry)?;
        }
        let malformed =
            |part: &str| part.is_empty() || part.starts_with('.') || !part.bytes().all(plain);
        if repository.split('/').any(malformed) {
            return Err("has a malformed repository".to_owned());
        }
        Ok(Self {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`.
    pub(crate) fn version(&self) -> String {
        match &self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

/// A host or an IPv4 or bracketed IPv6 address, and perhaps a port.
fn check_registry(registry: &str) -> Result<(), String> {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|p| p != 0);
    let good = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port))
        }
        None => {
            let (host, rest) =
                registry.split_once(':').map_or((registry, None), |(h, p)| (h, Some(p)));
            let label = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            host.split('.').all(|part| !part.is_empty() && part.bytes().all(label))
                && rest.is_none_or(port)
        }
    };
    if good { Ok(()) } else { Err("has a malformed registry".to_owned()) }
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_the_registry_understands_them() {
        let check = |name: &str, registry: Option<&str>, repository: &str, version: &str| {
            let reference = Reference::parse(name).expect("a reference");
            assert_eq!(reference.registry.as_deref(), registry, "{name}");
            assert_eq!(reference.repository, repository, "{name}");
            assert_eq!(reference.version(), version, "{name}");
            assert_eq!(reference.to_string(), name);
        };
        let digest = format!("sha256:{}", "0f".repeat(32));
        check("busybox", None, "busybox", "latest");
        check("library/busybox:1.36", None, "library/busybox", "1.36");
        check("localhost/a/b", Some("localhost"), "a/b", "latest");
        check("localhost:5000/a/b:c", Some("localhost:5000"), "a/b", "c");
        check("quay.io/x", Some("quay.io"), "x", "latest");
        check("[::1]:5000/x:y", Some("[::1]:5000"), "x", "y");
        check("h:1/x", Some("h:1"), "x", "latest");
        check(&format!("h.x/a@{digest}"), Some("h.x"), "a", &digest);
        check(&format!("a:tag@{digest}"), None, "a", &digest);
    }

    #[test]
    fn names_that_mean_something_else_elsewhere_are_refused() {
        for name in [
            "",
            ":",
            "@",
            "/",
            "/etc",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a/.hidden",
            "a:",
            "a:.x",
            "a:-x",
            "a b",
            "a\nb",
            "a\0",
            "a@b@c",
            "a@sha256:00",
            "a@md5:00",
            "h:x/a",
            "h:0/a",
            "h:65536/a",
            "h..x/a",
            "u@h/a",
            "a:b:c",
            "[::x]/a",
            "ä",
            "a:ä",
            "a?b",
            "a#b",
            "a%2e%2e/b",
        ] {
            assert!(Reference::parse(name).is_err(), "{name:?}");
        }
        assert!(Reference::parse(&"a".repeat(LENGTH_MAX + 1)).is_err());
        assert!(Reference::parse(&format!("a:{}", "b".repeat(TAG_MAX + 1))).is_err());
        let error = Reference::parse("a b").expect_err("a space");
        let text = "the image's name 'a b' has a malformed repository: expected [registry[:port]/]repository[:tag][@digest]";
        assert_eq!(error, text);
    }
}
