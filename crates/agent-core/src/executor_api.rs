//! Frameworks' own executors: the v1 executor API (spec/agent.md 2.1).

use crate::agent::{Agent, Cx, Timer};
use crate::contract::Effect;
use crate::refusal::dropped;
use crate::state::{ExecutorKind, ExecutorState};
use crate::updates::Known;
use base::Token;
use std::time::Duration;
use wire::internal;
use wire::internal::agent_to_master::Message;
use wire::v1::task_status::{Reason, Source};
use wire::v1::{self, executor};

const HEARTBEAT: Duration = Duration::from_secs(30 * 60);

fn event(kind: executor::event::Type) -> executor::Event {
    executor::Event { r#type: Some(kind as i32), ..Default::default() }
}

/// Whether an executor may send this status.
fn validate(status: &v1::TaskStatus, executor: &str) -> Result<(), String> {
    if status.uuid.is_none() {
        return Err("Expecting 'uuid' to be present".to_owned());
    }
    if status.uuid().len() != 16 {
        return Err(format!("'status.uuid' must be 16 bytes, not {}", status.uuid().len()));
    }
    if let Some(other) = status.executor_id.as_ref().filter(|id| id.value != *executor) {
        return Err(format!(
            "'status.executor_id' is '{}', but the call comes from executor '{executor}'",
            other.value
        ));
    }
    if status.source.is_none() || status.source() != Source::Executor {
        return Err("'status.source' must be SOURCE_EXECUTOR".to_owned());
    }
    if status.state() == v1::TaskState::TaskStaging {
        return Err("'status.state' must not be TASK_STAGING".to_owned());
    }
    let Some(check) = &status.check_status else { return Ok(()) };
    use v1::check_info::Type;
    let (is_set, field) = match check.r#type() {
        Type::Command => (check.command.is_some(), "command"),
        Type::Http => (check.http.is_some(), "http"),
        Type::Tcp => (check.tcp.is_some(), "tcp"),
        Type::Unknown => return Err("'status.check_status.type' must be set".to_owned()),
    };
    if is_set { Ok(()) } else { Err(format!("'status.check_status.{field}' must be set")) }
}

impl Agent {
    fn respond(cx: &mut Cx<'_>, token: Token, status: u16, body: &str) {
        cx.out.push(Effect::Respond { token, status, body: body.to_owned() });
    }

    fn send_event(&self, cx: &mut Cx<'_>, framework: &str, executor: &str, event: executor::Event) {
        if let Some(stream) = self.executor(framework, executor).and_then(|e| e.stream) {
            cx.out.push(Effect::SendEvent { stream, event: Box::new(event) });
        }
    }

