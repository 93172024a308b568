//! What was read from and written to the registry, as masters saw it: for the check that it is linearizable.

use super::{Key, Write};
use crate::linearizability::{Kind, Operation, hash};
use base::{Time, WriteId};
use master_core::registry::RegistryOp;
use std::collections::BTreeMap;

/// Operations of a run.
#[derive(Debug, Default)]
pub(crate) struct History {
    operations: Vec<Operation>,
    /// Writes that have not ended: the term of their master, and which operation it is.
    open: BTreeMap<(u64, WriteId), usize>,
    /// Calls of reads.
    reads: BTreeMap<u64, Time>,
}

impl History {
    /// The master of this term asks for a change.
    pub(crate) fn writes(&mut self, now: Time, term: u64, (id, ops): &Write) {
        let changes = ops.iter().map(|op| match op {
            RegistryOp::Put { section, key, value } => {
                ((section.clone(), key.clone()), Some(hash(value)))
            }
            RegistryOp::Delete { section, key } => ((section.clone(), key.clone()), None),
        });
        let kind = Kind::Write { changes: changes.collect(), is_certain: false };
        self.open.insert((term, *id), self.operations.len());
        self.operations.push(Operation { called: now, returned: Time(u64::MAX), kind });
    }

    /// A change is said to be made, or not. One of which it is not known may have been made until now, or later as long
    /// as the same master leads.
    pub(crate) fn written(&mut self, now: Time, term: u64, id: WriteId, is_made: bool) {
        if !is_made {
            return;
        }
        let Some(at) = self.open.remove(&(term, id)) else { return };
        let operation = &mut self.operations[at];
        operation.returned = now;
        if let Kind::Write { is_certain, .. } = &mut operation.kind {
            *is_certain = true;
        }
    }

    /// A master was told that nobody but it writes: what former ones wrote was made by now, or never will be.
    pub(crate) fn taken(&mut self, now: Time, term: u64) {
        for ((of, _), at) in std::mem::take(&mut self.open) {
            if of < term {
                self.operations[at].returned = now;
            }
        }
        self.reads.insert(term, now);
    }

    /// The master of this term has read everything.
    pub(crate) fn read(&mut self, now: Time, term: u64, content: &[(Key, Vec<u8>)]) {
        let called = self.reads.remove(&term).unwrap_or(now);
        let content = content.iter().map(|(key, value)| (key.clone(), hash(value))).collect();
        self.operations.push(Operation { called, returned: now, kind: Kind::Read { content } });
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }
}
