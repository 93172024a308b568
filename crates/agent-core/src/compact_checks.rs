//! What checks said in the past: a task that is checked for months must not fill the log.

use std::collections::{BTreeMap, BTreeSet};
use wire::internal::agent_record::Record;
use wire::internal::{AgentRecord, ExecutorKind};
use wire::v1;
use wire::v1::task_status::Reason;

type Key<'a> = (&'a str, &'a str);

/// Leaves out updates of checks that the agent made itself, that were acknowledged, and that a later one of the same
/// state replaces. Failures of a health check stay until a success follows, since they are counted.
pub(crate) fn compact_checks(records: Vec<AgentRecord>) -> Vec<AgentRecord> {
    let gone = superseded(&records);
    if gone.is_empty() {
        return records;
    }
    let is_gone = |record: &AgentRecord| match &record.record {
        Some(Record::Update(r)) => gone.contains(r.status.uuid()),
        Some(Record::Ack(r)) => gone.contains(&r.uuid),
        _ => false,
    };
    let keep: Vec<bool> = records.iter().map(|record| !is_gone(record)).collect();
    let mut keep = keep.into_iter();
    records.into_iter().filter(|_| keep.next().unwrap_or(true)).collect()
}

/// Uuids of such updates.
fn superseded(records: &[AgentRecord]) -> BTreeSet<Vec<u8>> {
    let mut customs: BTreeSet<Key<'_>> = BTreeSet::new();
    let mut acknowledged: BTreeSet<&[u8]> = BTreeSet::new();
    for record in records.iter().filter_map(|r| r.record.as_ref()) {
        match record {
            Record::Executor(r) if r.kind() == ExecutorKind::Custom => {
                customs.insert((&r.framework_id.value, &r.info.executor_id.value));
            }
            Record::Ack(r) => {
                acknowledged.insert(&r.uuid);
            }
            _ => {}
        }
    }
    let mut gone = BTreeSet::new();
    // From the end: of each task the state that follows, and whether it was healthy later.
    let mut later: BTreeMap<Key<'_>, (v1::TaskState, bool)> = BTreeMap::new();
    for record in records.iter().rev().filter_map(|r| r.record.as_ref()) {
        let Record::Update(r) = record else { continue };
        let (framework, status) = (r.framework_id.value.as_str(), &r.status);
        let key = (framework, status.task_id.value.as_str());
        let next = later.get(&key).copied();
        let was_healthy_later = next.is_some_and(|(_, healthy)| healthy);
        let reason = status.reason();
        let is_old = match reason {
            Reason::TaskCheckStatusUpdated => true,
            Reason::TaskHealthCheckStatusUpdated => was_healthy_later,
            _ => false,
        };
        let executor = status.executor_id.as_ref().map_or("", |id| &id.value);
        let is_replaced = next.is_some_and(|(state, _)| state == status.state());
        let is_ours = !customs.contains(&(framework, executor));
        if is_old && is_replaced && is_ours && acknowledged.contains(status.uuid()) {
            gone.insert(status.uuid().to_vec());
        }
        let is_healthy = reason == Reason::TaskHealthCheckStatusUpdated && status.healthy();
        later.insert(key, (status.state(), was_healthy_later || is_healthy));
    }
    gone
}
