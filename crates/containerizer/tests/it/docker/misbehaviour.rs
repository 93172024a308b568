//! What the agent does when an engine does not do as it should.

use super::fake::{Fake, Mischief};
use super::{Node, docker_of};
use crate::until;
use containerizer::{ContainerSpec, Containerizer as _};
use serde_json::json;
use std::time::Duration;
use wire::v1;

async fn start() -> (Fake, Node) {
    let directory = testkit::cluster::temporary_directory();
    let fake = Fake::start(&directory);
    let node = Node::new(fake.socket(), &directory).await;
    (fake, node)
}

fn spec(node: &Node, id: &str, image: &str) -> ContainerSpec {
    let mut spec = node.spec(id, "true");
    docker_of(&mut spec).image = image.to_owned();
    spec
}

/// Every request of a start, wherever it goes wrong and however: the task fails with a text, and nothing is left.
#[tokio::test]
async fn a_start_that_goes_wrong_leaves_nothing() {
    let (fake, node) = start().await;
    let steps = [
        ("GET", "/images/here"),
        ("POST", "/containers/create"),
        ("POST", "/start"),
        ("GET", "/mesos-"),
    ];
    let ways = [Mischief::Error(500), Mischief::Garbage, Mischief::NoAnswer, Mischief::Cut];
    for (number, (method, path)) in steps.into_iter().enumerate() {
        for (other, way) in ways.into_iter().enumerate() {
            let id = format!("c{number}{other}");
            fake.misbehave(method, path, way);
            let text = node.refused(spec(&node, &id, "here")).await;
            let want = match way {
                Mischief::Error(_) => "out of order",
                _ => "was cut off or is not understood",
            };
            assert!(text.contains(want), "{method} {path} {way:?}: {text}");
            assert!(fake.is_good_again());
            until("the container is removed", || fake.names().is_empty()).await;
        }
    }
    fake.misbehave("GET", "/mesos-", Mischief::OtherShape);
    let text = node.refused(spec(&node, "last", "here")).await;
    assert!(text.contains("expected the 'State' of a container"), "{text}");
    until("the container is removed", || fake.names().is_empty()).await;
    assert_eq!(node.recover().await, []);
}

#[tokio::test]
async fn answers_that_are_late_are_waited_for() {
    let (fake, mut node) = start().await;
    for (method, path) in [("GET", "/images/"), ("POST", "/create"), ("POST", "/start")] {
        fake.misbehave(method, path, Mischief::Late(Duration::from_millis(300)));
    }
    node.run(spec(&node, "a", "here")).await;
    fake.exit("mesos-a", 3);
    assert_eq!(node.exit().await, ("a".to_owned(), Some(3 << 8)));
    assert!(fake.is_good_again());
}

#[tokio::test]
async fn pulls_that_fail_are_told_in_the_words_of_the_engine() {
    let (fake, mut node) = start().await;
    let text = node.refused(spec(&node, "a", "nowhere")).await;
    assert_eq!(text, "cannot get the image 'nowhere:latest': no such thing");
    for (id, way) in [("b", Mischief::Cut), ("c", Mischief::NoAnswer)] {
        fake.misbehave("POST", "/images/create", way);
        let text = node.refused(spec(&node, id, "there")).await;
        assert!(text.contains("the Docker engine's answer was cut off"), "{text}");
    }
    node.run(spec(&node, "d", "there")).await;
    let [(name, times)] = &node.docker.pull_times()[..] else { panic!("one metric") };
    assert_eq!((*name, times.count()), ("containerizer/docker/image_pull", 4));
    fake.exit("mesos-d", 0);
    assert_eq!(node.exit().await, ("d".to_owned(), Some(0)));
}

/// The end of a container is told once and truly, however the engine answers to the question for it.
#[tokio::test]
async fn the_end_is_asked_for_until_it_is_told() {
    let (fake, mut node) = start().await;
    let ways = [
        Mischief::Error(500),
        Mischief::Garbage,
        Mischief::OtherShape,
        Mischief::NoAnswer,
        Mischief::Cut,
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let id = format!("c{number}");
        let name = format!("mesos-{id}");
        fake.misbehave("POST", "/wait", way);
        node.run(spec(&node, &id, "here")).await;
        fake.write(&name, "last words\n");
        fake.exit(&name, 5);
        assert_eq!(node.exit().await, (id.clone(), Some(5 << 8)), "{way:?}");
        assert_eq!(node.output(&id, "stdout"), "last words\n");
        assert!(fake.is_good_again());
    }
    assert!(node.exits.try_recv().is_err(), "each end comes once");
}

