//! Tasks in containers of Docker's: what differs from others (spec/agent.md 3.1, 3.4, 6.7).

use super::*;

fn docker_task(id: &str) -> Value {
    let mut task = task(id);
    task["command"] =
        json!({"shell": false, "environment": {"variables": [{"name": "A", "value": "1"}]}});
    task["container"] = json!({"type": "DOCKER", "docker": {"image": "busybox"}});
    task
}

#[test]
fn an_image_has_its_own_command_and_environment() {
    let mut node = Node::registered();
    let spec = started(&node.run(docker_task("t")));
    let environment: Vec<(&str, &str)> =
        spec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(environment, [("A", "1"), ("MESOS_ALLOCATION_ROLE", "r")]);
    assert!(spec.container.is_some() && spec.command.value.is_none());
}

#[test]
fn it_is_the_container_that_exits() {
    let mut node = Node::registered();
    let container_id = started(&node.run(docker_task("t"))).container_id;
    let mut effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    effects.extend(node.step(Input::ContainerExited {
        container_id,
        status: Some(125 << 8),
        limitation: None,
    }));
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]);
    let view = node.agent.view();
    let completed = &view.completed_frameworks[0].completed_executors[0].completed_tasks[0];
    let message = completed.statuses.last().and_then(|s| s.message.clone());
    assert_eq!(message.as_deref(), Some("Container exited with status 125"));
}

/// Seconds from the signal to the container's destruction.
#[track_caller]
fn grace(stop_timeout: u64, policy: Option<u64>) -> u64 {
    let config = Config { docker_stop_timeout: Duration::from_secs(stop_timeout), ..config() };
    let (mut node, _) = Node::recovered_with(config, Vec::new(), Vec::new());
    node.connect();
    let mut task = docker_task("t");
    if let Some(seconds) = policy {
        let nanoseconds = seconds * 1_000_000_000;
        task["kill_policy"] = json!({"grace_period": {"nanoseconds": nanoseconds}});
    }
    let container_id = started(&node.run(task)).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    node.drain(effects);
    let kill =
        internal::KillTask { framework_id: "f".into(), task_id: "t".into(), ..Default::default() };
    node.hear(master_to_agent::Message::KillTask(kill));
    let signalled = node.stored();
    let signal = Effect::SignalContainer { container_id: container_id.clone(), signal: 15 };
    assert!(signalled.contains(&signal), "{signalled:?}");
    let destroy = Effect::DestroyContainer { container_id };
    (1..100).find(|_| node.wait(1).contains(&destroy)).expect("it is destroyed")
}

#[test]
fn a_container_has_as_long_to_stop_as_an_executor() {
    assert_eq!(grace(0, None), 5);
    assert_eq!(grace(9, None), 9);
    assert_eq!(grace(9, Some(2)), 2);
}

/// A container that runs is given no devices, so an executor has those that it asks for itself.
#[test]
fn gpus_of_tasks_in_an_executor_are_refused() {
    let mut node = Node::registered();
    let mut task = super::executors::own("t");
    task["executor"]["container"] = docker_task("x")["container"].clone();
    let gpu = json!({"name": "gpus", "type": "SCALAR", "scalar": {"value": 1}});
    task["resources"].as_array_mut().expect("resources").push(gpu);
    let status = updates(&node.run(task)).remove(0);
    assert_eq!(status.state(), v1::TaskState::TaskFailed);
    assert!(status.message().contains("'ExecutorInfo.resources'"), "{}", status.message());
}
