//! `/slaves`, and agents in other answers.

use crate::offered;
use http_api::respond::query_value;
use http_api::v0::{Each, attributes, full, message, reserved, reserved_full, summary};
use master_core::{Agent, State};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use wire::v1;

pub(super) fn agent(state: &State, offered: &offered::ByAgent, agent: &Agent) -> Value {
    let deactivated = state.deactivated.get(&agent.id);
    let mut out = json!({
        "id": agent.id,
        "hostname": agent.info.hostname,
        "port": agent.info.port(),
        "attributes": attributes(&agent.info.attributes),
        "pid": format!("slave(1)@{}:{}", agent.ip, agent.info.port()),
        "registered_time": agent.registered.as_secs_f64(),
        "resources": summary(&agent.total),
        "used_resources": summary(&agent.used),
        "offered_resources": summary(&offered.on(agent.key)),
        "reserved_resources": reserved(&agent.total),
        "unreserved_resources": summary(&agent.total.unreserved()),
        "active": state.is_active(agent),
        "deactivated": deactivated.is_some(),
        "version": agent.version,
        "capabilities": agent.capabilities.iter().map(|c| c.r#type().as_str_name()).collect::<Vec<_>>(),
    });
    if let Some(time) = agent.reregistered {
        out["reregistered_time"] = json!(time.as_secs_f64());
    }
    if let Some(domain) = &agent.info.domain {
        out["domain"] = message(domain);
    }
    if let Some((known, drain)) = deactivated.and_then(|d| Some((d, d.drain.as_ref()?))) {
        out["drain_info"] = message(drain);
        if let Some(started) = known.drain_started {
            out["estimated_drain_start_time_seconds"] = json!(started.as_secs_f64());
        }
    }
    out
}

pub(super) fn recovered(state: &State) -> Value {
    let one = |id: &String, info: &v1::AgentInfo| json!({"id": id, "hostname": info.hostname, "port": info.port(), "attributes": attributes(&info.attributes)});
    state.recovered_agents.iter().map(|(id, agent)| one(id, &agent.info)).collect()
}

/// `/slaves`.
pub(super) struct Agents<'a> {
    state: &'a State,
    wanted: Option<String>,
}

impl<'a> Agents<'a> {
    pub(super) fn of(state: &'a State, query: &str) -> Self {
        Self { state, wanted: query_value(query, "slave_id") }
    }
}

impl Serialize for Agents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { state, wanted } = self;
        let offered = offered::ByAgent::of(state);
        let shown = |a: &std::sync::Arc<Agent>| {
            let mut out = agent(state, &offered, a);
            out["reserved_resources_full"] = reserved_full(&a.total);
            out["unreserved_resources_full"] = full(&a.total.unreserved());
            out["used_resources_full"] = full(&a.used);
            out["offered_resources_full"] = full(&offered.on(a.key));
            out
        };
        let chosen =
            || state.agents.values().filter(|a| wanted.as_ref().is_none_or(|id| *id == a.id));
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("slaves", &Each(|| chosen().map(shown)))?;
        out.serialize_entry("recovered_slaves", &recovered(state))?;
        out.end()
    }
}
