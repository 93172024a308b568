//! `/roles`.

use master_core::State;
use resources::Resources;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wire::v1;

/// What is known of a role and everything below it.
#[derive(Default)]
pub(crate) struct Role<'a> {
    pub(crate) frameworks: BTreeSet<&'a str>,
    pub(crate) allocated: Resources,
    pub(crate) offered: Resources,
    pub(crate) reserved: Resources,
}

pub(crate) type Known<'a> = BTreeMap<String, Role<'a>>;

/// Changes a role and all above it.
fn at<'a>(known: &mut Known<'a>, role: &str, mut change: impl FnMut(&mut Role<'a>)) {
    for name in std::iter::once(role).chain(resources::ancestors(role)) {
        change(known.entry(name.to_owned()).or_default());
    }
}

impl Role<'_> {
    /// What counts for quota: reservations, and unreserved resources in use.
    pub(crate) fn consumed(&self) -> Resources {
        [&self.allocated.unreserved().nonrevocable(), &self.reserved].into_iter().sum()
    }

    /// The same with what is offered.
    pub(crate) fn offered_or_allocated(&self) -> Resources {
        [&self.consumed(), &self.offered.unreserved().nonrevocable()].into_iter().sum()
    }
}

fn quota(state: &State, role: &str, consumed: Value) -> Value {
    let config = state.quotas.get(role);
    let amounts = |map: Option<&BTreeMap<String, v1::value::Scalar>>| -> Value {
        let pairs: Map<String, Value> =
            map.into_iter().flatten().map(|(n, s)| (n.clone(), json!(s.value))).collect();
        pairs.into()
    };
    json!({
        "role": role,
        "guarantee": amounts(config.map(|c| &c.guarantees)),
        "limit": amounts(config.map(|c| &c.limits)),
        "consumed": consumed,
    })
}

/// Roles that anything is known of, with those above them.
pub(crate) fn known_roles(state: &State) -> Known<'_> {
    let mut known: Known<'_> = BTreeMap::new();
    for framework in state.frameworks.values() {
        let used = &framework.used;
        for role in used.allocation_roles().into_iter().flatten() {
            let part = used.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
            at(&mut known, role, |r| r.allocated += &part);
        }
        for role in framework.roles() {
            at(&mut known, &role, |_| {});
            known.entry(role).or_default().frameworks.insert(&framework.id);
        }
    }
    for (role, offered) in crate::offered::by_role(state) {
        at(&mut known, role, |r| r.offered += &offered);
    }
    for agent in state.agents.values() {
        for (role, resources) in agent.total.reserved() {
            at(&mut known, &role, |r| r.reserved += &resources);
        }
    }
    let named = state.weights.keys().chain(state.quotas.keys()).chain(state.shares.keys());
    let overlapping = state.overlaps.iter().filter(|(role, o)| *role != "*" && !o.is_disjoint());
    let named = named.chain(overlapping.map(|(role, _)| role));
    for role in named {
        at(&mut known, role, |_| {});
    }
    // With `--roles` those are known, whatever else there is.
    if let Some(listed) = &state.role_whitelist {
        known.retain(|role, _| listed.contains(role));
        for role in listed.iter().map(String::as_str).chain(["*"]) {
            known.entry(role.to_owned()).or_default();
        }
    }
    known
}

pub(super) fn roles(state: &State) -> Value {
    let lent = state.lent();
    let mut known = known_roles(state);
    // Reserved roles are known; what is lent of the headroom of guarantees has none.
    if lent.contains_key("*") {
        known.entry("*".to_owned()).or_default();
    }
    let guarantees = if state.shares.is_empty() { BTreeMap::new() } else { state.guarantees() };
    let one = |(name, role): (&String, &Role<'_>)| {
        let quantities = |r: &Resources| -> Value {
            let amounts = r.quantities();
            let pairs: Map<String, Value> = amounts
                .iter()
                .filter(|(n, _)| *n != "ports")
                .map(|(n, milli)| (n.to_owned(), json!(resources::from_milli(milli))))
                .collect();
            pairs.into()
        };
        let both: Resources = [&role.allocated, &role.offered].into_iter().sum();
        let mut out = json!({
            "name": name,
            "weight": state.weights.get(name).copied().unwrap_or(1.0),
            "quota": quota(state, name, quantities(&role.consumed())),
            "resources": quantities(&both),
            "allocated": quantities(&role.allocated),
            "offered": quantities(&role.offered),
            "reserved": quantities(&role.reserved),
            "frameworks": role.frameworks,
        });
        let overlap = state.overlap(name);
        if !overlap.is_disjoint() {
            out["offer_overlap"] = crate::overlaps::shown(overlap);
        }
        if let Some(lent) = lent.get(name) {
            let amounts = lent.iter().map(|(n, milli)| (n, resources::from_milli(*milli)));
            out["lent"] = amounts.map(|(n, amount)| (n.clone(), json!(amount))).collect();
        }
        if let Some(share) = state.shares.get(name) {
            out["share"] = crate::shares::shown(share, &guarantees);
        }
        out
    };
    json!({"roles": known.iter().map(one).collect::<Value>()})
}
