//! Why a framework is not offered an agent: the first thing in the way, asked of the code that decides.

use crate::decide::Circumstances;
use crate::hierarchical::Hierarchical;
use crate::{AgentId, FrameworkId, Reason};

impl Hierarchical {
    pub(crate) fn reason(&self, framework: FrameworkId, role: &str, agent: AgentId) -> Reason {
        let Some(known) = self.frameworks.get(&framework) else { return Reason::Inactive };
        if !known.options.roles.contains(role) || !known.active {
            return Reason::Inactive;
        }
        if known.options.suppressed.contains(role) {
            return Reason::Suppressed;
        }
        let Some(at) = self.agents.get(&agent).filter(|a| a.active && !a.overcommitted) else {
            return Reason::AgentInactive;
        };
        if !self.is_listed(at) {
            return Reason::NotListed;
        }
        if at.free.is_empty() {
            return Reason::Taken;
        }
        let known_role = self.tree.known_role(role);
        let Some((role, seat)) =
            known_role.and_then(|role| Some((role, self.tree.known_seat(framework, role)?)))
        else {
            return Reason::Inactive;
        };
        let overlap = self.overlaps.of(&self.tree, role);
        let visible = at.softs.visible(seat, overlap, &at.free);
        if visible.is_empty() {
            let own = at.softs.has_all(seat, &at.free);
            return if own { Reason::Taken } else { Reason::Overlap };
        }
        let wants = &self.wants[seat as usize];
        let circumstances =
            Circumstances { shown: self.overlaps.shown(seat), ..self.circumstances(&self.quotas) };
        let (part, otherwise) =
            match circumstances.decide(wants, &known.options, role, at, &visible) {
                Ok(part) => (part, Reason::Next),
                // Who declined what is lent is not waiting for it to come back.
                Err(Reason::Lent) => (None, Reason::Lent),
                Err(reason) => return reason,
            };
        let refused = at.filters.refuse(seat, wants.voided, part.as_ref().unwrap_or(&visible));
        refused.map_or(otherwise, |until| Reason::Refused { until })
    }
}
