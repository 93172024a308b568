//! What was lent is wanted back: by whom it is reserved for, by whom a guarantee entitles to it, or by anybody if it is
//! kept for nobody any more.
//!
//! A recall holds until there is nobody any more who wants what is lent: it came back, or its owner has lost interest.

use crate::agent::Agent;
use crate::decide::Circumstances;
use crate::hierarchical::Hierarchical;
use crate::loans::{Amounts, firm, firm_of};
use crate::quota::Quotas;
use crate::{AgentId, Reason, Recall};
use base::Rng;
use resources::{Entry, Milli, Resources, Value};
use std::ops::ControlFlow;

impl Recall {
    /// What a role has to leave to those for whom it is kept.
    pub(crate) fn before(&self, role: &str) -> Amounts {
        let mut before = Amounts::new();
        let others = self.owed.iter().filter(|(owner, _)| *owner != role);
        for (name, milli) in others.flat_map(|(_, owed)| owed) {
            *before.entry(name.clone()).or_default() += milli;
        }
        before
    }

    /// A role is offered something: what it wanted back of that, it has.
    pub(crate) fn serve(&mut self, role: &str, resources: &Resources) {
        for (name, milli) in self.owed.get_mut(role).into_iter().flatten() {
            *milli = (*milli - firm_of(resources, name)).max(0);
        }
    }
}

/// So much of a scalar that is not reserved.
fn unreserved(resources: &Resources, name: &str, mut milli: Milli) -> Resources {
    let mut out = Resources::new();
    for entry in resources.iter() {
        let is_plain = entry.identity.reservations.is_empty() && entry.identity.name == name;
        if let Some(there) = firm(entry).filter(|_| is_plain) {
            let part = there.min(milli);
            milli -= part;
            out.add(Entry { identity: entry.identity.clone(), value: Value::Scalar(part) });
        }
    }
    out
}

impl Hierarchical {
    /// Finds out anew what is wanted back on these agents, and on those from which something is wanted already.
    pub(crate) fn recall(&mut self, agents: &[AgentId], rng: &mut Rng) {
        if self.lending.agents.is_empty() {
            self.lending.recalls.clear();
            return;
        }
        let before = std::mem::take(&mut self.lending.recalls);
        // Those come first, who give back most before others: what they give back need not come from elsewhere.
        let mut standing: Vec<(&AgentId, &Recall)> = before.iter().collect();
        standing.sort_by_key(|(_, recall)| std::cmp::Reverse(recall.wanted.values().sum::<i64>()));
        let standing = standing.into_iter().map(|(id, _)| id);
        let others = agents.iter().filter(|id| !before.contains_key(id));
        let is_lent = |id: &&AgentId| self.lending.agents.contains(id);
        let agents: Vec<AgentId> = standing.chain(others).filter(is_lent).copied().collect();
        if agents.is_empty() {
            return;
        }
        // What will come back counts for quota, but only here.
        let mut quotas = self.quotas.clone();
        for id in agents {
            let recall = self.wanted_back(id, &mut quotas, rng);
            if before
                .get(&id)
                .is_some_and(|known| (&known.wanted, &known.owed) != (&recall.wanted, &recall.owed))
            {
                // What was left to those who wanted it may be for others now.
                self.dirty.insert(id);
            }
            if recall.wanted.is_empty() {
                continue;
            }
            let known = before.get(&id).map(|recall| &recall.roles);
            for role in recall.roles.iter().filter(|r| known.is_none_or(|k| !k.contains(*r))) {
                let number = self.tree.role(role);
                for role in self.tree.chain(number) {
                    self.lending.wanted_back(id, role);
                }
            }
            self.lending.recalls.insert(id, recall);
        }
    }

