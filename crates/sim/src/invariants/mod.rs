//! What must hold, one property a file.
//!
//! | property | when | source |
//! |---|---|---|
//! | [`acknowledgements`]: what was acknowledged is not told again | at each event | agent.md 4.1 |
//! | [`books`]: the cores' own invariants | during the run | docs/architecture.md |
//! | [`capacity`]: no resource is used twice on a machine | during the run | master.md 1.4 |
//! | [`guarantees`]: what is promised to roles is not offered to others | at each offer | docs/sharing.md |
//! | [`lending`]: what is lent is there once and comes back | at each step of the master | docs/sharing.md |
//! | [`limits`]: no role is offered more than it may have | at each offer | master.md 4.3 |
//! | [`maintenance`]: what is out of use is not used, and is in use again when it should be | during the run | master.md 1.10, 1.11 |
//! | [`oracle`]: no framework sees a contradiction | during the run | master.md 1.7, agent.md 4.1 |
//! | [`reservations`]: master, agent and directories agree on volumes | after the calm | agent.md 7.1 |
//! | [`starvation`]: who wants more is offered what is free in time | where others hoard | docs/sharing.md |
//! | [`leadership`]: at most one leader acts | at each effect, with several masters | docs/operating.md |
//! | [`policy`]: no acknowledged update is lost | at each election | operations.md 1.1 |
//! | [`registry`]: the registry is linearizable | at the end, over the whole history | operations.md 1.3 |
//! | [`convergence`]: every task has ended for its framework, nothing is left behind | after the calm | master.md 1.7 |

pub mod acknowledgements;
pub mod books;
pub mod capacity;
pub mod convergence;
pub mod guarantees;
pub mod leadership;
pub mod lending;
pub mod limits;
pub mod maintenance;
pub mod oracle;
pub mod policy;
pub mod registry;
pub mod reservations;
pub mod starvation;

use crate::World;

/// Checks what must hold at any time.
///
/// # Errors
/// The first broken property, in words.
pub fn always(world: &World) -> Result<(), String> {
    books::check(world)?;
    capacity::check(world)?;
    maintenance::check_agents(world)?;
    world.promise.clone()?;
    oracle::check(world)
}
