//! Tasks in cgroups, as their framework and operators see them.

use serde_json::{Value, json};
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http};

/// None: this host has no cgroups for us; says so.
fn cluster() -> Option<Cluster> {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let has = |path: &str| std::fs::exists(path).unwrap_or(false);
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !is_root || !has("/sys/fs/cgroup/memory/tasks") && !v2.contains("memory") {
        eprintln!("skipped: cgroups need root, and the memory controller at /sys/fs/cgroup");
        return None;
    }
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = vec!["--isolation=cgroups/cpu,cgroups/mem".to_owned()];
    Some(Cluster::start(options))
}

#[test]
fn limits_statistics_and_the_end_of_who_takes_too_much() {
    let Some(cluster) = cluster() else { return };
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let mut bursts = command_task(&offer, "bursts", "sleep 1000", 0.5, 64.0);
    bursts["limits"] = json!({"cpus": {"value": 1.5}, "mem": {"value": 128}});
    let hog = "x=0123456789abcdef; while :; do x=$x$x; done";
    let hog = command_task(&offer, "hog", &format!("({hog}); sleep 1000"), 0.1, 40.0);
    framework.launch(&offer, &[bursts, hog]);
    let statuses = framework.until_end("hog");
    let status = statuses.last().expect("an end");
    assert_eq!(status["state"], "TASK_FAILED", "{status}");
    assert_eq!(status["reason"], "REASON_CONTAINER_LIMITATION_MEMORY");
    assert_eq!(status["source"], "SOURCE_AGENT");
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Memory limit exceeded: "), "{message}");
    assert_eq!(status["limitation"]["resources"][0]["name"], "mem");

    let answer = http::get(&cluster.agent(0), "/containers");
    let containers: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let all = containers.as_array().expect("a list");
    let of = |id: &str| all.iter().find(|c| c["executor_id"] == id);
    let used = &of("bursts").expect("it runs")["statistics"];
    // With what the peer's executor would have.
    assert_eq!(used["cpus_soft_limit"], 0.6, "{used}");
    assert_eq!(used["cpus_limit"], 1.6);
    assert_eq!(used["mem_soft_limit_bytes"], (64 + 32) << 20);
    assert_eq!(used["mem_limit_bytes"], (128 + 32) << 20);
    assert!(used["mem_total_bytes"].as_u64() > Some(0), "{used}");
    assert!(used["cpus_user_time_secs"].is_number(), "{used}");
}
