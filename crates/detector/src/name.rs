//! How a master is named.

use crate::Url;
use crate::etcd::Tls;
use std::fmt;
use std::path::{Path, PathBuf};

/// How the master is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterName {
    /// Addresses of masters, one of which leads: `host:port`, tried in turn.
    Addresses(Vec<String>),
    /// A file that holds addresses; read again at each attempt.
    File(PathBuf),
    /// The leader is who ZooKeeper or etcd says.
    Meeting(Url),
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
    /// Parses `host:port`, `master@host:port`, a comma-separated list of these, `zk://…/path`, `etcd://…/path`, `etcds://…/path` or
    /// `file:///path`. A file that holds such a URL stands for it.
    ///
    /// # Errors
    /// When it is none of these, or one that is not supported.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file://") {
            let path = PathBuf::from(path);
            // Passwords are kept in files.
            return match std::fs::read_to_string(&path) {
                Ok(inner) if Url::service_of(&inner).is_some() => Self::parse(&inner),
                _ => Ok(Self::File(path)),
            };
        }
        if Url::service_of(text).is_some() {
            let url = Url::parse(text).map_err(|e| ParseError(format!("Failed to parse: {e}")))?;
            url.tls.iter().try_for_each(Tls::check).map_err(ParseError)?;
            return Ok(Self::Meeting(url));
        }
        Ok(Self::Addresses(text.split(',').map(address).collect::<Result<_, _>>()?))
    }
}

fn address(part: &str) -> Result<String, ParseError> {
    let part = part.trim();
    let part = part.strip_prefix("master@").unwrap_or(part);
    let (host, port) = part.rsplit_once(':').unwrap_or((part, "5050"));
    let valid = !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok();
    valid
        .then(|| format!("{host}:{port}"))
        .ok_or_else(|| ParseError(format!("Failed to parse '{part}'")))
}

/// The addresses that a file holds.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, ParseError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| ParseError(format!("failed to read {}: {e}", path.display())))?;
    match MasterName::parse(&text)? {
        MasterName::Addresses(addresses) => Ok(addresses),
        MasterName::File(_) | MasterName::Meeting(_) => Err(ParseError(format!(
            "{} names no addresses; expected host:port, or a list of them",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_masters() {
        let addresses = |text| match MasterName::parse(text) {
            Ok(MasterName::Addresses(addresses)) => addresses,
            other => panic!("{other:?}"),
        };
        assert_eq!(addresses("10.0.0.1:5050"), ["10.0.0.1:5050"]);
        assert_eq!(addresses("master@h:1, g:2"), ["h:1", "g:2"]);
        assert_eq!(addresses("localhost"), ["localhost:5050"]);
        assert_eq!(
            MasterName::parse("file:///etc/master"),
            Ok(MasterName::File("/etc/master".into()))
        );
        for text in ["zk://h:2181/mesos", "etcd://u:p@h/mesos"] {
            let url = Url::parse(text).expect("valid");
            assert_eq!(MasterName::parse(text), Ok(MasterName::Meeting(url)));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "h:x", "h:99999", "a b:1", "http://x:1"] {
            let error = MasterName::parse(bad).expect_err(bad).to_string();
            assert!(error.starts_with("Failed to parse '"), "{error}");
        }
        let tls = MasterName::parse("etcds://h:2379/mesos?cacert=/no/ca.pem");
        let tls = tls.expect_err("there is no such file").to_string();
        assert!(tls.starts_with("/no/ca.pem: "), "{tls}");
        let bad = MasterName::parse("zk://u:secret@h").expect_err("no path").to_string();
        assert!(bad.contains("chroot") && !bad.contains("secret"), "{bad}");
    }
}
