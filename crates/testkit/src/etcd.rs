//! A real cluster of etcd on loopback (Debian's package `etcd-server`).

use crate::cluster::free_ports;
use crate::http::{Answer, Connection};
use crate::{process, wait};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Servers that are one cluster; they end and their files go when it is dropped. Leases last for at least a second.
#[derive(Debug)]
pub struct Servers {
    address: String,
    ports: Vec<u16>,
    peers: Vec<u16>,
    /// Where they say how they are, without TLS.
    health: Vec<u16>,
    /// Files of who speaks TLS.
    files: Option<PathBuf>,
    servers: process::Servers,
}

impl Servers {
    /// Starts so many servers. None, and a line that says so, where the program is not installed.
    ///
    /// # Panics
    /// When they do not answer.
    #[must_use]
    pub fn start(servers: usize) -> Option<Self> {
        Self::start_at("127.0.0.1", servers)
    }

    /// The same, at an address of this machine.
    ///
    /// # Panics
    /// When they do not answer.
    #[must_use]
    pub fn start_at(address: &str, servers: usize) -> Option<Self> {
        Self::start_with(address, servers, None)
    }

    /// One server that lets clients in by their certificates: the directory has `ca.pem`, `server.pem` and `server.key`.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start_secured(files: &Path) -> Option<Self> {
        Self::start_with("127.0.0.1", 1, Some(files.to_owned()))
    }

    fn start_with(address: &str, servers: usize, files: Option<PathBuf>) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            eprintln!("skipped: there is no etcd (apt-get install etcd-server)");
            return None;
        }
        let all = free_ports(3 * servers);
        let [ports, peers, health] = [0, 1, 2].map(|n| all[n * servers..][..servers].to_vec());
        let mut cluster = Self {
            address: address.to_owned(),
            ports,
            peers,
            health,
            files,
            servers: process::Servers::new(servers),
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
        let scheme = if self.files.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://{}", self.address(server));
        let peer = |n: usize| format!("http://127.0.0.1:{}", self.peers[n]);
        let members: Vec<String> =
            (0..self.peers.len()).map(|n| format!("m{n}={}", peer(n))).collect();
        let data = self.servers.data(server);
        let mut command = Command::new("etcd");
        command
            .arg(format!("--name=m{server}"))
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-metrics-urls=http://127.0.0.1:{}", self.health[server]))
            .arg(format!("--listen-peer-urls={}", peer(server)))
            .arg(format!("--initial-advertise-peer-urls={}", peer(server)))
            .arg(format!("--initial-cluster={}", members.join(",")))
            .args(["--heartbeat-interval=50", "--election-timeout=600"]);
        if let Some(files) = &self.files {
            let file = |name: &str| files.join(name).display().to_string();
            command
                .arg(format!("--cert-file={}", file("server.pem")))
                .arg(format!("--key-file={}", file("server.key")))
                .arg(format!("--trusted-ca-file={}", file("ca.pem")))
                .arg("--client-cert-auth");
        }
        self.servers.spawn(server, &mut command);
    }

    /// Waits until a server serves.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(&self, server: usize) {
        let what = format!("etcd serves: see {}", self.servers.directory().display());
        wait::until(&what, Duration::from_secs(60), || {
            let address = format!("127.0.0.1:{}", self.health[server]);
            let mut connection = Connection::open(&address).ok()?;
            let answer = connection.request("GET", "/health", &[], &[]).ok()?;
            answer.text().contains("true").then_some(())
        });
    }

    /// `host:port` of a server.
    #[must_use]
    pub fn address(&self, server: usize) -> String {
        format!("{}:{}", self.address, self.ports[server])
    }

    /// Asks the first server: `name` is that of a call below `/v3/`.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn call(&self, name: &str, body: &str) -> Answer {
        crate::http::send(&self.address(0), "POST", &format!("/v3/{name}"), body)
    }

    /// The server that leads the others.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        (0..self.ports.len()).find(|server| {
            let asked = Connection::open(&self.address(*server))
                .and_then(|mut c| c.request("POST", "/v3/maintenance/status", &[], b"{}"));
            asked.is_ok_and(|answer| {
                let status = answer.json();
                status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
            })
        })
    }

    /// Kills a server.
    pub fn kill(&mut self, server: usize) {
        self.servers.kill(server);
    }

    /// Process id of a server that runs.
    #[must_use]
    pub fn pid(&self, server: usize) -> Option<u32> {
        self.servers.pid(server)
    }

    /// `etcd://<servers>/<path>`; `credentials` is `user:password@` or empty.
    #[must_use]
    pub fn url(&self, credentials: &str, path: &str) -> String {
        let servers: Vec<String> = (0..self.ports.len()).map(|n| self.address(n)).collect();
        format!("etcd://{credentials}{}/{path}", servers.join(","))
    }
}
