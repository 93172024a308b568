//! Draining (spec/agent.md 1.10): an agent that is taken out of use ends its tasks and takes no others, until nothing is
//! left here or the master says that it is in use again.

use crate::agent::{Agent, Cx, Waiting};
use crate::state::Drain;
use wire::internal::agent_record::Record;
use wire::v1::TaskState;
use wire::v1::framework_info::capability::Type as Capability;
use wire::v1::task_status::Reason;
use wire::{internal, v1};

impl Agent {
    /// What the master says of it, now or at registration.
    pub(crate) fn set_drain(&mut self, cx: &mut Cx<'_>, config: Option<v1::DrainConfig>) {
        let Some(config) = config.filter(|_| !self.is_empty()) else {
            self.forget_drain(cx);
            return;
        };
        if self.state.drain.as_ref().is_none_or(|drain| drain.config != config) {
            let since = cx.now.wall.as_secs_f64();
            self.state.drain = Some(Drain { config, since });
            self.keep_drain(cx, internal::DrainRecord { config: Some(config), since: Some(since) });
        }
        self.end_for_drain(cx);
    }

    fn keep_drain(&mut self, cx: &mut Cx<'_>, record: internal::DrainRecord) {
        if !self.config.local {
            self.store(cx, Record::Drain(record), false, Waiting::Nothing);
        }
    }

    fn is_empty(&self) -> bool {
        self.state.frameworks.is_empty() && self.state.operations.is_empty()
    }

    fn forget_drain(&mut self, cx: &mut Cx<'_>) {
        if self.state.drain.take().is_some() {
            self.keep_drain(cx, internal::DrainRecord::default());
        }
    }

    /// Something is gone: perhaps that was the last.
    pub(crate) fn end_drain(&mut self, cx: &mut Cx<'_>) {
        if self.is_empty() {
            self.forget_drain(cx);
        }
    }

    pub(crate) fn replay_drain(&mut self, record: &internal::DrainRecord) {
        let since = record.since();
        self.state.drain = record.config.map(|config| Drain { config, since });
    }

    /// Asks all tasks to end, within the drain's grace period if that is shorter than their own.
    pub(crate) fn end_for_drain(&mut self, cx: &mut Cx<'_>) {
        let Some(drain) = &self.state.drain else { return };
        let longest = drain.config.max_grace_period;
        let policy = |task: &v1::TaskInfo| {
            let own = task.kill_policy.as_ref().and_then(|p| p.grace_period);
            let longest = longest?;
            let is_longer = own.is_none_or(|own| longest.nanoseconds < own.nanoseconds);
            is_longer.then_some(v1::KillPolicy { grace_period: Some(longest) })
        };
        let mut kills = Vec::new();
        for (framework, known) in &self.state.frameworks {
            let tasks = known.executors.values().flat_map(|e| e.tasks.values());
            kills.extend(tasks.filter(|t| !t.is_terminal()).map(|task| internal::KillTask {
                framework_id: framework.as_str().into(),
                task_id: task.info.task_id.clone(),
                kill_policy: policy(&task.info),
                preemption: None,
                at_once: None,
                asked_by: None,
            }));
        }
        for kill in kills {
            self.on_kill_task(cx, &kill);
        }
    }

    /// The end of a task that is killed says that it was drained; on an agent that will not come back it is final for
    /// its framework. That a task is being killed is never its end, unlike the peer's TASK_GONE_BY_OPERATOR for it.
    pub(crate) fn explain_drain(&self, framework: &str, status: &mut v1::TaskStatus) {
        let Some(drain) = &self.state.drain else { return };
        let state = status.state();
        if !matches!(state, TaskState::TaskKilling | TaskState::TaskKilled) {
            return;
        }
        status.reason = Some(Reason::AgentDraining as i32);
        let known = self.state.frameworks.get(framework);
        let is_aware = known.is_some_and(|f| f.has(Capability::PartitionAware));
        if state == TaskState::TaskKilled && drain.config.mark_gone() && is_aware {
            status.state = TaskState::TaskGoneByOperator as i32;
        }
    }
}
