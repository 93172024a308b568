//! Registration with the master, and what the master says (spec/agent.md 1.5).

use crate::agent::{Admission, Agent, Cx, Timer, Waiting};
use crate::contract::Effect;
use crate::refusal::dropped;
use base::Token;
use std::time::Duration;
use wire::internal::agent_record::Record;
use wire::internal::agent_to_master::Message;
use wire::internal::master_to_agent;
use wire::v1::agent_info::capability::Type as Capability;
use wire::{internal, v1};

/// Version of the messages between master and agent.
const PROTOCOL: u32 = 1;
/// Version of the interfaces that are spoken.
const VERSION: &str = "1.12.0";
const REGISTER_RETRY_MIN: Duration = Duration::from_secs(1);
const REGISTER_RETRY_MAX: Duration = Duration::from_secs(60);
/// Tasks of each completed framework that a master is told of.
const COMPLETED_TASKS_TOLD_MAX: usize = 200;
/// Messages that may wait until the agent's id is stored.
const BACKLOG_MAX: usize = 10_000;

/// What the agent can do (spec/agent.md 1.4), as far as it is there.
pub const CAPABILITIES: [Capability; 7] = [
    Capability::MultiRole,
    Capability::HierarchicalRole,
    Capability::ReservationRefinement,
    Capability::ResizeVolume,
    Capability::AgentOperationFeedback,
    Capability::AgentDraining,
    Capability::TaskResourceLimits,
];

impl Agent {
    pub(crate) fn on_master_connected(&mut self, cx: &mut Cx<'_>, connection: Token) {
        if let Some(old) = self.connection.replace(connection).filter(|old| *old != connection) {
            cx.out.push(Effect::CloseMaster { connection: old });
        }
        self.leave_master();
        self.register_retry = REGISTER_RETRY_MIN;
        // One that never answers is not the leader, or can't be reached.
        self.timers.set(Timer::Ping, cx.now.mono + self.ping_timeout);
        if self.state.recovered {
            self.register(cx);
        }
    }

    pub(crate) fn on_master_closed(&mut self, connection: Token) {
        if self.connection == Some(connection) {
            self.connection = None;
            self.leave_master();
        }
    }

    fn leave_master(&mut self) {
        self.state.registered = false;
        self.state.master = None;
        if let Some(admission) = &mut self.admission {
            admission.backlog.clear();
        }
        self.timers.cancel(&Timer::Register);
        self.timers.cancel(&Timer::Ping);
    }

