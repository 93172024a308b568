//! `zk://[user:password@]host:port,…/path` (spec/operations.md 1.2), and the same with `etcd://` and `etcds://`.

use crate::etcd::Tls;
use std::fmt;

/// Begins of URLs.
const SCHEMES: [(&str, Service); 3] =
    [("zk://", Service::ZooKeeper), ("etcd://", Service::Etcd), (SECURE, Service::Etcd)];
/// That of etcd with TLS.
const SECURE: &str = "etcds://";

/// What masters can meet in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// An ensemble of ZooKeeper.
    ZooKeeper,
    /// A cluster of etcd.
    Etcd,
}

impl Service {
    /// Where servers listen if no port is given.
    fn port(self) -> &'static str {
        match self {
            Self::ZooKeeper => "2181",
            Self::Etcd => "2379",
        }
    }
}

/// Where the masters of a cluster meet: a service and a directory in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// What the servers are.
    pub service: Service,
    /// `host:port`, with commas.
    pub servers: String,
    /// `user:password`, if every session shall be authenticated (in ZooKeeper by the scheme `digest`).
    pub credentials: Option<String>,
    /// The directory: absolute, not `/`, without a slash at its end.
    pub path: String,
    /// How connections are secured; None: they are not.
    pub tls: Option<Tls>,
}

/// What a URL begins with.
fn scheme(text: &str) -> Option<(&'static str, Service)> {
    SCHEMES.into_iter().find(|(scheme, _)| text.trim().starts_with(scheme))
}

impl Url {
    /// The service that a URL begins with; None: it is no such URL.
    #[must_use]
    pub fn service_of(text: &str) -> Option<Service> {
        scheme(text).map(|(_, service)| service)
    }

    /// Parses the whole URL.
    ///
    /// # Errors
    /// What is wrong with it; credentials are never part of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, service)) = scheme(text) else {
            return Err(
                "expected zk://…, etcd://… or etcds://[user:password@]host:port,host:port,…/path"
                    .to_owned(),
            );
        };
        let files = if scheme == SECURE { "[?cacert=/file&cert=/file&key=/file]" } else { "" };
        let fault = |what: &str| {
            format!("{what}; expected {scheme}[user:password@]host:port,host:port,…/path{files}")
        };
        let rest = &text.trim()[scheme.len()..];
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (path, tls) = match path.split_once('?') {
            _ if scheme != SECURE => (path, None),
            Some((path, files)) => (path, Some(Tls::parse(files).map_err(|e| fault(&e))?)),
            None => (path, Some(Tls::default())),
        };
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err(fault(match service {
                Service::ZooKeeper => {
                    "Expecting a (chroot) path for ZooKeeper ('/' is not supported)"
                }
                Service::Etcd => "a path is missing ('/' is not supported)",
            }));
        }
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..")
            || path.chars().any(char::is_control)
        {
            return Err(fault("the path has an empty part, '.', '..' or control characters"));
        }
        let (credentials, servers) = match authority.rsplit_once('@') {
            Some((credentials, servers)) => (Some(credentials), servers),
            None => (None, authority),
        };
        if credentials.is_some_and(|c| !c.contains(':')) {
            return Err(fault("the credentials before '@' have no ':'"));
        }
        let server = |server: &str| {
            let (host, port) = server.rsplit_once(':').unwrap_or((server, service.port()));
            let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
            let valid =
                !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok();
            valid
                .then(|| format!("{host}:{port}"))
                .ok_or_else(|| fault(&format!("'{server}' is no host:port")))
        };
        let servers: Vec<String> = servers.split(',').map(server).collect::<Result<_, _>>()?;
        Ok(Self {
            service,
            servers: servers.join(","),
            credentials: credentials.map(str::to_owned),
            path: format!("/{path}"),
            tls,
        })
    }
}

/// Without the credentials.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_secure = self.tls.is_some();
        let is_ours = |(scheme, service): &(&str, Service)| {
            *service == self.service && (*scheme == SECURE) == is_secure
        };
        let scheme = SCHEMES.into_iter().find(is_ours).map_or("", |(scheme, _)| scheme);
        write!(f, "{scheme}{}{}", self.servers, self.path)?;
        self.tls.iter().try_for_each(|tls| tls.fmt(f))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_begins_at_the_first_slash_and_credentials_end_at_the_last_at() {
        let url = Url::parse(" zk://u:p@x@h1:2181,h2/a/b/ ").expect("valid");
        assert_eq!(url.servers, "h1:2181,h2:2181");
        assert_eq!(url.credentials.as_deref(), Some("u:p@x"));
        assert_eq!(url.path, "/a/b");
        let etcd = Url::parse("etcd://h1,h2:1/m").expect("valid");
        assert_eq!(etcd.to_string(), "etcd://h1:2379,h2:1/m");
        assert_eq!(format!("{url} {url:?}").matches("u:p").count(), 0, "secrets stay here");
        let text = "etcds://h1:2379/m?cacert=/ca.pem&cert=/c.pem&key=/k.pem";
        assert_eq!(Url::parse(text).expect("valid").to_string(), text);
        let system = Url::parse("etcds://u:p@h1/m").expect("valid");
        assert_eq!(system.to_string(), "etcds://h1:2379/m");
        assert!(system.tls.is_some() && etcd.tls.is_none());
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_secrets() {
        for (bad, why) in [
            ("zk://h:1", "Expecting a (chroot) path for ZooKeeper ('/' is not supported)"),
            ("zk://h:1/", "Expecting a (chroot) path"),
            ("zk://h:1//", "Expecting a (chroot) path"),
            ("zk:///mesos", "'' is no host:port"),
            ("zk://h:x/mesos", "'h:x' is no host:port"),
            ("zk://h,,g/mesos", "'' is no host:port"),
            ("zk://secret@h/mesos", "have no ':'"),
            ("zk://h/a//b", "empty part"),
            ("zk://h/a/../b", "'..'"),
            ("etcd://h", "a path is missing"),
            ("etcdx://h/m", "expected zk://"),
            ("etcds://h/m?ca=/x", "'ca' is none of cacert, cert and key"),
            ("etcds://h/m?cacert=x", "cacert: expected an absolute path, got 'x'"),
            ("etcds://h/m?cert=/x", "cert and key belong together"),
            ("etcds://h/m?cacert=/x&cacert=/y", "cacert is given twice"),
        ] {
            let error = Url::parse(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
