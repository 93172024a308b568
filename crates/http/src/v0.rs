//! Pieces of JSON that the v0 endpoints of both daemons share (spec/master.md 5.2).

use base::Timings;
use resources::{Resources, SummaryValue, attributes_summary};
use serde_json::{Map, Value, json};
use wire::v1;

/// A message as JSON.
pub fn message<M: wire::Message>(message: &M) -> Value {
    wire::json::to_value(message)
}

fn object(pairs: Vec<(String, SummaryValue)>) -> Value {
    let value = |v| match v {
        SummaryValue::Number(number) => json!(number),
        SummaryValue::Text(text) => json!(text),
    };
    Value::Object(pairs.into_iter().map(|(name, v)| (name, value(v))).collect())
}

/// Sums by name.
#[must_use]
pub fn summary(resources: &Resources) -> Value {
    object(resources.summary())
}

/// Reserved resources by role, as sums.
#[must_use]
pub fn reserved(resources: &Resources) -> Value {
    Value::Object(resources.reserved().into_iter().map(|(role, r)| (role, summary(&r))).collect())
}

/// All resources in the format of operator endpoints.
#[must_use]
pub fn full(resources: &Resources) -> Value {
    resources.to_wire_endpoint().iter().map(message).collect()
}

/// Reserved resources by role, in the format of operator endpoints.
#[must_use]
pub fn reserved_full(resources: &Resources) -> Value {
    Value::Object(resources.reserved().into_iter().map(|(role, r)| (role, full(&r))).collect())
}

/// Attributes by name.
#[must_use]
pub fn attributes(attributes: &[v1::Attribute]) -> Value {
    object(attributes_summary(attributes))
}

/// Labels as a list.
#[must_use]
pub fn labels(labels: &v1::Labels) -> Value {
    labels.labels.iter().map(message).collect()
}

/// A task.
#[must_use]
pub fn task(task: &v1::Task) -> Value {
    let resources = Resources::from_wire(&task.resources).unwrap_or_default();
    let role = resources.allocation_roles().into_iter().flatten().next().unwrap_or("*").to_owned();
    let mut out = json!({
        "id": task.task_id.value,
        "name": task.name,
        "framework_id": task.framework_id.value,
        "executor_id": task.executor_id.as_ref().map_or("", |id| id.value.as_str()),
        "slave_id": task.agent_id.value,
        "state": task.state().as_str_name(),
        "resources": summary(&resources),
        "role": role,
        "statuses": task.statuses.iter().map(status).collect::<Value>(),
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out[name] = value;
        }
    };
    let limits: Map<String, Value> = task
        .limits
        .iter()
        .map(|(name, scalar)| (name.clone(), message(scalar)["value"].clone()))
        .collect();
    set("limits", (!limits.is_empty()).then(|| limits.into()));
    set("user", task.user.clone().map(Value::from));
    set("labels", task.labels.as_ref().map(labels));
    set("discovery", task.discovery.as_ref().map(message));
    set("container", task.container.as_ref().map(message));
    set("health_check", task.health_check.as_ref().map(message));
    out
}

fn status(status: &v1::TaskStatus) -> Value {
    let mut out = json!({
        "state": status.state().as_str_name(),
        "timestamp": status.timestamp.unwrap_or(0.0),
    });
    if let Some(all) = &status.labels {
        out["labels"] = labels(all);
    }
    if let Some(container) = &status.container_status {
        out["container_status"] = message(container);
    }
    if let Some(healthy) = status.healthy {
        out["healthy"] = json!(healthy);
    }
    out
}

/// Names of capabilities.
#[must_use]
pub fn framework_capabilities(info: &v1::FrameworkInfo) -> Value {
    info.capabilities.iter().map(|c| Value::from(c.r#type().as_str_name())).collect()
}

/// Adds `<name>_ms`, the newest of the durations; with two or more also their statistics.
pub fn timed(name: &str, timings: &Timings, out: &mut Map<String, Value>) {
    let Some(last) = timings.last() else { return };
    let name = format!("{name}_ms");
    out.insert(name.clone(), json!(last));
    let percentiles = timings.percentiles();
    if !percentiles.is_empty() {
        out.insert(format!("{name}/count"), json!(timings.count()));
    }
    out.extend(percentiles.into_iter().map(|(part, ms)| (format!("{name}/{part}"), json!(ms))));
}

/// Load and memory of this host, by metric name.
#[must_use]
pub fn system_metrics() -> Map<String, Value> {
    let mut out = Map::new();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut load = load.split(' ').filter_map(|n| n.parse::<f64>().ok());
    for name in ["system/load_1min", "system/load_5min", "system/load_15min"] {
        out.insert(name.to_owned(), json!(load.next().unwrap_or(0.0)));
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    out.insert("system/cpus_total".to_owned(), json!(cpus));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = memory.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    out.insert("system/mem_total_bytes".to_owned(), json!(field("MemTotal:")));
    out.insert("system/mem_free_bytes".to_owned(), json!(field("MemFree:")));
    out
}
