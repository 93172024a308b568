//! Refusals: what a framework does not want offered again for a while.

use crate::{AgentId, FrameworkId};
use base::Time;
use resources::Resources;
use std::collections::{BTreeMap, BTreeSet};

/// Whose filter it is: framework, number of the role.
pub(crate) type Holder = (FrameworkId, u32);

/// All filters, by agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    by_agent: BTreeMap<AgentId, BTreeMap<Holder, Vec<(Resources, Time)>>>,
    expiry: BTreeSet<(Time, AgentId, Holder)>,
}

impl Filters {
    /// Refuses everything contained in `resources` until `until`.
    pub(crate) fn add(
        &mut self,
        agent: AgentId,
        holder: Holder,
        resources: Resources,
        until: Time,
    ) {
        self.by_agent.entry(agent).or_default().entry(holder).or_default().push((resources, until));
        self.expiry.insert((until, agent, holder));
    }

    /// Whether an offer of `resources` is refused.
    pub(crate) fn refuse(&self, agent: AgentId, holder: Holder, resources: &Resources) -> bool {
        let filters = self.by_agent.get(&agent).and_then(|f| f.get(&holder));
        filters
            .is_some_and(|filters| filters.iter().any(|(refused, _)| refused.contains(resources)))
    }

    /// Drops what has expired; gives the agents that may be offered again.
    pub(crate) fn expire(&mut self, now: Time) -> BTreeSet<AgentId> {
        let mut agents = BTreeSet::new();
        while let Some((at, agent, holder)) =
            self.expiry.first().copied().filter(|(at, ..)| *at <= now)
        {
            self.expiry.remove(&(at, agent, holder));
            let Some(of_agent) = self.by_agent.get_mut(&agent) else { continue };
            if let Some(filters) = of_agent.get_mut(&holder) {
                let before = filters.len();
                filters.retain(|(_, until)| *until > now);
                if filters.len() < before {
                    agents.insert(agent);
                }
                if filters.is_empty() {
                    of_agent.remove(&holder);
                }
            }
        }
        agents
    }

    /// Number of filters, by role.
    pub(crate) fn count(&self) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for ((_, role), filters) in self.by_agent.values().flatten() {
            *counts.entry(*role).or_default() += filters.len() as u64;
        }
        counts
    }

    /// When the next filter expires.
    pub(crate) fn next(&self) -> Option<Time> {
        self.expiry.first().map(|(at, ..)| *at)
    }

    /// Drops all filters of these holders; whether there were any.
    pub(crate) fn drop_holders(&mut self, drop: impl Fn(&Holder) -> bool) -> bool {
        let mut dropped = false;
        for of_agent in self.by_agent.values_mut() {
            let before = of_agent.len();
            of_agent.retain(|holder, _| !drop(holder));
            dropped |= of_agent.len() < before;
        }
        if dropped {
            self.expiry.retain(|(_, _, holder)| !drop(holder));
        }
        dropped
    }

    /// Drops all filters on an agent.
    pub(crate) fn drop_agent(&mut self, agent: AgentId) {
        if self.by_agent.remove(&agent).is_some() {
            self.expiry.retain(|(_, a, _)| *a != agent);
        }
    }
}
