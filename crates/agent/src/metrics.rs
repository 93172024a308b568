//! `/metrics/snapshot`: names and values (spec/agent.md 9.1).

use crate::shared::Shared;
use agent_core::contract::DiskUse;
use agent_core::{ExecutorState, State};
use resources::{Resources, from_milli};
use serde_json::{Map, Value, json};
use wire::v1::TaskState;

/// Counters: zero until something is counted.
const COUNTERS: &[&str] = &[
    "containerizer/mesos/container_destroy_errors",
    "containerizer/mesos/provisioner/bind/remove_rootfs_errors",
    "containerizer/mesos/provisioner/remove_container_errors",
    "gc/path_removals_failed",
    "gc/path_removals_pending",
    "gc/path_removals_succeeded",
    "resource_provider_manager/events/disconnect",
    "resource_provider_manager/events/subscribe",
    "resource_provider_manager/subscribed",
    "slave/container_launch_errors",
    "slave/executors_preempted",
    "slave/executors_terminated",
    "slave/invalid_framework_messages",
    "slave/invalid_status_updates",
    "slave/recovery_errors",
    "slave/tasks_failed",
    "slave/tasks_finished",
    "slave/tasks_gone",
    "slave/tasks_killed",
    "slave/tasks_lost",
    "slave/valid_framework_messages",
    "slave/valid_status_updates",
];

/// Whether a metric only grows.
pub(crate) fn is_counter(state: &State, name: &str) -> bool {
    let goes_down = name.ends_with("_pending") || name.ends_with("/subscribed");
    !goes_down && (COUNTERS.contains(&name) || state.counters.contains_key(name))
}

/// All metrics of this moment.
pub(crate) fn snapshot(state: &State, shared: &Shared) -> Value {
    let mut out: Map<String, Value> = http_api::v0::system_metrics();
    for name in COUNTERS {
        out.insert((*name).to_owned(), json!(0));
    }
    for (name, count) in &state.counters {
        out.insert((*name).to_owned(), json!(count));
    }
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    set("slave/uptime_secs", json!(shared.started.elapsed().unwrap_or_default().as_secs_f64()));
    let fetcher = shared.containerizer.fetcher_figures();
    set("containerizer/fetcher/cache_size_total_bytes", json!(fetcher.cache_total));
    set("containerizer/fetcher/cache_size_used_bytes", json!(fetcher.cache_used));
    set("containerizer/fetcher/task_fetches_failed", json!(fetcher.failed));
    set("containerizer/fetcher/task_fetches_succeeded", json!(fetcher.succeeded));
    for (name, figure) in shared.containerizer.figures() {
        set(name, json!(figure));
    }
    for (name, timings) in shared.containerizer.pull_times() {
        http_api::v0::timed(name, &timings, &mut out);
    }
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    set("slave/registered", json!(u8::from(state.registered)));
    set("slave/frameworks_active", json!(state.frameworks.len()));
    if let Some(time) = shared.recovery_time.get() {
        set("slave/recovery_time_secs", json!(time.as_secs_f64()));
    }
    set("slave/recovery_errors", json!(shared.damage.as_ref().map_or(0, |(places, _)| *places)));
    let empty = DiskUse { used: 0, total: 1 };
    let max_age = state.directory_max_age.unwrap_or_else(|| shared.config.gc.max_age(empty));
    set("slave/executor_directory_max_allowed_age_secs", json!(max_age.as_secs_f64()));
    let executors: Vec<_> = state.frameworks.values().flat_map(|f| f.executors.values()).collect();
    for (name, wanted) in [
        ("registering", ExecutorState::Registering),
        ("running", ExecutorState::Running),
        ("terminating", ExecutorState::Terminating),
    ] {
        let count = executors.iter().filter(|e| e.state == wanted).count();
        set(&format!("slave/executors_{name}"), json!(count));
    }
    for (name, wanted) in [
        ("staging", TaskState::TaskStaging),
        ("starting", TaskState::TaskStarting),
        ("running", TaskState::TaskRunning),
        ("killing", TaskState::TaskKilling),
    ] {
        let tasks = executors.iter().flat_map(|e| e.tasks.values());
        set(&format!("slave/tasks_{name}"), json!(tasks.filter(|t| t.state == wanted).count()));
    }
    let total = &state.total;
    let used = crate::v0::used(state);
    for name in ["cpus", "gpus", "mem", "disk"] {
        for (suffix, pick) in [
            ("", Resources::nonrevocable as fn(&Resources) -> Resources),
            ("_revocable", Resources::revocable),
        ] {
            let (all, busy) =
                (from_milli(pick(total).scalar(name)), from_milli(pick(&used).scalar(name)));
            set(&format!("slave/{name}{suffix}_total"), json!(all));
            set(&format!("slave/{name}{suffix}_used"), json!(busy));
            set(
                &format!("slave/{name}{suffix}_percent"),
                json!(if all > 0.0 { busy / all } else { 0.0 }),
            );
        }
    }
    Value::Object(out)
}
