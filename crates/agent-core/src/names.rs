//! Names of containers. On the wire a container is named by the chain of ids from its root. Here each has one name: an
//! executor's and a task's are random already, one that was started through the API is its parent's name, a dot and its
//! own id, in which no dot can be.

use crate::state::{Executor, ExecutorKind, State};
use wire::v1;

impl State {
    /// The name of a container of an executor that is here, or of one below it; None: there is no such executor.
    #[must_use]
    pub fn below_executor(&self, id: &v1::ContainerId) -> Option<String> {
        self.executor_in(&root_of(id).value).map(|_| self.name_of(id))
    }

    /// The one name of a container.
    pub(crate) fn name_of(&self, id: &v1::ContainerId) -> String {
        let Some(parent) = &id.parent else { return id.value.clone() };
        if parent.parent.is_none() && self.task_in(&parent.value, &id.value) {
            return id.value.clone();
        }
        format!("{}.{}", self.name_of(parent), id.value)
    }

    /// The executor that has this container.
    fn executor_in(&self, container_id: &str) -> Option<&Executor> {
        let mut executors = self.frameworks.values().flat_map(|f| f.executors.values());
        executors.find(|executor| executor.container_id == container_id)
    }

    /// Whether a pod's task has this container.
    fn task_in(&self, root: &str, name: &str) -> bool {
        self.executor_in(root).is_some_and(|executor| {
            executor.kind == ExecutorKind::Default
                && executor.tasks.values().any(|t| t.container_id.as_deref() == Some(name))
        })
    }
}

pub(crate) fn root_of(id: &v1::ContainerId) -> &v1::ContainerId {
    id.parent.as_deref().map_or(id, root_of)
}

/// A container for messages: `root.child.grandchild`.
pub(crate) fn shown(id: &v1::ContainerId) -> String {
    match &id.parent {
        Some(parent) => format!("{}.{}", shown(parent), id.value),
        None => id.value.clone(),
    }
}
