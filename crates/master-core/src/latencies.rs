//! How long things take that only the core sees the beginning and the end of.

use crate::master::Master;
use allocator::AgentId;
use base::{Histogram, Now, Time};

/// Since this master leads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latencies {
    /// From when something of an agent became free, by its arrival or the end of a task, until it was offered.
    pub offer_wait: Histogram,
    /// From an offer until its framework accepted or declined it.
    pub offer_held: Histogram,
    /// From the ACCEPT that launched a task until it was known to run.
    pub task_launch: Histogram,
}

impl Master {
    /// Something of an agent is free that nobody was offered before.
    pub(crate) fn note_freed(&mut self, now: Now, agent: AgentId) {
        self.freed.entry(agent).or_insert(now.mono);
    }

    /// Something of an agent is offered.
    pub(crate) fn note_offered(&mut self, now: Now, agent: AgentId) {
        if let Some(since) = self.freed.remove(&agent) {
            self.state.latencies.offer_wait.record(now.mono.since(since));
        }
    }

    /// A framework answered an offer.
    pub(crate) fn note_answered(&mut self, now: Now, made: Time) {
        self.state.latencies.offer_held.record(now.mono.since(made));
    }
}
