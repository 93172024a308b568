//! An operator who drains agents, brings machines down, and changes their mind; in the calm all is in use again.

use super::*;
use wire::google::protobuf::Duration as Grace;
use wire::internal::agent_record::Record;
use wire::v1;

/// Time between two looks of the operator in the calm.
const TIDY_EVERY: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn maintain(&mut self) {
        let Some(every) = self.options.maintain_every else { return };
        let calls = if self.is_calm() { self.tidy() } else { self.next_maintenance() };
        for call in calls {
            let ended = match &call {
                master::OperatorCall::DrainAgent(drain) => vec![drain.agent_id.clone()],
                master::OperatorCall::StartMaintenance { machines } => self.agents_of(machines),
                _ => Vec::new(),
            };
            for framework in &mut self.frameworks {
                framework.drained.extend(ended.iter().cloned());
            }
            self.operate(call);
        }
        let delay = if self.is_calm() { TIDY_EVERY } else { self.random(2 * every) };
        self.after(delay, Event::Maintain);
    }

    fn next_maintenance(&mut self) -> Vec<master::OperatorCall> {
        let agent = self.rng.below(self.agents.len() as u64) as usize;
        let core = self.agents[agent].core.as_ref();
        let id = core.and_then(|core| core.state().id.clone()).unwrap_or_default();
        let call = match self.rng.below(7) {
            0 | 1 => {
                let seconds = [0, 2, 60][self.rng.below(3) as usize];
                let max_grace_period = self.rng.chance(1, 2).then_some(Grace { seconds, nanos: 0 });
                let mark_gone = self.rng.chance(1, 5);
                let drain = master::Drain { agent_id: id, max_grace_period, mark_gone };
                master::OperatorCall::DrainAgent(drain)
            }
            2 => master::OperatorCall::DeactivateAgent { agent_id: id },
            3 => master::OperatorCall::ReactivateAgent { agent_id: id },
            4 => master::OperatorCall::UpdateMaintenanceSchedule { schedule: self.schedule() },
            5 => master::OperatorCall::StartMaintenance { machines: vec![machine(agent)] },
            _ => master::OperatorCall::StopMaintenance { machines: vec![machine(agent)] },
        };
        vec![call]
    }

    /// Ids that agents of machines have, or had when they ran last.
    fn agents_of(&self, machines: &[v1::MachineId]) -> Vec<String> {
        let nodes = self.agents.iter().filter(|node| machines.contains(&machine(node.index)));
        let records = nodes.flat_map(|node| &node.disk).filter_map(|r| r.record.as_ref());
        let ids = records.filter_map(|record| match record {
            Record::Agent(info) => info.id.as_ref().map(|id| id.value.clone()),
            _ => None,
        });
        ids.collect()
    }

    /// Some of the machines, and one that nobody knows.
    fn schedule(&mut self) -> v1::maintenance::Schedule {
        let mut windows = Vec::new();
        for agent in 0..=self.agents.len() {
            if self.rng.chance(1, 2) {
                let nanoseconds = i64::try_from(self.rng.below(1 << 40)).unwrap_or(0);
                let start = v1::TimeInfo { nanoseconds };
                let unavailability = v1::Unavailability { start, duration: None };
                let machine_ids = vec![machine(agent)];
                windows.push(v1::maintenance::Window { machine_ids, unavailability });
            }
        }
        v1::maintenance::Schedule { windows }
    }

    /// What puts everything back into use.
    fn tidy(&self) -> Vec<master::OperatorCall> {
        let Some(state) = self.leader().and_then(|m| m.core.as_ref()).map(|core| core.state())
        else {
            return Vec::new();
        };
        let mut calls = Vec::new();
        let machines = state.maintenance_status().down_machines;
        if !machines.is_empty() {
            calls.push(master::OperatorCall::StopMaintenance { machines });
        }
        if !state.maintenance.schedule().windows.is_empty() {
            let schedule = v1::maintenance::Schedule::default();
            calls.push(master::OperatorCall::UpdateMaintenanceSchedule { schedule });
        }
        let reactivate =
            |id: &String| master::OperatorCall::ReactivateAgent { agent_id: id.clone() };
        calls.extend(state.deactivated.keys().map(reactivate));
        calls
    }
}

/// The machine of an agent.
fn machine(agent: usize) -> v1::MachineId {
    v1::MachineId {
        hostname: Some(format!("host{agent}")),
        ip: Some(format!("10.0.0.{}", agent + 1)),
    }
}
