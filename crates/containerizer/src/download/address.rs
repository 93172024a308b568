//! Where a URI leads.

use super::Fault;
use base64::Engine as _;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

/// A URI, taken apart.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) host_header: HeaderValue,
    /// `Basic …`, if the URI names a user.
    pub(super) credentials: Option<HeaderValue>,
    pub(super) path: PathAndQuery,
}

impl Address {
    pub(super) fn of(uri: &Uri) -> Result<Self, Fault> {
        let fault = |text: &str| Fault::Uri { uri: without_user(uri), text: text.to_owned() };
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(fault("it must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| fault("there is no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(fault("there is no host"));
        }
        let (user, host_and_port) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        if authority.port_u16().is_none() && host_and_port != authority.host() {
            return Err(fault("the port is not a number"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let host_header =
            HeaderValue::from_str(host_and_port).map_err(|_| fault("the host is malformed"))?;
        let credentials = user.map(|user| basic(&decode(user)));
        let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Self { tls, host, port, host_header, credentials, path })
    }

    /// Host and port, for messages.
    pub(super) fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Credentials as a header field: `user:password` becomes `Basic …`.
pub(crate) fn basic(credentials: &[u8]) -> HeaderValue {
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}"))
        .expect("base64 has only characters that a header may have");
    value.set_sensitive(true);
    value
}

/// Where a redirect leads.
pub(super) fn relative(from: &Uri, location: &HeaderValue) -> Result<Uri, Fault> {
    let fault = |text: &str| Fault::Redirect { uri: without_user(from), text: text.to_owned() };
    let text = location.to_str().map_err(|_| fault("the location is not text"))?;
    let text = text.split_once('#').map_or(text, |(text, _)| text);
    let scheme = from.scheme_str().unwrap_or("http");
    let authority = from.authority().map_or("", |a| a.as_str());
    let whole = if text.contains("://") {
        text.to_owned()
    } else if text.starts_with("//") {
        format!("{scheme}:{text}")
    } else if text.starts_with('/') {
        format!("{scheme}://{authority}{text}")
    } else {
        let (directory, _) = from.path().rsplit_once('/').unwrap_or_default();
        format!("{scheme}://{authority}{directory}/{text}")
    };
    whole.parse().map_err(|e| fault(&format!("the location '{text}' is malformed: {e}")))
}

/// A URI for messages and logs.
pub(super) fn without_user(uri: &Uri) -> String {
    let text = uri.to_string();
    match text.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find('/').unwrap_or(rest.len());
        let at = rest[..end].rfind('@')?;
        Some(format!("{scheme}://{}", &rest[at + 1..]))
    }) {
        Some(clean) => clean,
        None => text,
    }
}

/// Undoes percent encoding.
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|p| std::str::from_utf8(p).ok());
        match pair.filter(|_| *first == b'%').and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("a URI")
    }

    #[test]
    fn an_address_has_defaults_and_keeps_its_credentials_out_of_messages() {
        let address = Address::of(&uri("https://a%40b:c@h/x?y")).expect("an address");
        assert!(address.tls);
        assert_eq!((address.shown(), address.path.as_str()), ("h:443".to_owned(), "/x?y"));
        assert_eq!(address.credentials.expect("credentials"), basic(b"a@b:c"));
        assert_eq!(address.host_header, "h");
        let address = Address::of(&uri("http://[::1]:81")).expect("an address");
        assert_eq!((address.shown(), address.path.as_str()), ("[::1]:81".to_owned(), "/"));
        for wrong in ["http://h:/", "http://h:port/", "http://u@h:99999/"] {
            let error = Address::of(&uri(wrong)).expect_err(wrong).to_string();
            assert!(error.ends_with("the port is not a number"), "{error}");
        }
        let error = Address::of(&uri("ftp://u:p@h/x")).expect_err("not HTTP");
        let text = "understand 'ftp://h/x': it must begin with http:// or https://";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn redirects_may_be_relative() {
        let check = |location: &str, expected: &str| {
            let location = HeaderValue::from_str(location).expect("a value");
            let found = relative(&uri("http://h:1/a/b?c"), &location).expect("a URI");
            assert_eq!(found.to_string(), expected);
        };
        check("https://other/x", "https://other/x");
        check("//other/x", "http://other/x");
        check("/x?y#z", "http://h:1/x?y");
        check("x", "http://h:1/a/x");
    }
}
