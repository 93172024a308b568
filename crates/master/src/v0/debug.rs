//! Endpoints for looking closer: what the registry keeps, and what constraints of frameworks keep away.

use http_api::v0::message;
use master_core::State;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use wire::v1;

fn put(out: &mut Value, name: &str, value: Value) {
    let is_empty = value.as_array().is_some_and(Vec::is_empty);
    if !is_empty {
        out[name] = value;
    }
}

/// `/registrar(1)/registry`: the messages of the peer's registry.
pub(super) fn registry(state: &State) -> Value {
    let standing = |id: &str, mut out: Value| {
        if let Some(deactivated) = state.deactivated.get(id) {
            out["deactivated"] = json!(true);
            if let Some(drain) = &deactivated.drain {
                out["drain_info"] = message(drain);
            }
        }
        out
    };
    let here = state.agents.values().map(|agent| (agent.id.as_str(), &agent.info));
    let awaited = state.recovered_agents.iter().map(|(id, agent)| (id.as_str(), &agent.info));
    let admitted: BTreeMap<&str, &v1::AgentInfo> = here.chain(awaited).collect();
    let admitted = admitted.iter().map(|(id, info)| standing(id, json!({"info": message(*info)})));
    let timed = |(id, time): (&String, &v1::TimeInfo)| json!({"id": {"value": id}, "timestamp": message(time)});
    let unreachable = state.unreachable.iter().map(|entry| standing(entry.0, timed(entry)));
    let machine = |(machine, id): (&master_core::Machine, &v1::MachineId)| {
        let mode = if state.maintenance.is_down(machine) { "DOWN" } else { "DRAINING" };
        let mut info = json!({"id": message(id), "mode": mode});
        if let Some(window) = state.maintenance.unavailability(machine) {
            info["unavailability"] = message(window);
        }
        json!({ "info": info })
    };
    let weight =
        |(role, weight): (&String, &f64)| json!({"info": {"role": role, "weight": weight}});
    let mut out = json!({
        "master": {"info": message(&state.info)},
        "slaves": {"slaves": admitted.collect::<Value>()},
        "unreachable": {"slaves": unreachable.collect::<Value>()},
        "gone": {"slaves": state.gone.iter().map(timed).collect::<Value>()},
        "machines": {"machines": state.maintenance.machines().map(machine).collect::<Value>()},
    });
    let schedule = state.maintenance.schedule();
    if !schedule.windows.is_empty() {
        out["schedules"] = json!([message(schedule)]);
    }
    put(&mut out, "quota_configs", state.quotas.values().map(message).collect());
    put(&mut out, "weights", state.weights.iter().map(weight).collect());
    out
}

/// `/allocator/offer_constraints_debug`.
pub(super) fn constraints(state: &State) -> Value {
    let shown = |framework: &master_core::Framework| {
        let excluded: Map<String, Value> = state
            .excluded_by_constraints(framework)
            .into_iter()
            .map(|(role, agents)| (role, json!(agents)))
            .collect();
        json!({
            "suppressed_roles": framework.suppressed,
            "excluded_by_attribute_constraints": excluded,
        })
    };
    let frameworks: Map<String, Value> =
        state.frameworks.values().map(|f| (f.id.clone(), shown(f))).collect();
    json!({ "frameworks": frameworks })
}
