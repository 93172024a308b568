//! A task that fills its disk, with isolator `disk/du`.

use serde_json::json;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

#[test]
fn a_disk_filler_is_ended_with_its_reason_and_others_are_not() {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    let flags = ["--isolation=disk/du", "--enforce_container_disk_quota"];
    options.agent_flags = flags.map(str::to_owned).to_vec();
    options.agent_flags.push("--container_disk_watch_interval=100ms".to_owned());
    let cluster = Cluster::start(options);
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let task = |id: &str, command: &str| {
        let mut task = command_task(&offer, id, command, 0.1, 32.0);
        let mut disk = task["resources"][0].clone();
        disk["name"] = json!("disk");
        disk["scalar"]["value"] = json!(2.0);
        task["resources"].as_array_mut().expect("a list").push(disk);
        task
    };
    let filler = task("filler", "while true; do head -c 100000 /dev/zero >> big; sleep 0.01; done");
    let quiet = task("quiet", "echo small; sleep 1000");
    framework.launch(&offer, &[filler, quiet]);
    framework.until_state("quiet", "TASK_RUNNING");
    let end = framework.until_end("filler").pop().expect("a status");
    assert_eq!(end["state"], "TASK_FAILED", "{end}");
    assert_eq!(end["reason"], "REASON_CONTAINER_LIMITATION_DISK", "{end}");
    let message = end["message"].as_str().unwrap_or_default();
    assert!(message.contains("exceeds quota (2MB)"), "{end}");
    assert_eq!(end["limitation"]["resources"][0]["name"], "disk", "{end}");
    framework.kill_and_wait("quiet");
}
