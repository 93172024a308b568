//! Pods: what their containers share, on real processes.

use crate::cgroups::{Cgrouped, map, scalar};
use crate::{Host, is_alive, until};
use containerizer::isolation::{Launcher, Running, Selection, cgroups};
use containerizer::{ContainerSpec, Containerizer as _, Pod};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wire::v1;
use wire::v1::task_status::Reason;

pub(crate) fn pod(resources: &[(&str, f64)]) -> Pod {
    Pod {
        id: "pod".to_owned(),
        container: None,
        resources: resources.iter().map(|(name, value)| scalar(name, *value)).collect(),
        limits: BTreeMap::new(),
        volumes: Vec::new(),
        user: None,
    }
}

fn linux(info: v1::LinuxInfo) -> Option<v1::ContainerInfo> {
    let kind = v1::container_info::Type::Mesos as i32;
    Some(v1::ContainerInfo { r#type: kind, linux_info: Some(info), ..Default::default() })
}

impl Host {
    fn spec_in(&self, pod: Pod, id: &str, command: &str) -> ContainerSpec {
        ContainerSpec { pod: Some(pod), ..self.spec(id, command) }
    }
}

const MEGABYTE: u64 = 1 << 20;
const WAIT: &str = "echo ready; exec sleep 1000";

impl Cgrouped {
    fn memory(&self, id: &str) -> u64 {
        let file = if self.is_v2("memory") { "memory.max" } else { "memory.limit_in_bytes" };
        self.file("memory", id, file).parse().expect("a number")
    }
}

#[tokio::test]
async fn a_pod_has_cgroups_in_which_its_containers_are() {
    let Some(mut host) = Cgrouped::new("cgroups/cpu,cgroups/mem,cgroups/pids") else { return };
    let shared = pod(&[("cpus", 2.0), ("mem", 96.0)]);
    let mut first = host.spec_in(shared.clone(), "a", &format!("cat /proc/self/cgroup; {WAIT}"));
    first.resources = vec![scalar("mem", 40.0)];
    host.mesos.start(first).await.expect("it starts");
    let mut second = host.spec_in(shared, "b", WAIT);
    second.resources = vec![scalar("cpus", 0.5), scalar("mem", 48.0)];
    second.container = linux(v1::LinuxInfo { share_cgroups: Some(false), ..Default::default() });
    let supervisor = host.mesos.start(second).await.expect("it starts").pid;
    for id in ["a", "b"] {
        host.wait_for_stdout(id, "ready").await;
    }
    assert_eq!(host.memory("pod"), 96 * MEGABYTE);
    assert_eq!(host.memory("pod/mesos/b"), 48 * MEGABYTE);
    let (file, pods, own) = match host.is_v2("cpu") {
        true => ("cpu.weight", "200", "50"),
        false => ("cpu.shares", "2048", "512"),
    };
    assert_eq!(host.file("cpu", "pod", file), pods);
    assert_eq!(host.file("cpu", "pod/mesos/b", file), own);
    let memory = if host.is_v2("memory") { "/pod/mesos/a" } else { "/pod" };
    let is_inside = |line: &str| line.contains("memory") || line.starts_with("0:");
    let groups = host.stdout("a");
    let groups: Vec<&str> = groups.lines().filter(|line| is_inside(line)).collect();
    assert!(groups.iter().any(|line| line.ends_with(memory)), "{groups:?}");
    assert!(host.usage("b", supervisor).mem_total_bytes.is_some_and(|bytes| bytes > 0));
    let holder = host.mesos.supervisor("pod").expect("the pod runs");
    assert!(host.usage("pod", holder).mem_total_bytes.is_some_and(|bytes| bytes > 0));

    // More tasks come. What is asked for takes effect in another thread.
    host.mesos.update("pod", vec![scalar("cpus", 4.0), scalar("mem", 128.0)], map(&[]));
    until("128 MiB", || host.memory("pod") == 128 * MEGABYTE).await;

    // Another agent knows all of it.
    host.host = host.next();
    let mut found = host.mesos.recover().await.expect("recovery");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    let found: Vec<_> = found.iter().map(|f| (f.container_id.as_str(), f.pid.is_some())).collect();
    assert_eq!(found, [("a", true), ("b", true), ("pod", true)]);
    host.mesos.update("b", vec![scalar("cpus", 0.5), scalar("mem", 64.0)], map(&[]));
    until("64 MiB", || host.memory("pod/mesos/b") == 64 * MEGABYTE).await;
    // A third one comes into the same pod.
    let third = host.spec_in(pod(&[("cpus", 4.0), ("mem", 128.0)]), "c", "exit 3");
    host.mesos.start(third).await.expect("it starts");
    assert_eq!(host.end().await.status, Some(3 << 8));

    host.mesos.destroy("pod");
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(host.end().await.container_id);
    }
    assert_eq!(ends.pop().as_deref(), Some("pod"), "the pod ends last");
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_pod_that_takes_too_much_memory_ends_for_that_as_a_whole() {
    let Some(mut host) = Cgrouped::new("cgroups/mem") else { return };
    let shared = pod(&[("mem", 48.0)]);
    host.mesos.start(host.spec_in(shared.clone(), "calm", WAIT)).await.expect("it starts");
    host.wait_for_stdout("calm", "ready").await;
    let hog = "head -c 200000000 /dev/zero | tail";
    host.mesos.start(host.spec_in(shared, "hog", hog)).await.expect("it starts");
    for _ in 0..3 {
        let end = host.end().await;
        let reason = end.limitation.map(|limitation| limitation.reason);
        assert_eq!(reason, Some(Reason::ContainerLimitationMemory), "{}", end.container_id);
    }
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_container_with_limits_of_its_own_ends_alone() {
    let Some(mut host) = Cgrouped::new("cgroups/mem") else { return };
    let shared = pod(&[("mem", 512.0)]);
    host.mesos.start(host.spec_in(shared.clone(), "calm", WAIT)).await.expect("it starts");
    let mut hog = host.spec_in(shared, "hog", "head -c 200000000 /dev/zero | tail");
    hog.resources = vec![scalar("mem", 40.0)];
    hog.container = linux(v1::LinuxInfo { share_cgroups: Some(false), ..Default::default() });
    host.mesos.start(hog).await.expect("it starts");
    let end = host.end().await;
    let reason = end.limitation.map(|limitation| limitation.reason);
    assert_eq!(
        (end.container_id.as_str(), reason),
        ("hog", Some(Reason::ContainerLimitationMemory))
    );
    host.wait_for_stdout("calm", "ready").await;
    // Its end is that of the pod's only process.
    let holder = host.mesos.supervisor("pod").expect("the pod runs");
    assert!(is_alive(&holder.to_string()));
    host.mesos.destroy("pod");
    assert_eq!(host.end().await.container_id, "calm");
    assert_eq!(host.end().await.container_id, "pod");
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn containers_of_a_pod_share_what_they_do_not_separate() {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !is_root {
        eprintln!("skipped: only root can make namespaces");
        return;
    }
    let names = "filesystem/linux,namespaces/pid,namespaces/ipc";
    let options = cgroups::Options::default();
    let selection = Selection::new(names, Some(Launcher::Posix), options).expect("isolators");
    let mut host = Host::with(testkit::cluster::temporary_directory(), selection);
    let show = "for n in pid ipc; do readlink /proc/self/ns/$n; done; cat /proc/1/comm; echo $$";
    let shares = || linux(v1::LinuxInfo { share_pid_namespace: Some(true), ..Default::default() });
    for (id, container) in [("a", shares()), ("b", shares()), ("c", None)] {
        let command = format!("{show}; {WAIT}");
        let spec = ContainerSpec { container, ..host.spec_in(pod(&[]), id, &command) };
        host.mesos.start(spec).await.expect("it starts");
        host.wait_for_stdout(id, "ready").await;
    }
    let seen = ["a", "b", "c"].map(|id| {
        let out = host.stdout(id);
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let [a, b, c] = &seen;
    assert_eq!((&a[0], &a[1]), (&b[0], &b[1]), "two see each other's processes");
    assert_ne!(a[3], b[3], "{seen:?}");
    assert_ne!(a[0], c[0], "who does not want that has its own");
    assert_eq!(a[1], c[1], "objects are the pod's");
    let own = |name: &str| {
        let link = std::fs::read_link(Path::new("/proc/self/ns").join(name)).expect("a namespace");
        link.display().to_string()
    };
    assert!(a[0] != own("pid") && a[1] != own("ipc"), "{seen:?}");
    // Without what stands for it there is no pod.
    let holder = host.mesos.supervisor("pod").expect("the pod runs");
    let _ = std::process::Command::new("kill").args(["-9", &holder.to_string()]).status();
    let mut ends = Vec::new();
    for _ in 0..4 {
        ends.push(host.exit().await.0);
    }
    ends.sort();
    assert_eq!(ends, ["a", "b", "c", "pod"]);
}

#[tokio::test]
async fn without_isolation_there_is_nothing_that_stands_for_a_pod() {
    let mut host = Host::new();
    let spec = host.spec_in(pod(&[("mem", 32.0)]), "a", "exit 4");
    let running = Running { container_id: "a".to_owned(), supervisor: 0 };
    host.mesos.start(spec).await.expect("it starts");
    assert_eq!(host.mesos.supervisor("pod"), None);
    assert_eq!(host.exit().await, (running.container_id, Some(4 << 8)));
    host.mesos.destroy("pod");
}
