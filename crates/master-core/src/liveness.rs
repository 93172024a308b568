//! Agents that fall silent: pings, disconnection, the rate of removals (spec/master.md 1.9).

use crate::master::{Cx, Master, Timer, Waiting};
use crate::registry::{AGENTS, DEACTIVATED, GONE, RegistryOp, UNREACHABLE};
use allocator::{AgentId, FrameworkId};
use base::{Token, WallTime};
use std::time::Duration;
use wire::internal;
use wire::internal::master_to_agent::Message;
use wire::v1;
use wire::v1::TaskState;
use wire::v1::task_status::Reason;

impl Master {
    pub(crate) fn ping(&mut self, cx: &mut Cx<'_>, key: AgentId) {
        let (most, every) = (self.config.max_agent_ping_timeouts, self.config.agent_ping_timeout);
        let Some(agent) = self.agent_mut(key).filter(|a| a.is_connected()) else { return };
        agent.missed_pings += 1;
        // The ping that is sent now is the one that may be missed next.
        let silent = agent.missed_pings > most;
        self.timers.set(Timer::Ping(key), cx.now.mono + every);
        if silent {
            self.queue_removal(cx, key, "health check timed out");
        } else {
            self.send_to_agent(cx, key, Message::Ping(internal::Ping { connected: true }));
        }
    }

    pub(crate) fn on_agent_closed(&mut self, cx: &mut Cx<'_>, connection: Token) {
        self.registering.end(connection);
        let Some(key) = self.connections.remove(&connection) else { return };
        let Some(agent) = self.agent_mut(key) else { return };
        agent.connection = None;
        let hostname = agent.info.hostname.clone();
        self.timers.cancel(&Timer::Ping(key));
        self.timers.set(Timer::Reregister(key), cx.now.mono + self.config.agent_reregister_timeout);
        self.allocator.deactivate_agent(key);
        self.rescind_on(cx, key);
        self.rescind_warnings_on(cx, key);
        // What does not checkpoint does not survive its agent's absence.
        let message = format!("Agent {hostname} disconnected");
        let Some(agent) = self.agent(key) else { return };
        let is_lost = |(framework, _): &&(FrameworkId, String)| {
            self.framework(*framework).is_some_and(|f| !f.info.checkpoint())
        };
        let tasks: Vec<_> = agent.tasks.iter().filter(is_lost).cloned().collect();
        let executors: Vec<_> = agent.executors.iter().filter(is_lost).cloned().collect();
        for (framework, task) in tasks {
            let (state, reason) = (TaskState::TaskLost, Reason::AgentDisconnected);
            self.lose_task(cx, framework, &task, state, reason, &message);
        }
        for (framework, executor) in executors {
            self.remove_executor(cx, framework, key, &executor);
        }
    }

    pub(crate) fn on_reregister_timeout(&mut self, cx: &mut Cx<'_>, key: AgentId) {
        let timeout = base::duration::format(self.config.agent_reregister_timeout);
        let message = format!("agent did not reregister within {timeout} after disconnecting");
        self.queue_removal(cx, key, &message);
    }

    /// Marks an agent unreachable as soon as the rate limit allows.
    fn queue_removal(&mut self, cx: &mut Cx<'_>, key: AgentId, message: &str) {
        if self.removals.iter().any(|(agent, _)| *agent == key)
            || self.agent(key).is_none_or(|a| a.leaving)
        {
            return;
        }
        self.count("master/slave_unreachable_scheduled");
        self.removals.push_back((key, message.to_owned()));
        self.schedule_removal(cx);
    }

    /// An agent that was to be marked unreachable is there.
    pub(crate) fn cancel_removal(&mut self, key: AgentId) {
        let waiting = self.removals.len();
        self.removals.retain(|(agent, _)| *agent != key);
        if self.removals.len() < waiting {
            self.count("master/slave_unreachable_canceled");
        }
    }

    fn schedule_removal(&mut self, cx: &Cx<'_>) {
        if self.removals.is_empty() || self.timers.get(&Timer::Removal).is_some() {
            return;
        }
        let pause = self
            .config
            .agent_removal_rate_limit
            .map_or(Duration::ZERO, |(n, time)| time / n.max(1));
        let at = self.last_removal.map_or(cx.now.mono, |last| (last + pause).max(cx.now.mono));
        self.timers.set(Timer::Removal, at);
    }

