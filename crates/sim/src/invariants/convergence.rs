//! After the calm everything has converged: each task that was launched has ended at its framework, no container
//! runs, and no update waits for an acknowledgement.

use crate::World;
use wire::v1::TaskState;

/// What has not converged yet; empty when all has.
#[must_use]
pub fn open(world: &World) -> Vec<String> {
    let mut open = Vec::new();
    let alive: Vec<Option<String>> =
        world.agents.iter().filter_map(|n| n.core.as_ref()).map(|a| a.view().id.clone()).collect();
    for (index, framework) in world.frameworks.iter().enumerate() {
        for (id, task) in framework.open_tasks() {
            // An agent that was marked unreachable before it learned its id comes back under another: as with the
            // peer, tasks that were sent to the first id stay unreachable.
            let is_orphan = !alive.contains(&Some(task.agent.clone()));
            if is_orphan && task.state == Some(TaskState::TaskUnreachable) {
                continue;
            }
            open.push(format!(
                "framework {index}: task {id} on {} is in state {:?}",
                task.agent, task.state
            ));
        }
        open.extend(
            framework.stream.is_none().then(|| format!("framework {index} is not subscribed")),
        );
    }
    let leader = world.leader().and_then(|m| m.core.as_ref());
    if leader.is_none() {
        open.push("no master leads".to_owned());
    }
    for node in &world.agents {
        let id = node.core.as_ref().and_then(|agent| agent.view().id.clone());
        let known = id.and_then(|id| leader?.state().agents.values().find(|a| a.id == id));
        if world.has_coordination() && !known.is_some_and(|agent| agent.is_connected()) {
            open.push(format!("agent {} is not registered", node.index));
        }
        for (id, container) in &node.containers {
            let state = if container.status.is_none() { "runs" } else { "is not forgotten" };
            open.push(format!("agent {}: container {id} {state}", node.index));
        }
    }
    open.extend(super::reservations::open(world));
    open.extend(super::maintenance::open(world));
    open
}
