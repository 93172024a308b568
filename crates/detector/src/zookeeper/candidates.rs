//! Names and data of the masters that may lead, as they stand in ZooKeeper (spec/operations.md 1.2).

use wire::v1;

/// Label of a candidate whose data is a MasterInfo in JSON, with the separator.
pub const JSON_LABEL: &str = "json.info_";
/// Label of a candidate whose data is a MasterInfo of the v0 API in protobuf.
const BINARY_LABEL: &str = "info";

/// A child of the directory that counts: the lower its number, the earlier it came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Number of the sequence; the lowest one leads.
    pub sequence: i32,
    /// Name of the child.
    pub name: String,
}

impl Candidate {
    /// The candidate of that name; None: the child is something else.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let last = name.rsplit('_').next()?;
        Some(Self { sequence: last.parse().ok()?, name: name.to_owned() })
    }

    /// Who leads among the children of the directory.
    #[must_use]
    pub fn leading<'a>(children: impl IntoIterator<Item = &'a String>) -> Option<Self> {
        children.into_iter().filter_map(|name| Self::of(name)).min()
    }

    /// Who the candidate is.
    ///
    /// # Errors
    /// When the data can't be understood.
    pub fn info(&self, data: &[u8]) -> Result<v1::MasterInfo, String> {
        let label = self.name.rsplit_once('_').map(|(label, _)| label);
        let fault = |e: String| format!("the data of '{}' is not understood: {e}", self.name);
        match label {
            Some("json.info") => wire::json::from_slice(data).map_err(|e| fault(e.to_string())),
            Some(BINARY_LABEL) => {
                wire::protobuf::from_slice(data).map_err(|e| fault(e.to_string()))
            }
            None => {
                let text = std::str::from_utf8(data).map_err(|e| fault(e.to_string()))?;
                let (_, address) = text.rsplit_once('@').unwrap_or(("", text));
                let (host, port) =
                    address.rsplit_once(':').ok_or_else(|| fault(text.to_owned()))?;
                let port = port.trim().parse::<u16>().map_err(|e| fault(e.to_string()))?;
                Ok(v1::MasterInfo {
                    id: text.to_owned(),
                    port: u32::from(port),
                    pid: Some(text.to_owned()),
                    hostname: Some(host.to_owned()),
                    ..Default::default()
                })
            }
            Some(label) => Err(format!("Failed to parse data of unknown label '{label}'")),
        }
    }
}

/// Where a master listens, `host:port`.
#[must_use]
pub fn address(info: &v1::MasterInfo) -> String {
    let given = info.address.as_ref();
    let ip = given.and_then(|a| a.ip.clone().or_else(|| a.hostname.clone()));
    let announced = info.pid.as_deref().and_then(|pid| pid.rsplit_once('@'));
    match (ip, announced) {
        (Some(ip), _) => format!("{ip}:{}", given.map_or(info.port, |a| a.port.cast_unsigned())),
        (None, Some((_, address))) => address.to_owned(),
        (None, None) => {
            format!("{}:{}", std::net::Ipv4Addr::from(info.ip.to_le_bytes()), info.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_leads_whatever_its_label() {
        let names =
            ["log_replicas", "some_thing", "json.info_0000000007", "info_0000000003", "x_y"];
        let names = names.map(str::to_owned);
        assert_eq!(Candidate::leading(&names).map(|c| c.name).as_deref(), Some("info_0000000003"));
        assert_eq!(Candidate::leading(&names[..2]), None);
        assert_eq!(Candidate::of("0000000012").map(|c| c.sequence), Some(12));
    }

    #[test]
    fn data_in_the_three_formats_and_addresses() {
        let json = br#"{"id":"m","ip":16777482,"port":5050,"hostname":"m1.lan","pid":"master@10.1.0.1:5050",
            "address":{"hostname":"m1.lan","ip":"10.1.0.9","port":5051},"version":"1.12.0","unknown":1}"#;
        let of = |name: &str| Candidate::of(name).expect("a candidate");
        let info = of("json.info_0000000001").info(json).expect("valid");
        assert_eq!(address(&info), "10.1.0.9:5051");
        let mut older = v1::MasterInfo { address: None, ..info };
        assert_eq!(address(&older), "10.1.0.1:5050");
        let binary = wire::protobuf::to_vec(&older);
        assert_eq!(of("info_0000000001").info(&binary), Ok(older.clone()));
        older.pid = None;
        assert_eq!(address(&older), "10.1.0.1:5050", "an address as a number");
        let text = of("0000000001").info(b"master@h:5050").expect("valid");
        assert_eq!(address(&text), "h:5050");
    }

    #[test]
    fn garbage_is_named() {
        for (name, data, why) in [
            ("json.info_1", &b"{"[..], "'json.info_1'"),
            ("json.info_1", b"{\"id\":\"m\"}", "'json.info_1'"),
            ("0000000001", b"nobody", "'0000000001'"),
            ("other_1", b"", "unknown label 'other'"),
        ] {
            let error = Candidate::of(name).expect("counts").info(data).expect_err(name);
            assert!(error.contains(why), "{error}");
        }
    }
}