    pub(crate) fn next_removal(&mut self, cx: &mut Cx<'_>) {
        let Some((agent, message)) = self.removals.pop_front() else { return };
        self.last_removal = Some(cx.now.mono);
        self.schedule_removal(cx);
        let since = time_info(cx.now.wall);
        let Some(known) = self.agent_mut(agent) else { return };
        known.leaving = true;
        let id = known.id.clone();
        self.write(cx, unreachable_ops(&id, since), Waiting::Unreachable { agent, message });
    }

    /// The registry has the agent as unreachable.
    pub(crate) fn on_unreachable(&mut self, cx: &mut Cx<'_>, key: AgentId, message: &str) {
        let Some(id) = self.agent(key).map(|a| a.id.clone()) else { return };
        self.count("master/slave_unreachable_completed");
        self.count("master/slave_removals");
        self.count("master/slave_removals/reason_unhealthy");
        self.state.unreachable.insert(id, time_info(cx.now.wall));
        self.forget_agent(cx, key, TaskState::TaskUnreachable, Reason::AgentRemoved, message);
    }

    /// Agents of the registry that did not come back after this master's start.
    pub(crate) fn on_recovered_timeout(&mut self, cx: &mut Cx<'_>) {
        let ids: Vec<String> = self.state.recovered_agents.keys().cloned().collect();
        let known = ids.len() + self.state.agents.len();
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let percent = 100.0 * ids.len() as f64 / known.max(1) as f64;
        if percent > self.config.recovery_agent_removal_limit {
            let limit = self.config.recovery_agent_removal_limit;
            let message = format!(
                "{} of {known} agents did not come back, more than --recovery_agent_removal_limit={limit}% allows",
                ids.len()
            );
            cx.out.push(crate::contract::Effect::Abort { message });
            return;
        }
        for id in ids {
            self.count("master/recovery_slave_removals");
            let ops = unreachable_ops(&id, time_info(cx.now.wall));
            self.write(cx, ops, Waiting::RecoveredUnreachable { id });
        }
    }

    pub(crate) fn on_recovered_unreachable(&mut self, cx: &mut Cx<'_>, id: &str) {
        if self.forget_recovered(id) {
            self.state.unreachable.insert(id.to_owned(), time_info(cx.now.wall));
            self.tell_failure(cx, id);
        }
    }

    /// Forgets unreachable and gone agents that are too old or too many.
    pub(crate) fn collect_registry(&mut self, cx: &mut Cx<'_>) {
        self.timers.set(Timer::Gc, cx.now.mono + self.config.registry_gc_interval);
        let (age, keep) =
            (self.config.registry_max_agent_age, self.config.registry_max_agent_count);
        let old = |entries: &std::collections::BTreeMap<String, v1::TimeInfo>| -> Vec<String> {
            let mut by_age: Vec<(i64, &String)> =
                entries.iter().map(|(id, since)| (since.nanoseconds, id)).collect();
            by_age.sort();
            let too_many = by_age.len().saturating_sub(keep);
            let oldest =
                cx.now.wall.0.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
            let old = by_age
                .iter()
                .enumerate()
                .filter(|(at, (ns, _))| *at < too_many || ns.cast_unsigned() < oldest);
            old.map(|(_, (_, id))| (*id).clone()).collect()
        };
        let (unreachable, gone) = (old(&self.state.unreachable), old(&self.state.gone));
        if unreachable.is_empty() && gone.is_empty() {
            return;
        }
        let delete = |section: &str, key: &String| RegistryOp::Delete {
            section: section.to_owned(),
            key: key.clone(),
        };
        let ops = unreachable
            .iter()
            .flat_map(|id| [delete(UNREACHABLE, id), delete(DEACTIVATED, id)])
            .chain(gone.iter().map(|id| delete(GONE, id)));
        let ops = ops.collect();
        self.write(cx, ops, Waiting::Forgotten { unreachable, gone });
    }
}

pub(crate) fn time_info(wall: WallTime) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: wall.0.cast_signed() }
}

fn unreachable_ops(id: &str, since: v1::TimeInfo) -> Vec<RegistryOp> {
    let record = internal::RegistryAgentGone { id: id.into(), since };
    vec![
        RegistryOp::Delete { section: AGENTS.to_owned(), key: id.to_owned() },
        RegistryOp::Put {
            section: UNREACHABLE.to_owned(),
            key: id.to_owned(),
            value: wire::protobuf::to_vec(&record),
        },
    ]
}
