//! Operations on agents' resources: what becomes of them, feedback, acknowledgement, reconciliation
//! (spec/master.md 1.4 and 1.7).
//!
//! Reservations and volumes count from the moment they are sent to the agent; one that the agent could not make is
//! taken back, and what was offered of it is rescinded.

use crate::frameworks::event;
use crate::master::{Cx, Master};
use crate::registration::{options, total_of};
use crate::state::{Agent, Operation, is_operation_terminal};
use allocator::{AgentId, FrameworkId};
use resources::{Conversion, Resources};
use std::sync::Arc;
use wire::internal::master_to_agent::Message;
use wire::v1::OperationState;
use wire::v1::offer::Operation as Info;
use wire::v1::scheduler::{Event, call, event};
use wire::{internal, v1};

impl Master {
    /// Sends a valid operation to its agent and counts its result as there. `conversion`: with allocation info when it
    /// is done with a framework's offered resources.
    pub(crate) fn apply(
        &mut self,
        cx: &mut Cx<'_>,
        on: AgentId,
        framework: Option<FrameworkId>,
        info: Info,
        conversion: &Conversion,
    ) {
        let framework_id = framework.and_then(|key| self.framework(key)).map(|f| f.id.clone());
        let uuid = self.rng.uuid_bytes().to_vec();
        let plain = conversion.unallocated();
        let Some(agent) = self.agent_mut(on) else { return };
        let Ok(total) = agent.total.convert(&plain) else { return };
        let id = agent.id.clone();
        let status = v1::OperationStatus {
            operation_id: info.id.clone(),
            state: OperationState::OperationPending as i32,
            agent_id: Some(id.as_str().into()),
            ..Default::default()
        };
        let wire = v1::Operation {
            framework_id: framework_id.as_deref().map(Into::into),
            agent_id: Some(id.as_str().into()),
            info: info.clone(),
            latest_status: status,
            statuses: Vec::new(),
            uuid: v1::Uuid { value: uuid.clone() },
        };
        agent.operations.insert(uuid.clone(), Arc::new(Operation { wire, conversion: plain }));
        if let Some(key) = framework {
            self.allocator.recover(cx.now, key, on, &conversion.consumed, None);
        }
        self.set_total(on, total);
        if let Some(key) = framework {
            self.allocator.track(key, on, &conversion.converted);
        }
        let message = internal::ApplyOperation {
            framework_id: framework_id.as_deref().map(Into::into),
            operation_uuid: uuid,
            operation: info,
        };
        self.send_to_agent(cx, on, Message::ApplyOperation(message));
    }

    /// The agent has other resources than before.
    pub(crate) fn set_total(&mut self, key: AgentId, total: Resources) {
        let Some(agent) = self.agent_mut(key) else { return };
        agent.total = total.clone();
        let options = options(agent);
        self.allocator.update_agent(key, options, total);
    }

    pub(crate) fn on_operation_update(
        &mut self,
        cx: &mut Cx<'_>,
        on: AgentId,
        update: internal::OperationUpdate,
    ) {
        let uuid = update.operation_uuid;
        let mut status = update.status;
        let known = self.agent_mut(on).and_then(|a| a.operations.get_mut(&uuid));
        let Some(operation) = known.map(Arc::make_mut) else {
            self.count("master/invalid_operation_status_updates");
            // The agent shall forget it as well.
            self.acknowledge_operation(cx, on, &uuid, status.uuid.as_ref());
            return;
        };
        status.operation_id.clone_from(&operation.wire.info.id);
        status.agent_id.clone_from(&operation.wire.agent_id);
        let is_new = operation.wire.latest_status.state != status.state;
        operation.wire.latest_status = status.clone();
        // The same end may come with another uuid, which is the one that is acknowledged then.
        if is_new || operation.wire.statuses.iter().all(|s| s.uuid != status.uuid) {
            operation.wire.statuses.push(status.clone());
        }
        let framework_id = operation.wire.framework_id.clone();
        let kind = operation.wire.info.r#type().as_str_name().to_lowercase();
        if is_new && is_operation_terminal(status.state()) {
            let state = status.state().as_str_name().to_lowercase();
            let state = state.trim_start_matches("operation_");
            self.count(&format!("master/operations/{state}"));
            self.count(&format!("master/operations/{kind}/{state}"));
        }
        self.count("master/valid_operation_status_updates");
        let state = status.state();
        if is_new && is_operation_terminal(state) && state != OperationState::OperationFinished {
            self.take_back_operation(cx, on, &update.checkpointed_resources);
        }
        let framework = framework_id.as_ref().and_then(|id| self.framework_keys.get(&id.value));
        let (framework, reliable) = (framework.copied(), status.uuid.clone());
        let is_completed =
            |id: &v1::FrameworkId| self.state.completed_frameworks.iter().any(|f| f.id == id.value);
        let will_acknowledge =
            status.operation_id.is_some() && framework_id.is_some_and(|id| !is_completed(&id));
        if will_acknowledge {
            if let Some(key) = framework {
                self.send_operation_status(cx, key, status);
            }
        } else {
            self.acknowledge_operation(cx, on, &uuid, reliable.as_ref());
        }
        if is_operation_terminal(state) && (reliable.is_none() || !will_acknowledge) {
            self.forget_operation(on, &uuid);
        }
    }

