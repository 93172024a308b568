//! A real Docker Engine, started by the test.

use super::{Node, contract, docker_of, scalar};
use containerizer::docker::DockerOptions;
use containerizer::images::Credentials;
use containerizer::{Containerizer as _, MountedVolume};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use testkit::docker::DockerEngine;
use testkit::registry::{Registry, sha256};
use wire::v1;

/// The user `me` with the password `secret`.
const HTPASSWD: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_real_engine_keeps_the_contract() {
    let _hierarchies = crate::HIERARCHIES.read().await;
    let Some(engine) = DockerEngine::start() else { return };
    let directory = engine.directory().join("agents");
    contract::hold(&engine.socket(), &directory).await;
    let node = |name: &str| {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let socket = engine.socket();
        async move { Node::new(&socket, &directory).await }
    };
    limits_and_network(node("limits").await).await;
    volumes(node("volumes").await).await;
    parameters(node("parameters").await).await;
    changes_and_statistics(node("changes").await).await;
    credentials(node("credentials").await, &engine).await;
    volume_drivers(node("drivers").await).await;
    commands_inside(node("inside").await).await;
    volumes_of_tasks_that_join(node("joined").await).await;
    an_engine_that_is_killed(node("killed").await, engine).await;
}

async fn limits_and_network(mut node: Node) {
    let show = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
        cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null; hostname; ls /sys/class/net";
    let mut spec = node.spec("a", show);
    spec.resources = vec![scalar("cpus", 0.5), scalar("mem", 48.0)];
    docker_of(&mut spec).network = Some(v1::container_info::docker_info::Network::None as i32);
    spec.container.as_mut().expect("one").hostname = Some("proffered".to_owned());
    node.run(spec).await;
    assert_eq!(node.exit().await.1, Some(0));
    let stdout = node.output("a", "stdout");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], (48 << 20).to_string());
    assert!(["512", "20"].contains(&lines[1]), "{lines:?}");
    assert_eq!(lines[2], "proffered");
    assert_eq!(lines[3..], ["lo"]);
    // In the host's network there are the host's devices and its name.
    node.start("b", "hostname").await;
    assert_eq!(node.exit().await.1, Some(0));
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert_eq!(node.output("b", "stdout"), name);
}

async fn volumes(mut node: Node) {
    let path = |name: &str| node.directory.join(name).display().to_string();
    let persistent = path("persistent");
    std::fs::create_dir(&persistent).expect("a volume");
    std::fs::create_dir(path("shared")).expect("a directory");
    std::fs::write(path("shared") + "/file", "content\n").expect("a file");
    let script = "cat /shared/file inbox/file; echo x 2>/dev/null >/shared/new || echo read-only; \
        echo kept > $MESOS_SANDBOX/data/kept; echo deep > /deep/kept; echo seen > $MESOS_SANDBOX/seen; pwd";
    let mut spec = node.spec("a", &format!("cd $MESOS_SANDBOX; {script}"));
    spec.directory = node.sandbox("with:colon").display().to_string();
    let volume = |container_path: &str, mode: v1::volume::Mode| v1::Volume {
        mode: mode as i32,
        container_path: container_path.to_owned(),
        host_path: Some(path("shared")),
        ..Default::default()
    };
    spec.container.as_mut().expect("one").volumes =
        vec![volume("/shared", v1::volume::Mode::Ro), volume("inbox", v1::volume::Mode::Rw)];
    let mounted = |container_path: &str| MountedVolume {
        path: persistent.clone(),
        container_path: container_path.to_owned(),
        exclusive: true,
        read_only: false,
    };
    spec.volumes = vec![mounted("data"), mounted("/deep")];
    spec.user = Some("nobody".to_owned());
    // The image's user stays: only the sandbox belongs to the task's.
    node.run(spec).await;
    assert_eq!(node.exit().await.1, Some(0), "{}", node.output("with:colon", "stderr"));
    let want = "content\ncontent\nread-only\n/mnt/mesos/sandbox\n";
    assert_eq!(node.output("with:colon", "stdout"), want);
    assert_eq!(node.output("with:colon", "seen"), "seen\n");
    assert_eq!(node.output("with:colon", "data/kept"), "deep\n");
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(node.sandbox("with:colon")).expect("a sandbox").uid();
    assert_eq!(owner, 65534);
}

