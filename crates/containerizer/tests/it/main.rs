//! The contract of a containerizer, on real processes.

use containerizer::isolation::Selection;
use containerizer::{
    ContainerSpec, Containerizer, Exited, FetcherOptions, Mesos, MesosOptions, StartError,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

mod absence;
mod cgroups;
mod disk;
mod docker;
mod download;
mod fetching;
mod images;
mod inside;
mod isolation;
mod logs;
mod lost;
mod network;
mod pods;
mod probe;
mod projects;
mod upgrade;

/// Written by tests that mount hierarchies of cgroups, read by those whose programs look at all of them.
static HIERARCHIES: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

struct Host {
    directory: PathBuf,
    mesos: Arc<Mesos>,
    exits: UnboundedReceiver<Exited>,
}

fn options(directory: &Path) -> MesosOptions {
    MesosOptions {
        runtime_dir: directory.join("run"),
        work_dir: directory.to_owned(),
        open_files: Some(777),
        logs: None,
        isolation: Selection::default(),
        settings: containerizer::isolation::Settings::default(),
        fetcher: FetcherOptions::new(directory.join("fetcher"), directory.join("cache")),
        images: None,
    }
}

impl Host {
    fn new() -> Self {
        Self::at(testkit::cluster::temporary_directory())
    }

    fn at(directory: PathBuf) -> Self {
        Self::with(directory, Selection::default())
    }

    fn with(directory: PathBuf, isolation: Selection) -> Self {
        Self::with_options(directory, |options| options.isolation = isolation)
    }

    fn with_options(directory: PathBuf, change: impl FnOnce(&mut MesosOptions)) -> Self {
        let mut options = options(&directory);
        change(&mut options);
        let (mesos, exits) = Mesos::new(&options).expect("a containerizer");
        Self { directory, mesos, exits }
    }

    fn sandbox(&self, id: &str) -> PathBuf {
        self.directory.join("sandboxes").join(id)
    }

    fn spec(&self, id: &str, command: &str) -> ContainerSpec {
        ContainerSpec {
            container_id: id.to_owned(),
            parent: None,
            pod: None,
            directory: self.sandbox(id).to_str().expect("text").to_owned(),
            working_directory: None,
            output: None,
            streams: None,
            latest_link: None,
            command: wire::v1::CommandInfo {
                value: Some(command.to_owned()),
                ..Default::default()
            },
            environment: BTreeMap::from([
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("MESOS_SANDBOX".to_owned(), self.sandbox(id).display().to_string()),
            ]),
            user: None,
            container: None,
            resources: Vec::new(),
            limits: BTreeMap::new(),
            volumes: Vec::new(),
            rootfs: None,
            image_volumes: BTreeMap::new(),
            image_user: None,
            image_wants_nvidia: false,
            recovery_timeout: Duration::from_secs(600),
            shutdown_grace_period: Duration::from_secs(5),
            unless_sandbox: false,
        }
    }

    async fn start(&self, id: &str, command: &str) -> u32 {
        self.mesos.start(self.spec(id, command)).await.expect("it starts").pid
    }

    async fn exit(&mut self) -> (String, Option<i32>) {
        let exited = tokio::time::timeout(Duration::from_secs(30), self.exits.recv())
            .await
            .expect("an end in time");
        let exited = exited.expect("an end");
        (exited.container_id, exited.status)
    }

    fn stdout(&self, id: &str) -> String {
        std::fs::read_to_string(self.sandbox(id).join("stdout")).unwrap_or_default()
    }

    async fn wait_for_stdout(&self, id: &str, line: &str) {
        until(&format!("'{line}' on stdout"), || self.stdout(id).lines().any(|l| l == line)).await;
    }
}

/// Waits until there is something, for as long as an emulated machine under load may need.
pub(crate) async fn found<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    found(what, || holds().then_some(())).await;
}

