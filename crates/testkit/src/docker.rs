//! A Docker Engine of a test's own, with an image that needs no registry.

use crate::wait;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The image that the engine has: a static busybox.
pub const IMAGE: &str = "proffer-test";
/// Programs of the image.
const APPLETS: &[&str] = &[
    "cat", "echo", "env", "false", "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ls",
    "nproc", "nslookup", "ps", "pwd", "seq", "sh", "sleep", "stat", "stty", "tail", "test",
    "touch", "trap", "true", "wget", "yes",
];

/// An engine that is ended, with everything that it made, when dropped.
#[derive(Debug)]
pub struct DockerEngine {
    directory: PathBuf,
    daemon: Option<Child>,
    /// It has networks besides the host's: it then runs in a network namespace of its own.
    has_networks: bool,
}

impl DockerEngine {
    /// Starts an engine and makes [`IMAGE`]. None where that can't be had: says why on standard error.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::with(false)
    }

    /// The same with bridges and published ports, in a network that ends with the engine and changes nothing of the
    /// host's: what is the host's network for containers is that one.
    #[must_use]
    pub fn start_with_networks() -> Option<Self> {
        let tool = |name: &str| Command::new(name).arg("--version").output().is_ok();
        if let Some(missing) = ["iptables", "unshare", "nsenter"].iter().find(|name| !tool(name)) {
            eprintln!("skipped: there is no '{missing}'");
            return None;
        }
        Self::with(true)
    }

    fn with(has_networks: bool) -> Option<Self> {
        let skip = |why: &str| {
            eprintln!("skipped: no Docker Engine can be started here: {why}");
            None
        };
        let root = std::fs::metadata("/proc/self")
            .is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
        if !root {
            return skip("that takes root");
        }
        if Command::new("dockerd").arg("--version").output().is_err() {
            return skip("there is no 'dockerd' (Debian package docker.io)");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| is_static(p));
        let Some(busybox) = busybox else {
            return skip("there is no static 'busybox' (Debian package busybox-static)");
        };
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        // Not where temporary files are: overlays need a file system that can carry them.
        let directory =
            PathBuf::from(format!("/var/tmp/proffer-docker-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).ok()?;
        let mut engine = Self { directory, daemon: None, has_networks };
        if !engine.run_daemon() {
            let log = std::fs::read_to_string(engine.directory.join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            return skip(&format!("it does not come up: {last:?}"));
        }
        engine.make_image(Path::new(busybox));
        Some(engine)
    }

    /// Starts the daemon (again), and waits until it answers.
    pub fn run_daemon(&mut self) -> bool {
        let path = |name: &str| self.directory.join(name).display().to_string();
        // Those of a daemon that was killed: it would wait for what has their numbers now.
        for stale in ["pid", "exec/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(path(stale));
        }
        let Ok(log) = std::fs::File::options().create(true).append(true).open(path("log")) else {
            return false;
        };
        let Ok(errors) = log.try_clone() else { return false };
        let mut command = if self.has_networks {
            let mut command = Command::new("unshare");
            command.args([
                "--net",
                "sh",
                "-c",
                "busybox ip link set lo up; exec dockerd \"$@\"",
                "sh",
            ]);
            command
        } else {
            let mut command = Command::new("dockerd");
            command.args(["--bridge=none", "--iptables=false"]);
            command.args(["--ip-forward=false", "--ip-masq=false"]);
            command
        };
        let daemon = command
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "-p", &path("pid")])
            .args(["-H", &format!("unix://{}", path("d.sock")), "--live-restore"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        let Ok(daemon) = daemon else { return false };
        self.daemon = Some(daemon);
        (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            let ended = self.daemon.as_mut().is_none_or(|d| !matches!(d.try_wait(), Ok(None)));
            !ended && self.ask("GET", "/_ping", &[]).is_some_and(|answer| answer.contains(" 200 "))
        })
    }

    /// Kills the daemon; its containers run on.
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Process id of the daemon.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("d.sock")
    }

    /// Its directory; a test may put files there that containers shall see.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a request without or with a body; the whole answer with its head.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/{}\r\nContent-Length: {}\r\n\r\n",
            if body.starts_with(b"{") { "json" } else { "x-tar" },
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Runs a program in the engine's network: what it writes, or None if it fails.
    #[must_use]
    pub fn in_its_network(&self, words: &[&str]) -> Option<String> {
        let pid = self.pid()?.to_string();
        let output = Command::new("nsenter").args(["-t", &pid, "-n"]).args(words).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn make_image(&self, busybox: &Path) {
        let root = self.directory.join("image");
        for name in ["bin", "tmp", "etc", "proc", "sys", "dev"] {
            std::fs::create_dir_all(root.join(name)).expect("a directory");
        }
        std::fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
        for applet in APPLETS {
            let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(applet));
        }
        let users = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
        std::fs::write(root.join("etc/passwd"), users).expect("a file");
        let tar =
            Command::new("tar").args(["-C", root.to_str().expect("text"), "-c", "."]).output();
        let tar = tar.expect("tar runs").stdout;
        // Spaces are %20: `docker import --change`.
        let changes =
            ["ENV%20FROM_IMAGE=yes", "WORKDIR%20/tmp", "CMD%20[\"echo\",\"of%20the%20image\"]"];
        let changes: String = changes.iter().map(|c| format!("&changes={c}")).collect();
        let path = format!("/images/create?fromSrc=-&repo={IMAGE}&tag=latest{changes}");
        let answer = self.ask("POST", &path, &tar).unwrap_or_default();
        assert!(answer.contains("sha256:"), "the image is not imported: {answer}");
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        let all = self.ask("GET", "/containers/json?all=true", &[]).unwrap_or_default();
        for id in all.split("\"Id\":\"").skip(1).filter_map(|rest| rest.get(..64)) {
            let _ = self.ask("DELETE", &format!("/containers/{id}?force=true&v=true"), &[]);
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let ended = (0..300).any(|_| {
                std::thread::sleep(Duration::from_millis(50));
                matches!(daemon.try_wait(), Ok(Some(_)))
            });
            if !ended {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
        }
        // What a daemon that was killed left behind.
        let mine = self.directory.display().to_string();
        for pid in processes_of(&mine) {
            let _ = Command::new("kill").args(["-9", &pid]).status();
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for mount in mounts.filter(|mount| mount.starts_with(&mine)) {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Processes other than this one that have the directory in their command line.
#[must_use]
pub fn processes_of(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.parse::<u32>().is_ok_and(|pid| pid != std::process::id()));
    let is_of = |pid: &String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(directory)
    };
    pids.filter(is_of).collect()
}

/// Whether a program needs no library, of which an image has none: its file names no interpreter.
fn is_static(path: &str) -> bool {
    const INTERPRETER: [u8; 4] = [3, 0, 0, 0];
    let bytes = std::fs::read(path).unwrap_or_default();
    let number = |at: usize| {
        bytes.get(at..at + 2).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])))
    };
    // The table of segments: where it is, the length of an entry, and how many there are.
    let (start, length, count) = (number(32), number(54), number(56));
    let kinds = (0..count).map(|n| bytes.get(start + n * length..start + n * length + 4));
    count > 0 && kinds.into_iter().all(|kind| kind.is_some_and(|kind| kind != INTERPRETER))
}

/// Waits until a container is in a state, such as `running`.
///
/// # Panics
/// When that does not come within a minute.
pub fn wait_for_state(engine: &DockerEngine, name: &str, state: &str) {
    let wanted = format!("\"Status\":\"{state}\"");
    wait::until(&format!("{name} is {state}"), Duration::from_secs(60), || {
        let answer = engine.ask("GET", &format!("/containers/{name}/json"), &[])?;
        answer.contains(&wanted).then_some(())
    });
}