    /// Why a call is refused, if it is: status and text.
    fn refuse_call(&self, call: &executor::Call) -> Option<(u16, String)> {
        use executor::call::Type;
        let invalid =
            |text: &str| Some((400, format!("Failed to validate Executor::Call: {text}")));
        let (framework, executor) = (&call.framework_id.value, &call.executor_id.value);
        let known = self.executor(framework, executor).filter(|e| e.kind == ExecutorKind::Custom);
        match call.r#type() {
            Type::Subscribe if call.subscribe.is_none() => {
                return invalid("Expecting 'subscribe' to be present");
            }
            Type::Update => {
                let Some(update) = &call.update else {
                    return invalid("Expecting 'update' to be present");
                };
                if let Err(text) = validate(&update.status, executor) {
                    return invalid(&text);
                }
            }
            Type::Message if call.message.is_none() => {
                return invalid("Expecting 'message' to be present");
            }
            _ => {}
        }
        if !self.state.recovered {
            return Some((503, "Agent has not finished recovery".to_owned()));
        }
        if !self.state.frameworks.contains_key(framework) {
            return Some((400, "Framework cannot be found".to_owned()));
        }
        let Some(known) = known else { return Some((400, "Executor cannot be found".to_owned())) };
        if known.state == ExecutorState::Registering && call.r#type() != Type::Subscribe {
            return Some((403, "Executor is not subscribed".to_owned()));
        }
        None
    }

    pub(crate) fn on_executor_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        stream: Token,
        call: executor::Call,
    ) {
        if let Some((status, text)) = self.refuse_call(&call) {
            Self::respond(cx, stream, status, &text);
            return;
        }
        cx.out.push(Effect::AcceptStream { stream });
        let (framework_id, executor_id) = (call.framework_id.value, call.executor_id.value);
        let (framework, executor) = (framework_id.as_str(), executor_id.as_str());
        let terminating = self.terminating.is_some()
            || self.state.frameworks.get(framework).is_some_and(|f| f.terminating);
        let Some(known) = self.executor_mut(framework, executor) else { return };
        if terminating
            || !matches!(known.state, ExecutorState::Registering | ExecutorState::Running)
        {
            cx.out.push(Effect::SendEvent {
                stream,
                event: Box::new(event(executor::event::Type::Shutdown)),
            });
            cx.out.push(Effect::CloseStream { stream });
            return;
        }
        if let Some(old) = known.stream.replace(stream) {
            cx.out.push(Effect::CloseStream { stream: old });
        }
        known.state = ExecutorState::Running;
        let container = known.container_id.clone();
        for timer in [Timer::Registration, Timer::Reregistration] {
            self.timers.cancel(&timer(
                framework_id.clone(),
                executor_id.clone(),
                container.clone(),
            ));
        }
        self.timers.set(
            Timer::Heartbeat(framework_id.clone(), executor_id.clone()),
            cx.now.mono + HEARTBEAT,
        );
        self.send_subscribed(cx, framework, executor);
        let subscribe = call.subscribe.unwrap_or_default();
        for update in subscribe.unacknowledged_updates {
            if let Err(text) = validate(&update.status, executor) {
                self.count("slave/invalid_status_updates");
                let message = format!("An unacknowledged update is ignored: {text}");
                let error = executor::event::Error { message };
                let event =
                    executor::Event { error: Some(error), ..event(executor::event::Type::Error) };
                self.send_event(cx, framework, executor, event);
                continue;
            }
            self.executor_update(cx, framework, executor, update.status);
        }
        // Tasks that were handed over, but never arrived.
        let has: Vec<&str> =
            subscribe.unacknowledged_tasks.iter().map(|t| t.task_id.value.as_str()).collect();
        let missing: Vec<v1::TaskId> =
            self.executor(framework, executor).map_or_else(Vec::new, |e| {
                let staging = e
                    .tasks
                    .values()
                    .filter(|t| t.launched && t.state == v1::TaskState::TaskStaging);
                let missing = staging.filter(|t| !has.contains(&t.info.task_id.value.as_str()));
                missing.map(|t| t.info.task_id.clone()).collect()
            });
        for task in missing {
            let Some(known) = self.state.frameworks.get(framework) else { continue };
            let message = "Task launched during agent restart";
            let status = dropped(&known.info, &task.value, Reason::AgentRestarted, message);
            self.update(cx, framework, status);
        }
        self.repeat_kills(cx, framework, executor);
        self.launch_queued(cx, framework, executor);
        self.after_queue_emptied(cx, framework, executor);
    }

    /// An executor that was away may have missed these.
    fn repeat_kills(&self, cx: &mut Cx<'_>, framework: &str, executor: &str) {
        let Some(known) = self.executor(framework, executor) else { return };
        for task in known.tasks.values().filter(|t| t.killed && !t.is_terminal()) {
            let grace = task.kill_grace.map(|g| v1::DurationInfo {
                nanoseconds: i64::try_from(g.as_nanos()).unwrap_or(i64::MAX),
            });
            let policy = grace.map(|grace| v1::KillPolicy { grace_period: Some(grace) });
            self.send_kill(cx, framework, executor, &task.info.task_id.value, policy.as_ref());
        }
    }

    fn send_subscribed(&self, cx: &mut Cx<'_>, framework: &str, executor: &str) {
        let Some(known) = self.state.frameworks.get(framework) else { return };
        let Some(of_framework) = known.executors.get(executor) else { return };
        let subscribed = executor::event::Subscribed {
            executor_info: v1::ExecutorInfo {
                framework_id: Some(framework.into()),
                ..of_framework.info.clone()
            },
            framework_info: known.info.clone(),
            agent_info: v1::AgentInfo {
                id: self.state.id.as_deref().map(Into::into),
                ..self.config.info.clone()
            },
            container_id: Some(v1::ContainerId {
                value: of_framework.container_id.clone(),
                parent: None,
            }),
        };
        let event = executor::Event {
            subscribed: Some(subscribed),
            ..event(executor::event::Type::Subscribed)
        };
        self.send_event(cx, framework, executor, event);
    }

    /// Gives queued tasks to a subscribed executor: groups as groups.
    pub(crate) fn hand_over(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        queue: &[String],
    ) {
        let Some(known) = self.executor(framework, executor) else { return };
        let mut events = Vec::new();
        let mut groups: Vec<&[String]> = Vec::new();
        for task in queue.iter().filter_map(|id| known.tasks.get(id)) {
            if task.group.is_empty() {
                let launch = executor::event::Launch { task: task.info.clone() };
                events.push(executor::Event {
                    launch: Some(launch),
                    ..event(executor::event::Type::Launch)
                });
            } else if !groups.contains(&task.group.as_slice()) {
                groups.push(&task.group);
                // Those that were preempted meanwhile are missing.
                let tasks = task.group.iter().filter_map(|id| known.tasks.get(id));
                let tasks = tasks.filter(|t| !t.is_terminal()).map(|t| t.info.clone());
                let task_group = v1::TaskGroupInfo { tasks: tasks.collect() };
                let launch_group = executor::event::LaunchGroup { task_group };
                let kind = executor::event::Type::LaunchGroup;
                events.push(executor::Event { launch_group: Some(launch_group), ..event(kind) });
            }
        }
        for event in events {
            self.send_event(cx, framework, executor, event);
        }
    }

    pub(crate) fn on_executor_call(&mut self, cx: &mut Cx<'_>, token: Token, call: executor::Call) {
        use executor::call::Type;
        if call.r#type() == Type::Heartbeat {
            Self::respond(cx, token, 202, "");
            return;
        }
        if let Some((status, text)) = self.refuse_call(&call) {
            Self::respond(cx, token, status, &text);
            return;
        }
        let kind = call.r#type();
        let (framework, executor) = (call.framework_id.value, call.executor_id.value);
        match kind {
            Type::Update => {
                let Some(update) = call.update else { return };
                let task = &update.status.task_id.value;
                if self.updates.is_full(&framework, task) {
                    let text = "Too many updates of the task wait for its scheduler";
                    Self::respond(cx, token, 503, text);
                    return;
                }
                Self::respond(cx, token, 202, "");
                self.executor_update(cx, &framework, &executor, update.status);
            }
            Type::Message => {
                Self::respond(cx, token, 202, "");
                let data = call.message.map(|m| m.data).unwrap_or_default();
                self.count("slave/valid_framework_messages");
                if let Some(connection) = self.connection.filter(|_| self.state.registered) {
                    let message = internal::ExecutorMessage {
                        framework_id: framework.as_str().into(),
                        executor_id: executor.as_str().into(),
                        data,
                    };
                    let message = Box::new(Message::ExecutorMessage(message));
                    cx.out.push(Effect::SendToMaster { connection, message });
                }
            }
            Type::Subscribe | Type::Heartbeat | Type::Unknown => {
                Self::respond(cx, token, 501, "Unknown call type");
            }
        }
    }

    /// A status from an executor itself.
    fn executor_update(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        mut status: v1::TaskStatus,
    ) {
        let task_id = status.task_id.value.clone();
        let uuid = status.uuid().to_vec();
        match self.updates.known(framework, &task_id, &uuid) {
            Known::New => {}
            // The answer follows the write.
            Known::Pending => return,
            Known::Kept => {
                self.send_acknowledged(cx, framework, executor, &task_id, &uuid);
                return;
            }
        }
        let known = self.executor(framework, executor);
        let task = known.and_then(|e| e.tasks.get(&task_id));
        let has_ended = task.is_some_and(|task| task.is_terminal())
            || known
                .is_some_and(|e| e.completed_tasks.iter().any(|t| t.info.task_id.value == task_id));
        let is_here = self.executor_of(framework, &task_id).is_some();
        if has_ended || task.is_some_and(|t| !t.launched) || task.is_none() && is_here {
            // It has ended for everybody already, or is not this executor's: the executor may forget the update.
            self.count("slave/invalid_status_updates");
            self.send_acknowledged(cx, framework, executor, &task_id, &uuid);
            return;
        }
        let preempted = task.and_then(|t| t.preempted.clone());
        self.count("slave/valid_status_updates");
        status.source = Some(Source::Executor as i32);
        status.executor_id = Some(executor.into());
        if let Some(message) = preempted.filter(|_| status.state() == v1::TaskState::TaskKilled) {
            status.state = self.preempted_status(framework, &task_id, &message).state;
            status.reason = Some(Reason::ContainerPreempted as i32);
            status.message = Some(message);
        }
        self.update(cx, framework, status);
        self.end_disobedient(cx, framework, executor);
    }

    /// An update is kept: its executor may forget it.
    pub(crate) fn send_acknowledged(
        &self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        task: &str,
        uuid: &[u8],
    ) {
        let acknowledged =
            executor::event::Acknowledged { task_id: task.into(), uuid: uuid.to_vec() };
        let kind = executor::event::Type::Acknowledged;
        self.send_event(
            cx,
            framework,
            executor,
            executor::Event { acknowledged: Some(acknowledged), ..event(kind) },
        );
    }

    pub(crate) fn on_executor_closed(&mut self, stream: Token) {
        let frameworks: Vec<String> = self.state.frameworks.keys().cloned().collect();
        for framework in frameworks {
            let Some(known) = self.framework_mut(&framework) else { continue };
            for executor in known.executors.values_mut().filter(|e| e.stream == Some(stream)) {
                executor.stream = None;
            }
        }
    }

    pub(crate) fn send_kill(
        &self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        task: &str,
        policy: Option<&v1::KillPolicy>,
    ) {
        let kill = executor::event::Kill { task_id: task.into(), kill_policy: policy.copied() };
        let event = executor::Event { kill: Some(kill), ..event(executor::event::Type::Kill) };
        self.send_event(cx, framework, executor, event);
    }

    /// Asks a custom executor to stop; it is destroyed if it does not in time.
    pub(crate) fn ask_to_shut_down(&mut self, cx: &mut Cx<'_>, framework: &str, executor_id: &str) {
        let Some(executor) = self.executor(framework, executor_id) else { return };
        let grace = self.shutdown_grace_period(&executor.info);
        let container = executor.container_id.clone();
        if executor.stream.is_none() {
            cx.out.push(Effect::DestroyContainer { container_id: container });
            return;
        }
        let timer = Timer::Shutdown(framework.to_owned(), executor_id.to_owned(), container);
        self.timers.set(timer, cx.now.mono + grace);
        self.send_event(cx, framework, executor_id, event(executor::event::Type::Shutdown));
    }

    pub(crate) fn executor_heartbeat(&mut self, cx: &mut Cx<'_>, framework: &str, executor: &str) {
        if self.executor(framework, executor).is_some_and(|e| e.stream.is_some()) {
            self.send_event(cx, framework, executor, event(executor::event::Type::Heartbeat));
            self.timers.set(
                Timer::Heartbeat(framework.to_owned(), executor.to_owned()),
                cx.now.mono + HEARTBEAT,
            );
        }
    }

    pub(crate) fn on_framework_message(
        &mut self,
        cx: &mut Cx<'_>,
        message: internal::FrameworkMessage,
    ) {
        let event = executor::Event {
            message: Some(executor::event::Message { data: message.data }),
            ..event(executor::event::Type::Message)
        };
        let (framework, executor) = (&message.framework_id.value, &message.executor_id.value);
        let is_open = self.executor(framework, executor).is_some_and(|e| e.stream.is_some());
        self.count(if is_open {
            "slave/valid_framework_messages"
        } else {
            "slave/invalid_framework_messages"
        });
        self.send_event(cx, framework, executor, event);
    }

    pub(crate) fn on_registration_timeout(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        container: &str,
    ) {
        let timeout = base::duration::format(self.config.executor_registration_timeout);
        let message = format!("Executor did not register within {timeout}");
        if let Some(known) = self.executor_mut(framework, executor)
            && known.kind == ExecutorKind::Command
        {
            // The command's own start is what the peer's executor would register after.
            let container_id = container.to_owned();
            known.pending_end = Some((Reason::ExecutorRegistrationTimeout, message));
            cx.out.push(Effect::CancelStart { container_id });
            return;
        }
        self.end_silent(
            cx,
            framework,
            executor,
            container,
            Reason::ExecutorRegistrationTimeout,
            message,
        );
    }

    pub(crate) fn on_reregistration_timeout(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        container: &str,
    ) {
        let timeout = base::duration::format(self.config.executor_reregistration_timeout);
        let message = format!("Executor did not reregister within {timeout}");
        self.end_silent(
            cx,
            framework,
            executor,
            container,
            Reason::ExecutorReregistrationTimeout,
            message,
        );
    }

    fn end_silent(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        container: &str,
        reason: Reason,
        message: String,
    ) {
        let Some(known) = self.executor_mut(framework, executor) else { return };
        if known.container_id != container || known.state != ExecutorState::Registering {
            return;
        }
        known.state = ExecutorState::Terminating;
        known.pending_end = Some((reason, message));
        cx.out.push(Effect::DestroyContainer { container_id: container.to_owned() });
    }
}
