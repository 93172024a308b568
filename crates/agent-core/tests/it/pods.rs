//! What the tasks of a pod have in common.

use super::operations::{apply, create, reserve, reserved, volume};
use super::preemption::{containers, pod};
use super::*;
use agent_core::contract::Pod;

fn limited(id: &str, mem: f64) -> Value {
    let mut task = task(id);
    let named = |name: &str, value: f64| {
        json!({"name": name, "type": "SCALAR", "scalar": {"value": value},
            "allocation_info": {"role": "*"}})
    };
    task["resources"] = json!([named("cpus", 1.0), named("mem", mem)]);
    task["limits"] = json!({"mem": {"value": 2.0 * mem}});
    task
}

fn amounts(pod: &Pod) -> (f64, Option<f64>) {
    let resources = resources::Resources::from_wire(&pod.resources).expect("resources");
    (resources::from_milli(resources.scalar("mem")), pod.limits.get("mem").copied())
}

fn pods(effects: &[Effect]) -> Vec<Pod> {
    let specs = effects.iter().filter_map(|effect| match effect {
        Effect::StartContainer { spec } => spec.pod.as_deref().cloned(),
        _ => None,
    });
    specs.collect()
}

/// New amounts of containers: name, memory asked for, limit.
fn updates(effects: &[Effect]) -> Vec<(String, f64, Option<f64>)> {
    let updates = effects.iter().filter_map(|effect| match effect {
        Effect::UpdateContainer { container_id, resources, limits } => {
            let (resources, limits) = (resources.clone(), limits.clone());
            let (id, volumes) = (container_id.clone(), Vec::new());
            let pod = Pod { id, container: None, resources, limits, volumes, user: None };
            let (mem, limit) = amounts(&pod);
            Some((pod.id, mem, limit))
        }
        _ => None,
    });
    updates.collect()
}

#[test]
fn a_pod_has_what_its_tasks_ask_for_as_they_come_and_go() {
    let limitable = agent_core::Limitable { cpus: true, mem: true, cpus_by_request: false };
    let config = Config { limitable, ..config() };
    let (mut node, _) = Node::recovered_with(config, Vec::new(), Vec::new());
    node.connect();
    let mut executor = pod();
    executor["container"] = json!({"type": "MESOS", "linux_info": {"share_pid_namespace": true}});
    let effects = node.run_group(executor.clone(), &[limited("a", 100.0), limited("b", 50.0)]);
    let first = pods(&effects);
    assert!(!first.is_empty(), "{effects:?}");
    let root = first[0].id.clone();
    assert_eq!(first.len(), 2);
    assert_eq!(first[0], first[1], "they are in the same pod");
    assert_eq!(amounts(&first[0]), (150.0, Some(300.0)));
    let linux = first[0].container.as_ref().and_then(|c| c.linux_info.as_ref());
    assert!(linux.is_some_and(|linux| linux.share_pid_namespace()));
    assert_eq!(updates(&effects), []);
    let group = containers(&effects);
    for container_id in &group {
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(1) });
        node.stored();
    }
    // More come.
    let effects = node.run_group(executor, &[limited("c", 10.0)]);
    assert_eq!(updates(&effects), [(root.clone(), 160.0, Some(320.0))]);
    assert_eq!(amounts(&pods(&effects)[0]), (160.0, Some(320.0)));
    let third = containers(&effects).remove(0);
    node.step(Input::ContainerStarted { container_id: third.clone(), result: Ok(1) });
    node.stored();
    // And go. The last one takes the pod along.
    let end = |container_id: &str| Input::ContainerExited {
        container_id: container_id.to_owned(),
        status: Some(0),
        limitation: None,
    };
    let mut effects = node.step(end(&group[0]));
    effects.extend(node.stored());
    assert_eq!(updates(&effects), [(root.clone(), 60.0, Some(120.0))]);
    node.step(end(&group[1]));
    node.stored();
    let mut effects = node.step(end(&third));
    effects.extend(node.stored());
    assert_eq!(updates(&effects), []);
    assert!(effects.contains(&Effect::DestroyContainer { container_id: root.clone() }));
    let forget = Effect::ForgetContainer { container_id: root.clone() };
    assert!(node.step(end(&root)).contains(&forget));
}

#[test]
fn volumes_of_a_pods_executor_are_its_tasks_to_see_and_found_by_those_who_browse_sandboxes() {
    let mut node = crate::operations::node();
    apply(&mut node, 1, reserve(&[reserved("disk", 10.0)]));
    apply(&mut node, 2, create(&[volume("v", 10.0)]));
    node.stored();
    let mut executor = pod();
    executor["resources"] = json!([volume("v", 10.0)]);
    let shows = |container_path: &str, path: &str| {
        json!({"container_path": container_path, "mode": "RW", "source": {"type": "SANDBOX_PATH",
            "sandbox_path": {"type": "PARENT", "path": path}}})
    };
    let mut sees = task("a");
    // Links in a volume may lead anywhere, and so may the way to what is none.
    sees["container"] = json!({"type": "MESOS", "volumes": [
        shows("mine", "data"), shows("deep", "data/link"), shows("out", "../../.."), shows("/root", "data"),
    ]});
    let effects = node.run_group(executor, &[sees]);
    let first = pods(&effects).remove(0);
    let seen: Vec<_> =
        first.volumes.iter().map(|v| (v.path.as_str(), v.container_path.as_str())).collect();
    assert_eq!(seen, [(crate::operations::PATH, "data")]);
    let framework = node.agent.view().frameworks["f"].clone();
    let executor = framework.executors.values().next().expect("an executor");
    let shown = agent_core::shown_volumes("/work_dir", executor);
    let container = containers(&effects).remove(0);
    let expected =
        ["data".to_owned(), format!("containers/{container}/mine"), "tasks/a/mine".to_owned()];
    assert_eq!(shown, expected.map(|path| (path, crate::operations::PATH.to_owned())));
}

#[test]
fn a_check_in_a_pod_runs_as_its_task_unless_it_names_somebody() {
    for (named, expected) in [(Value::Null, "daemon"), (json!("other"), "other")] {
        let config = Config { switch_user: true, ..config() };
        let (mut node, _) = Node::recovered_with(config, Vec::new(), Vec::new());
        node.connect();
        let mut checked = task("a");
        checked["command"]["user"] = json!("daemon");
        let mut command = json!({"value": "true"});
        if named.is_string() {
            command["user"] = named;
        }
        checked["health_check"] =
            json!({"type": "COMMAND", "command": command, "delay_seconds": 1});
        let container_id = containers(&node.run_group(pod(), &[checked])).remove(0);
        node.step(Input::ContainerStarted { container_id, result: Ok(1) });
        node.stored();
        assert_eq!(started(&node.wait(1)).user.as_deref(), Some(expected));
    }
}

#[test]
fn a_pod_that_ended_while_the_agent_was_away_is_forgotten() {
    let mut node = Node::registered();
    let effects = node.run_group(pod(), &[task("a")]);
    let root = pods(&effects)[0].id.clone();
    let container_id = containers(&effects).remove(0);
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(1) });
    node.stored();
    let exited = |container_id: &str| FoundContainer {
        container_id: container_id.to_owned(),
        state: FoundState::Exited { status: Some(9), limitation: None },
    };
    let found = vec![exited(&container_id), exited(&root)];
    let (_, effects) = Node::recovered(node.records, found);
    assert!(effects.contains(&Effect::ForgetContainer { container_id: root }), "{effects:?}");
}
