//! A cycle: agent after agent, role after role, framework after framework, who is due is offered what is free.

use crate::agent::Agent;
use crate::decide::Circumstances;
use crate::filters::Filters;
use crate::hierarchical::Hierarchical;
use crate::overlap::Overlap;
use crate::tree::Seat;
use crate::{AgentId, Allocation, FrameworkId};
use base::{Now, Rng, Time};
use resources::Resources;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What one framework is offered on one agent.
struct Served {
    seat: Seat,
    resources: Resources,
    overlap: Overlap,
}

impl Hierarchical {
    /// Runs one cycle.
    pub(crate) fn cycle(&mut self, now: Now, rng: &mut Rng) -> Vec<Allocation> {
        let mut out = Vec::new();
        if self.paused {
            return out;
        }
        self.last_run = Some(now.mono);
        self.expire(now.mono);
        let mut dirty = std::mem::take(&mut self.dirty);
        let due = self.held_back.due(self.config.allocation_interval);
        if self.quotas.has_changed() && due.is_some_and(|at| at <= now.mono) {
            dirty.append(&mut self.held_back.take(now.mono));
            self.quotas.settle();
        }
        let mut agents: Vec<AgentId> = if std::mem::take(&mut self.all_dirty) {
            self.agents.keys().copied().collect()
        } else {
            dirty.into_iter().collect()
        };
        self.tree.refresh();
        self.quotas.refresh(&self.tree);
        if !self.quotas.is_empty() {
            rng.shuffle(&mut agents);
            for agent in &agents {
                self.allocate_agent(*agent, true, rng, &mut out);
            }
        }
        rng.shuffle(&mut agents);
        let guaranteed = out.len();
        for agent in agents {
            self.allocate_agent(agent, false, rng, &mut out);
        }
        merge(out, guaranteed)
    }

    pub(crate) fn is_listed(&self, agent: &Agent) -> bool {
        self.whitelist.as_ref().is_none_or(|hosts| hosts.contains(&agent.options.hostname))
    }

