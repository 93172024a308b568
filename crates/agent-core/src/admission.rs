//! Tasks as they come from the master: refused, or taken in and recorded.

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::contract::Effect;
use crate::refusal::{Refusal, is_pod_executor};
use crate::state::{Executor, ExecutorKind, Framework, Task};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::internal::agent_record::Record;
use wire::v1::task_status::Reason;
use wire::{internal, v1};

impl Agent {
    pub(crate) fn on_run_task(&mut self, cx: &mut Cx<'_>, run: internal::RunTask) {
        let executor = run.task.executor.clone();
        let launch_executor = run.launch_executor;
        self.run(cx, run.framework, executor, vec![run.task], false, launch_executor);
    }

    pub(crate) fn on_run_task_group(&mut self, cx: &mut Cx<'_>, run: internal::RunTaskGroup) {
        self.run(cx, run.framework, Some(run.executor), run.tasks, true, run.launch_executor);
    }

    fn run(
        &mut self,
        cx: &mut Cx<'_>,
        framework: v1::FrameworkInfo,
        executor: Option<v1::ExecutorInfo>,
        tasks: Vec<v1::TaskInfo>,
        is_group: bool,
        launch_executor: bool,
    ) {
        let Some(framework_id) = framework.id.as_ref().map(|id| id.value.clone()) else { return };
        let Some(first) = tasks.first() else { return };
        if self.state.frameworks.get(&framework_id).is_some_and(|f| f.terminating) {
            return;
        }
        let executor_id =
            executor.as_ref().map_or(&first.task_id.value, |e| &e.executor_id.value).clone();
        let group: Vec<String> = if is_group {
            tasks.iter().map(|t| t.task_id.value.clone()).collect()
        } else {
            Vec::new()
        };
        let ids: BTreeSet<&str> = tasks.iter().map(|t| t.task_id.value.as_str()).collect();
        let is_here =
            |t: &v1::TaskInfo| self.executor_of(&framework_id, &t.task_id.value).is_some();
        let refusal = if tasks.iter().all(is_here) {
            // The message came twice: their own updates say what becomes of them.
            return;
        } else if ids.len() < tasks.len() || tasks.iter().any(is_here) {
            Some(Refusal::drop(Reason::TaskInvalid, "A task id of the group is in use"))
        } else {
            self.refusal(&framework_id, &executor_id, executor.as_ref(), &tasks, launch_executor)
        };
        if let Some(refusal) = refusal {
            let tasks = tasks.into_iter().filter(|t| !is_here(t)).collect::<Vec<_>>();
            let expected = launch_executor && executor.is_some();
            self.refuse(cx, &framework, &executor_id, tasks, &refusal, expected);
            return;
        }
        self.ensure_framework(cx, &framework_id, framework);
        if self.executor(&framework_id, &executor_id).is_none() {
            let (info, kind) = match executor {
                None => (command_executor(&framework_id, first), ExecutorKind::Command),
                Some(info) if is_pod_executor(&info) => (info, ExecutorKind::Default),
                Some(info) => (info, ExecutorKind::Custom),
            };
            self.make_executor(cx, &framework_id, info, kind);
        }
        let tasks: Vec<String> = tasks
            .into_iter()
            .map(|info| self.add_task(&framework_id, &executor_id, info, &group))
            .collect();
        self.record_launch(cx, &framework_id, &executor_id, tasks);
    }

