//! After the calm everything has converged: each task that was launched has ended at its framework, no container
//! runs, and no update waits for an acknowledgement.

use crate::World;

/// What has not converged yet; empty when all has.
#[must_use]
pub fn open(world: &World) -> Vec<String> {
    let mut open = Vec::new();
    for (index, framework) in world.frameworks.iter().enumerate() {
        for (id, task) in framework.open_tasks() {
            open.push(format!(
                "framework {index}: task {id} on {} is in state {:?}",
                task.agent, task.state
            ));
        }
        open.extend(
            framework.stream.is_none().then(|| format!("framework {index} is not subscribed")),
        );
    }
    for node in &world.agents {
        for (id, container) in &node.containers {
            let state = if container.status.is_none() { "runs" } else { "is not forgotten" };
            open.push(format!("agent {}: container {id} {state}", node.index));
        }
    }
    open
}
