//! Uuids of statuses that frameworks acknowledged, for as long as their agent may not have kept that.
//!
//! An agent that was killed, or away, when an acknowledgement was on its way tells the status again. Its framework
//! has had it: the master acknowledges it once more in the framework's stead. A master that is new does not know; then
//! the framework hears it again.

use allocator::FrameworkId;
use base::Time;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Of one agent that is away, so many are remembered.
const MAX: usize = 10_000;

type Uuid = [u8; 16];

/// Which status: executors choose uuids, and nobody makes sure that those of two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) framework: FrameworkId,
    pub(crate) task: String,
    uuid: Uuid,
}

impl Status {
    /// None if the uuid is none.
    pub(crate) fn new(framework: FrameworkId, task: &str, uuid: &[u8]) -> Option<Self> {
        let uuid = Uuid::try_from(uuid).ok()?;
        Some(Self { framework, task: task.to_owned(), uuid })
    }
}

/// By the agents' ids: one that was unreachable comes back under its own.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    by_agent: BTreeMap<String, Known>,
}

/// Those of one agent.
#[derive(Debug, Default)]
struct Known {
    /// The oldest first.
    statuses: VecDeque<(Time, Status)>,
    /// How many of them have a uuid. It is asked for each status that is told, and nearly all are new.
    uuids: BTreeMap<Uuid, u32>,
}

impl Known {
    fn add(&mut self, now: Time, status: Status) {
        *self.uuids.entry(status.uuid).or_default() += 1;
        self.statuses.push_back((now, status));
    }

    fn remove_oldest(&mut self) {
        let Some((_, status)) = self.statuses.pop_front() else { return };
        if let Entry::Occupied(mut count) = self.uuids.entry(status.uuid) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn has(&self, status: &Status) -> bool {
        self.uuids.contains_key(&status.uuid) && self.statuses.iter().any(|(_, one)| one == status)
    }
}

impl Acknowledged {
    /// Remembers one. `kept`: an agent that is connected for so long has kept what it was told before; None while it is
    /// away.
    pub(crate) fn note(&mut self, now: Time, agent: &str, kept: Option<Duration>, status: Status) {
        let known = self.by_agent.entry(agent.to_owned()).or_default();
        let is_old = |(at, _): &(Time, Status)| kept.is_some_and(|kept| *at + kept < now);
        while known.statuses.len() >= MAX || known.statuses.front().is_some_and(is_old) {
            known.remove_oldest();
        }
        known.add(now, status);
    }

    pub(crate) fn has(&self, agent: &str, status: &Status) -> bool {
        self.by_agent.get(agent).is_some_and(|known| known.has(status))
    }

    /// An agent is connected again: from now on it can keep what it is told.
    pub(crate) fn returned(&mut self, now: Time, agent: &str) {
        let known = self.by_agent.get_mut(agent);
        known.into_iter().flat_map(|k| &mut k.statuses).for_each(|(at, _)| *at = now);
    }

    /// An agent does not come back.
    pub(crate) fn forget(&mut self, agent: &str) {
        self.by_agent.remove(agent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_stays_keeps_what_it_is_told_and_one_that_was_away_gets_time() {
        let status =
            |uuid: u128| Status::new(FrameworkId(1), "t", &uuid.to_le_bytes()).expect("a uuid");
        let mut known = Acknowledged::default();
        let minute = |n: u64| Time(n * 61_000_000_000);
        let kept = Some(Duration::from_secs(60));
        known.note(minute(0), "a", kept, status(1));
        // Another one that happens to have the same uuid.
        known.note(minute(0), "a", None, Status { task: "v".to_owned(), ..status(1) });
        known.note(minute(1), "a", None, status(2));
        assert!(known.has("a", &status(1)), "it is away");
        assert!(!known.has("b", &status(1)));
        let other = Status { task: "u".to_owned(), ..status(1) };
        assert!(!known.has("a", &other), "another task's");
        known.returned(minute(2), "a");
        known.note(minute(2), "a", kept, status(3));
        assert!(known.has("a", &status(1)), "it was just away");
        known.note(minute(3), "a", kept, status(4));
        assert!(!known.has("a", &status(1)) && !known.has("a", &status(3)));
        assert!(known.has("a", &status(4)));
        for n in 0..=MAX {
            known.note(minute(4), "a", None, status(100 + n as u128));
        }
        assert!(!known.has("a", &status(100)), "there is a limit");
        assert!(known.has("a", &status(100 + MAX as u128)));
        known.forget("a");
        assert!(!known.has("a", &status(100 + MAX as u128)));
    }
}
