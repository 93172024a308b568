//! Containers that are started through the agent's API, for real.

use serde_json::{Value, json};
use std::time::Duration;
use testkit::framework::{command_task, text};
use testkit::http::Connection;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

/// Asks the agent, which may just be starting.
fn call(cluster: &Cluster, call: &Value) -> (u16, String) {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let body = call.to_string();
    wait::until("an agent that has recovered", Duration::from_secs(20), || {
        let mut connection = Connection::open(&cluster.agent(0)).ok()?;
        let answer = connection.request("POST", "/api/v1", &headers, body.as_bytes()).ok()?;
        (answer.status != 503).then(|| (answer.status, answer.text()))
    })
}

fn about(kind: &str, id: &Value) -> Value {
    json!({"type": kind, kind.to_lowercase(): {"container_id": id}})
}

#[test]
fn containers_inside_a_task_and_standalone_ones_outlive_the_agent() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let options = FrameworkOptions {
        checkpoint: true,
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &options);
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "t", "sleep 1000", 0.1, 32.0)]);
    let status = framework.until_state("t", "TASK_RUNNING");
    let task = text(&status["container_status"]["container_id"]["value"]);

    let child = json!({"value": "child", "parent": {"value": task}});
    let launch = |id: &Value, command: &str| {
        let mut launch = about("LAUNCH_CONTAINER", id);
        launch["launch_container"]["command"] = json!({"value": command});
        launch
    };
    let gate = cluster.directory().join("gate");
    let waits = format!("while [ ! -e {} ]; do sleep 0.02; done; exit 3", gate.display());
    assert_eq!(call(&cluster, &launch(&child, &waits)), (200, String::new()));
    assert_eq!(call(&cluster, &launch(&child, &waits)), (202, String::new()));
    let alone = json!({"value": "alone"});
    assert_eq!(call(&cluster, &launch(&alone, "echo $MESOS_SANDBOX; sleep 1000")).0, 200);
    let lost = json!({"value": "child", "parent": {"value": "nobody"}});
    let answer = call(&cluster, &launch(&lost, "true"));
    assert_eq!(answer, (400, "Parent container nobody does not exist".to_owned()));

    cluster.kill_agent(0);
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    std::fs::write(&gate, "").expect("the gate opens");
    let (code, body) = call(&cluster, &about("WAIT_NESTED_CONTAINER", &child));
    assert_eq!(code, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let want =
        json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"exit_status": 3 << 8}});
    assert_eq!(answer, want);
    assert_eq!(call(&cluster, &about("REMOVE_CONTAINER", &child)).0, 200);
    assert_eq!(call(&cluster, &about("WAIT_CONTAINER", &child)).0, 404);

    let mut kill = about("KILL_CONTAINER", &alone);
    kill["kill_container"]["signal"] = json!(15);
    assert_eq!(call(&cluster, &kill).0, 200);
    let (_, body) = call(&cluster, &about("WAIT_CONTAINER", &alone));
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(answer["wait_container"], json!({"exit_status": 15}));
    assert_eq!(call(&cluster, &about("REMOVE_CONTAINER", &alone)).0, 200);
    assert_eq!(call(&cluster, &about("KILL_CONTAINER", &alone)).0, 404);
}
