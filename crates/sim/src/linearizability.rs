//! Whether a history of reads and writes could have happened one after the other, each at one moment between its call and
//! its return: the search of Wing and Gong with Lowe's pruning ("Testing for linearizability", 2017).
//!
//! The object is a map. A write changes some of its keys at once, a read returns all of it. Of a write that failed or was
//! not answered nobody knows whether it was made: it may be left out.

use base::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Places in the history that are looked at, at most: more than that is taken as undecided, which is an error too.
const STEPS_MAX: u64 = 2_000_000;

/// A key of the map: section and name.
pub type Key = (String, String);

/// What an operation does. Values are known by their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Sets or removes keys.
    Write {
        /// The keys.
        changes: Vec<(Key, Option<u64>)>,
        /// It is known to have been made.
        is_certain: bool,
    },
    /// Returns everything.
    Read {
        /// What it returned.
        content: BTreeMap<Key, u64>,
    },
}

/// One operation of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// When it was called.
    pub called: Time,
    /// When it had returned: it has no effect afterwards.
    pub returned: Time,
    /// What it is.
    pub kind: Kind,
}

/// Stands for a value.
#[must_use]
pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The map, and a hash of it that does not depend on how it came about.
#[derive(Debug, Default)]
struct Map {
    values: BTreeMap<Key, u64>,
    sum: u64,
}

impl Map {
    /// Sets or removes a key; what it was before.
    fn set(&mut self, key: &Key, value: Option<u64>) -> Option<u64> {
        let old = match value {
            Some(value) => self.values.insert(key.clone(), value),
            None => self.values.remove(key),
        };
        for value in [old, value].into_iter().flatten() {
            self.sum ^= hash(&(key, value));
        }
        old
    }
}

/// A choice that was made: which operation came next, and what undoes it.
struct Choice {
    operation: usize,
    undo: Vec<(Key, Option<u64>)>,
    /// Choices that are left in its place.
    others: Vec<(usize, bool)>,
}

struct Search<'a> {
    operations: Vec<&'a Operation>,
    map: Map,
    done: Vec<bool>,
    /// The first one that is not done: calls are in order.
    first: usize,
    /// None after this one was done yet.
    last: usize,
    seen: BTreeSet<u64>,
    /// The most that were done at a time, for the message.
    longest: usize,
}

/// Looks for an order in which the history could have happened: first for each key alone, which is quick and says where
/// the fault is, then for all of them together.
///
/// # Errors
/// When there is none, or the search is too long: what could not be placed.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    for operation in history {
        match &operation.kind {
            Kind::Write { changes, .. } => keys.extend(changes.iter().map(|(key, _)| key)),
            Kind::Read { content } => keys.extend(content.keys()),
        }
    }
    for key in keys {
        let alone: Vec<Operation> = history.iter().filter_map(|o| o.on(key)).collect();
        search(&alone).map_err(|e| format!("{} of {}: {e}", key.1, key.0))?;
    }
    search(history)
}

impl Operation {
    /// What it is for one key; None: nothing.
    fn on(&self, key: &Key) -> Option<Self> {
        let kind = match &self.kind {
            Kind::Write { changes, is_certain } => {
                let changes: Vec<_> = changes.iter().filter(|(k, _)| k == key).cloned().collect();
                if changes.is_empty() {
                    return None;
                }
                Kind::Write { changes, is_certain: *is_certain }
            }
            Kind::Read { content } => {
                let content = content.get_key_value(key).into_iter();
                Kind::Read { content: content.map(|(k, v)| (k.clone(), *v)).collect() }
            }
        };
        Some(Self { kind, ..*self })
    }
}

fn search(history: &[Operation]) -> Result<(), String> {
    let mut operations: Vec<&Operation> = history.iter().collect();
    operations.sort_by_key(|o| (o.called, o.returned));
    let count = operations.len();
    let done = vec![false; count];
    let seen = BTreeSet::new();
    let map = Map::default();
    let mut search = Search { operations, map, done, first: 0, last: 0, seen, longest: 0 };
    search.run(count)
}

