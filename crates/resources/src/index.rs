//! Finding entries by what they are, in collections too large to look through for each one.

use crate::Identity;
use crate::entry::Entry;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use wire::v1;

/// Pairs of entries from which on it pays.
const PAIRS: usize = 1024;
/// Entries to look for from which on it pays: an index of all others takes as long as looking through them a few times.
const WANTED: usize = 16;

/// Whether looking for so many entries among so many others takes long.
pub(crate) fn pays(many: usize, wanted: usize) -> bool {
    wanted >= WANTED && many.saturating_mul(wanted) >= PAIRS
}

/// Places of entries, by a digest of their identities.
#[derive(Debug, Default)]
pub(crate) struct Index {
    places: BTreeSet<(u64, usize)>,
}

impl Index {
    pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let places = entries.enumerate().map(|(at, e)| (digest(&e.identity), at));
        Self { places: places.collect() }
    }

    pub(crate) fn insert(&mut self, entry: &Entry, at: usize) {
        self.places.insert((digest(&entry.identity), at));
    }

    pub(crate) fn remove(&mut self, entry: &Entry, at: usize) {
        self.places.remove(&(digest(&entry.identity), at));
    }

    /// Where an entry may be, first places first: equal identities are among them.
    pub(crate) fn places(&self, entry: &Entry) -> impl Iterator<Item = usize> {
        let digest = digest(&entry.identity);
        self.places.range((digest, 0)..=(digest, usize::MAX)).map(|(_, at)| *at)
    }
}

/// The same for equal identities, whatever does not count for equality.
fn digest(identity: &Identity) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.name.hash(&mut hasher);
    identity.allocated_to.hash(&mut hasher);
    identity.provider.hash(&mut hasher);
    for reservation in &identity.reservations {
        reservation.role.hash(&mut hasher);
        reservation.principal.hash(&mut hasher);
        // Whatever their order.
        let labels = reservation.labels.iter().flat_map(|labels| &labels.labels);
        labels.map(digest_of_label).fold(0, u64::wrapping_add).hash(&mut hasher);
    }
    let persistence = identity.disk.as_ref().and_then(|disk| disk.persistence.as_ref());
    persistence.map(|persistence| &persistence.id).hash(&mut hasher);
    hasher.finish()
}

fn digest_of_label(label: &v1::Label) -> u64 {
    let mut hasher = DefaultHasher::new();
    label.key.hash(&mut hasher);
    label.value.hash(&mut hasher);
    hasher.finish()
}
