//! What pages show of agents and frameworks.

use super::clusterwide;
use super::digest::{Digest, Held};
use super::places;
use crate::shared::Shared;
use crate::why;
use base::WallTime;
use master_core::why::Answer;
use master_core::{Agent, Framework, Task};
use std::collections::BTreeMap;
use std::sync::Arc;
use ui::pages::{
    self, AgentRow, AgentState, Cause, ExecutorRow, FrameworkRow, FrameworkState, Kind, OfferRow,
    Overview, Reserved, TaskRow, Why,
};
use ui::{Amounts, Page, Query, Route};
use wire::v1;

/// Failed tasks of the overview.
const FAILED_MAX: usize = 8;

/// The page of a route; None: there is no such thing.
pub(super) fn page(
    shared: &Shared,
    digest: &Digest,
    route: &Route,
    query: &Query,
    why: &[Answer],
) -> Option<Page> {
    let now = digest.now;
    Some(match route {
        Route::Overview => overview(shared, digest),
        Route::Agents => {
            let away = digest.counts.agents_unreachable + digest.counts.agents_expected;
            pages::agents(agent_rows(digest), away, now, query)
        }
        Route::Agent(id) => agent(digest, id)?,
        Route::Frameworks => pages::frameworks(framework_rows(digest), digest.total, now, query),
        Route::Framework(id) => framework(digest, id, why)?,
        Route::Tasks => {
            let roles: Vec<&str> = digest.roles.keys().map(String::as_str).take(200).collect();
            pages::tasks(tasks(digest), &roles, now, query)
        }
        Route::Place(place) => places::place(digest, place)?,
        Route::Roles => pages::roles(clusterwide::role_rows(digest), digest.total, query),
        Route::Role(name) => clusterwide::role(digest, name)?,
        Route::Offers => pages::offers(offers(digest), query),
        Route::Maintenance => clusterwide::maintenance(digest),
        Route::Masters => clusterwide::masters(shared, digest, query),
        Route::Search => clusterwide::search(digest, query),
        _ => return None,
    })
}

fn overview(shared: &Shared, digest: &Digest) -> Page {
    let samples = shared.ui.samples();
    let frameworks = digest.state.frameworks.values();
    let ended = frameworks.flat_map(|f| f.completed_tasks.iter().map(move |t| (f, t)));
    let mut failed: Vec<_> = ended.filter(|(_, task)| is_failure(task.wire.state())).collect();
    failed.sort_by(|(_, a), (_, b)| ended_at(b).total_cmp(&ended_at(a)));
    failed.truncate(FAILED_MAX);
    let failed = failed.into_iter().map(|(f, task)| task_row(digest, f, task, Kind::Completed));
    pages::overview(Overview {
        now: digest.now,
        counts: digest.counts,
        total: digest.total,
        used: digest.used,
        offered: digest.offered,
        reserved: digest.reserved,
        lent: digest.lent,
        samples: &samples,
        roles: clusterwide::role_rows(digest),
        agents: agent_rows(digest),
        failed: failed.collect(),
    })
}

fn is_failure(state: v1::TaskState) -> bool {
    use v1::TaskState as S;
    master_core::is_terminal(state) && !matches!(state, S::TaskFinished | S::TaskKilled)
}

fn ended_at(task: &Task) -> f64 {
    task.wire.statuses.last().map_or(0.0, v1::TaskStatus::timestamp)
}

pub(super) fn agent_row<'a>(digest: &'a Digest, agent: &'a Agent) -> AgentRow<'a> {
    let Held { used, offered, tasks } = digest.agents.get(&agent.key).copied().unwrap_or_default();
    AgentRow {
        id: &agent.id,
        host: &agent.info.hostname,
        state: agent_state(digest, agent),
        total: Amounts::of(&agent.total),
        used,
        offered,
        tasks,
        registered: agent.registered.as_secs_f64(),
    }
}

pub(super) fn agent_state(digest: &Digest, agent: &Agent) -> AgentState {
    let drain = digest.state.deactivated.get(&agent.id).map(|known| known.drain.as_ref());
    match (agent.is_connected(), drain) {
        (false, _) => AgentState::Disconnected,
        (true, None) => AgentState::Active,
        (true, Some(None)) => AgentState::Deactivated,
        (true, Some(Some(drain))) => match drain.state() {
            v1::DrainState::Drained => AgentState::Drained,
            _ => AgentState::Draining,
        },
    }
}

fn agent_rows(digest: &Digest) -> Vec<AgentRow<'_>> {
    digest.state.agents.values().map(|agent| agent_row(digest, agent)).collect()
}

