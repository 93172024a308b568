//! `/state-summary`.

use super::{agents, frameworks, tasks};
use crate::offered;
use master_core::State;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wire::v1;

/// Number of tasks by state, as `/state-summary` names them.
#[derive(Default)]
pub(super) struct Counts(BTreeMap<&'static str, u64>);

const COUNTED: [v1::TaskState; 10] = [
    v1::TaskState::TaskStaging,
    v1::TaskState::TaskStarting,
    v1::TaskState::TaskRunning,
    v1::TaskState::TaskKilling,
    v1::TaskState::TaskFinished,
    v1::TaskState::TaskKilled,
    v1::TaskState::TaskFailed,
    v1::TaskState::TaskLost,
    v1::TaskState::TaskError,
    v1::TaskState::TaskUnreachable,
];

impl Counts {
    pub(super) fn add(&mut self, state: v1::TaskState) {
        *self.0.entry(state.as_str_name()).or_default() += 1;
    }

    pub(super) fn write(&self, out: &mut Value) {
        for state in COUNTED {
            let name = state.as_str_name();
            out[name] = json!(self.0.get(name).copied().unwrap_or(0));
        }
    }
}

pub(super) fn summary(state: &State) -> Value {
    let offered = offered::ByAgent::of(state);
    let mut on_agents: BTreeMap<&str, (Counts, BTreeSet<&str>)> = BTreeMap::new();
    let mut shown = Vec::new();
    for framework in state.frameworks.values() {
        let (mut counts, mut agents) = (Counts::default(), BTreeSet::new());
        for task in tasks::of(framework) {
            let agent = task.wire.agent_id.value.as_str();
            counts.add(task.wire.state());
            agents.insert(agent);
            let (counts, ids) = on_agents.entry(agent).or_default();
            counts.add(task.wire.state());
            ids.insert(&framework.id);
        }
        let mut out = frameworks::head(framework, &framework.used, &framework.offered());
        counts.write(&mut out);
        out["slave_ids"] = json!(agents);
        shown.push(out);
    }
    let slaves: Value = state
        .agents
        .values()
        .map(|agent| {
            let mut out = agents::agent(state, &offered, agent);
            let none = (Counts::default(), BTreeSet::new());
            let (counts, ids) = on_agents.get(agent.id.as_str()).unwrap_or(&none);
            counts.write(&mut out);
            out["framework_ids"] = json!(ids);
            out
        })
        .collect();
    let mut out = json!({"hostname": state.info.hostname(), "slaves": slaves, "frameworks": shown});
    if let Some(cluster) = state.flags.get("cluster") {
        out["cluster"] = json!(cluster);
    }
    out
}
