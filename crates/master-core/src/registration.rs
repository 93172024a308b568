//! Agents that register and come back (spec/master.md 1.9).

use crate::announce::Announcement;
use crate::contract::Effect;
use crate::master::{Cx, Master, Timer, Waiting};
use crate::registry::{AGENTS, RegistryOp, UNREACHABLE};
use crate::state::Agent;
use allocator::{AgentId, AgentOptions};
use base::Token;
use resources::{Milli, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::internal::agent_to_master::Message as FromAgent;
use wire::internal::master_to_agent::Message;
use wire::{internal, v1};

/// Version of the messages between master and agent.
const PROTOCOL: u32 = 1;

impl Master {
    pub(crate) fn on_agent_message(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        ip: String,
        message: FromAgent,
    ) {
        if self.state.elected.is_none() {
            return; // the agent registers again
        }
        if let FromAgent::Register(register) = message {
            self.count(if register.info.id.is_some() {
                "master/messages_reregister_slave"
            } else {
                "master/messages_register_slave"
            });
            self.on_register(cx, connection, ip, register);
            return;
        }
        let Some(key) = self.connections.get(&connection).copied() else { return };
        match message {
            FromAgent::Register(_) => {}
            FromAgent::Pong(_) => {
                if let Some(agent) = self.agent_mut(key) {
                    agent.missed_pings = 0;
                }
                self.cancel_removal(key);
            }
            FromAgent::StatusUpdate(update) => {
                self.count("master/messages_status_update");
                self.on_status_update(cx, key, update);
            }
            FromAgent::ExecutorMessage(message) => {
                self.count("master/messages_executor_to_framework");
                let Some(id) = self.agent(key).map(|a| a.id.clone()) else { return };
                self.on_executor_message(cx, &id, message);
            }
            FromAgent::ExecutorExited(exited) => {
                self.count("master/messages_exited_executor");
                self.on_executor_exited(cx, key, exited);
            }
            FromAgent::OperationUpdate(update) => {
                self.count("master/messages_operation_status_update");
                self.on_operation_update(cx, key, update);
            }
            FromAgent::UpdateAgent(update) => {
                self.count("master/messages_update_slave");
                self.on_update_agent(cx, key, &update);
            }
            FromAgent::Unregister(_) => {
                self.count("master/messages_unregister_slave");
                self.count("master/slave_removals/reason_unregistered");
                self.remove_agent(cx, key, "unregistered");
            }
        }
    }

    fn on_register(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        ip: String,
        register: internal::Register,
    ) {
        if self.registering.has(connection) {
            return;
        }
        if register.protocol != PROTOCOL {
            // It is not ended, as what is refused is: after the master's upgrade it may register.
            let spoken = register.protocol;
            let fault = format!(
                "it speaks version {spoken} of the messages between masters and agents, this master version \
                 {PROTOCOL}; upgrade masters first, then agents"
            );
            not_registered(cx, &ip, &register, &fault);
            return;
        }
        if let Err(message) = check_register(&register) {
            refuse(cx, connection, format!("the registration is invalid: {message}"));
            return;
        }
        let fault = if self.config.require_agent_domain && register.info.domain.is_none() {
            Some("it has no --domain, and --require_agent_domain is set here")
        } else if register.info.domain.is_some() && self.config.info.domain.is_none() {
            Some("it has a --domain, this master has none; give the master one as well")
        } else {
            None
        };
        if let Some(fault) = fault {
            not_registered(cx, &ip, &register, fault);
            return;
        }
        if self.is_down(&register.info.hostname, &ip) {
            refuse(cx, connection, "Machine is `DOWN`".to_owned());
            return;
        }
        match register.info.id.as_ref().map(|id| id.value.clone()).filter(|id| !id.is_empty()) {
            None => self.on_new_agent(cx, connection, ip, register),
            Some(id) => self.on_returning_agent(cx, connection, ip, id, register),
        }
    }

    fn on_new_agent(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        ip: String,
        register: internal::Register,
    ) {
        if let Some(key) = self.connections.get(&connection).copied() {
            // It did not hear the answer.
            self.send_registered(cx, key, Vec::new());
            return;
        }
        // Another agent at the same address is gone for good: this one does not know its id.
        let same = |a: &&Arc<Agent>| {
            a.ip == ip
                && a.info.port() == register.info.port()
                && a.info.hostname == register.info.hostname
        };
        let old: Vec<AgentId> = self.state.agents.values().filter(same).map(|a| a.key).collect();
        for key in old {
            self.count("master/slave_removals/reason_registered");
            self.remove_agent(cx, key, "a new agent registered at the same address");
        }
        let id = format!("{}-S{}", self.config.info.id, self.next_agent);
        self.next_agent += 1;
        self.registering.begin(connection, None);
        let op = put_agent(&id, &register);
        let waiting = Waiting::Admit { id, connection, ip, register: Box::new(register) };
        self.write(cx, vec![op], waiting);
    }

    fn on_returning_agent(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        ip: String,
        id: String,
        register: internal::Register,
    ) {
        if self.state.gone.contains_key(&id) {
            refuse(cx, connection, "Agent has been marked gone".to_owned());
            return;
        }
        if self.leaving_for_good.contains(&id) {
            return; // the registry decides first; the agent asks again
        }
        if let Some(agent) = self.agent_keys.get(&id).and_then(|key| self.agent(*key)) {
            if agent.connection == Some(connection) && !agent.leaving {
                // It did not hear the answer yet. What was sent to it since is on its way and not in this message, so
                // what the message lists is older than what is known here.
                let key = agent.key;
                self.send_registered(cx, key, Vec::new());
                return;
            }
            if agent.leaving {
                return; // the registry decides first; the agent asks again
            }
            if agent.info.hostname != register.info.hostname || agent.ip != ip {
                refuse(
                    cx,
                    connection,
                    "Agent attempted to reregister with different IP / hostname".to_owned(),
                );
                return;
            }
            let unchanged = agent.info.resources == register.info.resources
                && agent.info.attributes == register.info.attributes
                && agent.info.port == register.info.port;
            if unchanged {
                self.take_back(cx, connection, ip, register, true);
                return;
            }
        }
        if self.registering.has_agent(&id) {
            return;
        }
        if self.is_as_recovered(&id, &register) {
            self.take_back(cx, connection, ip, register, true);
            return;
        }
        let is_known = self.agent_keys.contains_key(&id)
            || self.state.recovered_agents.contains_key(&id)
            || self.state.unreachable.contains_key(&id);
        if !is_known {
            let text = format!(
                "agent {id} at {} is of another cluster, or of a registry that is lost: it is admitted with what it runs, \
                 {} tasks of {} frameworks",
                register.info.hostname,
                register.tasks.len(),
                register.frameworks.len()
            );
            cx.out.push(Effect::Log { text });
        }
        self.registering.begin(connection, Some(&id));
        let ops = vec![
            put_agent(&id, &register),
            RegistryOp::Delete { section: UNREACHABLE.to_owned(), key: id },
        ];
        self.write(cx, ops, Waiting::Return { connection, ip, register: Box::new(register) });
    }

    /// Whether the registry has the agent just as it comes back, and nobody is about to change that: there is nothing to
    /// write. After the time for coming back the registry may be told that it is unreachable.
    fn is_as_recovered(&self, id: &str, register: &internal::Register) -> bool {
        let is_awaited = self.timers.get(&Timer::Recovered).is_some();
        let recorded = self.state.recovered_agents.get(id).filter(|_| is_awaited);
        recorded.is_some_and(|recorded| {
            recorded.info == register.info
                && recorded.version.as_ref() == Some(&register.version)
                && recorded.capabilities == register.capabilities
        })
    }

    /// The registry has the new agent.
    pub(crate) fn admit(
        &mut self,
        cx: &mut Cx<'_>,
        id: &str,
        connection: Token,
        ip: String,
        mut register: internal::Register,
    ) {
        self.count("master/slave_registrations");
        register.info.id = Some(id.into());
        let open = self.registering.end(connection);
        let key = self.make_agent(cx, id, ip, &register);
        if open {
            self.connect_agent(cx, key, connection);
            self.announce(cx, || Announcement::AgentAdded { agent: key });
            self.send_registered(cx, key, Vec::new());
            self.keep_down(cx, key);
        } else {
            // It hung up meanwhile and will register as a new one.
            self.remove_agent(cx, key, "the connection closed during registration");
        }
    }

    pub(crate) fn make_agent(
        &mut self,
        cx: &mut Cx<'_>,
        id: &str,
        ip: String,
        register: &internal::Register,
    ) -> AgentId {
        let key = AgentId(self.next_key);
        self.next_key += 1;
        let total = registered_total(register);
        let agent = Agent {
            key,
            id: id.to_owned(),
            info: register.info.clone(),
            ip,
            version: register.version.clone(),
            capabilities: register.capabilities.clone(),
            connection: None,
            registered: cx.now.wall,
            reregistered: None,
            total: total.clone(),
            operations: BTreeMap::new(),
            tasks: BTreeSet::new(),
            executors: BTreeSet::new(),
            used: Resources::new(),
            killed: BTreeSet::new(),
            killed_by_operator: BTreeSet::new(),
            missed_pings: 0,
            leaving: false,
        };
        let options = options(&agent);
        self.state.agents.insert(key, Arc::new(agent));
        self.agent_keys.insert(id.to_owned(), key);
        self.allocator.add_agent(key, options, total, &BTreeMap::new());
        self.allocator.deactivate_agent(key);
        self.reschedule(cx, key);
        key
    }

    pub(crate) fn connect_agent(&mut self, cx: &mut Cx<'_>, key: AgentId, connection: Token) {
        self.connections.insert(connection, key);
        self.timers.cancel(&Timer::Reregister(key));
        self.timers.set(Timer::Ping(key), cx.now.mono + self.config.agent_ping_timeout);
        self.cancel_removal(key);
        if let Some(agent) = self.agent_mut(key) {
            agent.connection = Some(connection);
            agent.missed_pings = 0;
            let id = agent.id.clone();
            self.acknowledged.returned(cx.now.mono, &id);
        }
        if self.agent(key).is_some_and(|a| self.state.is_active(a)) {
            self.allocator.activate_agent(key);
            self.note_freed(cx.now, key);
            if self.state.scheduled.contains_key(&key) {
                self.warnings.look_at([key]);
            }
        }
    }

    pub(crate) fn send_registered(
        &self,
        cx: &mut Cx<'_>,
        key: AgentId,
        reconciliations: Vec<internal::Reconciliation>,
    ) {
        let Some(agent) = self.agent(key) else { return };
        let pings = self.config.agent_ping_timeout * self.config.max_agent_ping_timeouts;
        let registered = internal::Registered {
            agent_id: agent.id.as_str().into(),
            total_ping_timeout_seconds: pings.as_secs_f64(),
            master_info: self.config.info.clone(),
            reconciliations,
            drain: self.drain_config(&agent.id),
        };
        self.send_to_agent(cx, key, Message::Registered(registered));
    }
}

/// What an agent has: by its flags, with reservations and volumes on top.
pub(crate) fn total_of(
    resources: &[v1::Resource],
    checkpointed: &[v1::Resource],
) -> Result<Resources, String> {
    let read = |list: &[v1::Resource]| Resources::from_wire(list).map_err(|e| e.to_string());
    let (base, checkpointed) = (read(resources)?, read(checkpointed)?);
    base.with_checkpointed(&checkpointed).map_err(|e| e.to_string())
}

/// Of a registration that was checked.
pub(crate) fn registered_total(register: &internal::Register) -> Resources {
    let mut total =
        total_of(&register.info.resources, &register.checkpointed_resources).unwrap_or_default();
    total += &Resources::from_wire(&register.oversubscribed).unwrap_or_default().revocable();
    total
}

pub(crate) fn options(agent: &Agent) -> AgentOptions {
    AgentOptions {
        hostname: agent.info.hostname.clone(),
        attributes: agent.info.attributes.clone(),
        domain: agent.info.domain.clone(),
        capabilities: agent.capabilities.iter().map(v1::agent_info::Capability::r#type).collect(),
    }
}

pub(crate) fn put_agent(id: &str, register: &internal::Register) -> RegistryOp {
    let info = v1::AgentInfo { id: Some(id.into()), ..register.info.clone() };
    let record = internal::RegistryAgent {
        info,
        version: Some(register.version.clone()),
        capabilities: register.capabilities.clone(),
    };
    RegistryOp::Put {
        section: AGENTS.to_owned(),
        key: id.to_owned(),
        value: wire::protobuf::to_vec(&record),
    }
}

fn check_register(register: &internal::Register) -> Result<(), String> {
    let mut total = total_of(&register.info.resources, &register.checkpointed_resources)?;
    total += &Resources::from_wire(&register.oversubscribed).map_err(|e| e.to_string())?;
    if let Some(name) = total.names().into_iter().find(|name| total.scalar(name) == Milli::MAX) {
        return Err(format!("there is more of '{name}' than can be counted"));
    }
    let mut frameworks = BTreeSet::new();
    for info in &register.frameworks {
        let id = info.id.as_ref().map_or("", |id| id.value.as_str());
        if id.is_empty() || !frameworks.insert(id) {
            return Err(format!("framework '{id}' has no id or is listed twice"));
        }
    }
    for task in &register.tasks {
        if !frameworks.contains(task.framework_id.value.as_str()) {
            return Err(format!("task '{}' has no framework", task.task_id.value));
        }
        Resources::validate(&task.resources).map_err(|e| e.to_string())?;
    }
    for executor in &register.executors {
        if !executor.framework_id.as_ref().is_some_and(|id| frameworks.contains(id.value.as_str()))
        {
            return Err(format!("executor '{}' has no framework", executor.executor_id.value));
        }
        Resources::validate(&executor.resources).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Says why an agent tries in vain: it goes on trying, and is served when that has changed.
fn not_registered(cx: &mut Cx<'_>, ip: &str, register: &internal::Register, fault: &str) {
    let (host, port) = (&register.info.hostname, register.info.port());
    let text = format!("the agent at {ip}:{port} ({host}) is not registered: {fault}");
    cx.out.push(Effect::Log { text });
}

/// Tells an agent to stop.
pub(crate) fn refuse(cx: &mut Cx<'_>, connection: Token, message: String) {
    let shutdown = Box::new(Message::Shutdown(internal::Shutdown { message }));
    cx.out.push(Effect::SendToAgent { connection, message: shutdown });
}
