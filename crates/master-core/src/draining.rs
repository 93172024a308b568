//! Agents that operators take out of use (spec/master.md 1.10): they are offered to nobody, and those that are drained
//! lose their tasks too. A drain is over when its agent is connected and has neither tasks nor operations whose end is
//! not acknowledged.

use crate::contract::Drain;
use crate::master::{Cx, Master, Waiting};
use crate::registry::{DEACTIVATED, RegistryOp, read};
use allocator::AgentId;
use base::{Token, WallTime};
use wire::internal::master_to_agent::Message;
use wire::{google, internal, v1};

/// An agent that an operator took out of use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deactivated {
    /// Its drain, if that was asked for.
    pub drain: Option<v1::DrainInfo>,
    /// When it was told to drain, as far as this master knows.
    pub drain_started: Option<WallTime>,
}

impl Deactivated {
    fn is_draining(&self) -> bool {
        self.drain.as_ref().is_some_and(|d| d.state() == v1::DrainState::Draining)
    }
}

const UNKNOWN: &str = "Unknown agent: expected the id of one that is registered, expected back or unreachable, as GET_AGENTS lists them";
const REMOVED: &str = "Agent removed while processing the call";

impl Master {
    /// An operator wants everything on an agent to end.
    pub(crate) fn drain(&mut self, cx: &mut Cx<'_>, token: Token, drain: &Drain) {
        let config = match self.check_drain(drain) {
            Ok(config) => config,
            Err((status, text)) => return cx.respond(token, status, text),
        };
        let state = v1::DrainState::Draining as i32;
        let drain_info = Some(v1::DrainInfo { state, config });
        self.write_deactivated(cx, token, drain.agent_id.clone(), drain_info);
    }

