//! Disk quotas by projects, on a file system in a file; skipped where the kernel has none of the two that can.

use super::*;
use containerizer::MountedVolume;
use containerizer::isolation::{Launcher, ProjectOptions, Settings, cgroups};
use serde_json::json;
use std::process::Command;
use wire::v1;

const MEGABYTE: u64 = 1 << 20;
/// Size of the file system: the least that xfs takes.
const SIZE: u64 = 320 * MEGABYTE;

/// A file system with project quotas, mounted until it is dropped.
struct Disk {
    mount: PathBuf,
    /// Not even root can write beyond a limit.
    holds_root: bool,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

impl Disk {
    /// None, and a word about it, if this host can't have one.
    fn new(kind: &str, make: &[&str]) -> Option<Self> {
        let directory = testkit::cluster::temporary_directory();
        let (file, mount) = (directory.join("image"), directory.join("mount"));
        std::fs::create_dir(&mount).expect("a directory");
        let image = std::fs::File::create(&file).expect("an image");
        image.set_len(SIZE).expect("an image");
        let run = |program: &str, arguments: &[&str], paths: &[&Path]| {
            let made = Command::new(program).args(arguments).args(paths).output();
            made.is_ok_and(|made| made.status.success())
        };
        if !run(make[0], &make[1..], &[&file]) {
            eprintln!("skipped: there is no {} here", make[0]);
            return None;
        }
        if !run("mount", &["-t", kind, "-o", "loop,prjquota"], &[&file, &mount]) {
            eprintln!(
                "skipped: this kernel, or who runs it, can't mount {kind} with project quotas"
            );
            return None;
        }
        Some(Self { mount, holds_root: kind == "xfs" })
    }

