//! Several masters: who leads, what the others answer, and what is left when the leader ends.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::etcd::Servers;
use testkit::framework::{Framework, FrameworkOptions, command_task, text};
use testkit::http::{Connection, get};
use testkit::zookeeper::Ensemble;
use testkit::{Cluster, ClusterOptions, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proffer");

/// Three masters and agents that meet in ZooKeeper.
fn start(ensemble: &Ensemble, agents: usize) -> Cluster {
    let url = ensemble.url("user:secret@", "mesos");
    meet(url.clone(), vec![format!("--zk={url}"), "--quorum=2".to_owned()], agents)
}

/// Three masters and agents that meet in etcd.
fn start_in_etcd(servers: &Servers, agents: usize) -> Cluster {
    let url = servers.url("", "mesos");
    meet(url.clone(), vec![format!("--coordination={url}")], agents)
}

fn meet(url: String, mut flags: Vec<String>, agents: usize) -> Cluster {
    let mut options = ClusterOptions::new(PROGRAM, agents);
    options.masters = 3;
    flags.push("--zk_session_timeout=2secs".to_owned());
    options.master_flags = flags;
    options.master_name = Some(url);
    Cluster::start(options)
}

pub(crate) fn framework(master: &str, id: Option<String>) -> Framework {
    let options = FrameworkOptions {
        id,
        failover_timeout: 3600.0,
        checkpoint: true,
        ..FrameworkOptions::default()
    };
    wait::until("a subscription", Duration::from_secs(30), || {
        Framework::try_subscribe(master, &options)
    })
}

/// Process ids of the tasks that run, by the file that each of them writes.
fn pids(cluster: &Cluster, tasks: usize) -> BTreeMap<usize, String> {
    (0..tasks)
        .map(|n| {
            let path = cluster.directory().join(format!("pid{n}"));
            let pid = wait::until("a pid", Duration::from_secs(30), || {
                std::fs::read_to_string(&path).ok().filter(|t| t.ends_with('\n'))
            });
            assert!(std::path::Path::new("/proc").join(pid.trim()).exists(), "task {n} runs");
            (n, pid)
        })
        .collect()
}

fn launch(cluster: &Cluster, framework: &mut Framework, tasks: usize) {
    let offer = framework.offers().remove(0);
    let all: Vec<Value> = (0..tasks)
        .map(|n| {
            let path = cluster.directory().join(format!("pid{n}"));
            // Once more would show.
            let command = format!("echo $$ >> {}; exec sleep 1000", path.display());
            command_task(&offer, &format!("t{n}"), &command, 0.1, 32.0)
        })
        .collect();
    framework.launch(&offer, &all);
    for n in 0..tasks {
        framework.until_state(&format!("t{n}"), "TASK_RUNNING");
    }
}

/// What the master says of the tasks when it is asked for all.
pub(crate) fn reconciled(framework: &mut Framework, tasks: usize) -> BTreeMap<String, String> {
    let answer = framework.call(&json!({"type": "RECONCILE", "reconcile": {"tasks": []}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let mut all = BTreeMap::new();
    while all.len() < tasks {
        let (_, update) = framework.update(None);
        all.insert(text(&update["task_id"]["value"]), text(&update["state"]));
    }
    all
}

#[test]
fn tasks_run_on_when_the_leader_is_killed_and_the_next_one_knows_them() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    kill_the_leader(start(&ensemble, 2));
}

#[test]
fn tasks_run_on_when_the_leader_that_etcd_knows_is_killed() {
    let Some(servers) = Servers::start(1) else { return };
    kill_the_leader(start_in_etcd(&servers, 2));
}

fn kill_the_leader(mut cluster: Cluster) {
    let mut first = framework(&cluster.master(), None);
    launch(&cluster, &mut first, 4);
    let before = pids(&cluster, 4);

    let leader = cluster.leader();
    let killed = Instant::now();
    cluster.kill_master_number(leader);
    let next = cluster.leader();
    let elected = killed.elapsed();
    let mut again = framework(&cluster.master_number(next), Some(first.id.clone()));
    again.offers();
    let offered = killed.elapsed();
    cluster.wait_for_agents(2);
    eprintln!("without a leader for {elected:?}, first offer after {offered:?} (session: 2 s)");
    let expected: BTreeMap<String, String> =
        (0..4).map(|n| (format!("t{n}"), "TASK_RUNNING".to_owned())).collect();
    assert_eq!(reconciled(&mut again, 4), expected);
    assert_eq!(pids(&cluster, 4), before, "the same processes, started once");
}

/// Three masters that replicate the registry among themselves.
pub(crate) fn start_replicated(agents: usize) -> Cluster {
    let ports = testkit::cluster::free_ports(3);
    let peers: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut options = ClusterOptions::new(PROGRAM, agents);
    options.masters = 3;
    options.master_ports = ports;
    options.master_flags =
        vec!["--coordination=raft".to_owned(), format!("--peers={}", peers.join(","))];
    // Any file that is long enough.
    let secret = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    options.master_flags.push(format!("--peers_secret={secret}"));
    Cluster::start(options)
}

#[test]
fn masters_that_replicate_the_registry_need_no_other_service() {
    let mut cluster = start_replicated(2);
    let mut first = framework(&cluster.master(), None);
    launch(&cluster, &mut first, 4);
    let before = pids(&cluster, 4);
    let weights = r#"[{"role":"web","weight":2.0}]"#;
    assert_eq!(testkit::http::send(&cluster.master(), "PUT", "/weights", weights).status, 200);

    let leader = cluster.leader();
    let killed = Instant::now();
    cluster.kill_master_number(leader);
    let next = cluster.leader();
    let elected = killed.elapsed();
    let mut again = framework(&cluster.master_number(next), Some(first.id.clone()));
    again.offers();
    let offered = killed.elapsed();
    cluster.wait_for_agents(2);
    eprintln!("without a leader for {elected:?}, first offer after {offered:?} (raft)");
    let expected: BTreeMap<String, String> =
        (0..4).map(|n| (format!("t{n}"), "TASK_RUNNING".to_owned())).collect();
    assert_eq!(reconciled(&mut again, 4), expected);
    assert_eq!(pids(&cluster, 4), before, "the same processes, started once");
    let kept = get(&cluster.master(), "/weights").text();
    assert!(kept.contains("web"), "{kept}");

    // One of three is not enough, and comes back with the others.
    cluster.kill_master_number(next);
    let last = (0..3).find(|n| *n != leader && *n != next).expect("the third");
    let nobody = || {
        let mut connection = Connection::open(&cluster.master_number(last)).ok()?;
        let answer = connection.request("GET", "/state", &[], &[]).ok()?;
        (answer.status == 503).then_some(())
    };
    wait::until("nobody leads", Duration::from_secs(30), nobody);
    cluster.start_master_number(leader);
    let _ = framework(&cluster.master(), Some(first.id));
    assert_eq!(pids(&cluster, 4), before);
    let output = std::process::Command::new(PROGRAM)
        .args(["masters", "--master", &cluster.master()])
        .output()
        .expect("it runs");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.matches("leads").count() == 1 && table.matches("follows").count() == 2,
        "{table}"
    );
}

#[test]
fn a_master_that_does_not_lead_redirects_and_one_without_a_leader_says_so() {
    let Some(mut ensemble) = Ensemble::start(1) else { return };
    let mut cluster = start(&ensemble, 0);
    let leader = cluster.leader();
    let standby = (leader + 1) % 3;
    let address = cluster.master_number(standby);
    let location = |method: &str, path: &str| {
        let mut connection = Connection::open(&address).expect("it answers");
        let answer = connection.request(method, path, &[], b"{}").expect("it answers");
        (answer.status, answer.header("location").map(str::to_owned))
    };
    let port = cluster.master_number(leader);
    let port = port.rsplit(':').next().expect("a port");
    wait::until("the standby knows the leader", Duration::from_secs(30), || {
        (location("GET", "/state").0 == 307).then_some(())
    });
    for (method, path, expected) in [
        ("GET", "/state", "/state"),
        ("GET", "/master/tasks?limit=3&order=asc", "/master/tasks?limit=3&order=asc"),
        ("POST", "/api/v1", "/api/v1"),
        ("POST", "/master/api/v1/scheduler", "/master/api/v1/scheduler"),
        ("GET", "/redirect", ""),
    ] {
        let expected = (307, Some(format!("//localhost:{port}{expected}")));
        assert_eq!(location(method, path), expected, "{method} {path}");
    }
    for path in ["/health", "/version", "/flags", "/metrics/snapshot", "/master/health"] {
        assert_eq!(get(&address, path).status, 200, "{path}");
    }
    assert_eq!(get(&address, "/metrics/snapshot").json()["master/elected"], 0);
    let flags = get(&address, "/flags").text();
    assert!(flags.contains("zk://127.0.0.1:") && !flags.contains("secret"), "{flags}");

    ensemble.kill(0);
    let nobody = |n: usize| {
        let mut connection = Connection::open(&cluster.master_number(n)).ok()?;
        let answer = connection.request("GET", "/state", &[], &[]).ok()?;
        (answer.status == 503 && answer.text() == "No leader elected").then_some(())
    };
    wait::until("the standby knows of no leader", Duration::from_secs(30), || nobody(standby));
    let ended = wait::until("the leader ends", Duration::from_secs(30), || {
        cluster.ended_master_number(leader)
    });
    assert_eq!(ended.code(), Some(1));
}

#[test]
fn a_leader_that_was_paused_for_longer_than_its_session_ends_and_changes_nothing() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    pause_the_leader(start(&ensemble, 1));
}

#[test]
fn a_leader_that_was_paused_for_longer_than_its_lease_ends_and_changes_nothing() {
    let Some(servers) = Servers::start(1) else { return };
    pause_the_leader(start_in_etcd(&servers, 1));
}

#[test]
fn etcd_that_is_killed_and_comes_back_ends_no_task() {
    let Some(mut servers) = Servers::start(1) else { return };
    let mut cluster = start_in_etcd(&servers, 1);
    let mut first = framework(&cluster.master(), None);
    launch(&cluster, &mut first, 1);
    let before = pids(&cluster, 1);
    let leader = cluster.leader();
    servers.kill(0);
    let ended = wait::until("the leader ends", Duration::from_secs(30), || {
        cluster.ended_master_number(leader)
    });
    assert_eq!(ended.code(), Some(1));
    servers.run(0);
    let next = cluster.leader();
    let mut again = framework(&cluster.master_number(next), Some(first.id.clone()));
    cluster.wait_for_agents(1);
    let expected = BTreeMap::from([("t0".to_owned(), "TASK_RUNNING".to_owned())]);
    assert_eq!(reconciled(&mut again, 1), expected);
    assert_eq!(pids(&cluster, 1), before);
}

fn pause_the_leader(mut cluster: Cluster) {
    let mut first = framework(&cluster.master(), None);
    launch(&cluster, &mut first, 1);
    let before = pids(&cluster, 1);
    let leader = cluster.leader();
    let pid = cluster.master_number_pid(leader).expect("it runs").to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &pid]).status();
        assert!(sent.is_ok_and(|s| s.success()));
    };
    signal("-STOP");
    let next = wait::until("another leader", Duration::from_secs(30), || {
        (0..3)
            .filter(|n| *n != leader)
            .find(|n| get(&cluster.master_number(*n), "/state").status == 200)
    });
    let mut again = framework(&cluster.master_number(next), Some(first.id.clone()));
    again.offers();
    signal("-CONT");
    let ended = wait::until("the former leader ends", Duration::from_secs(30), || {
        cluster.ended_master_number(leader)
    });
    assert_eq!(ended.code(), Some(1));
    let expected = BTreeMap::from([("t0".to_owned(), "TASK_RUNNING".to_owned())]);
    assert_eq!(reconciled(&mut again, 1), expected);
    assert_eq!(pids(&cluster, 1), before);
}

