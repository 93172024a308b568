//! Volumes and secrets of containers that share the file system of the host.

use super::*;
use v1::volume::source::{self, sandbox_path};

fn volume(container_path: &str, source: v1::volume::Source, writable: bool) -> v1::Volume {
    let mode = if writable { v1::volume::Mode::Rw } else { v1::volume::Mode::Ro };
    v1::Volume {
        mode: mode as i32,
        container_path: container_path.to_owned(),
        source: Some(source),
        ..Default::default()
    }
}

fn with(volumes: Vec<v1::Volume>) -> Option<v1::ContainerInfo> {
    container(v1::ContainerInfo { volumes, ..Default::default() })
}

fn host_path(path: &Path, propagation: Option<v1::mount_propagation::Mode>) -> v1::volume::Source {
    v1::volume::Source {
        r#type: Some(source::Type::HostPath as i32),
        host_path: Some(source::HostPath {
            path: path.display().to_string(),
            mount_propagation: propagation.map(|m| v1::MountPropagation { mode: Some(m as i32) }),
        }),
        ..Default::default()
    }
}

fn sandbox_path(kind: sandbox_path::Type, path: &str) -> v1::volume::Source {
    v1::volume::Source {
        r#type: Some(source::Type::SandboxPath as i32),
        sandbox_path: Some(source::SandboxPath {
            r#type: Some(kind as i32),
            path: path.to_owned(),
        }),
        ..Default::default()
    }
}

fn secret(value: &[u8]) -> v1::Secret {
    v1::Secret {
        r#type: Some(v1::secret::Type::Value as i32),
        value: Some(v1::secret::Value { data: value.to_vec() }),
        ..Default::default()
    }
}

#[tokio::test]
async fn files_and_directories_of_the_host() {
    let Some(mut host) = host("filesystem/linux") else { return };
    let data = host.directory.join("data");
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("file"), "content\n").expect("a file");
    let mut spec =
        host.spec("a", "cat d/file f; touch f d/x 2>/dev/null || echo read-only; ls /srv");
    spec.container = with(vec![
        volume("d", host_path(&data, None), false),
        volume("f", host_path(&data.join("file"), None), false),
        volume("/srv", host_path(&data, None), true),
    ]);
    assert_eq!(host.output(spec).await, "content\ncontent\nread-only\nfile\n");
    let mut spec = host.spec("b", "true");
    spec.container = with(vec![volume("/no/such/place", host_path(&data, None), true)]);
    let text = host.refusal(spec).await;
    assert!(text.contains("container_path '/no/such/place' must exist"), "{text}");
    let mut spec = host.spec("c", "true");
    spec.container = with(vec![volume("d", host_path(&data.join("missing"), None), true)]);
    let text = host.refusal(spec).await;
    assert!(text.contains("--host_path_volume_force_creation"), "{text}");
    assert!(!data.join("missing").exists());
}

#[tokio::test]
async fn what_is_missing_is_made_where_the_operator_wants_that() {
    let allowed = testkit::cluster::temporary_directory();
    let settings =
        Settings { host_path_force_creation: vec![allowed.clone()], ..Settings::default() };
    let Some(mut host) = host_with("filesystem/linux", settings) else { return };
    let mut spec = host.spec("a", "touch v/x");
    spec.container = with(vec![volume("v", host_path(&allowed.join("new/deep"), None), true)]);
    host.output(spec).await;
    assert!(allowed.join("new/deep/x").exists());
    let mut spec = host.spec("b", "true");
    spec.container = with(vec![volume("v", host_path(&allowed.join("../escaped/x"), None), true)]);
    host.refusal(spec).await;
}

/// A mount that goes when the test does.
struct Mounted(PathBuf);

impl Mounted {
    fn shared(path: PathBuf) -> Self {
        std::fs::create_dir(&path).expect("a directory");
        let run = |args: &[&str]| {
            let done = Command::new("mount").args(args).status().expect("mount runs");
            assert!(done.success(), "{args:?}");
        };
        let text = path.to_str().expect("text");
        run(&["-t", "tmpfs", "none", text]);
        let mounted = Self(path.clone());
        run(&["--make-shared", text]);
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-R", "-l"]).arg(&self.0).status();
    }
}

