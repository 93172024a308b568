//! Old sandboxes are removed, also those of a former run of the agent.

use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// Sandboxes below a directory: those with a file `stdout`.
fn sandboxes(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(sandboxes(&path));
        } else if path.ends_with("stdout") {
            found.push(directory.to_owned());
        }
    }
    found
}

#[test]
fn sandboxes_go_after_their_time_and_no_live_one_does() {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = vec!["--gc_delay=2secs".to_owned()];
    let mut cluster = Cluster::start(options);
    let subscription =
        FrameworkOptions { checkpoint: true, failover_timeout: 600.0, ..Default::default() };
    let mut framework = Framework::subscribe(&cluster.master(), &subscription);
    let offer = framework.offers().remove(0);
    let task = |id: &str, command: &str| command_task(&offer, id, command, 0.1, 32.0);
    framework.launch(&offer, &[task("stays", "sleep 1000"), task("goes", "true")]);
    framework.until_state("stays", "TASK_RUNNING");
    framework.until_end("goes");
    let slaves = cluster.directory().join("agent0/slaves");
    wait::until("one sandbox is left", LIMIT, || (sandboxes(&slaves).len() == 1).then_some(()));
    let metrics = http::get(&cluster.agent(0), "/metrics/snapshot").json();
    wait::until("it is counted", LIMIT, || {
        let metrics = http::get(&cluster.agent(0), "/metrics/snapshot").json();
        (metrics["gc/path_removals_succeeded"].as_f64() >= Some(1.0)).then_some(())
    });
    assert_eq!(metrics["gc/path_removals_failed"], 0, "{metrics}");

    // Of what ended nothing is known after the next start.
    cluster.kill_agent(0);
    let former = slaves.join("other-S7/frameworks/f/executors/e/runs/r");
    std::fs::create_dir_all(&former).expect("directories");
    std::fs::write(former.join("stdout"), "").expect("a file");
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    wait::until("the former agent's is gone", LIMIT, || {
        (!slaves.join("other-S7").exists()).then_some(())
    });
    assert_eq!(sandboxes(&slaves).len(), 1, "what runs stays");
    framework.kill_and_wait("stays");
    wait::until("all are gone", LIMIT, || sandboxes(&slaves).is_empty().then_some(()));
}

#[test]
fn no_sandbox_is_too_deep_to_be_removed() {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = vec!["--gc_delay=1secs".to_owned()];
    let cluster = Cluster::start(options);
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let pid = cluster.agent_pid(0);
    let dig = "exec perl -e 'for (1..20000) { mkdir q(d) and chdir q(d) or die }'";
    framework.launch(&offer, &[command_task(&offer, "digs", dig, 0.1, 64.0)]);
    let end = framework.until_end("digs").pop().expect("a status");
    assert_eq!(end["state"], "TASK_FINISHED", "{end}");
    let agent = cluster.directory().join("agent0");
    wait::until("it is gone", LIMIT, || {
        let metrics = http::get(&cluster.agent(0), "/metrics/snapshot").json();
        let removed = metrics["gc/path_removals_succeeded"].as_f64() >= Some(1.0);
        let left = std::fs::read_dir(agent.join("gc")).expect("a directory").count();
        (removed && left == 0).then_some(())
    });
    assert_eq!(cluster.agent_pid(0), pid, "the agent is the same");
}
