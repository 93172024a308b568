//! Operations on the agent's resources (spec/agent.md 7.1) and their update manager (4.2).
//!
//! An operation is in the store before a directory is touched, and its end is in the store before it is told; it is told
//! again until it is acknowledged.

use crate::agent::{Agent, Cx, Timer, Waiting};
use crate::contract::Effect;
use resources::{Conversion, Resources};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::internal::agent_record::Record;
use wire::internal::agent_to_master::Message;
use wire::v1::OperationState;
use wire::{internal, v1};

const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Of operations, by uuid.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    /// Delays until their ends are told again.
    retries: BTreeMap<Vec<u8>, Duration>,
    /// Those found in the store, oldest first.
    pub(crate) found: Vec<Vec<u8>>,
}

fn is_pending(operation: &v1::Operation) -> bool {
    operation.latest_status.state() == OperationState::OperationPending
}

impl Agent {
    pub(crate) fn on_apply_operation(
        &mut self,
        cx: &mut Cx<'_>,
        message: internal::ApplyOperation,
    ) {
        let uuid = message.operation_uuid;
        if let Some(known) = self.state.operations.get(&uuid) {
            if !is_pending(known) {
                self.send_operation(cx, &uuid, true);
            }
            return;
        }
        let status = |state: OperationState| v1::OperationStatus {
            operation_id: message.operation.id.clone(),
            state: state as i32,
            agent_id: self.state.id.as_deref().map(Into::into),
            ..Default::default()
        };
        let mut operation = v1::Operation {
            framework_id: message.framework_id.clone(),
            agent_id: self.state.id.as_deref().map(Into::into),
            latest_status: status(OperationState::OperationPending),
            statuses: Vec::new(),
            uuid: v1::Uuid { value: uuid.clone() },
            info: message.operation.clone(),
        };
        let converted = conversion(&operation)
            .and_then(|c| self.state.total.convert(&c).map(|total| (c, total)).map_err(|e| e.0));
        let (conversion, total) = match converted {
            Ok(done) => done,
            Err(text) => {
                let mut status = status(OperationState::OperationDropped);
                status.message = Some(format!("the agent can't do it: {text}"));
                operation.latest_status = status;
                self.tell_operation(cx, &operation);
                return;
            }
        };
        self.state.total = total;
        let touches = !conversion.touched().is_empty();
        if !touches {
            self.finish(&mut operation, Ok(()));
        }
        let checkpointed = Some(self.checkpointed());
        let record = internal::OperationRecord { operation: operation.clone(), checkpointed };
        self.state.operations.insert(uuid.clone(), Arc::new(operation));
        let waiting =
            if touches { Waiting::Operation { uuid } } else { Waiting::OperationEnd { uuid } };
        self.store(cx, Record::Operation(record), true, waiting);
    }

    pub(crate) fn checkpointed(&self) -> internal::CheckpointedResources {
        internal::CheckpointedResources { resources: self.state.total.to_checkpoint().to_wire() }
    }

    fn finish(&mut self, operation: &mut v1::Operation, result: Result<(), String>) {
        let state = match result {
            Ok(()) => OperationState::OperationFinished,
            Err(_) => OperationState::OperationFailed,
        };
        let status = v1::OperationStatus {
            state: state as i32,
            message: result.err(),
            uuid: Some(v1::Uuid { value: self.rng.uuid_bytes().to_vec() }),
            ..operation.latest_status.clone()
        };
        operation.statuses.push(status.clone());
        operation.latest_status = status;
    }

    /// The store has an operation on volumes.
    pub(crate) fn on_operation_stored(&mut self, cx: &mut Cx<'_>, uuid: &[u8]) {
        let Some(operation) = self.state.operations.get(uuid).filter(|o| is_pending(o)) else {
            return;
        };
        let Ok(conversion) = conversion(operation) else { return };
        // A volume that changes its size stays where it is.
        let made = self.volume_paths(&conversion.converted.volumes());
        let gone = self.removed_volumes(&conversion.consumed.volumes());
        let remove = gone.into_iter().filter(|r| !made.contains(&r.path)).collect();
        cx.out.push(Effect::SyncVolumes { operation: uuid.to_vec(), make: made, remove });
    }