async fn parameters(mut node: Node) {
    let script = "echo $A; id -u; ulimit -n; pwd; test -t 1 && echo terminal";
    let mut spec = node.spec("a", script);
    let all = [
        ("env", "A=b c"),
        ("user", "nobody"),
        ("ulimit", "nofile=123:456"),
        ("workdir", "/etc"),
        ("tty", "true"),
        ("read-only", "true"),
        ("label", "x=y"),
        ("rm", "true"),
    ];
    docker_of(&mut spec).parameters = all
        .map(|(key, value)| v1::Parameter { key: key.to_owned(), value: value.to_owned() })
        .to_vec();
    node.run(spec).await;
    assert_eq!(node.exit().await.1, Some(0), "{}", node.output("a", "stdout"));
    let stdout = node.output("a", "stdout").replace('\r', "");
    assert_eq!(stdout, "b c\n65534\n123\n/etc\nterminal\n");
    // Without logs of the engine's there is still what is written while the agent runs.
    let mut spec = node.spec("b", "echo seen");
    let none = v1::Parameter { key: "log-driver".to_owned(), value: "none".to_owned() };
    docker_of(&mut spec).parameters.push(none);
    node.run(spec).await;
    assert_eq!(node.exit().await.1, Some(0));
    assert_eq!(node.output("b", "stdout"), "seen\n");
    // Far more than its share of memory.
    let mut spec = node.spec("c", "head -c 200000000 /dev/zero | grep -c xyz");
    spec.resources = vec![scalar("cpus", 1.0), scalar("mem", 32.0)];
    let swap = v1::Parameter { key: "memory-swap".to_owned(), value: "32m".to_owned() };
    docker_of(&mut spec).parameters.push(swap);
    node.run(spec).await;
    let exited = node.exits.recv().await.expect("an end");
    assert_eq!(exited.status, Some(137 << 8));
    let limitation = exited.limitation.expect("a reason");
    assert_eq!(limitation.reason, v1::task_status::Reason::ContainerLimitationMemory);
    assert_eq!(
        limitation.resources,
        [v1::Resource { r#type: v1::value::Type::Scalar as i32, ..scalar("mem", 32.0) }]
    );
}

/// What a running container may use, and what it uses.
async fn changes_and_statistics(mut node: Node) {
    let limit =
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    let script =
        format!("until test $({limit}) = {}; do true; done; echo grown; sleep 1000", 96 << 20);
    node.start("a", &script).await;
    let before = node.usage("a").await;
    assert_eq!(before.mem_limit_bytes, Some(64 << 20));
    assert!((before.cpus_soft_limit() - 0.1).abs() < 0.01, "{before:?}");
    let limits = [("cpus".to_owned(), 0.5), ("mem".to_owned(), 96.0)];
    let wanted = vec![scalar("cpus", 0.3), scalar("mem", 48.0)];
    node.tell(move |d| d.update("a", wanted, limits.into_iter().collect())).await;
    node.wait_for_line("a", "grown").await;
    let after = node.usage("a").await;
    assert_eq!(
        (after.mem_limit_bytes, after.mem_soft_limit_bytes),
        (Some(96 << 20), Some(48 << 20))
    );
    assert_eq!(after.cpus_limit, Some(0.5));
    let seconds = |s: &v1::ResourceStatistics| s.cpus_user_time_secs() + s.cpus_system_time_secs();
    assert!(seconds(&after) > 0.0 && seconds(&after) >= seconds(&before), "{after:?}");
    assert!(after.mem_rss_bytes() > 0 && after.threads() > 0, "{after:?}");
    assert!(after.timestamp > before.timestamp);
    node.tell(|d| d.destroy("a")).await;
    node.exit().await;
}

/// An image behind a password: of the flag, or of a file that was fetched.
async fn credentials(node: Node, engine: &DockerEngine) {
    let settings = "auth:\n  htpasswd:\n    realm: test\n    path: DIR/htpasswd";
    let Some(mut registry) = Registry::start(settings, &[("htpasswd", HTPASSWD)]) else { return };
    registry.authorization = Some("Basic bWU6c2VjcmV0".to_owned());
    let root = engine.directory().join("image");
    let words = ["-C", root.to_str().expect("text"), "-c", "."];
    let layer = std::process::Command::new("tar").args(words).output().expect("tar runs").stdout;
    let digest = sha256(&layer);
    registry.push_image("private", "v1", &[(layer, digest)], &json!({ "Env": ["PATH=/bin"] }));
    let image = format!("{}/private:v1", registry.address);
    let task = |node: &Node, id: &str| {
        let mut spec = node.spec(id, "echo inside");
        docker_of(&mut spec).image = image.clone();
        docker_of(&mut spec).force_pull_image = Some(true);
        spec
    };
    let text = node.refused(task(&node, "a")).await;
    assert!(text.contains(&format!("cannot get the image '{image}'")), "{text}");
    assert!(text.contains("no basic auth credentials"), "{text}");
    let config = |password: &str| {
        let login = json!({ "username": "me", "password": password });
        json!({ "auths": { registry.address.clone(): login } }).to_string()
    };
    let with = |node: &Node, password: &str| DockerOptions {
        config: Credentials::parse(config(password).as_bytes()).expect("credentials"),
        ..node.options.clone()
    };
    let mut node = Node::with(with(&node, "secret")).await;
    node.run(task(&node, "b")).await;
    assert_eq!(node.exit().await.1, Some(0));
    assert_eq!(node.output("b", "stdout"), "inside\n");
    // What is in the sandbox comes before the flag.
    let mut node = Node::with(with(&node, "wrong")).await;
    let text = node.refused(task(&node, "c")).await;
    assert!(text.contains("unauthorized") || text.contains("no basic auth"), "{text}");
    let fetched = node.sandbox("d").join(".docker");
    std::fs::create_dir_all(&fetched).expect("a directory");
    std::fs::write(fetched.join("config.json"), config("secret")).expect("a file");
    node.run(task(&node, "d")).await;
    assert_eq!(node.exit().await.1, Some(0));
    let gone = engine.ask("DELETE", &format!("/images/{image}?force=true"), b"");
    assert!(gone.is_some_and(|answer| answer.contains(" 200 ")));
}

/// A container that runs is given volumes, and they go again, also by another agent.
async fn volumes_of_tasks_that_join(node: Node) {
    let script = "cd $MESOS_SANDBOX; echo ready; \
        until test -e data/name; do sleep 0.05; done; cat data/name x/read/name; \
        touch x/read/made 2>/dev/null || echo read-only; touch data/made; echo seen; \
        while test -e data/name; do sleep 0.05; done; echo gone; sleep 1000";
    node.start("a", script).await;
    node.wait_for_line("a", "ready").await;
    let volume = |name: &str, container_path: &str, read_only: bool| {
        let path = node.directory.join("volumes").join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        std::fs::write(path.join("name"), format!("{name}\n")).expect("a file");
        let (path, container_path) = (path.display().to_string(), container_path.to_owned());
        MountedVolume { path, container_path, exclusive: false, read_only }
    };
    let (data, read) = (volume("data", "data", false), volume("read", "x/read", true));
    let out = volume("out", "../out", false);
    let sandbox = node.sandbox("a");
    for volume in [&read, &data] {
        node.docker.show_volume("a", &sandbox, volume).expect("shown");
    }
    node.wait_for_line("a", "seen").await;
    assert_eq!(node.output("a", "stdout"), "ready\ndata\nread\nread-only\nseen\n");
    assert!(Path::new(&data.path).join("made").exists());
    let mut node = node.restarted().await;
    assert_eq!(node.recover().await.len(), 1);
    node.docker.show_volume("a", &sandbox, &data).expect("it is there");
    node.docker.hide_volume("a", &sandbox, &data).expect("hidden");
    node.wait_for_line("a", "gone").await;
    // What can't be shown ends the container, which is told so.
    let error = node.docker.show_volume("a", &sandbox, &out).expect_err("refused");
    assert!(error.contains("without '..'"), "{error}");
    node.tell(|docker| docker.destroy("a")).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), node.exits.recv()).await;
    let ended = ended.expect("an end in time").expect("an end");
    let limitation = ended.limitation.expect("it has less than it should");
    assert_eq!(limitation.reason, v1::task_status::Reason::ContainerUpdateFailed);
    node.docker.hide_volume("a", &sandbox, &read).expect("nothing to hide");
}

