//! Lending: what is kept for a role and idle is offered to others as revocable resources, last of all.
//!
//! A role is idle by its own word: nobody of it competes for a while, or refuses the agent for a while to come
//! (`--lending_min_idle`). Who wants its own back is in [`crate::recall`].

use crate::agent::Agent;
use crate::decide::Circumstances;
use crate::hierarchical::Hierarchical;
use crate::loans::{Amounts, firm, firm_of};
use crate::tree::Seat;
use crate::{AgentId, Allocation, Recall};
use base::{Now, Rng, Time};
use resources::{Milli, Resources};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// How often the time for which a role must be idle is doubled at most.
const DOUBLED_MAX: u32 = 8;

/// What lending knows besides what is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lending {
    /// Competing seats of frameworks that take revocable resources.
    borrowers: BTreeSet<Seat>,
    /// Those of them in which somebody stopped to compete since the last cycle, and those that are new.
    vacated: BTreeSet<u32>,
    /// Roles for which nobody competes, with since when.
    idle: BTreeMap<u32, Time>,
    /// When the next one of them has been idle for long enough.
    due: Option<Time>,
    /// Roles for which something is or was kept.
    owners: BTreeSet<u32>,
    /// How often roles wanted something back of an agent since they last used anything.
    in_vain: BTreeMap<(AgentId, u32), u32>,
    /// Agents of which something is lent.
    pub(crate) agents: BTreeSet<AgentId>,
    pub(crate) recalls: BTreeMap<AgentId, Recall>,
}

/// What is kept for these roles on an agent, and may be lent.
struct Loan {
    owners: BTreeSet<u32>,
    amounts: Amounts,
}

impl Lending {
    /// When a cycle is worth while for lending alone.
    pub(crate) fn next_run(&self, soon: Time) -> Option<Time> {
        let is_used = !self.borrowers.is_empty() || !self.recalls.is_empty();
        if is_used && !self.vacated.is_empty() {
            return Some(soon);
        }
        self.due.filter(|_| !self.borrowers.is_empty())
    }

    fn await_until(&mut self, at: Time) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Something is kept for a role from now on.
    pub(crate) fn keep_for(&mut self, role: u32) {
        self.owners.insert(role);
        self.vacated.insert(role);
    }

    /// A role wants something back of an agent. What it refuses then is lent again only when it is idle for longer: who
    /// revives and refuses by turns would end the tasks of others again and again.
    pub(crate) fn wanted_back(&mut self, agent: AgentId, role: u32) {
        *self.in_vain.entry((agent, role)).or_default() += 1;
    }

    /// A role used something of what it was offered.
    pub(crate) fn used(&mut self, role: u32) {
        if !self.in_vain.is_empty() {
            self.in_vain.retain(|(_, wanting), _| *wanting != role);
        }
    }

    /// What is lent of an agent was counted anew.
    pub(crate) fn note(&mut self, id: AgentId, agent: &Agent) {
        if agent.lent.is_empty() {
            self.agents.remove(&id);
        } else {
            self.agents.insert(id);
        }
    }

    pub(crate) fn forget_agent(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.recalls.remove(&agent);
        self.in_vain.retain(|(on, _), _| *on != agent);
    }

    /// How many times as long a role must be idle.
    fn patience(&self, agent: AgentId, role: u32) -> u32 {
        1 << self.in_vain.get(&(agent, role)).copied().unwrap_or(0).min(DOUBLED_MAX)
    }
}

impl Hierarchical {
    /// A seat competes from now on, or not.
    pub(crate) fn compete(&mut self, seat: Seat, active: bool) -> bool {
        let has_changed = self.tree.set_active(seat, active);
        let role = self.tree.role_of(seat);
        if active && self.wants[seat as usize].takes_revocable() {
            self.lending.borrowers.insert(seat);
        } else {
            self.lending.borrowers.remove(&seat);
        }
        if active {
            for role in self.tree.chain(role) {
                self.lending.idle.remove(&role);
            }
        } else if has_changed && self.tree.chain(role).any(|r| self.lending.owners.contains(&r)) {
            self.lending.vacated.insert(role);
        }
        has_changed
    }

    /// The agent has these now: reservations on it may be lent.
    pub(crate) fn vacate_owners(&mut self, total: &Resources) {
        for owner in total.iter().filter_map(resources::Entry::reserved_to) {
            if let Some(role) = self.tree.known_role(owner) {
                self.lending.keep_for(role);
            }
        }
    }

    /// Begins to count for how long roles are idle; whether all agents are to be looked at for what may be lent.
    pub(crate) fn note_idle(&mut self, now: Time) -> bool {
        let at = now + self.config.lending_min_idle;
        let mut is_everywhere = false;
        for role in std::mem::take(&mut self.lending.vacated) {
            // Those who stay may have refused for long.
            is_everywhere |= self.tree.active_below(role) > 0;
            for role in self.tree.chain(role).filter(|r| self.tree.active_below(*r) == 0) {
                if let Entry::Vacant(entry) = self.lending.idle.entry(role) {
                    entry.insert(now);
                    self.lending.await_until(at);
                }
            }
        }
        if self.lending.due.is_some_and(|at| at <= now) {
            self.lending.due = None;
            is_everywhere = true;
        }
        is_everywhere
    }

    /// The last stage of a cycle: lends what is idle on these agents.
    pub(crate) fn lend(
        &mut self,
        now: Now,
        agents: &[AgentId],
        is_everywhere: bool,
        rng: &mut Rng,
        out: &mut Vec<Allocation>,
    ) {
        if !self.config.lending || self.lending.borrowers.is_empty() {
            return;
        }
        let all: Vec<AgentId>;
        let agents = if is_everywhere {
            all = self.agents.keys().copied().collect();
            &all
        } else {
            agents
        };
        for id in agents {
            let loans = self.lendable(now.mono, *id);
            if !loans.is_empty() {
                self.lend_on(*id, &loans, rng, out);
            }
        }
    }

