//! Tasks in containers of Docker's, from `mesos-execute` to the engine.

use base64::Engine as _;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};
use testkit::docker::{DockerEngine, IMAGE, wait_for_state};
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

#[test]
fn a_task_in_a_container_of_dockers_runs_and_ends_with_a_local_cluster() {
    let Some(engine) = DockerEngine::start() else { return };
    let socket = format!("--docker_socket={}", engine.socket().display());
    let mut local = super::local::Local::start(&["--containerizers=docker,mesos", &socket]);
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proffer"));
        command.arg0("mesos-execute").arg(format!("--master=127.0.0.1:{}", local.port));
        command.args(["--containerizer=docker", &format!("--docker_image={IMAGE}")]).args(words);
        command
    };
    let run = |words: &[&str]| -> Output { command(words).output().expect("it runs") };
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let good = run(&["--name=good", "--command=test $FROM_IMAGE = yes && test -d $MESOS_SANDBOX"]);
    assert!(good.status.success(), "{}", text(&good));
    let own = run(&["--name=own", "--no-shell"]);
    assert!(own.status.success(), "{}", text(&own));
    let bad = run(&["--name=bad", "--command=exit 3"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("Container exited with status 3"), "{}", text(&bad));
    let mut long = command(&["--name=long", "--command=sleep 1000"]).spawn().expect("it runs");
    let name = testkit::wait::until("a container runs", std::time::Duration::from_secs(60), || {
        let answer = engine.ask("GET", "/containers/json", &[])?;
        let (_, rest) = answer.split_once("\"Names\":[\"/")?;
        rest.split_once('"').map(|(name, _)| name.to_owned())
    });
    wait_for_state(&engine, &name, "running");
    local.interrupt();
    let _ = long.kill();
    let _ = long.wait();
    let left = engine.ask("GET", "/containers/json", &[]).expect("an answer");
    assert!(!left.contains("\"Names\""), "{left}");
}

#[test]
fn frameworks_learn_the_address_and_the_description_of_a_task_in_dockers_container() {
    let Some(engine) = DockerEngine::start_with_networks() else { return };
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = vec![
        "--containerizers=docker,mesos".to_owned(),
        format!("--docker_socket={}", engine.socket().display()),
    ];
    let cluster = Cluster::start(options);
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "t", "hostname -i; exec sleep 1000", 0.1, 32.0);
    task["container"] = json!({
        "type": "DOCKER", "docker": {"image": IMAGE, "network": "BRIDGE"},
    });
    let secret = json!({"type": "VALUE", "value": {"data": "aHVzaA=="}});
    task["command"]["environment"] = json!({"variables": [
        {"name": "SHOWN", "value": "yes"}, {"name": "KEY", "type": "SECRET", "secret": secret},
    ]});
    framework.launch(&offer, &[task]);
    let running = framework.until_state("t", "TASK_RUNNING");
    let infos = &running["container_status"]["network_infos"];
    let address = infos[0]["ip_addresses"][0]["ip_address"].as_str().expect("an address");
    assert_eq!(infos.as_array().map(Vec::len), Some(1), "{running}");
    let data = running["data"].as_str().expect("data");
    let data = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
    let described: Value = serde_json::from_slice(&data).expect("JSON");
    let bridge = &described[0]["NetworkSettings"]["Networks"]["bridge"];
    assert_eq!(bridge["IPAddress"], address, "{described}");
    let variables = described[0]["Config"]["Env"].to_string();
    assert!(variables.contains("SHOWN=yes") && !variables.contains("KEY"), "{variables}");
    let id = running["container_status"]["container_id"]["value"].as_str().expect("an id");
    assert_eq!(described[0]["Name"], format!("/mesos-{id}"));
    framework.kill_and_wait("t");
}
