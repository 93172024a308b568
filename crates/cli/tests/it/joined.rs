//! Volumes of tasks that join an executor which runs already, in the root file system of an image.

use crate::images::{Temporary, furnish, layer, needed};
use crate::tasks::{cluster, nodes};
use crate::volumes::{directory, make_volume, offer, subscribe, with_volume};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use testkit::Framework;
use testkit::framework::command_task;
use testkit::http::Connection;
use testkit::registry::Registry;

/// Where the image has this program.
const PROGRAM: &str = "/program/executor";
/// The variable that makes it the executor.
const VARIABLE: &str = "JOINED_EXECUTOR";

/// Puts an image with the libraries of this program, and a place for itself, into a registry.
fn fill(registry: &Registry, busybox: &Path, program: &Path) {
    let root = registry.directory.join("root");
    furnish(&root, busybox);
    let libraries = Command::new("ldd").arg(program).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&libraries.stdout).into_owned();
    for library in text.split_whitespace().filter(|w| w.starts_with('/')) {
        let place = root.join(&library[1..]);
        std::fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        std::fs::copy(library, place).expect("a copy");
    }
    registry.push_image("executor", "latest", &[layer(&root)], &json!({"Env": ["PATH=/bin"]}));
}

/// Launches a task for the executor; what that saw in `data` when the task came.
fn launch(framework: &mut Framework, executor: &Value, id: &str, with_data: bool) -> String {
    let offer = offer(framework);
    let mut task = command_task(&offer, id, "", 0.1, 32.0);
    task.as_object_mut().expect("an object").remove("command");
    let mut executor = executor.clone();
    executor["resources"] = task["resources"].clone();
    if with_data {
        task["resources"] = with_volume(&task["resources"]);
    }
    task["executor"] = executor;
    framework.launch(&offer, &[task]);
    let running = framework.until_state(id, "TASK_RUNNING");
    running["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_volume_comes_to_an_executor_in_an_image_with_its_task_and_goes_with_it() {
    let Some(busybox) = needed() else { return };
    for flags in nodes().into_iter().filter(|flags| flags[0].contains("filesystem/linux")) {
        let Some(registry) = Registry::start("", &[]) else { return };
        let program = std::env::current_exe().expect("this program");
        fill(&registry, &busybox, &program);
        let store = Temporary::new();
        let mut node = cluster(&[
            &format!("{},docker/runtime", flags[0]),
            flags[1],
            "--image_providers=docker",
            &format!("--docker_registry=http://{}", registry.address),
            &format!("--docker_store_dir={}", store.0.display()),
        ]);
        make_volume(&node);
        std::fs::write(directory(&node).join("greeting"), "hello").expect("a file");
        let mut framework = subscribe(&node);
        let command =
            format!("{VARIABLE}=1 exec {PROGRAM} --exact joined::executor_process --nocapture");
        let image = json!({"type": "DOCKER", "docker": {"name": "executor"}});
        let volume = json!({"container_path": PROGRAM, "mode": "RO", "host_path": program});
        let executor = json!({"executor_id": {"value": "e"}, "framework_id": {"value": framework.id},
            "command": {"value": command},
            "container": {"type": "MESOS", "mesos": {"image": image}, "volumes": [volume]}});
        assert_eq!(launch(&mut framework, &executor, "first", false), "nothing");
        assert_eq!(launch(&mut framework, &executor, "second", true), "hello");
        let made = std::fs::read_to_string(directory(&node).join("second"));
        assert_eq!(made.expect("the task made it"), "made");
        // Another agent takes it away again.
        node.kill_agent(0);
        node.start_agent(0);
        node.wait_for_agents(1);
        framework.kill_and_wait("second");
        assert_eq!(launch(&mut framework, &executor, "third", false), "nothing");
        assert!(directory(&node).join("second").exists(), "it is whole");
        assert_eq!(launch(&mut framework, &executor, "fourth", true), "hello");
        for task in ["first", "third", "fourth"] {
            framework.kill_and_wait(task);
        }
    }
}

/// Not a test: the executor of the one above.
#[test]
fn executor_process() {
    if std::env::var_os(VARIABLE).is_some() {
        serve();
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

fn call(kind: &str) -> Value {
    json!({"type": kind, "framework_id": {"value": variable("MESOS_FRAMEWORK_ID")},
        "executor_id": {"value": variable("MESOS_EXECUTOR_ID")}})
}

/// Tells what is in the volume when a task comes, and leaves a file there. Comes back when its agent was away.
fn serve() {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let mut tasks: Vec<Value> = Vec::new();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut subscribe = call("SUBSCRIBE");
        subscribe["subscribe"] =
            json!({"unacknowledged_tasks": tasks, "unacknowledged_updates": []});
        let stream = Connection::open(&variable("MESOS_AGENT_ENDPOINT"))
            .and_then(|c| c.stream("/api/v1/executor", &headers, subscribe.to_string().as_bytes()));
        let Ok((answer, mut records)) = stream else { continue };
        if answer.status != 200 {
            continue;
        }
        while let Ok(Some(record)) = records.next_record() {
            let event: Value = serde_json::from_slice(&record).expect("JSON");
            match event["type"].as_str() {
                Some("LAUNCH") => {
                    let task = event["launch"]["task"].clone();
                    let id = task["task_id"]["value"].as_str().expect("an id").to_owned();
                    tasks.push(task);
                    let data = Path::new(&variable("MESOS_SANDBOX")).join("data");
                    let seen = std::fs::read_to_string(data.join("greeting"));
                    if seen.is_ok() {
                        std::fs::write(data.join(&id), "made").expect("a file");
                    }
                    let seen = seen.unwrap_or_else(|_| "nothing".to_owned());
                    update(&id, "TASK_RUNNING", &seen);
                }
                Some("KILL") => {
                    let id = event["kill"]["task_id"]["value"].as_str().expect("an id");
                    tasks.retain(|task| task["task_id"]["value"] != id);
                    update(id, "TASK_KILLED", "");
                }
                Some("SHUTDOWN") => std::process::exit(0),
                _ => {}
            }
        }
    }
}

fn update(task: &str, state: &str, message: &str) {
    // A name for each: it has sixteen bytes.
    let uuid = format!("{:.8}{:>8.8}", state.strip_prefix("TASK_").expect("a state"), task);
    let uuid = base64::engine::general_purpose::STANDARD.encode(format!("{uuid:>16.16}"));
    let mut update = call("UPDATE");
    update["update"] = json!({"status": {"task_id": {"value": task}, "state": state,
        "source": "SOURCE_EXECUTOR", "uuid": uuid, "timestamp": 0.0, "message": message}});
    let headers = [("Content-Type", "application/json")];
    let told = Connection::open(&variable("MESOS_AGENT_ENDPOINT")).and_then(|mut c| {
        c.request("POST", "/api/v1/executor", &headers, update.to_string().as_bytes())
    });
    assert_eq!(told.expect("an answer").status, 202);
}
