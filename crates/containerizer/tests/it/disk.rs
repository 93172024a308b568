//! Isolator `disk/du`.

use super::*;
use containerizer::isolation::{Launcher, Running};
use serde_json::json;
use wire::v1::task_status::Reason;

fn host_at(directory: PathBuf, enforced: bool) -> Host {
    Host::with_options(directory, |options| {
        options.isolation = Selection::new("disk/du", Some(Launcher::Posix), Default::default())
            .expect("isolators");
        options.settings.disk_watch_interval = Duration::from_millis(100);
        options.settings.enforce_disk_quota = enforced;
    })
}

fn disk(megabytes: f64) -> wire::v1::Resource {
    let text = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": megabytes}});
    wire::json::from_value(&text).expect("a resource")
}

/// A container that writes three megabytes, and may use two of its sandbox.
fn filler(host: &Host) -> ContainerSpec {
    let command = "head -c 3145728 /dev/zero > big; echo full; sleep 1000";
    ContainerSpec { resources: vec![disk(2.0)], ..host.spec("a", command) }
}

#[tokio::test]
async fn who_takes_too_much_is_ended_for_it() {
    let mut host = host_at(testkit::cluster::temporary_directory(), true);
    let spec = ContainerSpec { resources: vec![disk(2.0)], ..host.spec("small", "sleep 1000") };
    host.mesos.start(spec).await.expect("it starts");
    host.mesos.start(filler(&host)).await.expect("it starts");
    let ended = tokio::time::timeout(Duration::from_secs(30), host.exits.recv()).await;
    let ended = ended.expect("an end in time").expect("an end");
    assert_eq!((ended.container_id.as_str(), ended.status), ("a", Some(9)));
    let limitation = ended.limitation.expect("a reason");
    assert_eq!(limitation.reason, Reason::ContainerLimitationDisk);
    let text = &limitation.message;
    assert!(text.starts_with("Disk usage (3") && text.ends_with(") exceeds quota (2MB)"), "{text}");
    assert_eq!(limitation.resources, [disk(2.0)]);
    host.mesos.destroy("small");
    assert_eq!(host.exit().await.0, "small");
    std::fs::remove_dir_all(&host.directory).expect("removed");
}

#[tokio::test]
async fn a_volume_has_a_limit_of_its_own_and_does_not_count_in_the_sandbox() {
    let directory = testkit::cluster::temporary_directory();
    let mut host = host_at(directory.clone(), true);
    let path = directory.join("volume");
    std::fs::create_dir(&path).expect("a directory");
    let mut volume = disk(1.0);
    let info =
        json!({"persistence": {"id": "p"}, "volume": {"container_path": "data", "mode": "RW"}});
    volume.disk = Some(Box::new(wire::json::from_value(&info).expect("a volume")));
    let command = "head -c 2097152 /dev/zero > data/big; sleep 1000";
    let spec = ContainerSpec {
        resources: vec![volume.clone(), disk(1.0)],
        volumes: vec![containerizer::MountedVolume {
            path: path.display().to_string(),
            container_path: "data".into(),
            exclusive: true,
            read_only: false,
        }],
        ..host.spec("a", command)
    };
    host.mesos.start(spec).await.expect("it starts");
    let ended = tokio::time::timeout(Duration::from_secs(30), host.exits.recv()).await;
    let limitation = ended.expect("an end in time").expect("an end").limitation;
    assert_eq!(limitation.expect("a reason").resources, [volume]);
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[tokio::test]
async fn the_reason_outlives_the_agent_and_without_enforcement_it_is_only_told() {
    let directory = testkit::cluster::temporary_directory();
    let host = host_at(directory.clone(), false);
    let supervisor = host.mesos.start(filler(&host)).await.expect("it starts").pid;
    host.wait_for_stdout("a", "full").await;
    let running = [Running { container_id: "a".into(), supervisor }];
    let usage = || Some(host.mesos.usage(&running).remove(0));
    let told = found("its use", || usage().filter(|u| u.disk_used_bytes() > 3 << 20)).await;
    assert_eq!(told.disk_limit_bytes(), 2 << 20);
    drop(host);
    // The next run of the agent enforces it, and knows the limit from the one before.
    let mut host = host_at(directory.clone(), true);
    let found = host.mesos.recover().await.expect("found").remove(0);
    assert!(found.pid.is_some());
    let path = directory.join("run/containers/a/limitation");
    until("the file", || path.exists()).await;
    let ended = tokio::time::timeout(Duration::from_secs(30), host.exits.recv()).await;
    assert!(ended.expect("an end in time").expect("an end").limitation.is_some());
    // And so does the one after it, which only finds the end.
    let host = host_at(directory.clone(), true);
    let found = host.mesos.recover().await.expect("found").remove(0);
    assert_eq!((found.pid, found.status), (None, Some(9)));
    let limitation = found.limitation.expect("a reason");
    assert_eq!(limitation.reason, Reason::ContainerLimitationDisk);
    host.mesos.forget("a");
    std::fs::remove_dir_all(&directory).expect("removed");
}
