//! Plugins that fail, hang or talk nonsense; agents that die at the wrong time.

use super::*;

const ANSWER: &str = r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.9/24"}]}'; exit 0"#;

fn network(plugins: &[&str]) -> Value {
    let plugins: Vec<Value> = plugins.iter().map(|plugin| json!({"type": plugin})).collect();
    json!({"name": "net", "cniVersion": "0.4.0", "plugins": plugins})
}

#[tokio::test]
async fn the_reason_of_a_plugin_is_the_reason_of_the_launch() {
    let Some(networked) = Networked::new("posix/cpu") else { return };
    networked.configure(&network(&["fake"]));
    let cases = [
        (
            r#"echo '{"code": 7, "msg": "no addresses", "details": "range is full"}'; exit 1"#,
            "CNI plugin 'fake' failed to ADD: no addresses: range is full",
        ),
        (
            "echo oops >&2; exit 3",
            "CNI plugin 'fake' failed to ADD: it ended with exit status: 3: oops",
        ),
        ("kill -9 $$", "CNI plugin 'fake' failed to ADD: it ended with signal: 9 (SIGKILL)"),
        (
            "echo garbage",
            "CNI plugin 'fake' failed to ADD: its answer is no result: expected a JSON object: \
             expected value at line 1 column 1; it said 'garbage'",
        ),
        (
            "true",
            "CNI plugin 'fake' failed to ADD: its answer is no result: expected a JSON object: EOF \
             while parsing a value at line 1 column 0; it said ''",
        ),
        (
            r#"echo '{"ips": [{"address": "nowhere"}]}'"#,
            "CNI plugin 'fake' failed to ADD: its result is malformed: 'nowhere' is no address",
        ),
    ];
    for (n, (script, want)) in cases.iter().enumerate() {
        networked.plugin("fake", &format!("[ $CNI_COMMAND = DEL ] && exit 0\n{script}"));
        let id = format!("c{n}");
        let text = networked.refusal(networked.spec(&id, "true", &["net"])).await;
        assert_eq!(text, format!("network/cni: network 'net': {want}"));
        // What it may have begun is undone.
        let calls = networked.calls();
        assert_eq!(calls[calls.len() - 2..], [format!("ADD {id} eth0"), format!("DEL {id} eth0")]);
        networked.assert_nothing_left();
    }
    std::fs::remove_file(networked.directory.join("plugins/fake")).expect("removed");
    let text = networked.refusal(networked.spec("none", "true", &["net"])).await;
    assert!(text.contains("there is no CNI plugin 'fake' in "), "{text}");
    networked.assert_nothing_left();
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_what_it_started() {
    let Some(mut networked) = Networked::new("posix/cpu") else { return };
    networked.timeout = Duration::from_millis(300);
    networked.restart();
    networked.configure(&network(&["fake"]));
    let pid = networked.directory.join("pid");
    let script =
        format!("[ $CNI_COMMAND = DEL ] && exit 0\nsleep 1000 & echo $! > {}; wait", pid.display());
    networked.plugin("fake", &script);
    let text = networked.refusal(networked.spec("a", "true", &["net"])).await;
    let want = "network/cni: network 'net': CNI plugin 'fake' failed to ADD: it took longer than 300ms and was killed";
    assert_eq!(text, want);
    let pid = std::fs::read_to_string(pid).expect("a process");
    for _ in 0..1000 {
        if !is_alive(&pid) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!is_alive(&pid), "what it started runs on");
    networked.assert_nothing_left();
}

#[tokio::test]
async fn plugins_of_a_list_hear_of_each_other_and_of_what_was_asked_for() {
    let Some(mut networked) = Networked::new("posix/cpu") else { return };
    let directory = networked.directory.display().to_string();
    let input = |name: &str| format!("cat > {directory}/{name}.$CNI_COMMAND");
    networked.plugin("first", &format!("{}\n{ANSWER}", input("first")));
    networked.plugin("second", &format!("{}\n{ANSWER}", input("second")));
    let mut config = network(&["first", "second"]);
    config["plugins"][1]["capabilities"] = json!({"portMappings": true});
    networked.configure(&config);
    let mut spec = networked.spec("a", "true", &["net"]);
    let info = &mut spec.container.as_mut().expect("one").network_infos[0];
    info.port_mappings = vec![v1::network_info::PortMapping {
        host_port: 31000,
        container_port: 80,
        protocol: Some("TCP".to_owned()),
    }];
    networked.output(spec).await;
    let calls = ["ADD a eth0", "ADD a eth0", "DEL a eth0", "DEL a eth0"];
    assert_eq!(networked.calls(), calls);
    let read = |name: &str| -> Value {
        let text = std::fs::read(networked.directory.join(name)).expect("an input");
        serde_json::from_slice(&text).expect("JSON")
    };
    let (first, second) = (read("first.ADD"), read("second.ADD"));
    let asked = &first["args"]["org.apache.mesos"]["network_info"];
    assert_eq!(asked["port_mappings"][0]["host_port"], 31000, "{first}");
    assert_eq!((&first["prevResult"], &first["runtimeConfig"]), (&Value::Null, &Value::Null));
    assert_eq!(second["prevResult"]["ips"][0]["address"], "10.0.0.9/24");
    let mappings = json!([{"hostPort": 31000, "containerPort": 80, "protocol": "tcp"}]);
    assert_eq!(second["runtimeConfig"]["portMappings"], mappings);
    assert_eq!(read("first.DEL")["prevResult"], second["prevResult"]);
    networked.assert_nothing_left();
}

#[tokio::test]
async fn what_can_not_be_undone_is_tried_again_by_the_next_agent() {
    let Some(mut networked) = Networked::new("posix/cpu") else { return };
    networked.configure(&network(&["fake"]));
    networked.plugin("fake", &format!("[ $CNI_COMMAND = DEL ] && exit 1\n{ANSWER}"));
    networked.output(networked.spec("a", "true", &["net"])).await;
    networked.host.mesos.forget("a");
    assert_eq!(networked.calls(), ["ADD a eth0", "DEL a eth0"]);
    networked.plugin("fake", ANSWER);
    networked.restart();
    networked.recover().await;
    assert_eq!(networked.calls().last().map(String::as_str), Some("DEL a eth0"));
    assert_eq!(networked.calls().len(), 3);
    networked.assert_nothing_left();
}

#[tokio::test]
async fn a_running_container_is_checked_after_a_restart() {
    let Some(mut networked) = Networked::new("posix/cpu") else { return };
    networked.configure(&network(&["fake"]));
    networked.plugin("fake", ANSWER);
    let spec = networked.spec("a", "sleep 1000", &["net"]);
    networked.start(spec).await.expect("it starts");
    networked.restart();
    networked.recover().await;
    for _ in 0..2000 {
        if networked.calls().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(networked.calls(), ["ADD a eth0", "CHECK a eth0"]);
    networked.host.mesos.destroy("a");
    networked.host.exit().await;
    assert_eq!(networked.calls().len(), 3);
    networked.assert_nothing_left();
}

#[tokio::test]
async fn networks_need_their_directories() {
    if !is_root() {
        eprintln!("skipped: only root can make network namespaces");
        return;
    }
    let host = Host::new();
    let mut spec = host.spec("a", "true");
    spec.container = Some(v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos as i32,
        network_infos: vec![v1::NetworkInfo { name: Some("net".to_owned()), ..Default::default() }],
        ..Default::default()
    });
    let refused = host.mesos.start(spec).await.expect_err("refused");
    let text = "network/cni: 'network_infos' names the network 'net', and --network_cni_config_dir \
                and --network_cni_plugins_dir are not set";
    assert_eq!(refused, StartError::Launch(text.to_owned()));
}
