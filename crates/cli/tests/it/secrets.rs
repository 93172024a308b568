//! Secrets that frameworks name and the operator keeps.

use serde_json::json;
use std::process::Command;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

#[test]
fn a_secret_that_is_named_reaches_the_task_and_nobody_else() {
    let directory = testkit::cluster::temporary_directory();
    std::fs::create_dir(directory.join("db")).expect("a directory");
    std::fs::write(directory.join("db/password"), "very-hidden").expect("a file");
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = vec![format!("--secret_resolver={}", directory.display())];
    let cluster = Cluster::start(options);
    let checkpoint = FrameworkOptions { checkpoint: true, ..Default::default() };
    let mut framework = Framework::subscribe(&cluster.master(), &checkpoint);
    let mut launch = |id: &str, key: &str| {
        let offer = framework.offers().remove(0);
        let test = "test \"$PASSWORD\" = very-hi\"dden\" && sleep 1";
        let mut task = command_task(&offer, id, test, 0.1, 32.0);
        let reference = json!({"name": "db", "key": key});
        let secret = json!({"type": "REFERENCE", "reference": reference});
        let variable = json!({"name": "PASSWORD", "type": "SECRET", "secret": secret});
        task["command"]["environment"] = json!({"variables": [variable]});
        framework.launch(&offer, &[task]);
        let end = if key == "password" { "TASK_FINISHED" } else { "TASK_FAILED" };
        framework.until_state(id, end)
    };
    launch("good", "password");
    let failed = launch("bad", "other");
    let text = failed["message"].as_str().unwrap_or_default();
    let want = "there is no secret 'db' with the key 'other' in this agent's --secret_resolver";
    assert!(text.contains(want), "{text}");
    let found = Command::new("grep")
        .args(["-rl", "very-hidden"])
        .arg(cluster.directory())
        .output()
        .expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files that have the secret");
    std::fs::remove_dir_all(&directory).expect("removed");
}
