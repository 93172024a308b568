//! Uuids of statuses that frameworks acknowledged, for as long as their agent may not have kept that.
//!
//! An agent that was killed, or away, when an acknowledgement was on its way tells the status again. Its framework
//! has had it: the master acknowledges it once more in the framework's stead. A master that is new does not know; then
//! the framework hears it again.

use allocator::AgentId;
use base::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// An agent that was connected for so long since has kept it.
const KEPT: Duration = Duration::from_secs(60);
/// Of one agent that is away, so many are remembered.
const MAX: usize = 10_000;

type Uuid = [u8; 16];

#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    by_agent: BTreeMap<AgentId, VecDeque<(Time, Uuid)>>,
}

impl Acknowledged {
    pub(crate) fn note(&mut self, now: Time, agent: AgentId, connected: bool, uuid: &[u8]) {
        let Ok(uuid) = Uuid::try_from(uuid) else { return };
        let known = self.by_agent.entry(agent).or_default();
        let is_old = |(at, _): &mut (Time, Uuid)| *at + KEPT < now;
        while known.len() >= MAX || connected && known.front_mut().is_some_and(is_old) {
            known.pop_front();
        }
        known.push_back((now, uuid));
    }

    pub(crate) fn has(&self, agent: AgentId, uuid: &[u8]) -> bool {
        self.by_agent.get(&agent).is_some_and(|known| known.iter().any(|(_, u)| u == uuid))
    }

    /// An agent is connected again: from now on it can keep what it is told.
    pub(crate) fn returned(&mut self, now: Time, agent: AgentId) {
        self.by_agent.get_mut(&agent).into_iter().flatten().for_each(|(at, _)| *at = now);
    }

    pub(crate) fn forget(&mut self, agent: AgentId) {
        self.by_agent.remove(&agent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_stays_keeps_what_it_is_told_and_one_that_was_away_gets_time() {
        let mut known = Acknowledged::default();
        let (agent, minute) = (AgentId(1), |n: u64| Time(n * 61_000_000_000));
        known.note(minute(0), agent, true, &[1; 16]);
        known.note(minute(1), agent, false, &[2; 16]);
        assert!(known.has(agent, &[1; 16]), "it is away");
        assert!(!known.has(AgentId(2), &[1; 16]));
        known.returned(minute(2), agent);
        known.note(minute(2), agent, true, &[3; 16]);
        assert!(known.has(agent, &[1; 16]), "it was just away");
        known.note(minute(3), agent, true, &[4; 16]);
        assert!(!known.has(agent, &[1; 16]) && !known.has(agent, &[3; 16]));
        assert!(known.has(agent, &[4; 16]));
        for n in 0..=MAX {
            known.note(minute(4), agent, false, &(n as u128).to_le_bytes());
        }
        assert!(!known.has(agent, &0_u128.to_le_bytes()), "there is a limit");
        assert!(known.has(agent, &(MAX as u128).to_le_bytes()));
        known.forget(agent);
        assert!(!known.has(agent, &(MAX as u128).to_le_bytes()));
    }
}
