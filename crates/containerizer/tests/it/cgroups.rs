//! Containers in cgroups, of whichever version the host has.

mod layouts;
mod memory;

use crate::{Host, found, is_alive, until};
use containerizer::isolation::cgroups::{
    Hierarchies, NetworkClasses, Options, PerfOptions, PidsLimit,
};
use containerizer::isolation::{Launcher, Running, Selection};
use containerizer::{Containerizer as _, StartError};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wire::v1::task_status::Reason;
use wire::v1::{self, ResourceStatistics};

/// A host whose containers have a cgroup root of their own, of which nothing is left in the end.
pub(crate) struct Cgrouped {
    pub(crate) host: Host,
    options: Options,
    isolation: &'static str,
}

impl Deref for Cgrouped {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Cgrouped {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

impl Drop for Cgrouped {
    fn drop(&mut self) {
        testkit::cgroups::remove(&self.options.root);
    }
}

fn kill(pid: i32) {
    let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
}

impl Cgrouped {
    /// None: this host has no cgroups for us; says so.
    pub(crate) fn new(isolation: &'static str) -> Option<Self> {
        Self::with(isolation, |_| {})
    }

    fn with(isolation: &'static str, change: impl FnOnce(&mut Options)) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = format!("proffer-test-{}-{count}", std::process::id());
        let mut options = Options { root, ..Default::default() };
        change(&mut options);
        let selection = Selection::new(isolation, Some(Launcher::Linux), options.clone());
        let selection = match selection.and_then(|s| s.check_cgroups().map(|()| s)) {
            Ok(selection) => selection,
            Err(reason) => {
                eprintln!("skipped: no cgroups for tests: {reason}");
                return None;
            }
        };
        let host = Host::with(testkit::cluster::temporary_directory(), selection);
        Some(Self { host, options, isolation })
    }

    /// Another agent over the same directories and cgroups.
    pub(crate) fn next(&self) -> Host {
        let selection = Selection::new(self.isolation, Some(Launcher::Linux), self.options.clone());
        Host::with(self.host.directory.clone(), selection.expect("as before"))
    }

    fn hierarchies(&self) -> Hierarchies {
        Hierarchies::detect(&self.options.hierarchy).expect("it was found before")
    }

    /// Where the cgroups of all containers are.
    fn roots(&self) -> Vec<PathBuf> {
        testkit::cgroups::roots(&self.options.root)
    }

    /// Cgroups of containers that are there.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let entries = |root: PathBuf| std::fs::read_dir(root).into_iter().flatten().flatten();
        let below = self.roots().into_iter().flat_map(entries).map(|e| e.path());
        below.filter(|path| path.is_dir()).collect()
    }

    pub(crate) fn file(&self, controller: &str, id: &str, file: &str) -> String {
        let place = self.hierarchies().place(controller).expect("the controller is there");
        let path = place.mount.join(&self.options.root).join(id).join(file);
        std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .trim()
            .to_owned()
    }

    pub(crate) fn is_v2(&self, controller: &str) -> bool {
        use containerizer::isolation::cgroups::Version;
        self.hierarchies().place(controller).is_some_and(|place| place.version == Version::V2)
    }

    async fn start_with(
        &self,
        id: &str,
        command: &str,
        resources: &[(&str, f64)],
        limits: &[(&str, f64)],
    ) -> u32 {
        let mut spec = self.spec(id, command);
        spec.resources = resources.iter().map(|(name, value)| scalar(name, *value)).collect();
        spec.limits = map(limits);
        self.mesos.start(spec).await.expect("it starts").pid
    }

    pub(crate) fn usage(&self, id: &str, supervisor: u32) -> ResourceStatistics {
        let running = Running { container_id: id.to_owned(), supervisor };
        self.mesos.usage(&[running]).remove(0)
    }

