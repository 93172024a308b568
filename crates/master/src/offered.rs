//! What is offered, counting once what several frameworks are offered at a time.

use allocator::{AgentId, FrameworkId};
use master_core::{Offer, State};
use resources::Resources;
use std::collections::BTreeMap;

/// What is offered on each agent.
#[derive(Debug, Default)]
pub(crate) struct ByAgent(BTreeMap<AgentId, Resources>);

impl ByAgent {
    pub(crate) fn of(state: &State) -> Self {
        Self(together(state, |offer| offer.agent))
    }

    /// On this one.
    pub(crate) fn on(&self, agent: AgentId) -> Resources {
        self.0.get(&agent).cloned().unwrap_or_default()
    }

    /// On each agent with offers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (AgentId, &Resources)> {
        self.0.iter().map(|(agent, resources)| (*agent, resources))
    }
}

/// For each role.
pub(crate) fn by_role(state: &State) -> BTreeMap<&str, Resources> {
    let by_agent = together(state, |offer| (offer.role.as_str(), offer.agent));
    let mut roles: BTreeMap<&str, Vec<&Resources>> = BTreeMap::new();
    for ((role, _), resources) in &by_agent {
        roles.entry(role).or_default().push(resources);
    }
    roles.into_iter().map(|(role, all)| (role, all.into_iter().sum())).collect()
}

fn together<'a, K: Ord + Copy>(
    state: &'a State,
    key: impl Fn(&'a Offer) -> K,
) -> BTreeMap<K, Resources> {
    let mut sums: BTreeMap<K, Resources> = BTreeMap::new();
    let mut shown: BTreeMap<(K, FrameworkId, &str), Resources> = BTreeMap::new();
    for offer in state.frameworks.values().flat_map(|f| f.offers.values()) {
        if offer.soft {
            let of = (key(offer), offer.framework, offer.role.as_str());
            *shown.entry(of).or_default() += &offer.resources.unallocated();
        } else {
            *sums.entry(key(offer)).or_default() += &offer.resources;
        }
    }
    let mut counted: BTreeMap<K, Resources> = BTreeMap::new();
    for ((key, _, role), mut more) in shown {
        let counted = counted.entry(key).or_default();
        more -= counted;
        *counted += &more;
        *sums.entry(key).or_default() += &more.allocated_to(role);
    }
    sums
}
