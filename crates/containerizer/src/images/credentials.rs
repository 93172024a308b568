//! Who we are for a registry: Docker's `config.json` (`{"auths": {…}}`) and the older `.dockercfg` without `auths`.

use crate::download::basic;
use base64::Engine as _;
use http::HeaderValue;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Credentials by registry.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Host, and port if there is one → `user:password`.
    by_registry: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_registry.keys()).finish()
    }
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Credentials {
    /// Parses a file of Docker's.
    ///
    /// # Errors
    /// With a text that completes "the docker config"; it does not show what is secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let place = |e: serde_json::Error| {
            format!("is not understood (line {}, column {})", e.line(), e.column())
        };
        let mut all: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(bytes).map_err(place)?;
        if let Some(auths) = all.remove("auths") {
            all = match auths {
                serde_json::Value::Object(auths) => auths,
                _ => return Err("has 'auths' that is no object".to_owned()),
            };
        } else if all.contains_key("credHelpers") || all.contains_key("credsStore") {
            // A file of today without credentials of its own: helpers are programs, which are not run here.
            all.clear();
        }
        let mut by_registry = BTreeMap::new();
        for (url, entry) in all {
            let Ok(entry) = serde_json::from_value::<Entry>(entry) else {
                return Err(format!("has an entry for '{url}' that is no object with 'auth'"));
            };
            if let Some(credentials) = entry.credentials(&url)? {
                by_registry.insert(host(&url).to_owned(), credentials);
            }
        }
        Ok(Self { by_registry })
    }

    /// The Basic credentials for a registry (host, and port if there is one).
    pub(crate) fn of(&self, registry: &str) -> Option<HeaderValue> {
        self.find(registry).map(|found| basic(found))
    }

    /// User and password for a registry.
    pub(crate) fn login(&self, registry: &str) -> Option<(String, String)> {
        let found = String::from_utf8_lossy(self.find(registry)?).into_owned();
        found.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    fn find(&self, registry: &str) -> Option<&Vec<u8>> {
        // Docker's own registry is known by several names.
        let is_docker = |name: &str| name == "docker.io" || name.ends_with(".docker.io");
        let by_docker = || {
            let mut all = self.by_registry.iter();
            all.find(|(name, _)| is_docker(registry) && is_docker(name)).map(|(_, found)| found)
        };
        self.by_registry.get(registry).or_else(by_docker)
    }
}

impl Entry {
    fn credentials(self, url: &str) -> Result<Option<Vec<u8>>, String> {
        if self.identitytoken.is_some_and(|token| !token.is_empty()) {
            return Err(format!("has an identity token for '{url}': use a user and a password"));
        }
        match (self.auth.filter(|a| !a.is_empty()), self.username, self.password) {
            (Some(auth), ..) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(auth.trim());
                let good = decoded.ok().filter(|d| d.contains(&b':'));
                let fault =
                    || format!("has an 'auth' for '{url}' that is not the base64 of user:password");
                // Some tools pad with zero bytes.
                let end = |d: Vec<u8>| d.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
                good.map(|mut d| {
                    d.truncate(end(d.clone()));
                    Some(d)
                })
                .ok_or_else(fault)
            }
            (None, Some(user), Some(password)) => Ok(Some(format!("{user}:{password}").into())),
            _ => Ok(None),
        }
    }
}

/// `https://index.docker.io/v1/` is the entry of `index.docker.io`.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_docker_has_many_names() {
        let new = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}, "h:5000": {"username": "a", "password": "b"},
            "empty.example": {}}, "credsStore": "x"}"#;
        let credentials = Credentials::parse(new.as_bytes()).expect("credentials");
        assert_eq!(credentials.of("registry-1.docker.io"), Some(basic(b"u:p")));
        assert_eq!(credentials.of("h:5000"), Some(basic(b"a:b")));
        assert_eq!(credentials.of("h"), None);
        assert_eq!(credentials.of("evil-docker.io"), None);
        let old = Credentials::parse(br#"{"quay.io": {"auth": "dTpw", "email": "x"}}"#);
        assert_eq!(old.expect("credentials").of("quay.io"), Some(basic(b"u:p")));
        let error =
            Credentials::parse(br#"{"auths": {"h": {"auth": "c2VjcmV0"}}}"#).expect_err("no colon");
        assert_eq!(error, "has an 'auth' for 'h' that is not the base64 of user:password");
        assert!(Credentials::parse(b"[]").is_err());
    }
}
