//! What is used and offered on each agent, counted once for a whole answer.

use crate::offered;
use allocator::AgentId;
use master_core::State;
use resources::Resources;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Usage {
    used: BTreeMap<AgentId, Resources>,
    offered: BTreeMap<AgentId, Resources>,
}

impl Usage {
    pub(crate) fn of(state: &State) -> Self {
        let mut usage = Self { offered: offered::by_agent(state), ..Self::default() };
        for framework in state.frameworks.values() {
            for task in framework.tasks.values().filter(|t| t.holds_resources()) {
                *usage.used.entry(task.agent).or_default() += &task.resources;
            }
            for ((agent, _), executor) in &framework.executors {
                *usage.used.entry(*agent).or_default() += &executor.resources;
            }
        }
        usage
    }

    pub(crate) fn used(&self, agent: AgentId) -> Resources {
        self.used.get(&agent).cloned().unwrap_or_default()
    }

    pub(crate) fn offered(&self, agent: AgentId) -> Resources {
        self.offered.get(&agent).cloned().unwrap_or_default()
    }
}
