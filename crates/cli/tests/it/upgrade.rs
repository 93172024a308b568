//! Masters and agents of this version and of the last one that has landed, in one cluster
//! (docs/decisions/014-rolling-upgrade.md).

use crate::tasks::{Runner, framework};
use std::path::PathBuf;
use std::time::Duration;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

const NOW: &str = env!("CARGO_BIN_EXE_proffer");

/// The program of the last version that has landed; says so where there is none.
fn previous() -> Option<PathBuf> {
    let program = std::env::var_os("PROFFER_TEST_PREVIOUS").map(PathBuf::from);
    if program.is_none() {
        eprintln!(
            "skipped: upgrades (PROFFER_TEST_PREVIOUS is not set; `cargo xtask test` builds that version)"
        );
    }
    program
}

/// The master becomes another program, as when it crashes; its framework comes back to it.
fn restart_master(cluster: &mut Cluster, framework: &Framework) -> Framework {
    cluster.kill_master();
    cluster.start_master_number(0);
    let options = FrameworkOptions {
        id: Some(framework.id.clone()),
        checkpoint: true,
        failover_timeout: 600.0,
        ..Default::default()
    };
    let master = cluster.master();
    let back = wait::until("a subscription", Duration::from_secs(30), || {
        Framework::try_subscribe(&master, &options)
    });
    cluster.wait_for_agents(1);
    back
}

fn restart_agent(cluster: &mut Cluster) {
    cluster.kill_agent(0);
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
}

/// Everything that crosses the link: a task is launched, killed, and its end is told.
fn serves(cluster: &Cluster, framework: &mut Framework, name: &str) {
    let task = Runner::launch(cluster, framework, name);
    framework.kill_and_wait(name);
    wait::until("it has ended", Duration::from_secs(30), || (!task.is_alive()).then_some(()));
}

/// The master goes first, as it should, then the agent; then both go back.
#[test]
fn a_cluster_is_upgraded_and_goes_back_under_running_tasks() {
    let Some(before) = previous() else { return };
    let mut cluster = Cluster::start(ClusterOptions::new(&before, 1));
    let mut scheduler = framework(&cluster);
    let task = Runner::launch(&cluster, &mut scheduler, "long");
    serves(&cluster, &mut scheduler, "before");
    let weights = r#"[{"role":"web","weight":2.0}]"#;
    assert_eq!(testkit::http::send(&cluster.master(), "PUT", "/weights", weights).status, 200);

    cluster.set_program(NOW);
    let mut scheduler = restart_master(&mut cluster, &scheduler);
    task.runs_on();
    serves(&cluster, &mut scheduler, "new-master");
    let kept = testkit::http::get(&cluster.master(), "/weights").text();
    assert!(kept.contains("web"), "{kept}");
    restart_agent(&mut cluster);
    task.runs_on();
    serves(&cluster, &mut scheduler, "new-agent");

    // Back, in the same order: an old master with a new agent.
    cluster.set_program(&before);
    let mut scheduler = restart_master(&mut cluster, &scheduler);
    task.runs_on();
    serves(&cluster, &mut scheduler, "old-master");
    restart_agent(&mut cluster);
    task.runs_on();
    serves(&cluster, &mut scheduler, "old-agent");
    scheduler.kill_and_wait("long");
    wait::until("it has ended", Duration::from_secs(30), || (!task.is_alive()).then_some(()));
}

/// The agent goes first, which nobody should do: it works all the same.
#[test]
fn a_new_agent_works_for_an_old_master() {
    let Some(before) = previous() else { return };
    let mut cluster = Cluster::start(ClusterOptions::new(&before, 1));
    let mut scheduler = framework(&cluster);
    let task = Runner::launch(&cluster, &mut scheduler, "long");
    cluster.set_program(NOW);
    restart_agent(&mut cluster);
    task.runs_on();
    serves(&cluster, &mut scheduler, "new-agent");
    scheduler.kill_and_wait("long");
}
