//! A status that its framework acknowledged is not sent to it again, as long as the master lives that took the
//! acknowledgement (spec/agent.md 4.1, docs/decisions/009-exactly-one-start.md).

use base::Token;
use std::collections::{BTreeMap, BTreeSet};
use wire::v1::scheduler;

/// What one master was told.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    /// Calls that are not answered: uuid of the status.
    asked: BTreeMap<Token, Vec<u8>>,
    /// Uuids that the master took.
    taken: BTreeSet<Vec<u8>>,
}

impl Acknowledgements {
    pub(crate) fn asked(&mut self, token: Token, call: &scheduler::Call) {
        if let Some(acknowledge) = &call.acknowledge {
            self.asked.insert(token, acknowledge.uuid.clone());
        }
    }

    pub(crate) fn answered(&mut self, token: Token, status: u16) {
        self.taken.extend(self.asked.remove(&token).filter(|_| status == 202));
    }

    /// The master sends an event.
    pub(crate) fn sent(&self, event: &scheduler::Event) -> Result<(), String> {
        let status = event.update.as_ref().map(|update| &update.status);
        match status.filter(|status| self.taken.contains(status.uuid())) {
            None => Ok(()),
            Some(status) => Err(format!(
                "{} of task {} is sent again after its acknowledgement",
                status.state().as_str_name(),
                status.task_id.value
            )),
        }
    }
}
