//! Agents that leave for good: removed, or marked gone by an operator.

use crate::announce::Announcement;
use crate::contract::Effect;
use crate::liveness::time_info;
use crate::master::{Cx, Master, Timer, Waiting};
use crate::registration::refuse;
use crate::registry::{AGENTS, DEACTIVATED, GONE, RegistryOp, UNREACHABLE};
use allocator::AgentId;
use base::Token;
use wire::internal;
use wire::v1::task_status::Reason;
use wire::v1::{OperationState, TaskState};

impl Master {
    /// Removes an agent from the registry, then from here.
    pub(crate) fn remove_agent(&mut self, cx: &mut Cx<'_>, key: AgentId, cause: &str) {
        let Some(agent) = self.agent_mut(key).filter(|a| !a.leaving) else { return };
        agent.leaving = true;
        let id = agent.id.clone();
        let message = format!("Agent {} removed: {cause}", agent.info.hostname);
        let deactivated = self.forget_deactivated(&id);
        let op = RegistryOp::Delete { section: AGENTS.to_owned(), key: id };
        let ops = [op].into_iter().chain(deactivated).collect();
        self.write(cx, ops, Waiting::Removed { agent: key, message });
    }

    pub(crate) fn on_removed(&mut self, cx: &mut Cx<'_>, key: AgentId, message: &str) {
        self.count("master/slave_removals");
        if let Some(agent_id) = self.agent(key).map(|a| a.id.clone()) {
            self.announce(cx, || Announcement::AgentRemoved { agent_id });
        }
        self.forget_agent(cx, key, TaskState::TaskLost, Reason::AgentRemoved, message);
    }

    /// Marks an agent gone, for an operator who waits for it or because it is drained.
    pub(crate) fn mark_gone(&mut self, cx: &mut Cx<'_>, token: Option<Token>, id: String) {
        let mut respond = |status, text: &str| {
            token.iter().for_each(|token| cx.respond(*token, status, text));
        };
        if self.state.gone.contains_key(&id) {
            return respond(200, "");
        }
        let registered = self.agent_keys.get(&id).copied();
        if let Some(agent) = registered.and_then(|key| self.agent_mut(key)) {
            if agent.leaving {
                let text = format!("Agent '{id}' is already being transitioned; try again");
                return respond(503, &text);
            }
            agent.leaving = true;
        } else if !self.state.recovered_agents.contains_key(&id)
            && !self.state.unreachable.contains_key(&id)
        {
            return respond(404, &format!("Agent '{id}' not found"));
        }
        let record =
            internal::RegistryAgentGone { id: id.as_str().into(), since: time_info(cx.now.wall) };
        let delete =
            |section: &str| RegistryOp::Delete { section: section.to_owned(), key: id.clone() };
        let put = RegistryOp::Put {
            section: GONE.to_owned(),
            key: id.clone(),
            value: wire::protobuf::to_vec(&record),
        };
        let ops = vec![delete(AGENTS), delete(UNREACHABLE), delete(DEACTIVATED), put];
        self.leaving_for_good.insert(id.clone());
        self.write(cx, ops, Waiting::Gone { token, id });
    }

    pub(crate) fn on_gone(&mut self, cx: &mut Cx<'_>, token: Option<Token>, id: &str) {
        self.leaving_for_good.remove(id);
        self.forget_deactivated(id);
        self.state.gone.insert(id.to_owned(), time_info(cx.now.wall));
        self.forget_recovered(id);
        self.state.unreachable.remove(id);
        if let Some(key) = self.agent_keys.get(id).copied() {
            if let Some(connection) = self.agent(key).and_then(|a| a.connection) {
                refuse(cx, connection, "Agent has been marked gone".to_owned());
            }
            let message = "Agent has been marked gone";
            self.forget_agent(
                cx,
                key,
                TaskState::TaskGoneByOperator,
                Reason::AgentRemovedByOperator,
                message,
            );
        }
        token.into_iter().for_each(|token| cx.respond(token, 200, ""));
    }

    /// Takes an agent out of the books: offers, tasks, executors, connection.
    pub(crate) fn forget_agent(
        &mut self,
        cx: &mut Cx<'_>,
        key: AgentId,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) {
        self.rescind_on(cx, key);
        self.unschedule(cx, key);
        let Some(agent) = self.state.agents.get(&key).cloned() else { return };
        let (id, connection) = (agent.id.clone(), agent.connection);
        let (fate, why) = match state {
            TaskState::TaskUnreachable => {
                (OperationState::OperationUnreachable, "Agent was marked unreachable")
            }
            _ => (OperationState::OperationGoneByOperator, message),
        };
        self.lose_operations(cx, &agent, fate, why);
        let tasks: Vec<_> = agent.tasks.iter().cloned().collect();
        for (framework, task) in tasks {
            let Some(known) = self.framework(framework) else { continue };
            let told = known.lost(state);
            let reason = if told == TaskState::TaskLost { Reason::AgentRemoved } else { reason };
            self.lose_task(cx, framework, &task, told, reason, message);
        }
        for (framework, executor) in agent.executors.iter() {
            self.remove_executor(cx, *framework, key, executor);
        }
        for timer in [Timer::Ping(key), Timer::Reregister(key)] {
            self.timers.cancel(&timer);
        }
        self.allocator.remove_agent(key);
        self.state.agents.remove(&key);
        self.freed.remove(&key);
        self.agent_keys.remove(&id);
        // One that is unreachable may come back, and one whose machine is down will.
        if state != TaskState::TaskUnreachable && !self.brought_down.contains_key(&id) {
            self.acknowledged.forget(&id);
        }
        self.tell_failure(cx, &id);
        if let Some(connection) = connection {
            self.connections.remove(&connection);
            cx.out.push(Effect::CloseAgent { connection });
        }
    }
}
