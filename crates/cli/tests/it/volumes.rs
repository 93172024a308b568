//! Data outlives tasks, executors and agents.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use testkit::framework::command_task;
use testkit::http;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

const ROLE: &str = "db/main";

fn volume() -> Value {
    let mut volume = reserved("disk", 64.0);
    volume["disk"] =
        json!({"persistence": {"id": "v"}, "volume": {"container_path": "data", "mode": "RW"}});
    volume
}

fn reserved(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount},
        "reservations": [{"type": "DYNAMIC", "role": ROLE}]})
}

fn agent_id(cluster: &Cluster) -> String {
    let slaves = http::get(&cluster.master(), "/slaves").json();
    slaves["slaves"][0]["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn post_form(cluster: &Cluster, path: &str, list: &str, resources: &Value) {
    let body = format!("slaveId={}&{list}={resources}", agent_id(cluster));
    let answer = http::send(&cluster.master(), "POST", path, &body);
    assert_eq!(answer.status, 202, "{path}: {}", answer.text());
}

fn directory(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("agent0/volumes/roles/db main/v")
}

/// A task with the volume on the first offer that has it.
fn run(framework: &mut Framework, id: &str, command: &str) -> String {
    let offer = loop {
        let offer = framework.offers().remove(0);
        if offer["resources"].to_string().contains("persistence") {
            break offer;
        }
        framework.decline(&offer, 0.0);
    };
    let mut task = command_task(&offer, id, command, 0.1, 32.0);
    let mut used = volume();
    used["allocation_info"] = json!({"role": ROLE});
    task["resources"].as_array_mut().expect("a list").push(used);
    framework.launch(&offer, &[task]);
    let last = framework.until_end(id).pop().expect("a status");
    let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
    match text("state").as_str() {
        "TASK_FINISHED" => "TASK_FINISHED".to_owned(),
        // The offer ended with the agent's connection, and its end was not read yet.
        "TASK_LOST" if text("reason") == "REASON_INVALID_OFFERS" => run(framework, id, command),
        other => format!("{other}: {}: {}", text("reason"), text("message")),
    }
}

#[test]
fn a_persistent_volume_outlives_its_task_and_a_killed_agent() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    post_form(&cluster, "/reserve", "resources", &json!([reserved("disk", 64.0)]));
    post_form(&cluster, "/create-volumes", "volumes", &json!([volume()]));
    wait::until("the directory", Duration::from_secs(10), || {
        directory(&cluster).is_dir().then_some(())
    });
    let subscription = FrameworkOptions {
        roles: vec![ROLE.to_owned()],
        capabilities: vec!["MULTI_ROLE".to_owned(), "RESERVATION_REFINEMENT".to_owned()],
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &subscription);
    assert_eq!(run(&mut framework, "writer", "echo hello > data/greeting"), "TASK_FINISHED");
    cluster.kill_agent(0);
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    let slaves = http::get(&cluster.master(), "/slaves").json();
    assert_eq!(slaves["slaves"][0]["reserved_resources"][ROLE]["disk"], 64.0, "{slaves}");
    assert_eq!(run(&mut framework, "reader", "grep -q hello data/greeting"), "TASK_FINISHED");

    let destroy = json!({"type": "DESTROY_VOLUMES", "destroy_volumes": {
        "agent_id": {"value": agent_id(&cluster)}, "volumes": [volume()]}});
    let answer = http::post_json(&cluster.master(), "/api/v1", &[], &destroy);
    assert_eq!(answer.status, 202, "{}", answer.text());
    wait::until("the directory is gone", Duration::from_secs(10), || {
        (!directory(&cluster).exists()).then_some(())
    });
    post_form(&cluster, "/unreserve", "resources", &json!([reserved("disk", 64.0)]));
    let again = http::post_json(&cluster.master(), "/api/v1", &[], &destroy);
    assert_eq!(
        (again.status, again.text().as_str()),
        (400, "Invalid DESTROY operation: Persistent volumes not found")
    );
}
