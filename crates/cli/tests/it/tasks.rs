//! Tasks that tests of restarts and faults look at: whether they run, and how often they were started.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::framework::{amount, command_task};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

/// Time for anything that has to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Isolators of a node as it is meant to be run.
const LINUX: &[&str] = &[
    "--isolation=filesystem/linux,namespaces/pid,cgroups/cpu,cgroups/mem,cgroups/pids,disk/du",
    "--launcher=linux",
];

/// Whether this host lets us use [`LINUX`]; says so if not.
fn has_linux() -> bool {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let v1 = Path::new("/sys/fs/cgroup/memory/tasks").exists();
    let has = is_root && (v1 || v2.contains("memory"));
    if !has {
        eprintln!("skipped: cgroups need root, and the memory controller at /sys/fs/cgroup");
    }
    has
}

/// Flags of the nodes that tests of faults are run on: one that isolates nothing, and one as it is meant to be.
pub(crate) fn nodes() -> Vec<&'static [&'static str]> {
    const PLAIN: &[&str] = &["--isolation=posix/cpu,posix/mem,disk/du", "--launcher=posix"];
    let isolated = [LINUX].into_iter().filter(|_| has_linux());
    [PLAIN].into_iter().chain(isolated).collect()
}

/// A cluster of one agent with these flags.
pub(crate) fn cluster(flags: &[&str]) -> Cluster {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Cluster::start(options)
}

/// A framework whose tasks outlive their agent.
pub(crate) fn framework(cluster: &Cluster) -> Framework {
    let options =
        FrameworkOptions { checkpoint: true, failover_timeout: 600.0, ..Default::default() };
    Framework::subscribe(&cluster.master(), &options)
}

/// Launches a task on an offer that is valid; its first status. Offers of before a restart were kept, perhaps.
pub(crate) fn launch(framework: &mut Framework, task: impl Fn(&Value) -> Value) -> Value {
    loop {
        let offer = framework.offers().remove(0);
        // What another task had may come alone.
        if amount(&offer, "cpus") < 1.0 || amount(&offer, "mem") < 256.0 {
            framework.decline(&offer, 0.0);
            continue;
        }
        let task = task(&offer);
        framework.launch(&offer, std::slice::from_ref(&task));
        let (_, status) = framework.update(task["task_id"]["value"].as_str());
        if status["reason"] != "REASON_INVALID_OFFERS" {
            return status;
        }
    }
}

/// A task that runs until it is ended.
#[derive(Debug)]
pub(crate) struct Runner {
    /// The first process of its container, as the host numbers it.
    pid: String,
    /// A file with a line for each time that it was started.
    pub(crate) starts: PathBuf,
}

impl Runner {
    /// Starts it on the first agent that makes an offer.
    pub(crate) fn launch(cluster: &Cluster, framework: &mut Framework, name: &str) -> Self {
        let starts = cluster.directory().join(name);
        let command = format!("echo started >> {}; exec sleep 1000", starts.display());
        let first = launch(framework, |offer| command_task(offer, name, &command, 0.1, 32.0));
        assert_eq!(first["state"], "TASK_STARTING", "{first}");
        let status = framework.until_state(name, "TASK_RUNNING");
        let supervisor = &status["container_status"]["executor_pid"];
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let pid = children.split_whitespace().next().expect("a process").to_owned();
        wait::until("it runs", LIMIT, || starts.exists().then_some(()));
        Self { pid, starts }
    }

    pub(crate) fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(Path::new("/proc").join(&self.pid).join("stat"));
        stat.is_ok_and(|s| s.rsplit_once(')').is_some_and(|(_, rest)| !rest.contains(" Z ")))
    }

    /// Kills it from outside.
    pub(crate) fn end(&self) {
        let killed = std::process::Command::new("kill").args(["-9", &self.pid]).status();
        assert!(killed.expect("kill runs").success());
    }

    /// It runs, and was never started again.
    #[track_caller]
    pub(crate) fn runs_on(&self) {
        assert!(self.is_alive(), "{self:?}");
        let starts = std::fs::read_to_string(&self.starts).expect("its starts");
        assert_eq!(starts.lines().count(), 1, "{self:?}");
    }
}