    /// What is lent of an agent although it is kept for nobody any more: a guarantee was lowered or met elsewhere, or the
    /// agent oversubscribes less than before.
    fn unkept(&self, agent: &Agent) -> Amounts {
        let reserved = agent.free.filter(|e| !e.identity.reservations.is_empty());
        let unkept = agent.lent.iter().map(|(name, lent)| {
            let reserved = firm_of(&reserved, name);
            let headroom = firm_of(&agent.free, name) - reserved;
            let headroom = headroom.min(self.quotas.needed(&self.tree, name));
            (name.clone(), lent - reserved - headroom)
        });
        unkept.filter(|(_, milli)| *milli > 0).collect()
    }

    fn wanted_back(&self, id: AgentId, quotas: &mut Quotas, rng: &mut Rng) -> Recall {
        let mut recall = Recall::default();
        let Some(agent) = self.agents.get(&id).filter(|a| a.is_candidate()) else { return recall };
        if !self.is_listed(agent) {
            return recall;
        }
        let (mut left, mut lent) = (agent.free.clone(), agent.lent.clone());
        let mut unkept = self.unkept(agent);
        let tree = &self.tree;
        let _ = tree.visit_roles(rng, &mut |role, rng| {
            tree.visit_seats(role, rng, &mut |seat| {
                let wants = &self.wants[seat as usize];
                let refuses = |r: &Resources| agent.filters.refuse(seat, wants.voided, r).is_some();
                let overlap = self.overlaps.of(tree, role);
                let visible = agent.softs.visible(seat, overlap, &left);
                let framework = self.frameworks.get(&tree.framework_of(seat));
                let Some(framework) = framework.filter(|_| !refuses(&visible)) else {
                    return ControlFlow::Continue(());
                };
                let in_stage = |is_first_stage| {
                    let circumstances = Circumstances {
                        is_first_stage,
                        ignores_loans: true,
                        ..self.circumstances(quotas)
                    };
                    circumstances.decide(wants, &framework.options, role, agent, &visible)
                };
                let mut decided = in_stage(quotas.lacks(tree, role));
                if decided == Err(Reason::Satisfied) {
                    decided = in_stage(false);
                }
                let Ok(part) = decided else { return ControlFlow::Continue(()) };
                let part = part.as_ref().unwrap_or(&visible);
                if refuses(part) {
                    return ControlFlow::Continue(());
                }
                // Its reservations, and what it lacks of its guarantees; of other loans only what is kept for nobody.
                let due = part.capped(|name| Some(quotas.lack(tree, role, name)));
                let mut claimed = Amounts::new();
                for (name, lent) in &mut lent {
                    let own = firm_of(&due, name);
                    let there = firm_of(&left, name) - *lent;
                    let mut missing = (own - there).min(*lent).max(0);
                    let owed = missing;
                    if let Some(unkept) = unkept.get_mut(name) {
                        let more = firm_of(part, name) - own - (there + missing - own).max(0);
                        let more = more.min(*unkept).min(*lent - missing).max(0);
                        *unkept -= more;
                        // Whose turn it is and who has borrowed it already keeps it: nobody's tasks end so that it is
                        // offered the same for good.
                        let borrowed = agent.borrowed(tree.framework_of(seat));
                        let borrowed = borrowed.get(name).copied().unwrap_or(0);
                        let more = (more - borrowed).max(0);
                        missing += more;
                        claimed.insert(name.clone(), more);
                    }
                    if missing > 0 {
                        *lent -= missing;
                        *recall.wanted.entry(name.clone()).or_default() += missing;
                        recall.roles.insert(tree.role_name(role).to_owned());
                    }
                    if owed > 0 {
                        let of_role = recall.owed.entry(tree.role_name(role).to_owned());
                        *of_role.or_default().entry(name.clone()).or_default() += owed;
                    }
                }
                quotas.charge(tree, role, &due, 1);
                left -= &due;
                for (name, more) in claimed {
                    left -= &unreserved(&left, &name, more);
                }
                ControlFlow::Continue(())
            })
        });
        recall
    }
}
