//! RECONCILE: what the master believes of tasks, told again (spec/master.md 1.7).

use crate::master::{Cx, Master};
use crate::state::Task;
use crate::tasks::master_status;
use allocator::FrameworkId;
use wire::v1;
use wire::v1::TaskState;
use wire::v1::scheduler::call;
use wire::v1::task_status::Reason;

impl Master {
    pub(crate) fn reconcile(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        reconcile: &call::Reconcile,
    ) {
        let Some(framework) = self.framework(key) else { return };
        let mut statuses = Vec::new();
        if reconcile.tasks.is_empty() {
            statuses.extend(framework.tasks.values().map(|task| known(cx, task)));
        }
        for wanted in &reconcile.tasks {
            let id = &wanted.task_id.value;
            let agent_id = wanted.agent_id.as_ref().map(|a| a.value.as_str());
            if let Some(task) = framework.tasks.get(id) {
                statuses.push(known(cx, task));
                continue;
            }
            let state = &self.state;
            let (aware, message, time) = match agent_id {
                // It may be on an agent that has not come back yet: silence, the framework asks again.
                None if !state.recovered_agents.is_empty() => continue,
                Some(agent) if state.recovered_agents.contains_key(agent) => continue,
                Some(agent) if state.agent(agent).is_some() => {
                    (TaskState::TaskGone, "Reconciliation: Task is unknown to the agent", None)
                }
                Some(agent) if state.unreachable.contains_key(agent) => {
                    let since = state.unreachable.get(agent).copied();
                    (TaskState::TaskUnreachable, "Reconciliation: Task is unreachable", since)
                }
                Some(agent) if state.gone.contains_key(agent) => {
                    (TaskState::TaskGoneByOperator, "Reconciliation: Task is gone", None)
                }
                _ => (TaskState::TaskUnknown, "Reconciliation: Task is unknown", None),
            };
            let told = framework.lost(aware);
            statuses.push(v1::TaskStatus {
                task_id: wanted.task_id.clone(),
                agent_id: wanted.agent_id.clone(),
                unreachable_time: time,
                ..master_status(cx, told, Reason::Reconciliation, message.to_owned())
            });
        }
        for status in statuses {
            self.send_status(cx, key, status);
        }
    }
}

/// The last state that was forwarded, else the current one.
fn known(cx: &Cx<'_>, task: &Task) -> v1::TaskStatus {
    let wire = &task.wire;
    let state =
        wire.status_update_state.and_then(|s| TaskState::try_from(s).ok()).unwrap_or(wire.state());
    let last = wire.statuses.last();
    v1::TaskStatus {
        task_id: wire.task_id.clone(),
        agent_id: Some(wire.agent_id.clone()),
        executor_id: last.and_then(|s| s.executor_id.clone()).or_else(|| wire.executor_id.clone()),
        healthy: last.and_then(|s| s.healthy),
        check_status: last.and_then(|s| s.check_status),
        container_status: last.and_then(|s| s.container_status.clone()),
        ..master_status(
            cx,
            state,
            Reason::Reconciliation,
            "Reconciliation: Latest task state".to_owned(),
        )
    }
}