#[tokio::test]
async fn output_is_whole_when_connections_break_in_the_middle_of_a_line() {
    let (fake, mut node) = start().await;
    for _ in 0..3 {
        fake.misbehave("GET", "/logs", Mischief::Cut);
    }
    node.run(spec(&node, "a", "here")).await;
    let lines: String = (0..500).map(|n| format!("line {n}\n")).collect();
    for line in lines.split_inclusive('\n') {
        fake.write("mesos-a", line);
    }
    until("all three are cut", || fake.is_good_again()).await;
    fake.exit("mesos-a", 0);
    assert_eq!(node.exit().await, ("a".to_owned(), Some(0)));
    assert_eq!(node.output("a", "stdout"), lines);
}

#[tokio::test]
async fn a_container_that_somebody_else_removes_has_ended_without_a_status() {
    let (fake, mut node) = start().await;
    node.run(spec(&node, "a", "here")).await;
    fake.remove("mesos-a");
    assert_eq!(node.exit().await, ("a".to_owned(), None));
    // What comes for it afterwards does no harm.
    node.tell(|d| d.signal("a", 15)).await;
    node.tell(|d| d.destroy("a")).await;
    node.tell(|d| d.forget("a")).await;
}

#[tokio::test]
async fn an_engine_that_is_restarted_finds_its_containers_watched() {
    let (fake, mut node) = start().await;
    node.run(spec(&node, "a", "here")).await;
    node.run(spec(&node, "b", "here")).await;
    fake.write("mesos-a", "before\n");
    until("the line comes", || node.output("a", "stdout") == "before\n").await;
    fake.go_down();
    fake.write("mesos-a", "meanwhile\n");
    fake.exit("mesos-b", 4);
    let refused = node.refused(spec(&node, "c", "here")).await;
    assert!(refused.contains("cannot be reached"), "{refused}");
    assert!(node.exits.try_recv().is_err(), "nobody knows how it ended");
    fake.come_up();
    assert_eq!(node.exit().await, ("b".to_owned(), Some(4 << 8)));
    fake.write("mesos-a", "after\n");
    fake.exit("mesos-a", 0);
    assert_eq!(node.exit().await, ("a".to_owned(), Some(0)));
    assert_eq!(node.output("a", "stdout"), "before\nmeanwhile\nafter\n");
}

#[tokio::test]
async fn a_kill_is_tried_until_the_engine_takes_it() {
    let (fake, mut node) = start().await;
    node.run(spec(&node, "a", "here")).await;
    for way in [Mischief::Error(500), Mischief::Garbage] {
        fake.misbehave("POST", "/kill?signal=SIGKILL", way);
    }
    node.tell(|d| d.destroy("a")).await;
    assert_eq!(node.exit().await, ("a".to_owned(), Some(137 << 8)));
    assert!(fake.asked("POST /containers/mesos-a/kill?signal=SIGKILL") >= 2);
}

#[tokio::test]
async fn what_took_too_much_memory_is_told_with_its_limit() {
    let (fake, mut node) = start().await;
    node.run(spec(&node, "a", "here")).await;
    fake.out_of_memory("mesos-a");
    let exited = node.exits.recv().await.expect("an end");
    let limitation = exited.limitation.expect("a reason");
    assert_eq!(limitation.reason, v1::task_status::Reason::ContainerLimitationMemory);
    assert_eq!(limitation.resources[0].scalar.map(|s| s.value), Some(64.0));
    // Without the engine's word for it there is the status alone.
    node.run(spec(&node, "b", "here")).await;
    fake.misbehave("GET", "/containers/mesos-b/json", Mischief::Error(500));
    fake.out_of_memory("mesos-b");
    let exited = node.exits.recv().await.expect("an end");
    assert_eq!((exited.status, exited.limitation), (Some(137 << 8), None));
}