fn agent(digest: &Digest, id: &str) -> Option<Page> {
    let state = &digest.state;
    let agent = state.agent(id)?;
    let reserved = agent.total.reserved().into_iter();
    let reserved =
        reserved.map(|(role, resources)| Reserved { role, amounts: Amounts::of(&resources) });
    let name = |key| state.frameworks.get(key);
    let used = state.used_on(agent);
    let frameworks = used.iter().filter_map(|(key, resources)| {
        let framework = name(key)?;
        Some((framework.id.as_str(), framework.info.name.as_str(), Amounts::of(resources)))
    });
    let tasks = agent.tasks.iter().filter_map(|(key, id)| {
        let framework = name(key)?;
        Some(task_row(digest, framework, framework.tasks.get(id)?, Kind::Active))
    });
    let executors = state.frameworks.values().flat_map(|framework| {
        let on_it = framework.executors.iter().filter(|((key, _), _)| *key == agent.key);
        on_it.map(|(_, executor)| executor_row(framework, agent, executor))
    });
    let operations = agent.operations.values().map(|operation| {
        let info = operation.wire.info.r#type();
        format!("{}: {}", info.as_str_name(), operation.state().as_str_name())
    });
    let scheduled = state.scheduled.get(&agent.key);
    let model = pages::Agent {
        row: agent_row(digest, agent),
        info: &agent.info,
        address: format!("{}:{}", agent.ip, agent.info.port()),
        version: &agent.version,
        capabilities: &agent.capabilities,
        reregistered: agent.reregistered.map(WallTime::as_secs_f64),
        resources: agent.total.to_string(),
        reserved: reserved.collect(),
        out_of_use: state.deactivated.get(id).map(clusterwide::wanted),
        away: scheduled.map(|scheduled| window(&scheduled.unavailability)),
        operations: operations.collect(),
        executors: executors.collect(),
        frameworks: frameworks.collect(),
        tasks: tasks.collect(),
    };
    Some(pages::agent(model, digest.now))
}

/// When something begins, and when it ends if that is known.
#[expect(clippy::cast_precision_loss, reason = "shown in seconds")]
pub(super) fn window(unavailability: &v1::Unavailability) -> (f64, Option<f64>) {
    let from = unavailability.start.nanoseconds as f64 / 1e9;
    (from, unavailability.duration.map(|d| from + d.nanoseconds as f64 / 1e9))
}

pub(super) fn executor_row<'a>(
    framework: &'a Framework,
    agent: &'a Agent,
    executor: &'a master_core::Executor,
) -> ExecutorRow<'a> {
    let id = &executor.info.executor_id;
    let of_it =
        |task: &&Arc<Task>| task.agent == agent.key && task.wire.executor_id.as_ref() == Some(id);
    ExecutorRow {
        framework: &framework.id,
        framework_name: &framework.info.name,
        agent: &agent.id,
        host: &agent.info.hostname,
        info: &executor.info,
        amounts: Amounts::of(&executor.resources),
        tasks: framework.tasks.values().filter(of_it).count(),
    }
}

pub(super) fn framework_state(framework: &Framework) -> FrameworkState {
    match framework {
        f if f.unregistered.is_some() => FrameworkState::Completed,
        f if f.is_connected() => FrameworkState::Connected,
        f if f.recovered => FrameworkState::Recovered,
        _ => FrameworkState::Disconnected,
    }
}

fn framework_row<'a>(digest: &'a Digest, framework: &'a Framework) -> FrameworkRow<'a> {
    let held = digest.frameworks.get(&framework.key);
    let Held { used, offered, tasks } = held.copied().unwrap_or_default();
    FrameworkRow {
        id: &framework.id,
        info: &framework.info,
        state: framework_state(framework),
        roles: framework.roles().into_iter().collect(),
        used,
        offered,
        tasks,
        offers: framework.offers.len(),
        registered: framework.registered.as_secs_f64(),
    }
}

fn framework_rows(digest: &Digest) -> Vec<FrameworkRow<'_>> {
    let all = digest.state.frameworks.values().chain(&digest.state.completed_frameworks);
    all.map(|framework| framework_row(digest, framework)).collect()
}

/// A framework by its id, also one that has ended.
pub(super) fn find_framework<'a>(digest: &'a Digest, id: &str) -> Option<&'a Arc<Framework>> {
    let state = &digest.state;
    state.framework(id).or_else(|| state.completed_frameworks.iter().find(|f| f.id == id))
}

