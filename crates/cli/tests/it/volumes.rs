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

pub(crate) fn directory(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("agent0/volumes/roles/db main/v")
}

pub(crate) fn make_volume(cluster: &Cluster) {
    post_form(cluster, "/reserve", "resources", &json!([reserved("disk", 64.0)]));
    post_form(cluster, "/create-volumes", "volumes", &json!([volume()]));
    wait::until("the directory", Duration::from_secs(10), || {
        directory(cluster).is_dir().then_some(())
    });
}

pub(crate) fn subscribe(cluster: &Cluster) -> Framework {
    let options = FrameworkOptions {
        roles: vec![ROLE.to_owned()],
        capabilities: vec!["MULTI_ROLE".to_owned(), "RESERVATION_REFINEMENT".to_owned()],
        checkpoint: true,
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    Framework::subscribe(&cluster.master(), &options)
}

/// The first offer that has the volume.
pub(crate) fn offer(framework: &mut Framework) -> Value {
    loop {
        let offer = framework.offers().remove(0);
        if offer["resources"].to_string().contains("persistence") {
            return offer;
        }
        framework.decline(&offer, 0.0);
    }
}

/// Resources of a task, and the volume.
pub(crate) fn with_volume(resources: &Value) -> Value {
    let mut used = volume();
    used["allocation_info"] = json!({"role": ROLE});
    let mut all = resources.as_array().expect("a list").clone();
    all.push(used);
    all.into()
}

/// A task with the volume.
fn run(framework: &mut Framework, id: &str, command: &str) -> String {
    run_with(framework, id, command, &json!([]))
}

/// The same with URIs to be fetched before.
fn run_with(framework: &mut Framework, id: &str, command: &str, uris: &Value) -> String {
    let offer = offer(framework);
    let mut task = command_task(&offer, id, command, 0.1, 32.0);
    task["resources"] = with_volume(&task["resources"]);
    task["command"]["uris"] = uris.clone();
    framework.launch(&offer, &[task]);
    let last = framework.until_end(id).pop().expect("a status");
    let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
    match text("state").as_str() {
        "TASK_FINISHED" => "TASK_FINISHED".to_owned(),
        // The offer ended with the agent's connection, and its end was not read yet.
        "TASK_LOST" if text("reason") == "REASON_INVALID_OFFERS" => {
            run_with(framework, id, command, uris)
        }
        other => format!("{other}: {}: {}", text("reason"), text("message")),
    }
}

/// A pod of one task, whose executor has the volume.
fn launch_pod(framework: &mut Framework, id: &str, command: &str) {
    let offer = offer(framework);
    let shows = |container_path: &str, path: &str| {
        json!({"container_path": container_path, "mode": "RW", "source": {"type": "SANDBOX_PATH",
            "sandbox_path": {"type": "PARENT", "path": path}}})
    };
    let mut task = command_task(&offer, id, command, 0.1, 32.0);
    task["container"] =
        json!({"type": "MESOS", "volumes": [shows("mine", "data"), shows("below", "data/deep")]});
    // As DC/OS' services ask for it: limits and secrets are the tasks', and stand here too.
    let secret = json!({"mode": "RO", "container_path": "key", "source": {"type": "SECRET",
        "secret": {"type": "VALUE", "value": {"data": "aHVzaA=="}}}});
    let limits = json!({"rlimits": [{"type": "RLMT_NOFILE", "soft": 100, "hard": 100}]});
    let executor = json!({"type": "DEFAULT", "executor_id": {"value": format!("pod-{id}")},
        "framework_id": {"value": framework.id}, "resources": with_volume(&task["resources"]),
        "container": {"type": "MESOS", "volumes": [secret], "rlimit_info": limits}});
    let group = json!({"executor": executor, "task_group": {"tasks": [task]}});
    let answer = framework.call(&json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH_GROUP", "launch_group": group}]}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// The peer leaves the volume mounted in the sandbox, whose removal takes the data along (MESOS-9355, MESOS-9352).
#[test]
fn a_volume_is_whole_and_mounted_nowhere_after_a_task_whose_files_could_not_be_fetched() {
    let isolation = "--isolation=filesystem/linux";
    let flags: &[&[&str]] = if crate::fetching::is_root() { &[&[], &[isolation]] } else { &[&[]] };
    for flags in flags {
        let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
        // Old sandboxes go at once.
        let old = ["--gc_delay=1secs", "--disk_watch_interval=1secs"];
        options.agent_flags = flags.iter().chain(&old).map(|flag| (*flag).to_owned()).collect();
        let cluster = Cluster::start(options);
        make_volume(&cluster);
        let mut framework = subscribe(&cluster);
        let written = run(&mut framework, "writer", "echo hello > data/greeting");
        assert_eq!(written, "TASK_FINISHED");
        let uris = json!([{"value": "/no/such/file"}]);
        let failed = run_with(&mut framework, "fetching", "true", &uris);
        assert!(failed.starts_with("TASK_FAILED: REASON_CONTAINER_LAUNCH_FAILED"), "{failed}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let below = cluster.directory().display().to_string();
        assert!(!mounts.contains(&below), "{mounts}");
        wait::until("the sandboxes are removed", Duration::from_secs(30), || {
            let metrics = http::get(&cluster.agent(0), "/metrics/snapshot").json();
            (metrics["gc/path_removals_succeeded"].as_f64() >= Some(1.0)).then_some(())
        });
        let read = run(&mut framework, "reader", "grep -q hello data/greeting");
        assert_eq!(read, "TASK_FINISHED", "{flags:?}");
    }
}

#[test]
fn a_persistent_volume_outlives_its_task_and_a_killed_agent() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    make_volume(&cluster);
    let mut framework = subscribe(&cluster);
    assert_eq!(run(&mut framework, "writer", "echo hello > data/greeting"), "TASK_FINISHED");
    // One that fails before it runs leaves it as it is.
    let offered = offer(&mut framework);
    let mut unfetched = command_task(&offered, "unfetched", "true", 0.1, 32.0);
    unfetched["resources"] = with_volume(&unfetched["resources"]);
    unfetched["command"]["uris"] = json!([{"value": "/no/such/file"}]);
    framework.launch(&offered, &[unfetched]);
    let end = framework.until_end("unfetched").pop().expect("a status");
    assert_eq!(end["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{end}");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("a table of mounts");
    assert!(!mounts.contains(cluster.directory().to_str().expect("text")), "{mounts}");
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

#[test]
fn a_volume_of_a_pod_is_its_tasks_to_see_and_outlives_them_and_the_agent() {
    for flags in crate::tasks::nodes() {
        let isolation = format!("{},volume/sandbox_path", flags[0]);
        let mut cluster = crate::tasks::cluster(&[&isolation, flags[1]]);
        make_volume(&cluster);
        let mut framework = subscribe(&cluster);
        launch_pod(&mut framework, "writer", "echo hello > mine/greeting; echo deep > below/file");
        let end = framework.until_end("writer").pop().expect("a status");
        assert_eq!(end["state"], "TASK_FINISHED", "{end}");
        let written = |path: &str| std::fs::read_to_string(directory(&cluster).join(path));
        assert_eq!(written("greeting").expect("written"), "hello\n");
        assert_eq!(written("deep/file").expect("written"), "deep\n");

        let gate = cluster.directory().join("gate");
        let read = format!(
            "while [ ! -e {} ]; do sleep 0.05; done; grep -q hello mine/greeting && grep -q deep mine/deep/file",
            gate.display()
        );
        launch_pod(&mut framework, "reader", &read);
        framework.until_state("reader", "TASK_RUNNING");
        // Who looks at the sandboxes finds it there, and does after a restart.
        let id = framework.id.clone();
        let seen = |cluster: &Cluster| {
            let sandbox = format!("/frameworks/{id}/executors/pod-reader/runs/latest");
            for path in ["data", "tasks/reader/mine"] {
                let path = format!("/files/read?path={sandbox}/{path}/greeting&offset=0");
                let answer = http::get(&cluster.agent(0), &path);
                assert_eq!(answer.json()["data"], "hello\n", "{path}: {}", answer.text());
            }
        };
        seen(&cluster);
        cluster.kill_agent(0);
        cluster.start_agent(0);
        cluster.wait_for_agents(1);
        wait::until("it listens again", Duration::from_secs(20), || {
            std::net::TcpStream::connect(cluster.agent(0)).ok()
        });
        seen(&cluster);
        std::fs::write(gate, "").expect("the gate opens");
        let end = framework.until_end("reader").pop().expect("a status");
        assert_eq!(end["state"], "TASK_FINISHED", "{end}");
    }
}
