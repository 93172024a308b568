//! No resource is used twice: what runs on a machine never needs more than the machine has.

use crate::World;
use crate::agent_node::CPUS_MILLI;

/// Adds up the containers that run and are not being killed.
///
/// # Errors
/// The machine that is overcommitted.
pub fn check(world: &World) -> Result<(), String> {
    for node in &world.agents {
        let running = node.containers.values().filter(|c| c.status.is_none() && !c.dying);
        let cpus: u64 = running.map(|c| c.cpus_milli).sum();
        if cpus > CPUS_MILLI {
            return Err(format!("machine {} runs {cpus} milli-cpus of {CPUS_MILLI}", node.index));
        }
    }
    Ok(())
}
