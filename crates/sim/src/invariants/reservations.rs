//! After the calm the master and each agent agree on reservations and volumes, and the directories are those of the
//! volumes.

use crate::World;
use crate::agent_node::WORK_DIR;
use std::collections::BTreeSet;

/// What does not agree yet; empty when all does.
#[must_use]
pub fn open(world: &World) -> Vec<String> {
    let Some(master) = world.leader().and_then(|m| m.core.as_ref()).map(|m| m.view()) else {
        return Vec::new();
    };
    let mut open = Vec::new();
    for node in &world.agents {
        let Some(agent) = node.core.as_ref().map(|a| a.view()) else { continue };
        let Some(known) = agent.id.as_ref().and_then(|id| master.agent(id)) else { continue };
        if known.total != agent.total {
            let what = format!("has {}, the master says {}", agent.total, known.total);
            open.push(format!("agent {}: {what}", node.index));
        }
        let of_agent: Vec<_> = agent.operations.values().map(|o| o.info.r#type()).collect();
        let of_master: Vec<_> =
            known.operations.values().map(|o| (o.wire.info.r#type(), o.state())).collect();
        if !of_agent.is_empty() || !of_master.is_empty() {
            let what = format!("the agent has {of_agent:?}, the master {of_master:?}");
            open.push(format!("agent {}: operations are not acknowledged: {what}", node.index));
        }
        let volumes = agent.total.volumes();
        let expected: BTreeSet<String> = volumes
            .iter()
            .filter_map(|v| {
                let id = &v.identity.disk.as_ref()?.persistence.as_ref()?.id;
                let role = v.reserved_to()?.replace('/', " ");
                Some(format!("{WORK_DIR}/volumes/roles/{role}/{id}"))
            })
            .collect();
        if expected != node.volumes {
            let what = format!("directories {:?}, volumes {expected:?}", node.volumes);
            open.push(format!("agent {}: {what}", node.index));
        }
    }
    open
}
