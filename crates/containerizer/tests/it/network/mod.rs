//! Networks of containers, on real namespaces; tests that need root and plugins say so if they are skipped.

use super::*;
use containerizer::isolation::{CniOptions, Launcher, Settings, cgroups};
use containerizer::{Appearance, Started};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use wire::v1;

mod bridge;
mod faults;
mod leftovers;
mod pods;
mod ports;
mod rates;

/// Where Debian's package containernetworking-plugins puts them.
const PLUGINS: &str = "/usr/lib/cni";

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// A host whose containers can have networks of their own.
struct Networked {
    /// The agent is what runs here.
    agent: Option<tokio::runtime::Runtime>,
    host: Host,
    directory: PathBuf,
    isolation: String,
    timeout: Duration,
}

impl Networked {
    /// None, and a word about it, if this is not root.
    fn new(isolation: &str) -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: only root can make network namespaces");
            return None;
        }
        let directory = testkit::cluster::temporary_directory();
        for name in ["networks", "plugins"] {
            std::fs::create_dir_all(directory.join(name)).expect("a directory");
        }
        let (isolation, timeout) = (isolation.to_owned(), Duration::from_secs(30));
        let (agent, host) = Self::agent(&directory, &isolation, timeout);
        Some(Self { agent: Some(agent), host, directory, isolation, timeout })
    }

    /// Name of the cgroup of its containers, if they have one.
    fn cgroup(directory: &Path) -> String {
        let name = directory.file_name().expect("a name").to_string_lossy();
        format!("{name}-network")
    }

    fn agent(
        directory: &Path,
        isolation: &str,
        timeout: Duration,
    ) -> (tokio::runtime::Runtime, Host) {
        let agent = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let agent = agent.expect("a runtime");
        let entered = agent.enter();
        let host = Self::host(directory, isolation, timeout);
        drop(entered);
        (agent, host)
    }

    fn host(directory: &Path, isolation: &str, plugin_timeout: Duration) -> Host {
        let launcher =
            if isolation.contains("cgroups") { Launcher::Linux } else { Launcher::Posix };
        let options = cgroups::Options { root: Self::cgroup(directory), ..Default::default() };
        let selection = Selection::new(isolation, Some(launcher), options);
        let cni = CniOptions {
            config_dir: Some(directory.join("networks")),
            plugins_dirs: vec![directory.join("plugins"), PLUGINS.into()],
            plugin_timeout,
            ..CniOptions::default()
        };
        Host::with_options(directory.to_owned(), |options| {
            options.isolation = selection.expect("isolators");
            options.settings = Settings { cni, ..Settings::default() };
        })
    }

    /// Ends the agent as if it had been killed: nothing of it does anything any more.
    fn kill(&mut self) {
        self.agent.take().into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    }

    /// Another agent on the same directories.
    fn restart(&mut self) {
        self.kill();
        let (agent, host) = Self::agent(&self.directory, &self.isolation, self.timeout);
        (self.agent, self.host) = (Some(agent), host);
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Started, StartError> {
        let mesos = self.host.mesos.clone();
        let agent = self.agent.as_ref().expect("an agent");
        agent.spawn(async move { mesos.start(spec).await }).await.expect("no panic")
    }

    async fn recover(&self) -> Vec<containerizer::Found> {
        let mesos = self.host.mesos.clone();
        let agent = self.agent.as_ref().expect("an agent");
        let found = agent.spawn(async move { mesos.recover().await }).await.expect("no panic");
        found.expect("recovery")
    }

    fn configure(&self, config: &Value) {
        let name = config["name"].as_str().expect("a name");
        let path = self.directory.join("networks").join(format!("{name}.conf"));
        std::fs::write(path, config.to_string()).expect("a configuration");
    }

    /// A plugin that is a script of the shell. What it is called with is in `calls`.
    fn plugin(&self, name: &str, script: &str) {
        let path = self.directory.join("plugins").join(name);
        let calls = self.directory.join("calls");
        let log = format!("echo $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME >> {}", calls.display());
        std::fs::write(&path, format!("#!/bin/sh\n{log}\n{script}\n")).expect("a plugin");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, executable).expect("a plugin");
    }

    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// A container on these networks.
    fn spec(&self, id: &str, command: &str, networks: &[&str]) -> ContainerSpec {
        let infos = networks
            .iter()
            .map(|name| v1::NetworkInfo { name: Some((*name).to_owned()), ..Default::default() });
        let mut spec = self.host.spec(id, command);
        spec.container = Some(v1::ContainerInfo {
            r#type: v1::container_info::Type::Mesos as i32,
            network_infos: infos.collect(),
            ..Default::default()
        });
        spec
    }

    async fn refusal(&self, spec: ContainerSpec) -> String {
        match self.start(spec).await {
            Err(StartError::Launch(text)) => text,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Runs a container to its good end; what it wrote. The others run on.
    async fn output(&mut self, spec: ContainerSpec) -> String {
        let id = spec.container_id.clone();
        self.start(spec).await.expect("it starts");
        let (ended, status) = self.host.exit().await;
        let stderr = self.host.sandbox(&id).join("stderr");
        let stderr = std::fs::read_to_string(stderr).unwrap_or_default();
        assert_eq!((ended, status), (id.clone(), Some(0)), "{}{stderr}", self.host.stdout(&id));
        self.host.stdout(&id)
    }

    /// Nothing is mounted below the directory, and nothing is kept of networks.
    fn assert_nothing_left(&self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
        let own = self.directory.to_str().expect("text");
        let left: Vec<&str> = table.lines().filter(|line| line.contains(own)).collect();
        assert!(left.is_empty(), "left mounted: {left:#?}");
        let root = self.directory.join("run/isolators/network/cni");
        let kept: Vec<_> = root.read_dir().into_iter().flatten().flatten().collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
}

/// The address of a container on its only network.
fn ip(appearance: Option<Appearance>) -> String {
    let networks = appearance.expect("networks").networks;
    assert_eq!(networks.len(), 1, "{networks:?}");
    networks[0].ip_addresses[0].ip_address.clone().expect("an address")
}

impl Drop for Networked {
    fn drop(&mut self) {
        self.kill();
        testkit::cgroups::remove(&Self::cgroup(&self.directory));
        // Of a test that failed.
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for path in mounted.filter(|path| Path::new(path).starts_with(&self.directory)) {
            let _ = Command::new("umount").args(["-l", path]).status();
        }
    }
}
