//! How a container looks from outside, by what the engine tells of it (spec/agent.md 3.4).

use super::record::Record;
use crate::Appearance;
use serde_json::Value;
use wire::v1::NetworkInfo;
use wire::v1::network_info::{IpAddress, Protocol};

/// Reads the engine's description of a container that was started.
pub(super) fn of(inspected: &Value, record: &Record) -> Appearance {
    Appearance {
        network_class: None,
        networks: network(inspected, record.network.as_ref()).into_iter().collect(),
        description: description(inspected, &record.secret_variables),
    }
}

/// The container's network with its addresses; None if it has none of its own.
fn network(inspected: &Value, asked: Option<&Value>) -> Option<NetworkInfo> {
    let mode = inspected["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    let settings = &inspected["NetworkSettings"];
    // Engines call the network by its name also where it was named otherwise, such as `default`.
    let known = settings["Networks"].get(mode).or_else(|| settings["Networks"].get("bridge"));
    let address = |value: Option<&Value>, protocol| {
        let ip_address = value?.as_str().filter(|text| !text.is_empty())?.to_owned();
        Some(IpAddress { protocol, ip_address: Some(ip_address) })
    };
    let addresses = [
        // The protocol is that of version 4 if nothing is said.
        address(known.and_then(|n| n.get("IPAddress")).or(settings.get("IPAddress")), None),
        address(known.and_then(|n| n.get("GlobalIPv6Address")), Some(Protocol::IPv6 as i32)),
    ];
    let ip_addresses: Vec<IpAddress> = addresses.into_iter().flatten().collect();
    let asked = asked.and_then(|asked| wire::json::from_value(asked).ok());
    (!ip_addresses.is_empty()).then(|| NetworkInfo { ip_addresses, ..asked.unwrap_or_default() })
}

/// The text that `docker inspect` prints: a list of one. Values of secrets are left out.
fn description(inspected: &Value, secrets: &[String]) -> Vec<u8> {
    let mut told = inspected.clone();
    if let Some(variables) = told.pointer_mut("/Config/Env").and_then(Value::as_array_mut) {
        let name = |variable: &Value| {
            let text = variable.as_str().unwrap_or_default();
            text.split_once('=').map_or(text, |(name, _)| name).to_owned()
        };
        variables.retain(|variable| !secrets.contains(&name(variable)));
    }
    Value::Array(vec![told]).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(network: Option<Value>, secrets: &[&str]) -> Record {
        let secret_variables = secrets.iter().map(|name| (*name).to_owned()).collect();
        Record { network, secret_variables, ..Record::default() }
    }

    #[track_caller]
    fn check(inspected: &Value, asked: Option<Value>, want: &[Value]) {
        let got = of(inspected, &record(asked, &[])).networks;
        let got: Vec<Value> = got.iter().map(wire::json::to_value).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn networks_have_the_addresses_of_the_container() {
        let bridge = json!({
            "HostConfig": { "NetworkMode": "bridge" },
            "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "172.17.0.2", "GlobalIPv6Address": "" } } }
        });
        let v4 = json!({ "ip_address": "172.17.0.2", "protocol": "IPv4" });
        check(&bridge, None, &[json!({ "ip_addresses": [v4] })]);
        let user = json!({
            "HostConfig": { "NetworkMode": "blue" },
            "NetworkSettings": { "Networks": { "blue": { "IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd00::2" } } }
        });
        let asked = json!({ "name": "blue", "ip_addresses": [{ "ip_address": "10.0.0.9" }] });
        let (v4, v6) = (
            json!({ "ip_address": "10.0.0.2", "protocol": "IPv4" }),
            json!({ "ip_address": "fd00::2", "protocol": "IPv6" }),
        );
        check(&user, Some(asked), &[json!({ "name": "blue", "ip_addresses": [v4, v6] })]);
        // Engines of long ago.
        let old = json!({ "NetworkSettings": { "IPAddress": "172.17.0.3" } });
        let v4 = json!({ "ip_address": "172.17.0.3", "protocol": "IPv4" });
        check(&old, None, &[json!({ "ip_addresses": [v4] })]);
        let host = json!({
            "HostConfig": { "NetworkMode": "host" },
            "NetworkSettings": { "Networks": { "host": { "IPAddress": "" } }, "IPAddress": "" }
        });
        check(&host, None, &[]);
        check(&Value::Null, None, &[]);
    }

    #[test]
    fn secrets_are_left_out_of_the_description() {
        let inspected = json!({ "Config": { "Env": ["A=1", "KEY=secret", "KEYS=2", "B"] } });
        let told = of(&inspected, &record(None, &["KEY"])).description;
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        assert_eq!(told, json!([{ "Config": { "Env": ["A=1", "KEYS=2", "B"] } }]));
    }
}
