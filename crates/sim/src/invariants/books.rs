//! The books of each core agree with each other: what is offered and used fits into what there is.

use crate::World;

/// Asks every core for its own invariants.
///
/// # Errors
/// What one of them says.
pub fn check(world: &World) -> Result<(), String> {
    for (index, node) in world.masters.iter().enumerate() {
        if let Some(master) = &node.core {
            master.check().map_err(|e| format!("master {index}: {e}"))?;
        }
    }
    for node in &world.agents {
        if let Some(agent) = &node.core {
            agent.check().map_err(|e| format!("agent {}: {e}", node.index))?;
        }
    }
    Ok(())
}
