//! `/metrics/snapshot`: names and values (spec/master.md section 6).

mod table;

use crate::offered;
use crate::shared::Shared;
use allocator::FrameworkId;
use http_api::prometheus::Exposition;
use master_core::{Framework, Latencies, State};
use resources::{Resources, from_milli};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
pub(crate) use table::TABLE;
use wire::v1::TaskState;

/// All metrics of this moment.
pub(crate) fn snapshot(
    state: &State,
    shared: &Shared,
    offer_filters: &BTreeMap<String, u64>,
) -> Value {
    let mut out: Map<String, Value> = http_api::v0::system_metrics();
    shared.meters.print(&mut out);
    TABLE.zeroes(&mut out);
    for (name, count) in &state.counters {
        out.insert(name.clone(), json!(count));
    }
    if let Some(spans) = &shared.spans {
        spans.print(&mut out);
    }
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    set("master/uptime_secs", json!(shared.started.elapsed().unwrap_or_default().as_secs_f64()));
    set("master/event_queue_dispatches", json!(shared.queued()));
    set("master/event_queue_messages", json!(0));
    set("master/event_queue_http_requests", json!(shared.waiting.len()));
    set("master/elected", json!(u8::from(state.elected.is_some())));
    let agents = state.agents.len();
    let connected = state.agents.values().filter(|a| a.is_connected()).count();
    set("master/slaves_connected", json!(connected));
    let usable = state.agents.values().filter(|a| state.is_active(a)).count();
    set("master/slaves_active", json!(usable));
    set("master/slaves_disconnected", json!(agents - connected));
    set("master/slaves_inactive", json!(agents - usable));
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
    // There may be many tasks: they are looked through once.
    let active: BTreeMap<FrameworkId, Active> =
        state.frameworks.values().map(|f| (f.key, active_tasks(f))).collect();
    for (place, name) in ACTIVE.iter().enumerate().filter(|(_, name)| **name != "unknown") {
        let count: u64 = active.values().map(|tasks| tasks[place]).sum();
        set(&format!("master/tasks_{name}"), json!(count));
    }
    resources(state, &mut set);
    operations(state, &mut set);
    for (role, count) in offer_filters {
        set(&format!("allocator/mesos/offer_filters/roles/{role}/active"), json!(count));
    }
    set("registrar/log/recovered", json!(u8::from(state.elected.is_some())));
    if let Some(peers) = &shared.peers {
        let voters = peers.members().iter().filter(|member| member.votes).count();
        set("registrar/log/ensemble_size", json!(voters));
    }
    let frameworks = state.frameworks.values().chain(&state.completed_frameworks);
    // Of removed frameworks too, as long as they are remembered.
    for framework in frameworks.filter(|_| shared.per_framework_metrics) {
        let active = active.get(&framework.key).copied().unwrap_or_default();
        of_framework(framework, active, &mut set);
    }
    roles(state, &mut set);
    crate::shares::metrics(state, &mut set);
    Value::Object(out)
}

/// The same for Prometheus, and times as histograms.
pub(crate) fn exposition(
    state: &State,
    shared: &Shared,
    offer_filters: &BTreeMap<String, u64>,
) -> Exposition {
    let snapshot = snapshot(state, shared, offer_filters);
    let empty = Map::new();
    let mut all = Exposition::of(snapshot.as_object().unwrap_or(&empty), &TABLE);
    let Latencies { offer_wait, offer_held, task_launch } = &state.latencies;
    all.add_times(&TABLE, "master/offer_wait", offer_wait);
    all.add_times(&TABLE, "master/offer_held", offer_held);
    all.add_times(&TABLE, "master/task_launch", task_launch);
    shared.meters.add_to(&mut all, &TABLE);
    shared.calls.add_to(&mut all);
    all
}

fn resources(state: &State, set: &mut impl FnMut(&str, Value)) {
    let total: Resources = state.agents.values().map(|agent| &agent.total).sum();
    let used: Resources = state.frameworks.values().map(|framework| &framework.used).sum();
    let offered: Resources = offered::ByAgent::of(state).iter().map(|(_, o)| o).sum();
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
            let taken = from_milli(used.scalar(name).saturating_add(offered.scalar(name)));
            set(&format!("{prefix}/offered_or_allocated"), json!(taken));
        }
    }
}

/// Operations on resources: how many are in a state that is not the last, and how often each last state was reached.
fn operations(state: &State, set: &mut impl FnMut(&str, Value)) {
    let mut now: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |name: String| *now.entry(name).or_default() += 1;
    for operation in state.agents.values().flat_map(|a| a.operations.values()) {
        let kind = operation.wire.info.r#type().as_str_name().to_lowercase();
        let state = operation.state().as_str_name().to_lowercase().replacen("operation_", "", 1);
        if state == "pending" {
            count(format!("{kind}/pending"));
            count("pending".to_owned());
        }
        count(format!("{kind}/total"));
        count("total".to_owned());
    }
    let kinds = OPERATIONS.iter().map(|kind| format!("{kind}/")).chain([String::new()]);
    for kind in kinds {
        for name in ["total", "pending", "recovering", "unreachable"] {
            let name = format!("{kind}{name}");
            let value = now.get(&name).copied().unwrap_or(0);
            set(&format!("master/operations/{name}"), json!(value));
        }
        for name in ["finished", "failed", "error", "dropped", "gone_by_operator"] {
            let name = format!("master/operations/{kind}{name}");
            let value = state.counters.get(&name).copied().unwrap_or(0);
            set(&name, json!(value));
        }
    }
}

const OPERATIONS: &[&str] = &[
    "reserve",
    "unreserve",
    "create",
    "destroy",
    "grow_volume",
    "shrink_volume",
    "create_disk",
    "destroy_disk",
];

