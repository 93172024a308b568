//! Command tasks and pods: start, end, kill, and the order of what is stored and sent.

use super::*;

#[test]
fn an_update_leaves_only_after_it_is_stored_and_one_at_a_time() {
    let mut node = Node::registered();
    let container = started(&node.run(task("t"))).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container.clone(), result: Ok(42) });
    assert_eq!(effects, [], "nothing leaves before the store has it");
    let sent = updates(&node.stored());
    assert_eq!(sent.len(), 1, "only the head is in flight");
    let starting = &sent[0];
    assert_eq!(starting.state(), v1::TaskState::TaskStarting);
    let status = starting.container_status.as_ref().expect("a container status");
    assert_eq!(
        (status.executor_pid, status.container_id.as_ref().map(|c| c.value.clone())),
        (Some(42), Some(container))
    );
    assert_eq!(status.network_infos[0].ip_addresses[0].ip_address(), "10.0.0.1");
    assert_eq!(
        (starting.executor_id.clone(), starting.source()),
        (Some("t".into()), v1::task_status::Source::Executor)
    );

    assert_eq!(updates(&node.wait(9)), []);
    assert_eq!(updates(&node.wait(1)).len(), 1, "sent again after 10 s");
    assert_eq!(updates(&node.wait(19)), []);
    assert_eq!(updates(&node.wait(1)).len(), 1, "and after 20 s");
    let wrong = v1::TaskStatus { uuid: Some(vec![9; 16]), ..starting.clone() };
    assert_eq!(node.acknowledge(&wrong), []);
    let next = updates(&node.acknowledge(starting));
    assert_eq!(next[0].state(), v1::TaskState::TaskRunning);
}

#[test]
fn the_sandbox_and_the_environment_are_the_peers() {
    let mut node = Node::registered();
    let spec = started(&node.run(task("t")));
    let runs = "/work_dir/slaves/m-S0/frameworks/f/executors/t/runs";
    assert_eq!(spec.directory, format!("{runs}/{}", spec.container_id));
    assert_eq!(spec.latest_link, Some(format!("{runs}/latest")));
    let names: Vec<&str> = spec.environment.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "LIBPROCESS_IP",
            "LIBPROCESS_PORT",
            "MESOS_AGENT_ENDPOINT",
            "MESOS_ALLOCATION_ROLE",
            "MESOS_CHECKPOINT",
            "MESOS_DIRECTORY",
            "MESOS_EXECUTOR_ID",
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
            "MESOS_FRAMEWORK_ID",
            "MESOS_HTTP_COMMAND_EXECUTOR",
            "MESOS_RECOVERY_TIMEOUT",
            "MESOS_SANDBOX",
            "MESOS_SLAVE_ID",
            "MESOS_SLAVE_PID",
            "MESOS_SUBSCRIPTION_BACKOFF_MAX",
            "PATH",
        ]
    );
    assert_eq!(spec.environment["MESOS_SLAVE_PID"], "slave(1)@10.0.0.1:5051");
    assert_eq!(spec.environment["MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"], "5secs");
}

#[track_caller]
fn ends(exit: Option<i32>, state: &str, message: &str) {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let mut effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    effects.extend(node.step(Input::ContainerExited {
        container_id: container_id.clone(),
        status: exit,
        limitation: None,
    }));
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING", state]);
    let view = node.agent.view();
    let completed = &view.completed_frameworks[0].completed_executors[0].completed_tasks[0];
    assert_eq!(completed.statuses.last().and_then(|s| s.message.clone()).as_deref(), Some(message));
    assert!(view.frameworks.is_empty());
}

#[test]
fn the_end_of_a_container_is_the_end_of_its_task() {
    ends(Some(0), "TASK_FINISHED", "Command exited with status 0");
    ends(Some(3 << 8), "TASK_FAILED", "Command exited with status 3");
    ends(Some(9), "TASK_FAILED", "Command terminated with signal Killed");
    ends(None, "TASK_FAILED", "Executor terminated");
}

