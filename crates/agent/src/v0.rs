//! The v0 endpoints of the agent (spec/agent.md 8.3).

use crate::shared::Shared;
use crate::statistics;
use agent_core::{Executor, ExecutorKind, Framework, State, Task};
use http_api::respond;
use http_api::v0::{self, attributes, full, labels, message, reserved, reserved_full, summary};
use resources::Resources;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;
use wire::v1;

/// Which executors `/containers` shows: those whose ids are these, where one is given.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    container: Option<String>,
    framework: Option<String>,
    executor: Option<String>,
}

impl Selected {
    /// Reads it from a query.
    ///
    /// # Errors
    /// With the body of the refusal.
    pub(crate) fn of(query: &str) -> Result<Self, &'static str> {
        let given = |name| respond::query_value(query, name);
        let selected = Self {
            container: given("container_id"),
            framework: given("framework_id"),
            executor: given("executor_id"),
        };
        match (&selected.container, &selected.framework, &selected.executor) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (None, None, Some(_)) => {
                Err("Supported query parameters are container_id only, framework_id only, \
                     or executor_id and framework_id only")
            }
            _ => Ok(selected),
        }
    }

    fn has(&self, framework_id: &str, executor: &Executor) -> bool {
        let fits = |wanted: &Option<String>, id: &str| wanted.as_ref().is_none_or(|w| w == id);
        fits(&self.container, &executor.container_id)
            && fits(&self.framework, framework_id)
            && fits(&self.executor, executor.id())
    }
}

/// The answer for a path; None if there is none.
pub(crate) fn answer(
    path: &str,
    selected: &Selected,
    state: &State,
    shared: &Shared,
) -> Option<Value> {
    Some(match path {
        "/state" => all(state, shared),
        "/flags" => json!({"flags": shared.config.flags}),
        "/containers" => containers(state, shared, selected, true),
        "/monitor/statistics" => containers(state, shared, &Selected::default(), false),
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
    if let Some(drain) = &state.drain {
        out["drain_config"] = message(&drain.config);
        out["estimated_drain_start_time_seconds"] = json!(drain.since);
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
        executor.tasks.values().map(Box::as_ref).partition(|t| t.launched);
    let ended = launched.iter().filter(|t| t.is_terminal());
    let completed = executor.completed_tasks.iter().map(|t| task(t)).chain(ended.map(|t| task(t)));
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
fn containers(state: &State, shared: &Shared, selected: &Selected, with_status: bool) -> Value {
    let entry = |entry: statistics::Entry<'_>| {
        let executor = entry.executor;
        let mut out = json!({
            "framework_id": entry.framework_id,
            "executor_id": executor.id(),
            "executor_name": executor.info.name(),
            "source": executor.info.source(),
            "statistics": wire::json::to_value(&entry.statistics),
        });
        if with_status {
            out["container_id"] = json!(executor.container_id);
            out["status"] = wire::json::to_value(&entry.status());
        }
        out
    };
    let selected = |framework_id: &str, executor: &Executor| selected.has(framework_id, executor);
    statistics::of(state, shared, selected).into_iter().map(entry).collect()
}