    fn host(&self, kill: bool) -> Host {
        let names = "posix/cpu,disk/xfs";
        let selection = Selection::new(names, Some(Launcher::Posix), cgroups::Options::default());
        Host::with_options(self.mount.clone(), |options| {
            options.isolation = selection.expect("isolators");
            options.settings = Settings {
                enforce_disk_quota: true,
                disk_watch_interval: Duration::from_millis(20),
                projects: ProjectOptions { range: (7001, 7003), kill, headroom: 8 * MEGABYTE },
                ..Settings::default()
            };
        })
    }
}

fn disks() -> Vec<Disk> {
    let xfs = Disk::new("xfs", &["mkfs.xfs", "-q"]);
    let features = ["mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"];
    let ext4 = Disk::new("ext4", &features);
    xfs.into_iter().chain(ext4).collect()
}

fn disk(megabytes: f64) -> v1::Resource {
    let resource = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": megabytes}});
    wire::json::from_value(&resource).expect("a resource")
}

fn used(host: &Host, id: &str, supervisor: u32) -> v1::ResourceStatistics {
    let running = containerizer::isolation::Running { container_id: id.to_owned(), supervisor };
    host.mesos.usage(&[running]).remove(0)
}

#[tokio::test]
async fn writes_beyond_the_limit_fail_and_what_is_used_is_known_at_once() {
    for disk_file in disks() {
        let mut host = disk_file.host(false);
        let volume = disk_file.mount.join("volume");
        std::fs::create_dir(&volume).expect("a volume");
        std::fs::write(volume.join("old"), vec![1; MEGABYTE as usize]).expect("a file");
        // The output is in the sandbox too: it needs some room.
        let command = "dd if=/dev/zero of=room bs=64k count=1 2>/dev/null; \
                       dd if=/dev/zero of=big bs=1M count=20 2>/dev/null; rm room; \
                       dd if=/dev/zero of=data/more bs=1M count=2 2>/dev/null; \
                       sync; stat -c %s big data/more; echo ready; sleep 1000";
        let mut spec = host.spec("a", command);
        let mut of_volume = disk(4.0);
        let disk_info = json!({"persistence": {"id": "p"},
            "volume": {"container_path": "data", "mode": "RW"}});
        of_volume.disk = Some(Box::new(wire::json::from_value(&disk_info).expect("a disk")));
        spec.resources = vec![disk(8.0), of_volume];
        spec.user = Some("nobody".to_owned());
        spec.volumes = vec![MountedVolume {
            path: volume.display().to_string(),
            container_path: "data".to_owned(),
            exclusive: true,
            read_only: false,
        }];
        let pid = host.mesos.start(spec).await.expect("it starts").pid;
        host.wait_for_stdout("a", "ready").await;
        let out = host.stdout("a");
        let sizes: Vec<u64> = out.lines().filter_map(|line| line.parse().ok()).collect();
        assert!(sizes[0] < 8 * MEGABYTE && sizes[1] == 2 * MEGABYTE, "{out}");
        let seen = used(&host, "a", pid);
        assert_eq!(seen.disk_limit_bytes, Some(8 * MEGABYTE));
        let taken = seen.disk_used_bytes.expect("a figure");
        assert!(taken > 7 * MEGABYTE && taken <= 8 * MEGABYTE, "{taken}");
        let [of_volume] = &seen.disk_statistics[..] else { panic!("{seen:?}") };
        assert_eq!(of_volume.limit_bytes, Some(4 * MEGABYTE));
        // What was there before counts too.
        let taken = of_volume.used_bytes.expect("a figure");
        assert!((3 * MEGABYTE..4 * MEGABYTE).contains(&taken), "{taken}");
        host.mesos.destroy("a");
        host.exit().await;
    }
}

#[tokio::test]
async fn who_takes_too_much_is_ended_if_that_is_asked_for() {
    for disk_file in disks() {
        is_ended(&disk_file, true).await;
        if !disk_file.holds_root {
            is_ended(&disk_file, false).await;
        }
    }
}

async fn is_ended(disk_file: &Disk, kill: bool) {
    let host = disk_file.host(kill);
    let id = format!("kill-{kill}");
    let mut spec = host.spec(&id, "dd if=/dev/zero of=big bs=1M count=12; sleep 1000");
    spec.resources = vec![disk(8.0)];
    host.mesos.start(spec).await.expect("it starts");
    drop(host);
    // The next agent sees it.
    let mut host = disk_file.host(kill);
    host.mesos.recover().await.expect("recovery");
    let exited = tokio::time::timeout(Duration::from_secs(30), host.exits.recv()).await;
    let limitation = exited.expect("an end in time").expect("an end").limitation;
    let limitation = limitation.expect("a reason");
    assert_eq!(limitation.reason, v1::task_status::Reason::ContainerLimitationDisk);
    let message = &limitation.message;
    let is_it = message.starts_with("Disk usage (") && message.ends_with(") exceeded quota (8MB)");
    assert!(is_it, "{message}");
}

#[tokio::test]
async fn numbers_of_projects_are_given_again_when_nothing_has_them_any_more() {
    for disk_file in disks() {
        let mut host = disk_file.host(false);
        for id in ["a", "b", "c"] {
            let mut spec = host.spec(id, "true");
            spec.resources = vec![disk(8.0)];
            host.mesos.start(spec).await.expect("it starts");
            host.exit().await;
        }
        let mut spec = host.spec("d", "true");
        spec.resources = vec![disk(8.0)];
        let refused = host.mesos.start(spec.clone()).await;
        let text = "disk/xfs: no project is left: all of --xfs_project_range=[7001-7003] are taken";
        assert_eq!(refused, Err(StartError::Launch(text.to_owned())));
        let figures = || {
            let figures: std::collections::BTreeMap<_, _> =
                host.mesos.figures().into_iter().collect();
            ["total", "free"]
                .map(|name| figures[&*format!("containerizer/mesos/disk/project_ids_{name}")])
        };
        assert_eq!(figures(), [3, 0]);
        std::fs::remove_dir_all(host.sandbox("b")).expect("removed");
        assert_eq!(figures(), [3, 1]);
        // Another agent knows them too.
        let mut host = disk_file.host(false);
        host.mesos.start(spec).await.expect("it starts");
        host.exit().await;
    }
}

#[tokio::test]
async fn a_file_system_without_project_quotas_is_refused() {
    let directory = testkit::cluster::temporary_directory();
    let selection = Selection::new("disk/xfs", Some(Launcher::Posix), cgroups::Options::default());
    let options = MesosOptions { isolation: selection.expect("isolators"), ..options(&directory) };
    let text = Mesos::new(&options).expect_err("refused").to_string();
    assert!(text.contains("has no project quotas") || text.contains("runs as root"), "{text}");
    let both =
        Selection::new("disk/xfs,disk/du", Some(Launcher::Posix), cgroups::Options::default());
    assert_eq!(both, Err("isolators 'disk/du' and 'disk/xfs' exclude each other".to_owned()));
}
