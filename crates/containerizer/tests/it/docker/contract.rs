//! What holds with every engine.

use super::{Node, docker_of};
use containerizer::Containerizer as _;
use std::path::Path;
use std::time::Duration;

/// Runs all of it, in directories of their own below one.
pub(super) async fn hold(socket: &Path, directory: &Path) {
    let node = |name: &str| {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let socket = socket.to_owned();
        async move { Node::new(&socket, &directory).await }
    };
    output_status_and_environment(node("output").await).await;
    a_command_without_a_shell(node("words").await).await;
    signals_and_destruction(node("signals").await).await;
    recovery(node("recovery").await).await;
    nothing_is_lost_of_what_is_written(node("flood").await).await;
    many_at_once(node("many").await).await;
    refusals(node("refusals").await).await;
}

async fn output_status_and_environment(mut node: Node) {
    let mut spec = node.spec("a", "echo out; echo err >&2; printf half; env; exit 3");
    spec.environment.insert("MINE".to_owned(), "x y".to_owned());
    assert!(node.docker.supports(&spec));
    node.run(spec).await;
    assert_eq!(node.exit().await, ("a".to_owned(), Some(3 << 8)));
    let stdout = node.output("a", "stdout");
    assert!(stdout.starts_with("out\nhalf"), "{stdout}");
    for line in ["MINE=x y", "MESOS_SANDBOX=/mnt/mesos/sandbox", "MESOS_CONTAINER_NAME=mesos-a"] {
        assert!(stdout.contains(line), "{line} in {stdout}");
    }
    assert_eq!(node.output("a", "stderr"), "err\n");
}

async fn a_command_without_a_shell(mut node: Node) {
    let mut spec = node.spec("a", "echo");
    spec.command.shell = Some(false);
    spec.command.arguments = ["one", "two  three"].map(str::to_owned).to_vec();
    node.run(spec).await;
    assert_eq!(node.exit().await, ("a".to_owned(), Some(0)));
    assert_eq!(node.output("a", "stdout"), "one two  three\n");
    let mut spec = node.spec("b", "");
    spec.command.value = None;
    spec.command.shell = Some(false);
    node.run(spec).await;
    assert_eq!(node.exit().await, ("b".to_owned(), Some(0)));
    assert_eq!(node.output("b", "stdout"), "of the image\n");
}

