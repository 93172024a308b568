//! The books of what frameworks hold: of agents, shares and quota together.

use crate::hierarchical::Hierarchical;
use crate::{AgentId, FrameworkId};
use resources::Resources;

impl Hierarchical {
    /// A framework got (sign 1) or gave back (sign -1) resources of an agent.
    pub(crate) fn hold(&mut self, id: FrameworkId, on: AgentId, resources: &Resources, sign: i64) {
        for role in resources.allocation_roles().into_iter().flatten() {
            let seat = self.seat(id, role);
            if resources.allocation_roles().len() == 1 {
                self.tree.change(seat, resources, sign);
            } else {
                let part = resources.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
                self.tree.change(seat, &part, sign);
            }
        }
        if !self.quotas.is_empty() {
            self.charge(resources, sign);
        }
        let Some(agent) = self.agents.get_mut(&on) else { return };
        if sign > 0 && !agent.softs.is_empty() {
            self.suspects.insert(on);
        }
        let held = agent.held.entry(id).or_default();
        if sign > 0 {
            *held += resources;
        } else {
            *held -= resources;
            if held.is_empty() {
                agent.held.remove(&id);
            }
        }
        let interner = &mut self.interner;
        let old = (!self.quotas.is_empty()).then(|| agent.free.clone());
        if agent.overcommitted || resources.iter().any(|e| e.identity.revocable) {
            agent.recount(&mut |r| interner.unallocate(r));
        } else {
            // A shared volume is there for the next as well.
            let plain = interner.unallocate(&resources.nonshared());
            if sign > 0 {
                agent.free -= &plain;
            } else if agent.free.is_empty() {
                agent.free = plain;
            } else {
                agent.free += &plain;
            }
        }
        if let Some(old) = old {
            self.quotas.change_free(&self.tree, &old, -1);
            self.quotas.change_free(&self.tree, &agent.free, 1);
        }
    }

    fn charge(&mut self, resources: &Resources, sign: i64) {
        for role in resources.allocation_roles().into_iter().flatten() {
            let part = resources.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
            let number = self.tree.role(role);
            self.quotas.charge(&self.tree, number, &part, sign);
        }
    }

    /// Counts the books of quota anew.
    pub(crate) fn count_quotas(&mut self) {
        if self.quotas.is_empty() {
            return;
        }
        for agent in self.agents.values() {
            self.quotas.change_total(&self.tree, &agent.total, 1);
            self.quotas.change_free(&self.tree, &agent.free, 1);
            for resources in agent.held.values() {
                for role in resources.allocation_roles().into_iter().flatten() {
                    let part =
                        resources.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
                    let number = self.tree.role(role);
                    self.quotas.charge(&self.tree, number, &part, 1);
                }
            }
        }
        self.quotas.refresh(&self.tree);
    }

    /// An agent's total or use was changed as a whole.
    pub(crate) fn recount(&mut self, id: AgentId) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let interner = &mut self.interner;
        let old = agent.free.clone();
        agent.recount(&mut |r| interner.unallocate(r));
        if !agent.softs.is_empty() {
            self.suspects.insert(id);
        }
        if !self.quotas.is_empty() {
            self.quotas.change_free(&self.tree, &old, -1);
            self.quotas.change_free(&self.tree, &agent.free, 1);
        }
    }
}
