//! What of the agent's log is still needed at the next start.

use crate::compact_checks::compact_checks;
use std::collections::BTreeSet;
use wire::internal;
use wire::internal::AgentRecord;
use wire::internal::agent_record::Record;

/// Leaves out operations that were acknowledged, what resources were before, and what belonged to another agent.
fn compact_operations(records: Vec<AgentRecord>) -> Vec<AgentRecord> {
    let mut kept = Vec::with_capacity(records.len());
    let mut checkpointed = None;
    let mut boot = None;
    let mut drain = None;
    let mut open: Vec<internal::OperationRecord> = Vec::new();
    for record in records {
        match record.record {
            Some(Record::Operation(mut record)) => {
                checkpointed = record.checkpointed.take().or(checkpointed);
                open.retain(|o| o.operation.uuid != record.operation.uuid);
                open.push(record);
            }
            Some(Record::OperationAck(ack)) => {
                open.retain(|o| o.operation.uuid.value != ack.operation_uuid);
            }
            Some(Record::Resources(resources)) => checkpointed = Some(resources),
            Some(Record::Drain(record)) => drain = record.config.map(|_| Record::Drain(record)),
            Some(Record::Boot(record)) => {
                if record.anew() {
                    kept.clear();
                    open.clear();
                    drain = None;
                }
                boot = Some(internal::BootRecord { anew: None, ..record });
            }
            _ => kept.push(record),
        }
    }
    let resources = checkpointed.map(Record::Resources);
    let open = open.into_iter().map(Record::Operation);
    let boot = boot.map(Record::Boot);
    kept.extend(
        resources
            .into_iter()
            .chain(open)
            .chain(boot)
            .chain(drain)
            .map(|r| AgentRecord { record: Some(r) }),
    );
    kept
}

/// The framework to which a record belongs.
fn framework_of(record: &Record) -> Option<&str> {
    let id = match record {
        Record::Framework(info) => info.id.as_ref()?,
        Record::Executor(r) => &r.framework_id,
        Record::Task(r) => &r.framework_id,
        Record::Update(r) => &r.framework_id,
        Record::Ack(r) => &r.framework_id,
        Record::Kill(r) => &r.framework_id,
        Record::ForgetExecutor(r) => &r.framework_id,
        Record::ForgetFramework(r) => &r.framework_id,
        Record::Agent(_)
        | Record::Resources(_)
        | Record::Operation(_)
        | Record::OperationAck(_)
        | Record::Drain(_)
        | Record::Container(_)
        | Record::Boot(_) => return None,
    };
    Some(&id.value)
}

/// Leaves out what belongs to executors and frameworks that were forgotten, operations that were acknowledged, and what
/// checks said before: an agent that recovers from the rest is the same.
#[must_use]
pub fn compact(records: Vec<AgentRecord>) -> Vec<AgentRecord> {
    let records = compact_checks(compact_operations(records));
    let mut keep = vec![true; records.len()];
    // From the end: a framework or executor may come again after it was forgotten.
    let (mut frameworks, mut containers) = (BTreeSet::new(), BTreeSet::new());
    let mut launched = BTreeSet::new();
    for (at, record) in records.iter().enumerate().rev() {
        let Some(record) = &record.record else {
            keep[at] = false;
            continue;
        };
        keep[at] = framework_of(record).is_none_or(|id| !frameworks.contains(id));
        match record {
            Record::ForgetFramework(r) => {
                frameworks.insert(r.framework_id.value.as_str());
                keep[at] = false;
            }
            Record::ForgetExecutor(r) => {
                containers.insert(r.container_id.as_str());
                keep[at] = false;
            }
            Record::Container(r) => {
                keep[at] &= launched.insert(r.name.as_str()) && r.container_id.is_some();
            }
            Record::Executor(r) => keep[at] &= !containers.contains(r.container_id.as_str()),
            _ => {}
        }
    }
    // Forwards: what is left of an executor that was forgotten.
    let mut executors: BTreeSet<(String, String)> = BTreeSet::new();
    let mut tasks: BTreeSet<(String, String)> = BTreeSet::new();
    for (at, record) in records.iter().enumerate() {
        match &record.record {
            Some(Record::Executor(r)) => {
                let key = (r.framework_id.value.clone(), r.info.executor_id.value.clone());
                if keep[at] {
                    executors.remove(&key);
                } else {
                    executors.insert(key);
                }
            }
            Some(Record::Task(r)) => {
                let key = (r.framework_id.value.clone(), r.executor_id.value.clone());
                let task = (key.0.clone(), r.info.task_id.value.clone());
                if executors.contains(&key) {
                    keep[at] = false;
                    tasks.insert(task);
                } else {
                    tasks.remove(&task);
                }
            }
            Some(Record::Update(r)) => {
                keep[at] &= !tasks
                    .contains(&(r.framework_id.value.clone(), r.status.task_id.value.clone()));
            }
            Some(Record::Ack(r)) => {
                keep[at] &=
                    !tasks.contains(&(r.framework_id.value.clone(), r.task_id.value.clone()));
            }
            Some(Record::Kill(r)) => {
                keep[at] &=
                    !tasks.contains(&(r.framework_id.value.clone(), r.task_id.value.clone()));
            }
            _ => {}
        }
    }
    let mut keep = keep.into_iter();
    records.into_iter().filter(|_| keep.next().unwrap_or(false)).collect()
}