    /// Offers what is free on one agent, role after role, framework after framework, least share first.
    fn allocate_agent(
        &mut self,
        id: AgentId,
        is_first_stage: bool,
        rng: &mut Rng,
        out: &mut Vec<Allocation>,
    ) {
        let Some(agent) = self.agents.get(&id).filter(|a| a.is_candidate()) else { return };
        if !self.is_listed(agent) {
            return;
        }
        let mut served: Vec<Served> = Vec::new();
        let mut left: Option<Resources> = None;
        let mut softs = Cow::Borrowed(&agent.softs);
        let mut is_held_back = false;
        // What is served here counts for quota at once; the other books follow below.
        let mut quotas = std::mem::take(&mut self.quotas);
        let _ = self.tree.visit_roles(rng, &mut |role, rng| {
            if is_first_stage && !quotas.lacks(&self.tree, role) {
                return ControlFlow::Continue(());
            }
            let overlap = self.overlaps.of(&self.tree, role);
            self.tree.visit_seats(role, rng, &mut |seat| {
                let free = left.as_ref().unwrap_or(&agent.free);
                let wants = &self.wants[seat as usize];
                // Most refusals are of all that is free: they are found before anything is computed.
                if agent.filters.refuse(seat, wants.epoch, free).is_some() {
                    return ControlFlow::Continue(());
                }
                let visible = softs.visible(seat, overlap, free);
                if visible.is_empty() {
                    return ControlFlow::Continue(());
                }
                let framework = self.frameworks.get(&self.tree.framework_of(seat));
                let Some(framework) = framework else { return ControlFlow::Continue(()) };
                let circumstances = Circumstances {
                    config: &self.config,
                    tree: &self.tree,
                    quotas: &quotas,
                    is_first_stage,
                };
                let decided =
                    circumstances.decide(wants, &framework.options, role, agent, &visible);
                is_held_back |= circumstances.holds_back(&decided, &visible);
                let resources = match decided {
                    Err(_) => return ControlFlow::Continue(()),
                    Ok(None) if overlap.is_disjoint() && softs.is_empty() => {
                        let resources = left.take().unwrap_or_else(|| agent.free.clone());
                        served.push(Served { seat, resources, overlap });
                        return ControlFlow::Break(());
                    }
                    Ok(None) => visible.into_owned(),
                    Ok(Some(resources)) => resources,
                };
                if agent.filters.refuse(seat, wants.epoch, &resources).is_some() {
                    return ControlFlow::Continue(());
                }
                if !overlap.is_disjoint() {
                    softs.to_mut().add(seat, &resources, 1);
                    served.push(Served { seat, resources, overlap });
                    return ControlFlow::Continue(());
                }
                quotas.charge(&self.tree, role, &resources, 1);
                quotas.change_free(&self.tree, &resources, -1);
                let mut rest = free.clone();
                rest -= &resources;
                let is_over = rest.is_empty();
                left = Some(rest);
                served.push(Served { seat, resources, overlap });
                if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        for Served { seat, resources, overlap } in served {
            let (framework, role) = (self.tree.framework_of(seat), self.tree.role_of(seat));
            let name = self.tree.role_name(role).to_owned();
            let soft = !overlap.is_disjoint();
            if soft {
                let parts = self.parts(role, overlap);
                self.show(seat, id, &resources, parts, 1);
            }
            let resources = self.interner.allocate(&resources, role, &name);
            if !soft {
                self.hold(framework, id, &resources, 1);
            }
            out.push(Allocation { framework, role: name, agent: id, resources, soft });
        }
        self.quotas = quotas;
        if is_held_back {
            self.held_back.insert(id);
        }
    }

    /// Drops filters that have expired.
    fn expire(&mut self, now: Time) {
        while let Some((at, id)) = self.expiry.first().copied().filter(|(at, _)| *at <= now) {
            self.expiry.remove(&(at, id));
            let Some(agent) = self.agents.get_mut(&id) else { continue };
            let wants = &self.wants;
            if agent.filters.expire(now, |seat| wants[seat as usize].epoch) {
                self.dirty.insert(id);
            }
            agent.watched = agent.filters.next();
            self.expiry.extend(agent.watched.map(|at| (at, id)));
        }
    }

    pub(crate) fn refuse(
        &mut self,
        framework: FrameworkId,
        on: AgentId,
        resources: &Resources,
        until: Time,
    ) {
        for role in resources.allocation_roles().into_iter().flatten() {
            let part;
            let of_role = if resources.allocation_roles().len() == 1 {
                resources
            } else {
                part = resources.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
                &part
            };
            let plain = self.interner.unallocate(of_role);
            let seat = self.seat(framework, role);
            let epoch = self.wants[seat as usize].epoch;
            let Some(agent) = self.agents.get_mut(&on) else { return };
            agent.filters.add(seat, epoch, &plain, until);
            let expiry = Filters::expiry(until);
            if agent.watched.is_none_or(|at| expiry < at) {
                if let Some(old) = agent.watched.replace(expiry) {
                    self.expiry.remove(&(old, on));
                }
                self.expiry.insert((expiry, on));
            }
        }
    }
}

/// What a framework was offered on an agent in both stages is one offer.
fn merge(mut all: Vec<Allocation>, guaranteed: usize) -> Vec<Allocation> {
    if guaranteed == 0 {
        return all;
    }
    let mut merged: BTreeMap<(FrameworkId, AgentId, String, bool), Resources> = BTreeMap::new();
    for part in all.drain(..) {
        let key = (part.framework, part.agent, part.role, part.soft);
        *merged.entry(key).or_default() += &part.resources;
    }
    let allocation = |((framework, agent, role, soft), resources)| Allocation {
        framework,
        role,
        agent,
        resources,
        soft,
    };
    merged.into_iter().map(allocation).collect()
}
