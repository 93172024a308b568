//! Tasks on networks of their own, as their framework and operators see them.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use testkit::framework::{command_task, text};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http};

/// Where Debian's package containernetworking-plugins puts them.
const PLUGINS: &str = "/usr/lib/cni";

/// A cluster with a network that is called `net`; its bridge goes with it.
struct Networked {
    cluster: Cluster,
    bridge: String,
}

impl Drop for Networked {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}

/// None: this host can't have networks; says so.
fn networked(number: u8) -> Option<Networked> {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !is_root || !Path::new(PLUGINS).join("bridge").exists() {
        eprintln!(
            "skipped: networks need root, and CNI plugins in {PLUGINS} (package containernetworking-plugins)"
        );
        return None;
    }
    let process = std::process::id() % 256;
    let bridge = format!("pfc{number}-{process}");
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    let networks = testkit::cluster::temporary_directory();
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": bridge, "isGateway": true,
        "ipam": {
            "type": "host-local",
            "subnet": format!("10.{}.{process}.0/24", 220 + number),
            "dataDir": networks.join("ipam"),
        },
    });
    std::fs::write(networks.join("net.conf"), config.to_string()).expect("a configuration");
    options.agent_flags = vec![
        "--isolation=network/cni".to_owned(),
        format!("--network_cni_config_dir={}", networks.display()),
        format!("--network_cni_plugins_dir={PLUGINS}"),
        "--network_enable_snmp_statistics".to_owned(),
        "--network_enable_socket_statistics_summary".to_owned(),
        "--network_enable_socket_statistics_details".to_owned(),
    ];
    Some(Networked { cluster: Cluster::start(options), bridge })
}

fn address(status: &Value) -> String {
    let infos = &status["container_status"]["network_infos"];
    assert_eq!(infos.as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(infos[0]["name"], "net", "{status}");
    text(&infos[0]["ip_addresses"][0]["ip_address"])
}

#[test]
fn frameworks_and_operators_learn_the_addresses_of_tasks() {
    let Some(mut networked) = networked(1) else { return };
    let cluster = &mut networked.cluster;
    let options = FrameworkOptions {
        checkpoint: true,
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &options);
    let offer = framework.offers().remove(0);
    let gate = cluster.directory().join("gate");
    let waits = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    let mut task = command_task(&offer, "t", &waits, 0.1, 32.0);
    task["container"] = json!({"type": "MESOS", "network_infos": [{"name": "net"}]});
    task["health_check"] = json!({"type": "TCP", "tcp": {"port": 9}, "delay_seconds": 1000});
    let mut lost = command_task(&offer, "lost", "true", 0.1, 32.0);
    lost["container"] = json!({"type": "MESOS", "network_infos": [{"name": "nte"}]});
    framework.launch(&offer, &[task, lost]);
    let running = framework.until_state("t", "TASK_RUNNING");
    let ip = address(&running);
    assert!(ip.starts_with("10.221."), "{ip}");
    let refused = framework.until_end("lost");
    let refused = refused.last().expect("an end");
    assert_eq!(refused["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{refused}");
    let message = text(&refused["message"]);
    assert!(message.ends_with("network/cni: Unknown CNI network 'nte'"), "{message}");

    let get = |cluster: &Cluster, path: &str| -> Value {
        let answer = http::get(&cluster.agent(0), path);
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    let containers = get(cluster, "/containers");
    let infos = &containers[0]["status"]["network_infos"];
    assert_eq!(infos[0]["ip_addresses"][0]["ip_address"], ip, "{containers}");
    let statistics = &get(cluster, "/monitor/statistics")[0]["statistics"];
    assert!(statistics["net_tx_bytes"].is_u64(), "{statistics}");
    assert!(statistics["net_rx_dropped"].is_u64(), "{statistics}");
    assert_eq!(statistics["net_tcp_active_connections"], 0.0, "{statistics}");
    assert_eq!(statistics["net_snmp_statistics"]["ip_stats"]["DefaultTTL"], 64, "{statistics}");

    cluster.kill_agent(0);
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    let containers = get(cluster, "/containers");
    assert_eq!(containers[0]["status"]["network_infos"][0]["name"], "net", "{containers}");
    std::fs::write(&gate, "").expect("the gate opens");
    let ended = framework.until_end("t");
    let ended = ended.last().expect("an end");
    assert_eq!((ended["state"].as_str(), address(ended)), (Some("TASK_FINISHED"), ip));

    let ports = Path::new("/sys/class/net").join(&networked.bridge).join("brif");
    assert_eq!(ports.read_dir().expect("a bridge").count(), 0, "an interface is left");
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
    let own = networked.cluster.directory().display().to_string();
    assert!(!table.contains(&own), "left mounted: {table}");
}

#[test]
fn a_pod_has_one_network_for_all_its_tasks() {
    let Some(networked) = networked(2) else { return };
    let mut framework =
        Framework::subscribe(&networked.cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let (agent, offer_id) = (offer["agent_id"].clone(), offer["id"].clone());
    let task = |id: &str| command_task(&offer, id, "sleep 1000", 0.1, 32.0);
    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let executor = json!({
        "type": "DEFAULT",
        "executor_id": {"value": "pod"},
        "framework_id": {"value": framework.id},
        "resources": [resource("cpus", 0.1), resource("mem", 32.0), resource("disk", 10.0)],
        "container": {"type": "MESOS", "network_infos": [{"name": "net"}], "hostname": "pod-1"},
    });
    let group = json!({"tasks": [task("one"), task("two")]});
    let launch = json!({"type": "LAUNCH_GROUP",
        "launch_group": {"executor": executor, "task_group": group}});
    let answer = framework.call(&json!({"type": "ACCEPT",
        "accept": {"offer_ids": [offer_id], "operations": [launch]}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let one = address(&framework.until_state("one", "TASK_RUNNING"));
    assert_eq!(address(&framework.until_state("two", "TASK_RUNNING")), one);
    let answer = http::get(&networked.cluster.agent(0), "/containers");
    let containers: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(agent, offer["agent_id"]);
    let infos = &containers[0]["status"]["network_infos"];
    assert_eq!(infos[0]["ip_addresses"][0]["ip_address"], one, "{containers}");
    framework.kill_and_wait("one");
    let ports = Path::new("/sys/class/net").join(&networked.bridge).join("brif");
    let own = networked.cluster.directory().display().to_string();
    testkit::wait::until("no interface and no mount", std::time::Duration::from_secs(20), || {
        let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let is_gone = ports.read_dir().ok()?.count() == 0 && !table.contains(&own);
        is_gone.then_some(())
    });
}