fn is_alive(pid: &str) -> bool {
    let state = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"))
        .unwrap_or_default();
    state.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn output_exit_code_and_environment_are_those_of_the_command() {
    let mut host = Host::new();
    host.start("a", "echo out; echo err >&2; pwd; env; exit 3").await;
    assert_eq!(host.exit().await, ("a".to_owned(), Some(3 << 8)));
    let sandbox = host.sandbox("a");
    let path = sandbox.display();
    assert_eq!(host.stdout("a").lines().next(), Some("out"));
    let lines: Vec<String> = host.stdout("a").lines().map(str::to_owned).collect();
    assert!(
        lines.contains(&format!("{path}")) && lines.contains(&"PATH=/usr/bin:/bin".to_owned()),
        "{lines:?}"
    );
    assert_eq!(std::fs::read_to_string(sandbox.join("stderr")).expect("stderr"), "err\n");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&sandbox).expect("a sandbox").permissions().mode() & 0o777, 0o750);
}

#[tokio::test]
async fn death_by_signal_is_told_from_an_exit() {
    let mut host = Host::new();
    host.start("a", "kill -9 $$").await;
    assert_eq!(host.exit().await, ("a".to_owned(), Some(9)));
}

#[tokio::test]
async fn arguments_are_the_whole_argv() {
    let mut host = Host::new();
    let mut spec = host.spec("a", "/bin/sh");
    spec.command.shell = Some(false);
    spec.command.arguments =
        ["zero", "-c", "echo \"$0|$1\"; exit 7", "x y", "z"].map(str::to_owned).to_vec();
    host.mesos.start(spec).await.expect("it starts");
    assert_eq!(host.exit().await.1, Some(7 << 8));
    assert_eq!(host.stdout("a"), "x y|z\n");
}

#[tokio::test]
async fn a_command_that_can_not_be_executed_ends_with_one_and_says_why() {
    let mut host = Host::new();
    let mut spec = host.spec("a", "/no/such/binary");
    spec.command.shell = Some(false);
    host.mesos.start(spec).await.expect("it counts as started");
    assert_eq!(host.exit().await.1, Some(1 << 8));
    let stderr = std::fs::read_to_string(host.sandbox("a").join("stderr")).expect("stderr");
    assert!(stderr.starts_with("Failed to execute '/no/such/binary': No such file"), "{stderr}");
}

