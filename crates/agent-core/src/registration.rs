//! Registration with the master, and what the master says (spec/agent.md 1.5).

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::contract::Effect;
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

/// What the agent can do (spec/agent.md 1.4), as far as it is there.
pub(crate) const CAPABILITIES: [Capability; 3] =
    [Capability::MultiRole, Capability::HierarchicalRole, Capability::ReservationRefinement];

impl Agent {
    pub(crate) fn on_master_connected(&mut self, cx: &mut Cx<'_>, connection: Token) {
        self.connection = Some(connection);
        self.state.registered = false;
        self.register_retry = REGISTER_RETRY_MIN;
        if self.state.recovered {
            self.register(cx);
        }
    }

    pub(crate) fn on_master_closed(&mut self, connection: Token) {
        if self.connection == Some(connection) {
            self.connection = None;
            self.postponed.clear();
            self.state.registered = false;
            self.state.master = None;
            self.timers.cancel(&Timer::Register);
            self.timers.cancel(&Timer::Ping);
        }
    }

    /// Sends Register, and again until it is answered.
    pub(crate) fn register(&mut self, cx: &mut Cx<'_>) {
        let Some(connection) = self.connection.filter(|_| self.terminating.is_none()) else {
            return;
        };
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
        for framework in &self.state.completed_frameworks {
            let id = framework.info.id.clone().unwrap_or_default().value;
            if self.state.frameworks.contains_key(&id) {
                continue;
            }
            let tasks = framework
                .completed_executors
                .iter()
                .flat_map(|e| e.completed_tasks.iter().map(|t| t.to_wire(&id, e.id())));
            message.completed_frameworks.push(internal::CompletedFramework {
                info: framework.info.clone(),
                tasks: tasks.collect(),
            });
        }
        cx.out.push(Effect::SendToMaster {
            connection,
            message: Box::new(Message::Register(message)),
        });
        self.timers.set(Timer::Register, cx.now.mono + self.register_retry);
        self.register_retry = (self.register_retry * 2).min(REGISTER_RETRY_MAX);
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
                    self.register(cx);
                }
            }
            M::Shutdown(shutdown) => {
                self.shut_down(cx, format!("the master says: {}", shutdown.message))
            }
            // The master takes the agent for registered while the agent's id is still being stored.
            other if !self.state.registered && self.storing_id => self.postponed.push(other),
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
        }
    }

    fn on_registered(&mut self, cx: &mut Cx<'_>, connection: Token, message: internal::Registered) {
        let id = message.agent_id.value.clone();
        if let Some(known) = self.state.id.clone() {
            if known != id {
                let message = format!("registered as agent {id}, but this agent is {known}");
                cx.out.push(Effect::Exit { status: 1, message });
                return;
            }
            self.complete_registration(cx, connection, message);
            return;
        }
        // The id is kept before the agent acts under it.
        self.state.id = Some(id.clone());
        self.storing_id = true;
        // Asking again would list nothing of what the master sends meanwhile.
        self.timers.cancel(&Timer::Register);
        let info = v1::AgentInfo { id: Some(id.as_str().into()), ..self.config.info.clone() };
        let waiting = Waiting::Registered { connection, message: Box::new(message) };
        self.store(cx, Record::Agent(info), true, waiting);
    }

    pub(crate) fn complete_registration(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        message: internal::Registered,
    ) {
        self.storing_id = false;
        let postponed = std::mem::take(&mut self.postponed);
        if self.connection != Some(connection) {
            return;
        }
        self.state.registered = true;
        self.state.master = Some(message.master_info);
        self.timers.cancel(&Timer::Register);
        let seconds = message.total_ping_timeout_seconds;
        self.ping_timeout = Duration::try_from_secs_f64(seconds).unwrap_or(self.ping_timeout);
        self.timers.set(Timer::Ping, cx.now.mono + self.ping_timeout);
        for reconciliation in message.reconciliations {
            self.reconcile(cx, reconciliation);
        }
        self.resume_updates(cx, None);
        for message in postponed {
            self.on_master_message(cx, connection, message);
        }
    }

    /// Tasks that the master knows and the agent did not list: what never arrived here is said to be dropped.
    fn reconcile(&mut self, cx: &mut Cx<'_>, reconciliation: internal::Reconciliation) {
        let framework_id = reconciliation.framework.id.clone().unwrap_or_default().value;
        for status in reconciliation.statuses {
            let task_id = status.task_id.value.clone();
            if self.executor_of(&framework_id, &task_id).is_some() {
                continue;
            }
            let message = "Reconciliation: task unknown to the agent";
            let reason = v1::task_status::Reason::Reconciliation;
            self.drop_task(
                cx,
                &reconciliation.framework,
                status.task_id,
                status.executor_id,
                reason,
                message,
            );
        }
    }

    pub(crate) fn on_master_silent(&mut self, cx: &mut Cx<'_>) {
        if let Some(connection) = self.connection.take() {
            self.state.registered = false;
            self.state.master = None;
            cx.out.push(Effect::CloseMaster { connection });
        }
    }

    fn on_update_framework(&mut self, cx: &mut Cx<'_>, info: v1::FrameworkInfo) {
        let id = info.id.clone().unwrap_or_default().value;
        let Some(framework) = self.framework_mut(&id) else { return };
        framework.info = info.clone();
        if info.checkpoint() {
            self.store(cx, Record::Framework(info), false, Waiting::Nothing);
        }
        self.resume_updates(cx, Some(&id));
    }
}
