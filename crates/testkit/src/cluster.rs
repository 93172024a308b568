//! Clusters of real processes on loopback.

use crate::hosts::Host;
use crate::{http, wait};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Lines of each log that are printed when a test fails.
const LOG_LINES: usize = 20;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The `proffer` program.
    pub program: PathBuf,
    /// Number of masters. Several of them need flags that say where they meet.
    pub masters: usize,
    /// Their ports; empty: any that are free.
    pub master_ports: Vec<u16>,
    /// Where they run; empty: on loopback.
    pub master_hosts: Vec<Host>,
    /// Their work directories; empty: below the cluster's.
    pub master_work_dirs: Vec<PathBuf>,
    /// Number of agents.
    pub agents: usize,
    /// `--master` of agents; None: the addresses of all masters.
    pub master_name: Option<String>,
    /// `--resources` of each agent.
    pub resources: String,
    /// More flags for each agent.
    pub agent_flags: Vec<String>,
    /// More flags for the master.
    pub master_flags: Vec<String>,
    /// Variables of all processes.
    pub environment: Vec<(String, String)>,
}

impl ClusterOptions {
    /// One master and `agents` agents of the given program.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, agents: usize) -> Self {
        Self {
            program: program.into(),
            masters: 1,
            master_ports: Vec::new(),
            master_hosts: Vec::new(),
            master_work_dirs: Vec::new(),
            agents,
            master_name: None,
            resources: "cpus:4;mem:4096;disk:10000;ports:[31000-32000]".to_owned(),
            agent_flags: Vec::new(),
            master_flags: Vec::new(),
            environment: Vec::new(),
        }
    }
}

impl ClusterOptions {
    /// Has several masters that replicate the registry among themselves: their addresses.
    pub fn replicate(&mut self, masters: usize) -> Vec<String> {
        self.masters = masters;
        self.master_ports = free_ports(masters);
        let addresses: Vec<String> = (0..masters).map(|master| self.master(master)).collect();
        let peers = format!("--peers={}", addresses.join(","));
        self.master_flags.extend(["--coordination=raft".to_owned(), peers]);
        addresses
    }

    /// `host:port` of one of several masters.
    fn master(&self, master: usize) -> String {
        let host = self.master_hosts.get(master);
        let address = host.map_or("127.0.0.1", |host| &host.address);
        format!("{address}:{}", self.master_ports[master])
    }
}

