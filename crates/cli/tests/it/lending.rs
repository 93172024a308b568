//! Lending with real processes: what is reserved to an idle role is lent, and comes back when the role wants it.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Cpus of an offer: those that are lent, or those that are not.
fn cpus(offer: &Value, lent: bool) -> f64 {
    let resources = offer["resources"].as_array().expect("resources").iter();
    let cpus = resources.filter(|r| r["name"] == "cpus" && r.get("revocable").is_some() == lent);
    cpus.filter_map(|r| r["scalar"]["value"].as_f64()).sum()
}

/// The next offer for which `wanted` holds.
fn offer(framework: &mut Framework, wanted: impl Fn(&Value) -> bool) -> Value {
    let offers = |e: &Value| e["offers"]["offers"].as_array().cloned().unwrap_or_default();
    let (_, event) = framework.event(&["OFFERS"], |e| offers(e).iter().any(&wanted));
    offers(&event).into_iter().find(wanted).expect("an offer")
}

/// How long this process was kept waiting by the machine since then.
struct Stalls(Arc<AtomicU64>);

impl Stalls {
    fn watch() -> Self {
        const STEP: Duration = Duration::from_millis(10);
        let nanos = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&nanos);
        std::thread::spawn(move || {
            while let Some(nanos) = watched.upgrade() {
                let begun = Instant::now();
                std::thread::sleep(STEP);
                let late = begun.elapsed().saturating_sub(STEP);
                nanos.fetch_add(u64::try_from(late.as_nanos()).unwrap_or(0), Ordering::Relaxed);
            }
        });
        Self(nanos)
    }

    fn sum(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
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
    assert_eq!(cpus(&firm, false), 1.0, "what is for everybody");
    batch.launch(&firm, &[command_task(&firm, "firm", "sleep 600", 1.0, 64.0)]);
    batch.until_state("firm", "TASK_RUNNING");

    // When the owner was idle for long enough before, it was a part of the first offer, and comes again.
    let loan = offer(&mut batch, |offer| cpus(offer, true) == 2.0);
    assert_eq!(cpus(&loan, false), 0.0, "{loan}");
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

    let stalls = Stalls::watch();
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
    offer(&mut owner, |offer| cpus(offer, false) >= 2.0);
    let (waited, stalled) = (begun.elapsed(), stalls.sum());
    assert!(waited >= grace, "{waited:?}");
    let bound = 2 * grace + Duration::from_secs(5) + stalled;
    assert!(waited < bound, "{waited:?}, {stalled:?} of them for the machine");
    let metrics = get(&cluster, "/metrics/snapshot");
    assert_eq!(metrics["master/tasks_preempted"], 1);
    assert_eq!(metrics["master/inverse_offers_accepted"], 1);
    let state = get(&cluster, "/state");
    let tasks = state["frameworks"].as_array().expect("frameworks").iter();
    let mut tasks = tasks.flat_map(|f| f["tasks"].as_array().cloned().unwrap_or_default());
    assert!(tasks.any(|t| t["id"] == "firm" && t["state"] == "TASK_RUNNING"), "{state}");
}
