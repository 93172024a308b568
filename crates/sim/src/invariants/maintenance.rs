//! Agents that are out of use are offered to nobody, drained ones run nothing, and machines that are down have no agents;
//! when the operator has tidied up all are in use again.

use crate::World;
use agent_core::ExecutorState;
use allocator::FrameworkId;
use master_core::{Machine, State};
use wire::v1::DrainState;

/// Looks at the state after a step of the master at `now`.
///
/// # Errors
/// What is in use though it must not be.
pub fn check(state: &State, now: base::Time) -> Result<(), String> {
    let offers = state.frameworks.values().flat_map(|f| f.offers.values());
    for offer in offers.filter(|o| o.made == now) {
        let Some(agent) = state.agents.get(&offer.agent) else { continue };
        if state.deactivated.contains_key(&agent.id) {
            return Err(format!("agent {} is out of use and offered as {}", agent.id, offer.id));
        }
    }
    for agent in state.agents.values() {
        // One that is back may not have heard yet that the end of a task was acknowledged.
        let holds = |(framework, task): &&(FrameworkId, String)| {
            let task = state.frameworks.get(framework).and_then(|f| f.tasks.get(task));
            task.is_some_and(|task| task.holds_resources())
        };
        if let Some((_, task)) =
            agent.tasks.iter().find(holds).filter(|_| is_drained(state, &agent.id))
        {
            return Err(format!("agent {} is drained and has task {task}", agent.id));
        }
        if state.maintenance.is_down(&Machine::of(agent)) && !agent.leaving {
            return Err(format!("agent {} is there, its machine is down", agent.id));
        }
    }
    Ok(())
}

fn is_drained(state: &State, id: &str) -> bool {
    let drain = state.deactivated.get(id).and_then(|d| d.drain.as_ref());
    drain.is_some_and(|drain| drain.state() == DrainState::Drained)
}

/// Agents that the master knows as drained run no task.
///
/// # Errors
/// The first that does.
pub fn check_agents(world: &World) -> Result<(), String> {
    let Some(master) = world.leader().and_then(|m| m.core.as_ref()) else { return Ok(()) };
    for node in &world.agents {
        let Some(agent) = node.core.as_ref().map(|core| core.state()) else { continue };
        let id = agent.id.as_deref().unwrap_or_default();
        if !agent.registered || !is_drained(master.state(), id) {
            continue;
        }
        let executors = agent.frameworks.values().flat_map(|f| f.executors.values());
        let live = executors.filter(|e| e.state != ExecutorState::Terminated);
        if let Some(task) = live.flat_map(|e| e.tasks.values()).find(|t| !t.is_terminal()) {
            let task = &task.info.task_id.value;
            return Err(format!("agent {id} is drained and runs task {task}"));
        }
    }
    Ok(())
}

/// What is not in use again yet.
#[must_use]
pub fn open(world: &World) -> Vec<String> {
    let leader = world.leader().and_then(|m| m.core.as_ref());
    let Some(state) = leader.map(|core| core.state()) else {
        return Vec::new();
    };
    let away = state.agents.values().filter(|a| state.deactivated.contains_key(&a.id));
    let mut open: Vec<String> = away.map(|a| format!("agent {} is out of use", a.id)).collect();
    if !state.maintenance.schedule().windows.is_empty() {
        open.push("machines are in maintenance".to_owned());
    }
    open
}
