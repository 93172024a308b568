//! `/tasks`, and tasks in other answers.
//!
//! Beside what the peer knows (`framework_id`, `task_id`, `order`, `offset`, `limit`) a query may name `agent_id`,
//! `role`, `state` (several with commas between them), `active=true` for tasks that have not ended, `match`, the
//! beginning of an id or a name, and `detail=true` for what statuses say: so nobody has to fetch all tasks to find a
//! few.

use http_api::respond::query_value;
use http_api::v0::{Each, TaskView};
use master_core::{Framework, State, Task, is_terminal};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::sync::Arc;
use wire::v1;

/// A task in an answer.
pub(super) fn shown(task: &Arc<Task>) -> TaskView<'_> {
    TaskView { task: &task.wire, resources: &task.resources }
}

/// All tasks of a framework that are remembered.
pub(super) fn of(framework: &Framework) -> impl Iterator<Item = &Arc<Task>> {
    let ended = framework.unreachable_tasks.iter().chain(&framework.completed_tasks);
    framework.tasks.values().chain(ended)
}

/// Tasks of a page that are told of unless `limit` says more or fewer.
const LIMIT: usize = 100;

/// Which tasks are wanted.
#[derive(Debug)]
struct Wanted {
    framework: Option<String>,
    task: Option<String>,
    agent: Option<String>,
    role: Option<String>,
    states: Option<Vec<String>>,
    beginning: Option<String>,
    active: bool,
}

impl Wanted {
    fn of(query: &str) -> Self {
        let given = |name| query_value(query, name);
        let states = given("state").map(|list| list.split(',').map(str::to_owned).collect());
        Self {
            framework: given("framework_id"),
            task: given("task_id"),
            agent: given("agent_id"),
            role: given("role"),
            states,
            beginning: given("match"),
            active: given("active").as_deref() == Some("true"),
        }
    }

    fn has(&self, task: &Task) -> bool {
        let is = |wanted: &Option<String>, id: &str| wanted.as_ref().is_none_or(|w| w == id);
        let begins = |text: &str| self.beginning.as_ref().is_none_or(|b| text.starts_with(b));
        let (wire, state) = (&task.wire, task.wire.state());
        is(&self.task, &wire.task_id.value)
            && is(&self.agent, &wire.agent_id.value)
            && (begins(&wire.task_id.value) || begins(&wire.name))
            && self.states.as_ref().is_none_or(|all| all.iter().any(|s| s == state.as_str_name()))
            && !(self.active && is_terminal(state))
            && self.role.as_ref().is_none_or(|wanted| role(task) == wanted)
    }

    /// Whether it is called exactly so, not only at its beginning.
    fn is_exact(&self, task: &Task) -> bool {
        let (id, name) = (&task.wire.task_id.value, &task.wire.name);
        self.beginning.as_ref().is_some_and(|b| id == b || name == b)
    }
}

/// The role that a task's resources are allocated to.
fn role(task: &Task) -> &str {
    task.resources.allocation_roles().into_iter().flatten().next().unwrap_or("*")
}

/// `/tasks`: a page of the tasks of all frameworks, in the order of their first status; those that `match` names exactly
/// before the others.
pub(super) struct Page<'a> {
    tasks: Vec<&'a Arc<Task>>,
    is_detailed: bool,
}

impl<'a> Page<'a> {
    pub(super) fn of(state: &'a State, query: &str) -> Self {
        let number = |name: &str| query_value(query, name).and_then(|v| v.parse::<i64>().ok());
        // The peer takes a negative number for no limit.
        let limit = number("limit").map_or(LIMIT, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let offset = number("offset").map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let ascending = query_value(query, "order").as_deref() == Some("asc");
        let wanted = Wanted::of(query);
        let frameworks = state.frameworks.values().chain(&state.completed_frameworks);
        let mut all: Vec<&Arc<Task>> = frameworks
            .filter(|f| wanted.framework.as_ref().is_none_or(|id| *id == f.id))
            .flat_map(|f| of(f))
            .filter(|task| wanted.has(task))
            .collect();
        let first = |task: &Task| {
            task.wire.statuses.first().map_or(f64::NEG_INFINITY, v1::TaskStatus::timestamp)
        };
        let by_time = |a: &&Arc<Task>, b: &&Arc<Task>| -> Ordering {
            let order = first(a).total_cmp(&first(b));
            let order = if ascending { order } else { order.reverse() };
            wanted.is_exact(b).cmp(&wanted.is_exact(a)).then(order)
        };
        all.sort_by(by_time);
        let end = offset.saturating_add(limit).min(all.len());
        let is_detailed = query_value(query, "detail").as_deref() == Some("true");
        Self { tasks: all.drain(offset.min(end)..end).collect(), is_detailed }
    }
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        let tasks = || self.tasks.iter();
        match self.is_detailed {
            true => out.serialize_entry("tasks", &Each(|| tasks().map(|task| detailed(task))))?,
            false => out.serialize_entry("tasks", &Each(|| tasks().map(|task| shown(task))))?,
        }
        out.end()
    }
}

/// A task with what its statuses say.
fn detailed(task: &Task) -> Value {
    let mut out = http_api::v0::task(&task.wire);
    let shown = out["statuses"].as_array_mut().into_iter().flatten();
    for (shown, status) in shown.zip(&task.wire.statuses) {
        if let Some(message) = &status.message {
            shown["message"] = json!(message);
        }
        if status.reason.is_some() {
            shown["reason"] = json!(status.reason().as_str_name());
        }
        if status.source.is_some() {
            shown["source"] = json!(status.source().as_str_name());
        }
    }
    out
}
