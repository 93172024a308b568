//! Messages of the v1 operator API, from a snapshot (spec/master.md 5.1).

use crate::offered;
use base::WallTime;
use master_core::{Agent, Framework, State, Task};
use std::borrow::Cow;
use std::sync::Arc;
use wire::v1::master::response::{
    GetAgents, GetExecutors, GetFrameworks, GetOperations, GetRoles, GetState, GetTasks,
    get_agents, get_executors, get_frameworks,
};
use wire::{Tree, v1};

fn time(at: WallTime) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: at.0.cast_signed() }
}

/// As the peer tells the start of a drain.
fn whole_seconds(at: WallTime) -> v1::TimeInfo {
    const SECOND: u64 = 1_000_000_000;
    time(WallTime(at.0 / SECOND * SECOND))
}

pub(crate) fn agent(state: &State, agent: &Agent, offered: &offered::ByAgent) -> get_agents::Agent {
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
        allocated_resources: agent.used.to_wire_endpoint(),
        offered_resources: offered.on(agent.key).to_wire_endpoint(),
        capabilities: agent.capabilities.clone(),
        ..Default::default()
    }
}

fn owned<M: wire::Message>(message: M) -> Cow<'static, M> {
    Cow::Owned(message)
}

pub(crate) fn agents(state: &State) -> Tree<'_> {
    let offered = offered::ByAgent::of(state);
    let shown = state.agents.values().map(|a| owned(agent(state, a, &offered)));
    Tree::of::<GetAgents>()
        .list("agents", shown)
        .list("recovered_agents", state.recovered_agents.values().map(|a| Cow::Borrowed(&a.info)))
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
        allocated_resources: framework.used.to_wire_endpoint(),
        offered_resources: framework.offered().to_wire_endpoint(),
        offer_constraints: Some(framework.constraints.clone().unwrap_or_default()),
    }
}

pub(crate) fn frameworks(state: &State) -> Tree<'_> {
    let shown = |f| owned(framework(state, f));
    Tree::of::<GetFrameworks>()
        .list("frameworks", state.frameworks.values().map(|f| shown(f)))
        .list("completed_frameworks", state.completed_frameworks.iter().map(|f| shown(f)))
}

pub(crate) fn executors(state: &State) -> Tree<'_> {
    let all = state.frameworks.values().flat_map(|f| &f.executors);
    let shown = all.filter_map(|((agent, _), executor)| {
        Some(owned(get_executors::Executor {
            executor_info: executor.info.clone(),
            agent_id: state.agents.get(agent)?.id.as_str().into(),
        }))
    });
    Tree::of::<GetExecutors>().list("executors", shown)
}

pub(crate) fn tasks(state: &State) -> Tree<'_> {
    fn shown(task: &Arc<Task>) -> Cow<'_, v1::Task> {
        Cow::Borrowed(&task.wire)
    }
    let all = || state.frameworks.values().chain(&state.completed_frameworks);
    Tree::of::<GetTasks>()
        .list("tasks", all().flat_map(|f| f.tasks.values()).map(shown))
        .list("unreachable_tasks", all().flat_map(|f| &f.unreachable_tasks).map(shown))
        .list("completed_tasks", all().flat_map(|f| &f.completed_tasks).map(shown))
}

pub(crate) fn state(state: &State) -> Tree<'_> {
    Tree::of::<GetState>()
        .tree("get_tasks", tasks(state))
        .tree("get_executors", executors(state))
        .tree("get_frameworks", frameworks(state))
        .tree("get_agents", agents(state))
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
