//! A real cluster of etcd on loopback (Debian's package `etcd-server`).

use crate::cluster::{free_ports, temporary_directory};
use crate::http::{Answer, Connection};
use crate::wait;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Servers that are one cluster; they end and their files go when it is dropped. Leases last for at least a second.
#[derive(Debug)]
pub struct Servers {
    directory: PathBuf,
    ports: Vec<u16>,
    peers: Vec<u16>,
    servers: Vec<Option<Child>>,
}

impl Servers {
    /// Starts so many servers. None, and a line that says so, where the program is not installed.
    ///
    /// # Panics
    /// When they do not answer.
    #[must_use]
    pub fn start(servers: usize) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            eprintln!("skipped: there is no etcd (apt-get install etcd-server)");
            return None;
        }
        let all = free_ports(2 * servers);
        let (ports, peers) = all.split_at(servers);
        let mut cluster = Self {
            directory: temporary_directory(),
            ports: ports.to_vec(),
            peers: peers.to_vec(),
            servers: (0..servers).map(|_| None).collect(),
        };
        for n in 0..servers {
            cluster.run(n);
        }
        for n in 0..servers {
            cluster.wait(n);
        }
        Some(cluster)
    }

    /// Starts a server (again).
    ///
    /// # Panics
    /// When it can't be started.
    pub fn run(&mut self, server: usize) {
        let log = self.directory.join(format!("{server}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        let client = format!("http://127.0.0.1:{}", self.ports[server]);
        let peer = |n: usize| format!("http://127.0.0.1:{}", self.peers[n]);
        let members: Vec<String> =
            (0..self.peers.len()).map(|n| format!("m{n}={}", peer(n))).collect();
        let child = Command::new("etcd")
            .arg(format!("--name=m{server}"))
            .arg(format!("--data-dir={}", self.directory.join(server.to_string()).display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={}", peer(server)))
            .arg(format!("--initial-advertise-peer-urls={}", peer(server)))
            .arg(format!("--initial-cluster={}", members.join(",")))
            .args(["--heartbeat-interval=50", "--election-timeout=600"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        self.servers[server] = Some(child);
    }

    /// Waits until a server serves.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(&self, server: usize) {
        let what = format!("etcd serves: see {}", self.directory.display());
        wait::until(&what, Duration::from_secs(60), || {
            let mut connection = Connection::open(&self.address(server)).ok()?;
            let answer = connection.request("GET", "/health", &[], &[]).ok()?;
            answer.text().contains("true").then_some(())
        });
    }

    /// `host:port` of a server.
    #[must_use]
    pub fn address(&self, server: usize) -> String {
        format!("127.0.0.1:{}", self.ports[server])
    }

    /// Asks the first server: `name` is that of a call below `/v3/`.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn call(&self, name: &str, body: &str) -> Answer {
        crate::http::send(&self.address(0), "POST", &format!("/v3/{name}"), body)
    }

    /// Kills a server.
    pub fn kill(&mut self, server: usize) {
        if let Some(mut child) = self.servers[server].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Process id of a server that runs.
    #[must_use]
    pub fn pid(&self, server: usize) -> Option<u32> {
        self.servers[server].as_ref().map(Child::id)
    }

    /// `etcd://<servers>/<path>`; `credentials` is `user:password@` or empty.
    #[must_use]
    pub fn url(&self, credentials: &str, path: &str) -> String {
        let servers: Vec<String> = (0..self.ports.len()).map(|n| self.address(n)).collect();
        format!("etcd://{credentials}{}/{path}", servers.join(","))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in 0..self.servers.len() {
            self.kill(server);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
