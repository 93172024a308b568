//! Masters that are added while everything runs: from one to three to five.

use crate::running::{LIMIT, all_run, framework, launch, names, pids, reconciled};
use std::process::{Child, Command, Stdio};
use testkit::cluster::free_ports;
use testkit::{Cluster, ClusterOptions, http, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proffer");
const WEIGHTS: &str = r#"[{"role":"web","weight":2.0}]"#;

/// A master that was started to be added.
struct Added {
    address: String,
    child: Child,
}

impl Added {
    fn start(cluster: &Cluster, port: u16) -> Self {
        let directory = cluster.directory().join(format!("added{port}"));
        let child = Command::new(PROGRAM)
            .args(["master", "--ip=127.0.0.1", "--coordination=raft"])
            .args([format!("--port={port}"), format!("--work_dir={}", directory.display())])
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let address = format!("127.0.0.1:{port}");
        wait::until("it listens", LIMIT, || http::Connection::open(&address).ok());
        Self { address, child }
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn masters(leader: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(PROGRAM)
        .arg("masters")
        .args(words)
        .args(["--master", leader])
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn one_master_becomes_five_and_an_agent_that_was_told_of_one_finds_the_next_leader() {
    let mut options = ClusterOptions::new(PROGRAM, 1);
    let first = options.replicate(1).remove(0);
    let mut cluster = Cluster::start(options);
    let tasks = names("task", 2);
    let mut scheduler = framework(&first, None);
    launch(&cluster, &mut scheduler, &tasks);
    let before = pids(&cluster, &["task"]);
    assert_eq!(http::send(&first, "PUT", "/weights", WEIGHTS).status, 200);

    let refused = masters(&first, &["add", "127.0.0.1:1"]).expect_err("nobody is there");
    assert!(refused.contains("127.0.0.1:1 is not added: "), "{refused}");
    let added: Vec<Added> =
        free_ports(4).into_iter().map(|port| Added::start(&cluster, port)).collect();
    let table = masters(&first, &["add", &added[0].address, &added[1].address]).expect("three");
    assert_eq!(table.matches("follows").count(), 2, "{table}");
    let table = masters(&first, &["add", &added[2].address, &added[3].address]).expect("five");
    assert_eq!(table.matches("follows").count(), 4, "{table}");

    cluster.kill_master_number(0);
    let leads = |master: &&Added| {
        http::Connection::open(&master.address)
            .and_then(|mut c| c.request("GET", "/weights", &[("Connection", "close")], &[]))
            .is_ok_and(|answer| answer.status == 200 && answer.text().contains("web"))
    };
    let next = wait::until("the next leader", LIMIT, || added.iter().find(leads));
    wait::until("the agent", LIMIT, || {
        let agents = http::get(&next.address, "/slaves").json();
        (agents["slaves"][0]["active"] == true).then_some(())
    });
    let mut again = framework(&next.address, Some(scheduler.id.clone()));
    assert_eq!(reconciled(&mut again, tasks.len()), all_run(&tasks));
    assert_eq!(pids(&cluster, &["task"]), before, "the same processes, started once");
    let refused = masters(&next.address, &["remove", &next.address]).expect_err("it leads");
    assert!(refused.contains("leads; stop it"), "{refused}");
    let table = masters(&next.address, &["remove", &first]).expect("it is away");
    assert!(!table.contains(&first), "{table}");
}
