//! Several masters: who leads, what the others answer, and what is left when the leader ends.

use crate::running::{LIMIT, all_run, framework, launch, names, pids, reconciled};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::etcd::Servers;
use testkit::http::{Connection, get};
use testkit::process::{signal, stop};
use testkit::zookeeper::Ensemble;
use testkit::{Cluster, ClusterOptions, Framework, wait};

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

#[test]
fn tasks_run_on_when_the_leader_is_killed_and_the_next_one_knows_them() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    kill_the_leader(&mut start(&ensemble, 2));
}

#[test]
fn tasks_run_on_when_the_leader_that_etcd_knows_is_killed() {
    let Some(servers) = Servers::start(1) else { return };
    kill_the_leader(&mut start_in_etcd(&servers, 2));
}

/// Kills it; what ran runs on, and is known to the next one. The former leader, the next one and the framework.
fn kill_the_leader(cluster: &mut Cluster) -> (usize, usize, Framework) {
    let tasks = names("task", 4);
    let mut first = framework(&cluster.master(), None);
    launch(cluster, &mut first, &tasks);
    let before = pids(cluster, &["task"]);
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
    eprintln!("without a leader for {elected:?}, first offer after {offered:?}");
    assert_eq!(reconciled(&mut again, 4), all_run(&tasks));
    assert_eq!(pids(cluster, &["task"]), before, "the same processes, started once");
    let kept = get(&cluster.master(), "/weights").text();
    assert!(kept.contains("web"), "{kept}");
    (leader, next, again)
}

/// Three masters that replicate the registry among themselves.
pub(crate) fn start_replicated(agents: usize) -> Cluster {
    let mut options = ClusterOptions::new(PROGRAM, agents);
    options.replicate(3);
    // Any file that is long enough.
    let secret = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    options.master_flags.push(format!("--peers_secret={secret}"));
    Cluster::start(options)
}

