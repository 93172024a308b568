//! Uuids of statuses that frameworks acknowledged, for as long as their agent may not have kept that.
//!
//! An agent that was killed, or away, when an acknowledgement was on its way tells the status again. Its framework
//! has had it: the master acknowledges it once more in the framework's stead. A master that is new does not know; then
//! the framework hears it again.

use base::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Of one agent that is away, so many are remembered.
const MAX: usize = 10_000;

type Uuid = [u8; 16];

/// By the agents' ids: one that was unreachable comes back under its own.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    by_agent: BTreeMap<String, VecDeque<(Time, Uuid)>>,
}

impl Acknowledged {
    /// Remembers one. `kept`: an agent that is connected for so long has kept what it was told before; None while it is
    /// away.
    pub(crate) fn note(&mut self, now: Time, agent: &str, kept: Option<Duration>, uuid: &[u8]) {
        let Ok(uuid) = Uuid::try_from(uuid) else { return };
        let known = self.by_agent.entry(agent.to_owned()).or_default();
        let is_old = |(at, _): &(Time, Uuid)| kept.is_some_and(|kept| *at + kept < now);
        while known.len() >= MAX || known.front().is_some_and(is_old) {
            known.pop_front();
        }
        known.push_back((now, uuid));
    }

    pub(crate) fn has(&self, agent: &str, uuid: &[u8]) -> bool {
        self.by_agent.get(agent).is_some_and(|known| known.iter().any(|(_, u)| u == uuid))
    }

    /// An agent is connected again: from now on it can keep what it is told.
    pub(crate) fn returned(&mut self, now: Time, agent: &str) {
        self.by_agent.get_mut(agent).into_iter().flatten().for_each(|(at, _)| *at = now);
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
        let mut known = Acknowledged::default();
        let minute = |n: u64| Time(n * 61_000_000_000);
        let kept = Some(Duration::from_secs(60));
        known.note(minute(0), "a", kept, &[1; 16]);
        known.note(minute(1), "a", None, &[2; 16]);
        assert!(known.has("a", &[1; 16]), "it is away");
        assert!(!known.has("b", &[1; 16]));
        known.returned(minute(2), "a");
        known.note(minute(2), "a", kept, &[3; 16]);
        assert!(known.has("a", &[1; 16]), "it was just away");
        known.note(minute(3), "a", kept, &[4; 16]);
        assert!(!known.has("a", &[1; 16]) && !known.has("a", &[3; 16]));
        assert!(known.has("a", &[4; 16]));
        for n in 0..=MAX {
            known.note(minute(4), "a", None, &(n as u128).to_le_bytes());
        }
        assert!(!known.has("a", &0_u128.to_le_bytes()), "there is a limit");
        assert!(known.has("a", &(MAX as u128).to_le_bytes()));
        known.forget("a");
        assert!(!known.has("a", &(MAX as u128).to_le_bytes()));
    }
}
