//! Containers inside containers: they end before the one around them is said to have ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};

/// Which containers run inside others.
#[derive(Debug)]
pub(crate) struct Family {
    /// The container around each one that has one.
    parents: Mutex<BTreeMap<String, String>>,
    /// Something inside another one has ended.
    changed: Notify,
    /// Containers to be destroyed.
    doomed: mpsc::UnboundedSender<String>,
}

impl Family {
    /// Containers that have to be destroyed come out of the receiver.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (doomed, receiver) = mpsc::unbounded_channel();
        (Self { parents: Mutex::default(), changed: Notify::new(), doomed }, receiver)
    }

    fn parents(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.parents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container is started inside another one, or was found there.
    pub(crate) fn add(&self, child: &str, parent: &str) {
        self.parents().insert(child.to_owned(), parent.to_owned());
    }

    /// A container has ended, or was not started after all.
    pub(crate) fn remove(&self, child: &str) {
        if self.parents().remove(child).is_some() {
            self.changed.notify_waiters();
        }
    }

    fn children(&self, parent: &str) -> Vec<String> {
        let parents = self.parents();
        let inside = parents.iter().filter(|(_, around)| *around == parent);
        inside.map(|(child, _)| child.clone()).collect()
    }

    /// A container has ended: has everything inside it destroyed, and waits for that.
    pub(crate) async fn end_inside(&self, parent: &str) {
        let mut told = false;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let children = self.children(parent);
            if children.is_empty() {
                return;
            }
            if !std::mem::replace(&mut told, true) {
                children.into_iter().for_each(|child| drop(self.doomed.send(child)));
            }
            changed.await;
        }
    }
}
