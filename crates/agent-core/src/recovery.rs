//! What is known after a restart: records of the store, and the containers that were found (spec/agent.md 1.7).

use crate::agent::{Agent, Cx, Owner, Timer};
use crate::containers::executor_status;
use crate::contract::{Effect, FoundContainer, FoundState};
use crate::launch::agent_status;
use crate::state::{Executor, ExecutorKind, ExecutorState, Framework, Task, is_terminal};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use wire::internal;
use wire::internal::agent_record::Record;
use wire::v1::TaskState;
use wire::v1::task_status::Reason;

impl Agent {
    pub(crate) fn on_recovered(
        &mut self,
        cx: &mut Cx<'_>,
        records: Vec<internal::AgentRecord>,
        found: Vec<FoundContainer>,
    ) {
        if self.state.recovered {
            return;
        }
        for record in records.into_iter().filter_map(|r| r.record) {
            self.replay(record);
        }
        let found: BTreeMap<String, FoundState> =
            found.into_iter().map(|f| (f.container_id, f.state)).collect();
        let mut known = Vec::new();
        for (framework_id, framework) in self.state.frameworks.clone() {
            for executor in framework.executors.values() {
                self.recover_executor(cx, &framework_id, executor, &found, &mut known);
            }
        }
        // What nobody remembers belonged to a framework that does not checkpoint.
        for container_id in found.into_keys().filter(|id| !known.contains(id)) {
            cx.out.push(Effect::DestroyContainer { container_id: container_id.clone() });
            cx.out.push(Effect::ForgetContainer { container_id });
        }
        self.state.recovered = true;
        if self.connection.is_some() {
            self.register(cx);
        }
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Agent(info) => self.state.id = info.id.map(|id| id.value),
            Record::Framework(info) => {
                let id = info.id.clone().unwrap_or_default().value;
                if let Some(framework) = self.framework_mut(&id) {
                    framework.info = info;
                    return;
                }
                let framework = Framework {
                    info,
                    executors: BTreeMap::new(),
                    completed_executors: VecDeque::new(),
                    terminating: false,
                };
                self.state.frameworks.insert(id, Arc::new(framework));
            }
            Record::Executor(record) => {
                let kind = record.kind();
                let executor = Executor {
                    kind,
                    container_id: record.container_id,
                    directory: record.directory,
                    state: if kind == ExecutorKind::Custom {
                        ExecutorState::Registering
                    } else {
                        ExecutorState::Running
                    },
                    pid: None,
                    stream: None,
                    tasks: BTreeMap::new(),
                    queue: Vec::new(),
                    completed_tasks: VecDeque::new(),
                    had_tasks: false,
                    pending_end: None,
                    info: record.info,
                };
                if let Some(framework) = self.framework_mut(&record.framework_id.value) {
                    framework.executors.insert(executor.id().to_owned(), executor);
                }
            }
            Record::Task(record) => {
                let mut task = Task::new(record.info);
                task.container_id = record.container_id;
                task.group = record.group;
                task.launched = true;
                if let Some(executor) =
                    self.executor_mut(&record.framework_id.value, &record.executor_id.value)
                {
                    executor.had_tasks = true;
                    executor.tasks.insert(task.info.task_id.value.clone(), task);
                }
            }
            Record::Update(record) => {
                let framework = record.framework_id.value;
                let task_id = record.status.task_id.value.clone();
                let Some(executor) = self.executor_of(&framework, &task_id) else { return };
                if let Some(task) = self.task_mut(&framework, &executor, &task_id) {
                    task.state = record.status.state();
                    task.statuses
                        .push(wire::v1::TaskStatus { data: None, ..record.status.clone() });
                }
                self.updates.push(&framework, record.status, true);
            }
            Record::Ack(record) => {
                let (framework, task) =
                    (record.framework_id.value.as_str(), record.task_id.value.as_str());
                let acknowledged = self.updates.acknowledge(framework, task, &record.uuid);
                if acknowledged.is_some_and(|s| is_terminal(s.state()))
                    && let Some(executor) = self.executor_of(framework, task)
                    && let Some(executor) = self.executor_mut(framework, &executor)
                    && let Some(task) = executor.tasks.remove(task)
                {
                    executor.completed_tasks.push_back(task);
                }
            }
            Record::Kill(record) => {
                let (framework, task) =
                    (record.framework_id.value.as_str(), record.task_id.value.as_str());
                if let Some(executor) = self.executor_of(framework, task)
                    && let Some(task) = self.task_mut(framework, &executor, task)
                {
                    task.killed = true;
                }
            }
            Record::ForgetExecutor(record) => {
                if let Some(framework) = self.framework_mut(&record.framework_id.value) {
                    framework.executors.retain(|_, e| e.container_id != record.container_id);
                }
            }
            Record::ForgetFramework(record) => {
                self.state.frameworks.remove(&record.framework_id.value);
                self.updates.remove_framework(&record.framework_id.value);
            }
        }
    }

    fn recover_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor: &Executor,
        found: &BTreeMap<String, FoundState>,
        known: &mut Vec<String>,
    ) {
        let executor_id = executor.id().to_owned();
        if executor.kind == ExecutorKind::Custom {
            let owner = Owner {
                framework: framework_id.to_owned(),
                executor: executor_id.clone(),
                task: None,
            };
            known.push(executor.container_id.clone());
            match found.get(&executor.container_id) {
                Some(FoundState::Running { pid }) => {
                    self.containers.insert(executor.container_id.clone(), owner);
                    if let Some(executor) = self.executor_mut(framework_id, &executor_id) {
                        executor.pid = Some(*pid);
                    }
                    let timer = Timer::Reregistration(
                        framework_id.to_owned(),
                        executor_id,
                        executor.container_id.clone(),
                    );
                    self.timers
                        .set(timer, cx.now.mono + self.config.executor_reregistration_timeout);
                }
                Some(FoundState::Exited { status }) => {
                    self.on_executor_ended(cx, framework_id, &executor_id, status.unwrap_or(-1));
                }
                None => {
                    self.explain_loss(framework_id, &executor_id);
                    self.on_executor_ended(cx, framework_id, &executor_id, -1);
                }
            }
            return;
        }
        known.extend(
            executor
                .tasks
                .values()
                .chain(&executor.completed_tasks)
                .filter_map(|t| t.container_id.clone()),
        );
        for (id, task) in &executor.tasks {
            self.recover_task(cx, framework_id, &executor_id, id, task, found);
        }
        // Everything of it had ended before.
        let idle = self
            .executor(framework_id, &executor_id)
            .is_some_and(|e| e.tasks.values().all(|t| t.is_terminal()));
        if idle && executor.kind == ExecutorKind::Default {
            self.on_executor_ended(cx, framework_id, &executor_id, 0);
        } else if idle && let Some(executor) = self.executor_mut(framework_id, &executor_id) {
            executor.state = ExecutorState::Terminated;
        }
        self.clean_up(cx, framework_id, &executor_id);
    }

    fn recover_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        id: &str,
        task: &Task,
        found: &BTreeMap<String, FoundState>,
    ) {
        if task.is_terminal() {
            return;
        }
        let Some(container_id) = task.container_id.clone() else { return };
        let owner = Owner {
            framework: framework_id.to_owned(),
            executor: executor_id.to_owned(),
            task: Some(id.to_owned()),
        };
        let silent = task.state == TaskState::TaskStaging;
        match found.get(&container_id) {
            Some(FoundState::Running { pid }) => {
                self.containers.insert(container_id, owner);
                if silent {
                    self.on_task_started(cx, framework_id, executor_id, id, *pid);
                } else {
                    if let Some(task) = self.task_mut(framework_id, executor_id, id) {
                        task.pid = Some(*pid);
                    }
                    if let Some(executor) = self.executor_mut(framework_id, executor_id) {
                        executor.pid = Some(*pid);
                    }
                    if task.killed {
                        self.begin_kill(cx, framework_id, executor_id, id, None);
                    }
                    if let Some(longest) =
                        task.info.max_completion_time.as_ref().map(crate::environment::from_wire)
                    {
                        let timer = Timer::Completion(
                            framework_id.to_owned(),
                            executor_id.to_owned(),
                            id.to_owned(),
                        );
                        self.timers.set(timer, cx.now.mono + longest);
                    }
                }
            }
            Some(FoundState::Exited { status }) => {
                if silent {
                    self.update(
                        cx,
                        framework_id,
                        executor_status(id, TaskState::TaskStarting, None),
                    );
                    self.update(
                        cx,
                        framework_id,
                        executor_status(id, TaskState::TaskRunning, None),
                    );
                }
                self.on_task_exited(cx, framework_id, executor_id, id, *status);
            }
            None => {
                let Some(framework) = self.state.frameworks.get(framework_id) else { return };
                let state = framework.lost(TaskState::TaskGone);
                let message = "The container was not there any more when the agent came back";
                self.update(
                    cx,
                    framework_id,
                    agent_status(id, state, Reason::ExecutorTerminated, message),
                );
                self.after_task_end(cx, framework_id, executor_id, id);
            }
        }
    }

    fn explain_loss(&mut self, framework_id: &str, executor_id: &str) {
        if let Some(executor) = self.executor_mut(framework_id, executor_id) {
            let message = "The executor was not there any more when the agent came back".to_owned();
            executor.pending_end = Some((Reason::ExecutorReregistrationTimeout, message));
        }
    }
}
