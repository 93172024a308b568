//! `/tasks`, and tasks in other answers.

use http_api::respond::query_value;
use http_api::v0::{Each, TaskView};
use master_core::{State, Task};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::cmp::Ordering;
use std::sync::Arc;
use wire::v1;

/// A task in an answer.
pub(super) fn shown(task: &Arc<Task>) -> TaskView<'_> {
    TaskView { task: &task.wire, resources: &task.resources }
}

/// Tasks of a page that are told of unless `limit` says more or fewer.
const LIMIT: usize = 100;

/// `/tasks`: a page of the tasks of all frameworks, in the order of their first status.
pub(super) struct Page<'a>(Vec<&'a Arc<Task>>);

impl<'a> Page<'a> {
    pub(super) fn of(state: &'a State, query: &str) -> Self {
        let number = |name: &str, default: usize| {
            query_value(query, name).and_then(|v| v.parse().ok()).unwrap_or(default)
        };
        let (limit, offset) = (number("limit", LIMIT), number("offset", 0));
        let ascending = query_value(query, "order").as_deref() == Some("asc");
        let wanted_framework = query_value(query, "framework_id");
        let wanted = query_value(query, "task_id");
        let frameworks = state.frameworks.values().chain(&state.completed_frameworks);
        let mut all: Vec<&Arc<Task>> = frameworks
            .filter(|f| wanted_framework.as_ref().is_none_or(|id| *id == f.id))
            .flat_map(|f| f.tasks.values().chain(&f.unreachable_tasks).chain(&f.completed_tasks))
            .filter(|t| wanted.as_ref().is_none_or(|id| *id == t.wire.task_id.value))
            .collect();
        let first = |task: &Task| {
            task.wire.statuses.first().map_or(f64::NEG_INFINITY, v1::TaskStatus::timestamp)
        };
        let by_time = |a: &&Arc<Task>, b: &&Arc<Task>| -> Ordering {
            let order = first(a).total_cmp(&first(b));
            if ascending { order } else { order.reverse() }
        };
        all.sort_by(by_time);
        let end = offset.saturating_add(limit).min(all.len());
        Self(all.drain(offset.min(end)..end).collect())
    }
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("tasks", &Each(|| self.0.iter().map(|task| shown(task))))?;
        out.end()
    }
}
