//! `/metrics/snapshot`: names and values (spec/agent.md 9.1).

mod table;

use crate::shared::Shared;
use agent_core::contract::DiskUse;
use agent_core::{ExecutorState, State};
use resources::{Resources, from_milli};
use serde_json::{Map, Value, json};
pub(crate) use table::TABLE;
use wire::v1::TaskState;

/// All metrics of this moment.
pub(crate) fn snapshot(state: &State, shared: &Shared) -> Value {
    let mut out: Map<String, Value> = http_api::v0::system_metrics();
    TABLE.zeroes(&mut out);
    for name in ["gc/path_removals_pending", "resource_provider_manager/subscribed"] {
        out.insert(name.to_owned(), json!(0));
    }
    for (name, count) in &state.counters {
        out.insert((*name).to_owned(), json!(count));
    }
    if let Some(spans) = &shared.spans {
        spans.print(&mut out);
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
