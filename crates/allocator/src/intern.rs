//! Identities that are shared: most resources of most agents differ in amount only, so that comparing pointers is
//! enough, and allocating them to a role costs no copy.

use resources::{Identity, Resources};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Address of an identity that the interner keeps alive.
type Address = usize;

#[derive(Debug, Clone, Default)]
pub(crate) struct Interner {
    /// Unreserved, unshared, without disk: by name.
    plain: BTreeMap<String, Arc<Identity>>,
    /// Such an identity, allocated to a role.
    allocated: BTreeMap<(Address, u32), Arc<Identity>>,
    /// And back.
    unallocated: BTreeMap<Address, Arc<Identity>>,
}

fn address(identity: &Arc<Identity>) -> Address {
    Arc::as_ptr(identity) as usize
}

impl Interner {
    /// The same resources with shared identities.
    pub(crate) fn intern(&mut self, resources: Resources) -> Resources {
        resources.with_identities(|identity| {
            if !identity.is_plain() {
                return identity;
            }
            self.plain.entry(identity.name.clone()).or_insert(identity).clone()
        })
    }

    fn is_interned(&self, identity: &Arc<Identity>) -> bool {
        self.plain.get(&identity.name).is_some_and(|known| Arc::ptr_eq(known, identity))
    }

    /// Interned resources, allocated to a role.
    pub(crate) fn allocate(&mut self, resources: &Resources, number: u32, role: &str) -> Resources {
        if !resources.iter().all(|e| self.is_interned(&e.identity)) {
            return resources.allocated_to(role);
        }
        resources.clone().with_identities(|identity| {
            let known = self.allocated.entry((address(&identity), number));
            let allocated = known.or_insert_with(|| {
                let allocated =
                    Identity { allocated_to: Some(role.to_owned()), ..(*identity).clone() };
                Arc::new(allocated)
            });
            self.unallocated.entry(address(allocated)).or_insert(identity);
            allocated.clone()
        })
    }

    /// The same without allocation, interned.
    pub(crate) fn unallocate(&mut self, resources: &Resources) -> Resources {
        let is_known = |e: &resources::Entry| self.unallocated.contains_key(&address(&e.identity));
        if resources.iter().all(is_known) {
            return resources
                .clone()
                .with_identities(|i| self.unallocated.get(&address(&i)).cloned().unwrap_or(i));
        }
        self.intern(resources.unallocated())
    }
}
