//! Messages of the v1 operator API, from a snapshot (spec/master.md 5.1).

use crate::usage::Usage;
use base::WallTime;
use http_api::answer::Object;
use master_core::{Agent, Framework, State};
use wire::v1;
use wire::v1::master::response::{
    GetAgents, GetExecutors, GetFrameworks, GetOperations, GetRoles, GetState, GetTasks,
    get_agents, get_executors, get_frameworks,
};

fn time(at: WallTime) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: at.0.cast_signed() }
}

/// As the peer tells the start of a drain.
fn whole_seconds(at: WallTime) -> v1::TimeInfo {
    const SECOND: u64 = 1_000_000_000;
    time(WallTime(at.0 / SECOND * SECOND))
}

pub(crate) fn agent(state: &State, agent: &Agent, usage: &Usage) -> get_agents::Agent {
    let deactivated = state.deactivated.get(&agent.id);
    let drain = deactivated.filter(|d| d.drain.is_some());
    get_agents::Agent {
        agent_info: v1::AgentInfo {
            id: Some(agent.id.as_str().into()),
            checkpoint: Some(true),
            ..agent.info.clone()
        },
        active: state.is_active(agent),
        deactivated: Some(deactivated.is_some()),
        drain_info: drain.and_then(|d| d.drain),
        estimated_drain_start_time: drain.and_then(|d| d.drain_started).map(whole_seconds),
        version: agent.version.clone(),
        pid: Some(format!("slave(1)@{}:{}", agent.ip, agent.info.port())),
        registered_time: Some(time(agent.registered)),
        reregistered_time: agent.reregistered.map(time),
        total_resources: agent.total.to_wire_endpoint(),
        allocated_resources: usage.used(agent.key).to_wire_endpoint(),
        offered_resources: usage.offered(agent.key).to_wire_endpoint(),
        capabilities: agent.capabilities.clone(),
        ..Default::default()
    }
}

pub(crate) fn agents(state: &State) -> GetAgents {
    let usage = Usage::of(state);
    GetAgents {
        agents: state.agents.values().map(|a| agent(state, a, &usage)).collect(),
        recovered_agents: state.recovered_agents.values().cloned().collect(),
    }
}

pub(crate) fn framework(state: &State, framework: &Framework) -> get_frameworks::Framework {
    let offers = framework.offers.values().filter_map(|o| state.offer_to_wire(o));
    get_frameworks::Framework {
        framework_info: v1::FrameworkInfo {
            id: Some(framework.id.as_str().into()),
            ..framework.info.clone()
        },
        active: framework.is_connected(),
        connected: framework.is_connected(),
        recovered: framework.recovered,
        registered_time: Some(time(framework.registered)),
        reregistered_time: Some(time(framework.reregistered)),
        unregistered_time: framework.unregistered.map(time),
        offers: offers.collect(),
        inverse_offers: framework.inverse_offers.values().map(|o| (**o).clone()).collect(),
        allocated_resources: framework.used().to_wire_endpoint(),
        offered_resources: framework.offered().to_wire_endpoint(),
        offer_constraints: Some(framework.constraints.clone().unwrap_or_default()),
    }
}

pub(crate) fn frameworks(state: &State) -> GetFrameworks {
    GetFrameworks {
        frameworks: state.frameworks.values().map(|f| framework(state, f)).collect(),
        completed_frameworks: state
            .completed_frameworks
            .iter()
            .map(|f| framework(state, f))
            .collect(),
        ..Default::default()
    }
}

pub(crate) fn executors(state: &State) -> GetExecutors {
    let all = state.frameworks.values().flat_map(|f| &f.executors);
    let executors = all.filter_map(|((agent, _), executor)| {
        Some(get_executors::Executor {
            executor_info: executor.info.clone(),
            agent_id: state.agents.get(agent)?.id.as_str().into(),
        })
    });
    GetExecutors { executors: executors.collect(), ..Default::default() }
}

pub(crate) fn tasks(state: &State) -> GetTasks {
    let all = || state.frameworks.values().chain(&state.completed_frameworks);
    GetTasks {
        tasks: all().flat_map(|f| f.tasks.values()).map(|t| t.wire.clone()).collect(),
        unreachable_tasks: all()
            .flat_map(|f| &f.unreachable_tasks)
            .map(|t| t.wire.clone())
            .collect(),
        completed_tasks: all().flat_map(|f| &f.completed_tasks).map(|t| t.wire.clone()).collect(),
        ..Default::default()
    }
}

pub(crate) fn state(state: &State) -> GetState {
    GetState {
        get_tasks: Some(tasks(state)),
        get_executors: Some(executors(state)),
        get_frameworks: Some(frameworks(state)),
        get_agents: Some(agents(state)),
    }
}

pub(crate) fn operations(state: &State) -> GetOperations {
    let all = state.agents.values().flat_map(|a| a.operations.values());
    GetOperations { operations: all.map(|o| o.wire.clone()).collect() }
}

pub(crate) fn roles(state: &State) -> GetRoles {
    let scalar = |(name, value): (&str, i64)| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: resources::from_milli(value) }),
        ..Default::default()
    };
    let known = crate::v0::known_roles(state);
    let role = |(name, role): (&String, &crate::v0::Role<'_>)| {
        let mut held = role.allocated.clone();
        held += &role.offered;
        let amounts = ["cpus", "mem", "disk", "gpus"].map(|name| (name, held.scalar(name)));
        v1::Role {
            name: name.clone(),
            weight: state.weights.get(name).copied().unwrap_or(1.0),
            frameworks: role.frameworks.iter().map(|id| (*id).into()).collect(),
            resources: amounts.into_iter().filter(|(_, n)| *n > 0).map(scalar).collect(),
        }
    };
    GetRoles { roles: known.iter().map(role).collect() }
}

pub(crate) fn agents_json(m: &GetAgents) -> Vec<u8> {
    let lists = Object::default().list("agents", &m.agents);
    lists.list("recovered_agents", &m.recovered_agents).finish()
}

pub(crate) fn frameworks_json(m: &GetFrameworks) -> Vec<u8> {
    let lists = Object::default().list("frameworks", &m.frameworks);
    lists.list("completed_frameworks", &m.completed_frameworks).finish()
}

pub(crate) fn executors_json(m: &GetExecutors) -> Vec<u8> {
    Object::default().list("executors", &m.executors).finish()
}

pub(crate) fn tasks_json(m: &GetTasks) -> Vec<u8> {
    Object::default()
        .list("tasks", &m.tasks)
        .list("unreachable_tasks", &m.unreachable_tasks)
        .list("completed_tasks", &m.completed_tasks)
        .finish()
}

pub(crate) fn state_json(m: &GetState) -> Vec<u8> {
    let part = |json: Option<Vec<u8>>| json.unwrap_or_else(|| b"{}".to_vec());
    Object::default()
        .raw("get_tasks", &part(m.get_tasks.as_ref().map(tasks_json)))
        .raw("get_executors", &part(m.get_executors.as_ref().map(executors_json)))
        .raw("get_frameworks", &part(m.get_frameworks.as_ref().map(frameworks_json)))
        .raw("get_agents", &part(m.get_agents.as_ref().map(agents_json)))
        .finish()
}