#[tokio::test]
async fn what_is_not_supported_is_refused_by_name() {
    let host = Host::new();
    let mut spec = host.spec("a", "true");
    spec.command
        .uris
        .push(wire::v1::command_info::Uri { value: "http://x".to_owned(), ..Default::default() });
    let error = host.mesos.start(spec).await.expect_err("refused");
    let text = "Could not fetch: Malformed URI (missing path): http://x";
    assert_eq!(error, StartError::Launch(text.to_owned()));
    let mut spec = host.spec("b", "true");
    spec.user = Some("nobody-has-this-name".to_owned());
    let error = host.mesos.start(spec).await.expect_err("refused");
    let text = "there is no user 'nobody-has-this-name' on this host";
    assert_eq!(error, StartError::Sandbox(text.to_owned()));
    let error = host.mesos.start(host.spec("c", "")).await.expect_err("refused");
    assert!(
        matches!(&error, StartError::Launch(text) if text.contains("'CommandInfo.value'")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_signal_reaches_the_whole_tree_and_destroy_leaves_nothing() {
    let mut host = Host::new();
    // One grandchild in a session of its own, one that ignores SIGTERM.
    host.start("a", "setsid sh -c 'echo $$; exec sleep 1000' & sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & echo ready; wait").await;
    host.wait_for_stdout("a", "ready").await;
    until("three lines", || host.stdout("a").lines().count() == 3).await;
    let pids: Vec<String> =
        host.stdout("a").lines().filter(|l| *l != "ready").map(str::to_owned).collect();
    assert_eq!(pids.len(), 2);
    host.mesos.signal("a", 15);
    // The main process dies of it, and everything else goes with the container.
    assert_eq!(host.exit().await, ("a".to_owned(), Some(15)));
    assert!(pids.iter().all(|pid| !is_alive(pid)), "{pids:?}");

    host.start("b", "trap '' TERM; sleep 1000 & wait; sleep 1000").await;
    host.mesos.destroy("b");
    host.mesos.destroy("b");
    assert_eq!(host.exit().await, ("b".to_owned(), Some(9)));
    host.mesos.destroy("b");
    host.mesos.forget("b");
    host.mesos.forget("b");
}

#[tokio::test]
async fn containers_survive_their_agent_and_are_found_again() {
    let mut host = Host::new();
    let running = host.start("runs", "while [ ! -e gate ]; do sleep 0.02; done; exit 5").await;
    host.start("ends", "exit 4").await;
    host.exit().await;
    std::fs::create_dir_all(host.directory.join("run/containers/half-made")).expect("a directory");

    let mut next = Host::at(host.directory.clone());
    let mut found = next.mesos.recover().await.expect("recovery");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    let seen: Vec<_> = found.iter().map(|f| (f.container_id.as_str(), f.pid, f.status)).collect();
    assert_eq!(
        seen,
        [("ends", None, Some(4 << 8)), ("half-made", None, None), ("runs", Some(running), None)]
    );
    std::fs::write(next.sandbox("runs").join("gate"), "").expect("the gate opens");
    assert_eq!(next.exit().await, ("runs".to_owned(), Some(5 << 8)));
    for name in ["ends", "half-made", "runs"] {
        next.mesos.forget(name);
    }
    assert!(next.mesos.recover().await.expect("recovery").is_empty());
}

#[tokio::test]
async fn many_at_once_each_get_their_own_end() {
    let mut host = Host::new();
    let starts: Vec<_> = (0..50)
        .map(|n| {
            let (mesos, spec) =
                (host.mesos.clone(), host.spec(&format!("c{n}"), &format!("exit {n}")));
            tokio::spawn(async move { mesos.start(spec).await })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("it starts");
    }
    let mut ends = BTreeMap::new();
    for _ in 0..50 {
        let (id, status) = host.exit().await;
        ends.insert(id, status);
    }
    assert_eq!(ends.len(), 50);
    assert!((0..50).all(|n| ends[&format!("c{n}")] == Some(n << 8)), "{ends:?}");
}

#[tokio::test]
async fn a_long_environment_fits() {
    let mut host = Host::new();
    let mut spec = host.spec("a", "echo ${#LONG}");
    spec.environment.insert("LONG".to_owned(), "x".repeat(100_000));
    host.mesos.start(spec).await.expect("it starts");
    assert_eq!(host.exit().await.1, Some(0));
    assert_eq!(host.stdout("a"), "100000\n");
}

#[tokio::test]
async fn a_container_runs_as_its_user_and_owns_its_sandbox_and_volume() {
    let mut host = Host::new();
    if !std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
    {
        eprintln!("skipped: only root can run containers as another user");
        return;
    }
    let volume = host.directory.join("volume");
    std::fs::create_dir(&volume).expect("a volume");
    // The way there must be open to everybody.
    let mut spec =
        host.spec("a", "id -u; id -g; id -G; touch mine data/mine; stat -c %u mine data/mine");
    spec.user = Some("nobody".to_owned());
    spec.volumes = vec![containerizer::MountedVolume {
        path: volume.to_str().expect("text").to_owned(),
        container_path: "data".to_owned(),
        exclusive: true,
        read_only: false,
    }];
    host.mesos.start(spec).await.expect("it starts");
    assert_eq!(host.exit().await, ("a".to_owned(), Some(0)), "{}", host.stdout("a"));
    let ids = std::process::Command::new("sh")
        .args(["-c", "id -u nobody; id -g nobody; id -G nobody; id -u nobody; id -u nobody"])
        .output()
        .expect("id runs");
    assert_eq!(host.stdout("a"), String::from_utf8_lossy(&ids.stdout));
}

#[tokio::test]
async fn a_container_has_the_limit_on_open_files_that_is_for_it() {
    let mut host = Host::new();
    host.start("a", "ulimit -Sn").await;
    host.exit().await;
    assert_eq!(host.stdout("a"), "777\n");
}
