//! No acknowledged update is lost: what an operator was told is set, a master that begins to lead knows.

use base::Token;
use master_core::State;
use master_core::contract::OperatorCall;
use std::collections::{BTreeMap, BTreeSet};

/// What is set for a role: weight, quota or share; maintenance, for all machines; whether an agent is in use.
type Setting = (&'static str, String);

/// What operators were told.
#[derive(Debug, Default)]
pub struct Policy {
    /// Calls that are not answered, by master.
    asked: BTreeMap<(usize, Token), Setting>,
    /// What each was when it was acknowledged.
    known: BTreeMap<Setting, String>,
    /// Of these nobody knows whether they were set.
    doubtful: BTreeSet<Setting>,
}

impl Policy {
    /// An operator asks for something.
    pub(crate) fn asks(&mut self, master: usize, token: Token, call: &OperatorCall) {
        let setting = match call {
            OperatorCall::UpdateWeights { infos } => {
                infos.first().map(|info| ("weight", info.role().to_owned()))
            }
            OperatorCall::UpdateQuota { configs, .. } => {
                configs.first().map(|config| ("quota", config.role.clone()))
            }
            OperatorCall::SetShare { config, .. } => Some(("share", config.role.clone())),
            OperatorCall::RemoveShare { role } => Some(("share", role.clone())),
            OperatorCall::UpdateMaintenanceSchedule { .. }
            | OperatorCall::StartMaintenance { .. }
            | OperatorCall::StopMaintenance { .. } => Some(("maintenance", "*".to_owned())),
            OperatorCall::DrainAgent(drain) => Some(("use", drain.agent_id.clone())),
            OperatorCall::DeactivateAgent { agent_id }
            | OperatorCall::ReactivateAgent { agent_id } => Some(("use", agent_id.clone())),
            _ => None,
        };
        self.asked.extend(setting.map(|setting| ((master, token), setting)));
    }

    /// It is answered by a master in this state.
    pub(crate) fn answered(&mut self, master: usize, token: Token, status: u16, state: &State) {
        let Some(setting) = self.asked.remove(&(master, token)) else { return };
        if status == 200 {
            self.doubtful.remove(&setting);
            let value = shown(state, &setting);
            self.known.insert(setting, value);
        }
    }

    /// The master's process has ended: what it did not answer may be set.
    pub(crate) fn ended(&mut self, master: usize) {
        let open = self.asked.extract_if(.., |(of, _), _| *of == master);
        self.doubtful.extend(open.map(|(_, setting)| setting));
    }

    /// Another master begins to lead.
    pub(crate) fn is_kept(&self, state: &State) -> Result<(), String> {
        for (setting, value) in &self.known {
            let (kind, role) = setting;
            let found = shown(state, setting);
            // An agent that is gone is neither in use nor out of it.
            let is_gone = [&found, value].into_iter().any(|shown| shown == GONE);
            if !self.doubtful.contains(setting) && !is_gone && found != *value {
                return Err(format!(
                    "the acknowledged {kind} of {role} is lost: it was {value} and is {found}"
                ));
            }
        }
        Ok(())
    }
}

/// An agent that is not known any more.
const GONE: &str = "gone";

fn shown(state: &State, (kind, role): &Setting) -> String {
    match *kind {
        "use" if state.deactivated.contains_key(role) => "out of use".to_owned(),
        "use" => {
            let is_known = state.agents.values().any(|agent| agent.id == *role)
                || state.recovered_agents.contains_key(role)
                || state.unreachable.contains_key(role);
            (if is_known { "in use" } else { GONE }).to_owned()
        }
        "weight" => format!("{:?}", state.weights.get(role)),
        "maintenance" => {
            let down = state.maintenance_status().down_machines;
            format!("{:?}, down: {down:?}", state.maintenance.schedule())
        }
        "quota" => format!("{:?}", state.quotas.get(role)),
        _ => format!("{:?}", state.shares.get(role).map(|share| &share.config)),
    }
}