/// What is counted of each framework; zero until something is.
const OF_FRAMEWORK: &[(&str, &[&str])] = &[
    (
        "calls",
        &[
            "subscribe",
            "teardown",
            "accept",
            "decline",
            "accept_inverse_offers",
            "decline_inverse_offers",
            "revive",
            "kill",
            "shutdown",
            "acknowledge",
            "acknowledge_operation_status",
            "reconcile",
            "reconcile_operations",
            "message",
            "request",
            "suppress",
            "update_framework",
        ],
    ),
    (
        "events",
        &[
            "subscribed",
            "offers",
            "inverse_offers",
            "rescind",
            "rescind_inverse_offer",
            "update",
            "update_operation_status",
            "message",
            "failure",
            "error",
            "heartbeat",
        ],
    ),
    ("operations", &["launch", "launch_group"]),
    ("operations", OPERATIONS),
];

const ENDED: &[&str] =
    &["finished", "failed", "killed", "lost", "error", "dropped", "gone", "gone_by_operator"];

/// States of tasks that have not ended.
const ACTIVE: [&str; 6] = ["staging", "starting", "running", "killing", "unreachable", "unknown"];

/// How many are in each.
type Active = [u64; ACTIVE.len()];

fn active_tasks(framework: &Framework) -> Active {
    let mut active = Active::default();
    for task in framework.tasks.values() {
        let place = match task.wire.state() {
            TaskState::TaskStaging => 0,
            TaskState::TaskStarting => 1,
            TaskState::TaskRunning => 2,
            TaskState::TaskKilling => 3,
            TaskState::TaskUnknown => 5,
            _ => continue,
        };
        active[place] += 1;
    }
    active[4] = framework.unreachable_tasks.len() as u64;
    active
}

fn of_framework(framework: &Framework, active: Active, set: &mut impl FnMut(&str, Value)) {
    let prefix = format!("master/frameworks/{}/{}", encode(&framework.info.name), framework.id);
    let count = |name: &str| json!(framework.counters.get(name).copied().unwrap_or(0));
    set(&format!("{prefix}/subscribed"), json!(u8::from(framework.is_connected())));
    for (group, names) in OF_FRAMEWORK {
        set(&format!("{prefix}/{group}"), count(group));
        for name in *names {
            let name = format!("{group}/{name}");
            set(&format!("{prefix}/{name}"), count(&name));
        }
    }
    for name in ["sent", "accepted", "declined", "rescinded"] {
        set(&format!("{prefix}/offers/{name}"), count(&format!("offers/{name}")));
    }
    for state in ENDED {
        let name = format!("tasks/terminal/task_{state}");
        set(&format!("{prefix}/{name}"), count(&name));
    }
    for (state, count) in ACTIVE.iter().zip(active) {
        set(&format!("{prefix}/tasks/active/task_{state}"), json!(count));
    }
    for role in framework.roles() {
        let suppressed = framework.suppressed.contains(&role);
        set(&format!("{prefix}/roles/{role}/suppressed"), json!(u8::from(suppressed)));
    }
}

/// Percent-encoding of what is not a letter, a digit or one of `-_.~`.
fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Dominant shares of roles with frameworks, quota and what it counts.
fn roles(state: &State, set: &mut impl FnMut(&str, Value)) {
    let total: Resources = state.agents.values().map(|agent| &agent.total).sum();
    let mut taken: BTreeMap<String, Resources> = BTreeMap::new();
    for framework in state.frameworks.values() {
        for role in framework.roles() {
            taken.entry(role).or_default();
        }
        let used = &framework.used;
        for role in used.allocation_roles().into_iter().flatten() {
            let part = used.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
            *taken.entry(role.to_owned()).or_default() += &part;
        }
    }
    for (role, offered) in offered::by_role(state) {
        *taken.entry(role.to_owned()).or_default() += &offered;
    }
    for (role, held) in &taken {
        let amounts = held.quantities();
        let shares =
            amounts.iter().filter(|(name, _)| total.scalar(name) > 0 && held.scalar(name) > 0);
        let share = shares
            .map(|(name, milli)| from_milli(milli) / from_milli(total.scalar(name)))
            .fold(0.0, f64::max);
        set(&format!("allocator/mesos/roles/{role}/shares/dominant"), json!(share));
    }
    for (role, lent) in state.lent() {
        for (name, milli) in lent {
            set(&format!("allocator/lent/roles/{role}/resources/{name}"), json!(from_milli(milli)));
        }
    }
    let known = crate::v0::known_roles(state);
    let mut of_quota = |role: &str, name: &str, what: &str, value: f64| {
        let prefix = format!("allocator/mesos/quota/roles/{role}/resources");
        set(&format!("{prefix}/{name}/{what}"), json!(value));
    };
    // The root above all roles has the empty name.
    let mut all = Resources::new();
    known.iter().filter(|(role, _)| !role.contains('/')).for_each(|(_, r)| all += &r.consumed());
    for (name, milli) in all.quantities().iter().filter(|(name, _)| all.scalar(name) > 0) {
        of_quota("", name, "consumed", from_milli(milli));
    }
    for (role, known) in &known {
        for (what, held) in
            [("consumed", known.consumed()), ("offered_or_allocated", known.offered_or_allocated())]
        {
            for (name, milli) in held.quantities().iter().filter(|(name, _)| held.scalar(name) > 0)
            {
                of_quota(role, name, what, from_milli(milli));
            }
        }
        let Some(config) = state.quotas.get(role) else { continue };
        for (what, amounts) in [("guarantee", &config.guarantees), ("limit", &config.limits)] {
            for (name, scalar) in amounts {
                of_quota(role, name, what, scalar.value);
            }
        }
    }
}
