//! Pods of real processes: how their tasks end, and what is told of their containers.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::framework::{command_task, text};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http, wait};

/// A task that does not mind SIGTERM.
const STUBBORN: &str = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done";

fn launch(framework: &mut Framework, offer: &Value, id: &str, tasks: &[Value]) {
    let resources = command_task(offer, "", "", 0.1, 32.0)["resources"].clone();
    let mut executor = json!({"type": "DEFAULT", "executor_id": {"value": id},
        "framework_id": {"value": framework.id}, "resources": resources});
    let disk = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 1},
        "allocation_info": offer["allocation_info"]});
    executor["resources"].as_array_mut().expect("resources").push(disk);
    let group = json!({"executor": executor, "task_group": {"tasks": tasks}});
    let answer = framework.call(&json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH_GROUP", "launch_group": group}]}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
}

fn grace(seconds: f64) -> Value {
    json!({"grace_period": {"nanoseconds": (seconds * 1e9) as i64}})
}

/// The last status of a task, and how long it took from now on.
fn end(framework: &mut Framework, task: &str) -> (Value, Duration) {
    let begun = Instant::now();
    let status = framework.until_end(task).pop().expect("an end");
    (status, begun.elapsed())
}

#[test]
fn kills_wait_as_long_as_the_call_or_else_the_task_says() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    for (id, policy) in [("own", None), ("overridden", Some(grace(0.3)))] {
        let offer = framework.offers().remove(0);
        // It is asked when it does not mind any more.
        let ready = cluster.directory().join(id);
        let command = STUBBORN.replace("echo ready", &format!("echo > {}", ready.display()));
        let mut task = command_task(&offer, id, &command, 0.1, 32.0);
        let own = if policy.is_some() { 600.0 } else { 1.0 };
        task["kill_policy"] = grace(own);
        launch(&mut framework, &offer, id, &[task]);
        framework.until_state(id, "TASK_RUNNING");
        wait::until("it is ready", Duration::from_secs(20), || ready.exists().then_some(()));
        let mut kill = json!({"task_id": {"value": id}});
        let least = policy.as_ref().map_or(1000, |_| 300);
        if let Some(policy) = policy {
            kill["kill_policy"] = policy;
        }
        let answer = framework.call(&json!({"type": "KILL", "kill": kill}));
        assert_eq!(answer.status, 202, "{}", answer.text());
        let (status, took) = end(&mut framework, id);
        assert_eq!(status["state"], "TASK_KILLED", "{status}");
        assert!(took >= Duration::from_millis(least) - Duration::from_millis(50), "{took:?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

#[test]
fn a_task_that_takes_too_long_fails_and_takes_its_group_along() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let mut slow = command_task(&offer, "slow", STUBBORN, 0.1, 32.0);
    slow["max_completion_time"] = json!({"nanoseconds": 500_000_000});
    let other = command_task(&offer, "other", "sleep 1000", 0.1, 32.0);
    launch(&mut framework, &offer, "pod", &[slow, other]);
    let (status, _) = end(&mut framework, "slow");
    assert_eq!(status["state"], "TASK_FAILED", "{status}");
    assert_eq!(status["reason"], "REASON_MAX_COMPLETION_TIME_REACHED");
    let (status, _) = end(&mut framework, "other");
    assert_eq!(status["state"], "TASK_KILLED", "{status}");
}

#[test]
fn containers_are_listed_as_they_are_asked_for() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let tasks = ["a", "b"].map(|id| command_task(&offer, id, "sleep 1000", 0.1, 32.0));
    launch(&mut framework, &offer, "pod", &tasks);
    let id = |status: &Value, which: &str| {
        text(status["container_status"]["container_id"].pointer(which).expect("an id"))
    };
    let a = framework.until_state("a", "TASK_RUNNING");
    let b = framework.until_state("b", "TASK_RUNNING");
    let (pod, a, b) = (id(&a, "/parent/value"), id(&a, "/value"), id(&b, "/value"));
    let call = |body: Value| {
        let answer = http::post_json(&cluster.agent(0), "/api/v1", &[], &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()
    };
    call(json!({"type": "LAUNCH_CONTAINER", "launch_container":
        {"container_id": {"value": "alone"}, "command": {"value": "sleep 1000"}}}));
    let listed = |nested: bool, standalone: bool| {
        let asked = json!({"show_nested": nested, "show_standalone": standalone});
        let answer = call(json!({"type": "GET_CONTAINERS", "get_containers": asked}));
        let all = answer["get_containers"]["containers"].as_array().expect("a list").clone();
        for container in &all {
            assert!(container["resource_statistics"]["timestamp"].is_number(), "{container}");
            let is_executor = container["executor_id"].is_object();
            assert_eq!(is_executor, container["container_id"]["value"] == pod.as_str());
        }
        let mut ids: Vec<String> = all.iter().map(|c| text(&c["container_id"]["value"])).collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let alone = "alone".to_owned();
    assert_eq!(listed(false, false), std::slice::from_ref(&pod));
    assert_eq!(listed(false, true), sorted(vec![pod.clone(), alone.clone()]));
    assert_eq!(listed(true, false), sorted(vec![pod.clone(), a.clone(), b.clone()]));
    assert_eq!(listed(true, true), sorted(vec![pod.clone(), a, b, alone]));
}

#[test]
fn a_check_runs_as_its_task_and_leaves_the_sandbox_to_it() {
    use std::os::unix::fs::MetadataExt as _;
    if !std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0) {
        eprintln!("skipped: only root can run tasks as another user");
        return;
    }
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let waits =
        "while [ ! -s checked ]; do sleep 0.05; done; test $(cat checked) = nobody && touch mine";
    let mut task = command_task(&offer, "t", waits, 0.1, 32.0);
    task["command"]["user"] = json!("nobody");
    let check = json!({"value": "id -un > checked"});
    task["health_check"] = json!({"type": "COMMAND", "command": check, "delay_seconds": 0,
        "interval_seconds": 0.1, "grace_period_seconds": 30});
    launch(&mut framework, &offer, "pod", &[task]);
    let (status, _) = end(&mut framework, "t");
    assert_eq!(status["state"], "TASK_FINISHED", "{status}");
}