    fn check_drain(&self, drain: &Drain) -> Result<v1::DrainConfig, (u16, String)> {
        let id = &drain.agent_id;
        let registered = self.agent_keys.get(id).and_then(|key| self.agent(*key));
        if let Some(agent) = registered {
            let machine = crate::maintenance::Machine::of(agent);
            if self.state.maintenance.unavailability(&machine).is_some() {
                return Err((
                    400,
                    format!(
                        "Agent {id} is part of a maintenance schedule under Machine {machine}; take that machine out of the schedule, or bring it down instead"
                    ),
                ));
            }
            let mut capabilities = agent.capabilities.iter();
            if !capabilities.any(|c| c.r#type() == v1::agent_info::capability::Type::AgentDraining)
            {
                return Err((400, format!("Agent {id} is not capable of draining")));
            }
        }
        let max_grace_period = drain.max_grace_period.map(grace_period).transpose();
        let max_grace_period = max_grace_period.map_err(|text| (400, text))?;
        if !self.is_deactivatable(id) {
            return Err((400, self.unknown(id)));
        }
        if self.leaving_for_good.contains(id) {
            return Err((409, "Agent is currently being marked gone".to_owned()));
        }
        Ok(v1::DrainConfig { max_grace_period, mark_gone: Some(drain.mark_gone) })
    }

    /// An operator wants an agent not to be offered.
    pub(crate) fn deactivate(&mut self, cx: &mut Cx<'_>, token: Token, id: String) {
        if !self.is_deactivatable(&id) {
            let text = self.unknown(&id);
            return cx.respond(token, 400, text);
        }
        if self.state.deactivated.contains_key(&id) {
            return cx.respond(token, 200, "");
        }
        self.write_deactivated(cx, token, id, None);
    }

    fn unknown(&self, id: &str) -> String {
        match self.state.gone.contains_key(id) {
            true => "Unknown agent: it was marked gone".to_owned(),
            false => UNKNOWN.to_owned(),
        }
    }

    /// Whether the registry has an agent that may come back, or is there.
    fn is_deactivatable(&self, id: &str) -> bool {
        self.agent_keys.contains_key(id)
            || self.state.recovered_agents.contains_key(id)
            || self.state.unreachable.contains_key(id)
    }

    fn write_deactivated(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        id: String,
        drain: Option<v1::DrainInfo>,
    ) {
        let op = put(&id, drain);
        self.write(cx, vec![op], Waiting::Deactivated { token, id, drain });
    }

    /// The registry has it.
    pub(crate) fn on_deactivated(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        id: String,
        drain: Option<v1::DrainInfo>,
    ) {
        if !self.is_deactivatable(&id) {
            self.write(cx, vec![forget(&id)], Waiting::Nothing);
            return cx.respond(token, 409, REMOVED);
        }
        cx.respond(token, 200, "");
        let key = self.agent_keys.get(&id).copied();
        let drain_started = (drain.is_some() && key.is_some()).then_some(cx.now.wall);
        let config = drain.as_ref().map(|d| d.config);
        self.state.deactivated.insert(id, Deactivated { drain, drain_started });
        let Some(key) = key else { return };
        self.allocator.deactivate_agent(key);
        self.rescind_on(cx, key);
        self.rescind_warnings_on(cx, key);
        if config.is_some() {
            self.send_to_agent(cx, key, Message::Drain(internal::Drain { config }));
            self.note_end_on(key);
        }
    }

    /// An operator wants an agent to be offered again.
    pub(crate) fn reactivate(&mut self, cx: &mut Cx<'_>, token: Token, id: String) {
        let Some(known) = self.state.deactivated.get(&id) else {
            return cx.respond(token, 400, "Agent is not deactivated");
        };
        if known.is_draining() {
            let text = "Agent is still in the DRAINING state: wait until its tasks have ended and their frameworks have acknowledged it";
            return cx.respond(token, 400, text);
        }
        self.write(cx, vec![forget(&id)], Waiting::Reactivated { token, id });
    }

    /// The registry has it.
    pub(crate) fn on_reactivated(&mut self, cx: &mut Cx<'_>, token: Token, id: &str) {
        let was_drained = self.state.deactivated.remove(id).is_some_and(|d| d.drain.is_some());
        if !self.is_deactivatable(id) {
            return cx.respond(token, 409, REMOVED);
        }
        cx.respond(token, 200, "");
        let Some(agent) = self.agent_keys.get(id).and_then(|key| self.agent(*key)) else { return };
        let (key, is_connected) = (agent.key, agent.is_connected());
        if is_connected {
            self.allocator.activate_agent(key);
            self.note_freed(cx.now, key);
            self.warnings.look_at([key]);
        }
        if was_drained {
            // One that still has executors would refuse their tasks.
            self.send_to_agent(cx, key, Message::Drain(internal::Drain { config: None }));
        }
    }

    /// What an agent is told of its drain when it registers.
    pub(crate) fn drain_config(&self, id: &str) -> Option<v1::DrainConfig> {
        self.state.deactivated.get(id)?.drain.as_ref().map(|d| d.config)
    }

    /// A draining agent is there again, and told to drain.
    pub(crate) fn resume_drain(&mut self, cx: &Cx<'_>, key: AgentId) {
        let Some(id) = self.agent(key).map(|a| a.id.clone()) else { return };
        if let Some(known) = self.state.deactivated.get_mut(&id).filter(|d| d.is_draining()) {
            known.drain_started.get_or_insert(cx.now.wall);
        }
        self.note_end_on(key);
    }

    /// Something that an agent had to do is over: perhaps that was the last.
    pub(crate) fn note_end_on(&mut self, key: AgentId) {
        if !self.state.deactivated.is_empty() {
            self.emptied.insert(key);
        }
    }

    /// Ends the drains of agents that have nothing left.
    pub(crate) fn end_drains(&mut self, cx: &mut Cx<'_>) {
        while let Some(key) = self.emptied.pop_first() {
            self.end_drain(cx, key);
        }
    }

    fn end_drain(&mut self, cx: &mut Cx<'_>, key: AgentId) {
        let Some(agent) = self.agent(key).filter(|a| a.is_connected() && !a.leaving) else {
            return;
        };
        let is_empty = agent.tasks.is_empty() && agent.operations.is_empty();
        let id = agent.id.clone();
        let known = self.state.deactivated.get(&id).filter(|d| is_empty && d.is_draining());
        let Some(drain) = known.and_then(|d| d.drain) else { return };
        if drain.config.mark_gone() {
            self.mark_gone(cx, None, id);
        } else if self.drained.insert(id.clone()) {
            let state = v1::DrainState::Drained as i32;
            let op = put(&id, Some(v1::DrainInfo { state, ..drain }));
            self.write(cx, vec![op], Waiting::Drained { id, config: drain.config });
        }
    }

    /// The registry has it.
    pub(crate) fn on_drained(&mut self, cx: &mut Cx<'_>, id: &str, config: v1::DrainConfig) {
        self.drained.remove(id);
        if !self.is_deactivatable(id) {
            self.write(cx, vec![forget(id)], Waiting::Nothing);
            return;
        }
        let known = self.state.deactivated.get_mut(id);
        let Some(drain) = known.and_then(|d| d.drain.as_mut()) else { return };
        if drain.config != config {
            // Meanwhile it was asked for in another way.
            let key = self.agent_keys.get(id).copied();
            key.into_iter().for_each(|key| self.note_end_on(key));
            return;
        }
        drain.state = v1::DrainState::Drained as i32;
        cx.out.push(crate::contract::Effect::Log { text: format!("agent {id} is drained") });
    }

    /// Nothing is to be known of an agent any more; what removes it from the registry.
    pub(crate) fn forget_deactivated(&mut self, id: &str) -> Option<RegistryOp> {
        self.drained.remove(id);
        self.state.deactivated.remove(id).map(|_| forget(id))
    }

    /// Takes over what the registry holds.
    pub(crate) fn recover_deactivated(&mut self, id: &str, value: &[u8]) -> Result<(), String> {
        let kept: internal::RegistryDeactivated = read(value)?;
        let known = Deactivated { drain: kept.drain_info, drain_started: None };
        self.state.deactivated.insert(id.to_owned(), known);
        Ok(())
    }

    /// What is out of use is offered to nobody, and nobody is warned of it.
    pub(crate) fn check_out_of_use(&self) -> Result<(), String> {
        for agent in self.state.agents.values() {
            if agent.leaving || !self.state.deactivated.contains_key(&agent.id) {
                continue;
            }
            if let Some(offer) = self.offered_on(agent.key).next() {
                return Err(format!(
                    "agent {} is out of use, offer {} is open",
                    agent.id, offer.id
                ));
            }
            if self.warnings.is_any_on(agent.key) {
                return Err(format!("agent {} is out of use, an inverse offer is open", agent.id));
            }
        }
        Ok(())
    }

    /// What the registry holds of agents that it does not have any more is dropped.
    pub(crate) fn forget_strays(&mut self, cx: &mut Cx<'_>) {
        let ids = self.state.deactivated.keys().filter(|id| !self.is_deactivatable(id));
        let ids: Vec<String> = ids.cloned().collect();
        let ops: Vec<RegistryOp> =
            ids.iter().filter_map(|id| self.forget_deactivated(id)).collect();
        if !ops.is_empty() {
            self.write(cx, ops, Waiting::Nothing);
        }
    }
}

fn put(id: &str, drain_info: Option<v1::DrainInfo>) -> RegistryOp {
    RegistryOp::Put {
        section: DEACTIVATED.to_owned(),
        key: id.to_owned(),
        value: wire::protobuf::to_vec(&internal::RegistryDeactivated { drain_info }),
    }
}

fn forget(id: &str) -> RegistryOp {
    RegistryOp::Delete { section: DEACTIVATED.to_owned(), key: id.to_owned() }
}

/// The longest grace period of a drain.
fn grace_period(given: google::protobuf::Duration) -> Result<v1::DurationInfo, String> {
    let nanoseconds = given.seconds.checked_mul(1_000_000_000);
    let nanoseconds = nanoseconds.and_then(|n| n.checked_add(i64::from(given.nanos)));
    match nanoseconds {
        Some(nanoseconds) if nanoseconds >= 0 => Ok(v1::DurationInfo { nanoseconds }),
        _ => Err(format!(
            "'max_grace_period' is {} s and {} ns: expected a time of 0 to 292 years",
            given.seconds, given.nanos
        )),
    }
}
