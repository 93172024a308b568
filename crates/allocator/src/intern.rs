//! What is shared: most resources of most agents differ in amount only, and many agents have the same. Identities are
//! kept once, so that comparing pointers is enough; so are whole collections, so that to take, to allocate and to give
//! back what an agent has costs no copy, and agents that are alike take no memory for what they have.

use resources::{Identity, Resources, Value};
use rustc_hash::FxHasher;
use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

/// Address of something that the interner keeps alive.
type Address = usize;

/// So many collections are kept at least before those that nobody has are dropped.
const WHOLES_MIN: usize = 4096;
/// So many allocated collections are kept.
const ALLOCATED_MAX: usize = 65_536;

#[derive(Debug, Clone, Default)]
pub(crate) struct Interner {
    /// Unreserved, unshared, without disk: by name.
    plain: BTreeMap<String, Arc<Identity>>,
    /// Such an identity, allocated to a role.
    allocated: BTreeMap<(Address, u32), Arc<Identity>>,
    /// And back.
    unallocated: BTreeMap<Address, Arc<Identity>>,
    wholes: Wholes,
}

/// Collections that are kept once; all of their identities are plain.
#[derive(Debug, Clone, Default)]
struct Wholes {
    by_digest: BTreeMap<u64, Resources>,
    /// So many were left when the unused ones were dropped.
    kept: usize,
    /// Such a collection, allocated to a role.
    allocated: BTreeMap<(Address, u32), Resources>,
    /// And back.
    unallocated: BTreeMap<Address, Resources>,
}

fn address(identity: &Arc<Identity>) -> Address {
    Arc::as_ptr(identity) as usize
}

/// The same for the same amounts of the same interned identities in the same order.
fn digest(resources: &Resources) -> u64 {
    let mut hasher = FxHasher::default();
    for entry in resources.iter() {
        address(&entry.identity).hash(&mut hasher);
        entry.value.hash(&mut hasher);
    }
    hasher.finish()
}

impl Wholes {
    /// The copy that is kept.
    fn share(&mut self, resources: Resources) -> Resources {
        let digest = digest(&resources);
        match self.by_digest.get(&digest) {
            Some(known) if is_same(known, &resources) => known.clone(),
            // Two of one digest: the second is not shared.
            Some(_) => resources,
            None => {
                if self.by_digest.len() >= WHOLES_MIN.max(2 * self.kept) {
                    self.drop_unused();
                }
                self.by_digest.insert(digest, resources.clone());
                resources
            }
        }
    }

    fn drop_unused(&mut self) {
        self.allocated.clear();
        self.unallocated.clear();
        self.by_digest.retain(|_, known| known.copies() > 1);
        self.kept = self.by_digest.len();
    }

    fn remember(&mut self, plain: &Resources, role: u32, allocated: &Resources) {
        let known = self.by_digest.get(&digest(plain));
        if known.is_some_and(|known| known.is_copy_of(plain)) {
            if self.allocated.len() >= ALLOCATED_MAX {
                self.allocated.clear();
                self.unallocated.clear();
            }
            self.allocated.insert((plain.address(), role), allocated.clone());
            self.unallocated.insert(allocated.address(), plain.clone());
        }
    }
}

fn is_same(one: &Resources, other: &Resources) -> bool {
    let is_same = |(a, b): (&resources::Entry, &resources::Entry)| {
        Arc::ptr_eq(&a.identity, &b.identity) && a.value == b.value
    };
    one.is_copy_of(other)
        || one.iter().count() == other.iter().count() && one.iter().zip(other.iter()).all(is_same)
}

impl Interner {
    /// The same resources with shared identities, and shared as a whole.
    pub(crate) fn intern(&mut self, resources: Resources) -> Resources {
        let resources = resources.with_identities(|identity| {
            if !identity.is_plain() {
                return identity;
            }
            self.plain.entry(identity.name.clone()).or_insert(identity).clone()
        });
        self.share(resources)
    }

    /// The copy that is kept of resources with shared identities.
    pub(crate) fn share(&mut self, resources: Resources) -> Resources {
        // What is never the same twice, is not worth it.
        let is_common = |e: &resources::Entry| {
            self.is_interned(&e.identity) && !matches!(e.value, Value::Set(_))
        };
        if resources.iter().all(is_common) { self.wholes.share(resources) } else { resources }
    }

    fn is_interned(&self, identity: &Arc<Identity>) -> bool {
        self.plain.get(&identity.name).is_some_and(|known| Arc::ptr_eq(known, identity))
    }

    /// Interned resources, allocated to a role.
    pub(crate) fn allocate(&mut self, resources: &Resources, number: u32, role: &str) -> Resources {
        if let Some(known) = self.wholes.allocated.get(&(resources.address(), number)) {
            return known.clone();
        }
        if !resources.iter().all(|e| self.is_interned(&e.identity)) {
            return resources.allocated_to(role);
        }
        let allocated = resources.clone().with_identities(|identity| {
            let known = self.allocated.entry((address(&identity), number));
            let allocated = known.or_insert_with(|| {
                let allocated =
                    Identity { allocated_to: Some(role.to_owned()), ..(*identity).clone() };
                Arc::new(allocated)
            });
            self.unallocated.entry(address(allocated)).or_insert(identity);
            allocated.clone()
        });
        self.wholes.remember(resources, number, &allocated);
        allocated
    }

    /// The same without allocation, interned.
    pub(crate) fn unallocate(&mut self, resources: &Resources) -> Resources {
        if let Some(known) = self.wholes.unallocated.get(&resources.address()) {
            return known.clone();
        }
        let is_known = |e: &resources::Entry| self.unallocated.contains_key(&address(&e.identity));
        if resources.iter().all(is_known) {
            let plain = resources
                .clone()
                .with_identities(|i| self.unallocated.get(&address(&i)).cloned().unwrap_or(i));
            return self.share(plain);
        }
        self.intern(resources.unallocated())
    }
}
