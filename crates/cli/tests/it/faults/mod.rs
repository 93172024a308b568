//! Tasks and executors that harm their node, by mistake or on purpose, and nodes whose disk fails: the other tasks run
//! on, the reason is told, and nothing of them is left. What there is before and after is counted.

mod disks;
mod executors;
mod images;
mod tasks;

use crate::tasks::{LIMIT, Runner, cluster, framework, launch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::framework::command_task;
use testkit::{Cluster, Framework, wait};

/// Time in which others are served whatever one does.
const SERVED: Duration = Duration::from_secs(5);

/// What belongs to the containers of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Census {
    /// Processes that have something to do with the node's directories or cgroups, and dead ones that its agent did not
    /// collect.
    processes: BTreeSet<String>,
    /// Lines of the table of mounts.
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    /// Names of network interfaces.
    interfaces: BTreeSet<String>,
    /// Runtime directories.
    containers: BTreeSet<String>,
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// All cgroups below one.
fn below(cgroup: &Path) -> Vec<PathBuf> {
    let children = std::fs::read_dir(cgroup).into_iter().flatten().flatten().map(|e| e.path());
    let children: Vec<PathBuf> = children.filter(|path| path.is_dir()).collect();
    children.iter().flat_map(|child| below(child)).chain(children.clone()).collect()
}

impl Census {
    fn of(cluster: &Cluster) -> Self {
        let directory = cluster.directory();
        let (mark, root) = (directory.display().to_string(), root(cluster));
        let agent = cluster.agent_pid(0).map(|pid| pid.to_string());
        let describe = |pid: &String| {
            let process = Path::new("/proc").join(pid);
            let links = ["cwd", "exe", "root"].map(|link| std::fs::read_link(process.join(link)));
            let is_below = links.into_iter().flatten().any(|link| link.starts_with(directory));
            let has = |file: &str, text: &str| {
                let content = std::fs::read(process.join(file)).unwrap_or_default();
                String::from_utf8_lossy(&content).contains(text)
            };
            let stat = std::fs::read_to_string(process.join("stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            let [state, parent, ..] = fields[..] else { return None };
            let is_zombie = state == "Z";
            let is_lost = is_zombie && agent.as_deref() == Some(parent);
            let is_member = is_below || has("environ", &mark) || has("cgroup", &root);
            // Told apart by their start: a name changes when a shell executes its last command.
            (is_member && !is_zombie || is_lost).then(|| format!("{pid} since {}", fields[19]))
        };
        let pids = names(Path::new("/proc")).into_iter().filter(|n| n.parse::<u32>().is_ok());
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
        let mounts = table.lines().filter(|line| line.contains(&mark));
        // The number of a mount may be given again.
        let mounts = mounts.filter_map(|line| line.splitn(3, ' ').nth(2));
        Self {
            processes: pids.filter_map(|pid| describe(&pid)).collect(),
            mounts: mounts.map(str::to_owned).collect(),
            cgroups: testkit::cgroups::roots(&root).iter().flat_map(|root| below(root)).collect(),
            interfaces: names(Path::new("/sys/class/net")),
            containers: names(&directory.join("agent0-run/containers")),
        }
    }
}

/// Name of the cgroup of all containers of a cluster.
fn root(cluster: &Cluster) -> String {
    cluster.directory().file_name().expect("a name").to_string_lossy().into_owned()
}

/// A node with a task that has nothing to do with the fault.
struct Node {
    cluster: Cluster,
    framework: Framework,
    neighbour: Runner,
    before: Census,
    served: u32,
}

impl Node {
    fn start(flags: &[&str], more: &[&str]) -> Self {
        Self::of(cluster(&[flags, more].concat()))
    }

    fn of(cluster: Cluster) -> Self {
        let mut framework = framework(&cluster);
        let neighbour = Runner::launch(&cluster, &mut framework, "neighbour");
        let before = Census::of(&cluster);
        Self { cluster, framework, neighbour, before, served: 0 }
    }

    /// Launches a task; its first status.
    #[track_caller]
    fn launch(&mut self, name: &str, command: &str, change: impl Fn(&mut Value)) -> Value {
        launch(&mut self.framework, |offer| {
            let mut task = command_task(offer, name, command, 0.1, 32.0);
            change(&mut task);
            task
        })
    }

    /// Launches a task and waits for its end.
    #[track_caller]
    fn run(&mut self, name: &str, command: &str, change: impl Fn(&mut Value)) -> Value {
        let first = self.launch(name, command, change);
        if testkit::framework::TERMINAL.iter().any(|state| first["state"] == **state) {
            return first;
        }
        self.framework.until_end(name).pop().expect("a status")
    }

    /// Others are served meanwhile.
    #[track_caller]
    fn serves(&mut self) {
        let begun = Instant::now();
        let name = format!("other{}", self.served);
        self.served += 1;
        let end = self.run(&name, "exit 0", |_| {});
        assert_eq!(end["state"], "TASK_FINISHED", "{end}");
        assert!(begun.elapsed() < SERVED, "it took {:?}", begun.elapsed());
        self.neighbour.runs_on();
    }

    /// Nothing is left of the fault, and the node does its work.
    #[track_caller]
    fn is_as_before(&mut self) {
        self.serves();
        let deadline = Instant::now() + LIMIT;
        loop {
            let now = Census::of(&self.cluster);
            if now == self.before {
                return;
            }
            if Instant::now() > deadline {
                assert_eq!(now, self.before);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The agent is killed and comes back.
    #[track_caller]
    fn restart_agent(&mut self) {
        self.cluster.kill_agent(0);
        self.cluster.start_agent(0);
        self.cluster.wait_for_agents(1);
    }

    /// A file of the cluster, to wait for or to be waited for by tasks.
    fn file(&self, name: &str) -> PathBuf {
        self.cluster.directory().join(name)
    }

    #[track_caller]
    fn wait_for_file(&self, name: &str) {
        let file = self.file(name);
        wait::until(name, LIMIT, || file.exists().then_some(()));
    }
}

/// Asserts parts of a status.
#[track_caller]
fn says(status: &Value, state: &str, reason: &str, message: &str) {
    assert_eq!(status["state"], state, "{status}");
    assert_eq!(status["reason"].as_str().unwrap_or_default(), reason, "{status}");
    assert!(status["message"].as_str().unwrap_or_default().contains(message), "{status}");
}
