//! Inverse offers to frameworks that have something on machines which will be away: at most one at a time for each
//! framework and agent, and another one when its answer has grown old.

use crate::inverse_offers::Answer;
use crate::master::{Cx, Master, Timer};
use crate::state::State;
use allocator::{AgentId, FrameworkId};
use base::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use wire::v1;
use wire::v1::allocator::InverseOfferStatus;
use wire::v1::allocator::inverse_offer_status::Status;

/// Longest time for which an answer holds (spec/master.md 1.2).
const FILTER_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Whom on which agent.
type At = (AgentId, FrameworkId);

/// Inverse offers that are out for maintenance, and answers that hold.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    open: BTreeMap<At, String>,
    filters: Filters,
    /// Agents on which somebody may have to be told: there are too many to look at all of them each time.
    stale: BTreeSet<AgentId>,
}

/// Until when answers hold.
#[derive(Debug, Default)]
struct Filters {
    until: BTreeMap<At, Time>,
    ends: BTreeSet<(Time, At)>,
}

impl Filters {
    fn set(&mut self, at: At, until: Time) {
        self.remove(at);
        self.until.insert(at, until);
        self.ends.insert((until, at));
    }

    fn remove(&mut self, at: At) {
        if let Some(until) = self.until.remove(&at) {
            self.ends.remove(&(until, at));
        }
    }

    /// Ends those whose time is over: their agents.
    fn end(&mut self, now: Time) -> Vec<AgentId> {
        let mut ended = Vec::new();
        while let Some((_, at)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.remove(at);
            ended.push(at.0);
        }
        ended
    }

    fn remove_all(&mut self, of: impl Fn(&At) -> bool) {
        self.until.retain(|at, _| !of(at));
        self.ends.retain(|(_, at)| !of(at));
    }
}

fn on(agent: AgentId) -> RangeInclusive<At> {
    (agent, FrameworkId(0))..=(agent, FrameworkId(u32::MAX))
}

impl Warnings {
    /// Whether an inverse offer for an agent is out.
    pub(crate) fn is_any_on(&self, agent: AgentId) -> bool {
        self.open.range(on(agent)).next().is_some()
    }

    /// Drops what was answered on an agent.
    pub(crate) fn forget_answers_on(&mut self, agent: AgentId) {
        let known: Vec<At> = self.filters.until.range(on(agent)).map(|(at, _)| *at).collect();
        if !known.is_empty() {
            self.stale.insert(agent);
        }
        known.into_iter().for_each(|at| self.filters.remove(at));
    }

    /// Drops what a framework answered.
    pub(crate) fn forget_answers_of(&mut self, framework: FrameworkId) {
        let agents = self.filters.until.keys().filter(|(_, of)| *of == framework);
        self.stale.extend(agents.map(|(agent, _)| *agent));
        self.filters.remove_all(|(_, of)| *of == framework);
    }

    /// Somebody may have to be told of this agent.
    pub(crate) fn look_at(&mut self, agents: impl IntoIterator<Item = AgentId>) {
        self.stale.extend(agents);
    }

    /// A framework can't be told anything any more: what it was told is void.
    pub(crate) fn forget_framework(&mut self, framework: FrameworkId) {
        self.open.retain(|(_, of), _| *of != framework);
        self.forget_answers_of(framework);
    }
}

impl Master {
    /// Tells the frameworks that have something on machines with windows, unless they know or have said what they think.
    pub(crate) fn warn_of_maintenance(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let ended = self.warnings.filters.end(now);
        let mut stale = std::mem::take(&mut self.warnings.stale);
        stale.extend(ended);
        let mut told: BTreeMap<FrameworkId, Vec<v1::InverseOffer>> = BTreeMap::new();
        let affected: Vec<At> = stale.into_iter().flat_map(|on| self.affected(on)).collect();
        for at @ (agent, framework) in affected {
            let is_told = self.warnings.open.contains_key(&at);
            if is_told || self.warnings.filters.until.contains_key(&at) {
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
        match self.warnings.filters.ends.first() {
            Some((at, _)) => self.timers.set(Timer::Warnings, *at),
            None => self.timers.cancel(&Timer::Warnings),
        }
    }

    /// Who has something, used or offered, on an agent that will be away, and can be told.
    fn affected(&self, agent: AgentId) -> Vec<At> {
        let is_scheduled = self.state.scheduled.contains_key(&agent);
        let known = self.agent(agent).filter(|a| is_scheduled && self.state.is_active(a));
        let Some(known) = known else { return Vec::new() };
        let held = known.tasks.iter().chain(&known.executors).map(|(framework, _)| *framework);
        let offered = self.offered_on(agent).map(|offer| offer.framework);
        let mut affected: Vec<FrameworkId> = held.chain(offered).collect();
        affected.sort_unstable();
        affected.dedup();
        affected.retain(|framework| self.framework(*framework).is_some_and(|f| f.is_connected()));
        affected.into_iter().map(|framework| (agent, framework)).collect()
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
        self.warnings.filters.set(at, cx.now.mono + holds);
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
        self.warnings.look_at([agent]);
        self.warn_of_maintenance(cx);
    }

    /// The agent is not there any more, or its window is another.
    pub(crate) fn rescind_warnings_on(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let open = self.warnings.open.range(on(agent)).map(|(at, _)| *at);
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
        self.warnings.forget_answers_on(key);
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
