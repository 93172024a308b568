//! Quota: guarantees and limits of roles, and the headroom that is kept for guarantees (spec/master.md 4.3 and 4.4).
//!
//! Limits and guarantees of a role count for everything below it, at every level. Books are kept only while there are
//! quotas.

use crate::Quota;
use crate::limited::{Limited, Mask, bit};
use crate::needs::Needs;
use crate::share::{Share, Shares};
use crate::tree::{Scalars, Tree, bump};
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
    limited: Limited,
    /// What shares are of has changed.
    stale: bool,
    /// Unreserved scalars that are allocated or offered to a role and those below it.
    charged: BTreeMap<u32, Scalars>,
    /// Reservations to a role and those below it, allocated or not.
    reserved: BTreeMap<u32, Scalars>,
    /// Unreserved scalars that nobody has.
    free: Scalars,
    /// What roles may have on agents that are expected back, by name.
    away: BTreeMap<String, Milli>,
    /// Since [`Quotas::settle`].
    changed: bool,
}

pub(crate) fn add(scalars: &mut Scalars, at: usize, milli: Milli) {
    if scalars.len() <= at {
        scalars.resize(at + 1, 0);
    }
    bump(&mut scalars[at], milli);
}

pub(crate) fn amount(scalars: Option<&Scalars>, at: usize) -> Milli {
    scalars.and_then(|s| s.get(at)).copied().unwrap_or(0)
}