#[test]
fn masters_that_replicate_the_registry_need_no_other_service() {
    let mut cluster = start_replicated(2);
    let (leader, next, scheduler) = kill_the_leader(&mut cluster);
    let before = pids(&cluster, &["task"]);

    // One of three is not enough, and comes back with the others.
    cluster.kill_master_number(next);
    let last = (0..3).find(|n| *n != leader && *n != next).expect("the third");
    let nobody = || {
        let mut connection = Connection::open(&cluster.master_number(last)).ok()?;
        let answer = connection.request("GET", "/state", &[], &[]).ok()?;
        (answer.status == 503).then_some(())
    };
    wait::until("nobody leads", LIMIT, nobody);
    cluster.start_master_number(leader);
    let _ = framework(&cluster.master(), Some(scheduler.id));
    assert_eq!(pids(&cluster, &["task"]), before);
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
    wait::until("the standby knows the leader", LIMIT, || {
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
    wait::until("the standby knows of no leader", LIMIT, || nobody(standby));
    let ended = wait::until("the leader ends", LIMIT, || cluster.ended_master_number(leader));
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
    launch(&cluster, &mut first, &names("task", 1));
    let before = pids(&cluster, &["task"]);
    let leader = cluster.leader();
    servers.kill(0);
    let ended = wait::until("the leader ends", LIMIT, || cluster.ended_master_number(leader));
    assert_eq!(ended.code(), Some(1));
    servers.run(0);
    let next = cluster.leader();
    let mut again = framework(&cluster.master_number(next), Some(first.id.clone()));
    cluster.wait_for_agents(1);
    assert_eq!(reconciled(&mut again, 1), all_run(&names("task", 1)));
    assert_eq!(pids(&cluster, &["task"]), before);
}

fn pause_the_leader(mut cluster: Cluster) {
    let mut first = framework(&cluster.master(), None);
    launch(&cluster, &mut first, &names("task", 1));
    let before = pids(&cluster, &["task"]);
    let leader = cluster.leader();
    let pid = cluster.master_number_pid(leader).expect("it runs");
    stop(pid);
    // What comes to it now waits until it goes on.
    let id = first.id.clone();
    let kill = json!({"type": "KILL", "kill": {"task_id": {"value": "task-0"}}});
    let kill = std::thread::spawn(move || first.try_call(&kill).map(|answer| answer.status));
    let address = cluster.master_number(leader);
    let set = std::thread::spawn(move || {
        let mut connection = Connection::open(&address).ok()?;
        let body = br#"[{"role":"late","weight":2.0}]"#;
        Some(connection.request("PUT", "/weights", &[], body).ok()?.status)
    });
    let next = wait::until("another leader", LIMIT, || {
        (0..3)
            .filter(|n| *n != leader)
            .find(|n| get(&cluster.master_number(*n), "/state").status == 200)
    });
    let mut again = framework(&cluster.master_number(next), Some(id));
    again.offers();
    signal(pid, "CONT");
    let ended =
        wait::until("the former leader ends", LIMIT, || cluster.ended_master_number(leader));
    assert_eq!(ended.code(), Some(1));
    assert_ne!(kill.join().expect("no panic"), Some(202), "it did what waited for it");
    assert_ne!(set.join().expect("no panic"), Some(200), "it did what waited for it");
    let weights = get(&cluster.master_number(next), "/weights").text();
    assert!(!weights.contains("late"), "{weights}");
    assert_eq!(reconciled(&mut again, 1), all_run(&names("task", 1)));
    assert_eq!(pids(&cluster, &["task"]), before);
}

#[test]
fn a_leader_that_no_majority_answers_shows_nothing_old_and_says_so_to_those_who_wait() {
    let mut cluster = start_replicated(1);
    let mut first = framework(&cluster.master(), None);
    launch(&cluster, &mut first, &names("task", 1));
    let before = pids(&cluster, &["task"]);
    let leader = cluster.leader();
    let address = cluster.master_number(leader);
    let others: Vec<u32> = (0..3)
        .filter(|n| *n != leader)
        .map(|n| cluster.master_number_pid(n).expect("it runs"))
        .collect();
    others.iter().for_each(|pid| stop(*pid));
    // Somebody else could lead from the end of its lease on.
    let over = Instant::now() + Duration::from_millis(1100);
    let waiting = std::thread::spawn({
        let address = address.clone();
        move || {
            std::thread::sleep(over.saturating_duration_since(Instant::now()));
            let set = ["weight", "set", "late=2", "--master", &address];
            std::process::Command::new(PROGRAM).args(set).output().expect("it runs")
        }
    });
    let read = |address: &str| {
        let mut connection = Connection::open(address).ok()?;
        Some(connection.request("GET", "/weights", &[], &[]).ok()?.status)
    };
    loop {
        let asked = Instant::now();
        if read(&address) != Some(200) {
            break;
        }
        assert!(asked < over, "it shows what another leader may have changed");
    }
    let output = waiting.join().expect("no panic");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("no majority of masters answers"), "{text}");
    assert!(text.contains("whether it was carried out is not known"), "{text}");
    let ended = wait::until("its end", LIMIT, || cluster.ended_master_number(leader));
    assert_eq!(ended.code(), Some(1));

    others.iter().for_each(|pid| signal(*pid, "CONT"));
    cluster.start_master_number(leader);
    let has_the_agent = |address: &String| {
        Connection::open(address)
            .and_then(|mut c| c.request("GET", "/slaves", &[], &[]))
            .is_ok_and(|answer| answer.status == 200 && answer.text().contains("\"active\":true"))
    };
    let next = wait::until("the agent at the next leader", LIMIT, || {
        (0..3).map(|n| cluster.master_number(n)).find(has_the_agent)
    });
    let weights = get(&next, "/weights").text();
    assert!(!weights.contains("late"), "{weights}");
    let mut again = framework(&next, Some(first.id.clone()));
    assert_eq!(reconciled(&mut again, 1), all_run(&names("task", 1)));
    assert_eq!(pids(&cluster, &["task"]), before);
}

#[test]
fn a_damaged_entry_in_etcd_ends_the_master_that_would_lead_without_it() {
    let Some(servers) = Servers::start(1) else { return };
    let mut options = ClusterOptions::new(PROGRAM, 0);
    options.master_flags = vec![
        format!("--coordination={}", servers.url("", "mesos")),
        "--zk_session_timeout=2secs".to_owned(),
    ];
    let mut cluster = Cluster::start(options);
    cluster.wait_for_agents(0);
    cluster.kill_master();
    // `/mesos/registry/weights/web`: `garbage`
    let key = "L21lc29zL3JlZ2lzdHJ5L3dlaWdodHMvd2Vi";
    let put = json!({"key": key, "value": "Z2FyYmFnZQ=="}).to_string();
    assert_eq!(servers.call("kv/put", &put).status, 200);
    cluster.start_master();
    let ended = wait::until("its end", LIMIT, || cluster.ended_master_number(0));
    assert_eq!(ended.code(), Some(1));
    let log = std::fs::read_to_string(cluster.directory().join("master.log")).expect("a log");
    assert!(log.contains("the entry weights/web of the registry is not understood: "), "{log}");

    assert_eq!(servers.call("kv/deleterange", &json!({"key": key}).to_string()).status, 200);
    cluster.start_master();
    wait::until("it leads", LIMIT, || {
        cluster.metric(0, "master/elected").filter(|elected| *elected == 1.0)
    });
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
