//! A thousand tasks of two frameworks while everything that masters depend on fails: the same processes run on, each
//! started once, and both frameworks are told of all of them.

use crate::running::{LIMIT, all_run, framework, launch, names, pids, reconciled};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::etcd::Servers;
use testkit::hosts::Hosts;
use testkit::process::{signal, stop};
use testkit::zookeeper::Ensemble;
use testkit::{Cluster, ClusterOptions, Framework, http, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proffer");
const AGENTS: usize = 5;
/// Of each of two frameworks.
const TASKS: usize = 500;

/// What an operator does when it is over.
type Repair<'a> = Box<dyn FnOnce() + 'a>;

struct Trial {
    cluster: Cluster,
    ours: Framework,
    others: Other,
    pids: BTreeMap<String, String>,
}

/// The second framework.
enum Other {
    Pymesos(Pymesos),
    Testkit(Framework),
}

/// A program that reconciles when it is told to.
struct Pymesos {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Pymesos {
    fn start(python: std::ffi::OsString, url: &str, directory: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let mut child = Command::new(python)
            .arg(script.join("pymesos_reconcile.py"))
            .args([url, &TASKS.to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "ready");
        Self { child, lines }
    }

    fn reconcile(&mut self) -> String {
        let stdin = self.child.stdin.as_mut().expect("an input");
        stdin.write_all(b"?\n").expect("it listens");
        self.lines.next().expect("an answer").expect("text")
    }
}

impl Drop for Pymesos {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of this cluster.
fn everybody(cluster: &Cluster) -> BTreeMap<String, String> {
    pids(cluster, &["pymesos", "ours", "others"])
}

impl Trial {
    /// `url`: where pymesos looks for the leader; without it the second framework is like the first.
    fn start(options: ClusterOptions, url: Option<&str>) -> Option<Self> {
        let python = std::env::var_os("PROFFER_TEST_PYTHON");
        if url.is_some() && python.is_none() {
            eprintln!("skipped: pymesos (PROFFER_TEST_PYTHON is not set; see `cargo xtask test`)");
            return None;
        }
        let cluster = Cluster::start(options);
        let mut ours = framework(&cluster.master(), None);
        launch(&cluster, &mut ours, &names("ours", TASKS));
        let others = match (url, python) {
            (Some(url), Some(python)) => {
                // The offers of who does not want them would keep another waiting.
                ours.call(&json!({"type": "SUPPRESS"}));
                Other::Pymesos(Pymesos::start(python, url, cluster.directory()))
            }
            _ => {
                let mut other = framework(&cluster.master(), None);
                launch(&cluster, &mut other, &names("others", TASKS));
                Other::Testkit(other)
            }
        };
        let pids = everybody(&cluster);
        assert_eq!(pids.len(), 2 * TASKS);
        assert_eq!(pids.values().collect::<BTreeSet<_>>().len(), 2 * TASKS);
        Some(Self { cluster, ours, others, pids })
    }

    /// Harms the leader, and checks that everything is as before under the next one; then the former is started again.
    fn survives<'a>(
        &mut self,
        what: &str,
        harm: impl FnOnce(&mut Cluster, usize) -> Option<Repair<'a>>,
    ) {
        let leader = self.cluster.leader();
        let begun = Instant::now();
        let repair = harm(&mut self.cluster, leader);
        let next = self.cluster.leader_besides(Some(leader));
        let without = begun.elapsed();
        self.is_whole(next, what, begun, without);
        repair.into_iter().for_each(|repair| repair());
        if self.cluster.master_number_pid(leader).is_some() {
            let ended = wait::until("the end of the former leader", LIMIT, || {
                self.cluster.ended_master_number(leader)
            });
            assert_eq!(ended.code(), Some(1), "after: {what}");
        }
        self.cluster.start_master_number(leader);
        wait::until("the former leader follows", LIMIT, || {
            self.cluster.metric(leader, "master/elected").filter(|elected| *elected == 0.0)
        });
    }

    /// The same, when whoever leads now may be who led before.
    fn is_whole_after(&mut self, what: &str, begun: Instant) {
        let next = self.cluster.leader();
        self.is_whole(next, what, begun, begun.elapsed());
    }

    fn is_whole(&mut self, master: usize, what: &str, begun: Instant, without: Duration) {
        let address = self.cluster.master_number(master);
        self.ours = framework(&address, Some(self.ours.id.clone()));
        self.ours.offers();
        let offered = begun.elapsed();
        self.cluster.wait_for_agents_of(master, AGENTS);
        let registered = begun.elapsed();
        println!(
            "{what}: without a leader for {without:.1?}, first new offer after {offered:.1?}, \
             all agents after {registered:.1?}"
        );
        let running = |prefix: &str| all_run(&names(prefix, TASKS));
        assert_eq!(reconciled(&mut self.ours, TASKS), running("ours"), "after: {what}");
        match &mut self.others {
            Other::Pymesos(program) => {
                assert_eq!(program.reconcile(), format!("TASK_RUNNING={TASKS}"), "after: {what}");
            }
            Other::Testkit(other) => {
                *other = framework(&address, Some(other.id.clone()));
                assert_eq!(reconciled(other, TASKS), running("others"), "after: {what}");
            }
        }
        assert_eq!(everybody(&self.cluster), self.pids, "after: {what}");
    }
}

fn kill(cluster: &mut Cluster, leader: usize) -> Option<Repair<'static>> {
    cluster.kill_master_number(leader);
    None
}

fn pause(cluster: &mut Cluster, leader: usize) -> Option<Repair<'static>> {
    let pid = cluster.master_number_pid(leader).expect("it runs");
    stop(pid);
    Some(Box::new(move || signal(pid, "CONT")))
}

fn cut_from_services(trial: &mut Trial, hosts: &Hosts, what: &str) {
    let services = [hosts.services()];
    let services_of = &services;
    trial.survives(what, |_, leader| {
        hosts.cut(leader, services_of);
        Some(Box::new(move || hosts.heal(leader, services_of)))
    });
}

fn options(hosts: &Hosts) -> ClusterOptions {
    let mut options = ClusterOptions::new(PROGRAM, AGENTS);
    options.masters = 3;
    options.master_hosts = hosts.all().to_vec();
    options.resources = "cpus:24;mem:20000;disk:10000".to_owned();
    options
}

#[test]
fn a_thousand_tasks_run_on_whatever_happens_to_masters_that_meet_in_zookeeper() {
    let Some(hosts) = Hosts::start(3) else { return };
    let Some(mut ensemble) = Ensemble::start_at(&hosts.services(), 3) else { return };
    let url = ensemble.url("", "mesos");
    let mut options = options(&hosts);
    options.master_flags = vec![
        format!("--zk={url}"),
        "--quorum=2".to_owned(),
        "--zk_session_timeout=2secs".to_owned(),
    ];
    options.master_name = Some(url.clone());
    let Some(mut trial) = Trial::start(options, Some(&url)) else { return };
    trial.survives("the leader is killed", kill);
    trial.survives("the leader is paused for longer than its session", pause);
    cut_from_services(&mut trial, &hosts, "the leader loses its way to ZooKeeper, not to agents");
    let leader = ensemble.leader().expect("a leader");
    let begun = Instant::now();
    ensemble.kill(leader);
    trial.is_whole_after("the leading ZooKeeper server is killed", begun);
}

#[test]
fn a_thousand_tasks_run_on_whatever_happens_to_masters_that_meet_in_etcd() {
    let Some(hosts) = Hosts::start(3) else { return };
    let Some(mut servers) = Servers::start_at(&hosts.services(), 3) else { return };
    let url = servers.url("", "mesos");
    let mut options = options(&hosts);
    options.master_flags =
        vec![format!("--coordination={url}"), "--zk_session_timeout=2secs".to_owned()];
    options.master_name = Some(url);
    let Some(mut trial) = Trial::start(options, None) else { return };
    trial.survives("the leader is killed", kill);
    trial.survives("the leader is paused for longer than its lease", pause);
    cut_from_services(&mut trial, &hosts, "the leader loses its way to etcd, not to agents");
    let leader = servers.leader().expect("a leader");
    let begun = Instant::now();
    servers.kill(leader);
    trial.is_whole_after("the leading etcd server is killed", begun);
}

/// A file system in memory that soon is full.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self(testkit::cluster::temporary_directory());
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "none"])
            .arg(&disk.0)
            .status();
        assert!(mounted.is_ok_and(|status| status.success()));
        disk
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).expect("a file");
        for size in [65_536, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_thousand_tasks_run_on_whatever_happens_to_masters_that_replicate_the_registry() {
    let Some(hosts) = Hosts::start(3) else { return };
    let disks: Vec<SmallDisk> = (0..3).map(|_| SmallDisk::mount()).collect();
    let mut options = options(&hosts);
    options.replicate(3);
    options.master_work_dirs = disks.iter().map(|disk| disk.0.clone()).collect();
    let Some(mut trial) = Trial::start(options, None) else { return };
    trial.survives("the leader is killed", kill);
    trial.survives("the leader is paused for longer than its lease", pause);
    let hosts_of = &hosts;
    trial.survives("the leader loses its way to its peers, not to agents", |_, leader| {
        hosts_of.cut(leader, &hosts_of.others(leader));
        Some(Box::new(move || hosts_of.heal(leader, &hosts_of.others(leader))))
    });
    let disks = &disks;
    trial.survives("the leader's disk is full", |cluster, leader| {
        disks[leader].fill();
        // Files have room for a little more.
        let address = cluster.master_number(leader);
        let write = |n: usize| {
            let role = |m: usize| format!("{n}-{m}-{}", "x".repeat(2000));
            let weights: Vec<Value> =
                (0..100).map(|m| json!({"role": role(m), "weight": 2.0})).collect();
            let mut connection = http::Connection::open(&address).ok()?;
            let body = serde_json::to_vec(&weights).expect("JSON");
            let answer = connection.request("PUT", "/weights", &[], &body).ok()?;
            (answer.status == 200).then_some(())
        };
        assert!((0..100).any(|n| write(n).is_none()), "there is no end of room");
        Some(Box::new(move || std::fs::remove_file(disks[leader].ballast()).expect("removed")))
    });
}
