//! The simulator notices rules that are broken on purpose.

use sim::{Options, Sabotage, World};
use std::time::Duration;

/// A small world in which nothing else goes wrong, and in which much is lent and wanted back.
fn options(seed: u64, sabotage: Option<Sabotage>) -> Options {
    let drawn = Options::from_seed(seed);
    Options {
        agents: 2,
        frameworks: 4,
        tasks: 30,
        faulty: Duration::from_secs(300),
        fault_every: None,
        share_every: None,
        maintain_every: None,
        overlaps: std::collections::BTreeMap::new(),
        lending: true,
        hoarding: false,
        sabotage,
        ..drawn
    }
}

/// What is wrong with the first of so many seeds with which anything is.
fn found(sabotage: Option<Sabotage>, seeds: u64) -> Option<String> {
    (1..=seeds).find_map(|seed| {
        World::new(options(seed, sabotage), false).run().err().map(|failure| failure.what)
    })
}

#[test]
fn nothing_is_wrong_with_these_seeds_by_themselves() {
    assert_eq!(found(None, 8), None);
}

#[test]
fn a_task_that_borrows_nothing_is_not_killed_for_a_recall() {
    let what = found(Some(Sabotage::KillsWhoBorrowsNothing), 40).expect("the simulator notices");
    assert!(what.contains("was preempted, but uses nothing revocable"), "{what}");
}

#[test]
fn an_owner_does_not_wait_beyond_the_bound() {
    let what = found(Some(Sabotage::KillsNobody), 40).expect("the simulator notices");
    assert!(what.contains("Recall") && what.contains("since"), "{what}");
}
