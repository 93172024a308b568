//! Agents of which quota holds something back: a change anywhere in the cluster may let it go.

use crate::AgentId;
use base::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// Looked at again when the books of quota have changed, but not more often than once in an interval.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldBack {
    agents: BTreeSet<AgentId>,
    /// When they were looked at.
    last: Option<Time>,
}

impl HeldBack {
    pub(crate) fn insert(&mut self, agent: AgentId) {
        self.agents.insert(agent);
    }

    pub(crate) fn remove(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
    }

    /// When they may be looked at again; None: there are none.
    pub(crate) fn due(&self, interval: Duration) -> Option<Time> {
        (!self.agents.is_empty()).then(|| self.last.map_or(Time(0), |last| last + interval))
    }

    /// Those that are looked at now.
    pub(crate) fn take(&mut self, now: Time) -> BTreeSet<AgentId> {
        self.last = Some(now);
        std::mem::take(&mut self.agents)
    }
}
