//! Where the leading master is: the ways to name it (spec/operations.md 1.4).
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

/// How the master is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterName {
    /// Addresses of masters, one of which leads: `host:port`, tried in turn.
    Addresses(Vec<String>),
    /// A file that holds a name; read again at each attempt.
    File(PathBuf),
}

/// Why a text is no name of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

impl MasterName {
    /// Parses `host:port`, `master@host:port`, a comma-separated list of these, or `file:///path`.
    ///
    /// # Errors
    /// When it is none of these, or one that is not supported.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Self::File(PathBuf::from(path)));
        }
        for scheme in ["zk://", "etcd://"] {
            if text.starts_with(scheme) {
                let text = format!(
                    "'{scheme}…' is not supported yet; expected host:port, a list of them, or file:///path"
                );
                return Err(ParseError(text));
            }
        }
        let address = |part: &str| {
            let part = part.trim();
            let part = part.strip_prefix("master@").unwrap_or(part);
            let (host, port) = part.rsplit_once(':').unwrap_or((part, "5050"));
            let valid =
                !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok();
            valid
                .then(|| format!("{host}:{port}"))
                .ok_or_else(|| ParseError(format!("Failed to parse '{part}'")))
        };
        Ok(Self::Addresses(text.split(',').map(address).collect::<Result<_, _>>()?))
    }

    /// The addresses to try now, in order. Reads the file if the name is in one.
    ///
    /// # Errors
    /// When the file can't be read or holds no name.
    pub fn addresses(&self) -> Result<Vec<String>, ParseError> {
        match self {
            Self::Addresses(addresses) => Ok(addresses.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| ParseError(format!("failed to read {}: {e}", path.display())))?;
                match Self::parse(&text)? {
                    Self::Addresses(addresses) => Ok(addresses),
                    Self::File(other) => {
                        Err(ParseError(format!("{} names another file", other.display())))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_masters() {
        let addresses = |text| MasterName::parse(text).and_then(|n| n.addresses());
        assert_eq!(addresses("10.0.0.1:5050"), Ok(vec!["10.0.0.1:5050".to_owned()]));
        assert_eq!(addresses("master@h:1, g:2"), Ok(vec!["h:1".to_owned(), "g:2".to_owned()]));
        assert_eq!(addresses("localhost"), Ok(vec!["localhost:5050".to_owned()]));
        assert_eq!(
            MasterName::parse("file:///etc/master"),
            Ok(MasterName::File("/etc/master".into()))
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "h:x", "h:99999", "a b:1", "http://x:1"] {
            let error = MasterName::parse(bad).expect_err(bad).to_string();
            assert!(error.starts_with("Failed to parse '"), "{error}");
        }
        assert!(
            MasterName::parse("zk://h:2181/mesos")
                .expect_err("later")
                .to_string()
                .contains("not supported yet")
        );
    }
}