#[tokio::test]
async fn mounts_go_both_ways_only_where_that_is_asked_for() {
    let Some(mut host) = host("filesystem/linux") else { return };
    let shared = Mounted::shared(testkit::cluster::temporary_directory().join("shared"));
    std::fs::create_dir(shared.0.join("m")).expect("a directory");
    for (mode, seen) in [
        (v1::mount_propagation::Mode::Bidirectional, true),
        (v1::mount_propagation::Mode::HostToContainer, false),
    ] {
        let mut spec =
            host.spec_in_rootfs(&format!("{mode:?}"), "mount -t tmpfs none /v/m && touch /v/m/x");
        spec.container = with(vec![volume("/v", host_path(&shared.0, Some(mode)), true)]);
        host.output(spec).await;
        assert_eq!(shared.0.join("m/x").exists(), seen, "{mode:?}");
        let _ = Command::new("umount").arg(shared.0.join("m")).status();
    }
    // From the host to the container it always goes.
    let mut spec =
        host.spec("in", "echo ready; while [ ! -e v/m/x ]; do sleep 0.02; done; echo seen");
    spec.container = with(vec![volume("v", host_path(&shared.0, None), true)]);
    host.mesos.start(spec).await.expect("it starts");
    host.wait_for_stdout("in", "ready").await;
    let m = shared.0.join("m");
    let done = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&m).status();
    assert!(done.expect("mount runs").success());
    std::fs::write(m.join("x"), "").expect("a file");
    assert_eq!(host.exit().await.1, Some(0));
    let mut spec = host.spec("private", "true");
    let bidirectional = Some(v1::mount_propagation::Mode::Bidirectional);
    spec.container = with(vec![volume("v", host_path(Path::new("/proc"), bidirectional), true)]);
    let text = host.refusal(spec).await;
    assert!(text.contains("to be on a shared mount"), "{text}");
}

#[tokio::test]
async fn directories_of_the_sandbox_and_of_the_one_around_it() {
    use sandbox_path::Type;
    for isolation in ["filesystem/linux", "volume/sandbox_path"] {
        let Some(mut host) = host(isolation) else { return };
        let mounts = isolation == "filesystem/linux";
        let mut spec = host.spec("pod/containers/a", "echo x > shared/x; stat -L -c %U shared");
        spec.user = Some("nobody".to_owned());
        std::fs::create_dir_all(host.sandbox("pod")).expect("a sandbox");
        std::os::unix::fs::chown(host.sandbox("pod"), Some(65534), None).expect("owned");
        spec.container_id = "a".to_owned();
        spec.container =
            with(vec![volume("shared", sandbox_path(Type::Parent, "common/dir"), true)]);
        host.mesos.start(spec).await.expect("it starts");
        assert_eq!(host.exit().await, ("a".to_owned(), Some(0)), "{isolation}");
        assert_eq!(host.stdout("pod/containers/a"), "nobody\n");
        assert!(host.sandbox("pod/common/dir/x").exists());

        let mut spec = host.spec("b", "touch /srv/x");
        spec.container = with(vec![volume("/srv", sandbox_path(Type::Self_, "own"), true)]);
        if mounts {
            host.output(spec).await;
            assert!(host.sandbox("b").join("own/x").exists());
        } else {
            let text = host.refusal(spec).await;
            assert!(text.contains("needs 'filesystem/linux'"), "{text}");
        }
        let mut spec = host.spec("c", "true");
        spec.container = with(vec![volume("v", sandbox_path(Type::Parent, "x"), true)]);
        let text = host.refusal(spec).await;
        assert!(text.contains("type PARENT needs a container inside another one"), "{text}");
    }
}

