//! A random order in which an item of twice the weight is twice as likely to come before another one, drawn item by
//! item: who is served first often leaves nothing for the rest.

use base::Rng;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Items that are not drawn yet.
pub(crate) enum Draw<T> {
    /// All of the same weight.
    Equal(Vec<T>),
    /// Greatest key first (Efraimidis and Spirakis 2006).
    Weighted(BinaryHeap<Keyed<T>>),
}

pub(crate) struct Keyed<T> {
    key: f64,
    item: T,
}

impl<T: Copy> Draw<T> {
    #[expect(clippy::cast_precision_loss, reason = "53 random bits are enough")]
    pub(crate) fn new(items: Vec<T>, weight: impl Fn(&T) -> f64, rng: &mut Rng) -> Self {
        let first = items.first().map(&weight);
        if items.iter().all(|item| Some(weight(item)) == first) {
            return Draw::Equal(items);
        }
        let mut keyed = |item: T| {
            let uniform = ((rng.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            Keyed { key: uniform.ln() / weight(&item), item }
        };
        Draw::Weighted(items.into_iter().map(&mut keyed).collect())
    }

    /// The next one.
    #[expect(clippy::cast_possible_truncation, reason = "below the number of items")]
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Option<T> {
        match self {
            Draw::Equal(items) if items.is_empty() => None,
            Draw::Equal(items) => Some(items.swap_remove(rng.below(items.len() as u64) as usize)),
            Draw::Weighted(heap) => heap.pop().map(|keyed| keyed.item),
        }
    }
}

impl<T> Ord for Keyed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key)
    }
}

impl<T> PartialOrd for Keyed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Keyed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Keyed<T> {}
