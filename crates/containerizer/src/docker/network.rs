//! The network of a container: its mode, host name, ports and name servers (spec/agent.md 6.7).

use super::parameters::{bind_port, place};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wire::v1;
use wire::v1::container_info::docker_info::Network;

/// Name servers of one kind of network: an entry of `--default_container_dns`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameServers {
    network_mode: Mode,
    network_name: Option<String>,
    dns: Servers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Mode {
    Bridge,
    User,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Servers {
    #[serde(default)]
    nameservers: Vec<String>,
    #[serde(default)]
    search: Vec<String>,
    #[serde(default)]
    options: Vec<String>,
}

/// Sets network mode, host name and ports.
///
/// # Errors
/// Names the field.
pub(super) fn add(
    body: &mut Map<String, Value>,
    container: &v1::ContainerInfo,
    docker: &v1::container_info::DockerInfo,
    resources: &[v1::Resource],
) -> Result<(), String> {
    if container.network_infos.len() > 1 {
        return Err("'network_infos': a container of type DOCKER has one network".to_owned());
    }
    let mode = docker.network();
    let name = match mode {
        Network::Host => "host",
        Network::Bridge => "bridge",
        Network::None => "none",
        Network::User => {
            let name = container.network_infos.first().and_then(|n| n.name.as_deref());
            name.ok_or("'network_infos': a network USER needs one with its 'name'")?
        }
    };
    place(body, "HostConfig/NetworkMode", json!(name));
    if let Some(hostname) = &container.hostname {
        if name == "host" {
            return Err("'hostname' can't be set in the network HOST".to_owned());
        }
        place(body, "Hostname", json!(hostname));
    }
    if docker.port_mappings.is_empty() {
        return Ok(());
    }
    if matches!(name, "host" | "none") {
        return Err("'port_mappings' need the network BRIDGE or USER".to_owned());
    }
    for mapping in &docker.port_mappings {
        let host = mapping.host_port;
        let ports =
            resources.iter().filter(|r| r.name == "ports").filter_map(|r| r.ranges.as_ref());
        let mut ranges = ports.flat_map(|r| &r.range);
        if !ranges.any(|r| (r.begin..=r.end).contains(&u64::from(host))) {
            return Err(format!("'port_mappings': port {host} is not among the resources"));
        }
        let protocol = mapping.protocol.as_deref().unwrap_or("tcp").to_lowercase();
        let inside = format!("{}/{protocol}", mapping.container_port);
        bind_port(body, "", &host.to_string(), &inside)?;
    }
    Ok(())
}

/// Sets name servers by default, unless parameters name some.
pub(super) fn add_name_servers(
    body: &mut Map<String, Value>,
    docker: &v1::container_info::DockerInfo,
    defaults: &[NameServers],
) {
    let is_given = |name: &str| body["HostConfig"].get(name).is_some();
    if ["Dns", "DnsSearch", "DnsOptions"].into_iter().any(is_given) {
        return;
    }
    let network = body["HostConfig"]["NetworkMode"].as_str();
    let of = |mode: Mode, name: Option<&str>| {
        let mut all = defaults.iter().rev();
        all.find(|d| {
            d.network_mode == mode && (mode == Mode::Bridge || d.network_name.as_deref() == name)
        })
    };
    let found = match docker.network() {
        Network::Bridge => of(Mode::Bridge, None),
        Network::User => of(Mode::User, network).or_else(|| of(Mode::User, None)),
        Network::Host | Network::None => None,
    };
    let Some(NameServers { dns, .. }) = found else { return };
    for (name, list) in
        [("Dns", &dns.nameservers), ("DnsSearch", &dns.search), ("DnsOptions", &dns.options)]
    {
        if !list.is_empty() {
            place(body, &format!("HostConfig/{name}"), json!(list));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::container_info::docker_info::PortMapping;

    fn docker(
        network: Network,
        ports: &[(u32, u32, Option<&str>)],
    ) -> v1::container_info::DockerInfo {
        let mapping =
            |(host_port, container_port, protocol): &(u32, u32, Option<&str>)| PortMapping {
                host_port: *host_port,
                container_port: *container_port,
                protocol: protocol.map(str::to_owned),
            };
        v1::container_info::DockerInfo {
            network: Some(network as i32),
            port_mappings: ports.iter().map(mapping).collect(),
            ..Default::default()
        }
    }

    fn container(hostname: Option<&str>, networks: &[&str]) -> v1::ContainerInfo {
        let network =
            |name: &&str| v1::NetworkInfo { name: Some((*name).to_owned()), ..Default::default() };
        v1::ContainerInfo {
            hostname: hostname.map(str::to_owned),
            network_infos: networks.iter().map(network).collect(),
            ..Default::default()
        }
    }

    #[track_caller]
    fn check(
        container: &v1::ContainerInfo,
        docker: &v1::container_info::DockerInfo,
        want: Result<Value, &str>,
    ) {
        let range = v1::value::Range { begin: 31000, end: 31010 };
        let ports = v1::Resource {
            name: "ports".to_owned(),
            ranges: Some(v1::value::Ranges { range: vec![range] }),
            ..Default::default()
        };
        let mut body = Map::new();
        let got = add(&mut body, container, docker, &[ports]).map(|()| Value::Object(body));
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn modes_names_and_ports() {
        let plain = container(None, &[]);
        check(
            &plain,
            &v1::container_info::DockerInfo::default(),
            Ok(json!({ "HostConfig": { "NetworkMode": "host" } })),
        );
        check(
            &container(Some("web"), &[]),
            &docker(Network::None, &[]),
            Ok(json!({ "Hostname": "web", "HostConfig": { "NetworkMode": "none" } })),
        );
        check(
            &container(None, &["blue"]),
            &docker(Network::User, &[(31000, 80, None), (31001, 53, Some("UDP"))]),
            Ok(json!({
                "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
                "HostConfig": {
                    "NetworkMode": "blue",
                    "PortBindings": {
                        "80/tcp": [{ "HostIp": "", "HostPort": "31000" }],
                        "53/udp": [{ "HostIp": "", "HostPort": "31001" }]
                    }
                }
            })),
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let plain = container(None, &[]);
        let text = "'hostname' can't be set in the network HOST";
        check(&container(Some("web"), &[]), &docker(Network::Host, &[]), Err(text));
        let text = "'port_mappings' need the network BRIDGE or USER";
        check(&plain, &docker(Network::Host, &[(31000, 80, None)]), Err(text));
        let text = "'port_mappings': port 80 is not among the resources";
        check(&plain, &docker(Network::Bridge, &[(80, 80, None)]), Err(text));
        let text = "'network_infos': a network USER needs one with its 'name'";
        check(&plain, &docker(Network::User, &[]), Err(text));
        let text = "'network_infos': a container of type DOCKER has one network";
        check(&container(None, &["a", "b"]), &docker(Network::User, &[]), Err(text));
    }

    #[test]
    fn name_servers_by_network() {
        let text = r#"[
            {"network_mode": "BRIDGE", "dns": {"nameservers": ["1.1.1.1"], "search": ["x"]}},
            {"network_mode": "USER", "dns": {"nameservers": ["2.2.2.2"]}},
            {"network_mode": "USER", "network_name": "blue", "dns": {"options": ["ndots:2"]}}
        ]"#;
        let defaults: Vec<NameServers> = serde_json::from_str(text).expect("name servers");
        let check = |network: Network, name: &str, want: Value| {
            let mut body = Map::new();
            place(&mut body, "HostConfig/NetworkMode", json!(name));
            add_name_servers(&mut body, &docker(network, &[]), &defaults);
            let mut want = want;
            want["NetworkMode"] = json!(name);
            assert_eq!(body["HostConfig"], want);
        };
        check(Network::Bridge, "bridge", json!({ "Dns": ["1.1.1.1"], "DnsSearch": ["x"] }));
        check(Network::User, "blue", json!({ "DnsOptions": ["ndots:2"] }));
        check(Network::User, "red", json!({ "Dns": ["2.2.2.2"] }));
        check(Network::Host, "host", json!({}));
        let mut body = Map::new();
        place(&mut body, "HostConfig/DnsSearch", json!(["mine"]));
        add_name_servers(&mut body, &docker(Network::Bridge, &[]), &defaults);
        assert_eq!(Value::Object(body), json!({ "HostConfig": { "DnsSearch": ["mine"] } }));
    }
}
