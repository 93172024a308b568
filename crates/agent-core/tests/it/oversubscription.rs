//! Oversubscription (spec/agent.md 7.4): what is offered beyond the total, and who goes when the node is too busy.

use super::*;
use agent_core::contract::{Measured, Purpose};
use agent_core::{Estimator, LoadThresholds, Oversubscription, as_revocable};
use resources::Resources;
use v1::task_status::{Reason, Source};

fn fixed(text: &str) -> Oversubscription {
    let resources = as_revocable(&Resources::parse(text, "*").expect("resources"));
    Oversubscription {
        estimator: Estimator::Fixed(resources.expect("scalars")),
        ..Oversubscription::default()
    }
}

/// Ends what is revocable when the load of five minutes is above 4.
fn controlled() -> Oversubscription {
    Oversubscription {
        thresholds: Some(LoadThresholds { five: Some(4000), fifteen: None }),
        ..Oversubscription::default()
    }
}

fn node(oversubscription: Oversubscription) -> Node {
    Node::recovered_with(Config { oversubscription, ..config() }, Vec::new(), Vec::new()).0
}

fn ready(oversubscription: Oversubscription) -> Node {
    let mut node = node(oversubscription);
    node.connect();
    node
}

fn revocable(mut task: Value) -> Value {
    task["resources"][0]["revocable"] = json!({});
    task
}

fn load(load_5: i64) -> Input {
    let measured = Measured { load_5, load_15: 0, busy: Duration::ZERO };
    Input::Measured { purpose: Purpose::Correct, measured: Some(measured) }
}

fn busy(millis: u64) -> Input {
    let measured = Measured { load_5: 0, load_15: 0, busy: Duration::from_millis(millis) };
    Input::Measured { purpose: Purpose::Estimate, measured: Some(measured) }
}

/// Estimates that were sent.
fn estimates(effects: &[Effect]) -> Vec<String> {
    let sent = effects.iter().filter_map(|e| match e {
        Effect::SendToMaster { message, .. } => match &**message {
            agent_to_master::Message::UpdateAgent(update) => {
                let sent = Resources::from_wire(&update.oversubscribed).expect("resources");
                Some(sent.to_string())
            }
            _ => None,
        },
        _ => None,
    });
    sent.collect()
}

fn start(node: &mut Node, task: Value) -> String {
    let container_id = started(&node.run(task)).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    assert_eq!(node.drain(effects), ["TASK_STARTING", "TASK_RUNNING"]);
    container_id
}

#[test]
fn every_registration_says_what_is_oversubscribed() {
    let mut node = node(fixed("cpus:2;mem:512"));
    for _ in 0..2 {
        let effects = node.step(Input::MasterConnected { connection: MASTER });
        let [Effect::SendToMaster { message, .. }] = &effects[..] else { panic!("{effects:?}") };
        let agent_to_master::Message::Register(register) = &**message else { panic!() };
        let sent = Resources::from_wire(&register.oversubscribed).expect("resources");
        assert_eq!(sent.to_string(), "cpus{REV}:2; mem{REV}:512");
        node.step(Input::MasterClosed { connection: MASTER });
    }
}

#[test]
fn only_scalars_without_a_role_can_be_oversubscribed() {
    for text in ["ports:[1-2]", "cpus(web):2", "disk(web)[p:path]:2"] {
        let error = Resources::parse(text, "*").map(|r| as_revocable(&r).expect_err(text));
        assert!(error.is_err() || error.is_ok_and(|e| e.starts_with("expected ")), "{text}");
    }
}

#[test]
fn cpus_that_tasks_leave_idle_are_estimated() {
    let settings = Oversubscription { estimator: Estimator::Load, ..Oversubscription::default() };
    let mut node = ready(settings);
    let mut four = task("t");
    four["resources"][0]["scalar"]["value"] = json!(4);
    let container_id = start(&mut node, four);
    let look = Effect::Measure { purpose: Purpose::Estimate };
    assert!(node.wait(15).contains(&look));
    assert_eq!(estimates(&node.step(busy(0))), [] as [&str; 0], "one look tells nothing");
    assert!(node.wait(15).contains(&look));
    // 18 of 15 seconds: 1.2 cpus are busy, in steps of a half 2.5 of 4 are idle.
    assert_eq!(estimates(&node.step(busy(18_000))), ["cpus{REV}:2.5"]);
    node.wait(15);
    assert_eq!(estimates(&node.step(busy(36_000))), [] as [&str; 0], "nothing has changed");
    // A revocable task may keep busy what it has.
    start(&mut node, revocable(task("r")));
    node.wait(15);
    assert_eq!(estimates(&node.step(busy(36_000 + 33_000))), [] as [&str; 0]);
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(0), limitation: None });
    node.drain(effects);
    node.wait(15);
    assert_eq!(estimates(&node.step(busy(36_000 + 33_000 + 15_000))), ["{}"], "nothing is idle");
}

