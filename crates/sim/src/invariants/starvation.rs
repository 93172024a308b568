//! A framework that wants more is offered what is free in time, while others keep all their offers or decline them.

use crate::World;
use base::Time;
use std::time::Duration;

/// `--max_time_to_offer`, with time for messages, cycles and noticing.
const LONGEST: Duration = Duration::from_secs(35);

/// Since when the first framework wants more, something is free, and it is offered nothing.
#[derive(Debug, Default)]
pub(crate) struct Hunger {
    since: Option<Time>,
}

impl Hunger {
    pub(crate) fn ends(&mut self) {
        self.since = None;
    }

    /// To be called about once a second.
    ///
    /// # Errors
    /// When that lasts for too long.
    pub(crate) fn look(&mut self, world: &World, now: Time) -> Result<(), String> {
        if !world.frameworks[0].is_hungry() || !has_room(world) {
            self.ends();
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        let waited = now.since(since);
        if waited > LONGEST {
            return Err(format!("framework 0 was offered nothing for {} s", waited.as_secs()));
        }
        Ok(())
    }
}

/// Whether tasks leave room for one more on some agent.
fn has_room(world: &World) -> bool {
    let Some(master) = world.leader().and_then(|m| m.core.as_ref()) else { return false };
    let state = master.state();
    state.agents.values().filter(|a| a.is_connected()).any(|agent| {
        let mut free = agent.total.clone();
        for used in state.used_on(agent).values() {
            free -= &used.unallocated();
        }
        free.scalar("cpus") >= 500 && free.scalar("mem") >= 64_000
    })
}
