//! The machine of an agent is booted anew: nothing runs any more, and what was promised is still known.

use crate::tasks::{LIMIT, Runner, cluster, framework, nodes};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use testkit::framework::{TERMINAL, command_task, text};
use testkit::{Cluster, Framework, FrameworkOptions, http, measure, wait};

const ROLE: &str = "keeper";
/// What the agent's log begins with.
const MAGIC: &[u8] = b"proffer-agent-log 1\n";

/// Has the agent's log be that of another boot. Frames of it are length, checksum and content.
fn write_other_boot(log: &Path) {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").expect("the id of this boot");
    let boot = boot.trim_ascii_end();
    let mut bytes = std::fs::read(log).expect("the log");
    let mut at = MAGIC.len();
    let mut changed = 0;
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let (head, rest) = bytes[at..].split_at_mut(8);
        let content = &mut rest[..length];
        if let Some(place) = content.windows(boot.len()).position(|window| window == boot) {
            content[place..place + boot.len()].fill(b'0');
            head[4..].copy_from_slice(&crc32fast::hash(content).to_le_bytes());
            changed += 1;
        }
        at += 8 + length;
    }
    assert!(changed > 0, "the log knows the boot");
    std::fs::write(log, bytes).expect("written");
}

/// What a boot leaves of an agent: its work directory, and its runtime directory if that is on a disk.
fn reboot(cluster: &mut Cluster, keeps_runtime: bool) {
    cluster.kill_agent(0);
    let runtime = cluster.directory().join("agent0-run");
    for supervisor in measure::processes_of(&runtime) {
        // One may have gone with another.
        Command::new("kill").args(["-9", &supervisor.to_string()]).output().expect("kill runs");
    }
    let name = cluster.directory().file_name().expect("a name").to_string_lossy().into_owned();
    testkit::cgroups::remove(&name);
    if !keeps_runtime {
        std::fs::remove_dir_all(&runtime).expect("removed");
    }
    write_other_boot(&cluster.directory().join("agent0/meta/agent.log"));
}

fn reserved(amount: f64) -> Value {
    json!({"name": "disk", "type": "SCALAR", "scalar": {"value": amount},
        "reservations": [{"type": "DYNAMIC", "role": ROLE}]})
}

/// Reserves a disk, makes a volume of it and puts something into that.
fn make_volume(cluster: &Cluster) -> std::path::PathBuf {
    let slaves = http::get(&cluster.master(), "/slaves").json();
    let id = text(&slaves["slaves"][0]["id"]);
    let mut volume = reserved(64.0);
    volume["disk"] =
        json!({"persistence": {"id": "v"}, "volume": {"container_path": "data", "mode": "RW"}});
    let operations =
        [("/reserve", "resources", reserved(64.0)), ("/create-volumes", "volumes", volume)];
    for (path, list, resource) in operations {
        let body = format!("slaveId={id}&{list}={}", json!([resource]));
        let answer = http::send(&cluster.master(), "POST", path, &body);
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
    }
    let directory = cluster.directory().join(format!("agent0/volumes/roles/{ROLE}/v"));
    wait::until("the volume", LIMIT, || directory.is_dir().then_some(()));
    std::fs::write(directory.join("data"), "kept").expect("written");
    directory
}

/// The next status of a task, which is not acknowledged; others of it are.
fn unacknowledged_end(framework: &mut Framework, task: &str) -> Value {
    loop {
        let (_, event) =
            framework.event(&["UPDATE"], |e| e["update"]["status"]["task_id"]["value"] == task);
        let status = event["update"]["status"].clone();
        if TERMINAL.contains(&text(&status["state"]).as_str()) {
            return status;
        }
        framework.acknowledge(&status);
    }
}

fn check(flags: &[&str], keeps_runtime: bool) {
    let mut cluster = cluster(flags);
    let volume = make_volume(&cluster);
    let mut framework = framework(&cluster);
    let task = Runner::launch(&cluster, &mut framework, "t");
    let offer = framework.offers().remove(0);
    let pod = json!([command_task(&offer, "p", "sleep 1000", 0.1, 32.0)]);
    let mut resources = command_task(&offer, "", "", 0.1, 32.0)["resources"].clone();
    let mut disk = resources[1].clone();
    disk["name"] = json!("disk");
    resources.as_array_mut().expect("a list").push(disk);
    let executor = json!({"type": "DEFAULT", "executor_id": {"value": "pod"},
        "framework_id": {"value": framework.id}, "resources": resources});
    let group = json!({"type": "LAUNCH_GROUP",
        "launch_group": {"executor": executor, "task_group": {"tasks": pod}}});
    let ended = command_task(&offer, "ended", "exit 3", 0.1, 32.0);
    let answer = framework.call(&json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [ended]}}, group],
        "filters": {"refuse_seconds": 0.0}}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    framework.until_state("p", "TASK_RUNNING");
    let before = unacknowledged_end(&mut framework, "ended");
    let id = text(&http::get(&cluster.agent(0), "/state").json()["id"]);

    reboot(&mut cluster, keeps_runtime);
    wait::until("nothing runs", LIMIT, || (!task.is_alive()).then_some(()));
    cluster.start_agent(0);
    for name in ["t", "p"] {
        let end = framework.until_end(name).pop().expect("a status");
        assert_eq!(end["state"], "TASK_FAILED", "{end}");
        assert_eq!(end["reason"], "REASON_EXECUTOR_TERMINATED", "{end}");
    }
    let again = unacknowledged_end(&mut framework, "ended");
    assert_eq!((&again["uuid"], &again["state"]), (&before["uuid"], &before["state"]));
    framework.acknowledge(&again);
    let state = http::get(&cluster.agent(0), "/state").json();
    assert_eq!(text(&state["id"]), id, "it is the same agent");
    assert_eq!(state["reserved_resources"][ROLE]["disk"], 64.0, "{state}");
    assert_eq!(std::fs::read_to_string(volume.join("data")).expect("kept"), "kept");
    let master = http::get(&cluster.master(), "/slaves").json();
    assert_eq!(master["slaves"][0]["reserved_resources"][ROLE]["disk"], 64.0, "{master}");
    let starts = std::fs::read_to_string(&task.starts).expect("its starts");
    assert_eq!(starts.lines().count(), 1, "nothing was started again");
    let next = Runner::launch(&cluster, &mut framework, "next");
    framework.kill_and_wait("next");
    assert!(!next.is_alive());

    // That boot is known now: a restart is one, and no other boot.
    let last = Runner::launch(&cluster, &mut framework, "last");
    cluster.kill_agent(0);
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    last.runs_on();
    framework.kill_and_wait("last");
}

