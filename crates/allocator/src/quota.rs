//! Quota: guarantees and limits of roles, and the headroom that is kept for guarantees (spec/master.md 4.3 and 4.4).
//!
//! Limits and guarantees of a role count for everything below it, at every level. Books are kept only while there are
//! quotas.

use crate::Quota;
use crate::tree::{Scalars, Tree};
use resources::{Milli, Resources, Value};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    of: BTreeMap<u32, Quota>,
    /// Unreserved scalars that are allocated or offered to a role and those below it.
    charged: BTreeMap<u32, Scalars>,
    /// Reservations to a role and those below it, allocated or not.
    reserved: BTreeMap<u32, Scalars>,
    /// Unreserved scalars that nobody has.
    free: Scalars,
}

fn add(scalars: &mut Scalars, at: usize, milli: Milli) {
    if scalars.len() <= at {
        scalars.resize(at + 1, 0);
    }
    scalars[at] += milli;
}

fn amount(scalars: Option<&Scalars>, at: usize) -> Milli {
    scalars.and_then(|s| s.get(at)).copied().unwrap_or(0)
}

impl Quotas {
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Sets a role's quota; the books are counted anew by the caller.
    pub(crate) fn set(&mut self, role: u32, quota: Quota) {
        if quota == Quota::default() {
            self.of.remove(&role);
        } else {
            self.of.insert(role, quota);
        }
        *self = Self { of: std::mem::take(&mut self.of), ..Self::default() };
    }

    /// A role got (sign 1) or gave back (sign -1) resources.
    pub(crate) fn charge(&mut self, tree: &Tree, role: u32, resources: &Resources, sign: i64) {
        for entry in resources.iter().filter(|e| e.is_quota_charged()) {
            let Value::Scalar(milli) = entry.value else { continue };
            let Some(at) = tree.known_scalar(&entry.identity.name) else { continue };
            for role in tree.chain(role) {
                add(self.charged.entry(role).or_default(), at, sign * milli);
            }
        }
    }

    /// Resources that nobody has became more (sign 1) or less.
    pub(crate) fn change_free(&mut self, tree: &Tree, resources: &Resources, sign: i64) {
        for entry in resources.iter().filter(|e| e.is_quota_charged()) {
            let Value::Scalar(milli) = entry.value else { continue };
            let Some(at) = tree.known_scalar(&entry.identity.name) else { continue };
            add(&mut self.free, at, sign * milli);
        }
    }

    /// The cluster has more (sign 1) or less reservations.
    pub(crate) fn change_total(&mut self, tree: &Tree, total: &Resources, sign: i64) {
        for entry in total.iter() {
            let (Some(role), Value::Scalar(milli)) = (entry.reserved_to(), &entry.value) else {
                continue;
            };
            let known = tree.known_role(role).zip(tree.known_scalar(&entry.identity.name));
            let Some((role, at)) = known else { continue };
            for role in tree.chain(role) {
                add(self.reserved.entry(role).or_default(), at, sign * milli);
            }
        }
    }

    pub(crate) fn consumed(&self, role: u32, at: usize) -> Milli {
        amount(self.charged.get(&role), at) + amount(self.reserved.get(&role), at)
    }

    /// How much of a scalar a role lacks of its guarantee.
    fn lack_of(&self, tree: &Tree, role: u32, name: &str) -> Milli {
        let guarantee = self.of.get(&role).and_then(|q| q.guarantees.get(name)).copied();
        let at = tree.known_scalar(name);
        let consumed = at.map_or(0, |at| self.consumed(role, at));
        guarantee.map_or(0, |g| (g - consumed).max(0))
    }

    /// How much of a scalar a role, or one above it, lacks of a guarantee.
    pub(crate) fn lack(&self, tree: &Tree, role: u32, name: &str) -> Milli {
        tree.chain(role).map(|role| self.lack_of(tree, role, name)).max().unwrap_or(0)
    }

    /// Whether a role, or one above it, lacks something of a guarantee.
    pub(crate) fn lacks(&self, tree: &Tree, role: u32) -> bool {
        tree.chain(role).any(|role| {
            let names = self.of.get(&role).map(|q| q.guarantees.keys());
            names.into_iter().flatten().any(|name| self.lack_of(tree, role, name) > 0)
        })
    }

    /// How much more of a scalar the limits of a role and those above it allow; None: any amount.
    pub(crate) fn limit_room(&self, tree: &Tree, role: u32, name: &str) -> Option<Milli> {
        let at = tree.known_scalar(name);
        let rooms = tree.chain(role).filter_map(|role| {
            let limit = self.of.get(&role)?.limits.get(name)?;
            Some((limit - at.map_or(0, |at| self.consumed(role, at))).max(0))
        });
        rooms.min()
    }

    /// How much of a scalar is free beyond what guarantees still need; None: no guarantee needs it.
    pub(crate) fn spare(&self, tree: &Tree, name: &str) -> Option<Milli> {
        let mut required = 0;
        let mut any = false;
        for (role, quota) in &self.of {
            any |= quota.guarantees.contains_key(name);
            // Guarantees below that of another role are part of it, unless they are more.
            if tree.chain(*role).skip(1).any(|above| self.guarantees(above, name)) {
                continue;
            }
            let lack = self.lack_of(tree, *role, name);
            let below = self
                .of
                .keys()
                .filter(|r| **r != *role && tree.chain(**r).skip(1).any(|above| above == *role));
            let below: Milli = below.map(|r| self.lack_of(tree, *r, name)).sum();
            required += lack.max(below);
        }
        let free = tree.known_scalar(name).map_or(0, |at| amount(Some(&self.free), at));
        any.then(|| (free - required).max(0))
    }

    fn guarantees(&self, role: u32, name: &str) -> bool {
        self.of.get(&role).is_some_and(|q| q.guarantees.contains_key(name))
    }
}
