//! The end of tasks, executors and frameworks here, and of the agent itself (spec/agent.md 1.9, 1.11).

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::contract::{Effect, Recover};
use crate::state::{
    COMPLETED_FRAMEWORKS_MAX, COMPLETED_TASKS_MAX, Executor, ExecutorKind, ExecutorState,
};
use std::collections::VecDeque;
use std::sync::Arc;
use wire::internal;
use wire::internal::agent_record::Record;
use wire::internal::agent_to_master::Message;

impl Agent {
    /// The end of a task was acknowledged.
    pub(crate) fn complete_task(&mut self, cx: &mut Cx<'_>, framework: &str, id: &str) {
        let Some(executor_id) = self.executor_of(framework, id) else { return };
        if let Some(executor) = self.executor_mut(framework, &executor_id)
            && let Some(task) = executor.tasks.remove(id)
        {
            executor.queue.retain(|queued| queued != id);
            // A pod may live for long: what is kept of its ended containers goes at once.
            let own = task.container_id.clone().filter(|id| *id != executor.container_id);
            let pod = executor.directory.clone();
            push_bounded(&mut executor.completed_tasks, task, COMPLETED_TASKS_MAX);
            if let Some(container_id) = own {
                self.forget_launched(cx, &container_id);
                self.containers.remove(&container_id);
                if self.config.gc.nested {
                    self.discard(cx, format!("{pod}/containers/{container_id}"));
                }
                cx.out.push(Effect::ForgetContainer { container_id });
            }
        }
        self.clean_up(cx, framework, &executor_id);
    }

    /// Forgets an executor whose container is gone and whose updates are acknowledged, and a framework without any.
    pub(crate) fn clean_up(&mut self, cx: &mut Cx<'_>, framework_id: &str, executor_id: &str) {
        let Some(framework) = self.framework_mut(framework_id) else { return };
        let terminating = framework.terminating;
        let done = framework.executors.get(executor_id).is_some_and(|e| {
            e.state == ExecutorState::Terminated && (e.tasks.is_empty() || terminating)
        });
        if done && let Some(executor) = framework.remove(executor_id) {
            self.forget_executor(cx, framework_id, executor);
        }
        let empty = self.state.frameworks.get(framework_id).is_some_and(|f| f.executors.is_empty());
        if empty {
            self.forget_framework(cx, framework_id);
        }
    }

    fn forget_executor(&mut self, cx: &mut Cx<'_>, framework_id: &str, executor: Executor) {
        self.forget_launched(cx, &executor.container_id);
        for container_id in containers_of(&executor) {
            self.forget_launched(cx, &container_id);
            self.containers.remove(&container_id);
            cx.out.push(Effect::ForgetContainer { container_id });
        }
        if self.keeps(framework_id) {
            let record = internal::ForgetExecutor {
                framework_id: framework_id.into(),
                container_id: executor.container_id.clone(),
            };
            self.store(cx, Record::ForgetExecutor(record), false, Waiting::Nothing);
        }
        if executor.kind != ExecutorKind::Command {
            // The executor may come again under its id, and keep the whole directory alive.
            self.discard(cx, executor.directory.clone());
        }
        self.discard(cx, self.executor_directory(framework_id, executor.id()));
        let keep = self.config.max_completed_executors_per_framework;
        if let Some(framework) = self.framework_mut(framework_id) {
            push_bounded(&mut framework.completed_executors, Arc::new(executor), keep);
        }
    }

    fn forget_framework(&mut self, cx: &mut Cx<'_>, framework_id: &str) {
        let keeps = self.keeps(framework_id);
        let Some(framework) = self.state.frameworks.remove(framework_id) else { return };
        self.updates.remove_idle(framework_id);
        self.state.completed_frameworks.retain(|f| f.info.id != framework.info.id);
        push_bounded(&mut self.state.completed_frameworks, framework, COMPLETED_FRAMEWORKS_MAX);
        if keeps {
            let record = internal::ForgetFramework { framework_id: framework_id.into() };
            self.store(cx, Record::ForgetFramework(record), false, Waiting::Nothing);
        }
        let directory = self.framework_directory(framework_id);
        self.discard(cx, directory);
        self.end_drain(cx);
        if self.state.frameworks.is_empty()
            && let Some(message) = self.terminating.clone()
        {
            self.exit(cx, message);
        }
    }

