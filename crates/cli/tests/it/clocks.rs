//! Clocks that are set while everything runs (Debian's package `faketime`).

use crate::tasks::{Runner, framework};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use testkit::{Cluster, ClusterOptions, wait};

/// What is loaded before a program so that its clock is another one; says so where it is not installed.
fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library = found
        .map(|directory| directory.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.exists());
    if library.is_none() {
        eprintln!("skipped: wrong clocks (apt-get install faketime)");
    }
    library
}

/// Sets the clock of everything that reads this file, by so much against the host's.
fn set(file: &Path, by: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, by).expect("written");
    std::fs::rename(new, file).expect("renamed");
}

fn now() -> f64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.expect("a time after 1970").as_secs_f64()
}

/// When a task's last status was made, by the clock of its agent.
fn told_at(cluster: &Cluster, task: &str) -> f64 {
    let tasks = testkit::http::get(&cluster.master(), "/tasks").json();
    let mut tasks = tasks["tasks"].as_array().into_iter().flatten();
    let task = tasks.find(|t| t["id"] == task).expect("a task");
    let statuses = task["statuses"].as_array().expect("statuses");
    statuses.last().expect("a status")["timestamp"].as_f64().expect("a time")
}

/// Only the clock of the day jumps: what elapses does not. No leader is deposed, no agent is lost, no task ends.
#[test]
fn clocks_that_jump_by_hours_change_nothing() {
    let Some(library) = library() else { return };
    let directory = testkit::cluster::temporary_directory();
    let clock = directory.join("clock");
    set(&clock, "+0");
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.replicate(3);
    options.environment = [
        ("LD_PRELOAD", library.as_path()),
        ("FAKETIME_TIMESTAMP_FILE", &clock),
        ("FAKETIME_NO_CACHE", Path::new("1")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
        ("DONT_FAKE_MONOTONIC", Path::new("1")),
    ]
    .map(|(name, value)| (name.to_owned(), value.display().to_string()))
    .to_vec();
    let cluster = Cluster::start(options);
    let leader = cluster.leader();
    let mut scheduler = framework(&cluster);
    let task = Runner::launch(&cluster, &mut scheduler, "long");
    for (round, hours) in [9, -30, 0].into_iter().enumerate() {
        let by = format!("{hours:+}h");
        set(&clock, &by);
        // What is launched now is told with the time of now.
        let name = format!("t{round}");
        let other = Runner::launch(&cluster, &mut scheduler, &name);
        scheduler.kill_and_wait(&name);
        wait::until("it has ended", Duration::from_secs(30), || (!other.is_alive()).then_some(()));
        task.runs_on();
        let told = told_at(&cluster, &name) - now();
        assert!(
            (told / 3600.0 - f64::from(hours)).abs() < 0.5,
            "the agent's clock is {told} s off"
        );
        assert_eq!(cluster.leader(), leader, "after {by}");
        cluster.wait_for_agents(1);
        let output = Command::new(env!("CARGO_BIN_EXE_proffer"))
            .args(["masters", "--master", &cluster.master()])
            .output()
            .expect("it runs");
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(table.matches("follows").count(), 2, "{table}");
    }
    let elapsed = testkit::http::get(&cluster.master(), "/metrics/snapshot").json();
    assert_eq!(elapsed["master/slave_removals"], 0, "{elapsed}");
    scheduler.kill_and_wait("long");
    let _ = std::fs::remove_dir_all(directory);
}
