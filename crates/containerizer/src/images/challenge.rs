//! What a registry says with 401: how it wants to know who we are (RFC 9110, 11.6.1; the distribution project's token
//! specification).

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Uri};

/// One way to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token of another server.
    Bearer {
        /// Where it is to be had.
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The challenge among the header fields that can be met; a token is preferred.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let all: Vec<Self> = values.flat_map(Self::parse).collect();
        let bearer = all.iter().find(|c| matches!(c, Self::Bearer { .. }));
        bearer.or(all.first()).cloned()
    }

    /// `scheme name=value, name="quoted \" value", scheme …`; what is not known or malformed is left out.
    fn parse(text: &str) -> Vec<Self> {
        let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
        let mut rest = text.trim_start_matches([' ', ',']);
        while !rest.is_empty() {
            let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            match after.trim_start().strip_prefix('=') {
                Some(value) => {
                    let (value, after) = one_value(value.trim_start());
                    if let Some((_, parameters)) = found.last_mut() {
                        parameters.push((word.to_ascii_lowercase(), value));
                    }
                    rest = after;
                }
                None => {
                    found.push((word.to_ascii_lowercase(), Vec::new()));
                    rest = after;
                }
            }
            rest = rest.trim_start_matches([' ', ',']);
        }
        found
            .into_iter()
            .filter_map(|(scheme, parameters)| Self::make(&scheme, parameters))
            .collect()
    }

    fn make(scheme: &str, parameters: Vec<(String, String)>) -> Option<Self> {
        let take = |name: &str| {
            let mut all = parameters.iter();
            all.find(|(n, v)| n == name && !v.is_empty()).map(|(_, value)| value.clone())
        };
        match scheme {
            "basic" => Some(Self::Basic),
            "bearer" => Some(Self::Bearer {
                realm: take("realm")?,
                service: take("service"),
                scope: take("scope"),
            }),
            _ => None,
        }
    }

    /// Where to ask for a token for a repository.
    ///
    /// # Errors
    /// When the realm is no URI.
    pub(crate) fn token_uri(
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<Uri, String> {
        let mut uri = realm.to_owned();
        let mut add = |name: &str, value: &str| {
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri.push_str(name);
            uri.push('=');
            uri.push_str(&encode(value));
        };
        if let Some(service) = service {
            add("service", service);
        }
        add("scope", scope);
        uri.parse().map_err(|e| format!("the realm '{realm}' of the registry is no URI: {e}"))
    }
}

/// A token or quoted string, and what follows.
fn one_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// Percent encoding of all that is not plain.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let mut headers = HeaderMap::new();
        headers
            .append(WWW_AUTHENTICATE, "Basic realm=\"a, b\", Negotiate".parse().expect("a value"));
        assert_eq!(Challenge::of(&headers), Some(Challenge::Basic));
        let bearer = r#"BEARER realm="https://h/token?x=1",service="a \"b\" c",scope="repository:a/b:pull,push", error=x"#;
        headers.append(WWW_AUTHENTICATE, bearer.parse().expect("a value"));
        let Some(Challenge::Bearer { realm, service, scope }) = Challenge::of(&headers) else {
            panic!()
        };
        assert_eq!(service.as_deref(), Some("a \"b\" c"));
        let uri = Challenge::token_uri(&realm, service.as_deref(), &scope.expect("a scope"))
            .expect("a URI");
        assert_eq!(
            uri.to_string(),
            "https://h/token?x=1&service=a%20%22b%22%20c&scope=repository%3Aa%2Fb%3Apull%2Cpush"
        );
        assert_eq!(Challenge::parse("Bearer service=x"), []);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_without_a_panic(text in ".{0,200}") {
            Challenge::parse(&text);
        }
    }
}
