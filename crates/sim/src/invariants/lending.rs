//! What is lent is there only once, and comes back: who wants something back waits for two grace periods at most, as long
//! as nothing is broken.

use base::Time;
use master_core::{Master, State};
use resources::{Milli, Resources};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// `--preemption_grace_period` of simulated masters.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Messages, writes, containers that need their time.
const SLACK: Duration = Duration::from_secs(15);

/// What is wanted back of each agent, by name of a scalar.
#[derive(Debug, Default)]
pub(crate) struct Recalls(BTreeMap<(u32, String), Debt>);

/// Thousandths that are wanted back, and since when. What comes back settles what was wanted first.
#[derive(Debug, Default)]
struct Debt(VecDeque<(Time, Milli)>);

impl Debt {
    fn becomes(&mut self, wanted: Milli, now: Time) {
        let mut more = wanted - self.0.iter().map(|(_, milli)| milli).sum::<Milli>();
        if more > 0 {
            self.0.push_back((now, more));
        }
        while more < 0
            && let Some((_, oldest)) = self.0.front_mut()
        {
            let settled = (*oldest).min(-more);
            *oldest -= settled;
            more += settled;
            if *oldest == 0 {
                self.0.pop_front();
            }
        }
    }
}

impl Recalls {
    /// After a step of the master; `is_whole`: nothing is ever broken in this world.
    ///
    /// # Errors
    /// What takes too long, or is there twice.
    pub(crate) fn check(
        &mut self,
        master: &Master,
        now: Time,
        is_whole: bool,
    ) -> Result<(), String> {
        let recalls = master.recalls();
        for (agent, recall) in recalls {
            for name in recall.wanted.keys() {
                self.0.entry((agent.0, name.clone())).or_default();
            }
        }
        for ((agent, name), debt) in &mut self.0 {
            let recall = recalls.get(&allocator::AgentId(*agent));
            let wanted = recall.and_then(|r| r.wanted.get(name)).copied().unwrap_or(0);
            debt.becomes(wanted, now);
            let oldest = debt.0.front().map(|(since, _)| *since);
            if let Some(since) = oldest.filter(|since| now.since(*since) > GRACE * 2 + SLACK)
                && is_whole
            {
                return Err(format!("agent {agent}: {name} of {recall:?} is wanted since {since}"));
            }
        }
        self.0.retain(|_, debt| !debt.0.is_empty());
        once(master.state())
    }
}

/// Everything that is used and offered of an agent is there, whatever it is called.
fn once(state: &State) -> Result<(), String> {
    for agent in state.agents.values() {
        let mut held = Resources::new();
        let frameworks = state.frameworks.values();
        let offers = frameworks.flat_map(|f| f.offers.values());
        for offer in offers.filter(|o| o.agent == agent.key && !o.soft) {
            held += &offer.resources.nonshared();
        }
        if held.is_empty() {
            continue;
        }
        for used in state.used_on(agent).values() {
            held += &used.nonshared();
        }
        for name in ["cpus", "mem"] {
            let (held, total) = (held.scalar(name), agent.total.scalar(name));
            if held > total {
                return Err(format!("agent {}: {held} of {total} milli-{name}", agent.id));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_settles_what_was_wanted_first() {
        let at = |seconds| Time(0) + Duration::from_secs(seconds);
        let mut debt = Debt::default();
        debt.becomes(1000, at(1));
        debt.becomes(1500, at(2));
        debt.becomes(700, at(3));
        assert_eq!(debt.0, [(at(1), 200), (at(2), 500)]);
        debt.becomes(900, at(4));
        debt.becomes(400, at(5));
        assert_eq!(debt.0, [(at(2), 200), (at(4), 200)]);
        debt.becomes(0, at(6));
        assert!(debt.0.is_empty());
    }
}
