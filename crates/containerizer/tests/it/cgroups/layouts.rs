//! Hosts with other hierarchies, and agents that do not come back.

use super::*;

#[tokio::test]
async fn without_version_2_the_freezer_kills() {
    if !std::fs::exists("/sys/fs/cgroup/freezer/tasks").unwrap_or(false) {
        eprintln!("skipped: this host has no freezer of version 1");
        return;
    }
    let hierarchy = testkit::cluster::temporary_directory();
    for name in ["freezer", "cpu", "cpuacct"] {
        let mount = std::path::Path::new("/sys/fs/cgroup").join(name);
        std::os::unix::fs::symlink(mount, hierarchy.join(name)).expect("a link");
    }
    let change = |options: &mut Options| options.hierarchy.clone_from(&hierarchy);
    let Some(mut host) = Cgrouped::with("cgroups/cpu", change) else { return };
    let hidden =
        "(setsid env -i /bin/sh -c 'while :; do /bin/sleep 0.01; done' &); echo ready; sleep 1000";
    host.start("a", hidden).await;
    host.wait_for_stdout("a", "ready").await;
    let supervisor = host.start("b", hidden).await;
    host.wait_for_stdout("b", "ready").await;
    assert_eq!(host.hierarchies().layout(), "v1");
    host.mesos.destroy("a");
    assert_eq!(host.exit().await, ("a".to_owned(), Some(9)));
    kill(supervisor.cast_signed());
    assert_eq!(host.exit().await, ("b".to_owned(), None));
    assert_eq!(host.left(), Vec::<PathBuf>::new());
    let _ = std::fs::remove_dir_all(hierarchy);
}

/// A hierarchy of one controller, mounted for a test.
struct Hierarchy {
    controller: &'static str,
    path: PathBuf,
}

impl Hierarchy {
    fn mount(controller: &'static str, path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).expect("a directory");
        let hierarchy = Self { controller, path };
        hierarchy.mount_again().then_some(hierarchy)
    }

    fn mount_again(&self) -> bool {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "cgroup", "-o", self.controller, "none"]).arg(&self.path);
        mount.output().is_ok_and(|out| out.status.success())
    }

    /// Whether the kernel has it, mounted or not.
    fn is_there(&self) -> bool {
        let all = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let line = all.lines().find(|line| line.split('\t').next() == Some(self.controller));
        line.is_some_and(|line| line.split('\t').nth(1) != Some("0"))
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        // One that still has cgroups when it is unmounted stays, and disturbs whoever looks at all of them.
        for _ in 0..100 {
            remove_below(&self.path);
            let _ = std::process::Command::new("umount").arg(&self.path).output();
            std::thread::sleep(Duration::from_millis(50));
            if !self.is_there() {
                return;
            }
            self.mount_again();
        }
        eprintln!("the hierarchy of '{}' stays", self.controller);
    }
}

fn remove_below(directory: &std::path::Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

#[tokio::test]
async fn each_container_has_a_network_class_of_its_own() {
    let _alone = crate::HIERARCHIES.write().await;
    let directory = testkit::cluster::temporary_directory();
    let is_mountable = std::path::Path::new("/sys/fs/cgroup/freezer/tasks").exists()
        && !std::path::Path::new("/sys/fs/cgroup/net_cls").exists();
    let _mount = match Hierarchy::mount("net_cls", directory.join("net_cls")) {
        Some(mount) if is_mountable => mount,
        _ => {
            eprintln!("skipped: 'net_cls' can't be mounted here");
            return;
        }
    };
    std::os::unix::fs::symlink("/sys/fs/cgroup/freezer", directory.join("freezer"))
        .expect("a link");
    let change = |options: &mut Options| {
        options.hierarchy.clone_from(&directory);
        let classes = NetworkClasses::parse("0x0012", Some("0x0001,0x0002"));
        options.network_classes = Some(classes.expect("handles"));
    };
    let Some(mut host) = Cgrouped::with("cgroups/net_cls", change) else { return };
    let class = |started: containerizer::Started| started.appearance?.network_class;
    let spec = |id: &str| host.spec(id, "sleep 1000");
    let first = host.mesos.start(spec("a")).await.expect("it starts");
    let second = host.mesos.start(spec("b")).await.expect("it starts");
    assert_eq!([class(first), class(second)], [Some(0x0012_0001), Some(0x0012_0002)]);
    assert_eq!(host.file("net_cls", "b", "net_cls.classid"), 0x0012_0002.to_string());
    let refused = host.mesos.start(spec("c")).await.expect_err("there is none left");
    assert!(
        matches!(&refused, StartError::Launch(text) if text.contains("secondary_handles")),
        "{refused:?}"
    );
    // The next agent knows who has which.
    let mut next = host.next();
    let found = next.mesos.recover().await.expect("recovery");
    let known = |id: &str| {
        let found = found.iter().find(|f| f.container_id == id)?;
        found.appearance.as_ref()?.network_class
    };
    assert_eq!([known("a"), known("b")], [Some(0x0012_0001), Some(0x0012_0002)]);
    next.mesos.destroy("a");
    assert_eq!(next.exit().await.0, "a");
    let third = next.mesos.start(spec("d")).await.expect("it starts");
    assert_eq!(class(third), Some(0x0012_0001));
    for id in ["b", "d"] {
        next.mesos.destroy(id);
        next.exit().await;
    }
    host.host.exits.close();
}

#[tokio::test]
async fn the_cgroups_of_a_container_whose_agent_does_not_come_back_are_removed() {
    let Some(host) = Cgrouped::new("cgroups/cpu") else { return };
    let launch = || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let agent = host.next();
            let mut spec = agent.spec("a", "sleep 1000");
            spec.recovery_timeout = Duration::ZERO;
            spec.shutdown_grace_period = Duration::ZERO;
            agent.mesos.start(spec).await.expect("it starts");
            assert!(!host.left().is_empty());
        });
    };
    std::thread::scope(|scope| scope.spawn(launch).join().expect("no panic"));
    until("their removal", || host.left().is_empty()).await;
}