    fn ensure_framework(&mut self, cx: &mut Cx<'_>, framework_id: &str, info: v1::FrameworkInfo) {
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.info = info;
            return;
        }
        // One that comes back brings its history along.
        let former = &mut self.state.completed_frameworks;
        let known = former
            .iter()
            .position(|f| f.info.id.as_ref().is_some_and(|id| id.value == framework_id));
        let former = known.and_then(|at| former.remove(at));
        let completed = former.map(|f| f.completed_executors.clone()).unwrap_or_default();
        let framework = Framework::new(info.clone(), completed);
        self.state.frameworks.insert(framework_id.to_owned(), Arc::new(framework));
        self.retain_directory(&self.framework_directory(framework_id));
        if self.keeps(framework_id) {
            self.store(cx, Record::Framework(info), false, Waiting::Nothing);
        }
    }

    pub(crate) fn framework_directory(&self, framework_id: &str) -> String {
        let agent = self.agent_directory(self.state.id.as_deref().unwrap_or_default());
        format!("{agent}/frameworks/{framework_id}")
    }

    pub(crate) fn executor_directory(&self, framework_id: &str, executor_id: &str) -> String {
        format!("{}/executors/{executor_id}", self.framework_directory(framework_id))
    }

    fn make_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        info: v1::ExecutorInfo,
        kind: ExecutorKind,
    ) {
        let container_id = self.rng.uuid();
        let base = self.executor_directory(framework_id, &info.executor_id.value);
        let directory = format!("{base}/runs/{container_id}");
        self.retain_directory(&base);
        let executor = Executor::new(info, kind, container_id, directory);
        if self.keeps(framework_id) {
            let record = internal::ExecutorRecord {
                framework_id: framework_id.into(),
                info: executor.info.clone(),
                container_id: executor.container_id.clone(),
                kind: kind as i32,
                directory: executor.directory.clone(),
            };
            self.store(cx, Record::Executor(record), false, Waiting::Nothing);
        }
        if kind == ExecutorKind::Default {
            let (directory, path) = (base.clone(), "runs/latest".to_owned());
            let target = executor.directory.clone();
            cx.out.push(Effect::Link { directory, path, target });
        }
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.add(executor);
        }
    }

    fn add_task(
        &mut self,
        framework_id: &str,
        executor_id: &str,
        info: v1::TaskInfo,
        group: &[String],
    ) -> String {
        let id = info.task_id.value.clone();
        // An earlier task of this id was refused; the master has heard of it, or it would not use the id again.
        self.updates.close(framework_id, &id);
        self.timers.cancel(&Timer::Retry(framework_id.to_owned(), id.clone()));
        let mut task = Task::new(info);
        task.group = group.to_vec();
        let own = self.rng.uuid();
        if let Some(executor) = self.executor_mut(framework_id, executor_id) {
            task.container_id = match executor.kind {
                ExecutorKind::Command => Some(executor.container_id.clone()),
                ExecutorKind::Default => Some(own),
                ExecutorKind::Custom => None,
            };
            executor.queue.push(id.clone());
            executor.tasks.insert(id.clone(), Box::new(task));
        }
        id
    }

    /// Stores new tasks; they are started when the store has them, so that a container is never without a record.
    fn record_launch(
        &mut self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        tasks: Vec<String>,
    ) {
        if !self.keeps(framework_id) {
            self.on_launch_recorded(cx, framework_id, executor_id, &tasks);
            return;
        }
        let records: Vec<internal::TaskRecord> = tasks
            .iter()
            .filter_map(|id| self.task(framework_id, executor_id, id))
            .map(|task| internal::TaskRecord {
                framework_id: framework_id.into(),
                executor_id: executor_id.into(),
                info: task.info.clone(),
                container_id: task.container_id.clone(),
                group: task.group.clone(),
            })
            .collect();
        let last = records.len().saturating_sub(1);
        let mut tasks = Some(tasks);
        for (at, record) in records.into_iter().enumerate() {
            // Records are kept in order: when the last one is there, all are.
            let waiting = match tasks.take_if(|_| at == last) {
                Some(tasks) => Waiting::Launch {
                    framework: framework_id.to_owned(),
                    executor: executor_id.to_owned(),
                    tasks,
                },
                None => Waiting::Nothing,
            };
            self.store(cx, Record::Task(record), false, waiting);
        }
    }
}

/// The executor that the peer would generate for a command task (spec/agent.md 1.8).
fn command_executor(framework_id: &str, task: &v1::TaskInfo) -> v1::ExecutorInfo {
    let command = task.command.clone().unwrap_or_default();
    let shown = if command.shell() {
        match command.value.as_deref() {
            None => "NO COMMAND".to_owned(),
            Some(value) if value.chars().count() > 15 => {
                format!("sh -c '{}...'", value.chars().take(12).collect::<String>())
            }
            Some(value) => format!("sh -c '{value}'"),
        }
    } else {
        match command.value.as_deref() {
            None => "NO EXECUTABLE".to_owned(),
            Some(_) => format!("[{}]", command.arguments.join(", ")),
        }
    };
    let role = task.resources.iter().find_map(|r| r.allocation_info.clone());
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        allocation_info: role.clone(),
        ..Default::default()
    };
    let grace = task.kill_policy.as_ref().and_then(|k| k.grace_period);
    v1::ExecutorInfo {
        executor_id: task.task_id.value.as_str().into(),
        framework_id: Some(framework_id.into()),
        name: Some(format!("Command Executor (Task: {}) (Command: {shown})", task.task_id.value)),
        source: Some(task.task_id.value.clone()),
        command: Some(command),
        container: task.container.clone(),
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        shutdown_grace_period: grace
            .map(|g| v1::DurationInfo { nanoseconds: g.nanoseconds.saturating_add(2_000_000_000) }),
        ..Default::default()
    }
}