#[tokio::test]
async fn a_persistent_volume_of_a_pod_is_what_its_containers_see_of_its_sandbox() {
    use sandbox_path::Type;
    for isolation in ["filesystem/linux", "volume/sandbox_path"] {
        let Some(mut host) = host(isolation) else { return };
        let data = host.directory.join("data");
        std::fs::create_dir(&data).expect("a directory");
        let mut read_only = false;
        for (id, script) in [
            ("writes", "echo x > data/x; echo y > deep/y; echo z > common/z; stat -L -c %U data"),
            ("reads", "cat data/x deep/y common/z; touch data/z 2>/dev/null || echo read-only"),
        ] {
            let mut spec = host.spec(&format!("pod/containers/{id}"), script);
            spec.container_id = id.to_owned();
            spec.user = Some("nobody".to_owned());
            spec.container = with(vec![
                volume("data", sandbox_path(Type::Parent, "kept"), true),
                volume("deep", sandbox_path(Type::Parent, "kept/a/b"), true),
                // As Marathon's volumes that go with their pod.
                volume("common", sandbox_path(Type::Parent, "volumes/common"), true),
            ]);
            let kept = containerizer::MountedVolume {
                path: data.display().to_string(),
                container_path: "kept".to_owned(),
                exclusive: true,
                read_only,
            };
            let user = Some("nobody".to_owned());
            spec.pod =
                Some(containerizer::Pod { volumes: vec![kept], user, ..crate::pods::pod(&[]) });
            host.mesos.start(spec).await.expect("it starts");
            assert_eq!(host.exit().await, (id.to_owned(), Some(0)), "{isolation}");
            read_only = isolation == "filesystem/linux";
        }
        assert_eq!(host.stdout("pod/containers/writes"), "nobody\n");
        let seen = host.stdout("pod/containers/reads");
        assert_eq!(seen, if read_only { "x\ny\nz\nread-only\n" } else { "x\ny\nz\n" });
        assert_eq!(std::fs::read(data.join("a/b/y")).expect("it is there"), b"y\n");
    }
}

#[tokio::test]
async fn secrets_are_files_in_memory_and_variables() {
    let Some(mut host) = host("filesystem/linux,volume/secret") else { return };
    let source = |value: &[u8]| v1::volume::Source {
        r#type: Some(source::Type::Secret as i32),
        secret: Some(secret(value)),
        ..Default::default()
    };
    let script = "cat secrets/deep/one; echo; cat $P; echo; stat -f -c %T secrets/deep/one; echo $TOLD; \
                  grep -c ramfs /proc/self/mountinfo; touch secrets/deep/one 2>/dev/null || echo read-only";
    for (id, path) in [("host", "two"), ("root", "/run/two")] {
        let mut spec = match id {
            "host" => host.spec(id, script),
            _ => host.spec_in_rootfs(id, script),
        };
        spec.environment.insert("P".to_owned(), path.to_owned());
        spec.container = with(vec![
            volume("secrets/deep/one", source(b"1st"), false),
            volume(path, source(b"2nd"), true),
        ]);
        let variable = v1::environment::Variable {
            name: "TOLD".to_owned(),
            r#type: Some(v1::environment::variable::Type::Secret as i32),
            secret: Some(secret(b"hush")),
            value: None,
        };
        spec.command.environment = Some(v1::Environment { variables: vec![variable] });
        let seen = host.output(spec).await;
        assert_eq!(seen, "1st\n2nd\nramfs\nhush\n2\nread-only\n", "{id}");
        assert_eq!(std::fs::read(host.sandbox(id).join("secrets/deep/one")).expect("a place"), b"");
    }
    let mut spec = host.spec("reference", "true");
    let reference = v1::Secret {
        r#type: Some(v1::secret::Type::Reference as i32),
        reference: Some(v1::secret::Reference { name: "vault".to_owned(), key: None }),
        value: None,
    };
    let referring = v1::volume::Source { secret: Some(reference), ..source(b"") };
    spec.container = with(vec![volume("x", referring, true)]);
    let text = host.refusal(spec).await;
    assert!(
        text.contains("the secret 'vault' is a reference; this agent has no --secret_resolver"),
        "{text}"
    );
}

#[tokio::test]
async fn the_shared_file_system_can_have_private_directories() {
    let Some(mut host) = host("filesystem/shared") else { return };
    let legacy = |container_path: &str, host_path: &str| v1::Volume {
        mode: v1::volume::Mode::Rw as i32,
        container_path: container_path.to_owned(),
        host_path: Some(host_path.to_owned()),
        ..Default::default()
    };
    let mut spec = host.spec("a", "touch /srv/of-the-container; stat -c %a%u /srv");
    spec.container = with(vec![legacy("/srv", "private")]);
    let of_host = Command::new("stat").args(["-c", "%a%u", "/srv"]).output().expect("stat runs");
    assert_eq!(host.output(spec).await, String::from_utf8_lossy(&of_host.stdout));
    assert!(host.sandbox("a").join("private/of-the-container").exists());
    assert!(!Path::new("/srv/of-the-container").exists());
    let mut spec = host.spec("b", "true");
    spec.container = with(vec![legacy("/usr", "one"), legacy("/usr/bin", "two")]);
    let text = host.refusal(spec).await;
    assert!(text.contains("lie in each other"), "{text}");
}
