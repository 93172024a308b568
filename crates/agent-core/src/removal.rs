//! The end of tasks, executors and frameworks here, and of the agent itself (spec/agent.md 1.9, 1.11).

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::contract::Effect;
use crate::state::{
    COMPLETED_FRAMEWORKS_MAX, COMPLETED_TASKS_MAX, Executor, ExecutorKind, ExecutorState,
};
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
            executor.completed_tasks.push_back(task);
            while executor.completed_tasks.len() > COMPLETED_TASKS_MAX {
                executor.completed_tasks.pop_front();
            }
        }
        self.clean_up(cx, framework, &executor_id);
    }

    /// Forgets an executor whose container is gone and whose updates are acknowledged, and a framework without any.
    pub(crate) fn clean_up(&mut self, cx: &mut Cx<'_>, framework_id: &str, executor_id: &str) {
        let keep = self.config.max_completed_executors_per_framework;
        let Some(framework) = self.framework_mut(framework_id) else { return };
        let (checkpoints, terminating) = (framework.checkpoints(), framework.terminating);
        let done = framework.executors.get(executor_id).is_some_and(|e| {
            e.state == ExecutorState::Terminated && (e.tasks.is_empty() || terminating)
        });
        if done && let Some(executor) = framework.executors.remove(executor_id) {
            let containers = containers_of(&executor);
            let (container_id, directory) =
                (executor.container_id.clone(), executor.directory.clone());
            framework.completed_executors.push_back(Arc::new(executor));
            while framework.completed_executors.len() > keep {
                framework.completed_executors.pop_front();
            }
            for id in containers {
                self.containers.remove(&id);
                cx.out.push(Effect::ForgetContainer { container_id: id });
            }
            if checkpoints {
                let record =
                    internal::ForgetExecutor { framework_id: framework_id.into(), container_id };
                self.store(cx, Record::ForgetExecutor(record), false, Waiting::Nothing);
            }
            self.timers.set(Timer::Collect(directory), cx.now.mono + self.config.gc_delay);
        }
        let empty = self.state.frameworks.get(framework_id).is_some_and(|f| f.executors.is_empty());
        if empty && let Some(framework) = self.state.frameworks.remove(framework_id) {
            self.updates.remove_framework(framework_id);
            self.state.completed_frameworks.retain(|f| f.info.id != framework.info.id);
            self.state.completed_frameworks.push_back(framework);
            while self.state.completed_frameworks.len() > COMPLETED_FRAMEWORKS_MAX {
                self.state.completed_frameworks.pop_front();
            }
            if checkpoints {
                let record = internal::ForgetFramework { framework_id: framework_id.into() };
                self.store(cx, Record::ForgetFramework(record), false, Waiting::Nothing);
            }
        }
        if self.state.frameworks.is_empty()
            && let Some(message) = self.terminating.clone()
        {
            cx.out.push(Effect::Exit { status: 0, message });
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
        self.updates.remove_framework(framework_id);
        let Some(framework) = self.framework_mut(framework_id) else { return };
        framework.terminating = true;
        let executors: Vec<String> = framework.executors.keys().cloned().collect();
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
        let kind = executor.kind;
        if kind == ExecutorKind::Custom {
            executor.state = ExecutorState::Terminating;
            self.ask_to_shut_down(cx, framework_id, executor_id);
            return;
        }
        let tasks: Vec<String> = executor.tasks.keys().cloned().collect();
        for task in tasks {
            self.kill_one(cx, framework_id, executor_id, &task, None);
        }
    }

    /// Shuts everything down; the process stops when nothing is left.
    pub(crate) fn shut_down(&mut self, cx: &mut Cx<'_>, message: String) {
        self.terminating = Some(message.clone());
        self.timers.cancel(&Timer::Register);
        let frameworks: Vec<String> = self.state.frameworks.keys().cloned().collect();
        if frameworks.is_empty() {
            cx.out.push(Effect::Exit { status: 0, message });
        }
        for framework in frameworks {
            self.shut_down_framework(cx, &framework);
        }
    }

    pub(crate) fn on_unregister(&mut self, cx: &mut Cx<'_>) {
        if let Some(connection) = self.connection.filter(|_| self.state.registered) {
            let message = Box::new(Message::Unregister(internal::Unregister {}));
            cx.out.push(Effect::SendToMaster { connection, message });
        }
        self.shut_down(cx, "unregistered on request".to_owned());
    }
}

/// All containers that an executor had.
fn containers_of(executor: &Executor) -> Vec<String> {
    let mut all = Vec::new();
    if executor.kind != ExecutorKind::Default {
        all.push(executor.container_id.clone());
    }
    let tasks = executor.tasks.values().chain(&executor.completed_tasks);
    all.extend(
        tasks.filter_map(|t| t.container_id.clone()).filter(|id| *id != executor.container_id),
    );
    all
}