#[test]
fn a_container_waits_for_its_agent_only_if_its_framework_checkpoints() {
    let times = |config: Config, checkpoint: bool| {
        let (mut node, _) = Node::recovered_with(config, Vec::new(), Vec::new());
        node.connect();
        let run = internal::RunTask {
            framework: v1::FrameworkInfo { checkpoint: Some(checkpoint), ..framework() },
            task: wire::json::from_value(&task("t")).expect("a task"),
            launch_executor: true,
        };
        let mut effects = node.hear(master_to_agent::Message::RunTask(run));
        effects.extend(node.stored());
        let spec = started(&effects);
        (spec.recovery_timeout.as_secs(), spec.shutdown_grace_period.as_secs())
    };
    assert_eq!(times(config(), true), (900, 5));
    assert_eq!(times(config(), false), (0, 5));
    assert_eq!(times(Config { local: true, ..config() }, true), (0, 0));
}

#[test]
fn a_kill_is_stored_then_signalled_then_enforced() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
    let kill = internal::KillTask {
        framework_id: "f".into(),
        task_id: "t".into(),
        kill_policy: None,
        preemption: None,
        at_once: None,
        asked_by: None,
    };
    assert_eq!(node.hear(master_to_agent::Message::KillTask(kill)), []);
    let signal = Effect::SignalContainer { container_id: container_id.clone(), signal: 15 };
    assert_eq!(node.stored(), [signal]);
    assert_eq!(node.wait(2), []);
    assert_eq!(node.wait(1), [Effect::DestroyContainer { container_id: container_id.clone() }]);
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(9), limitation: None });
    assert_eq!(node.drain(effects), ["TASK_KILLED"]);
}

#[test]
fn what_can_not_be_started_is_explained() {
    use v1::task_status::{Reason, Source};
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    let result = Err(StartError::Launch("no user 'x'".into()));
    let mut effects = node.step(Input::ContainerStarted { container_id, result });
    effects.extend(node.stored());
    let status = updates(&effects).remove(0);
    assert_eq!((status.state(), status.source()), (v1::TaskState::TaskFailed, Source::Agent));
    assert_eq!(status.reason(), Reason::ContainerLaunchFailed);
    assert_eq!(status.message(), "Failed to launch container: no user 'x'");

    let mut empty = task("empty");
    empty["command"] = json!({});
    let status = updates(&node.run(empty)).remove(0);
    assert_eq!((status.state(), status.source()), (v1::TaskState::TaskFailed, Source::Agent));
    assert_eq!(status.reason(), Reason::ExecutorTerminated);
    assert!(status.message().contains("'command.value' is not set"), "{}", status.message());
}

#[test]
fn a_command_task_without_a_container_has_the_default_one() {
    let container = |hostname: &str| {
        let json = json!({"type": "MESOS", "hostname": hostname});
        wire::json::from_value::<v1::ContainerInfo>(&json).expect("a container")
    };
    let config = Config { default_container_info: Some(container("default")), ..config() };
    let (mut node, _) = Node::recovered_with(config, Vec::new(), Vec::new());
    node.connect();
    assert_eq!(started(&node.run(task("t"))).container, Some(container("default")));
    let mut own = task("u");
    own["container"] = json!({"type": "MESOS", "hostname": "own"});
    assert_eq!(started(&node.run(own)).container, Some(container("own")));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let mut node = Node::registered();
    let mut check = |name: &str, value: Value, text: &str| {
        let mut task = task(name);
        task[name] = value;
        let effects = node.run(task);
        let status = updates(&effects).remove(0);
        assert!(matches!(status.state(), v1::TaskState::TaskLost | v1::TaskState::TaskFailed));
        assert!(status.message().contains(text), "{}", status.message());
    };
    check(
        "limits",
        json!({"cpus": {"value": 2}}),
        "needs 'cgroups/cpu' in the agent's --isolation",
    );
}