#[test]
fn above_the_threshold_only_revocable_tasks_go() {
    let mut node = ready(controlled());
    let firm = start(&mut node, task("firm"));
    let lent = start(&mut node, revocable(task("lent")));
    assert!(node.wait(5).contains(&Effect::Measure { purpose: Purpose::Correct }));
    assert_eq!(node.step(load(4000)), [], "not above");
    node.step(load(4001));
    let mut effects = node.stored();
    effects.extend(node.wait(0));
    assert!(effects.contains(&Effect::DestroyContainer { container_id: lent.clone() }));
    assert!(!effects.contains(&Effect::DestroyContainer { container_id: firm }), "{effects:?}");
    node.step(Input::ContainerExited { container_id: lent, status: Some(9), limitation: None });
    let status = updates(&node.stored()).remove(0);
    assert_eq!((status.state(), status.source()), (v1::TaskState::TaskLost, Source::Agent));
    assert_eq!(status.reason(), Reason::ContainerPreempted);
    assert_eq!(status.message(), "Container preempted by QoS correction");
    assert_eq!(node.agent.view().counters["slave/executors_preempted"], 1);
}

#[test]
fn without_a_master_the_load_is_corrected_too() {
    let mut node = ready(controlled());
    let lent = start(&mut node, revocable(task("lent")));
    node.step(Input::MasterClosed { connection: MASTER });
    node.step(load(5000));
    let mut effects = node.stored();
    effects.extend(node.wait(0));
    assert!(effects.contains(&Effect::DestroyContainer { container_id: lent }));
}

#[test]
fn partition_aware_frameworks_are_told_that_the_task_is_gone() {
    let mut node = ready(controlled());
    let mut framework = framework();
    let aware = v1::framework_info::capability::Type::PartitionAware as i32;
    framework.capabilities = vec![v1::framework_info::Capability { r#type: Some(aware) }];
    let task = wire::json::from_value(&revocable(task("lent"))).expect("a task");
    let run = internal::RunTask { framework, task, launch_executor: true };
    let mut effects = node.hear(master_to_agent::Message::RunTask(run));
    effects.extend(node.stored());
    let container_id = started(&effects).container_id;
    let effects =
        node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    node.drain(effects);
    node.step(load(5000));
    node.stored();
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(9), limitation: None });
    assert_eq!(node.drain(effects), ["TASK_GONE"]);
}

#[test]
fn a_preemption_by_the_master_outlives_the_agent() {
    let mut node = Node::registered();
    let container_id = start(&mut node, task("t"));
    node.hear(master_to_agent::Message::KillTask(internal::KillTask {
        framework_id: "f".into(),
        task_id: "t".into(),
        kill_policy: None,
        preemption: Some("wanted back by role 'web'".into()),
        at_once: None,
        asked_by: None,
    }));
    node.stored();
    let state = FoundState::Exited { status: Some(15), limitation: None };
    let found = FoundContainer { container_id, state };
    let (mut node, _) = Node::recovered(node.records, vec![found]);
    let mut effects = node.connect();
    effects.extend(node.stored());
    let status = updates(&effects).remove(0);
    assert_eq!(status.state(), v1::TaskState::TaskLost);
    assert_eq!(status.reason(), Reason::ContainerPreempted);
    assert_eq!(status.message(), "wanted back by role 'web'");
}

#[test]
fn a_task_that_ends_well_before_it_is_preempted_has_finished() {
    let mut node = ready(controlled());
    let container_id = start(&mut node, revocable(task("lent")));
    let effects = node.step(Input::ContainerExited {
        container_id: container_id.clone(),
        status: Some(0),
        limitation: None,
    });
    assert_eq!(node.drain(effects), ["TASK_FINISHED"]);
    assert_eq!(node.step(load(5000)), []);
}
