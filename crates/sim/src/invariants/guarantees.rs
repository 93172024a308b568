//! What is promised to roles is not offered to others: after an offer to somebody to whom nothing of it is promised,
//! so much is left as all promises still need.

use master_core::{Agent, Framework, State};
use resources::Resources;
use std::collections::BTreeMap;

/// Looks at the offers that were made at `now`, the time of the master's last step.
///
/// # Errors
/// The first offer that takes what is promised to others.
pub fn check(state: &State, now: base::Time) -> Result<(), String> {
    let frameworks = state.frameworks.values();
    // A soft offer takes nothing: what it may take is decided when it is accepted.
    let offers = frameworks.flat_map(|f| f.offers.values()).filter(|o| o.made == now && !o.soft);
    let mut offers = offers.peekable();
    if offers.peek().is_none() {
        return Ok(());
    }
    let guarantees = state.guarantees();
    let mut known: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for offer in offers {
        let is_promised = |name: &str| {
            let roles = std::iter::once(offer.role.as_str());
            let mut roles = roles.chain(resources::ancestors(&offer.role));
            roles.any(|role| guarantees.get(role).is_some_and(|of| of.contains_key(name)))
        };
        for entry in offer.resources.iter().filter(|e| e.is_quota_charged()) {
            let name = entry.identity.name.as_str();
            if is_promised(name) {
                continue;
            }
            let (free, required) = *known
                .entry(name.to_owned())
                .or_insert_with(|| (free(state, name), required(state, &guarantees, name)));
            if free < required {
                let id = &offer.id;
                return Err(format!(
                    "offer {id} of {entry} leaves {free} milli-{name} free, {required} are promised to others"
                ));
            }
        }
    }
    Ok(())
}

/// Unreserved and held by nobody. An agent may come back with less than what is held there.
fn free(state: &State, name: &str) -> i64 {
    let plain = |r: &Resources| {
        r.filter(|e| e.is_quota_charged() && e.identity.name == name).unallocated().scalar(name)
    };
    let of_agent = |agent: &Agent| {
        let used: i64 = state.used_on(agent).values().map(plain).sum();
        let offers = state.frameworks.values().flat_map(|f| f.offers.values());
        let taken = offers.filter(|o| !o.soft && o.agent == agent.key);
        let taken: i64 = taken.map(|o| plain(&o.resources)).sum();
        (plain(&agent.total) - used - taken).max(0)
    };
    state.agents.values().map(|agent| of_agent(agent)).sum()
}

/// What offers have taken: all but the soft ones.
pub(super) fn taken(framework: &Framework) -> Resources {
    let mut taken = Resources::new();
    for offer in framework.offers.values().filter(|o| !o.soft) {
        taken += &offer.resources;
    }
    taken
}

/// What roles lack of what is promised to them; what is promised below a role is a part of its own.
fn required(
    state: &State,
    guarantees: &BTreeMap<String, BTreeMap<String, i64>>,
    name: &str,
) -> i64 {
    let mut below: BTreeMap<&str, i64> = BTreeMap::new();
    let mut required = 0;
    for (role, of) in guarantees.iter().rev() {
        let lack = (of.get(name).copied().unwrap_or(0) - consumed(state, role, name)).max(0);
        let need = lack.max(below.remove(role.as_str()).unwrap_or(0));
        match resources::ancestors(role).find(|above| guarantees.contains_key(*above)) {
            Some(above) => *below.entry(above).or_default() += need,
            None => required += need,
        }
    }
    required
}

/// What counts for a role: reservations to it and those below it, and unreserved resources that they hold.
pub(super) fn consumed(state: &State, role: &str, name: &str) -> i64 {
    let is_below = |of: &str| resources::is_descendant_or_self(of, role);
    let agents = state.agents.values();
    let reserved: i64 = agents
        .map(|a| a.total.filter(|e| e.reserved_to().is_some_and(is_below)).scalar(name))
        .sum();
    let held: i64 = state
        .frameworks
        .values()
        .flat_map(|f| [f.used.clone(), taken(f)])
        .map(|held| {
            let own = held.filter(|e| {
                e.is_quota_charged() && e.identity.allocated_to.as_deref().is_some_and(is_below)
            });
            own.scalar(name)
        })
        .sum();
    reserved + held
}
