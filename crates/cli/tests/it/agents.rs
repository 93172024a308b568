//! Agents that must not start.

use std::process::{Command, Output};
use testkit::{Cluster, ClusterOptions};

fn cluster() -> Cluster {
    Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1))
}

/// An agent with two directories of the cluster's; it ends by itself.
fn agent(cluster: &Cluster, work_dir: &str, runtime_dir: &str, flags: &[&str]) -> Output {
    let at = |name: &str| cluster.directory().join(name).display().to_string();
    Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(["agent", "--ip=127.0.0.1", "--hostname=localhost", "--port=0"])
        .arg(format!("--master={}", cluster.master()))
        .arg(format!("--work_dir={}", at(work_dir)))
        .arg(format!("--runtime_dir={}", at(runtime_dir)))
        .args(flags)
        .output()
        .expect("it runs")
}

#[track_caller]
fn assert_refused(output: &Output, text: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(text), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn directories_of_another_agent_are_refused() {
    let cluster = cluster();
    let pid = cluster.agent_pid(0).expect("an agent");
    let directory = cluster.directory().display().to_string();
    let second = agent(&cluster, "agent0", "other-run", &[]);
    let told = format!(
        "another agent (process {pid}) uses {directory}/agent0/meta; stop it, or give each agent a --work_dir of its own"
    );
    assert_refused(&second, &told);
    let second = agent(&cluster, "other", "agent0-run", &[]);
    let told = format!(
        "another agent (process {pid}) uses {directory}/agent0-run; stop it, or give each agent a --runtime_dir of its own"
    );
    assert_refused(&second, &told);
}

#[test]
fn an_agent_that_is_not_what_it_was_is_refused() {
    let mut cluster = cluster();
    cluster.kill_agent(0);
    let second =
        agent(&cluster, "agent0", "agent0-run", &["--resources=cpus:2;mem:4096;disk:10000"]);
    assert_refused(
        &second,
        "--resources was 'cpus:4;disk:10000;mem:4096;ports:[31000-32000]' and is 'cpus:2;disk:10000;mem:4096;ports:[31000-32000]'",
    );
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
}

#[test]
fn an_agent_that_can_not_isolate_as_it_shall_says_what_is_wrong_and_nothing_else() {
    let cluster = cluster();
    let refused = agent(&cluster, "new", "new-run", &["--image_providers=docker"]);
    assert_refused(
        &refused,
        "the containerizer 'mesos' cannot be used: --image_providers needs 'filesystem/linux' in --isolation",
    );
    assert!(!String::from_utf8_lossy(&refused.stderr).contains("--runtime_dir"));
    std::fs::write(cluster.directory().join("file"), "").expect("a file");
    let refused = agent(&cluster, "new", "file/run", &[]);
    assert_refused(&refused, "--runtime_dir");
}