    /// What may be lent of an agent, what is lent already included.
    fn lendable(&mut self, now: Time, id: AgentId) -> Vec<Loan> {
        let Some(agent) = self.agents.get(&id).filter(|a| a.is_candidate()) else {
            return Vec::new();
        };
        if agent.traits.is_plain && self.quotas.is_empty()
            || self.lending.recalls.contains_key(&id)
            || !self.is_listed(agent)
        {
            return Vec::new();
        }
        let mut kept: BTreeMap<BTreeSet<u32>, Amounts> = BTreeMap::new();
        let mut keep = |owners: BTreeSet<u32>, name: &str, milli: Milli| {
            *kept.entry(owners).or_default().entry(name.to_owned()).or_default() += milli;
        };
        let mut unreserved = Amounts::new();
        for entry in agent.free.iter() {
            let Some(milli) = firm(entry) else { continue };
            let name = &entry.identity.name;
            match entry.reserved_to() {
                None => *unreserved.entry(name.clone()).or_default() += milli,
                Some(owner) => keep(self.tree.known_role(owner).into_iter().collect(), name, milli),
            }
        }
        for (name, milli) in unreserved.iter().filter(|_| !self.quotas.is_empty()) {
            let headroom = self.quotas.spare(&self.tree, name).map_or(0, |spare| milli - spare);
            let owners = self.quotas.lacking(&self.tree, name);
            if headroom > 0 && !owners.is_empty() {
                keep(owners, name, headroom);
            }
        }
        let loans = kept.into_iter().map(|(owners, amounts)| Loan { owners, amounts });
        let loans: Vec<Loan> = loans.collect();
        loans.into_iter().filter(|l| l.owners.iter().all(|o| self.is_idle(now, *o, id))).collect()
    }

    /// Whether nobody of a role wants what is kept for it on an agent.
    fn is_idle(&mut self, now: Time, role: u32, on: AgentId) -> bool {
        let enough = self.config.lending_min_idle * self.lending.patience(on, role);
        if self.tree.active_below(role) == 0 {
            let since = *self.lending.idle.entry(role).or_insert(now);
            let at = since + enough;
            if at > now {
                self.lending.await_until(at);
            }
            return at <= now;
        }
        let Some(agent) = self.agents.get(&on) else { return false };
        let circumstances =
            Circumstances { ignores_loans: true, ..self.circumstances(&self.quotas) };
        self.tree.seats_below(role).into_iter().all(|seat| {
            let framework = self.frameworks.get(&self.tree.framework_of(seat));
            let Some(framework) = framework else { return true };
            let (wants, role) = (&self.wants[seat as usize], self.tree.role_of(seat));
            let decided = circumstances.decide(wants, &framework.options, role, agent, &agent.free);
            let Ok(part) = decided else { return true };
            let wanted = part.as_ref().unwrap_or(&agent.free);
            let refused = agent.filters.refuse(seat, wants.voided, wanted);
            refused.is_some_and(|until| until >= now + enough)
        })
    }

    fn lend_on(&mut self, id: AgentId, loans: &[Loan], rng: &mut Rng, out: &mut Vec<Allocation>) {
        let Some(agent) = self.agents.get(&id) else { return };
        let circumstances =
            Circumstances { ignores_loans: true, ..self.circumstances(&self.quotas) };
        let shown = agent.softs.union();
        let mut lent = agent.lent.clone();
        let mut served: Vec<(Seat, Resources)> = Vec::new();
        let _ = self.tree.visit_roles(rng, &mut |role, rng| {
            let own: BTreeSet<u32> = self.tree.chain(role).collect();
            let mut idle = Amounts::new();
            // Who has a part in something does not borrow it from itself.
            for loan in loans.iter().filter(|l| l.owners.is_disjoint(&own)) {
                for (name, milli) in &loan.amounts {
                    *idle.entry(name.clone()).or_default() += milli;
                }
            }
            self.tree.visit_seats(role, rng, &mut |seat| {
                if !self.lending.borrowers.contains(&seat) {
                    return ControlFlow::Continue(());
                }
                let mut offered = Resources::new();
                for (name, idle) in &idle {
                    let lent = lent.get(name).copied().unwrap_or(0);
                    let there = firm_of(&agent.free, name) - firm_of(&shown, name);
                    offered.add(resources::Entry::revocable_scalar(name, there.min(*idle) - lent));
                }
                let framework = self.frameworks.get(&self.tree.framework_of(seat));
                let Some(framework) = framework.filter(|_| !offered.is_empty()) else {
                    return ControlFlow::Continue(());
                };
                let wants = &self.wants[seat as usize];
                let decided =
                    circumstances.decide(wants, &framework.options, role, agent, &offered);
                let Ok(part) = decided else { return ControlFlow::Continue(()) };
                let part = part.unwrap_or(offered);
                if agent.filters.refuse(seat, wants.voided, &part).is_some() {
                    return ControlFlow::Continue(());
                }
                for entry in part.iter() {
                    *lent.entry(entry.identity.name.clone()).or_default() += entry.value.quantity();
                }
                served.push((seat, part));
                ControlFlow::Continue(())
            })
        });
        for (seat, part) in served {
            let (framework, role) = (self.tree.framework_of(seat), self.tree.role_of(seat));
            let role = self.tree.role_name(role).to_owned();
            let resources = part.allocated_to(&role);
            self.hold(framework, id, &resources, 1);
            out.push(Allocation { framework, role, agent: id, resources, soft: false });
        }
    }
}
