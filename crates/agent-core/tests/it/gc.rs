//! Garbage: by age, and by pressure of the disk.

use super::*;
use agent_core::GarbageCollection;
use agent_core::contract::{DiskUse, Recover};

const DAY: u32 = 86400;
const BASE: &str = "/work_dir/slaves/m-S0/frameworks/f";

fn removed(effects: &[Effect]) -> Vec<&str> {
    let paths = effects.iter().filter_map(|effect| match effect {
        Effect::RemoveDirectory { path } => Some(path.strip_prefix(BASE).unwrap_or(path)),
        _ => None,
    });
    paths.collect()
}

fn pending(node: &Node) -> u64 {
    node.agent.view().counters.get("gc/path_removals_pending").copied().unwrap_or_default()
}

/// A task ends and its end is acknowledged.
fn ended(node: &mut Node, id: &str) -> Vec<Effect> {
    let container_id = started(&node.run(task(id))).container_id;
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(1) });
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(0), limitation: None });
    let mut all = Vec::new();
    let mut open = updates(&effects);
    open.extend(updates(&node.stored()));
    while let Some(status) = open.pop() {
        all.extend(node.acknowledge(&status));
        all.extend(node.stored());
        open.extend(updates(&all).into_iter().filter(|s| s.uuid != status.uuid));
        open.dedup();
        all.retain(|e| !matches!(e, Effect::SendToMaster { .. }));
    }
    all
}

fn disk(used: u64) -> Input {
    Input::DiskMeasured { disk: DiskUse { used, total: 100 } }
}

#[test]
fn the_greatest_age_shrinks_with_what_is_free() {
    let gc = GarbageCollection { delay: Duration::from_secs(1000), ..Default::default() };
    let ages: Vec<u64> =
        [0, 40, 89, 90, 100].map(|used| gc.max_age(DiskUse { used, total: 100 }).as_secs()).into();
    assert_eq!(ages, [900, 500, 10, 0, 0]);
    let gc = GarbageCollection { headroom: 0, ..gc };
    assert_eq!(gc.max_age(DiskUse { used: 0, total: 0 }).as_secs(), 1000);
}

#[test]
fn old_directories_go_in_their_time_and_with_them_what_is_below() {
    let mut node = Node::registered();
    let touched: Vec<String> = ended(&mut node, "t")
        .into_iter()
        .filter_map(|e| match e {
            Effect::Touch { path } => Some(path),
            _ => None,
        })
        .collect();
    assert_eq!(touched, [format!("{BASE}/executors/t"), BASE.to_owned()]);
    assert_eq!(pending(&node), 2);
    assert_eq!(removed(&node.wait(6 * u64::from(DAY))), [] as [&str; 0]);
    assert_eq!(removed(&node.wait(u64::from(DAY))), [""], "the framework's, with its executors");
    assert_eq!(pending(&node), 1, "it is being removed");
    node.step(Input::DirectoryRemoved { result: Ok(()) });
    assert_eq!(pending(&node), 0);
    assert_eq!(node.agent.view().counters["gc/path_removals_succeeded"], 1);
    node.step(Input::DirectoryRemoved { result: Err("in use".into()) });
    assert_eq!(node.agent.view().counters["gc/path_removals_failed"], 1);
}

#[test]
fn a_full_disk_makes_young_directories_go_but_no_live_one() {
    let mut node = Node::registered();
    ended(&mut node, "old");
    node.wait(2 * u64::from(DAY));
    node.connect();
    node.run(task("runs"));
    ended(&mut node, "young");
    assert_eq!(pending(&node), 2, "the framework is in use again");
    // Half of the disk: greatest age is 0.4 weeks, 2.8 days.
    assert_eq!(removed(&node.step(disk(50))), [] as [&str; 0]);
    // 1.4 days.
    assert_eq!(removed(&node.step(disk(70))), ["/executors/old"]);
    assert_eq!(removed(&node.step(disk(95))), ["/executors/young"]);
    assert_eq!(node.agent.view().directory_max_age, Some(Duration::ZERO));
}

#[test]
fn the_disk_is_looked_at_again_and_again() {
    let (mut node, _) = Node::recovered(Vec::new(), Vec::new());
    let looks = |effects: Vec<Effect>| effects.contains(&Effect::MeasureDisk);
    assert!(looks(node.wait_and_look(60)));
    assert!(!looks(node.wait_and_look(30)));
    assert!(looks(node.wait_and_look(30)));
}

#[test]
fn what_was_found_of_others_goes_and_what_is_in_use_stays() {
    let mut node = Node::registered();
    let directory = started(&node.run(task("t"))).directory;
    let mut found = |path: &str| {
        let age = Duration::from_secs(8 * 86400);
        let effects = node.step(Input::DirectoryFound { path: path.to_owned(), age });
        !removed(&effects).is_empty()
    };
    assert!(!found(&directory), "it runs there");
    assert!(!found("/work_dir/slaves/m-S0"), "its own");
    assert!(!found(BASE));
    assert!(found(&format!("{BASE}/executors/t/runs/before")));
    assert!(found("/work_dir/slaves/other-S1"));
    assert!(!found(&format!("{BASE}/executors/p/runs/x/containers/y")), "not asked for");
}

#[test]
fn cleanup_ends_everything_and_the_agent_is_a_new_one_afterwards() {
    let mut node = Node::registered();
    let container_id = started(&node.run(task("t"))).container_id;
    node.step(Input::ContainerStarted { container_id: container_id.clone(), result: Ok(42) });
    node.stored();
    let found = FoundContainer {
        container_id: container_id.clone(),
        state: FoundState::Running { pid: 42 },
    };
    let config = Config { recover: Recover::Cleanup, ..config() };
    let (mut node, mut effects) = Node::recovered_with(config.clone(), node.records, vec![found]);
    effects.extend(node.stored());
    let signalled = |e: &Effect| matches!(e, Effect::SignalContainer { signal: 15, .. });
    assert!(effects.iter().any(signalled), "{effects:?}");
    let effects = node.step(Input::MasterConnected { connection: MASTER });
    assert_eq!(effects, [], "it never registers");
    let effects =
        node.step(Input::ContainerExited { container_id, status: Some(15), limitation: None });
    assert!(matches!(effects.last(), Some(Effect::Exit { status: 0, .. })), "{effects:?}");
    let (node, _) = Node::recovered(node.records, Vec::new());
    assert_eq!((&node.agent.view().id, node.agent.view().frameworks.len()), (&None, 0));

    let (_, effects) = Node::recovered_with(config, Vec::new(), Vec::new());
    assert!(matches!(effects[..], [Effect::Exit { status: 0, .. }]), "{effects:?}");
}
