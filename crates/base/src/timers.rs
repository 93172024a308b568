use crate::Time;
use std::collections::{BTreeMap, BTreeSet};

/// One table of all pending timers of a core. A key has at most one time.
///
/// Invariant: `by_time` and `by_key` hold the same pairs.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    by_time: BTreeSet<(Time, K)>,
    by_key: BTreeMap<K, Time>,
}

impl<K: Ord + Clone> Timers<K> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Sets (or moves) the timer `key` to `at`.
    pub fn set(&mut self, key: K, at: Time) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Removes the timer `key`, if it is set.
    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// Takes one timer that is due at `now`, earliest first, ties in key order.
    pub fn pop_due(&mut self, now: Time) -> Option<K> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// When the timer `key` is due, if it is set.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Time> {
        self.by_key.get(key).copied()
    }

    /// Number of timers set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_timer_fires_once_at_its_new_time() {
        let mut timers = Timers::new();
        timers.set("a", Time(5));
        timers.set("b", Time(3));
        timers.set("a", Time(1));
        assert_eq!(timers.next(), Some(Time(1)));
        assert_eq!(timers.pop_due(Time(4)), Some("a"));
        assert_eq!(timers.pop_due(Time(4)), Some("b"));
        assert_eq!(timers.pop_due(Time(9)), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_cancelled_timer_never_fires() {
        let mut timers = Timers::new();
        timers.set(1, Time(5));
        timers.cancel(&1);
        timers.cancel(&2);
        assert_eq!(timers.next(), None);
        assert_eq!(timers.pop_due(Time(10)), None);
    }
}
