//! What a plugin answers to ADD: addresses and name servers, in the words of every version of the specification.

use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::net::IpAddr;

/// How names are resolved, by a plugin or by `--default_container_dns`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Resolver {
    /// Addresses of servers.
    #[serde(default)]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default)]
    pub domain: Option<String>,
    /// Domains that names are looked for in.
    #[serde(default)]
    pub search: Vec<String>,
    /// Options, as of resolv.conf(5).
    #[serde(default)]
    pub options: Vec<String>,
}

impl Resolver {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another network says. The first domain holds.
    pub(super) fn add(&mut self, more: Self) {
        self.nameservers.extend(more.nameservers);
        self.domain = self.domain.take().or(more.domain);
        self.search.extend(more.search);
        self.options.extend(more.options);
    }

    /// The text of a `resolv.conf`.
    pub(super) fn to_file(&self) -> String {
        let mut text = String::new();
        if let Some(domain) = &self.domain {
            let _ = writeln!(text, "domain {domain}");
        }
        for (word, list) in [("search", &self.search), ("options", &self.options)] {
            if !list.is_empty() {
                let _ = writeln!(text, "{word} {}", list.join(" "));
            }
        }
        for server in &self.nameservers {
            let _ = writeln!(text, "nameserver {server}");
        }
        text
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    ips: Vec<Address>,
    ip4: Option<OldAddress>,
    ip6: Option<OldAddress>,
    dns: Option<Resolver>,
}

#[derive(Deserialize)]
struct Address {
    address: String,
}

#[derive(Deserialize)]
struct OldAddress {
    ip: String,
}

/// Addresses of the container, and its name servers.
pub(super) fn parse(result: &Value) -> Result<(Vec<IpAddr>, Resolver), String> {
    let Answer { ips, ip4, ip6, dns } =
        Answer::deserialize(result).map_err(|e| format!("its result is malformed: {e}"))?;
    let old = ip4.into_iter().chain(ip6).map(|old| old.ip);
    let addresses = ips.into_iter().map(|new| new.address).chain(old);
    let addresses = addresses.map(|text| {
        let address = text.split_once('/').map_or(text.as_str(), |(address, _)| address);
        address.parse().map_err(|_| format!("its result is malformed: '{text}' is no address"))
    });
    Ok((addresses.collect::<Result<_, _>>()?, dns.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn old_and_new_words() {
        let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1"},
            "ip6": {"ip": "fd00::5/64"}, "dns": {"nameservers": ["10.1.0.1"], "domain": "d"}});
        let new = json!({"ips": [{"version": "4", "address": "10.1.0.5/16", "interface": 2},
            {"address": "fd00::5/64"}], "dns": {"nameservers": ["10.1.0.1"], "domain": "d"}});
        let want: Vec<IpAddr> =
            ["10.1.0.5", "fd00::5"].map(|a| a.parse().expect("an address")).to_vec();
        for result in [old, new] {
            let (addresses, dns) = parse(&result).expect("a result");
            assert_eq!(addresses, want);
            assert_eq!(dns.to_file(), "domain d\nnameserver 10.1.0.1\n");
        }
        assert_eq!(parse(&json!({})), Ok((Vec::new(), Resolver::default())));
        let error = parse(&json!({"ips": [{"address": "10.1"}]})).expect_err("a mistake");
        assert_eq!(error, "its result is malformed: '10.1' is no address");
        assert!(parse(&json!({"ips": 1})).is_err());
    }

    #[test]
    fn resolvers_add_up() {
        let mut all = Resolver { nameservers: vec!["1.1.1.1".to_owned()], ..Default::default() };
        all.add(Resolver {
            nameservers: vec!["2.2.2.2".to_owned()],
            domain: Some("d".to_owned()),
            search: vec!["a".to_owned(), "b".to_owned()],
            options: vec!["ndots:2".to_owned()],
        });
        let want =
            "domain d\nsearch a b\noptions ndots:2\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n";
        assert_eq!(all.to_file(), want);
    }
}
