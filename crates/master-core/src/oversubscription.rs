//! What agents lend beyond what they have (spec/master.md 3.3, spec/agent.md 7.4).

use crate::master::{Cx, Master};
use allocator::AgentId;
use resources::Resources;
use wire::internal;

impl Master {
    /// An agent's estimate has changed: offers that count on the old one are taken back.
    pub(crate) fn on_update_agent(
        &mut self,
        cx: &mut Cx<'_>,
        key: AgentId,
        update: &internal::UpdateAgent,
    ) {
        let Some(agent) = self.agent(key) else { return };
        let valid = Resources::validate(&update.oversubscribed);
        let Ok(estimate) = valid.and_then(|()| Resources::from_wire(&update.oversubscribed)) else {
            self.count("master/invalid_agent_updates");
            return;
        };
        let mut total = agent.total.nonrevocable();
        total += &estimate.revocable();
        if total == agent.total {
            return;
        }
        let offers = self.offered_on(key);
        let offers = offers.filter(|o| !o.resources.revocable().is_empty());
        for id in offers.map(|o| o.id.clone()).collect::<Vec<_>>() {
            self.rescind(cx, &id);
        }
        self.set_total(key, total);
    }
}
