//! Lending with real processes: what is reserved to an idle role is lent, and comes back when the role wants it.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::framework::{command_task, text};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http};

fn framework(cluster: &Cluster, role: &str, capabilities: &[&str]) -> Framework {
    let mut options =
        FrameworkOptions { roles: vec![role.to_owned()], ..FrameworkOptions::default() };
    options.capabilities.extend(capabilities.iter().map(|c| (*c).to_owned()));
    Framework::subscribe(&cluster.master(), &options)
}

fn get(cluster: &Cluster, path: &str) -> Value {
    http::get(&cluster.master(), path).json()
}

fn cpus(offer: &Value) -> f64 {
    let resources = offer["resources"].as_array().expect("resources").iter();
    resources.filter(|r| r["name"] == "cpus").filter_map(|r| r["scalar"]["value"].as_f64()).sum()
}

#[test]
fn an_owner_that_wakes_up_has_what_was_lent_within_the_grace_periods() {
    let grace = Duration::from_secs(2);
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.resources = "cpus(owner):2;mem(owner):512;cpus:1;mem:128;disk:100".to_owned();
    options.master_flags.push("--lending_min_idle=1secs".to_owned());
    options.master_flags.push("--preemption_grace_period=2secs".to_owned());
    let cluster = Cluster::start(options);
    let mut batch = framework(&cluster, "batch", &["REVOCABLE_RESOURCES", "PARTITION_AWARE"]);
    let firm = batch.offers().remove(0);
    assert_eq!(cpus(&firm), 1.0, "what is for everybody");
    batch.launch(&firm, &[command_task(&firm, "firm", "sleep 600", 1.0, 64.0)]);
    batch.until_state("firm", "TASK_RUNNING");

    let loan = batch.event(&["OFFERS"], |e| cpus(&e["offers"]["offers"][0]) == 2.0).1;
    let loan = loan["offers"]["offers"][0].clone();
    let resources = loan["resources"].as_array().expect("resources").iter();
    for resource in resources.filter(|r| r["name"] == "cpus") {
        assert!(resource.get("revocable").is_some(), "{resource}");
    }
    // It does not obey SIGTERM.
    let mut task = command_task(&loan, "lent", "trap '' TERM; sleep 600 & wait; wait", 2.0, 128.0);
    for resource in task["resources"].as_array_mut().expect("a list") {
        resource["revocable"] = json!({});
    }
    batch.launch(&loan, &[task]);
    batch.until_state("lent", "TASK_RUNNING");
    let roles = get(&cluster, "/roles");
    let owner = roles["roles"].as_array().expect("roles").iter().find(|r| r["name"] == "owner");
    assert_eq!(owner.expect("the role")["lent"]["cpus"], 2.0, "{roles}");

    let begun = Instant::now();
    let mut owner = framework(&cluster, "owner", &[]);
    let (_, told) = batch.event(&["INVERSE_OFFERS"], |_| true);
    let told = &told["inverse_offers"]["inverse_offers"][0];
    assert_eq!(told["agent_id"], loan["agent_id"]);
    let answer = batch.call(&json!({"type": "ACCEPT_INVERSE_OFFERS",
        "accept_inverse_offers": {"inverse_offer_ids": [told["id"]]}}));
    assert_eq!(answer.status, 202);
    let end = batch.until_end("lent").pop().expect("a status");
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("TASK_GONE"), &json!("REASON_CONTAINER_PREEMPTED")),
        "{end}"
    );
    assert!(text(&end["message"]).contains("role 'owner'"), "{end}");
    owner.event(&["OFFERS"], |e| {
        let offers = e["offers"]["offers"].as_array().cloned().unwrap_or_default();
        offers.iter().any(|o| cpus(o) >= 2.0)
    });
    let waited = begun.elapsed();
    assert!(waited >= grace, "{waited:?}");
    assert!(waited < 2 * grace + Duration::from_secs(5), "{waited:?}");
    let metrics = get(&cluster, "/metrics/snapshot");
    assert_eq!(metrics["master/tasks_preempted"], 1);
    assert_eq!(metrics["master/inverse_offers_accepted"], 1);
    let state = get(&cluster, "/state");
    let tasks = state["frameworks"].as_array().expect("frameworks").iter();
    let mut tasks = tasks.flat_map(|f| f["tasks"].as_array().cloned().unwrap_or_default());
    assert!(tasks.any(|t| t["id"] == "firm" && t["state"] == "TASK_RUNNING"), "{state}");
}
