//! Quota: guarantees and limits of roles, and the headroom that is kept for guarantees (spec/master.md 4.3 and 4.4).
//!
//! Limits and guarantees of a role count for everything below it, at every level. Books are kept only while there are
//! quotas.

use crate::Quota;
use crate::needs::Needs;
use crate::share::{Share, Shares};
use crate::tree::{Scalars, Tree};
use resources::{Milli, Resources, Value};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    /// As operators set them.
    set: BTreeMap<u32, Quota>,
    shares: Shares,
    /// As they hold now: with what shares add.
    of: BTreeMap<u32, Quota>,
    needs: Needs,
    /// What shares are of has changed.
    stale: bool,
    /// Unreserved scalars that are allocated or offered to a role and those below it.
    charged: BTreeMap<u32, Scalars>,
    /// Reservations to a role and those below it, allocated or not.
    reserved: BTreeMap<u32, Scalars>,
    /// Unreserved scalars that nobody has.
    free: Scalars,
    /// Since [`Quotas::settle`].
    changed: bool,
}

pub(crate) fn add(scalars: &mut Scalars, at: usize, milli: Milli) {
    if scalars.len() <= at {
        scalars.resize(at + 1, 0);
    }
    scalars[at] += milli;
}

pub(crate) fn amount(scalars: Option<&Scalars>, at: usize) -> Milli {
    scalars.and_then(|s| s.get(at)).copied().unwrap_or(0)
}

impl Quotas {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.shares.of.is_empty()
    }

    /// Sets a role's quota; the books are counted anew by the caller.
    pub(crate) fn set(&mut self, role: u32, quota: Quota) {
        if quota == Quota::default() {
            self.set.remove(&role);
        } else {
            self.set.insert(role, quota);
        }
        self.forget();
    }

    /// Sets a role's share; the books are counted anew by the caller.
    pub(crate) fn set_share(&mut self, role: u32, share: BTreeMap<String, Share>) {
        if share.is_empty() {
            self.shares.of.remove(&role);
        } else {
            self.shares.of.insert(role, share);
        }
        self.forget();
    }

    fn forget(&mut self) {
        let shares = Shares { of: std::mem::take(&mut self.shares.of), ..Shares::default() };
        *self = Self { set: std::mem::take(&mut self.set), shares, stale: true, ..Self::default() };
    }

    /// Whether somebody may be offered more, or less, than before.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// What was held back is looked at again.
    pub(crate) fn settle(&mut self) {
        self.changed = false;
    }

    /// Shares follow the total.
    pub(crate) fn refresh(&mut self, tree: &Tree) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        self.of.clone_from(&self.set);
        self.shares.apply(tree, &mut self.of);
        let mut guarantees: BTreeMap<u32, Scalars> = BTreeMap::new();
        for (role, quota) in self.of.iter().filter(|(_, quota)| !quota.guarantees.is_empty()) {
            let of_role = guarantees.entry(*role).or_default();
            for (name, milli) in &quota.guarantees {
                if let Some(at) = tree.known_scalar(name) {
                    add(of_role, at, *milli);
                }
            }
        }
        let mut needs = Needs::new(tree, guarantees.clone());
        for role in guarantees.keys().rev() {
            for at in 0..tree.scalars_known() {
                needs.consume(*role, at, self.consumed(*role, at));
            }
        }
        self.needs = needs;
    }

    /// A role got (sign 1) or gave back (sign -1) resources.
    pub(crate) fn charge(&mut self, tree: &Tree, role: u32, resources: &Resources, sign: i64) {
        for entry in resources.iter().filter(|e| e.is_quota_charged()) {
            let Value::Scalar(milli) = entry.value else { continue };
            let Some(at) = tree.known_scalar(&entry.identity.name) else { continue };
            self.changed = true;
            for role in tree.chain(role) {
                add(self.charged.entry(role).or_default(), at, sign * milli);
                self.needs.consume(role, at, self.consumed(role, at));
            }
        }
    }

    /// Resources that nobody has became more (sign 1) or less.
    pub(crate) fn change_free(&mut self, tree: &Tree, resources: &Resources, sign: i64) {
        for entry in resources.iter().filter(|e| e.is_quota_charged()) {
            let Value::Scalar(milli) = entry.value else { continue };
            let Some(at) = tree.known_scalar(&entry.identity.name) else { continue };
            self.changed = true;
            add(&mut self.free, at, sign * milli);
        }
    }

    /// The cluster has more (sign 1) or less, reservations among it.
    pub(crate) fn change_total(&mut self, tree: &Tree, total: &Resources, sign: i64) {
        self.stale |= !self.shares.of.is_empty();
        for entry in total.iter() {
            let Value::Scalar(milli) = entry.value else { continue };
            let Some(at) = tree.known_scalar(&entry.identity.name) else { continue };
            if !entry.identity.revocable {
                add(&mut self.shares.total, at, sign * milli);
            }
            let Some(role) = entry.reserved_to().and_then(|role| tree.known_role(role)) else {
                continue;
            };
            self.changed = true;
            for role in tree.chain(role) {
                add(self.reserved.entry(role).or_default(), at, sign * milli);
                self.needs.consume(role, at, self.consumed(role, at));
            }
        }
    }

    pub(crate) fn consumed(&self, role: u32, at: usize) -> Milli {
        amount(self.charged.get(&role), at) + amount(self.reserved.get(&role), at)
    }

    /// How much of a scalar a role may have as a part of what is guaranteed to it or to one above it, beside what is
    /// still needed for others there.
    pub(crate) fn lack(&self, tree: &Tree, role: u32, name: &str) -> Milli {
        tree.known_scalar(name).map_or(0, |at| self.needs.of(tree, role, at))
    }

    /// Whether a role lacks something of a guarantee, its own or that of one above it.
    pub(crate) fn lacks(&self, tree: &Tree, role: u32) -> bool {
        self.needs.any_of(tree, role)
    }

    /// Whether needs are what they are when counted anew.
    pub(crate) fn check(&self, tree: &Tree) -> Result<(), String> {
        if self.stale {
            return Ok(());
        }
        let mut counted = Self { stale: true, ..self.clone() };
        counted.refresh(tree);
        for at in 0..tree.scalars_known() {
            let (said, is) = (self.needs.all(at), counted.needs.all(at));
            if said != is {
                return Err(format!("{said} of scalar {at} are said to be needed, {is} are"));
            }
        }
        Ok(())
    }

    /// Roles that lack something of a guarantee of this scalar.
    pub(crate) fn lacking(&self, tree: &Tree, name: &str) -> BTreeSet<u32> {
        self.of.keys().copied().filter(|role| self.lack(tree, *role, name) > 0).collect()
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

    /// How much of a scalar is free beyond what guarantees still need; None: nothing of it is guaranteed.
    pub(crate) fn spare(&self, tree: &Tree, name: &str) -> Option<Milli> {
        let at = tree.known_scalar(name).filter(|at| self.needs.is_guaranteed(*at))?;
        Some((amount(Some(&self.free), at) - self.needs.all(at)).max(0))
    }

    /// How much more of a scalar a role may have: what its limits and the guarantees of others leave; None: any amount.
    pub(crate) fn room(&self, tree: &Tree, role: u32, name: &str) -> Option<Milli> {
        let spare = self.spare(tree, name).map(|spare| spare + self.lack(tree, role, name));
        self.limit_room(tree, role, name).into_iter().chain(spare).min()
    }
}
