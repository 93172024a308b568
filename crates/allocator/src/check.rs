//! Own invariants, and the memory of agents.

use crate::agent::Agent;
use crate::hierarchical::Hierarchical;
use crate::tree::bump;
use resources::Resources;
use std::collections::BTreeMap;

impl Hierarchical {
    pub(crate) fn check_books(&self) -> Result<(), String> {
        let mut held: BTreeMap<&str, i64> = BTreeMap::new();
        let all = self.agents.values().flat_map(|agent| agent.held.values());
        let all: Vec<Resources> = all.map(Resources::each_once).collect();
        for entry in all.iter().flat_map(Resources::iter) {
            let resources::Value::Scalar(milli) = entry.value else { continue };
            if !self.config.fair_sharing_excluded.contains(&entry.identity.name) {
                bump(held.entry(&entry.identity.name).or_default(), milli);
            }
        }
        for (id, agent) in &self.agents {
            let mut counted = agent.clone();
            counted.recount(&mut Resources::unallocated);
            for (name, milli) in agent.softs.counted() {
                if !self.config.fair_sharing_excluded.contains(name) {
                    bump(held.entry(name).or_default(), milli);
                }
            }
            if !self.suspects.contains(id) && !agent.softs.fit(agent) {
                return Err(format!("agent {id:?}: soft offers exceed {}", agent.free));
            }
            if counted.free != agent.free {
                return Err(format!(
                    "agent {id:?}: {} is said to be free, {} is",
                    agent.free, counted.free
                ));
            }
            if counted.lent != agent.lent
                || agent.lent.is_empty() == self.lending.agents.contains(id)
            {
                return Err(format!(
                    "agent {id:?}: {:?} is said to be lent, {:?} is",
                    agent.lent, counted.lent
                ));
            }
        }
        held.retain(|_, milli| *milli != 0);
        let shares = self.tree.held();
        if held != shares {
            return Err(format!("agents hold {held:?}, shares say {shares:?}"));
        }
        for (role, counted) in self.count_consumption() {
            let kept = self.quotas.consumption(&self.tree, role);
            if kept.as_ref().is_some_and(|kept| *kept != counted) {
                return Err(format!("role {role} has {counted:?}, the books say {kept:?}"));
            }
        }
        self.check_shown()?;
        self.quotas.check(&self.tree)
    }

    /// Bytes that agents take, about.
    pub(crate) fn memory(&self) -> usize {
        // What agents share counts for each of them in part.
        let entries = |r: &Resources| r.iter().count() * 48 / r.copies();
        let agents = self.agents.values().map(|a| {
            size_of::<Agent>()
                + entries(&a.total)
                + entries(&a.free)
                + a.held.values().map(|r| 64 + entries(r)).sum::<usize>()
                + a.options.hostname.len()
                + a.options.attributes.len() * size_of::<wire::v1::Attribute>()
                + a.options.capabilities.len() * 16
                + a.filters.bytes()
                + a.softs.bytes()
                + a.turns.bytes()
                + 48
        });
        agents.sum()
    }
}
