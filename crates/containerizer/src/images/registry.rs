//! Registries: the distribution protocol v2 (OCI distribution specification 1.1; Docker's token authentication).

use super::challenge::Challenge;
use super::credentials::Credentials;
use super::digest::Digest;
use super::manifest::{ACCEPT, Descriptor, MANIFEST_MAX, Manifest};
use super::reference::Reference;
use crate::download::{Answer, Client};
use http::header::{ACCEPT as ACCEPT_HEADER, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;

/// Longest answer of a server of tokens, and longest error that is looked at.
const TOKEN_MAX: usize = 1 << 20;
/// Where images of `docker.io` are.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// Where images come from if their name has no registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultRegistry {
    scheme: String,
    /// Host, and port if there is one.
    host: String,
}

impl DefaultRegistry {
    /// Parses an `http` or `https` URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let fault = |text: &str| format!("--docker_registry='{url}': {text}");
        let uri: Uri = url.parse().map_err(|e| fault(&format!("it is no URL: {e}")))?;
        let authority = uri.authority().ok_or_else(|| fault("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(fault("a user belongs into --docker_config"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(fault("a registry is a host and a port; give no path"));
        }
        let scheme = uri.scheme_str().unwrap_or("https").to_owned();
        Ok(Self { scheme, host: authority.as_str().to_owned() })
    }
}

/// One repository of one registry, and what proves that we may read it.
#[derive(Debug)]
pub(crate) struct Repository {
    client: Client,
    scheme: String,
    host: String,
    path: String,
    credentials: Option<HeaderValue>,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Repository {
    pub(crate) fn of(
        reference: &Reference,
        default: &DefaultRegistry,
        credentials: &Credentials,
        client: &Client,
    ) -> Self {
        let (scheme, host) = match reference.registry.as_deref() {
            None => (default.scheme.as_str(), default.host.as_str()),
            Some("docker.io" | "index.docker.io") => ("https", DOCKER_HUB),
            Some(named) => (scheme_of(named), named),
        };
        let path = if host.contains("docker.io") && !reference.repository.contains('/') {
            format!("library/{}", reference.repository)
        } else {
            reference.repository.clone()
        };
        Self {
            client: client.clone(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            path,
            credentials: credentials.of(host),
            authorization: Mutex::new(None),
        }
    }

    /// The manifest of an image for this host, checked against its digest if it was asked for by digest.
    pub(crate) async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(Descriptor, Vec<Descriptor>), String> {
        let mut version = reference.version();
        let mut digest = reference.digest.clone();
        // A list leads to an image, not to another list.
        for _ in 0..2 {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPT));
            let answer = self.get(&format!("manifests/{version}"), headers).await?;
            if answer.status != StatusCode::OK {
                return Err(self
                    .refusal(&format!("the manifest of {}:{version}", self.path), answer)
                    .await);
            }
            let bytes = answer.bytes(MANIFEST_MAX).await.map_err(|e| format!("failed to {e}"))?;
            if digest.is_some_and(|digest| !digest.matches(&bytes)) {
                return Err(format!(
                    "the manifest that {} gave is not {version}: it is corrupt",
                    self.host
                ));
            }
            match Manifest::parse(&bytes).map_err(|e| format!("the manifest {e}"))? {
                Manifest::Image { config, layers } => return Ok((config, layers)),
                Manifest::Elsewhere(found) => {
                    version = found.digest.to_string();
                    digest = Some(found.digest);
                }
            }
        }
        Err("the manifest is a list of lists".to_owned())
    }

