//! The v0 endpoints of the agent (spec/agent.md 8.3).

use crate::shared::Shared;
use agent_core::{Executor, ExecutorKind, Framework, State, Task};
use http_api::v0::{self, attributes, full, labels, message, reserved, reserved_full, summary};
use resources::Resources;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;
use wire::v1;

/// The answer for a path; None if there is none.
pub(crate) fn answer(path: &str, state: &State, shared: &Shared) -> Option<Value> {
    Some(match path {
        "/state" => all(state, shared),
        "/flags" => json!({"flags": shared.config.flags}),
        "/containers" => containers(state, true),
        "/monitor/statistics" => containers(state, false),
        _ => return None,
    })
}

fn resources(list: &[v1::Resource]) -> Resources {
    Resources::from_wire(list).unwrap_or_default()
}

/// What executors of their own and tasks that have not ended use.
pub(crate) fn used(state: &State) -> Resources {
    let mut used = Resources::new();
    for executor in state.frameworks.values().flat_map(|f| f.executors.values()) {
        if executor.kind != ExecutorKind::Command {
            used += &resources(&executor.info.resources);
        }
        for task in executor.tasks.values().filter(|t| !t.is_terminal()) {
            used += &resources(&task.info.resources);
        }
    }
    used
}

fn all(state: &State, shared: &Shared) -> Value {
    let info = &shared.config.info;
    let total = &state.total;
    let used = used(state);
    let mut out = http_api::version::json();
    let more = json!({
        "start_time": shared.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        "id": state.id.as_deref().unwrap_or(""),
        "pid": format!("slave(1)@{}:{}", shared.config.ip, info.port()),
        "hostname": info.hostname,
        "capabilities": agent_core::CAPABILITIES.map(|c| c.as_str_name()),
        "resources": summary(total),
        "reserved_resources": reserved(total),
        "unreserved_resources": summary(&total.unreserved()),
        "reserved_resources_full": reserved_full(total),
        "unreserved_resources_full": full(&total.unreserved()),
        "reserved_resources_allocated": reserved(&used),
        "unreserved_resources_allocated": summary(&used.unreserved()),
        "resource_providers": [],
        "attributes": attributes(&info.attributes),
        "flags": shared.config.flags,
        "frameworks": state.frameworks.values().map(|f| framework(f)).collect::<Value>(),
        "completed_frameworks": state.completed_frameworks.iter().map(|f| framework(f)).collect::<Value>(),
    });
    if let (Value::Object(out), Value::Object(more)) = (&mut out, more) {
        out.extend(more);
    }
    if let Some(master) = &state.master {
        out["master_hostname"] = json!(master.hostname());
    }
    if let Some((places, aside)) = &shared.damage {
        // Only an agent that was started with --no-strict has this.
        out["recovery_errors"] = json!({"count": places, "damaged_store": aside});
    }
    if let Some(domain) = &info.domain {
        out["domain"] = message(domain);
    }
    out
}