impl Search<'_> {
    fn run(&mut self, count: usize) -> Result<(), String> {
        let mut choices: Vec<Choice> = Vec::new();
        let mut made = 0;
        let mut next = self.candidates();
        for _ in 0..STEPS_MAX {
            if made == count {
                return Ok(());
            }
            if let Some((operation, applied)) = next.pop() {
                let Some(undo) = self.apply(operation, applied) else { continue };
                if !self.seen.insert(self.place()) {
                    self.undo(operation, undo);
                    continue;
                }
                choices.push(Choice { operation, undo, others: next });
                made += 1;
                self.longest = self.longest.max(made);
                next = self.candidates();
                continue;
            }
            let Some(Choice { operation, undo, others }) = choices.pop() else {
                return Err(self.fault());
            };
            self.undo(operation, undo);
            made -= 1;
            next = others;
        }
        Err(format!("the history is too long to decide: {} of {count} fit", self.longest))
    }

    /// Operations that may come next: called before any other one that is not done has returned. The last one is tried
    /// first; `true`: it has its effect.
    fn candidates(&self) -> Vec<(usize, bool)> {
        let mut until = Time(u64::MAX);
        let mut open = Vec::new();
        for (at, operation) in self.operations.iter().enumerate().skip(self.first) {
            if operation.called > until {
                break;
            }
            if !self.done[at] {
                until = until.min(operation.returned);
                open.push(at);
            }
        }
        open.retain(|at| self.operations[*at].called <= until);
        let is_doubtful = |at: &usize| {
            matches!(&self.operations[*at].kind, Kind::Write { is_certain: false, .. })
        };
        let (doubtful, certain): (Vec<usize>, Vec<usize>) = open.into_iter().partition(is_doubtful);
        let hint = if doubtful.is_empty() { None } else { self.next_read() };
        let mut all = Vec::new();
        for at in doubtful.into_iter().rev() {
            let is_seen = hint.is_some_and(|content| self.shows(content, at));
            all.extend([(at, !is_seen), (at, is_seen)]);
        }
        all.extend(certain.into_iter().rev().map(|at| (at, true)));
        all
    }

    /// What the next read returns.
    fn next_read(&self) -> Option<&BTreeMap<Key, u64>> {
        let all = self.operations.iter().zip(&self.done).skip(self.first);
        all.filter(|(_, done)| !**done).find_map(|(operation, _)| match &operation.kind {
            Kind::Read { content } => Some(content),
            Kind::Write { .. } => None,
        })
    }

    /// Whether what is read is as if a write had been made.
    fn shows(&self, content: &BTreeMap<Key, u64>, at: usize) -> bool {
        match &self.operations[at].kind {
            Kind::Write { changes, .. } => {
                changes.iter().all(|(key, value)| content.get(key) == value.as_ref())
            }
            Kind::Read { .. } => false,
        }
    }

    /// Does an operation, if the map allows it: what undoes it.
    fn apply(&mut self, at: usize, applied: bool) -> Option<Vec<(Key, Option<u64>)>> {
        let mut undo = Vec::new();
        match &self.operations[at].kind {
            Kind::Read { content } => {
                if *content != self.map.values {
                    return None;
                }
            }
            Kind::Write { changes, .. } if applied => {
                for (key, value) in changes {
                    undo.push((key.clone(), self.map.set(key, *value)));
                }
            }
            Kind::Write { .. } => {}
        }
        self.done[at] = true;
        self.last = self.last.max(at + 1);
        while self.done.get(self.first) == Some(&true) {
            self.first += 1;
        }
        self.last = self.last.max(self.first);
        Some(undo)
    }

    fn undo(&mut self, at: usize, undo: Vec<(Key, Option<u64>)>) {
        for (key, value) in undo.into_iter().rev() {
            self.map.set(&key, value);
        }
        self.done[at] = false;
        self.first = self.first.min(at);
    }

    /// Stands for what is done and what came of it: whoever was here once need not look again.
    fn place(&self) -> u64 {
        let beyond = self.done[self.first..self.last].iter().enumerate();
        let beyond: Vec<usize> = beyond.filter(|(_, done)| **done).map(|(at, _)| at).collect();
        hash(&(self.first, beyond, self.map.sum))
    }

    fn fault(&self) -> String {
        let last = self.operations.get(self.longest).map(|o| match &o.kind {
            Kind::Read { content } => format!("a read of {} keys at {}", content.len(), o.called),
            Kind::Write { changes, .. } => format!("a write of {changes:?} at {}", o.called),
        });
        format!(
            "{} of {} operations fit one after the other, not so {}",
            self.longest,
            self.operations.len(),
            last.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("s".to_owned(), name.to_owned())
    }

    fn operation(called: u64, returned: u64, kind: Kind) -> Operation {
        Operation { called: Time(called), returned: Time(returned), kind }
    }

    fn write(called: u64, returned: u64, name: &str, value: u64) -> Operation {
        let changes = vec![(key(name), Some(value))];
        operation(called, returned, Kind::Write { changes, is_certain: true })
    }

    fn doubtful(called: u64, returned: u64, name: &str, value: u64) -> Operation {
        let changes = vec![(key(name), Some(value))];
        operation(called, returned, Kind::Write { changes, is_certain: false })
    }

    fn read(called: u64, returned: u64, content: &[(&str, u64)]) -> Operation {
        let content = content.iter().map(|(name, value)| (key(name), *value)).collect();
        operation(called, returned, Kind::Read { content })
    }

    #[test]
    fn what_could_have_happened_is_fine() {
        let histories = [
            vec![],
            vec![write(1, 2, "a", 1), read(3, 4, &[("a", 1)])],
            // At the same time: either order.
            vec![write(1, 5, "a", 1), read(2, 3, &[]), read(3, 4, &[("a", 1)])],
            vec![write(1, 5, "a", 1), write(1, 5, "a", 2), read(6, 7, &[("a", 1)])],
            // Nobody knows: made, or not, or between two reads.
            vec![doubtful(1, 9, "a", 1), read(2, 3, &[])],
            vec![doubtful(1, 9, "a", 1), read(2, 3, &[("a", 1)])],
            vec![doubtful(1, 9, "a", 1), read(2, 3, &[]), read(4, 5, &[("a", 1)])],
            vec![
                doubtful(1, 9, "a", 1),
                doubtful(2, 9, "b", 1),
                doubtful(3, 9, "a", 2),
                read(10, 11, &[("a", 2), ("b", 1)]),
            ],
        ];
        for history in histories {
            assert_eq!(check(&history), Ok(()), "{history:?}");
        }
    }

    #[test]
    fn what_could_not_is_found() {
        let both = vec![(key("a"), Some(2)), (key("b"), Some(2))];
        let histories = [
            // A write is lost.
            vec![write(1, 2, "a", 1), read(3, 4, &[])],
            // A former value.
            vec![write(1, 2, "a", 1), write(3, 4, "a", 2), read(5, 6, &[("a", 1)])],
            // A value that nobody wrote.
            vec![read(1, 2, &[("a", 1)])],
            // Read before it was written.
            vec![read(1, 2, &[("a", 1)]), write(3, 4, "a", 1)],
            // Seen once, and then no more.
            vec![write(1, 9, "a", 1), read(2, 3, &[("a", 1)]), read(4, 5, &[])],
            vec![doubtful(1, 9, "a", 1), read(2, 3, &[("a", 1)]), read(4, 5, &[])],
            // After a later master has read without it.
            vec![doubtful(1, 3, "a", 1), read(4, 5, &[]), read(6, 7, &[("a", 1)])],
            // Two reads in different orders.
            vec![
                write(1, 9, "a", 1),
                write(1, 9, "b", 1),
                read(2, 3, &[("a", 1)]),
                read(4, 5, &[("b", 1)]),
            ],
            // Half a write.
            vec![
                operation(1, 2, Kind::Write { changes: both, is_certain: true }),
                read(3, 4, &[("a", 2)]),
            ],
        ];
        for history in histories {
            assert!(check(&history).is_err(), "{history:?}");
        }
    }

    #[test]
    fn a_long_history_with_many_doubts_is_decided() {
        let mut history = Vec::new();
        let mut content = BTreeMap::new();
        for round in 0..200_u64 {
            let at = 100 * round;
            for i in 0..20 {
                let name = format!("k{i}");
                history.push(write(at + i, at + i + 1, &name, round));
                content.insert(key(&name), round);
            }
            // The last ones of a leader that died: of two, one was made.
            history.push(doubtful(at + 30, at + 50, "lost", round));
            history.push(doubtful(at + 31, at + 50, "found", round));
            content.insert(key("found"), round);
            let content = content.iter().map(|(k, v)| (k.clone(), *v)).collect();
            history.push(operation(at + 60, at + 61, Kind::Read { content }));
        }
        assert_eq!(check(&history), Ok(()));
        history.push(read(99_999, 100_000, &[]));
        assert!(check(&history).is_err());
    }
}