#[test]
fn tasks_are_reported_and_reservations_volumes_and_updates_stay() {
    for flags in nodes() {
        for keeps_runtime in [false, true] {
            check(flags, keeps_runtime);
        }
    }
}

/// After a boot an agent may be another one: then nothing of the former tasks is told, and its reservations are its own.
#[test]
fn an_agent_of_another_size_is_a_new_one_with_the_reservations_of_the_former() {
    let mut cluster = cluster(&[]);
    let volume = make_volume(&cluster);
    let id = text(&http::get(&cluster.agent(0), "/state").json()["id"]);
    reboot(&mut cluster, true);
    cluster.set_agent_resources("cpus:3;mem:2048;disk:20000");
    cluster.start_agent(0);
    let subscription = FrameworkOptions { roles: vec![ROLE.to_owned()], ..Default::default() };
    cluster.wait_for_agents(1);
    let state = wait::until("it registers", LIMIT, || {
        let state = http::get(&cluster.agent(0), "/state").json();
        (state["id"].as_str().is_some_and(|id| !id.is_empty())).then_some(state)
    });
    assert_ne!(text(&state["id"]), id, "it is another agent");
    assert_eq!(state["reserved_resources"][ROLE]["disk"], 64.0, "{state}");
    assert!(volume.join("data").exists());
    let mut framework = Framework::subscribe(&cluster.master(), &subscription);
    assert!(framework.offers()[0]["resources"].to_string().contains("persistence"));
}

/// The end of an operation that its framework did not acknowledge is told again by the agent of the next boot.
#[test]
fn operations_that_were_not_acknowledged_are_told_again() {
    let mut cluster = cluster(&[]);
    let subscription = FrameworkOptions {
        roles: vec![ROLE.to_owned()],
        capabilities: vec!["MULTI_ROLE".to_owned(), "RESERVATION_REFINEMENT".to_owned()],
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &subscription);
    let offer = framework.offers().remove(0);
    let mut disk = reserved(64.0);
    disk["allocation_info"] = json!({"role": ROLE});
    let reserve =
        json!({"type": "RESERVE", "id": {"value": "op"}, "reserve": {"resources": [disk]}});
    let answer = framework.call(&json!({"type": "ACCEPT", "accept": {
        "offer_ids": [offer["id"]], "operations": [reserve], "filters": {"refuse_seconds": 0.0}}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let told = |framework: &mut Framework| {
        let kind = "UPDATE_OPERATION_STATUS";
        let (_, event) = framework.event(&[kind], |_| true);
        let status = event["update_operation_status"]["status"].clone();
        assert_eq!(status["operation_id"]["value"], "op", "{status}");
        assert_eq!(status["state"], "OPERATION_FINISHED", "{status}");
        status
    };
    let before = told(&mut framework);
    let left = |cluster: &Cluster| {
        let call = json!({"type": "GET_OPERATIONS"});
        let answer = http::post_json(&cluster.agent(0), "/api/v1", &[], &call).json();
        answer["get_operations"]["operations"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(left(&cluster), 1);

    reboot(&mut cluster, false);
    cluster.start_agent(0);
    let again = told(&mut framework);
    assert_eq!(again["uuid"], before["uuid"]);
    let answer = framework.call(&json!({"type": "ACKNOWLEDGE_OPERATION_STATUS",
        "acknowledge_operation_status": {"agent_id": again["agent_id"], "uuid": again["uuid"]["value"],
            "operation_id": again["operation_id"]}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    wait::until("it is forgotten", LIMIT, || (left(&cluster) == 0).then_some(()));
    let state = http::get(&cluster.agent(0), "/state").json();
    assert_eq!(state["reserved_resources"][ROLE]["disk"], 64.0, "{state}");
    // What was acknowledged is not told after the next boot.
    reboot(&mut cluster, true);
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    assert_eq!(left(&cluster), 0);
}