    pub(crate) async fn end(&mut self) -> containerizer::Exited {
        tokio::time::timeout(Duration::from_secs(60), self.host.exits.recv())
            .await
            .expect("an end in time")
            .expect("an end")
    }
}

pub(crate) fn map(limits: &[(&str, f64)]) -> BTreeMap<String, f64> {
    limits.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

pub(crate) fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_container_is_in_its_cgroups_and_nothing_is_left_of_them() {
    let Some(mut host) = Cgrouped::new("cgroups/all") else { return };
    host.start_with("a", "cat /proc/self/cgroup; exit 3", &[("cpus", 0.5)], &[]).await;
    assert_eq!(host.end().await.status, Some(3 << 8));
    let own = format!("/{}/a", host.options.root);
    let count = host.stdout("a").lines().filter(|line| line.ends_with(&own)).count();
    assert!(count >= host.roots().len(), "{} of {:?}", host.stdout("a"), host.roots());
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn cgroups_that_a_container_makes_go_with_it_however_deep_they_are() {
    let Some(mut host) = Cgrouped::new("cgroups/mem") else { return };
    if host.is_v2("memory") {
        eprintln!("skipped: only cgroups of version 1 are a container's to make");
        return;
    }
    let name = "d".repeat(200);
    let dig = format!(
        "cd $(sed -n 's/.*:memory:/\\/sys\\/fs\\/cgroup\\/memory/p' /proc/self/cgroup) && mkdir wide wide/a wide/b && \
         exec perl -e 'for (1..30) {{ mkdir q({name}) and chdir q({name}) or die $! }}'"
    );
    let mut spec = host.spec("a", &dig);
    spec.user = Some("nobody".to_owned());
    host.mesos.start(spec).await.expect("it starts");
    let errors = std::fs::read_to_string(host.sandbox("a").join("stderr"));
    assert_eq!(host.end().await.status, Some(0), "{errors:?}");
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_hides_from_its_supervisor_is_killed_with_the_container() {
    let Some(mut host) = Cgrouped::new("cgroups/cpu") else { return };
    // A daemon: forked twice, with a session, a parent and an environment of its own.
    let daemon = "(setsid env -i /bin/sh -c 'echo $$; exec sleep 1000' &)";
    let supervisor = host.start("a", &format!("{daemon}; echo ready; sleep 1000")).await;
    host.wait_for_stdout("a", "ready").await;
    while host.stdout("a").lines().count() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let daemon = host.stdout("a").lines().find(|l| *l != "ready").expect("an id").to_owned();
    assert!(is_alive(&daemon));
    kill(supervisor.cast_signed());
    assert_eq!(host.end().await.status, None);
    assert!(!is_alive(&daemon));
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn cpus_are_shares_and_quota() {
    let Some(host) = Cgrouped::new("cgroups/cpu") else { return };
    let check = |id: &str, shares: &str, weight: &str, quota: &str| {
        if host.is_v2("cpu") {
            let quota = if quota == "-1" { "max" } else { quota };
            assert_eq!(host.file("cpu", id, "cpu.weight"), weight);
            assert_eq!(host.file("cpu", id, "cpu.max"), format!("{quota} 100000"));
        } else {
            assert_eq!(host.file("cpu", id, "cpu.shares"), shares);
            assert_eq!(host.file("cpu", id, "cpu.cfs_quota_us"), quota);
        }
    };
    host.start_with("none", "sleep 1000", &[("cpus", 2.5)], &[]).await;
    check("none", "2560", "250", "-1");
    host.start_with("limit", "sleep 1000", &[("cpus", 0.5)], &[("cpus", 1.5)]).await;
    check("limit", "512", "50", "150000");
    let infinite = [("cpus", f64::INFINITY)];
    host.start_with("infinite", "sleep 1000", &[("cpus", 0.001)], &infinite).await;
    check("infinite", "2", "1", "-1");
    // What it may use changes while it runs.
    host.mesos.update("none", vec![scalar("cpus", 1.0)], map(&[("cpus", 2.0)]));
    host.mesos.update("limit", vec![scalar("cpus", 1.0)], map(&[]));
    let file = if host.is_v2("cpu") { "cpu.max" } else { "cpu.cfs_quota_us" };
    until("no limit", || host.file("cpu", "limit", file).starts_with(['-', 'm'])).await;
    check("none", "1024", "100", "200000");
    check("limit", "1024", "100", "-1");
}

#[tokio::test]
async fn a_busy_container_is_held_back_and_its_times_are_counted() {
    let Some(mut host) = Cgrouped::with("cgroups/cpu", |options| {
        options.enable_cfs = true;
        options.count_threads = true;
    }) else {
        return;
    };
    let supervisor = host.start_with("a", "while :; do :; done", &[("cpus", 0.2)], &[]).await;
    // The kernel adds the time when it is over.
    let is_held = |used: &ResourceStatistics| {
        used.cpus_throttled_time_secs() > 0.0 && used.cpus_user_time_secs() > 0.0
    };
    let used = found("held back", || Some(host.usage("a", supervisor)).filter(is_held)).await;
    assert!(used.cpus_nr_throttled() > 0, "{used:?}");
    assert!(used.processes() >= 1 && used.threads() >= used.processes(), "{used:?}");
    host.mesos.destroy("a");
    host.end().await;
}

#[tokio::test]
async fn events_in_a_container_are_counted_also_by_the_agent_that_comes_after() {
    let events = |events: &'static [&'static str]| {
        move |options: &mut Options| {
            options.perf = PerfOptions {
                events: events.iter().map(|e| (*e).to_owned()).collect(),
                interval: Duration::from_millis(100),
                duration: Duration::from_millis(50),
            };
        }
    };
    let known = events(&["task-clock", "page-faults", "context-switches"]);
    let Some(mut host) = Cgrouped::with("cgroups/perf_event", known) else { return };
    let busy = "while :; do cat /dev/null; done";
    let supervisor = host.start("busy", busy).await;
    let idle = host.start("idle", "exec sleep 1000").await;
    async fn sample(
        host: &Host,
        id: &str,
        supervisor: u32,
        holds: impl Fn(&v1::PerfStatistics) -> bool,
    ) -> v1::PerfStatistics {
        let running = [Running { container_id: id.to_owned(), supervisor }];
        found("a sample", || host.mesos.usage(&running).remove(0).perf.filter(&holds)).await
    }
    for _ in 0..2 {
        // Where processes wait for a processor, not each sample has seen them run.
        let has_run = |perf: &v1::PerfStatistics| perf.task_clock() > 0.0 && perf.page_faults() > 0;
        let busy = sample(&host, "busy", supervisor, has_run).await;
        assert!(busy.duration >= 0.05 && busy.timestamp > 0.0, "{busy:?}");
        assert_eq!(busy.cycles, None, "{busy:?}");
        // In milliseconds, on all cpus.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        assert!(busy.task_clock() < busy.duration * 1500.0 * cpus, "{busy:?}");
        // It has been executed in one of the first samples.
        sample(&host, "idle", idle, |perf| perf.task_clock() < 1.0).await;
        host.host = host.next();
        assert_eq!(host.mesos.recover().await.expect("recovery").len(), 2);
    }
    for id in ["busy", "idle"] {
        host.mesos.destroy(id);
        host.end().await;
    }
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[test]
fn what_can_not_be_counted_is_refused() {
    let refusal = |events: &[&str], interval: u64| {
        let perf = PerfOptions {
            events: events.iter().map(|e| (*e).to_owned()).collect(),
            interval: Duration::from_secs(interval),
            duration: Duration::from_secs(10),
        };
        let options = Options { perf, ..Default::default() };
        let selection = Selection::new("cgroups/perf_event", Some(Launcher::Linux), options);
        selection.expect("a name").check_cgroups().expect_err("refused")
    };
    let needs = "isolator 'cgroups/perf_event' needs --perf_events";
    let longer = "--perf_duration must not be longer than --perf_interval";
    let near = "--perf_events: there is no event 'cycle'; did you mean 'cycles'?";
    // Without any cgroups that is said first.
    let expect = |events: &[&str], interval, text: &str| {
        let refusal = refusal(events, interval);
        assert!(refusal == text || refusal.contains("cgroups"), "{refusal}");
    };
    expect(&[], 60, needs);
    expect(&["task-clock"], 5, longer);
    expect(&["cycle"], 60, near);
}

#[tokio::test]
async fn a_fork_bomb_takes_no_more_processes_than_it_may() {
    let Some(mut host) =
        Cgrouped::with("cgroups/pids", |options| options.pids_limit = PidsLimit::Count(50))
    else {
        return;
    };
    host.start("bomb", "b() { b | b & }; b; echo lit; sleep 1000").await;
    host.wait_for_stdout("bomb", "lit").await;
    host.start("other", "exit 4").await;
    assert_eq!(host.end().await.status, Some(4 << 8));
    let count: u32 = host.file("pids", "bomb", "pids.current").parse().expect("a number");
    assert!(count <= 50, "{count}");
    host.mesos.destroy("bomb");
    assert_eq!(host.end().await.container_id, "bomb");
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn zombies_go_with_their_container() {
    let Some(mut host) = Cgrouped::new("cgroups/cpu") else { return };
    // The shell becomes a program that never waits for its children.
    host.start("a", "for i in 1 2 3 4 5 6 7 8; do sh -c : & done; echo ready; exec sleep 1000")
        .await;
    host.wait_for_stdout("a", "ready").await;
    host.mesos.destroy("a");
    assert_eq!(host.end().await.status, Some(9));
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn only_common_devices_can_be_opened() {
    let Some(mut host) = Cgrouped::new("cgroups/devices") else { return };
    let open = "open() { if (: <$1) 2>/dev/null; then echo $1 yes; else echo $1 no; fi; }; ";
    let make = "mknod node c 1 11 && open ./node; mknod zero c 1 5 && open ./zero; ";
    host.start("a", &format!("{open}open /dev/null; open /dev/urandom; {make} exit 0")).await;
    assert_eq!(host.end().await.status, Some(0));
    assert_eq!(host.stdout("a"), "/dev/null yes\n/dev/urandom yes\n./node no\n./zero yes\n");
}

#[tokio::test]
async fn what_is_read_and_written_is_told_by_device() {
    let Some(mut host) = Cgrouped::new("cgroups/blkio") else { return };
    let command =
        "dd if=/dev/zero of=file bs=1M count=4 conv=fsync 2>/dev/null; echo written; sleep 1000";
    let supervisor = host.start("a", command).await;
    host.wait_for_stdout("a", "written").await;
    let used = host.usage("a", supervisor).blkio_statistics.expect("statistics");
    assert!(used.throttling.iter().any(|s| s.device.is_none()), "{used:?}");
    host.mesos.destroy("a");
    host.end().await;
}

#[tokio::test]
async fn cgroups_of_a_former_agent_are_taken_over_and_those_of_others_left_alone() {
    let Some(mut host) = Cgrouped::new("cgroups/mem") else { return };
    let stranger = testkit::cluster::temporary_directory();
    let selection = Selection::new("cgroups/mem", Some(Launcher::Linux), host.options.clone());
    let mut other = Host::with(stranger, selection.expect("as before"));
    other.start("theirs", "sleep 1000").await;
    host.start("runs", "while [ ! -e gate ]; do sleep 0.02; done; exit 5").await;
    let hog =
        "while [ ! -e gate ]; do sleep 0.02; done; x=0123456789abcdef; while :; do x=$x$x; done";
    host.start_with("hog", hog, &[("mem", 32.0)], &[]).await;
    // Nobody knows this one any more.
    let pid = host.start("forgotten", "exec sleep 1000").await;
    std::fs::remove_dir_all(host.directory.join("run/containers/forgotten")).expect("removed");

    // The agent is gone, and meanwhile one takes too much.
    host.host.exits.close();
    std::fs::write(host.sandbox("hog").join("gate"), "").expect("the gate opens");
    let lock = host.directory.join("run/containers/hog/lock");
    let ended = || std::fs::read_to_string(&lock).ok().filter(|text| text.lines().count() == 2);
    assert!(found("its end", ended).await.ends_with(" oom\n"));
    let mut next = host.next();
    let mut found = next.mesos.recover().await.expect("recovery");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    let ids: Vec<&str> = found.iter().map(|f| f.container_id.as_str()).collect();
    assert_eq!(ids, ["hog", "runs"]);
    until("the end of its supervisor", || !is_alive(&pid.to_string())).await;
    let names = |paths: Vec<PathBuf>| {
        let names = paths.iter().map(|p| p.file_name().expect("a name").to_owned());
        let mut names: Vec<String> = names.map(|n| n.into_string().expect("text")).collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names(host.left()), ["runs", "theirs"]);
    std::fs::write(next.sandbox("runs").join("gate"), "").expect("the gate opens");
    assert_eq!(next.exit().await, ("runs".to_owned(), Some(5 << 8)));
    other.mesos.destroy("theirs");
    other.exit().await;
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_runs_inside_a_container_uses_its_cgroups_and_dies_alone_or_with_it() {
    let Some(mut host) = Cgrouped::new("cgroups/mem,cgroups/cpu") else { return };
    host.start_with("a", "sleep 1000", &[("cpus", 0.5), ("mem", 64.0)], &[]).await;
    let inside = |id: &str| containerizer::ContainerSpec {
        parent: Some("a".to_owned()),
        ..host.spec(id, "cat /proc/self/cgroup; echo ready; sleep 1000")
    };
    for id in ["b", "c"] {
        host.mesos.start(inside(id)).await.expect("it starts");
        host.wait_for_stdout(id, "ready").await;
    }
    let own = format!("/{}/a/mesos/b", host.options.root);
    let around = format!("/{}/a", host.options.root);
    let lines: Vec<String> = host.stdout("b").lines().map(str::to_owned).collect();
    let in_it = |controller: &str| {
        let line = lines.iter().find(|l| l.split(':').nth(1) == Some(controller));
        line.expect("the controller is there").ends_with(&around)
    };
    assert!(host.is_v2("memory") || in_it("memory") && in_it("cpu"), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with(&own)), "{lines:?}");
    host.mesos.destroy("b");
    assert_eq!(host.exit().await, ("b".to_owned(), Some(9)));
    let mut next = host.next();
    assert_eq!(next.mesos.recover().await.expect("recovery").len(), 3);
    next.mesos.forget("b");
    next.mesos.destroy("a");
    assert_eq!(next.exit().await, ("c".to_owned(), Some(9)));
    assert_eq!(next.exit().await, ("a".to_owned(), Some(9)));
    assert_eq!(host.left(), Vec::<PathBuf>::new());
}
