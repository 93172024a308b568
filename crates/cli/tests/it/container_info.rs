//! Tasks in containers: what their `ContainerInfo` asks for, through master and agent.

use serde_json::{Value, json};
use std::path::Path;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;

/// An agent with isolators; None, and a word about it, without root.
fn start(flags: &[&str]) -> Option<(Cluster, Framework)> {
    use std::os::unix::fs::MetadataExt as _;
    if !std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0) {
        eprintln!("skipped: only root can separate containers");
        return None;
    }
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let cluster = Cluster::start(options);
    let framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    Some((cluster, framework))
}

fn run(framework: &mut Framework, id: &str, command: &str, container: Value) -> Value {
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, id, command, 0.1, 32.0);
    task["container"] = container;
    framework.launch(&offer, &[task]);
    framework.until_end(id).pop().expect("an end")
}

#[test]
fn a_task_has_the_container_that_it_asks_for_or_the_default_one_and_nothing_less() {
    let directory = testkit::cluster::temporary_directory();
    std::fs::write(directory.join("profile"), PROFILE).expect("a profile");
    std::fs::write(directory.join("data"), "of the host").expect("a file");
    let isolation = "--isolation=filesystem/linux,namespaces/pid,linux/capabilities,\
                     linux/seccomp,volume/secret";
    let profiles = format!("--seccomp_config_dir={}", directory.display());
    let default = json!({"type": "MESOS", "linux_info": {"seccomp": {"profile_name": "profile"}}});
    let default = format!("--default_container_info={default}");
    let flags = [isolation, &profiles, &default, "--disallow_sharing_agent_pid_namespace"];
    let Some((_cluster, mut framework)) = start(&flags) else { return };
    let volumes = json!([
        {"mode": "RO", "container_path": "data", "source": {"type": "HOST_PATH",
            "host_path": {"path": directory.join("data")}}},
        {"mode": "RW", "container_path": "secret", "source": {"type": "SECRET",
            "secret": {"type": "VALUE", "value": {"data": "aHVzaA=="}}}},
    ]);
    let linux = json!({"effective_capabilities": {"capabilities": ["CHOWN"]}});
    let script = "set -e; test $$ = 2; test \"$(cat data) $(cat secret)\" = 'of the host hush'; \
                  grep -q 'CapBnd:.*0001$' /proc/self/status; mkdir d";
    let container = json!({"type": "MESOS", "volumes": volumes, "linux_info": linux});
    let end = run(&mut framework, "asks", script, container);
    assert_eq!(end["state"], "TASK_FINISHED", "{end}");

    let end = run(&mut framework, "default", "mkdir d || exit 7", Value::Null);
    assert_eq!(end["message"], "Command exited with status 7", "{end}");

    for (id, container, text) in [
        (
            "limits",
            json!({"type": "MESOS", "rlimit_info": {}}),
            "needs 'posix/rlimits' in --isolation",
        ),
        (
            "shares",
            json!({"type": "MESOS", "linux_info": {"share_pid_namespace": true}}),
            "--disallow_sharing_agent_pid_namespace",
        ),
        (
            "missing",
            json!({"type": "MESOS", "volumes": [{"mode": "RW", "container_path": "x", "host_path": "/no/such"}]}),
            "the volume's host path /no/such does not exist",
        ),
    ] {
        let end = run(&mut framework, id, "true", container);
        assert_eq!(end["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{end}");
        assert!(end["message"].as_str().is_some_and(|m| m.contains(text)), "{end}");
    }
    assert_nothing_is_mounted(_cluster.directory());
}

fn assert_nothing_is_mounted(directory: &Path) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
    let directory = directory.to_str().expect("text");
    assert!(!table.lines().any(|line| line.contains(directory)), "{table}");
}

#[test]
fn a_check_runs_in_the_namespaces_of_its_task() {
    let isolation = "--isolation=filesystem/linux,namespaces/pid";
    let Some((_cluster, mut framework)) = start(&[isolation]) else { return };
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "t", "exec sleep 1000", 0.1, 32.0);
    // The second process of the namespace is the task.
    let command = json!({"value": "grep -q ^sleep /proc/2/comm"});
    task["health_check"] = json!({"type": "COMMAND", "command": command, "delay_seconds": 0,
        "interval_seconds": 0.02, "grace_period_seconds": 30, "consecutive_failures": 3});
    framework.launch(&offer, &[task]);
    let healthy = loop {
        let status = framework.update(Some("t")).1;
        if status["reason"] == "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED" {
            break status;
        }
    };
    assert_eq!(healthy["healthy"], true, "{healthy}");
    framework.kill_and_wait("t");
}