/// Volumes of drivers go to the engine, which knows its drivers.
async fn volume_drivers(mut node: Node) {
    let volume = |driver: Option<&str>, name: &str| v1::Volume {
        mode: v1::volume::Mode::Rw as i32,
        container_path: "/data".to_owned(),
        source: Some(v1::volume::Source {
            r#type: Some(v1::volume::source::Type::DockerVolume as i32),
            docker_volume: Some(v1::volume::source::DockerVolume {
                driver: driver.map(str::to_owned),
                name: name.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let task = |node: &Node, id: &str, command: &str, volume: v1::Volume| {
        let mut spec = node.spec(id, command);
        spec.container.as_mut().expect("one").volumes = vec![volume];
        spec
    };
    let kept = volume(Some("local"), "kept");
    node.run(task(&node, "a", "echo content >/data/file", kept.clone())).await;
    assert_eq!(node.exit().await.1, Some(0), "{}", node.output("a", "stderr"));
    node.run(task(&node, "b", "cat /data/file", kept)).await;
    assert_eq!(node.exit().await.1, Some(0));
    assert_eq!(node.output("b", "stdout"), "content\n");
    let unknown = task(&node, "c", "true", volume(Some("nosuch"), "other"));
    let text = node.refused(unknown).await;
    assert!(text.contains("nosuch"), "{text}");
    let mut two = task(&node, "d", "true", volume(Some("local"), "one"));
    let volumes = &mut two.container.as_mut().expect("one").volumes;
    volumes.push(v1::Volume { container_path: "/more".to_owned(), ..volume(Some("x"), "two") });
    assert_eq!(node.refused(two).await, "volume '/more': a container has one volume driver");
}

async fn commands_inside(mut node: Node) {
    node.start("a", "echo ready; sleep 1000").await;
    node.wait_for_line("a", "ready").await;
    let inside = |id: &str, command: &str| {
        let mut spec = node.spec(id, command);
        spec.parent = Some("a".to_owned());
        spec.container = None;
        spec.directory = node.sandbox("a").display().to_string();
        spec.output = Some(spec.directory.clone());
        spec
    };
    let (check, long) = (inside("b", "echo $FROM_IMAGE; exit 3"), inside("c", "sleep 1000"));
    let lost = inside("d", "sleep 1000");
    node.run(check).await;
    assert_eq!(node.exit().await, ("b".to_owned(), Some(3 << 8)));
    assert_eq!(node.output("a", "stderr"), "yes\n");
    node.run(long).await;
    node.tell(|d| d.destroy("c")).await;
    assert_eq!(node.exit().await, ("c".to_owned(), Some(137 << 8)));
    // What is inside ends with its container, and is told of first.
    node.run(lost).await;
    node.tell(|d| d.destroy("a")).await;
    assert_eq!(node.exit().await.0, "d");
    assert_eq!(node.exit().await, ("a".to_owned(), Some(137 << 8)));
}

/// Containers run on without their engine, and their ends are told when it is back.
async fn an_engine_that_is_killed(mut node: Node, mut engine: DockerEngine) {
    node.start("a", "echo one; sleep 6; echo two; exit 3").await;
    node.wait_for_line("a", "one").await;
    engine.kill_daemon();
    assert!(engine.run_daemon(), "it comes up again");
    assert_eq!(node.exit().await, ("a".to_owned(), Some(3 << 8)));
    assert_eq!(node.output("a", "stdout"), "one\ntwo\n");
    let directory = engine.directory().display().to_string();
    drop(engine);
    assert_eq!(testkit::docker::processes_of(&directory), Vec::<String>::new());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&directory), "{mounts}");
    assert!(!std::path::Path::new(&directory).exists());
}
