//! Ending tasks (spec/agent.md 3.2): SIGTERM, a grace period, SIGKILL.

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::containers::executor_status;
use crate::contract::Effect;
use crate::environment::from_wire;
use crate::launch::agent_status;
use crate::state::{ExecutorKind, ExecutorState};
use std::time::Duration;
use wire::internal::agent_record::Record;
use wire::v1::TaskState;
use wire::v1::framework_info::capability::Type as Capability;
use wire::v1::task_status::Reason;
use wire::{internal, v1};

const SIGTERM: i32 = 15;
/// Grace period when neither the call nor the task names one.
const GRACE_DEFAULT: Duration = Duration::from_secs(3);

impl Agent {
    pub(crate) fn on_kill_task(&mut self, cx: &mut Cx<'_>, kill: &internal::KillTask) {
        let (framework, task) = (kill.framework_id.value.as_str(), kill.task_id.value.as_str());
        let Some(executor) = self.executor_of(framework, task) else {
            let Some(known) = self.state.frameworks.get(framework) else { return };
            let info = known.info.clone();
            if !self.updates.is_open(framework, task) {
                let reason = Reason::ExecutorTerminated;
                self.drop_task(
                    cx,
                    &info,
                    kill.task_id.clone(),
                    None,
                    reason,
                    "Cannot find executor",
                );
            }
            return;
        };
        let Some(known) = self.task(framework, &executor, task) else { return };
        if known.is_terminal() {
            return;
        }
        if !known.launched {
            // One of an undelivered group takes the others with it.
            let all =
                if known.group.is_empty() { vec![task.to_owned()] } else { known.group.clone() };
            for id in all {
                self.kill_queued(cx, framework, &executor, &id);
            }
            self.after_queue_emptied(cx, framework, &executor);
            return;
        }
        self.kill_one(cx, framework, &executor, task, kill.kill_policy.as_ref());
    }

    fn kill_queued(&mut self, cx: &mut Cx<'_>, framework: &str, executor: &str, id: &str) {
        let Some(known) = self.executor_mut(framework, executor) else { return };
        if known.tasks.get(id).is_none_or(|t| t.launched || t.is_terminal()) {
            return;
        }
        known.queue.retain(|queued| queued != id);
        let reason = Reason::TaskKilledDuringLaunch;
        let message =
            "A kill task message was received before the task was delivered to its executor";
        self.update(cx, framework, agent_status(id, TaskState::TaskKilled, reason, message));
    }

    /// Asks a launched task to end.
    pub(crate) fn kill_one(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
        policy: Option<&v1::KillPolicy>,
    ) {
        let Some(known) = self.executor(framework, executor) else { return };
        if known.kind == ExecutorKind::Custom {
            if known.state != ExecutorState::Terminating {
                self.send_kill(cx, framework, executor, id, policy);
            }
            return;
        }
        let first = known.tasks.get(id).is_some_and(|t| !t.killed);
        let checkpoints = self.state.frameworks.get(framework).is_some_and(|f| f.checkpoints());
        let Some(task) = self.task_mut(framework, executor, id).filter(|t| !t.is_terminal()) else {
            return;
        };
        task.killed = true;
        if first && checkpoints {
            // Should the agent die now, the task's end by a signal is still known for a kill.
            let record =
                internal::KillRecord { framework_id: framework.into(), task_id: id.into() };
            let waiting = Waiting::Kill {
                framework: framework.to_owned(),
                executor: executor.to_owned(),
                task: id.to_owned(),
                policy: policy.copied(),
            };
            self.store(cx, Record::Kill(record), false, waiting);
        } else {
            self.begin_kill(cx, framework, executor, id, policy);
        }
    }

    /// SIGTERM now, SIGKILL after the grace period; a later kill can only shorten it.
    pub(crate) fn begin_kill(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
        policy: Option<&v1::KillPolicy>,
    ) {
        let killing_state = self
            .state
            .frameworks
            .get(framework)
            .is_some_and(|f| f.has(Capability::TaskKillingState));
        // A task that is still being started is killed when it has been.
        let task =
            self.task(framework, executor, id).filter(|t| !t.is_terminal() && t.pid.is_some());
        let Some(task) = task else { return };
        let Some(container_id) = task.container_id.clone() else { return };
        let grace = |policy: &v1::KillPolicy| policy.grace_period.as_ref().map(from_wire);
        let grace =
            policy.and_then(grace).or_else(|| task.info.kill_policy.as_ref().and_then(grace));
        let state = task.state;
        let deadline = cx.now.mono + grace.unwrap_or(GRACE_DEFAULT);
        let timer = Timer::Escalate(framework.to_owned(), executor.to_owned(), id.to_owned());
        let before = self.timers.get(&timer);
        if before.is_none_or(|old| deadline < old) {
            self.timers.set(timer, deadline);
        }
        if before.is_none() {
            if killing_state && state != TaskState::TaskKilling {
                self.update(cx, framework, executor_status(id, TaskState::TaskKilling, None));
            }
            cx.out.push(Effect::SignalContainer { container_id, signal: SIGTERM });
        }
    }

    pub(crate) fn escalate(&mut self, cx: &mut Cx<'_>, framework: &str, executor: &str, id: &str) {
        let Some(task) = self.task(framework, executor, id).filter(|t| !t.is_terminal()) else {
            return;
        };
        if let Some(container_id) = task.container_id.clone() {
            cx.out.push(Effect::DestroyContainer { container_id });
        }
    }
}