    /// Asks for a blob from `start` on.
    pub(crate) async fn blob(&self, digest: &Digest, start: u64) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        if start > 0 {
            let range = HeaderValue::from_str(&format!("bytes={start}-"));
            headers.insert(http::header::RANGE, range.map_err(|e| e.to_string())?);
        }
        self.get(&format!("blobs/{digest}"), headers).await
    }

    /// Where it is, for messages.
    pub(crate) fn shown(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Asks; when the registry wants to know who we are, once more with the answer to that.
    async fn get(&self, what: &str, headers: HeaderMap) -> Result<Answer, String> {
        let text = format!("{}://{}/v2/{}/{what}", self.scheme, self.host, self.path);
        let uri: Uri = text.parse().map_err(|e| format!("'{text}' is no URI: {e}"))?;
        let known = self.authorization.lock().await.clone();
        let answer = self.ask(&uri, &headers, known.as_ref()).await?;
        // Only the registry itself may ask for our credentials, not where it redirects to.
        if answer.status != StatusCode::UNAUTHORIZED || answer.uri.authority() != uri.authority() {
            return Ok(answer);
        }
        let mut authorization = self.authorization.lock().await;
        // Somebody else may have got a new token meanwhile.
        if *authorization == known {
            *authorization = Some(self.authorize(&answer).await?);
        }
        let fresh = authorization.clone();
        drop(authorization);
        self.ask(&uri, &headers, fresh.as_ref()).await
    }

    async fn ask(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, String> {
        let mut headers = headers.clone();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        self.client.follow(uri, &headers).await.map_err(|e| format!("failed to {e}"))
    }

    async fn authorize(&self, answer: &Answer) -> Result<HeaderValue, String> {
        let advice = format!("does --docker_config have an entry for '{}'?", self.host);
        let anonymous =
            || format!("the registry {} wants a user and a password: {advice}", self.host);
        match Challenge::of(&answer.headers) {
            Some(Challenge::Basic) => self.credentials.clone().ok_or_else(anonymous),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.path));
                self.token(&realm, service.as_deref(), &scope).await
            }
            None => Err(format!("the registry {} does not say how to authenticate", self.host)),
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<HeaderValue, String> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let uri = Challenge::token_uri(realm, service, scope)?;
        if self.scheme == "https" && uri.scheme_str() != Some("https") {
            return Err(format!(
                "the registry {} wants its password sent in clear text to {realm}",
                self.host
            ));
        }
        let answer = self.ask(&uri, &HeaderMap::new(), self.credentials.as_ref()).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refusal(&format!("a token of {realm}"), answer).await);
        }
        let bytes = answer.bytes(TOKEN_MAX).await.map_err(|e| format!("failed to {e}"))?;
        let none = || format!("there is no token in the answer of {realm}");
        let parsed: Token = serde_json::from_slice(&bytes).map_err(|_| none())?;
        let token =
            parsed.token.filter(|t| !t.is_empty()).or(parsed.access_token).ok_or_else(none)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| none())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Why something was not given.
    pub(crate) async fn refusal(&self, what: &str, answer: Answer) -> String {
        let status = answer.status;
        let why = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("; does --docker_config have the right entry for '{}'?", self.host)
            }
            StatusCode::NOT_FOUND => "; is the name right?".to_owned(),
            StatusCode::TOO_MANY_REQUESTS => "; it was asked too often".to_owned(),
            _ => String::new(),
        };
        let said =
            answer.bytes(TOKEN_MAX).await.map(|bytes| first_error(&bytes)).unwrap_or_default();
        format!("the registry {} does not give {what}: {status}{said}{why}", self.host)
    }
}

/// The scheme for a registry that an image names (spec/agent.md 6.6).
fn scheme_of(registry: &str) -> &'static str {
    match registry.rsplit_once(':') {
        Some((_, "443")) => "https",
        Some((_, "80")) | Some(("localhost" | "127.0.0.1" | "[::1]", _)) => "http",
        _ => "https",
    }
}

/// The message of the first error in the body of a refusal.
fn first_error(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let message = value["errors"][0]["message"].as_str().unwrap_or_default();
    let clean: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    if clean.is_empty() { clean } else { format!(" ({clean})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_registry_and_the_scheme_follow_from_the_name() {
        let check = |default: &str, name: &str, expected: &str| {
            let default = DefaultRegistry::parse(default).expect("a registry");
            let reference = Reference::parse(name).expect("a reference");
            let client = Client::new(Duration::from_secs(1));
            let found = Repository::of(&reference, &default, &Credentials::default(), &client);
            assert_eq!(format!("{}://{}/{}", found.scheme, found.host, found.path), expected);
        };
        let hub = "https://registry-1.docker.io";
        check(hub, "a", "https://registry-1.docker.io/library/a");
        check(hub, "a/b", "https://registry-1.docker.io/a/b");
        check(hub, "docker.io/a", "https://registry-1.docker.io/library/a");
        check(hub, "quay.io/a", "https://quay.io/a");
        check(hub, "h.x:443/a", "https://h.x:443/a");
        check(hub, "h.x:80/a", "http://h.x:80/a");
        check(hub, "h.x:5000/a", "https://h.x:5000/a");
        check(hub, "localhost:5000/a", "http://localhost:5000/a");
        check(hub, "127.0.0.1:443/a", "https://127.0.0.1:443/a");
        check(hub, "localhost/a", "https://localhost/a");
        check("http://10.0.0.1:5000", "a", "http://10.0.0.1:5000/a");
        for wrong in ["https://", "https://h/path", "https://u:p@h"] {
            assert!(DefaultRegistry::parse(wrong).is_err(), "{wrong}");
        }
    }
}