    pub(crate) fn on_volumes_synced(
        &mut self,
        cx: &mut Cx<'_>,
        uuid: &[u8],
        result: Result<(), String>,
    ) {
        if uuid.is_empty() {
            if let Err(text) = result {
                let message = format!("persistent volumes can't be recovered: {text}");
                cx.out.push(Effect::Exit { status: 1, message });
            }
            return;
        }
        let Some(operation) = self.state.operations.get(uuid).filter(|o| is_pending(o)) else {
            return;
        };
        let mut operation = v1::Operation::clone(operation);
        if result.is_err()
            && let Ok(c) = conversion(&operation)
        {
            // What was made of it since can't be undone; then the reservation stays as it is.
            let back = Conversion { consumed: c.converted, converted: c.consumed };
            if let Ok(total) = self.state.total.convert(&back) {
                self.state.total = total;
            }
        }
        self.finish(&mut operation, result);
        let checkpointed = Some(self.checkpointed());
        let record = internal::OperationRecord { operation: operation.clone(), checkpointed };
        self.state.operations.insert(uuid.to_vec(), Arc::new(operation));
        let waiting = Waiting::OperationEnd { uuid: uuid.to_vec() };
        self.store(cx, Record::Operation(record), true, waiting);
    }

    /// Tells the end of an operation, and again until it is acknowledged; `fresh`: for the first time.
    pub(crate) fn send_operation(&mut self, cx: &mut Cx<'_>, uuid: &[u8], fresh: bool) {
        let Some(operation) = self.state.operations.get(uuid).cloned() else { return };
        if is_pending(&operation) || !self.state.registered {
            return;
        }
        let last = self.operations.retries.get(uuid).copied().unwrap_or(RETRY_MIN);
        let retry = if fresh { RETRY_MIN } else { (last * 2).min(RETRY_MAX) };
        self.operations.retries.insert(uuid.to_vec(), retry);
        self.timers.set(Timer::RetryOperation(uuid.to_vec()), cx.now.mono + retry);
        self.tell_operation(cx, &operation);
    }

    fn tell_operation(&self, cx: &mut Cx<'_>, operation: &v1::Operation) {
        let Some(connection) = self.connection.filter(|_| self.state.registered) else { return };
        let status = operation.latest_status.clone();
        let done = status.state() == OperationState::OperationFinished;
        let checkpointed_resources = if done { Vec::new() } else { self.checkpointed().resources };
        let message = Message::OperationUpdate(internal::OperationUpdate {
            framework_id: operation.framework_id.clone(),
            operation_uuid: operation.uuid.value.clone(),
            status,
            checkpointed_resources,
        });
        cx.out.push(Effect::SendToMaster { connection, message: Box::new(message) });
    }

    /// Tells all ends again: the master is another, or was away.
    pub(crate) fn resume_operations(&mut self, cx: &mut Cx<'_>) {
        for uuid in self.state.operations.keys().cloned().collect::<Vec<_>>() {
            self.send_operation(cx, &uuid, true);
        }
    }

    pub(crate) fn on_operation_acknowledged(
        &mut self,
        cx: &mut Cx<'_>,
        message: internal::AcknowledgeOperation,
    ) {
        let uuid = message.operation_uuid;
        let status = |o: &Arc<v1::Operation>| o.latest_status.uuid.clone().map(|u| u.value);
        if self.state.operations.get(&uuid).and_then(status) != Some(message.status_uuid) {
            return;
        }
        self.state.operations.remove(&uuid);
        self.operations.retries.remove(&uuid);
        self.timers.cancel(&Timer::RetryOperation(uuid.clone()));
        let record = internal::OperationAckRecord { operation_uuid: uuid };
        self.store(cx, Record::OperationAck(record), false, Waiting::Nothing);
        self.end_drain(cx);
    }

    /// After a restart: resources are what the store says; what was begun is done again.
    pub(crate) fn recover_operations(&mut self, cx: &mut Cx<'_>, checkpointed: &Resources) {
        let base = Resources::from_wire(&self.config.info.resources).unwrap_or_default();
        match base.with_checkpointed(checkpointed) {
            Ok(total) => self.state.total = total,
            Err(error) => {
                let message = format!(
                    "{error}; give the agent at least the resources that are reserved on it with --resources, or remove its work directory"
                );
                cx.out.push(Effect::Exit { status: 1, message });
                return;
            }
        }
        let make = self.volume_paths(&self.state.total.volumes());
        if !make.is_empty() {
            cx.out.push(Effect::SyncVolumes { operation: Vec::new(), make, remove: Vec::new() });
        }
        // In their order: a volume may have been made and destroyed, or destroyed and made again.
        for uuid in std::mem::take(&mut self.operations.found) {
            self.on_operation_stored(cx, &uuid);
        }
    }
}

fn conversion(operation: &v1::Operation) -> Result<Conversion, String> {
    match Conversion::of(&operation.info) {
        Ok(Some(conversion)) => Ok(conversion.unallocated()),
        Ok(None) => Err(format!(
            "{} is not an operation on an agent's own resources",
            operation.info.r#type().as_str_name()
        )),
        Err(error) => Err(error.0),
    }
}