impl Quotas {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.shares.of.is_empty()
    }

    /// Sets a role's quota. Whether the caller is to count the books, which begin or end with it.
    pub(crate) fn set(&mut self, tree: &Tree, role: u32, quota: Quota) -> bool {
        let was_empty = self.is_empty();
        if quota == Quota::default() {
            self.set.remove(&role);
        } else {
            self.set.insert(role, quota);
        }
        if was_empty || self.is_empty() {
            self.forget();
            return true;
        }
        if self.stale || !self.shares.of.is_empty() {
            self.stale = true;
            self.refresh(tree);
        } else {
            self.hold_to(tree, role, self.set.get(&role).cloned().unwrap_or_default());
        }
        false
    }

    /// Sets a role's share; the rest is as for [`Quotas::set`].
    pub(crate) fn set_share(
        &mut self,
        tree: &Tree,
        role: u32,
        share: BTreeMap<String, Share>,
    ) -> bool {
        let was_empty = self.is_empty();
        if share.is_empty() {
            self.shares.of.remove(&role);
        } else {
            self.shares.of.insert(role, share);
        }
        if was_empty || self.is_empty() {
            self.forget();
            return true;
        }
        self.stale = true;
        self.refresh(tree);
        false
    }

    fn forget(&mut self) {
        let shares = Shares { of: std::mem::take(&mut self.shares.of), ..Shares::default() };
        let (set, away) = (std::mem::take(&mut self.set), std::mem::take(&mut self.away));
        *self = Self { set, shares, away, stale: true, ..Self::default() };
    }

    /// A role's quota holds from now on.
    fn hold_to(&mut self, tree: &Tree, role: u32, quota: Quota) {
        let mut guarantee = Scalars::new();
        for (name, milli) in &quota.guarantees {
            if let Some(at) = tree.known_scalar(name) {
                add(&mut guarantee, at, *milli);
            }
        }
        let mut needs = std::mem::take(&mut self.needs);
        needs.set(tree, role, guarantee, |role, at| self.consumed(role, at));
        self.needs = needs;
        self.limited.forget(role);
        for (name, limit) in &quota.limits {
            if let Some(at) = tree.known_scalar(name) {
                self.limited.note(role, at, *limit <= self.taken(role, at, name));
            }
        }
        if quota == Quota::default() {
            self.of.remove(&role);
        } else {
            self.of.insert(role, quota);
        }
    }

    /// A role has more, or less, of a scalar.
    fn note(&mut self, role: u32, at: usize, name: &str) {
        let consumed = self.consumed(role, at);
        self.needs.consume(role, at, consumed);
        if let Some(limit) = self.of.get(&role).and_then(|quota| quota.limits.get(name)) {
            self.limited.note(role, at, *limit <= self.taken(role, at, name));
        }
    }

    /// Whether somebody may be offered more, or less, than before.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// A limit leaves room that is not in the books: a soft offer ended.
    pub(crate) fn note_change(&mut self) {
        self.changed = true;
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
        let mut all = self.set.clone();
        self.shares.apply(tree, &mut all);
        (self.of, self.needs, self.limited) = Default::default();
        for (role, quota) in all {
            self.hold_to(tree, role, quota);
        }
    }

    /// A role got (sign 1) or gave back (sign -1) resources.
    pub(crate) fn charge(&mut self, tree: &Tree, role: u32, resources: &Resources, sign: i64) {
        for entry in resources.iter().filter(|e| e.is_quota_charged()) {
            let Value::Scalar(milli) = entry.value else { continue };
            let Some(at) = tree.known_scalar(&entry.identity.name) else { continue };
            self.changed = true;
            for role in tree.chain(role) {
                add(self.charged.entry(role).or_default(), at, sign * milli);
                self.note(role, at, &entry.identity.name);
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
                self.note(role, at, &entry.identity.name);
            }
        }
    }

    pub(crate) fn consumed(&self, role: u32, at: usize) -> Milli {
        amount(self.charged.get(&role), at).saturating_add(amount(self.reserved.get(&role), at))
    }

    /// What a role has of a scalar, and what it may have on agents that are expected back.
    fn taken(&self, role: u32, at: usize, name: &str) -> Milli {
        self.consumed(role, at).saturating_add(self.away.get(name).copied().unwrap_or(0))
    }

    /// Agents with so much of each scalar are expected back.
    pub(crate) fn expect(&mut self, tree: &Tree, away: BTreeMap<String, Milli>) {
        if self.away == away {
            return;
        }
        self.away = away;
        self.changed = true;
        let mut limited = std::mem::take(&mut self.limited);
        for (role, quota) in &self.of {
            for (name, limit) in &quota.limits {
                if let Some(at) = tree.known_scalar(name) {
                    limited.note(*role, at, *limit <= self.taken(*role, at, name));
                }
            }
        }
        self.limited = limited;
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

    /// Whether any role lacks something of a guarantee.
    pub(crate) fn any_lacks(&self) -> bool {
        self.needs.any()
    }

    /// The scalars of an agent that count for quota; None: there are none, or nobody has quota.
    pub(crate) fn scalars(&self, tree: &Tree, resources: &Resources) -> Option<Mask> {
        if self.is_empty() {
            return None;
        }
        let charged = resources.iter().filter(|e| e.is_quota_charged());
        let bits = charged.map(|e| tree.known_scalar(&e.identity.name).and_then(bit));
        bits.reduce(|all, one| Some(all? | one?)).flatten()
    }

    /// Whether a role may have none of these scalars any more.
    pub(crate) fn is_limited(&self, tree: &Tree, role: u32, scalars: Mask) -> bool {
        scalars & !self.limited.of(tree, role) == 0
    }

    /// What a role has of each scalar, by name; None: books are not kept.
    pub(crate) fn consumption(&self, tree: &Tree, role: u32) -> Option<BTreeMap<String, Milli>> {
        if self.is_empty() {
            return None;
        }
        let amounts = (0..tree.scalars_known()).map(|at| (at, self.consumed(role, at)));
        let consumed = amounts.filter(|(_, milli)| *milli != 0);
        Some(consumed.map(|(at, milli)| (tree.scalar_name(at).to_owned(), milli)).collect())
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
        let (said, is) = (self.needs.by_role(), counted.needs.by_role());
        if said != is {
            return Err(format!("roles are said to need {said:?}, they need {is:?}"));
        }
        for (role, name) in self.of.iter().flat_map(|(r, q)| q.limits.keys().map(move |n| (r, n))) {
            let bit = tree.known_scalar(name).and_then(bit);
            let room = self.limit_room(tree, *role, name);
            if bit.is_some_and(|bit| self.is_limited(tree, *role, bit)) && room != Some(0) {
                return Err(format!("role {role} is said to have all {name}, it lacks {room:?}"));
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
            let away = || self.away.get(name).copied().unwrap_or(0);
            let taken = at.map_or_else(away, |at| self.taken(role, at, name));
            Some(limit.saturating_sub(taken).max(0))
        });
        rooms.min()
    }

    /// How much of a scalar guarantees still need.
    pub(crate) fn needed(&self, tree: &Tree, name: &str) -> Milli {
        tree.known_scalar(name).map_or(0, |at| self.needs.all(at))
    }

    /// How much of a scalar is free beyond what guarantees still need; None: nothing of it is guaranteed.
    pub(crate) fn spare(&self, tree: &Tree, name: &str) -> Option<Milli> {
        let at = tree.known_scalar(name).filter(|at| self.needs.is_guaranteed(*at))?;
        Some(amount(Some(&self.free), at).saturating_sub(self.needs.all(at)).max(0))
    }

    /// How much more of a scalar a role may have: what its limits and the guarantees of others leave; None: any amount.
    pub(crate) fn room(&self, tree: &Tree, role: u32, name: &str) -> Option<Milli> {
        let spare =
            self.spare(tree, name).map(|spare| spare.saturating_add(self.lack(tree, role, name)));
        self.limit_room(tree, role, name).into_iter().chain(spare).min()
    }
}
