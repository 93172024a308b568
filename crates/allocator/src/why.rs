//! Why a framework is not offered an agent: the first reason that is in the way, and what would be if it were not.

use crate::agent::Agent;
use crate::decide::Circumstances;
use crate::hierarchical::Hierarchical;
use crate::quota::Quotas;
use crate::{AgentId, FrameworkId, Reason};
use resources::Resources;
use std::borrow::Cow;

impl Hierarchical {
    /// The first reason besides those that are overlooked; one of these again, if nothing can be said beyond it.
    pub(crate) fn first_obstacle(
        &self,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        overlooked: &[Reason],
    ) -> Reason {
        let is_counted = |reason| !overlooked.contains(&reason);
        let Some(known) = self.frameworks.get(&framework) else { return Reason::Inactive };
        let is_member = known.options.roles.contains(role);
        if !(is_member && known.active) && is_counted(Reason::Inactive) {
            return Reason::Inactive;
        }
        if known.options.suppressed.contains(role) && is_counted(Reason::Suppressed) {
            return Reason::Suppressed;
        }
        let Some(at) = self.agents.get(&agent) else { return Reason::AgentInactive };
        if (at.overcommitted || !at.active) && is_counted(Reason::AgentInactive) {
            return Reason::AgentInactive;
        }
        if !self.is_listed(at) && is_counted(Reason::NotListed) {
            return Reason::NotListed;
        }
        let is_back = !is_counted(Reason::Taken);
        let free = if is_back { &at.total } else { &at.free };
        if free.is_empty() {
            return Reason::Taken;
        }
        let (name, seat) = (role, self.tree.known_role(role));
        let seat = seat.and_then(|role| Some((role, self.tree.known_seat(framework, role)?)));
        let Some((role, seat)) = seat else { return Reason::Inactive };
        let overlap = self.overlaps.of(&self.tree, role);
        let visible = if is_back || !is_counted(Reason::Overlap) {
            Cow::Borrowed(free)
        } else {
            at.softs.visible(seat, overlap, free)
        };
        let quotas = if is_back { self.quotas_without(at) } else { Cow::Borrowed(&self.quotas) };
        let wants = &self.wants[seat as usize];
        let awaited = self.lending.recalls.get(&agent).map(|recall| recall.before(name));
        let circumstances = Circumstances {
            ignores_loans: is_back || !is_counted(Reason::Lent),
            shown: self.overlaps.shown(seat).filter(|_| !is_back),
            awaited: awaited.as_ref(),
            overlooked,
            ..self.circumstances(&quotas)
        };
        let decide = |free: &Resources| circumstances.decide(wants, &known.options, role, at, free);
        let decided = if visible.is_empty() {
            let unfit = circumstances.unfit(wants, &known.options, role, at);
            Err(unfit.unwrap_or(Reason::Overlap))
        } else {
            decide(&visible)
        };
        if let (Err(reason), Cow::Owned(_)) = (&decided, &visible)
            && reason.is_lack()
            && (visible.is_empty() || decide(free).is_ok())
        {
            let is_own = at.softs.has_all(seat, free);
            return if is_own { Reason::Taken } else { Reason::Overlap };
        }
        let (part, otherwise) = match decided {
            Ok(part) => (part, Reason::Next),
            // Who declined what is lent is not waiting for it to come back.
            Err(Reason::Lent) => (None, Reason::Lent),
            Err(reason) => return reason,
        };
        let is_refused = |o: &Reason| matches!(o, Reason::Refused { .. });
        if overlooked.iter().any(is_refused) {
            return otherwise;
        }
        let refused = at.filters.refuse(seat, wants.voided, part.as_ref().unwrap_or(&visible));
        refused.map_or(otherwise, |until| Reason::Refused { until })
    }

    /// The books of quota as if nothing of an agent was used or offered.
    fn quotas_without(&self, agent: &Agent) -> Cow<'_, Quotas> {
        let mut quotas = Cow::Borrowed(&self.quotas);
        if quotas.is_empty() {
            return quotas;
        }
        let without = quotas.to_mut();
        for held in agent.held.values() {
            for name in held.allocation_roles().into_iter().flatten() {
                let part = held.filter(|e| e.identity.allocated_to.as_deref() == Some(name));
                let Some(role) = self.tree.known_role(name) else { continue };
                without.charge(&self.tree, role, &part, -1);
            }
        }
        without.change_free(&self.tree, &agent.free, -1);
        without.change_free(&self.tree, &agent.total, 1);
        quotas
    }
}