fn framework(digest: &Digest, id: &str, why: &[Answer]) -> Option<Page> {
    let framework = find_framework(digest, id)?;
    let agents = &digest.state.agents;
    let executors = framework.executors.iter().filter_map(|((agent, _), executor)| {
        Some(executor_row(framework, agents.get(agent)?, executor))
    });
    let why = why.iter().filter(|answer| answer.framework_id == framework.id);
    let model = pages::Framework {
        row: framework_row(digest, framework),
        reregistered: framework.reregistered.as_secs_f64(),
        disconnected: framework.disconnected.map(WallTime::as_secs_f64),
        unregistered: framework.unregistered.map(WallTime::as_secs_f64),
        suppressed: framework.suppressed.iter().cloned().collect(),
        is_constrained: framework.constraints.is_some(),
        why: why.map(|answer| why_model(digest, answer)).collect(),
        offers: framework
            .offers
            .values()
            .map(|offer| offer_row(digest, framework, offer))
            .collect(),
        executors: executors.collect(),
        tasks: tasks_of(digest, framework).collect(),
        counters: framework.counters.iter().map(|(name, n)| (name.as_str(), *n)).collect(),
    };
    Some(pages::framework(model, digest.total, digest.now))
}

fn why_model(digest: &Digest, answer: &Answer) -> Why {
    let host =
        |id: &str| digest.state.agent(id).map_or("", |agent| &agent.info.hostname).to_owned();
    let causes = answer.reasons.iter().map(|cause| Cause {
        reason: cause.reason,
        agents: cause.agents,
        example: cause.example.clone(),
        host: host(&cause.example),
        message: cause.message.clone(),
        advice: cause.advice.clone(),
    });
    Why {
        role: answer.role.clone(),
        summary: why::summary(answer),
        offers: answer.offers,
        agents: answer.agents,
        lasts: answer.lasts.map(|time| time.as_secs_f64()),
        last_offer: answer.last_offer.map(WallTime::as_secs_f64),
        causes: causes.collect(),
    }
}

fn offer_row<'a>(
    digest: &'a Digest,
    framework: &'a Framework,
    offer: &'a master_core::Offer,
) -> OfferRow<'a> {
    let agent = digest.state.agents.get(&offer.agent);
    OfferRow {
        id: &offer.id,
        framework: &framework.id,
        framework_name: &framework.info.name,
        agent: agent.map_or("", |agent| &agent.id),
        host: agent.map_or("", |agent| &agent.info.hostname),
        role: &offer.role,
        amounts: Amounts::of(&offer.resources),
        is_soft: offer.soft,
    }
}

fn offers(digest: &Digest) -> Vec<OfferRow<'_>> {
    let frameworks = digest.state.frameworks.values();
    let all = frameworks.flat_map(|f| f.offers.values().map(move |offer| (f, offer)));
    all.map(|(framework, offer)| offer_row(digest, framework, offer)).collect()
}

pub(super) fn task_row<'a>(
    digest: &'a Digest,
    framework: &'a Framework,
    task: &'a Task,
    kind: Kind,
) -> TaskRow<'a> {
    let agent = digest.state.agents.get(&task.agent);
    // The number may be another agent's by now.
    let agent = agent.filter(|agent| agent.id == task.wire.agent_id.value);
    TaskRow {
        wire: &task.wire,
        resources: &task.resources,
        framework: &framework.info.name,
        host: agent.map_or("", |agent| &agent.info.hostname),
        kind,
    }
}

/// All tasks of a framework that are known.
pub(super) fn tasks_of<'a>(
    digest: &'a Digest,
    framework: &'a Framework,
) -> impl Iterator<Item = TaskRow<'a>> {
    let row = |kind| move |task: &'a Arc<Task>| task_row(digest, framework, task, kind);
    let active = framework.tasks.values().map(row(Kind::Active));
    let unreachable = framework.unreachable_tasks.iter().map(row(Kind::Unreachable));
    active.chain(unreachable).chain(framework.completed_tasks.iter().map(row(Kind::Completed)))
}

pub(super) fn tasks(digest: &Digest) -> Vec<TaskRow<'_>> {
    let all = digest.state.frameworks.values().chain(&digest.state.completed_frameworks);
    all.flat_map(|framework| tasks_of(digest, framework)).collect()
}

/// Amounts of a quota or share, by name.
pub(super) fn limits(limits: &BTreeMap<String, v1::value::Scalar>) -> [Option<i64>; 4] {
    ["cpus", "mem", "disk", "gpus"]
        .map(|name| limits.get(name).map(|scalar| resources::to_milli(scalar.value)))
}
