//! A real ensemble of ZooKeeper on loopback (Debian's package `zookeeper`).

use crate::cluster::free_ports;
use crate::{process, wait};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where Debian has the program's archives.
const ARCHIVES: &str = "/usr/share/java";

/// Servers that are one ensemble; they end and their files go when it is dropped. Sessions last 1 to 10 seconds.
#[derive(Debug)]
pub struct Ensemble {
    address: String,
    ports: Vec<u16>,
    servers: process::Servers,
}

impl Ensemble {
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
        let has_java = Command::new("java").arg("-version").output().is_ok();
        if !has_java || !Path::new(ARCHIVES).join("zookeeper.jar").exists() {
            eprintln!("skipped: there is no ZooKeeper (apt-get install zookeeper)");
            return None;
        }
        let processes = process::Servers::new(servers);
        let all = free_ports(3 * servers);
        let (ports, peers) = all.split_at(servers);
        let members: String = (0..servers)
            .map(|n| {
                format!(
                    "server.{n}={address}:{}:{};{address}:{}\n",
                    peers[2 * n],
                    peers[2 * n + 1],
                    ports[n]
                )
            })
            .collect();
        for (n, port) in ports.iter().enumerate() {
            let data = processes.data(n);
            std::fs::create_dir_all(&data).expect("a directory");
            std::fs::write(data.join("myid"), n.to_string()).expect("an id");
            let members = if servers > 1 {
                members.clone()
            } else {
                format!("clientPort={port}\nclientPortAddress={address}\n")
            };
            let config = format!(
                "tickTime=500\ninitLimit=20\nsyncLimit=6\ndataDir={}\nadmin.enableServer=false\n\
                 maxClientCnxns=0\n4lw.commands.whitelist=srvr\n{members}",
                data.display()
            );
            std::fs::write(data.join("zoo.cfg"), config).expect("a configuration");
        }
        let mut ensemble =
            Self { address: address.to_owned(), ports: ports.to_vec(), servers: processes };
        for n in 0..servers {
            ensemble.run(n);
        }
        for n in 0..servers {
            ensemble.wait(n);
        }
        Some(ensemble)
    }

    /// Starts a server (again).
    ///
    /// # Panics
    /// When it can't be started.
    pub fn run(&mut self, server: usize) {
        let mut command = Command::new("java");
        command
            .args(["-Xmx96m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
            .arg(format!("{ARCHIVES}/zookeeper.jar:{ARCHIVES}/*"))
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.servers.data(server).join("zoo.cfg"));
        self.servers.spawn(server, &mut command);
    }

    /// What a server says of itself; empty while it does not serve.
    #[must_use]
    pub fn status(&self, server: usize) -> String {
        let mut text = String::new();
        let asked = TcpStream::connect((self.address.as_str(), self.ports[server])).and_then(
            |mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                stream.write_all(b"srvr")?;
                stream.read_to_string(&mut text)
            },
        );
        if asked.is_ok() { text } else { String::new() }
    }

    /// Waits until a server serves.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(&self, server: usize) {
        let what = format!("ZooKeeper serves: see {}", self.servers.directory().display());
        wait::until(&what, Duration::from_secs(60), || {
            self.status(server).contains("Mode:").then_some(())
        });
    }

    /// The server that leads the ensemble.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        (0..self.ports.len()).find(|n| {
            let status = self.status(*n);
            status.contains("Mode: leader") || status.contains("Mode: standalone")
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

    /// `zk://<servers>/<path>`; `credentials` is `user:password@` or empty.
    #[must_use]
    pub fn url(&self, credentials: &str, path: &str) -> String {
        let server = |port: &u16| format!("{}:{port}", self.address);
        let servers: Vec<String> = self.ports.iter().map(server).collect();
        format!("zk://{credentials}{}/{path}", servers.join(","))
    }
}
