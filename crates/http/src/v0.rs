//! Pieces of JSON that the v0 endpoints of both daemons share (spec/master.md 5.2).

use base::Timings;
use resources::{Resources, SummaryValue, attributes_summary};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use wire::v1;

/// A list whose items are made one by one while it is written.
pub struct Each<F>(pub F);

impl<F> std::fmt::Debug for Each<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Each")
    }
}

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0())
    }
}

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
    serde_json::to_value(TaskView { task, resources: &resources }).unwrap_or_default()
}

/// A task, written without a copy.
#[derive(Debug, Clone, Copy)]
pub struct TaskView<'a> {
    /// What it is.
    pub task: &'a v1::Task,
    /// Its resources once more.
    pub resources: &'a Resources,
}

impl Serialize for TaskView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { task, resources } = self;
        let role = resources.allocation_roles().into_iter().flatten().next().unwrap_or("*");
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("id", &task.task_id.value)?;
        out.serialize_entry("name", &task.name)?;
        out.serialize_entry("framework_id", &task.framework_id.value)?;
        let executor = task.executor_id.as_ref().map_or("", |id| id.value.as_str());
        out.serialize_entry("executor_id", executor)?;
        out.serialize_entry("slave_id", &task.agent_id.value)?;
        out.serialize_entry("state", task.state().as_str_name())?;
        out.serialize_entry("resources", &summary(resources))?;
        out.serialize_entry("role", role)?;
        out.serialize_entry("statuses", &Each(|| task.statuses.iter().map(StatusView)))?;
        if !task.limits.is_empty() {
            let number = |(name, scalar): (&String, &v1::value::Scalar)| {
                (name.clone(), message(scalar)["value"].clone())
            };
            out.serialize_entry("limits", &task.limits.iter().map(number).collect::<Map<_, _>>())?;
        }
        if let Some(user) = &task.user {
            out.serialize_entry("user", user)?;
        }
        if let Some(all) = &task.labels {
            out.serialize_entry("labels", &labels(all))?;
        }
        if let Some(discovery) = task.discovery.as_deref() {
            out.serialize_entry("discovery", &message(discovery))?;
        }
        if let Some(container) = task.container.as_deref() {
            out.serialize_entry("container", &message(container))?;
        }
        if let Some(check) = task.health_check.as_deref() {
            out.serialize_entry("health_check", &message(check))?;
        }
        out.end()
    }
}

struct StatusView<'a>(&'a v1::TaskStatus);

impl Serialize for StatusView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(status) = self;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("state", status.state().as_str_name())?;
        out.serialize_entry("timestamp", &status.timestamp.unwrap_or(0.0))?;
        if let Some(all) = &status.labels {
            out.serialize_entry("labels", &labels(all))?;
        }
        if let Some(container) = &status.container_status {
            out.serialize_entry("container_status", &message(container))?;
        }
        if let Some(healthy) = status.healthy {
            out.serialize_entry("healthy", &healthy)?;
        }
        out.end()
    }
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

/// `/system/stats.json`.
#[must_use]
pub fn system_stats() -> Value {
    let named = |(name, value): (String, Value)| {
        let name = name.trim_start_matches("system/");
        let name = match name.strip_prefix("load_") {
            Some(time) => format!("avg_load_{time}"),
            None => name.to_owned(),
        };
        (name, value)
    };
    Value::Object(system_metrics().into_iter().map(named).collect())
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
