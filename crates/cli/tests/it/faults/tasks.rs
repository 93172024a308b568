//! Tasks that take all they can get, and tasks that do not want to end.

use super::{Node, says};
use crate::tasks::{LIMIT, nodes};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::{http, measure, wait};

/// Nodes whose isolators limit tasks.
fn limiting() -> impl Iterator<Item = &'static [&'static str]> {
    nodes().into_iter().filter(|flags| flags[0].contains("cgroups"))
}

#[test]
fn a_fork_bomb_gets_no_further_than_its_container() {
    for flags in limiting() {
        let mut node = Node::start(flags, &["--cgroups_pids_limit=60", "--cgroups_enable_cfs"]);
        let lit = node.file("lit");
        // Some of it leaves its parents and sessions; all of it forks for ever.
        let bomb = format!(
            "(setsid perl -e 'fork while 1' &); : > {}; exec perl -e 'fork while 1'",
            lit.display()
        );
        node.launch("bomb", &bomb, |_| {});
        node.wait_for_file("lit");
        node.serves();
        node.restart_agent();
        node.serves();
        node.framework.kill_and_wait("bomb");
        node.is_as_before();
    }
}

#[test]
fn a_memory_hog_is_ended_for_that_with_or_without_its_agent() {
    for flags in limiting() {
        let mut node = Node::start(flags, &[]);
        let eat = "x=0123456789abcdef; while :; do x=$x$x; done";
        // Not the main process is killed by the kernel, but a daemon of it.
        let end = node.run("hog", &format!("(setsid sh -c '{eat}' &); sleep 1000"), |_| {});
        says(&end, "TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", "Memory limit exceeded");
        node.is_as_before();
        let (gate, runtime) = (node.file("gate"), node.file("agent0-run"));
        let before = measure::processes_of(&runtime).len();
        let late = format!("while [ ! -e {} ]; do sleep 0.01; done; {eat}", gate.display());
        node.launch("late", &late, |_| {});
        node.framework.until_state("late", "TASK_RUNNING");
        node.cluster.kill_agent(0);
        std::fs::write(&gate, "").expect("the gate opens");
        wait::until("it has ended", LIMIT, || {
            (measure::processes_of(&runtime).len() == before).then_some(())
        });
        node.cluster.start_agent(0);
        let end = node.framework.until_end("late").pop().expect("a status");
        says(&end, "TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", "Memory limit exceeded");
        node.is_as_before();
    }
}

#[test]
fn a_disk_filler_is_ended_for_that() {
    for flags in nodes() {
        let more = ["--enforce_container_disk_quota", "--container_disk_watch_interval=100ms"];
        let mut node = Node::start(flags, &more);
        let fill = "while :; do head -c 1000000 /dev/zero >> big; sleep 0.01; done";
        let end = node.run("filler", fill, |task| {
            let mut disk = task["resources"][0].clone();
            (disk["name"], disk["scalar"]["value"]) = (json!("disk"), json!(4.0));
            task["resources"].as_array_mut().expect("a list").push(disk);
        });
        says(&end, "TASK_FAILED", "REASON_CONTAINER_LIMITATION_DISK", "exceeds quota (4MB)");
        node.is_as_before();
    }
}

#[test]
fn a_flood_of_output_stays_within_the_limit_of_logs() {
    const BYTES: u64 = 400 << 20;
    for flags in nodes() {
        let modules = json!({"libraries": [{"modules": [{
            "name": "org_apache_mesos_LogrotateContainerLogger",
            "parameters": [{"key": "max_stdout_size", "value": "2MB"},
                {"key": "logrotate_stdout_options", "value": "rotate 2"}]}]}]});
        let more = [
            "--container_logger=org_apache_mesos_LogrotateContainerLogger",
            &format!("--modules={modules}"),
        ];
        let mut node = Node::start(flags, &more);
        let flood = format!("head -c {BYTES} /dev/zero; exec sleep 1000");
        let begun = Instant::now();
        node.launch("flood", &flood, |_| {});
        let state = http::get(&node.cluster.agent(0), "/state").json();
        let executors = state["frameworks"][0]["executors"].as_array().expect("a list").clone();
        let executor = executors.iter().find(|e| e["id"] == "flood").expect("it runs");
        let sandbox = PathBuf::from(executor["directory"].as_str().expect("a path"));
        let size = || -> u64 {
            let entries = std::fs::read_dir(&sandbox).expect("a sandbox").flatten();
            entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
        };
        // Meanwhile the agent goes and comes back; nothing of it waits for an agent.
        node.restart_agent();
        node.serves();
        wait::until("all of it was taken", Duration::from_secs(60), || {
            assert!(size() <= 7 << 20, "{} bytes", size());
            let done = std::process::Command::new("pgrep").args(["-f", &flood]).output();
            let is_busy =
                String::from_utf8_lossy(&done.expect("pgrep runs").stdout).lines().any(|pid| {
                    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                    name.is_ok_and(|name| name.trim() != "sleep")
                });
            (!is_busy).then_some(())
        });
        println!("{} MB/s", (BYTES >> 20) as f64 / begun.elapsed().as_secs_f64());
        node.framework.kill_and_wait("flood");
        node.is_as_before();
    }
}

#[test]
fn what_ignores_sigterm_and_leaves_daemons_and_zombies_goes_with_its_task() {
    for flags in nodes() {
        let mut node = Node::start(flags, &[]);
        let deaf = "trap '' TERM HUP INT; (setsid setsid sh -c 'trap \"\" TERM HUP; echo; while :; do sleep 0.1; done' &); \
                    for i in 1 2 3 4 5 6 7 8; do sh -c : & done; echo; exec tail -f /dev/null";
        node.launch("deaf", deaf, |task| {
            task["kill_policy"] = json!({"grace_period": {"nanoseconds": 300_000_000}});
        });
        node.framework.until_state("deaf", "TASK_RUNNING");
        node.restart_agent();
        let begun = Instant::now();
        node.framework.call(&json!({"type": "KILL", "kill": {"task_id": {"value": "deaf"}}}));
        let end = node.framework.until_end("deaf").pop().expect("a status");
        says(&end, "TASK_KILLED", "", "Command terminated with signal Killed");
        assert!(begun.elapsed() > Duration::from_millis(300), "it had its time");
        node.is_as_before();
        // A daemon does not outlive its task, and neither does one without anything that tells whose it is.
        let daemon = "(setsid setsid sh -c 'exec sleep 1000' &) ; (setsid env -i /bin/sleep 1000 &); sleep 0.2; exit 3";
        let end = node.run("parent", daemon, |_| {});
        says(&end, "TASK_FAILED", "", "Command exited with status 3");
        node.is_as_before();
    }
}

#[test]
fn a_task_whose_sandbox_is_gone_goes_on_and_ends_truly() {
    for flags in nodes() {
        let mut node = Node::start(flags, &[]);
        let (gone, gate) = (node.file("gone"), node.file("gate"));
        let command = format!(
            "rm -rf \"$MESOS_SANDBOX\"; touch {}; while [ ! -e {} ]; do sleep 0.01; done; echo late; exit 7",
            gone.display(),
            gate.display()
        );
        node.launch("homeless", &command, |_| {});
        node.wait_for_file("gone");
        node.serves();
        node.restart_agent();
        node.serves();
        std::fs::write(&gate, "").expect("the gate opens");
        let end = node.framework.until_end("homeless").pop().expect("a status");
        says(&end, "TASK_FAILED", "", "Command exited with status 7");
        node.is_as_before();
    }
}
