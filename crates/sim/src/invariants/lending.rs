//! What is lent is there only once, and comes back: a recall makes progress within the grace periods, as long as nothing
//! is broken.

use base::Time;
use master_core::{Master, State};
use resources::{Milli, Resources};
use std::collections::BTreeMap;
use std::time::Duration;

/// `--preemption_grace_period` of simulated masters.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Messages, writes, containers that need their time.
const SLACK: Duration = Duration::from_secs(15);

/// What is wanted back of each agent, with since when it is just that.
#[derive(Debug, Default)]
pub(crate) struct Recalls(BTreeMap<u32, (BTreeMap<String, Milli>, Time)>);

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
        self.0.retain(|agent, _| recalls.keys().any(|a| a.0 == *agent));
        for (agent, recall) in recalls {
            let since = match self.0.get(&agent.0) {
                Some((wanted, since)) if *wanted == recall.wanted => *since,
                _ => now,
            };
            self.0.insert(agent.0, (recall.wanted.clone(), since));
            if is_whole && now.since(since) > GRACE * 2 + SLACK {
                return Err(format!("{agent:?}: {recall:?} since {since}"));
            }
        }
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
