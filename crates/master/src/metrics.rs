//! `/metrics/snapshot`: names and values (spec/master.md section 6).

use master_core::State;
use resources::{Resources, from_milli};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// Counters, by name after `master/`: zero until something is counted.
const COUNTERS: &[&str] = &[
    "dropped_messages",
    "http_cache_hits",
    "invalid_executor_to_framework_messages",
    "invalid_framework_to_executor_messages",
    "invalid_operation_status_update_acknowledgements",
    "invalid_operation_status_updates",
    "invalid_status_update_acknowledgements",
    "invalid_status_updates",
    "messages_authenticate",
    "messages_deactivate_framework",
    "messages_decline_offers",
    "messages_executor_to_framework",
    "messages_exited_executor",
    "messages_framework_to_executor",
    "messages_kill_task",
    "messages_launch_tasks",
    "messages_operation_status_update",
    "messages_operation_status_update_acknowledgement",
    "messages_reconcile_operations",
    "messages_reconcile_tasks",
    "messages_register_framework",
    "messages_register_slave",
    "messages_reregister_framework",
    "messages_reregister_slave",
    "messages_resource_request",
    "messages_revive_offers",
    "messages_status_update",
    "messages_status_update_acknowledgement",
    "messages_suppress_offers",
    "messages_unregister_framework",
    "messages_unregister_slave",
    "messages_update_slave",
    "recovery_slave_removals",
    "slave_registrations",
    "slave_removals",
    "slave_removals/reason_registered",
    "slave_removals/reason_unhealthy",
    "slave_removals/reason_unregistered",
    "slave_reregistrations",
    "slave_shutdowns_canceled",
    "slave_shutdowns_completed",
    "slave_shutdowns_scheduled",
    "slave_unreachable_canceled",
    "slave_unreachable_completed",
    "slave_unreachable_scheduled",
    "tasks_dropped",
    "tasks_error",
    "tasks_failed",
    "tasks_finished",
    "tasks_gone",
    "tasks_gone_by_operator",
    "tasks_killed",
    "tasks_lost",
    "valid_executor_to_framework_messages",
    "valid_framework_to_executor_messages",
    "valid_operation_status_update_acknowledgements",
    "valid_operation_status_updates",
    "valid_status_update_acknowledgements",
    "valid_status_updates",
];

/// All metrics of this moment.
pub(crate) fn snapshot(state: &State, started: SystemTime) -> Value {
    let mut out: Map<String, Value> = http_api::v0::system_metrics();
    for name in COUNTERS {
        out.insert(format!("master/{name}"), json!(0));
    }
    for (name, count) in &state.counters {
        out.insert(name.clone(), json!(count));
    }
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    set("master/uptime_secs", json!(started.elapsed().unwrap_or_default().as_secs_f64()));
    set("master/elected", json!(u8::from(state.elected.is_some())));
    let agents = state.agents.len();
    let connected = state.agents.values().filter(|a| a.is_connected()).count();
    set("master/slaves_connected", json!(connected));
    set("master/slaves_active", json!(connected));
    set("master/slaves_disconnected", json!(agents - connected));
    set("master/slaves_inactive", json!(agents - connected));
    set("master/slaves_unreachable", json!(state.unreachable.len()));
    let frameworks = state.frameworks.len();
    let active = state.frameworks.values().filter(|f| f.is_connected()).count();
    set("master/frameworks_connected", json!(active));
    set("master/frameworks_active", json!(active));
    set("master/frameworks_disconnected", json!(frameworks - active));
    set("master/frameworks_inactive", json!(frameworks - active));
    set(
        "master/outstanding_offers",
        json!(state.frameworks.values().map(|f| f.offers.len()).sum::<usize>()),
    );
    set("master/operator_event_stream_subscribers", json!(0));
    for (name, wanted) in [
        ("staging", wire::v1::TaskState::TaskStaging),
        ("starting", wire::v1::TaskState::TaskStarting),
        ("running", wire::v1::TaskState::TaskRunning),
        ("killing", wire::v1::TaskState::TaskKilling),
    ] {
        let tasks = state.frameworks.values().flat_map(|f| f.tasks.values());
        set(
            &format!("master/tasks_{name}"),
            json!(tasks.filter(|t| t.wire.state() == wanted).count()),
        );
    }
    let unreachable = state.frameworks.values().map(|f| f.unreachable_tasks.len()).sum::<usize>();
    set("master/tasks_unreachable", json!(unreachable));
    resources(state, &mut set);
    Value::Object(out)
}

fn resources(state: &State, set: &mut impl FnMut(&str, Value)) {
    let (mut total, mut used, mut offered) = (Resources::new(), Resources::new(), Resources::new());
    for agent in state.agents.values() {
        total += &agent.total;
    }
    for framework in state.frameworks.values() {
        used += &framework.used();
        offered += &framework.offered();
    }
    for name in ["cpus", "gpus", "mem", "disk"] {
        for (suffix, pick) in [
            ("", Resources::nonrevocable as fn(&Resources) -> Resources),
            ("_revocable", Resources::revocable),
        ] {
            let (all, busy) =
                (from_milli(pick(&total).scalar(name)), from_milli(pick(&used).scalar(name)));
            set(&format!("master/{name}{suffix}_total"), json!(all));
            set(&format!("master/{name}{suffix}_used"), json!(busy));
            set(
                &format!("master/{name}{suffix}_percent"),
                json!(if all > 0.0 { busy / all } else { 0.0 }),
            );
        }
        if name != "gpus" {
            let prefix = format!("allocator/mesos/resources/{name}");
            set(&format!("{prefix}/total"), json!(from_milli(total.scalar(name))));
            let taken = from_milli(used.scalar(name) + offered.scalar(name));
            set(&format!("{prefix}/offered_or_allocated"), json!(taken));
        }
    }
}
