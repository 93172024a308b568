//! A cycle: agent after agent, role after role, framework after framework, who is due is offered what is free.

use crate::agent::Agent;
use crate::decide::is_enough;
use crate::decisions::Recorder;
use crate::filters::Filters;
use crate::hierarchical::Hierarchical;
use crate::quota::Quotas;
use crate::serve::{Served, Serving};
use crate::{AgentId, Allocation, FrameworkId, Reason};
use base::{Now, Rng, Time};
use resources::Resources;
use std::collections::BTreeMap;

/// One of the two stages of a cycle: what is guaranteed, then the rest.
#[derive(Debug, Clone, Copy)]
struct Stage {
    is_first: bool,
    now: Time,
}

impl Hierarchical {
    /// Runs one cycle.
    pub(crate) fn cycle(&mut self, now: Now, rng: &mut Rng) -> Vec<Allocation> {
        let mut out = Vec::new();
        self.last_run = Some(now.mono);
        self.fair.take();
        self.expire(now.mono);
        let mut dirty = std::mem::take(&mut self.dirty);
        let due = self.held_back.due(self.config.allocation_interval);
        if self.quotas.has_changed() && due.is_some_and(|at| at <= now.mono) {
            dirty.append(&mut self.held_back.take(now.mono));
            self.quotas.settle();
        }
        let is_full = self.all_dirty && self.full_due() <= now.mono;
        let mut agents: Vec<AgentId> = if is_full {
            self.all_dirty = false;
            self.last_full = Some(now.mono);
            self.agents.keys().copied().collect()
        } else {
            dirty.into_iter().collect()
        };
        self.seat_joining(now.mono);
        self.tree.refresh();
        self.quotas.refresh(&self.tree);
        let is_idle_elsewhere = self.note_idle(now.mono);
        // What is offered is charged by who serves it, not by the books.
        let mut quotas = std::mem::take(&mut self.quotas);
        let mut recorder = std::mem::take(&mut self.recorder);
        if quotas.any_lacks() {
            rng.shuffle(&mut agents);
            for agent in &agents {
                let stage = Stage { is_first: true, now: now.mono };
                self.allocate_agent(stage, *agent, &mut quotas, &mut recorder, rng, &mut out);
            }
        }
        rng.shuffle(&mut agents);
        let guaranteed = out.len();
        for agent in &agents {
            let stage = Stage { is_first: false, now: now.mono };
            self.allocate_agent(stage, *agent, &mut quotas, &mut recorder, rng, &mut out);
        }
        (self.quotas, self.recorder) = (quotas, recorder);
        self.recall(&agents, rng);
        let shared = out.len();
        self.lend(now, &agents, is_idle_elsewhere, rng, &mut out);
        if guaranteed == 0 && shared == out.len() { out } else { merge(out) }
    }

    pub(crate) fn is_listed(&self, agent: &Agent) -> bool {
        self.whitelist.as_ref().is_none_or(|hosts| hosts.contains(&agent.options.hostname))
    }

    /// Offers what is free on one agent.
    fn allocate_agent(
        &mut self,
        Stage { is_first: is_first_stage, now }: Stage,
        id: AgentId,
        quotas: &mut Quotas,
        recorder: &mut Recorder,
        rng: &mut Rng,
        out: &mut Vec<Allocation>,
    ) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.filters.drop_void(self.voidings, |seat| self.wants[seat as usize].voided);
        let Some(agent) = self.agents.get(&id) else { return };
        let has_enough = is_enough(&agent.free, &self.config.min_allocatable);
        let reason = if !agent.active || agent.overcommitted {
            Some(Reason::AgentInactive)
        } else if !self.is_listed(agent) {
            Some(Reason::NotListed)
        } else {
            // Of most agents of a busy cluster too little is left for anybody: nobody needs to be asked.
            let is_used_up = agent.traits.is_plain
                && !has_enough
                && self.own_minimums.is_empty()
                && !self.is_too_little(&agent.total);
            (agent.free.is_empty() || is_used_up).then_some(Reason::Taken)
        };
        if let Some(reason) = reason {
            if !is_first_stage {
                recorder.note_all(reason);
            }
            return;
        }
        if !is_first_stage {
            recorder.note_served();
        }
        let mut serving = Serving::new(self, id, agent, quotas, is_first_stage, recorder);
        serving.has_enough = has_enough;
        serving.serve(now, rng);
        let Serving { served, is_held_back, is_settled, is_round_over, .. } = serving;
        let length = self.config.aimed_time_to_offer();
        if (is_settled || !served.is_empty())
            && let Some(agent) = self.agents.get_mut(&id)
        {
            served.iter().for_each(|s| agent.turns.take(s.seat, now, length));
            // In the first stage only some are served.
            if is_round_over && !is_first_stage && !served.is_empty() {
                agent.turns.end_round();
            }
            if is_settled {
                agent.turns.settle();
            }
        }
        for Served { seat, resources, overlap } in served {
            let (framework, role) = (self.tree.framework_of(seat), self.tree.role_of(seat));
            let name = self.tree.role_name(role).to_owned();
            let soft = !overlap.is_disjoint();
            if soft {
                let parts = self.parts(role, overlap);
                self.show(seat, id, &resources, parts, 1);
            }
            let plain = resources;
            let resources = self.interner.allocate(&plain, role, &name);
            if !soft {
                self.give(seat, id, &resources, plain);
            }
            out.push(Allocation { framework, role: name, agent: id, resources, soft });
        }
        if is_held_back {
            self.held_back.insert(id);
        }
    }

    /// Drops filters that have expired.
    fn expire(&mut self, now: Time) {
        while let Some((at, id)) = self.expiry.first().copied().filter(|(at, _)| *at <= now) {
            self.expiry.remove(&(at, id));
            let Some(agent) = self.agents.get_mut(&id) else { continue };
            if agent.filters.expire(now) {
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
            let Some(agent) = self.agents.get_mut(&on) else { return };
            agent.filters.drop_void(self.voidings, |seat| self.wants[seat as usize].voided);
            agent.filters.add(seat, &plain, until);
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

/// What a framework was offered on an agent in all stages is one offer.
fn merge(mut all: Vec<Allocation>) -> Vec<Allocation> {
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
