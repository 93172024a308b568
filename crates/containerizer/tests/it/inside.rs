//! Containers inside others.

use crate::{Host, is_alive};
use containerizer::{ContainerSpec, Containerizer as _, StartError};
use std::time::Duration;

impl Host {
    fn spec_inside(&self, id: &str, parent: &str, command: &str) -> ContainerSpec {
        let around = self.sandbox(parent);
        ContainerSpec {
            parent: Some(parent.to_owned()),
            pod: None,
            directory: around.join("containers").join(id).to_str().expect("text").to_owned(),
            working_directory: Some(around.to_str().expect("text").to_owned()),
            ..self.spec(id, command)
        }
    }
}

#[tokio::test]
async fn one_inside_another_has_a_sandbox_and_an_end_of_its_own() {
    let mut host = Host::new();
    host.start("a", "sleep 1000").await;
    let child = host.spec_inside("b", "a", "pwd; exit 3");
    let own = child.directory.clone();
    host.mesos.start(child).await.expect("it starts");
    assert_eq!(host.exit().await, ("b".to_owned(), Some(3 << 8)));
    let stdout = std::fs::read_to_string(format!("{own}/stdout")).expect("its output");
    assert_eq!(stdout.trim(), host.sandbox("a").to_str().expect("text"));
    host.mesos.destroy("a");
    assert_eq!(host.exit().await, ("a".to_owned(), Some(9)));
}

#[tokio::test]
async fn what_is_inside_ends_with_the_container_around_it_and_first() {
    let mut host = Host::new();
    host.start("a", "while [ ! -e gate ]; do sleep 0.02; done; exit 4").await;
    host.mesos.start(host.spec_inside("b", "a", "trap '' TERM; sleep 1000")).await.expect("b");
    host.mesos.start(host.spec_inside("c", "b", "sleep 1000")).await.expect("c");
    std::fs::write(host.sandbox("a").join("gate"), "").expect("the gate opens");
    let ends = [host.exit().await, host.exit().await, host.exit().await];
    let want = [("c", 9), ("b", 9), ("a", 4 << 8)];
    assert_eq!(ends, want.map(|(id, status)| (id.to_owned(), Some(status))));
}

#[tokio::test]
async fn nothing_starts_inside_a_container_that_does_not_run() {
    let mut host = Host::new();
    host.start("a", "exit 0").await;
    host.exit().await;
    for parent in ["a", "unknown"] {
        let error = host.mesos.start(host.spec_inside("b", parent, "true")).await;
        let text = format!("the container '{parent}' around it is not running");
        assert_eq!(error, Err(StartError::Launch(text)));
    }
}

#[tokio::test]
async fn an_agent_that_comes_back_ends_what_is_inside_an_ended_container() {
    let host = Host::new();
    let a = host.start("a", "while [ ! -e gate ]; do sleep 0.02; done").await;
    host.start("other", "sleep 1000").await;
    let b = host.mesos.start(host.spec_inside("b", "a", "sleep 1000")).await.expect("b").pid;
    host.mesos.start(host.spec_inside("c", "other", "sleep 1000")).await.expect("c");
    let (directory, sandbox) = (host.directory.clone(), host.sandbox("a"));
    drop(host.mesos);
    std::fs::write(sandbox.join("gate"), "").expect("the gate opens");
    while is_alive(&a.to_string()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_alive(&b.to_string()), "without a containerizer nobody ends it");
    let mut next = Host::at(directory);
    next.mesos.recover().await.expect("recovery");
    assert_eq!(next.exit().await, ("b".to_owned(), Some(9)));
    assert!(!is_alive(&b.to_string()));
    next.mesos.destroy("other");
    let ends = [next.exit().await.0, next.exit().await.0];
    assert_eq!(ends, ["c", "other"]);
}

#[tokio::test]
async fn output_may_go_to_the_errors_of_another_sandbox() {
    let mut host = Host::new();
    host.start("a", "echo first >&2; sleep 1000").await;
    let sandbox = host.sandbox("a");
    let errors = || std::fs::read_to_string(sandbox.join("stderr")).unwrap_or_default();
    while errors() != "first\n" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let around = sandbox.to_str().expect("text").to_owned();
    let spec = ContainerSpec {
        directory: around.clone(),
        working_directory: None,
        output: Some(around),
        ..host.spec_inside("b", "a", "pwd; echo error >&2")
    };
    host.mesos.start(spec).await.expect("b");
    assert_eq!(host.exit().await, ("b".to_owned(), Some(0)));
    assert_eq!(errors(), format!("first\n{}\nerror\n", sandbox.display()));
    assert_eq!(host.stdout("a"), "");
    host.mesos.destroy("a");
    host.exit().await;
}
