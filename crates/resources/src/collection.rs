//! The collection and its arithmetic.

use crate::entry::Entry;
use crate::index::{self, Index};
use crate::quantities::Quantities;
use crate::roles::is_descendant_or_self;
use crate::value::{Milli, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

/// A collection of resources.
///
/// Cheap to clone: copies share their entries until one of them changes.
///
/// Invariant: no entry is empty, and no two mergeable entries have the same identity.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// None: there are none.
    shared: Option<Arc<Vec<Entry>>>,
}

impl Resources {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { shared: None }
    }

    /// Of entries that obey the invariant.
    fn of(entries: Vec<Entry>) -> Self {
        Self { shared: (!entries.is_empty()).then(|| Arc::new(entries)) }
    }

    fn entries(&self) -> &[Entry] {
        self.shared.as_deref().map_or(&[], Vec::as_slice)
    }

    fn entries_mut(&mut self) -> &mut Vec<Entry> {
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
        if entry.value.is_empty() {
            return;
        }
        if entry.is_mergeable()
            && let Some(at) = self.entries().iter().position(|e| e.same_identity(&entry))
        {
            self.entries_mut()[at].value.add(&entry.value);
            return;
        }
        self.entries_mut().push(entry);
    }

    fn subtract(&mut self, entry: &Entry) {
        let whole = !entry.is_mergeable();
        let fits = |e: &Entry| e.same_identity(entry) && (!whole || e.value == entry.value);
        if let Some(at) = self.entries().iter().position(fits) {
            let entries = self.entries_mut();
            entries[at].value.subtract(&entry.value);
            if entries[at].value.is_empty() || whole {
                entries.remove(at);
            }
        }
    }

    /// Adds all of these, of which there are many.
    fn add_many<'a>(&mut self, others: impl Iterator<Item = &'a Entry>) {
        let entries = self.entries_mut();
        let mut index = Index::of(entries);
        for entry in others.filter(|e| !e.value.is_empty()) {
            if entry.is_mergeable() {
                let is_same = |at: &usize| entries[*at].same_identity(entry);
                if let Some(at) = index.places(entry).find(is_same) {
                    entries[at].value.add(&entry.value);
                    continue;
                }
            }
            index.insert(entry, entries.len());
            entries.push(entry.clone());
        }
    }

    /// Subtracts all of these, of which there are many; whether there was something of each.
    fn subtract_many<'a>(&mut self, others: impl Iterator<Item = &'a Entry>) -> bool {
        let entries = self.entries_mut();
        let mut index = Index::of(entries);
        let mut all_there = true;
        for entry in others {
            let whole = !entry.is_mergeable();
            let fits = |at: &usize| {
                let mine = &entries[*at];
                mine.same_identity(entry) && (!whole || mine.value == entry.value)
            };
            let Some(at) = index.places(entry).find(fits) else {
                all_there = false;
                continue;
            };
            let value = &mut entries[at].value;
            value.subtract(&entry.value);
            if value.is_empty() || whole {
                *value = Value::Scalar(0);
                index.remove(entry, at);
            }
        }
        entries.retain(|e| !e.value.is_empty());
        all_there
    }

    /// Whether all of `other` is in this, when there is much of both.
    fn contains_many(&self, other: &Resources) -> bool {
        let entries = self.entries();
        let index = Index::of(entries);
        let parts = other.entries().iter().filter(|e| e.is_mergeable()).all(|e| {
            let is_there = |at| {
                let mine: &Entry = &entries[at];
                mine.same_identity(e) && mine.value.contains(&e.value)
            };
            index.places(e).any(is_there)
        });
        let whole = other.entries().iter().filter(|e| !e.is_mergeable());
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
        let (mergeable, whole): (Vec<&Entry>, Vec<&Entry>) =
            other.entries().iter().partition(|e| e.is_mergeable());
        let parts = mergeable.iter().all(|e| {
            self.entries().iter().any(|mine| mine.same_identity(e) && mine.value.contains(&e.value))
        });
        if whole.is_empty() || !parts {
            return parts;
        }
        let mut left = self.clone();
        whole.iter().all(|e| {
            let before = left.entries().len();
            left.subtract(e);
            left.entries().len() < before
        })
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries().iter()
    }

    /// The entries for which `keep` holds.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        if self.entries().iter().all(&keep) {
            return self.clone();
        }
        Self::of(self.entries().iter().filter(|e| keep(e)).cloned().collect())
    }

    pub(crate) fn map_identity(&self, change: impl Fn(&mut crate::Identity)) -> Self {
        let mut out = Self::new();
        for entry in self.entries() {
            let mut identity = (*entry.identity).clone();
            change(&mut identity);
            out.add(Entry { identity: Arc::new(identity), value: entry.value.clone() });
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
            for entry in self.entries_mut() {
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
        for entry in self.entries() {
            let identity = &entry.identity;
            let Value::Scalar(milli) = entry.value else {
                out.push(entry.clone());
                continue;
            };
            let limit = cap(&identity.name).filter(|_| entry.is_quota_charged());
            let Some(limit) = limit else {
                out.push(entry.clone());
                continue;
            };
            let taken = taken.entry(&identity.name).or_default();
            let room = (limit - *taken).max(0).min(milli);
            let room = if entry.is_mergeable() || room == milli { room } else { 0 };
            if room > 0 {
                *taken += room;
                let value = Value::Scalar(room);
                out.push(Entry { identity: identity.clone(), value });
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
        self.entries().iter().map(|e| e.identity.allocated_to.as_deref()).collect()
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
        for entry in self.entries() {
            if let Some(role) = entry.reserved_to() {
                roles.entry(role.to_owned()).or_default().add(entry.clone());
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
        let scalars = self.entries().iter().filter(|e| e.identity.name == name).filter_map(|e| {
            match e.value {
                Value::Scalar(milli) => Some(milli),
                Value::Ranges(_) | Value::Set(_) => None,
            }
        });
        scalars.sum()
    }

    /// Sum of the amounts of this name, whatever their kind.
    #[must_use]
    pub fn quantity(&self, name: &str) -> Milli {
        self.entries().iter().filter(|e| e.identity.name == name).map(|e| e.value.quantity()).sum()
    }

    /// Names of all resources.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.entries().iter().map(|e| e.identity.name.as_str()).collect()
    }

    /// Amounts by name, without identities.
    #[must_use]
    pub fn quantities(&self) -> Quantities {
        let mut quantities = Quantities::default();
        for entry in self.entries() {
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
            return self.add_many(other.entries().iter());
        }
        for entry in other.entries() {
            self.add(entry.clone());
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
            out.add_many(entries.iter());
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
        for (index, entry) in self.entries().iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{entry}")?;
        }
        Ok(())
    }
}
