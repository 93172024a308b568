//! Inverse offers to frameworks that have something on machines which will be away: at most one at a time for each
//! framework and agent, and another one when its answer has grown old.

use crate::inverse_offers::Answer;
use crate::master::{Cx, Master, Timer};
use crate::state::State;
use allocator::{AgentId, FrameworkId};
use base::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use wire::v1;
use wire::v1::allocator::InverseOfferStatus;
use wire::v1::allocator::inverse_offer_status::Status;

/// Longest time for which an answer holds (spec/master.md 1.2).
const FILTER_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Inverse offers that are out for maintenance, and answers that hold.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    open: BTreeMap<(AgentId, FrameworkId), String>,
    filters: BTreeMap<(AgentId, FrameworkId), Time>,
}

impl Warnings {
    /// Whether an inverse offer for an agent is out.
    pub(crate) fn is_any_on(&self, agent: AgentId) -> bool {
        self.open.keys().any(|(on, _)| *on == agent)
    }

    /// Drops filters: those on an agent, or of a framework.
    pub(crate) fn forget_filters(&mut self, of: impl Fn(AgentId, FrameworkId) -> bool) {
        self.filters.retain(|(agent, framework), _| !of(*agent, *framework));
    }

    /// A framework can't be told anything any more: what it was told is void.
    pub(crate) fn forget_framework(&mut self, framework: FrameworkId) {
        self.open.retain(|(_, of), _| *of != framework);
        self.forget_filters(|_, of| of == framework);
    }
}

impl Master {
    /// Tells the frameworks that have something on machines with windows, unless they know or have said what they think.
    pub(crate) fn warn_of_maintenance(&mut self, cx: &mut Cx<'_>) {
        if self.state.scheduled.is_empty() {
            return;
        }
        let now = cx.now.mono;
        self.warnings.filters.retain(|_, until| *until > now);
        let mut told: BTreeMap<FrameworkId, Vec<v1::InverseOffer>> = BTreeMap::new();
        for at @ (agent, framework) in self.affected() {
            let is_told = self.warnings.open.contains_key(&at);
            if is_told || self.warnings.filters.contains_key(&at) {
                continue;
            }
            let Some(unavailability) = self.state.scheduled.get(&agent).map(|s| s.unavailability)
            else {
                continue;
            };
            let id = self.next_offer_id();
            let offer = self.inverse_offer(&id, framework, agent, unavailability, Vec::new());
            if let Some(timeout) = self.config.offer_timeout {
                self.timers.set(Timer::Warning(agent, framework), now + timeout);
            }
            self.warnings.open.insert(at, id);
            told.entry(framework).or_default().push(offer);
        }
        for (framework, offers) in told {
            self.send_inverse_offers(cx, framework, offers);
        }
        self.plan_warnings();
    }

    /// The next answer that grows old asks for another one.
    fn plan_warnings(&mut self) {
        match self.warnings.filters.values().min() {
            Some(at) => self.timers.set(Timer::Warnings, *at),
            None => self.timers.cancel(&Timer::Warnings),
        }
    }

    /// Who has something, used or offered, on agents that will be away, and can be told.
    fn affected(&self) -> BTreeSet<(AgentId, FrameworkId)> {
        let scheduled = &self.state.scheduled;
        let is_active = |key: &AgentId| self.agent(*key).is_some_and(|a| self.state.is_active(a));
        let agents: BTreeSet<AgentId> =
            scheduled.keys().copied().filter(|key| is_active(key)).collect();
        let mut affected = BTreeSet::new();
        for agent in agents.iter().filter_map(|key| self.agent(*key)) {
            affected.extend(agent.tasks.iter().map(|(framework, _)| (agent.key, *framework)));
        }
        for framework in self.state.frameworks.values() {
            let executors = framework.executors.keys().map(|(agent, _)| *agent);
            let held = executors.chain(framework.offers.values().map(|o| o.agent));
            affected.extend(held.filter(|a| agents.contains(a)).map(|a| (a, framework.key)));
        }
        affected
            .retain(|(_, framework)| self.framework(*framework).is_some_and(|f| f.is_connected()));
        affected
    }

    /// A framework says what it thinks of one of these.
    pub(crate) fn answer_warning(
        &mut self,
        cx: &Cx<'_>,
        at: (AgentId, FrameworkId),
        id: &str,
        answer: Answer,
        refuse: Duration,
    ) {
        if self.warnings.open.get(&at).is_none_or(|open| open != id) {
            return;
        }
        let (agent, framework) = at;
        self.warnings.open.remove(&at);
        self.timers.cancel(&Timer::Warning(agent, framework));
        let status = match answer {
            Answer::Accept => Status::Accept,
            Answer::Decline => Status::Decline,
        };
        let framework_id = self.framework(framework).map_or("", |f| f.id.as_str()).into();
        let timestamp = crate::liveness::time_info(cx.now.wall);
        if let Some(scheduled) = self.state.scheduled.get_mut(&agent).map(Arc::make_mut) {
            let status = InverseOfferStatus { status: status as i32, framework_id, timestamp };
            scheduled.answers.insert(framework, status);
        }
        let holds = refuse.clamp(self.config.allocator.allocation_interval, FILTER_MAX);
        self.warnings.filters.insert(at, cx.now.mono + holds);
        self.plan_warnings();
    }

    /// An inverse offer for maintenance is too old.
    pub(crate) fn time_out_warning(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        framework: FrameworkId,
    ) {
        self.rescind_warning(cx, agent, framework);
        self.warn_of_maintenance(cx);
    }

    /// The agent is not there any more, or its window is another.
    pub(crate) fn rescind_warnings_on(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let open = self.warnings.open.range((agent, FrameworkId(0))..);
        let open = open.map(|(at, _)| *at).take_while(|(on, _)| *on == agent);
        for (agent, framework) in open.collect::<Vec<_>>() {
            self.rescind_warning(cx, agent, framework);
        }
    }

    fn rescind_warning(&mut self, cx: &mut Cx<'_>, agent: AgentId, framework: FrameworkId) {
        if let Some(id) = self.warnings.open.remove(&(agent, framework)) {
            self.timers.cancel(&Timer::Warning(agent, framework));
            self.rescind_inverse(cx, framework, &id);
        }
    }

    /// Nothing is left of an agent.
    pub(crate) fn unschedule(&mut self, cx: &mut Cx<'_>, key: AgentId) {
        self.rescind_warnings_on(cx, key);
        self.warnings.forget_filters(|agent, _| agent == key);
        self.state.scheduled.remove(&key);
    }
}

impl State {
    /// What a framework said is of no interest when it is gone.
    pub(crate) fn forget_answers(&mut self, framework: FrameworkId) {
        let answered = self.scheduled.values_mut().filter(|s| s.answers.contains_key(&framework));
        for scheduled in answered {
            Arc::make_mut(scheduled).answers.remove(&framework);
        }
    }
}
