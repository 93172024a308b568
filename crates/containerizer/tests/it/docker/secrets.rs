//! Secrets of containers of Docker's, as files, on a real engine.

use super::Node;
use std::path::Path;
use testkit::docker::DockerEngine;
use wire::v1;

fn volume(container_path: &str, secret: &str) -> v1::Volume {
    let secret = v1::Secret {
        r#type: Some(v1::secret::Type::Value as i32),
        value: Some(v1::secret::Value { data: secret.as_bytes().to_vec() }),
        ..Default::default()
    };
    v1::Volume {
        mode: v1::volume::Mode::Ro as i32,
        container_path: container_path.to_owned(),
        source: Some(v1::volume::Source {
            r#type: Some(v1::volume::source::Type::Secret as i32),
            secret: Some(secret),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn secrets_are_files_that_reach_no_disk() {
    let Some(engine) = DockerEngine::start() else { return };
    let directory = Path::new("/dev/shm")
        .join(testkit::cluster::temporary_directory().file_name().expect("a name"));
    std::fs::create_dir_all(&directory).expect("a directory in memory");
    let mut node = Node::new(&engine.socket(), &directory).await;
    let line = "cat /etc/key; cat $MESOS_SANDBOX/token; touch /etc/key || echo read-only; \
                while [ ! -e $MESOS_SANDBOX/gate ]; do sleep 0.05; done; cat /etc/key";
    let mut spec = node.spec("a", line);
    let container = spec.container.as_mut().expect("it was made with one");
    container.volumes = vec![volume("/etc/key", "hush\n"), volume("token", "sesame\n")];
    node.run(spec).await;
    node.wait_for_line("a", "read-only").await;
    let kept = directory.join("run/docker-secrets");
    assert_eq!(kept.read_dir().expect("a directory").count(), 0);
    // Another agent changes nothing of it.
    node = node.restarted().await;
    node.recover().await;
    std::fs::write(node.sandbox("a").join("gate"), "").expect("a file");
    assert_eq!(node.exit().await, ("a".to_owned(), Some(0)), "{}", node.output("a", "stderr"));
    assert_eq!(node.output("a", "stdout"), "hush\nsesame\nread-only\nhush\n");
    assert_eq!(std::fs::read(node.sandbox("a").join("token")).expect("a place"), b"");
    drop(node);
    std::fs::remove_dir_all(&directory).expect("removed");

    let Some(directory) = on_disk() else { return };
    let node = Node::new(&engine.socket(), &directory).await;
    let mut spec = node.spec("b", "true");
    let container = spec.container.as_mut().expect("it was made with one");
    container.volumes = vec![volume("/etc/key", "hush")];
    let text = node.refused(spec).await;
    assert!(text.contains("need --runtime_dir on a tmpfs"), "{text}");
    drop(node);
    std::fs::remove_dir_all(&directory).expect("removed");
}

/// A directory that is on a disk, if this host has one.
fn on_disk() -> Option<std::path::PathBuf> {
    let place = Path::new("/var/tmp");
    let kind = std::process::Command::new("stat").args(["-f", "-c", "%T"]).arg(place).output();
    let kind = String::from_utf8_lossy(&kind.ok()?.stdout).trim().to_owned();
    if matches!(kind.as_str(), "tmpfs" | "ramfs") {
        eprintln!("skipped: {} is in memory", place.display());
        return None;
    }
    let name = testkit::cluster::temporary_directory();
    let directory = place.join(name.file_name()?);
    std::fs::create_dir_all(&directory).ok()?;
    Some(directory)
}
