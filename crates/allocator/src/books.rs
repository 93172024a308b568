//! The books of what frameworks hold: of agents, shares and quota together.

use crate::hierarchical::Hierarchical;
use crate::tree::{Seat, bump};
use crate::{AgentId, FrameworkId};
use resources::{Entry, Milli, Resources, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

impl Hierarchical {
    /// A framework got (sign 1) or gave back (sign -1) resources of an agent.
    pub(crate) fn hold(&mut self, id: FrameworkId, on: AgentId, resources: &Resources, sign: i64) {
        let roles = resources.allocation_roles();
        let counted = self.counted(id, on, resources, sign);
        let mut seat = 0;
        for role in roles.iter().flatten() {
            seat = self.seat(id, role);
            if roles.len() == 1 {
                self.tree.change(seat, &counted, sign);
            } else {
                let part = counted.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
                self.tree.change(seat, &part, sign);
            }
        }
        // A shared volume is there for the next as well.
        let is_shared = resources.iter().any(|e| e.identity.shared);
        let plain = if is_shared {
            self.interner.unallocate(&resources.nonshared())
        } else {
            self.interner.unallocate(resources)
        };
        self.book(seat, id, on, resources, plain, sign);
    }

    /// What is offered to a seat is held; `plain` is the same without allocation info.
    pub(crate) fn give(
        &mut self,
        seat: Seat,
        on: AgentId,
        resources: &Resources,
        mut plain: Resources,
    ) {
        let framework = self.tree.framework_of(seat);
        let counted = self.counted(framework, on, resources, 1);
        self.tree.change(seat, &counted, 1);
        if plain.iter().any(|e| e.identity.shared) {
            plain = plain.nonshared();
        }
        self.book(seat, framework, on, resources, plain, 1);
    }

    /// What counts for the share of a framework that gets (sign 1) or gives back (sign -1) resources: a shared one only if
    /// it had none of it before, or has none after (spec/master.md 4.4).
    fn counted<'a>(
        &self,
        id: FrameworkId,
        on: AgentId,
        resources: &'a Resources,
        sign: i64,
    ) -> Cow<'a, Resources> {
        if !resources.iter().any(|e| e.identity.shared) {
            return Cow::Borrowed(resources);
        }
        let held = self.agents.get(&on).and_then(|agent| agent.held.get(&id));
        let mut others = held.map(Resources::shared).unwrap_or_default();
        if sign < 0 {
            others -= &resources.shared();
        }
        let is_new = |e: &Entry| !e.identity.shared || !others.iter().any(|other| other == e);
        Cow::Owned(resources.each_once().filter(is_new))
    }

    /// All books but that of shares. `plain`: without allocation info and shared resources.
    fn book(
        &mut self,
        seat: Seat,
        id: FrameworkId,
        on: AgentId,
        resources: &Resources,
        plain: Resources,
        sign: i64,
    ) {
        if !self.quotas.is_empty() {
            self.charge(resources, sign);
        }
        let Some(agent) = self.agents.get_mut(&on) else { return };
        if sign > 0 && !agent.softs.is_empty() {
            self.suspects.insert(on);
        }
        let held = agent.held.entry(id).or_default();
        if sign > 0 {
            agent.turns.serve(seat, self.last_run.unwrap_or_default());
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
            agent.free = interner.share(std::mem::take(&mut agent.free));
            self.lending.note(on, agent);
        } else if sign > 0 {
            agent.free -= &plain;
        } else if agent.free.is_empty() {
            agent.free = plain;
        } else {
            agent.free += &plain;
            agent.free = interner.share(std::mem::take(&mut agent.free));
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

    /// What counts for quota of each role that has something: reservations to it and those below it, and unreserved
    /// scalars that they hold.
    pub(crate) fn count_consumption(&self) -> BTreeMap<u32, BTreeMap<String, Milli>> {
        let mut counted: BTreeMap<u32, BTreeMap<String, Milli>> = BTreeMap::new();
        let mut count = |role: &str, entry: &Entry| {
            let Value::Scalar(milli) = entry.value else { return };
            for role in self.tree.known_role(role).into_iter().flat_map(|r| self.tree.chain(r)) {
                let of_role = counted.entry(role).or_default();
                bump(of_role.entry(entry.identity.name.clone()).or_default(), milli);
            }
        };
        for agent in self.agents.values() {
            for entry in agent.total.iter() {
                entry.reserved_to().into_iter().for_each(|role| count(role, entry));
            }
            let held = agent.held.values().flat_map(Resources::iter);
            for entry in held.filter(|e| e.is_quota_charged()) {
                entry.identity.allocated_to.iter().for_each(|role| count(role, entry));
            }
        }
        counted
    }

    /// An agent's total or use was changed as a whole.
    pub(crate) fn recount(&mut self, id: AgentId) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let interner = &mut self.interner;
        let old = agent.free.clone();
        agent.recount(&mut |r| interner.unallocate(r));
        agent.free = interner.share(std::mem::take(&mut agent.free));
        self.lending.note(id, agent);
        if !agent.softs.is_empty() {
            self.suspects.insert(id);
        }
        if !self.quotas.is_empty() {
            self.quotas.change_free(&self.tree, &old, -1);
            self.quotas.change_free(&self.tree, &agent.free, 1);
        }
    }
}
