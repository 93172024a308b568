//! No framework sees a contradiction: a status of a task it never launched, two different ends of one task, an end
//! that is not what the task did, an unexpected ERROR.

use crate::World;

/// Asks every framework.
///
/// # Errors
/// What one of them complains about.
pub fn check(world: &World) -> Result<(), String> {
    for (index, framework) in world.frameworks.iter().enumerate() {
        if let Some(complaint) = &framework.complaint {
            return Err(format!("framework {index}: {complaint}"));
        }
    }
    Ok(())
}
