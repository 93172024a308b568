//! Checks and health checks of real tasks.

use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::framework::{command_task, text};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

fn start() -> (Cluster, Framework) {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let options = FrameworkOptions {
        checkpoint: true,
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let framework = Framework::subscribe(&cluster.master(), &options);
    (cluster, framework)
}

fn often(mut check: Value) -> Value {
    check["delay_seconds"] = json!(0);
    check["interval_seconds"] = json!(0.02);
    check
}

/// The next status whose reason is `reason`.
#[track_caller]
fn told(framework: &mut Framework, task: &str, reason: &str) -> Value {
    loop {
        let status = framework.update(Some(task)).1;
        if status["reason"] == reason {
            assert_eq!(status["state"], "TASK_RUNNING", "{status}");
            return status;
        }
        assert!(status["reason"].is_null(), "waited for {reason}, got {status}");
    }
}

const HEALTH: &str = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";
const CHECK: &str = "REASON_TASK_CHECK_STATUS_UPDATED";

#[test]
fn a_task_is_healthy_as_long_as_its_command_says_so_and_killed_when_it_does_not() {
    let (_cluster, mut framework) = start();
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "t", "touch well; sleep 1000", 0.1, 32.0);
    task["command"]["environment"] = json!({"variables": [{"name": "WHO", "value": "task"}]});
    let command = json!({"value": "echo \"$WHO is checked\"; test -e well"});
    task["health_check"] = often(json!({"type": "COMMAND", "command": command,
        "grace_period_seconds": 0, "consecutive_failures": 3}));
    framework.launch(&offer, &[task]);
    // The first check may come before the file.
    let status = loop {
        let status = told(&mut framework, "t", HEALTH);
        if status["healthy"] == true {
            break status;
        }
    };
    let container = text(&status["container_status"]["container_id"]["value"]);
    let sandbox = sandbox(&_cluster, &container);
    std::fs::remove_file(sandbox.join("well")).expect("the task's file");
    for _ in 0..3 {
        assert_eq!(told(&mut framework, "t", HEALTH)["healthy"], false);
    }
    let end = framework.until_end("t").pop().expect("an end");
    assert_eq!((&end["state"], &end["healthy"]), (&json!("TASK_KILLED"), &json!(false)), "{end}");
    let errors = std::fs::read_to_string(sandbox.join("stderr")).expect("stderr");
    assert!(errors.starts_with("task is checked\n"), "{errors}");
}

fn sandbox(cluster: &Cluster, container: &str) -> std::path::PathBuf {
    let mut open = vec![cluster.directory().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.ends_with(format!("runs/{container}")) {
                return path;
            }
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(path);
            }
        }
    }
    panic!("there is no sandbox of {container}");
}

#[test]
fn what_checks_say_is_told_also_in_a_pod_and_by_the_next_agent() {
    let (mut cluster, mut framework) = start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(AtomicUsize::new(0));
    std::thread::spawn({
        let asked = asked.clone();
        move || {
            use std::io::{Read as _, Write as _};
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 202 x\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    let offer = framework.offers().remove(0);
    let mut checked = command_task(&offer, "http", "sleep 1000", 0.1, 32.0);
    checked["check"] = often(json!({"type": "HTTP", "http": {"port": port, "path": "/x"}}));
    let mut commanded = command_task(&offer, "command", "touch here; sleep 1000", 0.1, 32.0);
    let command = json!({"command": {"value": "test -e here || exit 5; test -e now"}});
    commanded["check"] = often(json!({"type": "COMMAND", "command": command}));
    let mut executor = json!({"type": "DEFAULT", "executor_id": {"value": "pod"},
        "framework_id": {"value": framework.id}});
    executor["resources"] = command_task(&offer, "", "", 0.1, 32.0)["resources"].clone();
    let disk = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 1},
        "allocation_info": offer["allocation_info"]});
    executor["resources"].as_array_mut().expect("resources").push(disk);
    let group = json!({"tasks": [checked, commanded]});
    let answer = framework.call(&json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": group}}]}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let status = told(&mut framework, "http", CHECK);
    assert_eq!(status["check_status"], json!({"type": "HTTP", "http": {"status_code": 202}}));
    let command = loop {
        let status = told(&mut framework, "command", CHECK);
        if status["check_status"]["command"]["exit_code"] == 1 {
            break status;
        }
        assert_eq!(status["check_status"]["command"]["exit_code"], 5, "{status}");
    };
    let pod = text(&command["container_status"]["container_id"]["parent"]["value"]);
    let container = text(&command["container_status"]["container_id"]["value"]);

    cluster.kill_agent(0);
    let before = asked.load(Ordering::SeqCst);
    let now = sandbox(&cluster, &pod).join("containers").join(container).join("now");
    std::fs::write(now, "").expect("a file in the task's sandbox");
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    let status = told(&mut framework, "command", CHECK);
    assert_eq!(status["check_status"]["command"]["exit_code"], 0, "{status}");
    wait::until("the next check", Duration::from_secs(10), || {
        (asked.load(Ordering::SeqCst) > before + 1).then_some(())
    });
}
