//! The agent is killed again and again while tasks run and updates flow: what its framework sees must be the truth.
//!
//! Long tasks (command tasks, pods, tasks of a framework's own executor) wait at a gate through all kills; short ones are
//! launched, run and end meanwhile. Each writes down that it was started, so that a second start is seen.

mod executor;
mod operations;
mod scheduler;

use scheduler::{Plan, Scheduler};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use testkit::{Cluster, ClusterOptions};

/// Random numbers that a seed repeats (xorshift).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// From the variable `PROFFER_TORTURE_SEED`, or from the clock; printed.
    fn cast() -> Self {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let given = std::env::var("PROFFER_TORTURE_SEED").ok().and_then(|s| s.parse().ok());
        let seed = given.unwrap_or(u64::from(clock.subsec_nanos()) | 1);
        println!("PROFFER_TORTURE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// From right after the start of the process to well after its recovery.
    fn life(&mut self) -> Duration {
        let micros = match self.below(10) {
            0..=3 => self.below(30_000),
            4..=8 => self.below(250_000),
            _ => self.below(700_000),
        };
        Duration::from_micros(micros)
    }
}

fn cluster() -> Cluster {
    cluster_with(&[])
}

fn cluster_with(flags: &[&str]) -> Cluster {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.resources = "cpus:32;mem:65536;disk:10000".to_owned();
    options.agent_flags = vec!["--executor_reregistration_timeout=15secs".to_owned()];
    options.agent_flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
    // Nobody knows of agents that failed pings while they were being killed.
    options.master_flags = vec!["--max_agent_ping_timeouts=20".to_owned()];
    Cluster::start(options)
}

/// How often to kill: so often, unless the variable `PROFFER_TORTURE_KILLS` says otherwise.
fn count(usual: usize) -> usize {
    std::env::var("PROFFER_TORTURE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Whom to kill.
struct Kills {
    count: usize,
    /// Every so often the master is killed as well.
    master_every: Option<u64>,
}

fn torture(kills: &Kills, plan: Plan) {
    torture_with(&[], kills, plan);
}

fn torture_with(flags: &[&str], kills: &Kills, plan: Plan) {
    let mut dice = Dice::cast();
    let mut cluster = cluster_with(flags);
    let directory = cluster.directory().join("tasks");
    std::fs::create_dir(&directory).expect("a directory");
    let stop = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicBool::new(false));
    let mut scheduler = Scheduler::new(&cluster.master(), &directory, plan, dice.clone());
    let framework = std::thread::spawn({
        let (stop, running) = (stop.clone(), running.clone());
        move || {
            scheduler.run(&stop, &running);
            scheduler.book
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while !running.load(Ordering::Relaxed) {
        assert!(!framework.is_finished() && Instant::now() < deadline, "the long tasks do not run");
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    for _ in 0..kills.count {
        std::thread::sleep(dice.life());
        assert!(!framework.is_finished(), "the framework gave up");
        if kills.master_every.is_some_and(|every| dice.below(every) == 0) {
            cluster.kill_master();
            cluster.kill_agent(0);
            cluster.start_master();
        } else {
            cluster.kill_agent(0);
        }
        cluster.start_agent(0);
    }
    println!("{} kills in {:?}", kills.count, begun.elapsed());
    cluster.wait_for_agents(1);
    stop.store(true, Ordering::Relaxed);
    framework.join().expect("the framework's thread").check();
}

/// How often a task was started.
fn starts(directory: &Path, task: &str) -> usize {
    std::fs::read_to_string(directory.join(task)).map_or(0, |text| text.lines().count())
}

#[test]
fn two_hundred_kills_lose_no_task_and_double_nothing() {
    let plan = Plan { commands: 30, pods: 2, executors: 2, is_master_killed: false };
    torture(&Kills { count: count(200), master_every: None }, plan);
}

/// Pods with cgroups and namespaces, which what stands for a pod holds.
#[test]
fn pods_that_are_isolated_lose_nothing() {
    let Some(flags) = crate::tasks::nodes().into_iter().nth(1) else { return };
    let plan = Plan { commands: 5, pods: 5, executors: 1, is_master_killed: false };
    torture_with(flags, &Kills { count: count(40), master_every: None }, plan);
}

#[test]
fn nothing_is_lost_when_the_master_is_killed_with_the_agent() {
    let plan = Plan { commands: 10, pods: 1, executors: 1, is_master_killed: true };
    torture(&Kills { count: count(30), master_every: Some(3) }, plan);
}

/// Not a test: the executor of the tests above, in a process of its own.
#[test]
fn executor_process() {
    if std::env::var_os("TORTURE_EXECUTOR").is_some() {
        executor::run();
    }
}