    /// The agent did not do it: its resources are what it says.
    fn take_back_operation(&mut self, cx: &mut Cx<'_>, on: AgentId, checkpointed: &[v1::Resource]) {
        let Some(agent) = self.agent(on) else { return };
        match total_of(&agent.info.resources, checkpointed) {
            Ok(mut total) => {
                total += &agent.total.revocable();
                if total != agent.total {
                    self.rescind_on(cx, on);
                    self.set_total(on, total);
                }
            }
            Err(_) => self.count("master/invalid_operation_status_updates"),
        }
    }

    fn acknowledge_operation(
        &self,
        cx: &mut Cx<'_>,
        on: AgentId,
        uuid: &[u8],
        status: Option<&v1::Uuid>,
    ) {
        if let Some(status) = status {
            let message = internal::AcknowledgeOperation {
                operation_uuid: uuid.to_vec(),
                status_uuid: status.value.clone(),
            };
            self.send_to_agent(cx, on, Message::AcknowledgeOperation(message));
        }
    }

    fn forget_operation(&mut self, on: AgentId, uuid: &[u8]) {
        if let Some(agent) = self.agent_mut(on) {
            agent.operations.remove(uuid);
        }
        self.note_end_on(on);
    }

    pub(crate) fn send_operation_status(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        status: v1::OperationStatus,
    ) {
        let update = Some(event::UpdateOperationStatus { status });
        let kind = event::Type::UpdateOperationStatus;
        self.send_event(cx, key, Event { update_operation_status: update, ..event(kind) });
    }

    /// A framework acknowledges the end of an operation.
    pub(crate) fn on_operation_acknowledged(
        &mut self,
        cx: &mut Cx<'_>,
        acknowledge: &call::AcknowledgeOperationStatus,
    ) {
        let id = acknowledge.agent_id.as_ref().map_or("", |id| id.value.as_str());
        let agent = self.agent_keys.get(id).and_then(|key| self.agent(*key));
        let Some(agent) = agent.filter(|a| a.is_connected()) else {
            self.count("master/invalid_operation_status_update_acknowledgements");
            return;
        };
        let meant = agent.operations.iter().find(|(_, o)| {
            o.wire.info.id.as_ref() == Some(&acknowledge.operation_id)
                && o.wire
                    .statuses
                    .iter()
                    .any(|s| s.uuid.as_ref().is_some_and(|uuid| uuid.value == acknowledge.uuid))
        });
        let on = agent.key;
        let Some((uuid, operation)) = meant.map(|(uuid, o)| (uuid.clone(), o.clone())) else {
            self.count("master/invalid_operation_status_update_acknowledgements");
            return;
        };
        self.count("master/valid_operation_status_update_acknowledgements");
        if is_operation_terminal(operation.state()) {
            self.forget_operation(on, &uuid);
        }
        let status = v1::Uuid { value: acknowledge.uuid.clone() };
        self.acknowledge_operation(cx, on, &uuid, Some(&status));
    }