#[test]
fn pymesos_follows_the_leader_by_its_url_unmodified() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let Some(python) = std::env::var_os("PROFFER_TEST_PYTHON") else {
        eprintln!(
            "skipped: pymesos (PROFFER_TEST_PYTHON is not set; `cargo xtask test` makes the environment)"
        );
        return;
    };
    let Some(ensemble) = Ensemble::start(1) else { return };
    let mut cluster = start(&ensemble, 1);
    let leader = cluster.leader();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(python)
        .arg(script.join("tests/clients/pymesos_failover.py"))
        .arg(ensemble.url("", "mesos"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut lines = BufReader::new(client.stdout.take().expect("an output")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    cluster.kill_master_number(leader);
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(rest, ["all steps passed"]);
    assert!(client.wait().expect("an end").success());
}

#[test]
fn commands_find_the_leader_by_its_url_or_by_a_list_of_masters() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    let (url, nowhere) = (ensemble.url("user:secret@", "mesos"), ensemble.url("", "nothing-here"));
    find_the_leader(&start(&ensemble, 1), url, nowhere);
    let Some(servers) = Servers::start(1) else { return };
    let (url, nowhere) = (servers.url("", "mesos"), servers.url("", "nothing-here"));
    find_the_leader(&start_in_etcd(&servers, 1), url, nowhere);
}

fn find_the_leader(cluster: &Cluster, url: String, nowhere: String) {
    let _ = cluster.leader();
    let list: Vec<String> = (0..3).map(|n| cluster.master_number(n)).collect();
    for name in [url, list.join(",")] {
        let output = std::process::Command::new(PROGRAM)
            .args(["agents", "--json", "--master", &name])
            .output()
            .expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {errors}");
        let agents: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(agents["slaves"].as_array().map(Vec::len), Some(1), "{agents}");
    }
    let output = std::process::Command::new(PROGRAM)
        .args(["agents", "--master", &nowhere])
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("not known"), "{errors}");
}
