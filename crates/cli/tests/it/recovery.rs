//! What happens to running tasks when their agent is killed.

use std::collections::{BTreeMap, BTreeSet};
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

use std::time::Duration;

/// 20 tasks run while their agent is killed ten times; they end while it is away the last time.
#[test]
fn tasks_that_end_while_their_agent_is_down_are_reported_truly() {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.resources = "cpus:8;mem:4096;disk:10000".to_owned();
    let mut cluster = Cluster::start(options);
    let subscription = FrameworkOptions {
        checkpoint: true,
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &subscription);

    let gate = cluster.directory().join("gate");
    let pids = cluster.directory().join("pids");
    std::fs::create_dir(&pids).expect("a directory");
    let offer = framework.offers().remove(0);
    let names: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let tasks: Vec<_> = names
        .iter()
        .map(|name| {
            let (pids, gate) = (pids.display(), gate.display());
            let command = format!("echo $$ >> {pids}/{name}; while [ ! -e {gate} ]; do sleep 0.05; done; touch {pids}/{name}.ended");
            command_task(&offer, name, &command, 0.1, 32.0)
        })
        .collect();
    framework.launch(&offer, &tasks);
    for name in &names {
        framework.until_state(name, "TASK_RUNNING");
    }

    for kill in 1..=10 {
        cluster.kill_agent(0);
        if kill == 10 {
            std::fs::write(&gate, "").expect("the gate opens");
            for name in &names {
                let ended = pids.join(format!("{name}.ended"));
                wait::until("the task ends", Duration::from_secs(10), || {
                    ended.exists().then_some(())
                });
            }
        }
        cluster.start_agent(0);
        cluster.wait_for_agents(1);
    }

    let mut states: BTreeMap<String, String> = BTreeMap::new();
    for name in &names {
        let last = framework.until_end(name).pop().expect("a status");
        states.insert(name.clone(), last["state"].to_string());
    }
    let distinct: BTreeSet<_> = states.values().collect();
    assert_eq!(distinct.into_iter().collect::<Vec<_>>(), ["\"TASK_FINISHED\""], "{states:?}");
    for name in &names {
        let starts = std::fs::read_to_string(pids.join(name)).expect("a pid");
        assert_eq!(starts.lines().count(), 1, "{name} was started once");
    }
}
