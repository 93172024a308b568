//! What an agent does whose work directory is damaged, full or read-only, and with `--recover=cleanup`.

use crate::tasks::{LIMIT, Runner, cluster, framework, nodes};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use testkit::framework::command_task;
use testkit::{Cluster, http, wait};

/// Name of the cgroup of a cluster's containers.
fn cgroups(cluster: &Cluster) -> String {
    cluster.directory().file_name().expect("a name").to_string_lossy().into_owned()
}

/// Runs the first agent of a cluster by hand until it ends by itself.
fn run(cluster: &Cluster, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proffer"));
    let port = cluster.agent(0);
    let port = port.rsplit_once(':').expect("a port").1;
    command.args(["agent", "--ip=127.0.0.1", "--hostname=localhost", "--attributes=number:0"]);
    if !flags.iter().any(|flag| flag.starts_with("--resources")) {
        command.arg("--resources=cpus:4;mem:4096;disk:10000;ports:[31000-32000]");
    }
    command.arg(format!("--cgroups_root={}", cgroups(cluster)));
    command.arg(format!("--port={port}")).arg(format!("--master={}", cluster.master()));
    for (flag, name) in [("work_dir", "agent0"), ("runtime_dir", "agent0-run")] {
        command.arg(format!("--{flag}={}", cluster.directory().join(name).display()));
    }
    command.args(flags).stdin(Stdio::null()).output().expect("it runs")
}

#[track_caller]
fn says(output: &Output, expected: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !text.contains("panicked"), "{text}");
    for part in expected {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_damaged_store_is_refused_until_it_is_said_to_go_on() {
    nodes().into_iter().for_each(check_damaged_store);
}

fn check_damaged_store(flags: &[&str]) {
    let mut cluster = cluster(&[flags, &["--no-strict"]].concat());
    let mut framework = framework(&cluster);
    let kept = Runner::launch(&cluster, &mut framework, "kept");
    let lost = Runner::launch(&cluster, &mut framework, "lost");
    cluster.kill_agent(0);

    // Both tasks have their records; that of the second is hit.
    let log = cluster.directory().join("agent0/meta/agent.log");
    let mut bytes = std::fs::read(&log).expect("the log");
    let mark = lost.starts.display().to_string().into_bytes();
    let hits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&mark)).collect();
    assert!(!hits.is_empty());
    hits.iter().for_each(|at| bytes[*at] ^= 0x20);
    std::fs::write(&log, &bytes).expect("damaged");
    for _ in 0..2 {
        let refused = run(&cluster, &[flags, &["--strict"]].concat());
        says(&refused, &["agent.log is damaged", "--no-strict", "agent0/meta", "can't be read"]);
    }
    assert!(kept.is_alive() && lost.is_alive(), "tasks run on");
    assert_eq!(std::fs::read(&log).expect("the log"), bytes, "nothing was changed");

    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    wait::until("what nobody knows any more is ended", LIMIT, || (!lost.is_alive()).then_some(()));
    assert!(kept.is_alive(), "what could be read is whole");
    let metrics = http::get(&cluster.agent(0), "/metrics/snapshot").json();
    assert_eq!(metrics["slave/recovery_errors"], 1, "they lie side by side: {metrics}");
    assert!(metrics["slave/recovery_time_secs"].as_f64().is_some_and(|t| t > 0.0));
    let state = http::get(&cluster.agent(0), "/state").json();
    let aside = state["recovery_errors"]["damaged_store"].as_str().expect("a file").to_owned();
    assert_eq!(std::fs::read(aside).expect("kept aside"), bytes);
    framework.kill_and_wait("kept");
}

#[test]
fn cleanup_ends_what_runs_and_stops() {
    for flags in nodes() {
        let mut cluster = cluster(flags);
        let mut framework = framework(&cluster);
        let task = Runner::launch(&cluster, &mut framework, "t");
        cluster.kill_agent(0);
        let clean = |more: &[&str]| {
            let output = run(&cluster, &[flags, &["--recover=cleanup"], more].concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        clean(&[]);
        assert!(!task.is_alive());
        let left = std::fs::read_dir(cluster.directory().join("agent0-run/containers"));
        assert_eq!(left.expect("a directory").count(), 0, "nothing is kept of containers");
        let groups = testkit::cgroups::roots(&cgroups(&cluster));
        let groups = groups.iter().flat_map(|root| std::fs::read_dir(root).expect("a cgroup"));
        assert!(groups.flatten().all(|entry| !entry.path().is_dir()), "nor any cgroup");
        // It may have other resources now: it is a new agent.
        clean(&["--resources=cpus:1;mem:64;disk:10"]);
        cluster.start_agent(0);
        cluster.wait_for_agents(1);
    }
}

/// A small file system, unmounted at the end.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(path: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a directory");
        let mount = |words: &[&str]| {
            let done = Command::new("mount").args(words).arg(path).stderr(Stdio::null()).status();
            done.is_ok_and(|s| s.success())
        };
        mount(&["-t", "tmpfs", "-o", options, "none"]).then(|| Self(path.to_owned()))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(done.expect("mount runs").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_holds_what_is_new_and_harms_nothing_that_runs() {
    let mut cluster = cluster(&[]);
    cluster.kill_agent(0);
    let work_dir = cluster.directory().join("agent0");
    let Some(mount) = Mount::new(&work_dir, "size=2m") else {
        eprintln!("skipped: cannot mount a tmpfs here");
        return;
    };
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    let mut framework = framework(&cluster);
    let before = Runner::launch(&cluster, &mut framework, "before");
    let filler = work_dir.join("filler");
    let _ = std::fs::write(&filler, vec![0; 4 << 20]);
    // More than the room that was kept.
    let offer = framework.offers().remove(0);
    let long = format!("# {}\nexit 0", "x".repeat(1_000_000));
    framework.launch(&offer, &[command_task(&offer, "held", &long, 0.1, 32.0)]);
    let log = cluster.directory().join("agent0.log");
    wait::until("the cause is told", LIMIT, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("no room for the agent's store").then_some(())
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert!(before.is_alive(), "what runs goes on");
    let mut early = framework.event_within(Duration::ZERO, &["UPDATE"], |_| true);
    assert_eq!(early.take(), None, "nothing is told that is not kept");
    let told = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(told.matches("no room for the agent's store").count(), 1, "it is told once");

    // Killed now, it comes back although nothing can be written.
    cluster.kill_agent(0);
    cluster.start_agent(0);
    wait::until("it is back", LIMIT, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text.matches("agent started").count() >= 3).then_some(())
    });
    assert!(before.is_alive());
    std::fs::remove_file(&filler).expect("room");
    cluster.wait_for_agents(1);
    for name in ["after0", "after1", "after2", "after3"] {
        let offer = framework.offers().remove(0);
        framework.launch(&offer, &[command_task(&offer, name, "true", 0.1, 32.0)]);
        let end = framework.until_end(name).pop().expect("a status");
        // Offers of before the kill were kept.
        if end["reason"] != "REASON_INVALID_OFFERS" {
            assert_eq!(end["state"], "TASK_FINISHED", "{end}");
            break;
        }
        assert_ne!(name, "after3", "no offer was valid");
    }

    // Read-only: it says so and ends.
    framework.kill_and_wait("before");
    cluster.kill_agent(0);
    mount.remount("ro");
    says(&run(&cluster, &[]), &["Read-only file system", "--work_dir"]);
}
