//! Hierarchical weighted DRF (spec/master.md 4.4), driven by events: a cycle looks only at agents on which something
//! changed, or at all when a framework began to want more.

use crate::filters::Filters;
use crate::shares::Shares;
use crate::{AgentId, AgentOptions, Allocation, Allocator, Config, FrameworkId, FrameworkOptions};
use base::{Now, Rng, Time};
use resources::{Entry, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::v1::agent_info::capability::Type as AgentCapability;
use wire::v1::framework_info::capability::Type as FrameworkCapability;

/// Longest refusal (spec/master.md 1.2).
const REFUSE_MAX: Duration = Duration::from_secs(365 * 86400);

#[derive(Debug, Clone)]
struct Framework {
    options: FrameworkOptions,
    active: bool,
}

#[derive(Debug, Clone)]
struct Agent {
    options: AgentOptions,
    total: Resources,
    /// Without allocation info.
    free: Resources,
    /// With allocation info.
    held: BTreeMap<FrameworkId, Resources>,
    /// More is held than there is: the agent came back with less.
    overcommitted: bool,
    active: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Hierarchical {
    config: Config,
    frameworks: BTreeMap<FrameworkId, Framework>,
    agents: BTreeMap<AgentId, Agent>,
    shares: Shares,
    filters: Filters,
    /// Agents on which something changed.
    dirty: BTreeSet<AgentId>,
    all_dirty: bool,
    last_run: Option<Time>,
}

impl Hierarchical {
    pub(crate) fn new(config: Config) -> Self {
        let shares = Shares::new(config.fair_sharing_excluded.clone(), config.weights.clone());
        Self {
            config,
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            shares,
            filters: Filters::default(),
            dirty: BTreeSet::new(),
            all_dirty: false,
            last_run: None,
        }
    }

    /// Lets a framework compete in exactly the roles in which it wants offers.
    fn refresh_activity(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.get(&id) else { return };
        let (roles, active) = (framework.options.roles.clone(), framework.active);
        let suppressed = framework.options.suppressed.clone();
        for role in roles {
            let number = self.shares.role(&role);
            self.shares.set_active(id, number, active && !suppressed.contains(&role));
        }
    }

    fn hold(&mut self, id: FrameworkId, agent: AgentId, resources: &Resources, sign: i64) {
        for role in resources.allocation_roles().into_iter().flatten() {
            let part = resources.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
            let number = self.shares.role(role);
            self.shares.change(id, number, &part, sign);
        }
        let Some(agent) = self.agents.get_mut(&agent) else { return };
        // A shared volume is there for the next as well.
        let plain = resources.unallocated().nonshared();
        let held = agent.held.entry(id).or_default();
        if sign > 0 {
            *held += resources;
            agent.free -= &plain;
        } else {
            *held -= resources;
            if held.is_empty() {
                agent.held.remove(&id);
            }
            if agent.overcommitted {
                agent.recount();
            } else {
                agent.free += &plain;
            }
        }
    }

    /// What may be offered of `free`; None if nothing worthwhile.
    fn offerable(&self, framework: &Framework, role: &str, agent: &Agent) -> Option<Resources> {
        let has = |capability| framework.options.capabilities.contains(&capability);
        let agent_has = |capability| agent.options.capabilities.contains(&capability);
        if has(FrameworkCapability::MultiRole) && !agent_has(AgentCapability::MultiRole) {
            return None;
        }
        if role.contains('/') && !agent_has(AgentCapability::HierarchicalRole) {
            return None;
        }
        if self.config.filter_gpu_resources
            && !has(FrameworkCapability::GpuResources)
            && agent.total.scalar("gpus") > 0
        {
            return None;
        }
        if self.is_remote(&agent.options) && !has(FrameworkCapability::RegionAware) {
            return None;
        }
        if !framework.options.constraints.allow(role, &agent.options) {
            return None;
        }
        let takes = |e: &Entry| {
            (has(FrameworkCapability::RevocableResources) || !e.identity.revocable)
                && (has(FrameworkCapability::SharedResources) || !e.identity.shared)
                && (has(FrameworkCapability::ReservationRefinement)
                    || e.identity.reservations.len() < 2)
        };
        let resources = agent.free.allocatable_to(role).filter(takes);
        let quantities = resources.quantities();
        let alternatives =
            framework.options.min_allocatable.get(role).unwrap_or(&self.config.min_allocatable);
        let worthwhile =
            alternatives.is_empty() || alternatives.iter().any(|q| quantities.contains(q));
        (worthwhile && !resources.is_empty()).then_some(resources)
    }

    fn is_remote(&self, agent: &AgentOptions) -> bool {
        let region = |domain: &Option<wire::v1::DomainInfo>| {
            domain.as_ref().and_then(|d| d.fault_domain.as_ref()).map(|d| d.region.name.clone())
        };
        match (region(&self.config.domain), region(&agent.domain)) {
            (Some(mine), Some(theirs)) => mine != theirs,
            _ => false,
        }
    }

    /// Offers what is free on one agent, role after role, framework after framework, least share first.
    fn allocate_agent(&mut self, id: AgentId, out: &mut Vec<Allocation>) {
        let Some(agent) = self.agents.get(&id).filter(|a| a.is_candidate()) else {
            return;
        };
        let mut served: Vec<(FrameworkId, u32, Resources)> = Vec::new();
        let mut left = agent.clone_free();
        'roles: for role in self.shares.roles_in_order() {
            let name = self.shares.role_name(role);
            for framework_id in self.shares.frameworks(role) {
                if left.free.is_empty() {
                    break 'roles;
                }
                let Some(framework) = self.frameworks.get(&framework_id) else { continue };
                let Some(resources) = self.offerable(framework, name, &left) else { continue };
                if self.filters.refuse(id, (framework_id, role), &resources) {
                    continue;
                }
                left.free -= &resources;
                served.push((framework_id, role, resources));
            }
        }
        for (framework, role, resources) in served {
            let role = self.shares.role_name(role).to_owned();
            let resources = resources.allocated_to(&role);
            self.hold(framework, id, &resources, 1);
            out.push(Allocation { framework, role, agent: id, resources });
        }
    }
}

impl Agent {
    /// What is used beyond the total may be used of any part of it, so nothing is offered until that is over.
    fn is_candidate(&self) -> bool {
        self.active && !self.overcommitted && !self.free.is_empty()
    }

    /// Counts anew what is free.
    fn recount(&mut self) {
        let mut held = Resources::new();
        for resources in self.held.values() {
            held += &resources.unallocated().nonshared();
        }
        self.overcommitted = !self.total.contains(&held);
        self.free = self.total.clone();
        self.free -= &held;
    }

    /// A copy to take from, without what is held.
    fn clone_free(&self) -> Self {
        Self {
            options: self.options.clone(),
            total: self.total.clone(),
            free: self.free.clone(),
            held: BTreeMap::new(),
            overcommitted: self.overcommitted,
            active: self.active,
        }
    }
}

impl Allocator for Hierarchical {
    fn add_framework(&mut self, id: FrameworkId, options: FrameworkOptions, active: bool) {
        self.frameworks.insert(id, Framework { options, active });
        self.refresh_activity(id);
        self.all_dirty |= active;
    }

    fn remove_framework(&mut self, id: FrameworkId) {
        if let Some(framework) = self.frameworks.remove(&id) {
            for role in framework.options.roles {
                let number = self.shares.role(&role);
                self.shares.set_active(id, number, false);
                if !self.agents.values().any(|a| a.held.contains_key(&id)) {
                    self.shares.remove(id, number);
                }
            }
        }
        self.filters.drop_holders(|(framework, _)| *framework == id);
    }

    fn activate_framework(&mut self, id: FrameworkId) {
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.active = true;
            self.refresh_activity(id);
            self.all_dirty = true;
        }
    }

    fn deactivate_framework(&mut self, id: FrameworkId) {
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.active = false;
            self.refresh_activity(id);
        }
        self.filters.drop_holders(|(framework, _)| *framework == id);
    }

    fn update_framework(&mut self, id: FrameworkId, options: FrameworkOptions) {
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        let old = std::mem::replace(&mut framework.options, options);
        let new = &framework.options;
        let gone: Vec<String> = old.roles.difference(&new.roles).cloned().collect();
        let unsuppressed: BTreeSet<String> =
            old.suppressed.difference(&new.suppressed).cloned().collect();
        for role in &gone {
            let number = self.shares.role(role);
            self.shares.set_active(id, number, false);
        }
        let numbers: BTreeSet<u32> =
            gone.iter().chain(&unsuppressed).map(|r| self.shares.role(r)).collect();
        self.filters.drop_holders(|(framework, role)| *framework == id && numbers.contains(role));
        self.refresh_activity(id);
        self.all_dirty = true;
    }

    fn add_agent(
        &mut self,
        id: AgentId,
        options: AgentOptions,
        total: Resources,
        used: &BTreeMap<FrameworkId, Resources>,
    ) {
        self.shares.change_total(&total, 1);
        let agent = Agent {
            options,
            free: total.clone(),
            total,
            held: BTreeMap::new(),
            overcommitted: false,
            active: true,
        };
        self.agents.insert(id, agent);
        for (framework, resources) in used {
            self.hold(*framework, id, resources, 1);
        }
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.recount();
        }
        self.dirty.insert(id);
    }

    fn remove_agent(&mut self, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        self.shares.change_total(&agent.total, -1);
        for (framework, resources) in agent.held.clone() {
            self.hold(framework, id, &resources, -1);
        }
        self.agents.remove(&id);
        self.filters.drop_agent(id);
        self.dirty.remove(&id);
    }

    fn activate_agent(&mut self, id: AgentId) {
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.active = true;
            self.dirty.insert(id);
        }
    }

    fn deactivate_agent(&mut self, id: AgentId) {
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.active = false;
        }
    }

    fn update_agent(&mut self, id: AgentId, options: AgentOptions, total: Resources) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.options.attributes != options.attributes {
            self.filters.drop_agent(id);
        }
        agent.options = options;
        if agent.total != total {
            let old = std::mem::replace(&mut agent.total, total.clone());
            agent.recount();
            self.shares.change_total(&old, -1);
            self.shares.change_total(&total, 1);
        }
        self.dirty.insert(id);
    }

    fn track(&mut self, framework: FrameworkId, agent: AgentId, resources: &Resources) {
        self.hold(framework, agent, resources, 1);
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.recount();
        }
    }

    fn recover(
        &mut self,
        now: Now,
        framework: FrameworkId,
        agent: AgentId,
        resources: &Resources,
        refuse: Option<Duration>,
    ) {
        if resources.is_empty() {
            return;
        }
        let known = self.agents.get(&agent).and_then(|a| a.held.get(&framework));
        if !known.is_some_and(|held| held.contains(resources)) {
            return; // the agent is gone, and what was held on it with it
        }
        self.hold(framework, agent, resources, -1);
        self.dirty.insert(agent);
        let Some(refuse) = refuse.filter(|r| !r.is_zero()) else { return };
        for role in resources.allocation_roles().into_iter().flatten() {
            let part = resources
                .filter(|e| e.identity.allocated_to.as_deref() == Some(role))
                .unallocated();
            let number = self.shares.role(role);
            self.filters.add(agent, (framework, number), part, now.mono + refuse.min(REFUSE_MAX));
        }
    }

    fn revive(&mut self, framework: FrameworkId, roles: &BTreeSet<String>) {
        let Some(known) = self.frameworks.get_mut(&framework) else { return };
        let roles = if roles.is_empty() { known.options.roles.clone() } else { roles.clone() };
        known.options.suppressed.retain(|role| !roles.contains(role));
        let numbers: BTreeSet<u32> = roles.iter().map(|r| self.shares.role(r)).collect();
        self.filters.drop_holders(|(f, role)| *f == framework && numbers.contains(role));
        self.refresh_activity(framework);
        self.all_dirty = true;
    }

    fn suppress(&mut self, framework: FrameworkId, roles: &BTreeSet<String>) {
        let Some(known) = self.frameworks.get_mut(&framework) else { return };
        let roles = if roles.is_empty() { known.options.roles.clone() } else { roles.clone() };
        known.options.suppressed.extend(roles);
        self.refresh_activity(framework);
    }

    fn next_run(&self) -> Option<Time> {
        if self.all_dirty || !self.dirty.is_empty() {
            return Some(self.last_run.map_or(Time(0), |at| at + self.config.coalesce));
        }
        self.filters.next()
    }

    fn allocate(&mut self, now: Now, rng: &mut Rng) -> Vec<Allocation> {
        self.last_run = Some(now.mono);
        let expired = self.filters.expire(now.mono);
        self.dirty.extend(expired);
        let dirty = std::mem::take(&mut self.dirty);
        let mut agents: Vec<AgentId> = if std::mem::take(&mut self.all_dirty) {
            self.agents.keys().copied().collect()
        } else {
            dirty.into_iter().collect()
        };
        rng.shuffle(&mut agents);
        self.shares.refresh();
        let mut out = Vec::new();
        for agent in agents {
            self.allocate_agent(agent, &mut out);
        }
        out
    }

    fn active_filters(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (role, count) in self.filters.count() {
            counts.insert(self.shares.role_name(role).to_owned(), count);
        }
        counts
    }

    fn check(&self) -> Result<(), String> {
        let mut held: BTreeMap<&str, i64> = BTreeMap::new();
        for (id, agent) in &self.agents {
            let mut counted = agent.clone();
            counted.recount();
            for resources in agent.held.values() {
                for entry in resources.iter() {
                    let resources::Value::Scalar(milli) = entry.value else { continue };
                    if !self.config.fair_sharing_excluded.contains(&entry.identity.name) {
                        *held.entry(&entry.identity.name).or_default() += milli;
                    }
                }
            }
            if counted.free != agent.free {
                return Err(format!(
                    "agent {id:?}: {} is said to be free, {} is",
                    agent.free, counted.free
                ));
            }
        }
        let shares = self.shares.held();
        if held != shares {
            return Err(format!("agents hold {held:?}, shares say {shares:?}"));
        }
        Ok(())
    }
}
