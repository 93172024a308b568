use crate::WriteId;
use std::collections::BTreeMap;

/// What waits for a write to be durable: released at its completion, in order. `T` is usually an effect
/// or a continuation as data.
#[derive(Debug, Clone)]
pub struct Held<T> {
    next: u64,
    waiting: BTreeMap<WriteId, Vec<T>>,
}

impl<T> Held<T> {
    /// Nothing is held; the first write gets id 1.
    #[must_use]
    pub fn new() -> Self {
        Self { next: 1, waiting: BTreeMap::new() }
    }

    /// Holds `items` until the write named by the returned id completes.
    pub fn hold(&mut self, items: Vec<T>) -> WriteId {
        let id = WriteId(self.next);
        self.next += 1;
        self.waiting.insert(id, items);
        id
    }

    /// What waited for `id`; empty for an unknown or repeated completion.
    pub fn release(&mut self, id: WriteId) -> Vec<T> {
        self.waiting.remove(&id).unwrap_or_default()
    }

    /// Number of writes that are awaited.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no write is awaited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_releases_its_own_items_once() {
        let mut held = Held::new();
        let (a, b) = (held.hold(vec![1, 2]), held.hold(vec![3]));
        assert_eq!(held.release(b), vec![3]);
        assert_eq!(held.release(a), vec![1, 2]);
        assert_eq!(held.release(a), Vec::<i32>::new());
        assert!(held.is_empty());
    }
}
