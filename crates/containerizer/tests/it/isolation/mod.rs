//! Isolators that need root, on real processes.

use super::*;
use containerizer::isolation::{Launcher, Root, Settings, cgroups};
use std::process::Command;
use wire::v1;

pub(crate) mod gpu;
mod hostile;
mod joined;
mod layers;
mod namespaces;
mod nested;
mod refusals;
mod rootfs;
mod security;
mod terminal;
mod volumes;

/// What most containers here have.
const LINUX: &str = "filesystem/linux,namespaces/pid,namespaces/ipc";

/// A host with isolators; None, and a word about it, if this is not root.
fn host(isolation: &str) -> Option<Host> {
    host_with(isolation, Settings::default())
}

fn host_with(isolation: &str, settings: Settings) -> Option<Host> {
    if !is_root() {
        eprintln!("skipped: only root can use {isolation}");
        return None;
    }
    let mut directory = testkit::cluster::temporary_directory();
    // A container may have a /dev/shm of its own, which would cover its sandbox.
    if directory.starts_with("/dev/shm") {
        let name = directory.file_name().expect("a name").to_owned();
        directory = Path::new("/var/tmp").join(name);
        std::fs::create_dir(&directory).expect("a directory");
    }
    Some(Host::isolated(directory, isolation, settings))
}

fn select(isolation: &str) -> Selection {
    let launcher = isolation.contains("cgroups").then_some(Launcher::Linux);
    Selection::new(isolation, launcher.or(Some(Launcher::Posix)), cgroups::Options::default())
        .expect("isolators that there are")
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn container(info: v1::ContainerInfo) -> Option<v1::ContainerInfo> {
    Some(v1::ContainerInfo { r#type: v1::container_info::Type::Mesos as i32, ..info })
}

fn linux(info: v1::LinuxInfo) -> Option<v1::ContainerInfo> {
    container(v1::ContainerInfo { linux_info: Some(info), ..Default::default() })
}

impl Host {
    fn isolated(directory: PathBuf, isolation: &str, settings: Settings) -> Self {
        let isolation = select(isolation);
        let open_files = None;
        let options = MesosOptions { isolation, settings, open_files, ..options(&directory) };
        let (mesos, exits) = Mesos::new(&options).expect("a containerizer");
        Self { directory, mesos, exits }
    }

    /// Runs a container to its end, which must be a good one; what it wrote.
    async fn output(&mut self, spec: ContainerSpec) -> String {
        let id = spec.container_id.clone();
        let (status, stdout, stderr) = self.run(spec).await;
        assert_eq!(status, Some(0), "{id} wrote: {stdout}\nand: {stderr}");
        stdout
    }

    /// Runs a container to its end: raw status, standard output and error. Nothing of it is left.
    async fn run(&mut self, spec: ContainerSpec) -> (Option<i32>, String, String) {
        let id = spec.container_id.clone();
        self.mesos.start(spec).await.expect("it starts");
        let (ended, status) = self.exit().await;
        assert_eq!(ended, id);
        self.assert_no_mounts();
        let stderr = std::fs::read_to_string(self.sandbox(&id).join("stderr")).unwrap_or_default();
        (status, self.stdout(&id), stderr)
    }

    async fn refusal(&self, spec: ContainerSpec) -> String {
        let id = spec.container_id.clone();
        let refused = self.mesos.start(spec).await;
        self.assert_no_mounts();
        let kept = self.directory.join("run/containers").join(id);
        assert!(!kept.exists(), "{:?}", kept.read_dir().expect("a directory").collect::<Vec<_>>());
        match refused {
            Err(StartError::Launch(text)) => text,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Nothing is mounted on the host.
    fn assert_no_mounts(&self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
        let own = self.directory.to_str().expect("text");
        let left: Vec<&str> = table.lines().filter(|line| line.contains(own)).collect();
        assert!(left.is_empty(), "left mounted: {left:#?}");
    }

    /// A root file system with a shell and some tools.
    fn rootfs(&self) -> PathBuf {
        let root = self.directory.join("rootfs");
        if !root.exists() {
            make_rootfs(&root);
        }
        root
    }

    /// A container with that.
    fn spec_in_rootfs(&self, id: &str, command: &str) -> ContainerSpec {
        let mut spec = self.spec(id, command);
        spec.rootfs = Some(Root::directory(self.rootfs()));
        spec
    }
}

const TOOLS: &[&str] = &[
    "sh", "cat", "id", "ls", "stat", "sleep", "mkdir", "touch", "readlink", "grep", "mknod",
    "setsid", "tty", "kill", "hostname", "mount", "chroot", "dd", "wc", "env", "stty", "unshare",
    "head", "ln", "mv",
];

/// Copies tools of this host, with the libraries that they need.
fn make_rootfs(root: &Path) {
    for directory in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        std::fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\nimaged:x:4321:4322::/:/bin/sh\nfakeroot:x:0:0::/:/bin/sh\n",
    )
    .expect("users");
    std::fs::write(root.join("etc/group"), "imaged:x:4322:\nextra:x:4400:imaged,other\n")
        .expect("groups");
    let copy = |from: &str, to: &Path| {
        std::fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        if !to.exists() {
            std::fs::copy(from, to).unwrap_or_else(|e| panic!("cannot copy {from}: {e}"));
        }
    };
    for tool in TOOLS {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        let found = String::from_utf8(found.expect("sh runs").stdout).expect("text");
        let path = ["/bin/", "/usr/bin/"].iter().map(|d| format!("{d}{tool}"));
        let path = path.into_iter().find(|p| Path::new(p).exists()).unwrap_or(found);
        // A small host has not all of them, and what it has needs no libraries.
        if !path.starts_with('/') {
            continue;
        }
        copy(path.trim(), &root.join("bin").join(tool));
        let libraries = Command::new("ldd").arg(path.trim()).output();
        let libraries = libraries.map(|out| out.stdout).unwrap_or_default();
        for word in String::from_utf8_lossy(&libraries).split_whitespace() {
            if word.starts_with('/') {
                copy(word, &root.join(word.trim_start_matches('/')));
            }
        }
    }
}
