//! Tasks that end because what they use is wanted back: revocable resources (spec/agent.md 7.4).

use crate::agent::{Agent, Cx};
use crate::contract::Effect;
use crate::launch::agent_status;
use crate::state::{Executor, ExecutorKind, Task};
use std::collections::BTreeSet;
use wire::v1::TaskState;
use wire::v1::task_status::{Reason, Source};
use wire::{internal, v1};

impl Agent {
    /// When this task ends it has been preempted. One that was killed before ends as killed.
    pub(crate) fn mark_preempted(
        &mut self,
        framework: &str,
        executor: &str,
        task: &str,
        message: &str,
    ) {
        let task = self.task_mut(framework, executor, task);
        if let Some(task) = task.filter(|t| !t.killed && !t.is_terminal()) {
            task.preempted = Some(message.to_owned());
        }
    }

    /// What the framework of a preempted task is told.
    pub(crate) fn preempted_status(
        &self,
        framework: &str,
        task: &str,
        message: &str,
    ) -> v1::TaskStatus {
        let known = self.state.frameworks.get(framework);
        let state = known.map_or(TaskState::TaskGone, |f| f.lost(TaskState::TaskGone));
        agent_status(task, state, Reason::ContainerPreempted, message)
    }

    /// The master wants back what a task uses. Unlike the end of a task that is killed or fails, this one concerns none
    /// of its group that uses nothing revocable.
    pub(crate) fn preempt_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
        kill: &internal::KillTask,
        message: &str,
    ) {
        let id = kill.task_id.value.as_str();
        let Some(executor) = self.executor(framework, executor_id) else { return };
        let Some(task) = executor.tasks.get(id) else { return };
        if task.launched {
            let is_custom = executor.kind == ExecutorKind::Custom;
            self.mark_preempted(framework, executor_id, id, message);
            if !kill.at_once() {
                self.kill_one(cx, framework, executor_id, id, kill.kill_policy.as_ref());
            } else if is_custom {
                let status = self.preempted_status(framework, id, message);
                self.update(cx, framework, status);
                self.end_disobedient(cx, framework, executor_id);
            } else {
                self.escalate(cx, framework, executor_id, id);
            }
            return;
        }
        let mates = task.group.iter().filter(|mate| borrows(executor, mate)).cloned();
        let tasks: BTreeSet<String> = mates.chain([id.to_owned()]).collect();
        for task in tasks {
            self.mark_preempted(framework, executor_id, &task, message);
            self.kill_queued(cx, framework, executor_id, &task);
        }
        self.after_queue_emptied(cx, framework, executor_id);
    }

    /// With a pod's task that was preempted go those of its group that use revocable resources too.
    pub(crate) fn preempt_mates(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
        id: &str,
    ) {
        let Some(executor) = self.executor(framework, executor_id) else { return };
        let Some(task) = executor.tasks.get(id) else { return };
        let Some(message) = task.preempted.clone() else { return };
        let mates = task.group.iter().filter(|mate| borrows(executor, mate));
        let mates: Vec<String> = mates.cloned().collect();
        for mate in mates {
            if self.task(framework, executor_id, &mate).is_some_and(|t| !t.killed) {
                self.mark_preempted(framework, executor_id, &mate, &message);
                self.kill_one(cx, framework, executor_id, &mate, None);
            }
        }
    }

    /// An executor that did not end what was taken from it is shut down when it has nothing else any more.
    pub(crate) fn end_disobedient(&mut self, cx: &mut Cx<'_>, framework: &str, executor_id: &str) {
        let Some(executor) = self.executor(framework, executor_id) else { return };
        let all = || executor.tasks.values().chain(&executor.completed_tasks);
        let was_taken = |task: &Task| {
            let last = task.statuses.last();
            last.is_some_and(|status| {
                status.reason() == Reason::ContainerPreempted && status.source() == Source::Agent
            })
        };
        if executor.kind == ExecutorKind::Custom
            && all().all(|task| task.is_terminal())
            && all().any(|task| was_taken(task))
        {
            self.shut_down_executor(cx, framework, executor_id);
        }
    }

    /// Ends what uses revocable resources in an executor, without a grace period: the container of a custom executor,
    /// or only some of its tasks when others use nothing that is wanted back.
    pub(crate) fn preempt_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor_id: &str,
        message: &str,
    ) {
        let Some(executor) = self.executor_mut(framework, executor_id) else { return };
        let live = executor.tasks.iter().filter(|(_, task)| !task.is_terminal());
        let (using, others): (Vec<_>, Vec<_>) =
            live.partition(|(_, task)| has_revocable(&task.info.resources));
        let is_whole = has_revocable(&executor.info.resources) || others.is_empty();
        let mut tasks: Vec<String> = using.into_iter().map(|(id, _)| id.clone()).collect();
        if is_whole {
            tasks.extend(others.into_iter().map(|(id, _)| id.clone()));
        }
        let is_custom = executor.kind == ExecutorKind::Custom;
        if is_custom && is_whole {
            executor.pending_end.get_or_insert((Reason::ContainerPreempted, message.to_owned()));
            let container_id = executor.container_id.clone();
            self.count("slave/executors_preempted");
            cx.out.push(Effect::DestroyContainer { container_id });
            return;
        }
        let at_once = v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds: 0 }) };
        let mut is_any = false;
        for id in tasks {
            if self.task(framework, executor_id, &id).is_some_and(|t| t.launched && !t.killed) {
                self.mark_preempted(framework, executor_id, &id, message);
                self.kill_one(cx, framework, executor_id, &id, Some(&at_once));
                is_any = true;
            }
        }
        if is_any {
            self.count("slave/executors_preempted");
        }
    }
}

/// Whether a task of an executor has not ended and uses revocable resources.
fn borrows(executor: &Executor, task: &str) -> bool {
    let task = executor.tasks.get(task).filter(|t| !t.is_terminal());
    task.is_some_and(|t| has_revocable(&t.info.resources))
}

fn has_revocable(resources: &[v1::Resource]) -> bool {
    resources.iter().any(|r| r.revocable.is_some())
}

/// Whether the executor or a live task of it uses revocable resources.
pub(crate) fn uses_revocable(executor: &Executor) -> bool {
    let mut live = executor.tasks.values().filter(|t| !t.is_terminal());
    has_revocable(&executor.info.resources) || live.any(|t| has_revocable(&t.info.resources))
}
