//! What becomes of tasks whose supervisor or agent is gone, seen by their framework and on the host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

/// A task that writes the ids of its processes: its own, and one in a session of its own.
struct Family {
    supervisor: String,
    pids: PathBuf,
}

impl Family {
    fn launch(cluster: &Cluster, framework: &mut Framework, name: &str) -> Self {
        let pids = cluster.directory().join(name);
        let offer = framework.offers().remove(0);
        let to = pids.display();
        let command = format!(
            "setsid sh -c 'echo $$ >> {to}; exec sleep 1000' & echo $$ >> {to}; exec sleep 1000"
        );
        framework.launch(&offer, &[command_task(&offer, name, &command, 0.1, 32.0)]);
        let status = framework.until_state(name, "TASK_RUNNING");
        let supervisor = status["container_status"]["executor_pid"].to_string();
        let family = Self { supervisor, pids };
        wait::until("both processes run", Duration::from_secs(10), || {
            (family.pids().len() == 2).then_some(())
        });
        family
    }

    fn pids(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.pids).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn alive(&self) -> usize {
        let is_alive = |pid: &String| {
            let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
            stat.is_ok_and(|s| {
                s.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
            })
        };
        self.pids().iter().filter(|pid| is_alive(pid)).count()
    }

    fn kill_supervisor(&self) {
        let killed = Command::new("kill").args(["-9", &self.supervisor]).status();
        assert!(killed.expect("kill runs").success());
    }
}

fn cluster(agent_flags: &[&str]) -> Cluster {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = agent_flags.iter().map(|flag| (*flag).to_owned()).collect();
    Cluster::start(options)
}

fn framework(cluster: &Cluster, checkpoint: bool) -> Framework {
    let options = FrameworkOptions { checkpoint, ..FrameworkOptions::default() };
    Framework::subscribe(&cluster.master(), &options)
}

#[test]
fn a_task_whose_supervisor_is_killed_has_failed_and_nothing_of_it_runs_on() {
    let mut cluster = cluster(&[]);
    let mut framework = framework(&cluster, true);
    let now = Family::launch(&cluster, &mut framework, "now");
    now.kill_supervisor();
    let status = framework.until_end("now").pop().expect("a status");
    assert_eq!(now.alive(), 0, "nothing is left when the end is told");
    assert_eq!(status["state"], "TASK_FAILED");
    assert_eq!(status["reason"], "REASON_EXECUTOR_TERMINATED");
    assert_eq!(status["source"], "SOURCE_AGENT");

    // The same while the agent is down; of another task the files of its supervisor are removed.
    let away = Family::launch(&cluster, &mut framework, "away");
    let wiped = Family::launch(&cluster, &mut framework, "wiped");
    cluster.kill_agent(0);
    away.kill_supervisor();
    std::fs::remove_dir_all(cluster.directory().join("agent0-run")).expect("removed");
    cluster.start_agent(0);
    for (name, family) in [("away", away), ("wiped", wiped)] {
        let status = framework.until_end(name).pop().expect("a status");
        assert_eq!(family.alive(), 0, "nothing is left when the end is told");
        assert_eq!(status["state"], "TASK_FAILED", "{status}");
        assert_eq!(status["reason"], "REASON_EXECUTOR_TERMINATED");
        assert_eq!(status["source"], "SOURCE_AGENT");
    }
}

#[test]
fn tasks_outlive_their_agent_for_as_long_as_their_framework_wants() {
    let mut cluster = cluster(&["--recovery_timeout=5secs"]);
    let mut keeping = framework(&cluster, true);
    let kept = Family::launch(&cluster, &mut keeping, "kept");
    keeping.call(&serde_json::json!({"type": "SUPPRESS"}));
    let mut other = framework(&cluster, false);
    let unkept = Family::launch(&cluster, &mut other, "unkept");
    cluster.kill_agent(0);
    let ended = |family: &Family| {
        wait::until("nothing of it runs", Duration::from_secs(10), || {
            (family.alive() == 0).then_some(())
        });
    };
    ended(&unkept);
    assert_eq!(kept.alive(), 2, "its framework checkpoints");
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(kept.alive(), 2, "its agent is back");

    cluster.kill_agent(0);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(kept.alive(), 2, "the time is not over");
    ended(&kept);
    cluster.start_agent(0);
    let status = keeping.until_end("kept").pop().expect("a status");
    assert_eq!(status["state"], "TASK_FAILED");
    assert_eq!(status["message"], "Command terminated with signal Terminated");
}
