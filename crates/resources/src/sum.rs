//! Sums of many collections: what is different piles up, and must not be looked through for each of them.

use crate::collection::Resources;
use crate::counted::Counted;
use crate::index::Index;
use std::iter::Sum;

/// So many different entries are looked through.
const FEW: usize = 32;

impl<'a> Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(all: I) -> Self {
        let mut sum = Resources::new();
        let mut all = all.fuse();
        while sum.entries().len() <= FEW {
            let Some(next) = all.next() else { return sum };
            sum += next;
        }
        let mut entries: Vec<Counted> = sum.entries().to_vec();
        let mut index = Index::of(entries.iter().map(|e| &e.entry));
        for other in all.flat_map(Resources::entries) {
            let is_addable = other.entry.is_mergeable() || other.entry.identity.shared;
            let known = index
                .places(&other.entry)
                .take_while(|_| is_addable)
                .find(|at| entries[*at].can_take(&other.entry));
            if let Some(at) = known {
                entries[at].take(other);
            } else {
                index.insert(&other.entry, entries.len());
                entries.push(other.clone());
            }
        }
        Resources::of(entries)
    }
}
