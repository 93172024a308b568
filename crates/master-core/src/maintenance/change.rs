//! Changes of the schedule, machines that go down and come up: durable first, then carried out.

use super::{Machine, Maintenance, Scheduled};
use crate::master::{Cx, Master, Timer, Waiting};
use crate::registration::refuse;
use crate::registry::{MAINTENANCE, RegistryOp, read};
use crate::state::State;
use allocator::AgentId;
use base::Token;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::v1;
use wire::v1::maintenance::cluster_status::DrainingMachine;
use wire::v1::maintenance::{ClusterStatus, Schedule};

/// The one key of its section.
const KEY: &str = "schedule";
/// Why agents of a machine are removed.
const BROUGHT_DOWN: &str = "Operator initiated 'Machine DOWN'";

impl Master {
    pub(crate) fn update_schedule(&mut self, cx: &mut Cx<'_>, token: Token, schedule: Schedule) {
        let next = self.planned.with_schedule(schedule);
        self.plan(cx, token, next);
    }

    pub(crate) fn bring_down(&mut self, cx: &mut Cx<'_>, token: Token, ids: &[v1::MachineId]) {
        let next = self.planned.with_down(ids, |machine| self.has_agents(machine));
        self.plan(cx, token, next);
    }

    pub(crate) fn bring_up(&mut self, cx: &mut Cx<'_>, token: Token, ids: &[v1::MachineId]) {
        let next = self.planned.with_up(ids, |machine| self.has_agents(machine));
        self.plan(cx, token, next);
    }

    fn has_agents(&self, machine: &Machine) -> bool {
        self.state.agents.values().any(|agent| Machine::of(agent) == *machine)
    }

    /// Changes build on what was asked for before them, durable or not: writes are in order.
    fn plan(&mut self, cx: &mut Cx<'_>, token: Token, next: Result<Maintenance, String>) {
        let next = match next {
            Ok(next) => Arc::new(next),
            Err(text) => return cx.respond(token, 400, text),
        };
        self.planned = next.clone();
        let (section, key) = (MAINTENANCE.to_owned(), KEY.to_owned());
        let op = match next.to_registry() {
            Some(kept) => RegistryOp::Put { section, key, value: wire::protobuf::to_vec(&kept) },
            None => RegistryOp::Delete { section, key },
        };
        self.write(cx, vec![op], Waiting::Maintenance { token, next });
    }

    /// The registry has it.
    pub(crate) fn on_planned(&mut self, cx: &mut Cx<'_>, token: Token, next: Arc<Maintenance>) {
        self.state.maintenance = next;
        for agent in self.state.agents.keys().copied().collect::<Vec<_>>() {
            self.reschedule(cx, agent);
            self.keep_down(cx, agent);
        }
        let maintenance = &self.state.maintenance;
        let is_up = |_: &String, machine: &mut Machine| !maintenance.is_down(machine);
        for (id, _) in self.brought_down.extract_if(.., is_up) {
            let timeout = self.config.agent_reregister_timeout;
            self.timers.set(Timer::BroughtUp(id), cx.now.mono + timeout);
        }
        cx.respond(token, 200, "");
        self.warn_of_maintenance(cx);
    }

    /// Takes over what the registry holds.
    pub(crate) fn recover_maintenance(&mut self, value: &[u8]) -> Result<(), String> {
        self.planned = Arc::new(Maintenance::from_registry(read(value)?)?);
        self.state.maintenance = self.planned.clone();
        Ok(())
    }

    /// Whether an agent with this host name and address may not register.
    pub(crate) fn is_down(&self, hostname: &str, ip: &str) -> bool {
        self.state.maintenance.is_down(&Machine::at(hostname, ip))
    }

    /// An agent's machine may have another window than before: offers that do not say so are void.
    pub(crate) fn reschedule(&mut self, cx: &mut Cx<'_>, key: AgentId) {
        let Some(agent) = self.agent(key) else { return };
        let machine = Machine::of(agent);
        let unavailability = self.state.maintenance.unavailability(&machine).copied();
        let before = self.state.scheduled.get(&key).map(|s| s.unavailability);
        if before == unavailability {
            return;
        }
        match unavailability {
            Some(unavailability) => {
                let answers = BTreeMap::new();
                let scheduled = Arc::new(Scheduled { machine, unavailability, answers });
                self.state.scheduled.insert(key, scheduled)
            }
            None => self.state.scheduled.remove(&key),
        };
        self.rescind_on(cx, key);
        self.rescind_warnings_on(cx, key);
        self.warnings.forget_answers_on(key);
        self.warnings.look_at([key]);
    }

    /// An agent of a machine that is down has to go.
    pub(crate) fn keep_down(&mut self, cx: &mut Cx<'_>, key: AgentId) {
        let Some(agent) = self.agent(key).filter(|a| !a.leaving) else { return };
        if !self.state.maintenance.is_down(&Machine::of(agent)) {
            return;
        }
        if let Some(connection) = agent.connection {
            refuse(cx, connection, BROUGHT_DOWN.to_owned());
        }
        self.brought_down.insert(agent.id.clone(), Machine::of(agent));
        self.remove_agent(cx, key, BROUGHT_DOWN);
    }
}

impl State {
    /// Which machines are about to be away and what frameworks said to it, and which are down.
    #[must_use]
    pub fn maintenance_status(&self) -> ClusterStatus {
        let mut answers: BTreeMap<&Machine, Vec<_>> = BTreeMap::new();
        for scheduled in self.scheduled.values() {
            let of_machine = answers.entry(&scheduled.machine).or_default();
            of_machine.extend(scheduled.answers.values().cloned());
        }
        let mut status = ClusterStatus::default();
        for (machine, id) in self.maintenance.machines() {
            if self.maintenance.is_down(machine) {
                status.down_machines.push(id.clone());
            } else {
                let statuses = answers.remove(machine).unwrap_or_default();
                status.draining_machines.push(DrainingMachine { id: id.clone(), statuses });
            }
        }
        status
    }
}
