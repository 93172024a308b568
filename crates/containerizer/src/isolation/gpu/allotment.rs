//! Which container has which GPUs.

use crate::isolation::Running;
use crate::supervisor::Files;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Name of a file in a container's runtime directory: the minor numbers of its GPUs.
const FILE: &str = "gpus";

/// The books: whole GPUs, each of one container at most, or of a pod.
#[derive(Debug)]
pub(super) struct Allotments {
    all: BTreeSet<u32>,
    containers: PathBuf,
    taken: Mutex<BTreeMap<String, BTreeSet<u32>>>,
}

impl Allotments {
    pub(super) fn new(all: BTreeSet<u32>, containers: PathBuf) -> Self {
        Self { all, containers, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<u32>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of containers that run belong to them still.
    pub(super) fn recover(&self, running: &[Running]) {
        for Running { container_id, .. } in running {
            let file = self.containers.join(container_id).join(FILE);
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let minors: BTreeSet<u32> =
                text.split_whitespace().filter_map(|m| m.parse().ok()).collect();
            if !minors.is_empty() {
                self.taken().insert(container_id.clone(), minors);
            }
        }
    }

    /// A container that ran on under another agent has these.
    pub(super) fn keep(&self, container_id: &str, minors: BTreeSet<u32>) {
        self.taken().insert(container_id.to_owned(), minors);
    }

    /// Gives a container so many, of which somebody else keeps the books on the disk.
    pub(super) fn give(&self, container_id: &str, count: usize) -> Result<BTreeSet<u32>, String> {
        let mut taken = self.taken();
        let own = self.choose(&taken, container_id, count)?;
        taken.insert(container_id.to_owned(), own.clone());
        Ok(own)
    }

    /// Gives a container so many in all, or takes back.
    pub(super) fn set(&self, container_id: &str, count: usize) -> Result<(), String> {
        let mut taken = self.taken();
        let own = self.choose(&taken, container_id, count)?;
        if own == taken.get(container_id).cloned().unwrap_or_default() {
            return Ok(());
        }
        let text: Vec<String> = own.iter().map(u32::to_string).collect();
        let file = self.containers.join(container_id).join(FILE);
        std::fs::write(&file, text.join(" "))
            .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        taken.insert(container_id.to_owned(), own);
        Ok(())
    }

    fn choose(
        &self,
        taken: &BTreeMap<String, BTreeSet<u32>>,
        container_id: &str,
        count: usize,
    ) -> Result<BTreeSet<u32>, String> {
        let mut own = taken.get(container_id).cloned().unwrap_or_default();
        while own.len() > count {
            own.pop_last();
        }
        let others: BTreeSet<u32> = taken.values().flatten().copied().collect();
        let free = self.all.difference(&others);
        let wanted = count - own.len();
        own.extend(free.take(wanted));
        if own.len() < count {
            return Err(format!("it asks for {count} GPUs, and {} are free", own.len()));
        }
        Ok(own)
    }

    /// Those that a container may use: its own, or of the one around all around it.
    pub(super) fn of(&self, container_id: &str) -> BTreeSet<u32> {
        let mut id = container_id.to_owned();
        while let Some(parent) = Files(self.containers.join(&id)).parent() {
            id = parent;
        }
        self.taken().get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn release(&self, container_id: &str) {
        self.taken().remove(container_id);
    }

    /// All that are given to containers.
    pub(super) fn all(&self) -> &BTreeSet<u32> {
        &self.all
    }
}
