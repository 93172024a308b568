//! Copies of shared resources are counted (spec/master.md 3.2): one entry stands for all of them.

use crate::entry::Entry;
use std::sync::Arc;

/// An entry, and how often it is there: more than once only if it is shared.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) entry: Entry,
    pub(crate) times: u64,
}

impl Counted {
    pub(crate) fn is_empty(&self) -> bool {
        self.times == 0 || self.entry.value.is_empty()
    }

    /// Whether `other` can be added to this. Copies of a volume that are mounted in different ways stay apart.
    pub(crate) fn can_take(&self, other: &Entry) -> bool {
        let mine = &self.entry;
        if other.is_mergeable() {
            return mine.same_identity(other);
        }
        let is_same =
            || Arc::ptr_eq(&mine.identity, &other.identity) || *mine.identity == *other.identity;
        mine.identity.shared && mine.value == other.value && is_same()
    }

    pub(crate) fn take(&mut self, other: &Self) {
        if other.entry.is_mergeable() {
            self.entry.value.add(&other.entry.value);
        } else {
            self.times += other.times;
        }
    }

    /// Whether there is something of `other` here: what does not merge is there as a whole or not at all.
    pub(crate) fn can_give(&self, other: &Entry) -> bool {
        !self.is_empty()
            && self.entry.same_identity(other)
            && (other.is_mergeable() || self.entry.value == other.value)
    }

    /// Takes `other` away, `times` at most; how often it was here.
    pub(crate) fn give(&mut self, other: &Entry, times: u64) -> u64 {
        if other.is_mergeable() {
            self.entry.value.subtract(&other.value);
            return times;
        }
        let given = times.min(self.times);
        self.times -= given;
        given
    }
}

/// Entries one by one, copies of a shared one as often as they are there.
pub(crate) struct Iter<'a> {
    pub(crate) entries: std::slice::Iter<'a, Counted>,
    /// What comes again, so often.
    pub(crate) again: Option<(&'a Entry, u64)>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        if let Some((entry, left)) = self.again {
            self.again = (left > 1).then_some((entry, left - 1));
            return Some(entry);
        }
        let Counted { entry, times } = self.entries.next()?;
        self.again = (*times > 1).then_some((entry, times - 1));
        Some(entry)
    }
}
