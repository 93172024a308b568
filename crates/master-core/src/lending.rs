//! What of agents is lent: used or offered as revocable resources that the agent itself does not offer as such.

use crate::quota::{Amounts, grow};
use crate::state::{Agent, State};
use allocator::AgentId;
use resources::{Milli, Resources, Value};
use std::collections::BTreeMap;

fn scalars(resources: &Resources, keep: impl Fn(&resources::Entry) -> bool) -> Amounts {
    let mut amounts = Amounts::new();
    for entry in resources.iter().filter(|e| keep(e)) {
        if let Value::Scalar(milli) = entry.value {
            grow(&mut amounts, &entry.identity.name, milli);
        }
    }
    amounts
}

pub(crate) fn revocable(resources: &Resources) -> Amounts {
    scalars(resources, |e| e.identity.revocable)
}

/// What of an agent is lent when `held` is used and offered there.
fn lent_of(agent: &Agent, held: &Resources) -> Amounts {
    let (own, mut lent) = (revocable(&agent.total), revocable(held));
    for (name, milli) in &mut lent {
        *milli -= own.get(name).copied().unwrap_or(0);
    }
    lent.retain(|_, milli| *milli > 0);
    lent
}

/// Whether so much is lent that an agent gives more than it has when `held` is used and offered there.
pub(crate) fn is_overlent(agent: &Agent, held: &Resources) -> bool {
    let firm = |r: &Resources| scalars(r, |e| !e.identity.revocable);
    let (own, used) = (firm(&agent.total), firm(held));
    let amount = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
    let mut lent = lent_of(agent, held).into_iter();
    lent.any(|(name, lent)| amount(&used, &name).saturating_add(lent) > amount(&own, &name))
}

impl State {
    /// What is lent of what is reserved to roles, by role; what is lent of the headroom of guarantees under `*`. Amounts
    /// in thousandths, by name.
    #[must_use]
    pub fn lent(&self) -> BTreeMap<String, BTreeMap<String, Milli>> {
        let mut held: BTreeMap<AgentId, Resources> = BTreeMap::new();
        let used = self.agents.values().map(|agent| (agent.key, &agent.used));
        let offers = self.frameworks.values().flat_map(|f| f.offers.values()).filter(|o| !o.soft);
        for (agent, resources) in used.chain(offers.map(|o| (o.agent, &o.resources))) {
            *held.entry(agent).or_default() += &resources.nonshared().unallocated();
        }
        let mut lent: BTreeMap<String, Amounts> = BTreeMap::new();
        for (agent, held) in held {
            let Some(agent) = self.agents.get(&agent) else { continue };
            let mut free = agent.total.clone();
            free -= &held;
            for (name, mut milli) in lent_of(agent, &held) {
                let mut add = |role: &str, part: Milli| {
                    if part > 0 {
                        grow(lent.entry(role.to_owned()).or_default(), &name, part);
                    }
                };
                for (role, reserved) in free.reserved() {
                    let part = milli.min(reserved.nonrevocable().scalar(&name));
                    milli -= part;
                    add(&role, part);
                }
                add("*", milli);
            }
        }
        lent
    }
}
