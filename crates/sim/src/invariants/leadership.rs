//! At most one leader acts, by what comes of it: from the moment a master begins to lead nobody hears anything new from a
//! former one, and an agent that took something from a leader takes nothing from an earlier one afterwards.

use std::collections::BTreeMap;

/// Terms of leaderships whose effects were seen.
#[derive(Debug, Default)]
pub struct Leadership {
    /// The newest that began.
    newest: u64,
    /// The newest that each agent took something from.
    obeyed: BTreeMap<usize, u64>,
}

impl Leadership {
    /// A master begins to lead.
    pub(crate) fn begins(&mut self, term: u64) {
        self.newest = self.newest.max(term);
    }

    /// A master tells an agent or a framework something, or answers a call.
    pub(crate) fn speaks(&self, term: u64) -> Result<(), String> {
        if term < self.newest {
            let newest = self.newest;
            return Err(format!("two leaders act: the {term}th speaks after the {newest}th began"));
        }
        Ok(())
    }

    /// An agent takes what a master has sent.
    pub(crate) fn obeyed(&mut self, agent: usize, term: u64) -> Result<(), String> {
        let last = self.obeyed.entry(agent).or_default();
        if term < *last {
            return Err(format!(
                "two leaders act: agent {agent} obeys the {term}th after the {last}th"
            ));
        }
        *last = term;
        Ok(())
    }
}
