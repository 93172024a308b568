//! The collection and its arithmetic.

use crate::counted::{Counted, Iter};
use crate::entry::Entry;
use crate::index::{self, Index};
use crate::quantities::Quantities;
use crate::roles::is_descendant_or_self;
use crate::value::{Milli, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

/// A collection of resources.
///
/// Cheap to clone: copies share their entries until one of them changes.
///
/// Invariant: no entry is empty, no two mergeable entries have the same identity, and no two shared ones are the same.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// None: there are none.
    shared: Option<Arc<Vec<Counted>>>,
}

impl Resources {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { shared: None }
    }

    /// Of entries that obey the invariant.
    pub(crate) fn of(entries: Vec<Counted>) -> Self {
        Self { shared: (!entries.is_empty()).then(|| Arc::new(entries)) }
    }

    pub(crate) fn entries(&self) -> &[Counted] {
        self.shared.as_deref().map_or(&[], Vec::as_slice)
    }

    fn entries_mut(&mut self) -> &mut Vec<Counted> {
        Arc::make_mut(self.shared.get_or_insert_default())
    }

    /// Whether these are copies of the same, unchanged: their amounts need not be compared then.
    #[must_use]
    pub fn is_copy_of(&self, other: &Self) -> bool {
        match (&self.shared, &other.shared) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        }
    }

    /// Where the entries are: the same for all copies, another for everything else that lives.
    #[must_use]
    pub fn address(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| Arc::as_ptr(shared) as usize)
    }

    /// How many copies there are, this one among them.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.shared.as_ref().map_or(1, Arc::strong_count)
    }

    /// Adds one entry; an empty one vanishes.
    pub fn add(&mut self, entry: Entry) {
        self.add_counted(Counted { entry, times: 1 });
    }

    fn add_counted(&mut self, new: Counted) {
        if new.entry.value.is_empty() {
            return;
        }
        if new.entry.is_mergeable() || new.entry.identity.shared {
            let known = self.entries().iter().position(|e| e.can_take(&new.entry));
            if let Some(at) = known {
                return self.entries_mut()[at].take(&new);
            }
        }
        self.entries_mut().push(new);
    }

    /// Subtracts an entry as often as it is there; whether it was there so often.
    fn subtract(&mut self, other: &Counted) -> bool {
        let mut left = other.times;
        while left > 0 {
            let Some(at) = self.entries().iter().position(|e| e.can_give(&other.entry)) else {
                return false;
            };
            let entries = self.entries_mut();
            left -= entries[at].give(&other.entry, left);
            if entries[at].is_empty() {
                entries.remove(at);
            }
        }
        true
    }

    /// Adds all of these, of which there are many.
    fn add_many<'a>(&mut self, others: impl Iterator<Item = Cow<'a, Counted>>) {
        let entries = self.entries_mut();
        let mut index = Index::of(entries.iter().map(|e| &e.entry));
        for other in others.filter(|e| !e.entry.value.is_empty()) {
            if other.entry.is_mergeable() || other.entry.identity.shared {
                let known =
                    index.places(&other.entry).find(|at| entries[*at].can_take(&other.entry));
                if let Some(at) = known {
                    entries[at].take(&other);
                    continue;
                }
            }
            index.insert(&other.entry, entries.len());
            entries.push(other.into_owned());
        }
    }

    /// Subtracts all of these, of which there are many; whether there was something of each.
    fn subtract_many<'a>(&mut self, others: impl Iterator<Item = &'a Counted>) -> bool {
        let entries = self.entries_mut();
        let mut index = Index::of(entries.iter().map(|e| &e.entry));
        let mut all_there = true;
        for other in others {
            let mut left = other.times;
            while left > 0 {
                let place =
                    index.places(&other.entry).find(|at| entries[*at].can_give(&other.entry));
                let Some(at) = place else {
                    all_there = false;
                    break;
                };
                left -= entries[at].give(&other.entry, left);
                if entries[at].is_empty() {
                    index.remove(&other.entry, at);
                }
            }
        }
        entries.retain(|e| !e.is_empty());
        all_there
    }

    /// Whether all of `other` is in this, when there is much of both.
    fn contains_many(&self, other: &Resources) -> bool {
        let entries = self.entries();
        let index = Index::of(entries.iter().map(|e| &e.entry));
        let parts = other.entries().iter().filter(|e| e.entry.is_mergeable()).all(|e| {
            let is_there = |at: usize| {
                let mine = &entries[at].entry;
                mine.same_identity(&e.entry) && mine.value.contains(&e.entry.value)
            };
            index.places(&e.entry).any(is_there)
        });
        let whole = other.entries().iter().filter(|e| !e.entry.is_mergeable());
        parts && (whole.clone().next().is_none() || self.clone().subtract_many(whole))
    }

    /// Whether all of `other` is in this.
    #[must_use]
    pub fn contains(&self, other: &Resources) -> bool {
        if self.is_copy_of(other) {
            return true;
        }
        if index::pays(self.entries().len(), other.entries().len()) {
            return self.contains_many(other);
        }
        let (mergeable, whole): (Vec<&Counted>, Vec<&Counted>) =
            other.entries().iter().partition(|e| e.entry.is_mergeable());
        let parts = mergeable.iter().map(|e| &e.entry).all(|e| {
            let mut mine = self.entries().iter().map(|mine| &mine.entry);
            mine.any(|mine| mine.same_identity(e) && mine.value.contains(&e.value))
        });
        if whole.is_empty() || !parts {
            return parts;
        }
        let mut left = self.clone();
        whole.into_iter().all(|e| left.subtract(e))
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The entries; a shared one as often as it is there.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        Iter { entries: self.entries().iter(), again: None }
    }

    /// The entries for which `keep` holds.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        if self.entries().iter().all(|e| keep(&e.entry)) {
            return self.clone();
        }
        Self::of(self.entries().iter().filter(|e| keep(&e.entry)).cloned().collect())
    }

    pub(crate) fn map_identity(&self, change: impl Fn(&mut crate::Identity)) -> Self {
        let mut out = Self::new();
        for Counted { entry, times } in self.entries() {
            let mut identity = (*entry.identity).clone();
            change(&mut identity);
            let entry = Entry { identity: Arc::new(identity), value: entry.value.clone() };
            if entry.identity.shared {
                out.add_counted(Counted { entry, times: *times });
            } else {
                (0..*times).for_each(|_| out.add(entry.clone()));
            }
        }
        out
    }

    /// The same amounts under identities that `change` gives. Entries of different identities must not become of
    /// the same one.
    #[must_use]
    pub fn with_identities(
        mut self,
        mut change: impl FnMut(Arc<crate::Identity>) -> Arc<crate::Identity>,
    ) -> Self {
        if !self.is_empty() {
            for Counted { entry, .. } in self.entries_mut() {
                entry.identity = change(entry.identity.clone());
            }
        }
        self
    }

    /// At most so much of each unreserved scalar that can't be taken back as `cap` says for its name (None: any
    /// amount); all of everything else. What can't be divided is there as a whole or not at all.
    #[must_use]
    pub fn capped(&self, cap: impl Fn(&str) -> Option<Milli>) -> Self {
        let mut taken: BTreeMap<&str, Milli> = BTreeMap::new();
        let mut out = Vec::new();
        for counted in self.entries() {
            let Counted { entry, .. } = counted;
            let identity = &entry.identity;
            let Value::Scalar(milli) = entry.value else {
                out.push(counted.clone());
                continue;
            };
            let limit = cap(&identity.name).filter(|_| entry.is_quota_charged());
            let Some(limit) = limit else {
                out.push(counted.clone());
                continue;
            };
            let taken = taken.entry(&identity.name).or_default();
            let room = (limit - *taken).max(0).min(milli);
            let room = if entry.is_mergeable() || room == milli { room } else { 0 };
            if room > 0 {
                *taken += room;
                let value = Value::Scalar(room);
                let entry = Entry { identity: identity.clone(), value };
                out.push(Counted { entry, times: 1 });
            }
        }
        Self::of(out)
    }

    /// The same resources, allocated to `role`.
    #[must_use]
    pub fn allocated_to(&self, role: &str) -> Self {
        self.map_identity(|identity| identity.allocated_to = Some(role.to_owned()))
    }

    /// The same resources without allocation.
    #[must_use]
    pub fn unallocated(&self) -> Self {
        self.map_identity(|identity| identity.allocated_to = None)
    }

    /// Roles to which entries are allocated; None for one that is not.
    #[must_use]
    pub fn allocation_roles(&self) -> BTreeSet<Option<&str>> {
        self.entries().iter().map(|e| e.entry.identity.allocated_to.as_deref()).collect()
    }

    /// Resources that are not reserved.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.filter(|e| e.identity.reservations.is_empty())
    }

    /// Reserved resources, by role.
    #[must_use]
    pub fn reserved(&self) -> BTreeMap<String, Resources> {
        let mut roles: BTreeMap<String, Resources> = BTreeMap::new();
        for counted in self.entries() {
            if let Some(role) = counted.entry.reserved_to() {
                roles.entry(role.to_owned()).or_default().add_counted(counted.clone());
            }
        }
        roles
    }

    /// Resources that `role` may use: unreserved, or reserved to it or to a role above it.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Self {
        self.filter(|e| e.reserved_to().is_none_or(|owner| is_descendant_or_self(role, owner)))
    }

    /// Resources that may be taken back.
    #[must_use]
    pub fn revocable(&self) -> Self {
        self.filter(|e| e.identity.revocable)
    }

    /// Resources that may not be taken back.
    #[must_use]
    pub fn nonrevocable(&self) -> Self {
        self.filter(|e| !e.identity.revocable)
    }

    /// Sum of the scalars of this name, in thousandths.
    #[must_use]
    pub fn scalar(&self, name: &str) -> Milli {
        let scalars =
            self.iter().filter(|e| e.identity.name == name).filter_map(|e| match e.value {
                Value::Scalar(milli) => Some(milli),
                Value::Ranges(_) | Value::Set(_) => None,
            });
        scalars.fold(0, Milli::saturating_add)
    }

    /// Sum of the amounts of this name, whatever their kind.
    #[must_use]
    pub fn quantity(&self, name: &str) -> Milli {
        let of_name = self.iter().filter(|e| e.identity.name == name);
        of_name.map(|e| e.value.quantity()).fold(0, Milli::saturating_add)
    }

    /// Names of all resources.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.entries().iter().map(|e| e.entry.identity.name.as_str()).collect()
    }

    /// Amounts by name, without identities.
    #[must_use]
    pub fn quantities(&self) -> Quantities {
        let mut quantities = Quantities::default();
        for entry in self.iter() {
            quantities.add(&entry.identity.name, entry.value.quantity());
        }
        quantities
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.is_copy_of(other) || self.contains(other) && other.contains(self)
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        let (mine, theirs) = (self.entries().len(), other.entries().len());
        if index::pays(mine.max(theirs), theirs) {
            return self.add_many(other.entries().iter().map(Cow::Borrowed));
        }
        for entry in other.entries() {
            self.add_counted(entry.clone());
        }
    }
}

impl SubAssign<&Resources> for Resources {
    fn sub_assign(&mut self, other: &Resources) {
        if self.is_copy_of(other) {
            *self = Self::new();
            return;
        }
        if index::pays(self.entries().len(), other.entries().len()) {
            self.subtract_many(other.entries().iter());
            return;
        }
        for entry in other.entries() {
            self.subtract(entry);
        }
    }
}

impl FromIterator<Entry> for Resources {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut out = Self::new();
        let entries: Vec<Entry> = entries.into_iter().collect();
        if index::pays(entries.len(), entries.len()) {
            out.add_many(entries.into_iter().map(|entry| Cow::Owned(Counted { entry, times: 1 })));
        } else {
            entries.into_iter().for_each(|entry| out.add(entry));
        }
        out
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries().is_empty() {
            return f.write_str("{}");
        }
        for (index, entry) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{entry}")?;
        }
        Ok(())
    }
}