    /// Sends Register, and again until it is answered.
    pub(crate) fn register(&mut self, cx: &mut Cx<'_>) {
        // While an id is being stored the agent has none, but must not ask for another.
        let silent = self.terminating.is_some() || self.admission.is_some();
        let Some(connection) = self.connection.filter(|_| !silent) else { return };
        let mut info = self.config.info.clone();
        info.id = self.state.id.as_deref().map(Into::into);
        let mut message = internal::Register {
            protocol: PROTOCOL,
            info,
            version: VERSION.to_owned(),
            capabilities: CAPABILITIES
                .map(|c| v1::agent_info::Capability { r#type: Some(c as i32) })
                .to_vec(),
            resource_version_uuid: Some(self.resource_version.clone()),
            ..Default::default()
        };
        for (framework_id, framework) in &self.state.frameworks {
            message.frameworks.push(framework.info.clone());
            for executor in framework.executors.values() {
                if executor.kind != internal::ExecutorKind::Command
                    && executor.state != crate::state::ExecutorState::Terminated
                {
                    let framework_id = Some(framework_id.as_str().into());
                    message
                        .executors
                        .push(v1::ExecutorInfo { framework_id, ..executor.info.clone() });
                }
                let shown = if executor.kind == internal::ExecutorKind::Command {
                    ""
                } else {
                    executor.id()
                };
                message
                    .tasks
                    .extend(executor.tasks.values().map(|t| t.to_wire(framework_id, shown)));
            }
        }
        message.completed_frameworks = self.completed_frameworks();
        message.checkpointed_resources = self.checkpointed().resources;
        message.oversubscribed = self.oversubscribed.to_wire();
        message.operations = self.state.operations.values().map(|o| (**o).clone()).collect();
        cx.out.push(Effect::SendToMaster {
            connection,
            message: Box::new(Message::Register(message)),
        });
        // Between a half and the whole of the delay, so that agents do not all come at once.
        let half = self.register_retry / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let delay = half + Duration::from_nanos(self.rng.below(spread));
        self.timers.set(Timer::Register, cx.now.mono + delay);
        self.register_retry = (self.register_retry * 2).min(REGISTER_RETRY_MAX);
    }

    /// What a master that does not know them yet shows of frameworks that are gone: the newest tasks of each.
    fn completed_frameworks(&self) -> Vec<internal::CompletedFramework> {
        let mut all = Vec::new();
        for framework in &self.state.completed_frameworks {
            let id = framework.info.id.clone().unwrap_or_default().value;
            if self.state.frameworks.contains_key(&id) {
                continue;
            }
            let executors = framework.completed_executors.iter().rev();
            let mut tasks: Vec<v1::Task> = executors
                .flat_map(|e| {
                    let shown = if e.kind == internal::ExecutorKind::Command { "" } else { e.id() };
                    e.completed_tasks.iter().rev().map(|t| t.to_wire(&id, shown))
                })
                .take(COMPLETED_TASKS_TOLD_MAX)
                .collect();
            tasks.reverse();
            all.push(internal::CompletedFramework { info: framework.info.clone(), tasks });
        }
        all
    }

    pub(crate) fn on_master_message(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        message: master_to_agent::Message,
    ) {
        use master_to_agent::Message as M;
        if self.connection != Some(connection) {
            return;
        }
        self.timers.set(Timer::Ping, cx.now.mono + self.ping_timeout);
        match message {
            M::Registered(message) => self.on_registered(cx, connection, message),
            M::Ping(ping) => {
                let pong = Box::new(Message::Pong(internal::Pong {}));
                cx.out.push(Effect::SendToMaster { connection, message: pong });
                if !ping.connected && self.state.registered {
                    self.state.registered = false;
                    self.register_retry = REGISTER_RETRY_MIN;
                    self.register(cx);
                }
            }
            M::Shutdown(shutdown) => {
                self.shut_down(cx, format!("the master says: {}", shutdown.message))
            }
            // For whoever keeps the link.
            M::Masters(_) => {}
            other if self.admission.is_some() => self.defer(cx, connection, other),
            _ if !self.state.registered => {}
            M::RunTask(run) => self.on_run_task(cx, run),
            M::RunTaskGroup(run) => self.on_run_task_group(cx, run),
            M::KillTask(kill) => self.on_kill_task(cx, &kill),
            M::ShutdownExecutor(m) => {
                self.shut_down_executor(cx, &m.framework_id.value, &m.executor_id.value)
            }
            M::ShutdownFramework(m) => self.shut_down_framework(cx, &m.framework_id.value),
            M::FrameworkMessage(m) => self.on_framework_message(cx, m),
            M::UpdateFramework(m) => self.on_update_framework(cx, m.framework),
            M::AcknowledgeStatus(m) => self.on_acknowledge(cx, m),
            M::ApplyOperation(m) => self.on_apply_operation(cx, m),
            M::AcknowledgeOperation(m) => self.on_operation_acknowledged(cx, m),
            M::Drain(m) => self.set_drain(cx, m.config),
        }
    }

    /// The master counts on the agent already, but it has to store its id first.
    fn defer(&mut self, cx: &mut Cx<'_>, connection: Token, message: master_to_agent::Message) {
        let Some(admission) = &mut self.admission else { return };
        if admission.backlog.len() < BACKLOG_MAX {
            admission.backlog.push(message);
        } else {
            self.connection = None;
            self.leave_master();
            cx.out.push(Effect::CloseMaster { connection });
        }
    }

    fn on_registered(&mut self, cx: &mut Cx<'_>, connection: Token, message: internal::Registered) {
        let id = message.agent_id.value.clone();
        let pending = self.admission.as_ref().map(|a| &a.id);
        if let Some(known) = self.state.id.as_ref().or(pending).filter(|known| **known != id) {
            let message = format!("registered as agent {id}, but this agent is {known}");
            cx.out.push(Effect::Exit { status: 1, message });
            return;
        }
        if self.admission.is_some() {
            // Said twice; the write goes on.
            return;
        }
        if self.state.id.is_some() {
            self.complete_registration(cx, connection, message);
            return;
        }
        if self.config.local {
            self.state.id = Some(id);
            self.complete_registration(cx, connection, message);
            return;
        }
        // The id is kept before the agent acts under it.
        self.timers.cancel(&Timer::Register);
        let info = v1::AgentInfo { id: Some(id.as_str().into()), ..self.config.info.clone() };
        self.admission = Some(Admission { id, backlog: Vec::new() });
        let waiting = Waiting::Registered { connection, message: Box::new(message) };
        self.store(cx, Record::Agent(info), true, waiting);
    }

    /// The store has the agent's id.
    pub(crate) fn on_admitted(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        message: internal::Registered,
    ) {
        let Some(admission) = self.admission.take() else { return };
        self.state.id = Some(admission.id);
        if self.connection != Some(connection) {
            // Another master by now, or none.
            self.register(cx);
            return;
        }
        self.complete_registration(cx, connection, message);
        for message in admission.backlog {
            self.on_master_message(cx, connection, message);
        }
    }

    pub(crate) fn complete_registration(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        message: internal::Registered,
    ) {
        if self.connection != Some(connection) {
            return;
        }
        self.state.registered = true;
        self.state.master = Some(message.master_info);
        self.timers.cancel(&Timer::Register);
        let seconds = message.total_ping_timeout_seconds;
        self.ping_timeout = Duration::try_from_secs_f64(seconds).unwrap_or(self.ping_timeout);
        self.timers.set(Timer::Ping, cx.now.mono + self.ping_timeout);
        self.resume_updates(cx, None);
        self.resume_operations(cx);
        self.set_drain(cx, message.drain);
        // Sends by itself what it finds.
        for reconciliation in message.reconciliations {
            self.reconcile(cx, reconciliation);
        }
    }

    /// Tasks that the master knows and the agent did not list: what never arrived here is said to be dropped.
    fn reconcile(&mut self, cx: &mut Cx<'_>, reconciliation: internal::Reconciliation) {
        let framework_id = reconciliation.framework.id.clone().unwrap_or_default().value;
        for listed in reconciliation.statuses {
            let task_id = listed.task_id.value.as_str();
            // An open stream says what became of it.
            if self.executor_of(&framework_id, task_id).is_some()
                || self.updates.is_open(&framework_id, task_id)
            {
                continue;
            }
            let reason = v1::task_status::Reason::Reconciliation;
            let message = "Reconciliation: task unknown to the agent";
            let status = dropped(&reconciliation.framework, task_id, reason, message);
            // It may have been said by this agent before it was killed, and is the same status then.
            let uuid = listed.uuid.filter(|_| listed.state == status.state);
            let status = v1::TaskStatus { executor_id: listed.executor_id, uuid, ..status };
            self.report(cx, &reconciliation.framework, status);
        }
    }

    pub(crate) fn on_master_silent(&mut self, cx: &mut Cx<'_>) {
        if let Some(connection) = self.connection.take() {
            self.leave_master();
            cx.out.push(Effect::CloseMaster { connection });
        }
    }

    fn on_update_framework(&mut self, cx: &mut Cx<'_>, info: v1::FrameworkInfo) {
        let id = info.id.clone().unwrap_or_default().value;
        if let Some(framework) = self.framework_mut(&id) {
            framework.info = info.clone();
        }
        if self.keeps(&id) {
            self.store(cx, Record::Framework(info), false, Waiting::Nothing);
        }
        self.resume_updates(cx, Some(&id));
    }
}
