//! Volumes of tasks that join a container which runs.

use super::*;
use containerizer::MountedVolume;

/// Shows the directory `volumes/<name>`, which is made with a file in it.
fn volume(host: &Host, name: &str, container_path: &str, read_only: bool) -> MountedVolume {
    let path = host.directory.join("volumes").join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    std::fs::write(path.join("name"), name).expect("a file");
    let path = path.display().to_string();
    MountedVolume { path, container_path: container_path.to_owned(), exclusive: true, read_only }
}

/// Runs lines of its standard input, one after the other, and says when each is done.
const SHELL: &str = "echo ready; while [ ! -e end ]; do if [ -e line ]; then mv line now; . ./now; fi; sleep 0.01; done";

async fn says(host: &Host, number: u32, line: &str, expected: &str) {
    let sandbox = host.sandbox("a");
    std::fs::write(sandbox.join("new"), format!("echo {number} $({line})\n")).expect("a line");
    std::fs::rename(sandbox.join("new"), sandbox.join("line")).expect("renamed");
    host.wait_for_stdout("a", &format!("{number} {expected}")).await;
}

async fn comes_and_goes(isolation: &str, in_root: bool) {
    let Some(host) = host(isolation) else { return };
    let is_mount = isolation != "filesystem/posix";
    let mut spec = match in_root {
        true => host.spec_in_rootfs("a", SHELL),
        false => host.spec("a", SHELL),
    };
    spec.user = is_root().then(|| "nobody".to_owned());
    host.mesos.start(spec).await.expect("it starts");
    host.wait_for_stdout("a", "ready").await;
    let sandbox = host.sandbox("a");
    let (data, read) =
        (volume(&host, "data", "data", false), volume(&host, "read", "x/read", true));
    says(&host, 1, "cat data/name 2>/dev/null || echo none", "none").await;
    for volume in [&data, &read] {
        host.mesos.show_volume("a", &sandbox, volume).expect("shown");
    }
    says(&host, 2, "cat data/name x/read/name; touch data/made && echo wrote", "datareadwrote")
        .await;
    assert!(Path::new(&data.path).join("made").exists());
    if is_mount {
        says(&host, 3, "touch x/read/made 2>/dev/null || echo read-only", "read-only").await;
        host.assert_no_mounts();
    }
    // Once more is not too much, and another agent finds it there too.
    let mut next = Host::isolated(host.directory.clone(), isolation, Settings::default());
    next.mesos.recover().await.expect("recovered");
    next.mesos.show_volume("a", &sandbox, &data).expect("shown");
    for volume in [&data, &read, &data] {
        next.mesos.hide_volume("a", &sandbox, volume).expect("hidden");
    }
    says(&host, 4, "cat data/name x/read/name 2>/dev/null || echo none", "none").await;
    assert!(Path::new(&data.path).join("made").exists());
    // What it has of its own is not taken for a volume.
    says(&host, 5, "mkdir -p own && echo made", "made").await;
    let own = volume(&host, "own", "own", false);
    next.mesos.hide_volume("a", &sandbox, &own).expect("nothing to hide");
    says(&host, 6, "test -d own && echo there", "there").await;

    // No link leads out of the sandbox.
    says(&host, 7, "ln -s / way && echo made", "made").await;
    let mut out = volume(&host, "out", "way/tmp", false);
    let error = next.mesos.show_volume("a", &sandbox, &out).expect_err("refused");
    assert!(error.contains("way/tmp"), "{error}");
    "../out".clone_into(&mut out.container_path);
    let error = next.mesos.show_volume("a", &sandbox, &out).expect_err("refused");
    assert!(error.contains("without '..'"), "{error}");
    std::fs::write(sandbox.join("end"), "").expect("a file");
    let ended = tokio::time::timeout(Duration::from_secs(30), next.exits.recv()).await;
    let ended = ended.expect("an end in time").expect("an end");
    let limitation = ended.limitation.expect("it has less than it should");
    assert_eq!(limitation.reason, v1::task_status::Reason::ContainerUpdateFailed);
    assert!(limitation.message.starts_with("Failed to update resources for container: "));
    let error = next.mesos.show_volume("a", &sandbox, &data).expect_err("it has ended");
    assert!(error.contains("the container has ended"), "{error}");
    next.mesos.hide_volume("a", &sandbox, &data).expect("nothing to hide");
}

#[tokio::test]
async fn a_volume_comes_to_a_root_file_system_and_goes() {
    comes_and_goes(LINUX, true).await;
}

#[tokio::test]
async fn a_volume_comes_to_a_container_with_the_hosts_files_and_goes() {
    comes_and_goes("filesystem/linux", false).await;
}

#[tokio::test]
async fn a_volume_is_a_link_where_nothing_is_mounted() {
    comes_and_goes("filesystem/posix", false).await;
}
