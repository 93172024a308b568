//! Proxies, named by the environment as curl reads it: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, of which
//! all but the first may be in upper case too.

use super::Fault;
use super::address::Address;
use http::{HeaderValue, Uri};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer of a proxy to CONNECT.
const ANSWER_MAX: usize = 16 << 10;

/// Which requests go through which proxy.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    /// Hosts that are asked directly.
    exceptions: Vec<String>,
}

impl Proxies {
    /// What the environment says; `variable` looks into it.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |names: &[&str]| {
            names.iter().find_map(|name| variable(name)).filter(|value| !value.is_empty())
        };
        let all = || set(&["all_proxy", "ALL_PROXY"]);
        let exceptions = set(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let exceptions =
            exceptions.split([',', ' ']).map(|host| host.trim().trim_start_matches('.'));
        Self {
            http: set(&["http_proxy"]).or_else(all),
            https: set(&["https_proxy", "HTTPS_PROXY"]).or_else(all),
            exceptions: exceptions.filter(|host| !host.is_empty()).map(str::to_lowercase).collect(),
        }
    }

    /// The proxy for an address, if one is to be asked.
    pub(super) fn choose(&self, address: &Address) -> Result<Option<Address>, Fault> {
        let Some(text) = (if address.tls { &self.https } else { &self.http }) else {
            return Ok(None);
        };
        let host = address.host.to_lowercase();
        let is_in = |exception: &String| {
            let above = host.strip_suffix(exception.as_str());
            exception == "*" || above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if self.exceptions.iter().any(is_in) {
            return Ok(None);
        }
        let whole = if text.contains("://") { text.clone() } else { format!("http://{text}") };
        let fault =
            |text: String| Fault::Uri { uri: "the proxy of the environment".to_owned(), text };
        let uri: Uri = whole.parse().map_err(|e| fault(format!("{e}")))?;
        let proxy = Address::of(&uri)?;
        if proxy.tls {
            return Err(fault("only proxies with http:// are supported".to_owned()));
        }
        Ok(Some(proxy))
    }
}

/// Has a proxy connect to an address.
pub(super) async fn tunnel(
    stream: &mut TcpStream,
    address: &Address,
    credentials: Option<&HeaderValue>,
) -> io::Result<()> {
    let target = address.shown();
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(credentials) = credentials.and_then(|value| value.to_str().ok()) {
        request.push_str(&format!("Proxy-Authorization: {credentials}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows is not for us.
        answer.push(stream.read_u8().await?);
        if answer.len() > ANSWER_MAX {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if line.starts_with("HTTP/1.") && status.starts_with('2') => Ok(()),
        _ => Err(io::Error::other(format!("the proxy refuses: {line}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_curl_reads_it() {
        let proxies = Proxies::of(|name| match name {
            "http_proxy" => Some("plain:3128".to_owned()),
            "ALL_PROXY" => Some("http://me:secret@any".to_owned()),
            "NO_PROXY" => Some("localhost, .example.com,10.0.0.1".to_owned()),
            "HTTP_PROXY" => panic!("a server may have set it from a request"),
            _ => None,
        });
        let check = |uri: &str, expected: Option<&str>| {
            let address = Address::of(&uri.parse().expect("a URI")).expect("an address");
            let chosen = proxies.choose(&address).expect("a proxy or none");
            assert_eq!(chosen.map(|proxy| proxy.shown()).as_deref(), expected, "{uri}");
        };
        check("http://h/", Some("plain:3128"));
        check("https://h/", Some("any:80"));
        check("http://localhost:5000/", None);
        check("https://a.Example.com/", None);
        check("https://example.com/", None);
        check("https://badexample.com/", Some("any:80"));
        check("http://10.0.0.1/", None);
        assert!(Proxies::of(|_| None).http.is_none());
    }
}
