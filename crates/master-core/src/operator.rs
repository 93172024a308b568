//! What operators do to resources: reserve, unreserve, make, destroy and resize volumes (spec/master.md 5.1).

use crate::contract::OperatorCall;
use crate::master::{Cx, Master};
use crate::state::Agent;
use crate::validate;
use crate::validate::operation::Actor;
use allocator::AgentId;
use base::Token;
use resources::{Conversion, Entry, Resources};
use std::time::Duration;
use wire::v1::offer::Operation;
use wire::v1::offer::operation::Type;

/// So long the frameworks whose offers had to give way don't get them again.
const RESCIND_REFUSE: Duration = Duration::from_secs(5);

impl Master {
    pub(crate) fn on_operator(&mut self, cx: &mut Cx<'_>, token: Token, call: OperatorCall) {
        if self.state.elected.is_none() {
            cx.respond(token, 503, "Master has not finished recovery");
            return;
        }
        match call {
            OperatorCall::Teardown { framework_id } => match self.framework_keys.get(&framework_id)
            {
                Some(key) => {
                    self.remove_framework(cx, *key);
                    cx.respond(token, 200, "");
                }
                None => cx.respond(token, 400, "No framework found with specified ID"),
            },
            OperatorCall::KillTask { framework_id, task_id, kill_policy } => {
                self.kill_for_operator(cx, token, &framework_id, &task_id, kill_policy)
            }
            OperatorCall::UpdateQuota { force, configs } => {
                self.update_quota(cx, token, force, configs)
            }
            OperatorCall::SetQuota { request } => self.set_quota(cx, token, &request),
            OperatorCall::RemoveQuota { role } => self.remove_quota(cx, token, role),
            OperatorCall::UpdateWeights { infos } => self.update_weights(cx, token, &infos),
            OperatorCall::SetShare { config, force } => self.set_share(cx, token, config, force),
            OperatorCall::RemoveShare { role } => self.remove_share(cx, token, role),
            OperatorCall::SetOverlap { role, overlap } => {
                self.set_overlap(cx, token, role, overlap)
            }
            OperatorCall::MarkAgentGone { agent_id } => self.mark_gone(cx, Some(token), agent_id),
            OperatorCall::DrainAgent(drain) => self.drain(cx, token, &drain),
            OperatorCall::DeactivateAgent { agent_id } => self.deactivate(cx, token, agent_id),
            OperatorCall::ReactivateAgent { agent_id } => self.reactivate(cx, token, agent_id),
            OperatorCall::UpdateMaintenanceSchedule { schedule } => {
                self.update_schedule(cx, token, schedule)
            }
            OperatorCall::StartMaintenance { machines } => self.bring_down(cx, token, &machines),
            OperatorCall::StopMaintenance { machines } => self.bring_up(cx, token, &machines),
            OperatorCall::Apply { agent_id, operation, principal } => {
                match self.operate(cx, &agent_id, *operation, principal.as_deref()) {
                    Ok(()) => cx.respond(token, 202, ""),
                    Err((status, text)) => cx.respond(token, status, text),
                }
            }
        }
    }

    /// Does an operation with resources that are allocated to nobody: status and text if it can't be done.
    fn operate(
        &mut self,
        cx: &mut Cx<'_>,
        agent_id: &str,
        operation: Operation,
        principal: Option<&str>,
    ) -> Result<(), (u16, String)> {
        let name = operation.r#type().as_str_name();
        let agent = self.agent_keys.get(agent_id).and_then(|key| self.agent(*key));
        let agent = agent.ok_or((400, "No agent found with specified ID".to_owned()))?;
        let on = agent.key;
        let where_ = match operation.r#type() {
            Type::Unreserve | Type::Destroy => String::new(),
            _ => format!(" on agent {}", shown(agent)),
        };
        let invalid = |text: String| (400, format!("Invalid {name} operation{where_}: {text}"));
        let actor = Actor::Operator { principal };
        let used = self.state.used_on(agent);
        validate::operation::check(&operation, actor, agent, &used).map_err(invalid)?;
        let conversion = Conversion::of(&operation)
            .map_err(|e| (400, format!("Invalid {name} operation: {e}")))?
            .ok_or_else(|| (400, format!("{name} is not an operation of operators")))?;
        self.make_room(cx, on, &conversion.consumed);
        let available = self.available(on);
        if !available.contains(&conversion.consumed) {
            let text = format!("{available} does not contain {}", conversion.consumed);
            return Err((409, text));
        }
        self.apply(cx, on, None, operation, &conversion);
        Ok(())
    }

    /// What nobody uses and no offer has taken.
    fn available(&self, on: AgentId) -> Resources {
        let Some(agent) = self.agent(on) else { return Resources::new() };
        let mut available = agent.total.clone();
        for used in self.state.used_on(agent).values() {
            available -= &used.unallocated().nonshared();
        }
        for offer in self.offered_on(on).filter(|o| !o.soft) {
            available -= &offer.resources.unallocated();
        }
        available
    }

    /// Rescinds offers, one after the other, until `needed` is there; all that hold a shared resource of it.
    fn make_room(&mut self, cx: &mut Cx<'_>, on: AgentId, needed: &Resources) {
        let offers = self.offered_on(on).filter(|o| !o.soft);
        let offers: Vec<_> = offers.cloned().collect();
        let shared = needed.shared();
        let mut missing = needed.clone();
        missing -= &self.available(on);
        for offer in offers {
            let mut without = missing.clone();
            without -= &offer.resources.unallocated();
            let holds = |entry: &Entry| shared.iter().any(|s| s.same_identity(entry));
            let holds_shared =
                !shared.is_empty() && offer.resources.unallocated().iter().any(holds);
            if without != missing || holds_shared {
                missing = without;
                self.rescind_for(cx, &offer.id, Some(RESCIND_REFUSE));
            }
        }
    }
}

/// An agent as texts name it.
pub(crate) fn shown(agent: &Agent) -> String {
    format!("{} at slave(1)@{}:{} ({})", agent.id, agent.ip, agent.info.port(), agent.info.hostname)
}