    /// An agent lists what it knows: operations that it does not know were dropped on the way.
    pub(crate) fn learn_operations(
        &mut self,
        cx: &mut Cx<'_>,
        on: AgentId,
        listed: &[v1::Operation],
    ) {
        let Some(agent) = self.agent_mut(on) else { return };
        let is_listed = |uuid: &Vec<u8>| listed.iter().any(|o| o.uuid.value == *uuid);
        let gone: Vec<_> =
            agent.operations.extract_if(.., |uuid, _| !is_listed(uuid)).map(|(_, o)| o).collect();
        for wire in listed {
            let conversion = Conversion::of(&wire.info).ok().flatten().unwrap_or_default();
            let operation = Operation { wire: wire.clone(), conversion: conversion.unallocated() };
            agent.operations.entry(wire.uuid.value.clone()).or_insert_with(|| Arc::new(operation));
        }
        for operation in gone.iter().filter(|o| !is_operation_terminal(o.state())) {
            self.tell_lost_operation(
                cx,
                operation,
                OperationState::OperationDropped,
                "Operation is unknown to the agent",
            );
        }
    }

    /// An agent is gone, and what was to be done there with it.
    pub(crate) fn lose_operations(
        &mut self,
        cx: &mut Cx<'_>,
        agent: &Agent,
        state: OperationState,
        message: &str,
    ) {
        for operation in agent.operations.values() {
            self.tell_lost_operation(cx, operation, state, message);
        }
    }

    fn tell_lost_operation(
        &mut self,
        cx: &mut Cx<'_>,
        operation: &Operation,
        state: OperationState,
        message: &str,
    ) {
        let wire = &operation.wire;
        let framework = wire.framework_id.as_ref();
        let key = framework.and_then(|id| self.framework_keys.get(&id.value)).copied();
        let Some(key) = key.filter(|_| wire.info.id.is_some()) else { return };
        let status = v1::OperationStatus {
            operation_id: wire.info.id.clone(),
            state: state as i32,
            message: Some(message.to_owned()),
            agent_id: wire.agent_id.clone(),
            ..Default::default()
        };
        self.send_operation_status(cx, key, status);
    }

    pub(crate) fn reconcile_operations(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        reconcile: call::ReconcileOperations,
    ) {
        let Some(framework_id) = self.framework(key).map(|f| f.id.clone()) else { return };
        let agents = self.state.agents.values();
        let own: Vec<Arc<Operation>> = agents
            .flat_map(|a| a.operations.values())
            .filter(|o| o.wire.framework_id.as_ref().is_some_and(|id| id.value == framework_id))
            .cloned()
            .collect();
        let told = |operation: &Operation| v1::OperationStatus {
            uuid: None,
            ..operation.wire.latest_status.clone()
        };
        if reconcile.operations.is_empty() {
            for operation in own.iter().filter(|o| o.wire.info.id.is_some()) {
                self.send_operation_status(cx, key, told(operation));
            }
        }
        for wanted in reconcile.operations {
            let known = own.iter().find(|o| o.wire.info.id.as_ref() == Some(&wanted.operation_id));
            let status = match known {
                Some(operation) => told(operation),
                None => self.unknown_operation(wanted),
            };
            self.send_operation_status(cx, key, status);
        }
    }

    /// An operation that is not known is where its agent is.
    fn unknown_operation(
        &self,
        wanted: call::reconcile_operations::Operation,
    ) -> v1::OperationStatus {
        let agent = wanted.agent_id.as_ref().map(|a| a.value.as_str()).unwrap_or_default();
        let (state, message) = if self.state.recovered_agents.contains_key(agent) {
            (OperationState::OperationRecovering, "Reconciliation: Agent is recovering")
        } else if self.state.unreachable.contains_key(agent) {
            (OperationState::OperationUnreachable, "Reconciliation: Agent is unreachable")
        } else if self.state.gone.contains_key(agent) {
            let message = "Reconciliation: Agent marked gone by operator";
            (OperationState::OperationGoneByOperator, message)
        } else {
            (OperationState::OperationUnknown, "Reconciliation: Operation is unknown")
        };
        v1::OperationStatus {
            operation_id: Some(wanted.operation_id),
            state: state as i32,
            message: Some(message.to_owned()),
            agent_id: wanted.agent_id,
            resource_provider_id: wanted.resource_provider_id,
            ..Default::default()
        }
    }
}