#[test]
fn one_failed_task_ends_its_group_and_then_the_pod() {
    let mut node = Node::registered();
    let executor =
        json!({"type": "DEFAULT", "executor_id": {"value": "pod"}, "framework_id": {"value": "f"}});
    let tasks = ["a", "b"].map(|id| wire::json::from_value(&task(id)).expect("a task"));
    let mut effects = node.hear(master_to_agent::Message::RunTaskGroup(internal::RunTaskGroup {
        framework: framework(),
        executor: wire::json::from_value(&executor).expect("an executor"),
        tasks: tasks.to_vec(),
        launch_executor: true,
    }));
    effects.extend(node.stored());
    let containers: Vec<String> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::StartContainer { spec } => Some(spec.container_id.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(containers.len(), 2);
    for container_id in &containers {
        let effects = node
            .step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(1) });
        node.drain(effects);
    }
    let mut effects = node.step(Input::ContainerExited {
        container_id: containers[0].clone(),
        status: Some(1 << 8),
        limitation: None,
    });
    effects.extend(node.stored());
    assert!(
        effects
            .contains(&Effect::SignalContainer { container_id: containers[1].clone(), signal: 15 })
    );
    assert_eq!(node.drain(effects), ["TASK_FAILED"]);
    let effects = node.step(Input::ContainerExited {
        container_id: containers[1].clone(),
        status: Some(15),
        limitation: None,
    });
    let exited = effects.iter().any(|e| {
        matches!(e, Effect::SendToMaster { message, .. } if matches!(&**message, agent_to_master::Message::ExecutorExited(_)))
    });
    assert!(exited, "the master frees the pod's own resources");
    assert_eq!(node.drain(effects), ["TASK_KILLED"]);
}

#[test]
fn a_task_sent_while_the_id_is_being_stored_waits() {
    let (mut node, _) = Node::recovered(Vec::new(), Vec::new());
    node.step(Input::MasterConnected { connection: MASTER });
    node.hear(master_to_agent::Message::Registered(internal::Registered {
        agent_id: "m-S0".into(),
        total_ping_timeout_seconds: 75.0,
        ..Default::default()
    }));
    let task = wire::json::from_value(&task("t")).expect("a task");
    let run = internal::RunTask { framework: framework(), task, launch_executor: true };
    assert_eq!(node.hear(master_to_agent::Message::RunTask(run)), []);
    started(&node.stored());
}

#[test]
fn silence_of_the_master_closes_the_link() {
    let mut node = Node::registered();
    assert_eq!(node.wait(74), []);
    let pong = node.hear(master_to_agent::Message::Ping(internal::Ping { connected: true }));
    assert!(matches!(&pong[..], [Effect::SendToMaster { .. }]));
    assert_eq!(node.wait(74), []);
    assert_eq!(node.wait(1), [Effect::CloseMaster { connection: MASTER }]);
}

#[test]
fn a_framework_that_comes_back_finds_its_history() {
    let mut node = Node::registered();
    for id in ["one", "two", "three"] {
        let container_id = started(&node.run(task(id))).container_id;
        let mut effects = node
            .step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
        effects.extend(node.step(Input::ContainerExited {
            container_id,
            status: Some(0),
            limitation: None,
        }));
        node.drain(effects);
    }
    let executors = |node: &Node| -> Vec<String> {
        let view = node.agent.view();
        assert!(view.frameworks.len() + view.completed_frameworks.len() == 1);
        let framework = view.frameworks.values().chain(&view.completed_frameworks).next();
        let completed = &framework.expect("the framework").completed_executors;
        completed.iter().map(|e| e.id().to_owned()).collect()
    };
    assert_eq!(executors(&node), ["one", "two", "three"]);
    node.run(task("four"));
    assert_eq!(executors(&node), ["one", "two", "three"], "while it runs something");
}

#[test]
fn without_a_sandbox_for_its_user_a_task_was_never_here() {
    use v1::task_status::{Reason, Source};
    for own in [false, true] {
        let mut node = Node::registered();
        let mut one = task("t");
        if own {
            one.as_object_mut().expect("a task").remove("command");
            one["executor"] = json!({"executor_id": {"value": "e"}, "command": {"value": "x"}});
        }
        let container_id = started(&node.run(one)).container_id;
        let result = Err(StartError::Sandbox("there is no user 'x' on this host".into()));
        let mut effects = node.step(Input::ContainerStarted { container_id, result });
        effects.extend(node.stored());
        let all = updates(&effects);
        assert_eq!(all.len(), 1, "{all:?}");
        let status = &all[0];
        assert_eq!((status.state(), status.source()), (v1::TaskState::TaskLost, Source::Agent));
        assert_eq!(status.reason(), Reason::ExecutorTerminated);
        let message = "Failed to create the sandbox: there is no user 'x' on this host";
        assert_eq!(status.message(), message);
    }
}
