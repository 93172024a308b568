//! A real Docker Engine, started by the test.

use super::{Node, contract, docker_of, scalar};
use containerizer::{Containerizer as _, MountedVolume};
use testkit::docker::DockerEngine;
use wire::v1;

#[tokio::test(flavor = "multi_thread")]
async fn a_real_engine_keeps_the_contract() {
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
    commands_inside(node("inside").await).await;
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
    assert_ne!(node.exit().await.1, Some(0));
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