#[tokio::test]
async fn removal_and_changes_and_statistics_survive_an_engine_out_of_order() {
    let (fake, mut node) = start().await;
    node.run(spec(&node, "a", "here")).await;
    for way in [Mischief::Error(500), Mischief::Garbage, Mischief::OtherShape, Mischief::Cut] {
        fake.misbehave("GET", "/stats", way);
        let used = node.usage("a").await;
        assert!(used.timestamp > 0.0 && used.mem_total_bytes.is_none(), "{used:?}");
    }
    assert_eq!(node.usage("a").await.mem_total_bytes, Some(4096));
    // A change that is refused does not hold up the next.
    fake.misbehave("POST", "/update", Mischief::Error(500));
    for cpus in [1.0, 2.0, 3.0] {
        let resources = vec![super::scalar("cpus", cpus), super::scalar("mem", 64.0)];
        node.tell(move |d| d.update("a", resources, Default::default())).await;
    }
    until("both changes", || fake.limits("mesos-a").len() == 2).await;
    let shares: Vec<_> = fake.limits("mesos-a").iter().map(|l| l["CpuShares"].clone()).collect();
    assert_eq!(shares, [json!(2048), json!(3072)]);
    fake.exit("mesos-a", 0);
    node.exit().await;
    // It is removed when the engine is in order again.
    let node = Node::with(containerizer::docker::DockerOptions {
        remove_delay: Duration::ZERO,
        ..node.options.clone()
    })
    .await;
    assert_eq!(node.recover().await.len(), 1);
    fake.misbehave("DELETE", "/mesos-a", Mischief::Error(500));
    node.tell(|d| d.forget("a")).await;
    until("it is removed", || fake.names().is_empty()).await;
}

#[tokio::test]
async fn a_recovery_that_cannot_be_trusted_is_an_error_and_loses_nothing() {
    let (fake, node) = start().await;
    node.run(spec(&node, "a", "here")).await;
    let mut node = node.restarted().await;
    for (path, way) in [
        ("/containers/json", Mischief::Error(500)),
        ("/containers/json", Mischief::Garbage),
        ("/containers/json", Mischief::OtherShape),
    ] {
        fake.misbehave("GET", path, way);
        assert!(node.try_recover().await.is_err(), "{path} {way:?}");
        assert!(fake.is_good_again());
        assert_eq!(fake.names(), ["mesos-a"], "{path} {way:?}");
        node = node.restarted().await;
    }
    let found = node.try_recover().await.expect("it is in order again");
    assert_eq!(found.len(), 1);
    assert!(found[0].pid.is_some());
    assert_eq!(
        fake.limits("mesos-a"),
        [] as [serde_json::Value; 0],
        "what it may use is as it was"
    );
    fake.exit("mesos-a", 6);
    assert_eq!(node.exit().await, ("a".to_owned(), Some(6 << 8)));
}

/// A container that the engine can't describe is taken over as the list has it, and the others as they are.
#[tokio::test]
async fn one_container_that_the_engine_stumbles_over_is_no_matter_of_the_others() {
    let (fake, node) = start().await;
    for id in ["a", "b", "c"] {
        node.run(spec(&node, id, "here")).await;
    }
    let mut node = node.restarted().await;
    fake.exit("mesos-c", 4);
    let ways = [Mischief::Error(500), Mischief::Cut, Mischief::OtherShape];
    for path in ["/containers/mesos-a/json", "/containers/mesos-c/json"] {
        ways.into_iter().for_each(|way| fake.misbehave("GET", path, way));
    }
    let mut found = node.recover().await;
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    assert!(fake.is_good_again());
    let seen: Vec<_> = found.iter().map(|f| (f.pid.is_some(), f.status)).collect();
    assert_eq!(seen, [(true, None), (true, None), (false, None)]);
    for (id, code) in [("a", 5), ("b", 6)] {
        fake.exit(&format!("mesos-{id}"), code);
        let status = i32::try_from(code).expect("small") << 8;
        assert_eq!(node.exit().await, (id.to_owned(), Some(status)));
    }
}

#[tokio::test]
async fn orphans_are_removed_if_that_is_wanted() {
    for kill_orphans in [true, false] {
        let (fake, node) = start().await;
        node.run(spec(&node, "a", "here")).await;
        std::fs::remove_file(node.options.runtime_dir.join("docker/a")).expect("its record");
        let node = Node::with(containerizer::docker::DockerOptions {
            kill_orphans,
            ..node.options.clone()
        })
        .await;
        assert_eq!(node.recover().await, []);
        if kill_orphans {
            until("it is removed", || fake.names().is_empty()).await;
        } else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(fake.names(), ["mesos-a"]);
        }
    }
}