fn framework(framework: &Framework) -> Value {
    let info = &framework.info;
    let id = info.id.as_ref().map_or("", |id| id.value.as_str());
    let mut out = json!({
        "id": id,
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout(),
        "checkpoint": info.checkpoint(),
        "hostname": info.hostname(),
        "executors": framework.executors.values().map(|e| executor(e, id)).collect::<Value>(),
        "completed_executors": framework.completed_executors.iter().map(|e| executor(e, id)).collect::<Value>(),
    });
    if let Some(principal) = &info.principal {
        out["principal"] = json!(principal);
    }
    let multi_role = info
        .capabilities
        .iter()
        .any(|c| c.r#type() == v1::framework_info::capability::Type::MultiRole);
    if multi_role {
        out["roles"] = json!(info.roles);
    } else {
        out["role"] = json!(info.role());
    }
    out
}

fn executor(executor: &Executor, framework_id: &str) -> Value {
    let info = &executor.info;
    let mut held = resources(&info.resources);
    for task in executor.tasks.values().filter(|t| !t.is_terminal()) {
        held += &resources(&task.info.resources);
    }
    let roles: BTreeSet<String> =
        held.allocation_roles().into_iter().flatten().map(str::to_owned).collect();
    let shown = if executor.kind == ExecutorKind::Command { "" } else { executor.id() };
    let task = |t: &Task| v0::task(&t.to_wire(framework_id, shown));
    let (launched, queued): (Vec<&Task>, Vec<&Task>) =
        executor.tasks.values().partition(|t| t.launched);
    let ended = launched.iter().filter(|t| t.is_terminal());
    let completed = executor.completed_tasks.iter().map(task).chain(ended.map(|t| task(t)));
    let mut out = json!({
        "id": executor.id(),
        "name": info.name(),
        "source": info.source(),
        "container": executor.container_id,
        "directory": executor.directory,
        "resources": summary(&held),
        "tasks": launched.iter().filter(|t| !t.is_terminal()).map(|t| task(t)).collect::<Value>(),
        "queued_tasks": queued.iter().map(|t| queued_task(t)).collect::<Value>(),
        "completed_tasks": completed.collect::<Value>(),
    });
    if let Some(role) = roles.first() {
        out["role"] = json!(role);
    }
    if let Some(all) = &info.labels {
        out["labels"] = labels(all);
    }
    if info.r#type.is_some() {
        out["type"] = json!(info.r#type().as_str_name());
    }
    out
}

fn queued_task(task: &Task) -> Value {
    let info = &task.info;
    let held = resources(&info.resources);
    json!({
        "id": info.task_id.value,
        "name": info.name,
        "slave_id": info.agent_id.value,
        "resources": summary(&held),
        "role": held.allocation_roles().into_iter().flatten().next().unwrap_or("*"),
    })
}

/// `/containers` (with status) and `/monitor/statistics`: one entry for each executor.
fn containers(state: &State, with_status: bool) -> Value {
    let mut list = Vec::new();
    for (framework_id, framework) in &state.frameworks {
        for executor in framework.executors.values() {
            let Some(pid) = executor.pid else { continue };
            let mut entry = json!({
                "framework_id": framework_id,
                "executor_id": executor.id(),
                "executor_name": executor.info.name(),
                "source": executor.info.source(),
                "statistics": statistics_of(executor, pid),
            });
            if with_status {
                entry["container_id"] = json!(executor.container_id);
                entry["status"] =
                    json!({"container_id": {"value": executor.container_id}, "executor_pid": pid});
            }
            list.push(entry);
        }
    }
    list.into()
}

/// What an executor and its tasks use.
pub(crate) fn statistics_of(executor: &Executor, pid: u32) -> Value {
    let mut held = resources(&executor.info.resources);
    for task in executor.tasks.values().filter(|t| !t.is_terminal()) {
        held += &resources(&task.info.resources);
    }
    statistics(pid, &held)
}

/// Ticks of the kernel's clock per second, as all Linux systems report them to programs.
const TICKS: f64 = 100.0;

/// What the processes below a supervisor use.
fn statistics(supervisor: u32, held: &Resources) -> Value {
    let mut sums = (0.0, 0.0, 0_u64, 0_u64);
    let page = 4096;
    for pid in descendants(supervisor) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        sums.0 += number(11) / TICKS;
        sums.1 += number(12) / TICKS;
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        sums.2 += statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * page;
        sums.3 += 1;
    }
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "timestamp": now.as_secs_f64(),
        "cpus_user_time_secs": sums.0,
        "cpus_system_time_secs": sums.1,
        "cpus_limit": resources::from_milli(held.scalar("cpus")),
        "mem_rss_bytes": sums.2,
        "mem_limit_bytes": held.scalar("mem").max(0).cast_unsigned() / 1000 * (1 << 20),
        "processes": sums.3,
    })
}

fn descendants(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.push((pid, parent.unwrap_or(0)));
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for (child, _) in parents.iter().filter(|(_, parent)| *parent == pid) {
            found.push(*child);
            open.push(*child);
        }
    }
    found
}