async fn signals_and_destruction(mut node: Node) {
    node.start("a", "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
        .await;
    node.wait_for_line("a", "ready").await;
    node.tell(|d| d.signal("a", 15)).await;
    assert_eq!(node.exit().await, ("a".to_owned(), Some(7 << 8)));
    assert_eq!(node.output("a", "stdout"), "ready\ntold\n");
    // One that wants to be told otherwise.
    let mut spec = node
        .spec("b", "trap 'exit 9' USR1; trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let parameter =
        wire::v1::Parameter { key: "stop-signal".to_owned(), value: "SIGUSR1".to_owned() };
    docker_of(&mut spec).parameters.push(parameter);
    node.run(spec).await;
    node.wait_for_line("b", "ready").await;
    node.tell(|d| d.signal("b", 15)).await;
    assert_eq!(node.exit().await, ("b".to_owned(), Some(9 << 8)));
    node.start("c", "trap '' TERM; echo ready; while :; do sleep 0.05; done").await;
    node.wait_for_line("c", "ready").await;
    node.tell(|d| d.signal("c", 15)).await;
    node.tell(|d| d.destroy("c")).await;
    node.tell(|d| d.destroy("c")).await;
    assert_eq!(node.exit().await, ("c".to_owned(), Some(137 << 8)));
    node.tell(|d| d.destroy("c")).await;
    node.tell(|d| d.signal("c", 9)).await;
    for id in ["a", "b", "c", "nobody"] {
        node.tell(move |d| d.forget(id)).await;
        node.tell(move |d| d.forget(id)).await;
    }
}

async fn recovery(node: Node) {
    let held = "echo one; echo two; while [ ! -e $GATE ]; do sleep 0.05; done; echo three; exit 5";
    let gate = |node: &Node, id: &str| node.sandbox(id).join("gate");
    let mut spec = node.spec("runs", held);
    // The gate is where the host has it.
    spec.environment.insert("GATE".to_owned(), gate(&node, "runs").display().to_string());
    docker_of(&mut spec).parameters.push(wire::v1::Parameter {
        key: "volume".to_owned(),
        value: format!("{0}:{0}", node.directory.display()),
    });
    node.run(spec).await;
    node.wait_for_line("runs", "two").await;
    let mut node = node;
    node.start("ends", "echo last; exit 4").await;
    assert_eq!(node.exit().await.0, "ends");
    let mut node = node.restarted().await;
    let mut found = node.recover().await;
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    let seen: Vec<_> = found
        .iter()
        .map(|f| (f.container_id.as_str(), f.pid.is_some(), f.status, f.unstarted))
        .collect();
    assert_eq!(seen, [("ends", false, Some(4 << 8), false), ("runs", true, None, false)]);
    node.tell(|d| d.forget("ends")).await;
    // A second restart while it runs, and its end while nobody looks.
    std::fs::write(gate(&node, "runs"), "").expect("the gate opens");
    assert_eq!(node.exit().await, ("runs".to_owned(), Some(5 << 8)));
    assert_eq!(node.output("runs", "stdout"), "one\ntwo\nthree\n");
    assert_eq!(node.output("ends", "stdout"), "last\n");
    node.tell(|d| d.forget("runs")).await;
    let node = node.restarted().await;
    assert_eq!(node.recover().await, []);
}

async fn nothing_is_lost_of_what_is_written(node: Node) {
    let mut node = node;
    let lines = 40_000;
    node.start("a", &format!("seq 1 {lines}; seq 1 10 >&2")).await;
    // Killed while it copies, several times.
    let mut exits = 0;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        node = node.restarted().await;
        let found = node.recover().await;
        assert_eq!(found.len(), 1);
        if found[0].pid.is_none() {
            assert_eq!(found[0].status, Some(0));
            exits = 1;
        }
    }
    if exits == 0 {
        assert_eq!(node.exit().await, ("a".to_owned(), Some(0)));
    }
    let want: String = (1..=lines).map(|n| format!("{n}\n")).collect();
    assert!(node.output("a", "stdout") == want, "lines are lost or doubled");
    let want: String = (1..=10).map(|n| format!("{n}\n")).collect();
    assert_eq!(node.output("a", "stderr"), want);
}

async fn many_at_once(mut node: Node) {
    let count = 8;
    let starts: Vec<_> = (0..count)
        .map(|n| {
            let spec = node.spec(&format!("c{n}"), &format!("echo {n}; exit {n}"));
            let docker = node.docker.clone();
            tokio::spawn(async move { docker.start(spec).await })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("it starts");
    }
    let mut ends = std::collections::BTreeMap::new();
    for _ in 0..count {
        let (id, status) = node.exit().await;
        assert_eq!(node.output(&id, "stdout"), format!("{}\n", &id[1..]));
        ends.insert(id, status);
    }
    assert!((0..count).all(|n| ends[&format!("c{n}")] == Some(n << 8)), "{ends:?}");
}

async fn refusals(node: Node) {
    let mut spec = node.spec("a", "true");
    let parameter = wire::v1::Parameter { key: "cap-ad".to_owned(), value: String::new() };
    docker_of(&mut spec).parameters.push(parameter);
    let text = node.refused(spec).await;
    assert!(text.starts_with("docker parameter 'cap-ad' is not an option"), "{text}");
    assert!(!node.sandbox("a").exists());
    let mut spec = node.spec("b", "");
    spec.command.shell = Some(false);
    spec.command.value = Some("/no/such/program".to_owned());
    let text = node.refused(spec).await;
    assert!(text.contains("the engine cannot start the container"), "{text}");
    assert!(
        node.output("b", "stderr").contains("/no/such/program"),
        "{}",
        node.output("b", "stderr")
    );
    let mut spec = node.spec("c", "true");
    docker_of(&mut spec).image = "127.0.0.1:1/nothing:here".to_owned();
    let text = node.refused(spec).await;
    assert!(text.starts_with("cannot get the image '127.0.0.1:1/nothing:here': "), "{text}");
    // Nothing is left of any.
    assert_eq!(node.recover().await, []);
}