/// Masters and agents as processes of their own, killed when dropped.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    directory: PathBuf,
    agent_ports: Vec<u16>,
    masters: Vec<Option<Child>>,
    agents: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts everything and waits until all agents are registered.
    ///
    /// # Panics
    /// When a process can't be started or the agents do not register within 30 seconds.
    #[must_use]
    #[track_caller]
    pub fn start(mut options: ClusterOptions) -> Self {
        let directory = temporary_directory();
        let mut ports = std::mem::take(&mut options.master_ports);
        ports.extend(free_ports(options.masters + options.agents - ports.len()));
        let agent_ports = ports.split_off(options.masters);
        options.master_ports = ports;
        let mut cluster = Self {
            agent_ports,
            agents: (0..options.agents).map(|_| None).collect(),
            masters: (0..options.masters).map(|_| None).collect(),
            directory,
            options,
        };
        for master in 0..cluster.options.masters {
            cluster.start_master_number(master);
        }
        for agent in 0..cluster.options.agents {
            cluster.start_agent(agent);
        }
        cluster.wait_for_agents(cluster.options.agents);
        cluster
    }

    /// `host:port` of the master, of several the one that leads.
    ///
    /// # Panics
    /// When none of several leads within 30 seconds.
    #[must_use]
    #[track_caller]
    pub fn master(&self) -> String {
        if self.masters.len() == 1 {
            return self.master_number(0);
        }
        self.master_number(self.leader())
    }

    /// `host:port` of one of several masters.
    #[must_use]
    pub fn master_number(&self, master: usize) -> String {
        self.options.master(master)
    }

    /// Number of the master that leads.
    ///
    /// # Panics
    /// When none leads within 30 seconds.
    #[must_use]
    #[track_caller]
    pub fn leader(&self) -> usize {
        self.leader_besides(None)
    }

    /// Number of the master that leads, other than one that may still think that it does.
    ///
    /// # Panics
    /// When none leads within 30 seconds.
    #[must_use]
    #[track_caller]
    pub fn leader_besides(&self, former: Option<usize>) -> usize {
        wait::until("a master that leads", Duration::from_secs(30), || {
            let runs = |n: &usize| self.masters[*n].is_some() && Some(*n) != former;
            (0..self.masters.len()).filter(runs).find(|n| {
                http::Connection::open(&self.master_number(*n))
                    .and_then(|mut c| c.request("GET", "/weights", &[("Connection", "close")], &[]))
                    .is_ok_and(|answer| answer.status == 200)
            })
        })
    }

    /// A metric of one of several masters, if it answers.
    #[must_use]
    pub fn metric(&self, master: usize, name: &str) -> Option<f64> {
        let mut connection = http::Connection::open(&self.master_number(master)).ok()?;
        let close = [("Connection", "close")];
        connection.request("GET", "/metrics/snapshot", &close, &[]).ok()?.json()[name].as_f64()
    }

    /// `host:port` of an agent.
    #[must_use]
    pub fn agent(&self, agent: usize) -> String {
        format!("127.0.0.1:{}", self.agent_ports[agent])
    }

    /// Directory that holds work directories and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts the master (again).
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start_master(&mut self) {
        self.start_master_number(0);
    }

    /// Starts one of several masters (again).
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start_master_number(&mut self, master: usize) {
        let name = match master {
            0 => "master".to_owned(),
            _ => format!("master{master}"),
        };
        let mut flags = vec![
            format!("--port={}", self.options.master_ports[master]),
            format!("--work_dir={}", self.master_work_dir(master, &name).display()),
        ];
        flags.extend(self.options.master_flags.clone());
        let host = self.options.master_hosts.get(master);
        self.masters[master] = Some(self.spawn("master", &name, &flags, host));
    }

    fn master_work_dir(&self, master: usize, name: &str) -> PathBuf {
        let given = self.options.master_work_dirs.get(master);
        given.map_or_else(|| self.directory.join(name), Clone::clone)
    }

    /// Starts an agent (again), with the work directory it had.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start_agent(&mut self, agent: usize) {
        let name = format!("agent{agent}");
        let mut flags = vec![
            format!("--port={}", self.agent_ports[agent]),
            format!("--master={}", self.master_name()),
            format!("--work_dir={}", self.directory.join(&name).display()),
            format!("--runtime_dir={}", self.directory.join(format!("{name}-run")).display()),
            format!(
                "--fetcher_cache_dir={}",
                self.directory.join(format!("{name}-fetch")).display()
            ),
            format!("--resources={}", self.options.resources),
            format!("--attributes=number:{agent}"),
            format!("--cgroups_root={}", self.cgroups()),
        ];
        flags.extend(self.options.agent_flags.clone());
        self.agents[agent] = Some(self.spawn("agent", &name, &flags, None));
    }

    /// From now on what is started is this program.
    pub fn set_program(&mut self, program: impl Into<PathBuf>) {
        self.options.program = program.into();
    }

    /// Masters that are started from now on have these flags besides those of any master.
    pub fn set_master_flags(&mut self, flags: Vec<String>) {
        self.options.master_flags = flags;
    }

    /// From its next start on an agent has other resources.
    pub fn set_agent_resources(&mut self, resources: &str) {
        resources.clone_into(&mut self.options.resources);
    }

    /// How agents find the master.
    fn master_name(&self) -> String {
        let addresses = || -> Vec<String> {
            (0..self.options.master_ports.len()).map(|n| self.master_number(n)).collect()
        };
        self.options.master_name.clone().unwrap_or_else(|| addresses().join(","))
    }

    /// Kills an agent with SIGKILL.
    pub fn kill_agent(&mut self, agent: usize) {
        end(self.agents[agent].take());
    }

    /// Kills the master with SIGKILL.
    pub fn kill_master(&mut self) {
        self.kill_master_number(0);
    }

    /// Kills one of several masters with SIGKILL.
    pub fn kill_master_number(&mut self, master: usize) {
        end(self.masters[master].take());
    }

    /// How one of several masters ended; None: it runs, or was killed here.
    pub fn ended_master_number(&mut self, master: usize) -> Option<std::process::ExitStatus> {
        self.masters[master].as_mut()?.try_wait().ok().flatten()
    }

    /// How an agent ended; None: it runs, or was killed here.
    pub fn ended_agent(&mut self, agent: usize) -> Option<std::process::ExitStatus> {
        self.agents[agent].as_mut()?.try_wait().ok().flatten()
    }

    /// Waits until the master counts `count` active agents.
    ///
    /// # Panics
    /// When that does not come true within 30 seconds.
    #[track_caller]
    pub fn wait_for_agents(&self, count: usize) {
        let master = if self.masters.len() == 1 { 0 } else { self.leader() };
        self.wait_for_agents_of(master, count);
    }

    /// Waits until one of several masters counts `count` active agents.
    ///
    /// # Panics
    /// When that does not come true within 30 seconds.
    #[track_caller]
    pub fn wait_for_agents_of(&self, master: usize, count: usize) {
        let what = format!("{count} active agents at {}", self.master_number(master));
        wait::until(&what, Duration::from_secs(30), || {
            let active = self.metric(master, "master/slaves_active")?;
            #[expect(clippy::cast_precision_loss, reason = "a handful of agents")]
            (active >= count as f64).then_some(())
        });
    }

    /// Process id of the master.
    #[must_use]
    pub fn master_pid(&self) -> Option<u32> {
        self.master_number_pid(0)
    }

    /// Process id of one of several masters.
    #[must_use]
    pub fn master_number_pid(&self, master: usize) -> Option<u32> {
        self.masters[master].as_ref().map(Child::id)
    }

    /// Process id of an agent.
    #[must_use]
    pub fn agent_pid(&self, agent: usize) -> Option<u32> {
        self.agents[agent].as_ref().map(Child::id)
    }

    /// Name of the cgroup of all containers.
    fn cgroups(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn spawn(&self, subcommand: &str, name: &str, flags: &[String], host: Option<&Host>) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join(format!("{name}.log")))
            .expect("a log file");
        let (ip, hostname) = host.map_or(("127.0.0.1", "localhost"), |h| (&h.address, &h.address));
        let mut command = match host {
            None => Command::new(&self.options.program),
            Some(host) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &host.namespace]).arg(&self.options.program);
                command
            }
        };
        command
            .arg(subcommand)
            .args([format!("--ip={ip}"), format!("--hostname={hostname}")])
            .args(flags)
            .envs(self.options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.options.program.display()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            end(agent.take());
        }
        for master in &mut self.masters {
            end(master.take());
        }
        kill_supervisors(&self.directory);
        unmount_below(&self.directory);
        crate::cgroups::remove(&self.cgroups());
        if std::thread::panicking() {
            print_ends_of_logs(&self.directory);
            eprintln!("logs and work directories of the cluster: {}", self.directory.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Where a test ran may be gone when somebody reads what it printed.
fn print_ends_of_logs(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("the end of {}:", entry.file_name().to_string_lossy());
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            eprintln!("  {line}");
        }
    }
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// So do their root file systems and networks.
fn unmount_below(directory: &Path) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let targets = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
    let below: Vec<&str> = targets.filter(|t| Path::new(t).starts_with(directory)).collect();
    if !below.is_empty() {
        let _ = Command::new("umount").arg("-l").args(below).stderr(Stdio::null()).status();
    }
}

/// Containers outlive their agent: end those whose files lie below `directory`.
fn kill_supervisors(directory: &Path) {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let below = |link: &str| {
            std::fs::read_link(entry.path().join(link)).is_ok_and(|p| p.starts_with(directory))
        };
        if below("cwd") || below("exe") {
            let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
        }
    }
}

/// Ports that nobody listens on, each given once. They lie below those that the system gives to clients, so that a
/// client's connection can't take one before it is used.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time start at different places.
    let place = std::process::id().wrapping_mul(977);
    let next = || FIRST + place.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let candidates = (0..COUNT).filter_map(|_| u16::try_from(next()).ok());
    let free: Vec<u16> = candidates
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(count)
        .collect();
    assert_eq!(free.len(), count, "there are no free ports");
    free
}

/// A new empty directory of its own below the system's directory for temporary files.
///
/// # Panics
/// When it can't be made.
#[must_use]
pub fn temporary_directory() -> PathBuf {
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    let path =
        std::env::temp_dir().join(format!("proffer-test-{}-{number}-{nanos}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a temporary directory");
    path
}