    /// Tells the master that an executor with resources of its own is gone.
    pub(crate) fn executor_exited(
        &self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        status: i32,
    ) {
        let Some(connection) = self.connection.filter(|_| self.state.registered) else { return };
        let message = internal::ExecutorExited {
            framework_id: framework.into(),
            executor_id: executor.into(),
            status,
        };
        cx.out.push(Effect::SendToMaster {
            connection,
            message: Box::new(Message::ExecutorExited(message)),
        });
    }

    /// A framework is gone from the cluster: everything of it ends, and nothing is reported.
    pub(crate) fn shut_down_framework(&mut self, cx: &mut Cx<'_>, framework_id: &str) {
        for task in self.updates.remove_framework(framework_id) {
            self.timers.cancel(&Timer::Retry(framework_id.to_owned(), task));
        }
        let Some(framework) = self.framework_mut(framework_id) else { return };
        framework.terminating = true;
        let executors: Vec<String> = framework.executors.keys().cloned().collect();
        if executors.is_empty() {
            // The agent ended between forgetting its last executor and forgetting it.
            self.forget_framework(cx, framework_id);
        }
        for executor in executors {
            self.shut_down_executor(cx, framework_id, &executor);
            self.clean_up(cx, framework_id, &executor);
        }
    }

    pub(crate) fn shut_down_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
    ) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        if matches!(executor.state, ExecutorState::Terminating | ExecutorState::Terminated) {
            return;
        }
        executor.state = ExecutorState::Terminating;
        if executor.kind == ExecutorKind::Custom {
            if executor.started {
                self.ask_to_shut_down(cx, framework_id, executor_id);
            } else {
                self.on_executor_ended(cx, framework_id, executor_id, -1);
            }
            return;
        }
        let queued = executor.queue.clone();
        let tasks: Vec<String> = executor.tasks.keys().cloned().collect();
        for task in &queued {
            self.kill_queued(cx, framework_id, executor_id, task);
        }
        for task in &tasks {
            self.kill_one(cx, framework_id, executor_id, task, None);
        }
        self.after_queue_emptied(cx, framework_id, executor_id);
    }

    /// Shuts everything down; the process stops when nothing is left.
    pub(crate) fn shut_down(&mut self, cx: &mut Cx<'_>, message: String) {
        self.terminating = Some(message.clone());
        self.timers.cancel(&Timer::Register);
        let frameworks: Vec<String> = self.state.frameworks.keys().cloned().collect();
        if frameworks.is_empty() {
            self.exit(cx, message);
        }
        for framework in frameworks {
            self.shut_down_framework(cx, &framework);
        }
    }

    /// Nothing is left.
    fn exit(&mut self, cx: &mut Cx<'_>, message: String) {
        if self.config.recover == Recover::Cleanup && self.state.id.is_some() {
            let boot_id = self.config.boot_id.clone();
            let boot = Record::Boot(internal::BootRecord { boot_id, anew: Some(true) });
            self.store(cx, boot, true, Waiting::Nothing);
        }
        cx.out.push(Effect::Exit { status: 0, message });
    }

    pub(crate) fn on_unregister(&mut self, cx: &mut Cx<'_>) {
        if let Some(connection) = self.connection.filter(|_| self.state.registered) {
            let message = Box::new(Message::Unregister(internal::Unregister {}));
            cx.out.push(Effect::SendToMaster { connection, message });
        }
        self.shut_down(cx, "unregistered on request".to_owned());
    }
}

fn push_bounded<T>(ring: &mut VecDeque<T>, item: T, keep: usize) {
    ring.push_back(item);
    while ring.len() > keep {
        ring.pop_front();
    }
}

/// All containers of an executor that were not forgotten yet.
fn containers_of(executor: &Executor) -> Vec<String> {
    let mut all = Vec::new();
    if executor.kind != ExecutorKind::Default {
        all.push(executor.container_id.clone());
    }
    let tasks = executor.tasks.values().filter_map(|t| t.container_id.clone());
    all.extend(tasks.filter(|id| *id != executor.container_id));
    all
}
