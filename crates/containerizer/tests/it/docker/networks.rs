//! Networks of a real engine: bridges, published ports, networks of users.

use super::{Node, docker_of, scalar};
use containerizer::docker::{DockerOptions, NameServers};
use containerizer::{Appearance, ContainerSpec, Containerizer as _, ProbeAnswer, Target};
use serde_json::Value;
use std::time::Duration;
use testkit::docker::DockerEngine;
use wire::v1;
use wire::v1::container_info::docker_info::{Network, PortMapping};

#[tokio::test(flavor = "multi_thread")]
async fn a_real_engine_gives_containers_networks_and_ports() {
    let _hierarchies = crate::HIERARCHIES.read().await;
    let Some(engine) = DockerEngine::start_with_networks() else { return };
    let directory = engine.directory().join("agents");
    let node = |name: &str, name_servers: Vec<NameServers>| {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let socket = engine.socket();
        async move {
            let node = Node::new(&socket, &directory).await;
            let options = node.options.clone();
            Node::with(DockerOptions { name_servers, ..options }).await
        }
    };
    published_ports(node("ports", Vec::new()).await, &engine).await;
    a_network_of_users(node("user", Vec::new()).await, &engine).await;
    let name_servers =
        r#"[{"network_mode": "BRIDGE", "dns": {"nameservers": ["10.9.8.7"], "search": ["here"]}}]"#;
    let name_servers = serde_json::from_str(name_servers).expect("name servers");
    names(node("names", name_servers).await).await;
}

fn with_port(mut spec: ContainerSpec, network: Network, port: u32) -> ContainerSpec {
    docker_of(&mut spec).network = Some(network as i32);
    docker_of(&mut spec).port_mappings =
        vec![PortMapping { host_port: port, container_port: 80, protocol: None }];
    let range = v1::value::Range { begin: 31000, end: 31005 };
    spec.resources.push(v1::Resource {
        name: "ports".to_owned(),
        r#type: v1::value::Type::Ranges as i32,
        ranges: Some(v1::value::Ranges { range: vec![range] }),
        ..Default::default()
    });
    spec
}

/// The one address of a container.
#[track_caller]
fn address(appearance: &Appearance) -> String {
    let [network] = &appearance.networks[..] else { panic!("{appearance:?}") };
    let [address] = &network.ip_addresses[..] else { panic!("{network:?}") };
    address.ip_address().to_owned()
}

async fn fetched(engine: &DockerEngine, url: &str) -> String {
    for _ in 0..500 {
        if let Some(text) = engine.in_its_network(&["busybox", "wget", "-q", "-O-", url]) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing is served at {url}");
}

const SERVE: &str = "echo served > page; ip -4 -o addr show eth0; httpd -f -p 80";

async fn published_ports(node: Node, engine: &DockerEngine) {
    let started = node.run(with_port(node.spec("a", SERVE), Network::Bridge, 31000)).await;
    let appearance = started.appearance.expect("it is seen");
    let address = address(&appearance);
    assert_eq!(fetched(engine, "http://127.0.0.1:31000/page").await, "served\n");
    assert_eq!(fetched(engine, &format!("http://{address}/page")).await, "served\n");
    assert!(node.output("a", "stdout").contains(&format!(" {address}/16 ")));
    let told: Value = serde_json::from_slice(&appearance.description).expect("JSON");
    assert_eq!(told[0]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"], address.as_str());
    assert_eq!(told[0]["Name"], "/mesos-a");
    // Checks look from inside.
    let probe = node.docker.probe("a", Target::Http { uri: "http://127.0.0.1:80/page".to_owned() });
    assert_eq!(node.within(probe).await, Ok(ProbeAnswer::Status(200)));
    let usage = node.usage("a").await;
    assert!(usage.net_rx_bytes() > 0 && usage.net_tx_packets() > 0, "{usage:?}");
    // A port that another one has.
    let text = node.refused(with_port(node.spec("b", SERVE), Network::Bridge, 31000)).await;
    assert!(text.contains("port is already allocated"), "{text}");
    // An agent that comes back sees the same.
    let mut node = node.restarted().await;
    let found = node.recover().await;
    assert_eq!(found[0].appearance.as_ref().map(|seen| &seen.networks), Some(&appearance.networks));
    node.tell(|d| d.destroy("a")).await;
    assert_eq!(node.exit().await.0, "a");
    assert_eq!(
        engine.in_its_network(&["busybox", "wget", "-q", "-O-", "http://127.0.0.1:31000/"]),
        None
    );
}

async fn a_network_of_users(mut node: Node, engine: &DockerEngine) {
    let subnet = r#"{"Name":"blue","IPAM":{"Config":[{"Subnet":"10.77.0.0/24"}]}}"#;
    let made = engine.ask("POST", "/networks/create", subnet.as_bytes()).expect("an answer");
    assert!(made.contains(" 201 "), "{made}");
    let in_blue = |mut spec: ContainerSpec| {
        docker_of(&mut spec).network = Some(Network::User as i32);
        let label = v1::Label { key: "tier".to_owned(), value: Some("web".to_owned()) };
        spec.container.as_mut().expect("one").network_infos = vec![v1::NetworkInfo {
            name: Some("blue".to_owned()),
            labels: Some(v1::Labels { labels: vec![label] }),
            ..Default::default()
        }];
        spec
    };
    let server = in_blue(with_port(node.spec("c", SERVE), Network::User, 31001));
    let started = node.run(server).await.appearance.expect("it is seen");
    assert!(address(&started).starts_with("10.77.0."), "{started:?}");
    assert_eq!(started.networks[0].name(), "blue");
    assert_eq!(started.networks[0].labels.as_ref().map_or(0, |l| l.labels.len()), 1);
    assert_eq!(fetched(engine, "http://127.0.0.1:31001/page").await, "served\n");
    // Others of the network reach it by its name.
    node.run(in_blue(node.spec("d", "wget -q -O- http://mesos-c/page"))).await;
    assert_eq!(node.exit().await, ("d".to_owned(), Some(0)), "{}", node.output("d", "stderr"));
    assert_eq!(node.output("d", "stdout"), "served\n");
    let mut unknown = in_blue(node.spec("e", "true"));
    unknown.container.as_mut().expect("one").network_infos[0].name = Some("red".to_owned());
    let text = node.refused(unknown).await;
    assert!(text.contains("network red not found"), "{text}");
    node.tell(|d| d.destroy("c")).await;
    assert_eq!(node.exit().await.0, "c");
}

async fn names(mut node: Node) {
    let mut spec = node.spec("a", "cat /etc/resolv.conf; hostname");
    docker_of(&mut spec).network = Some(Network::Bridge as i32);
    spec.container.as_mut().expect("one").hostname = Some("proffered".to_owned());
    spec.resources = vec![scalar("cpus", 0.1), scalar("mem", 32.0)];
    node.run(spec).await;
    assert_eq!(node.exit().await.1, Some(0));
    let stdout = node.output("a", "stdout");
    for line in ["nameserver 10.9.8.7", "search here", "proffered"] {
        assert!(stdout.lines().any(|l| l == line), "{line} in {stdout}");
    }
}
