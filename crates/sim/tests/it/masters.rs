//! Several masters: the simulator notices what is broken on purpose among them.

use sim::{Fault, Options, Pace, Sabotage, World};
use std::time::Duration;

/// Three masters of a small cluster for some minutes, in which only masters fail.
fn options(seed: u64, faults: &[Fault], sabotage: Option<Sabotage>) -> Options {
    Options {
        agents: 6,
        frameworks: 3,
        tasks: 12,
        pace: Pace::QUICK,
        longest_task: Duration::from_secs(240),
        faulty: Duration::from_secs(600),
        fault_every: Some(Duration::from_secs(30)),
        faults: faults.to_vec(),
        share_every: Some(Duration::from_secs(10)),
        lending: false,
        sabotage,
        ..Options::of_masters(seed, 3)
    }
}

/// What is wrong with the first of so many seeds with which anything is.
fn found(faults: &[Fault], sabotage: Option<Sabotage>, seeds: u64) -> Option<String> {
    (1..=seeds).find_map(|seed| {
        World::new(options(seed, faults, sabotage), false).run().err().map(|f| f.what)
    })
}

/// Whatever happens to masters.
const ALL: [Fault; 9] = [
    Fault::MasterCrash,
    Fault::MasterPause,
    Fault::MasterCut,
    Fault::MasterCutHalf,
    Fault::AllMastersCrash,
    Fault::NoMajority,
    Fault::SlowRegistry,
    Fault::FailedWrite,
    Fault::ClockJump,
];

#[test]
fn nothing_is_wrong_with_these_seeds_by_themselves() {
    assert_eq!(found(&ALL, None, 6), None);
}

#[test]
fn a_seed_decides_everything() {
    let run = || World::new(options(3, &ALL, None), false).run().expect("nothing is wrong");
    assert_eq!(run(), run());
}

#[test]
fn two_leaders_do_not_act() {
    let what = found(&[Fault::MasterPause], Some(Sabotage::ActsWithoutLease), 20)
        .expect("the simulator notices");
    assert!(what.contains("two leaders act"), "{what}");
}

#[test]
fn who_led_does_not_write_to_the_registry() {
    let faults = [Fault::MasterPause, Fault::MasterCutHalf, Fault::SlowRegistry];
    let what = found(&faults, Some(Sabotage::NoFence), 40).expect("the simulator notices");
    assert!(what.contains("not linearizable") || what.contains("is lost"), "{what}");
}

#[test]
fn a_write_is_not_forgotten() {
    let what = found(&[Fault::MasterCrash], Some(Sabotage::ForgetsWrites), 20)
        .expect("the simulator notices");
    assert!(what.contains("not linearizable") || what.contains("is lost"), "{what}");
}

#[test]
fn no_task_is_killed_because_another_master_leads() {
    let what = found(&[Fault::MasterCrash], Some(Sabotage::KillsAtFailover), 20)
        .expect("the simulator notices");
    assert!(what.contains("ended as TaskKilled"), "{what}");
}

#[test]
fn everything_converges_after_the_last_fault() {
    let what = found(&[Fault::MasterCrash], Some(Sabotage::LosesAcknowledgements), 5)
        .expect("the simulator notices");
    assert!(what.contains("not converged"), "{what}");
}

/// The tasks that such a drain ends are noticed as well.
#[test]
fn the_next_leader_knows_who_is_drained() {
    let noticed = |seed: u64| {
        let options = options(seed, &[Fault::MasterCrash], Some(Sabotage::ForgetsDrains));
        World::new(options, false).run().err().map(|failure| failure.what)
    };
    let is_named =
        |what: &str| what.contains("the acknowledged use of") && what.contains("out of use");
    assert!((1..=20).filter_map(noticed).any(|what| is_named(&what)), "it is not noticed");
}
