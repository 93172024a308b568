//! Ending tasks (spec/agent.md 3.2): SIGTERM, a grace period, SIGKILL.

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::containers::executor_status;
use crate::contract::Effect;
use crate::environment::from_wire;
use crate::launch::{agent_status, is_docker};
use crate::refusal::dropped;
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
            self.on_kill_unknown(cx, framework, task);
            return;
        };
        let Some(known) = self.task(framework, &executor, task) else { return };
        if known.is_terminal() {
            return;
        }
        if let Some(who) = &kill.asked_by {
            self.mark_killed_by(framework, &executor, task, who);
        }
        let Some(known) = self.task(framework, &executor, task) else { return };
        if let Some(message) = kill.preemption.clone() {
            self.preempt_task(cx, framework, &executor, kill, &message);
            return;
        }
        if known.launched {
            self.kill_one(cx, framework, &executor, task, kill.kill_policy.as_ref());
            return;
        }
        // One of an undelivered group takes the others with it.
        let mut all = known.group.clone();
        if all.is_empty() {
            all.push(task.to_owned());
        }
        for id in &all {
            self.kill_queued(cx, framework, &executor, id);
        }
        self.after_queue_emptied(cx, framework, &executor);
    }

    /// Who asked first for the end of a task is named by it.
    fn mark_killed_by(&mut self, framework: &str, executor: &str, task: &str, who: &str) {
        let task = self.task_mut(framework, executor, task).filter(|t| !t.killed);
        if let Some(task) = task {
            task.killed_by.get_or_insert_with(|| who.to_owned());
        }
    }

    /// The end of a task that somebody else than its framework asked for says who that was.
    pub(crate) fn explain_kill(&self, framework: &str, status: &mut v1::TaskStatus) {
        if !matches!(status.state(), TaskState::TaskKilling | TaskState::TaskKilled) {
            return;
        }
        let id = status.task_id.value.as_str();
        let executor = self.executor_of(framework, id);
        let task = executor.and_then(|executor| self.task(framework, &executor, id));
        let Some(who) = task.and_then(|task| task.killed_by.as_ref()) else { return };
        let more = status.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        status.message = Some(format!("Killed by {who}{more}"));
    }

    fn on_kill_unknown(&mut self, cx: &mut Cx<'_>, framework: &str, task: &str) {
        let Some(known) = self.state.frameworks.get(framework) else { return };
        if known.terminating || self.updates.is_open(framework, task) {
            return;
        }
        let info = known.info.clone();
        let status = dropped(&info, task, Reason::ExecutorTerminated, "Cannot find executor");
        self.report(cx, &info, status);
    }

    /// Takes a task that was not given to its executor yet.
    pub(crate) fn kill_queued(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
    ) {
        let Some(known) = self.executor_mut(framework, executor) else { return };
        let Some(task) = known.tasks.get(id).filter(|t| !t.launched && !t.is_terminal()) else {
            return;
        };
        let message = if task.group.is_empty() {
            "The task was killed before its executor had it"
        } else {
            "A task of the group was killed before the executor had the group"
        };
        known.queue.retain(|queued| queued != id);
        let reason = Reason::TaskKilledDuringLaunch;
        let mut status = agent_status(id, TaskState::TaskKilled, reason, message);
        if let Some(message) = task.preempted.clone() {
            status = self.preempted_status(framework, id, &message);
        }
        self.update(cx, framework, status);
    }

    /// Nothing is queued any more: an executor that never got anything has nothing to do.
    pub(crate) fn after_queue_emptied(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
    ) {
        let Some(executor) = self.executor_mut(framework, executor_id) else { return };
        if !executor.queue.is_empty() || executor.state == ExecutorState::Terminated {
            return;
        }
        match executor.kind {
            ExecutorKind::Command if !executor.had_tasks => {
                executor.state = ExecutorState::Terminated;
                self.clean_up(cx, framework, executor_id);
            }
            ExecutorKind::Default => self.end_idle_pod(cx, framework, executor_id),
            ExecutorKind::Custom if !executor.had_tasks => {
                self.shut_down_executor(cx, framework, executor_id)
            }
            ExecutorKind::Command | ExecutorKind::Custom => {}
        }
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
        let (kind, state) = (known.kind, known.state);
        let Some(task) = self.task_mut(framework, executor, id).filter(|t| !t.is_terminal()) else {
            return;
        };
        let first = !std::mem::replace(&mut task.killed, true);
        let preemption = task.preempted.clone();
        let asked_by = task.killed_by.clone();
        if first {
            self.stop_checks(cx, framework, executor, id);
        }
        let unhealthy = self.executor(framework, executor).is_some_and(|e| e.unhealthy);
        let Some(task) = self.task_mut(framework, executor, id) else { return };
        // The peer's pod executor ignores a second kill.
        if first || kind != ExecutorKind::Default {
            let grace = policy.and_then(|p| p.grace_period.as_ref()).map(from_wire);
            task.kill_grace = grace.or(task.kill_grace);
        }
        if kind == ExecutorKind::Custom && state != ExecutorState::Terminating {
            self.send_kill(cx, framework, executor, id, policy);
        }
        if first && self.keeps(framework) {
            // Should the agent die now, the task's end by a signal is still known for a kill.
            let record = internal::KillRecord {
                framework_id: framework.into(),
                task_id: id.into(),
                kill_policy: policy.copied(),
                preemption,
                unhealthy: unhealthy.then_some(true),
                asked_by,
            };
            let waiting = Waiting::Kill {
                framework: framework.to_owned(),
                executor: executor.to_owned(),
                task: id.to_owned(),
            };
            self.store(cx, Record::Kill(record), false, waiting);
            return;
        }
        if let Some(task) = self.task_mut(framework, executor, id).filter(|_| first) {
            task.kill_recorded = true;
        }
        if first || kind == ExecutorKind::Command {
            self.begin_kill(cx, framework, executor, id);
        }
    }

    /// SIGTERM now, SIGKILL after the grace period; a later kill can only shorten it. Before the task is started, what
    /// can be given up of its start is; before its kill is stored nothing is done: both come here again.
    pub(crate) fn begin_kill(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
    ) {
        let known = self.state.frameworks.get(framework);
        let tells = known.is_some_and(|f| f.has(Capability::TaskKillingState));
        // Docker's containers have as long as executors have to shut down.
        let docker =
            self.config.executor_shutdown_grace_period.max(self.config.docker_stop_timeout);
        let Some(task) = self.task_mut(framework, executor, id) else { return };
        if task.is_terminal() || !task.kill_recorded {
            return;
        }
        let Some(container_id) = task.container_id.clone() else { return };
        if task.pid.is_none() {
            if self.containers.get(&container_id).is_some_and(|owner| !owner.started) {
                cx.out.push(Effect::CancelStart { container_id });
            }
            return;
        }
        let own = task.info.kill_policy.as_ref().and_then(|p| p.grace_period.as_ref());
        let default = if is_docker(task.info.container.as_ref()) { docker } else { GRACE_DEFAULT };
        let grace = task.kill_grace.or(own.map(from_wire)).unwrap_or(default);
        let first = !std::mem::replace(&mut task.signalled, true);
        let is_told = task.state == TaskState::TaskKilling;
        let deadline = cx.now.mono + grace;
        let timer = Timer::Escalate(framework.to_owned(), executor.to_owned(), id.to_owned());
        let before = self.timers.get(&timer);
        if first || before.is_some_and(|old| deadline < old) {
            self.timers.set(timer, deadline);
        }
        if first {
            if tells && !is_told {
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
