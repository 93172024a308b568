//! `proffer doctor`: what it finds on this host, and what it says of what is missing.

use serde_json::Value;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use testkit::cluster::{free_ports, temporary_directory};
use testkit::{Cluster, ClusterOptions};

/// Runs it with `--json`: exit status and findings.
fn doctor(words: &[&str]) -> (i32, Vec<Value>) {
    let out = Command::new(env!("CARGO_BIN_EXE_proffer"))
        .arg("doctor")
        .args(words)
        .arg("--json")
        .env_remove("MESOS_MASTER")
        .env_remove("PROFFER_MASTER")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let checks = answer["checks"].as_array().cloned().expect("checks");
    let failed = checks.iter().filter(|check| check["state"] == "fail").count();
    assert_eq!(answer["failed"], failed);
    (out.status.code().expect("a status"), checks)
}

/// State and text of the findings of a name.
fn of(checks: &[Value], name: &str) -> Vec<(String, String)> {
    let of = checks.iter().filter(|check| check["check"] == name);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of.map(|check| (text(&check["state"]), text(&check["found"]))).collect()
}

#[track_caller]
fn one(checks: &[Value], name: &str) -> (String, String) {
    let mut all = of(checks, name);
    assert_eq!(all.len(), 1, "{name}: {checks:?}");
    all.remove(0)
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_agent_that_could_run_here_passes() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 0));
    let directory = Directory(temporary_directory());
    let port = free_ports(1)[0];
    let words = [
        "agent".to_owned(),
        format!("--master={}", cluster.master()),
        format!("--work_dir={}", directory.0.join("not/made/yet").display()),
        format!("--runtime_dir={}", directory.0.display()),
        "--ip=127.0.0.1".to_owned(),
        format!("--port={port}"),
        "--isolation=posix/cpu,posix/mem".to_owned(),
        "--launcher=posix".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (status, checks) = doctor(&words);
    let failed: Vec<&Value> = checks.iter().filter(|check| check["state"] == "fail").collect();
    assert_eq!((status, failed), (0, vec![]), "{checks:?}");
    assert_eq!(one(&checks, "flags").0, "ok");
    assert_eq!(
        one(&checks, "port"),
        ("ok".to_owned(), format!("127.0.0.1:{port} is free for an agent"))
    );
    let (state, found) = one(&checks, "master");
    assert!(
        state == "ok" && found.starts_with(&format!("{} answers", cluster.master())),
        "{found}"
    );
    for name in [
        "kernel",
        "clock",
        "open files",
        "namespaces",
        "overlayfs",
        "cgroups",
        "user",
        "name",
        "isolation",
    ] {
        one(&checks, name);
    }
    assert!(!directory.0.join("not").exists(), "it changes nothing");
    // That of a program that runs is not free, and yet no fault.
    let running = format!("--port={}", cluster.master().rsplit_once(':').expect("a port").1);
    let (status, checks) = doctor(&["master", "--registry=in_memory", "--ip=127.0.0.1", &running]);
    assert_eq!(status, 0, "{checks:?}");
    assert!(one(&checks, "port").1.contains("that runs"), "{checks:?}");
}

#[test]
fn what_is_missing_is_a_failure_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let nobody = format!("127.0.0.1:{}", free_ports(1)[0]);
    let (status, checks) = doctor(&[
        "agent",
        &format!("--master={nobody}"),
        "--work_dir=/proc/nowhere",
        "--runtime_dir=/proc/nowhere",
        "--ip=127.0.0.1",
        &format!("--port={port}"),
        "--containerizers=mesos,docker",
        "--docker_socket=/nowhere/docker.sock",
        "--isolation=posix/cpu",
    ]);
    assert_eq!(status, 1);
    for (name, text) in [
        ("port", "Address already in use"),
        ("work_dir", "/proc/nowhere: "),
        ("runtime_dir", "/proc/nowhere: "),
        ("master", &nobody),
        ("docker", "/nowhere/docker.sock: "),
    ] {
        let (state, found) = one(&checks, name);
        assert!(state == "fail" && found.contains(text), "{name}: {state} {found}");
        let check = checks.iter().find(|check| check["check"] == name).expect("it is there");
        assert!(check["advice"].as_str().is_some_and(|advice| advice.len() > 10), "{check}");
    }
    let (status, checks) = doctor(&["agent", "--prot=1"]);
    assert_eq!((status, one(&checks, "flags").0.as_str()), (1, "fail"));
    assert!(one(&checks, "flags").1.contains("did you mean --port?"), "{checks:?}");
    let zk = format!("--zk=zk://{nobody}/mesos");
    let (status, checks) = doctor(&["master", "--ip=127.0.0.1", "--port=0", &zk]);
    assert_eq!((status, one(&checks, "meeting").0.as_str()), (1, "fail"), "{checks:?}");
}

#[test]
fn people_get_lines() {
    let program = || Command::new(env!("CARGO_BIN_EXE_proffer"));
    let out = program().arg("doctor").output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.lines().any(|line| line.starts_with("ok    kernel")), "{text}");
    assert!(text.ends_with(".\n"), "{text}");
    let out = program().args(["doctor", "--help"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&out.stdout).contains("usage: proffer doctor"));
    let out = program().args(["doctor", "nurse"]).output().expect("it runs");
    assert_eq!(out.status.code(), Some(2));
}
