//! Registries that move from one place to another, under running tasks.

use crate::running::{LIMIT, all_run, framework, launch, names, pids, reconciled};
use std::path::Path;
use std::process::Command;
use testkit::etcd::Servers;
use testkit::{Cluster, ClusterOptions, Framework, http, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proffer");
const WEIGHTS: &str = r#"[{"role":"web","weight":2.0}]"#;

fn remove(cluster: &Cluster, leader: usize, master: usize) {
    let output = Command::new(PROGRAM)
        .args(["masters", "remove", &cluster.master_number(master), "--master"])
        .arg(cluster.master_number(leader))
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts a master anew where the registry is to be, and tells the agent.
fn move_to(cluster: &mut Cluster, master: usize, flags: &[String], agents: (&Path, &str)) {
    cluster.kill_master_number(master);
    cluster.set_master_flags(flags.to_vec());
    std::fs::write(agents.0, agents.1).expect("written");
    cluster.start_master_number(master);
    cluster.kill_agent(0);
    cluster.start_agent(0);
    assert_eq!(cluster.leader(), master);
}

#[test]
fn tasks_run_on_while_the_registry_goes_from_raft_to_etcd_and_back() {
    let Some(servers) = Servers::start(1) else { return };
    let url = servers.url("", "mesos");
    let directory = testkit::cluster::temporary_directory();
    let file = directory.join("masters");
    let mut options = ClusterOptions::new(PROGRAM, 1);
    let addresses = options.replicate(3);
    std::fs::write(&file, addresses.join(",")).expect("written");
    options.master_name = Some(format!("file://{}", file.display()));
    let mut cluster = Cluster::start(options);
    let leader = cluster.leader();
    let tasks = names("task", 2);
    let mut scheduler = framework(&cluster.master_number(leader), None);
    launch(&cluster, &mut scheduler, &tasks);
    let before = pids(&cluster, &["task"]);
    let set = http::send(&cluster.master_number(leader), "PUT", "/weights", WEIGHTS);
    assert_eq!(set.status, 200);
    let is_whole = |cluster: &Cluster, scheduler: &Framework| {
        let mut again = framework(&cluster.master_number(leader), Some(scheduler.id.clone()));
        cluster.wait_for_agents_of(leader, 1);
        assert_eq!(reconciled(&mut again, tasks.len()), all_run(&tasks));
        assert_eq!(pids(cluster, &["task"]), before, "the same processes, started once");
        let kept = http::get(&cluster.master_number(leader), "/weights").text();
        assert!(kept.contains("web"), "{kept}");
    };

    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    cluster.kill_master_number(others[0]);
    remove(&cluster, leader, others[0]);
    remove(&cluster, leader, others[1]);
    cluster.kill_master_number(others[1]);
    let session = "--zk_session_timeout=5secs".to_owned();
    let in_etcd = [format!("--coordination={url}"), session.clone()];
    move_to(&mut cluster, leader, &in_etcd, (&file, &url));
    is_whole(&cluster, &scheduler);

    let address = cluster.master_number(leader);
    let back = [
        "--coordination=raft".to_owned(),
        format!("--peers={address}"),
        format!("--registry_from={url}"),
        session,
    ];
    move_to(&mut cluster, leader, &back, (&file, &address));
    is_whole(&cluster, &scheduler);

    // Where it was before nobody leads any more, and it is said why.
    let name = match others[0] {
        0 => "master".to_owned(),
        n => format!("master{n}"),
    };
    std::fs::remove_dir_all(cluster.directory().join(&name)).expect("removed");
    cluster.set_master_flags(in_etcd.to_vec());
    cluster.start_master_number(others[0]);
    let ended = wait::until("the end of a master at the old place", LIMIT, || {
        cluster.ended_master_number(others[0])
    });
    assert_eq!(ended.code(), Some(1));
    let log = std::fs::read_to_string(cluster.directory().join(format!("{name}.log")));
    let log = log.expect("a log");
    let said = format!("the registry was moved to the masters that replicate it with {address}");
    assert!(log.contains(&said), "{log}");
    let _ = std::fs::remove_dir_all(directory);
}
