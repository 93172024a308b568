//! `/frameworks`, and frameworks in other answers.

use super::summary::Counts;
use super::tasks;
use http_api::respond::query_value;
use http_api::v0::{self, Each, labels, message, summary};
use master_core::{Executor, Framework, State};
use resources::Resources;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::sync::Arc;
use wire::v1;

/// What `/state-summary` tells too.
pub(super) fn head(framework: &Framework, used: &Resources, offered: &Resources) -> Value {
    let info = &framework.info;
    json!({
        "id": framework.id,
        "name": info.name,
        "used_resources": summary(used),
        "offered_resources": summary(offered),
        "capabilities": v0::framework_capabilities(info),
        "hostname": info.hostname(),
        "webui_url": info.webui_url(),
        "active": framework.is_connected(),
        "connected": framework.is_connected(),
        "recovered": framework.recovered,
    })
}

/// Everything but the lists.
fn described(framework: &Framework) -> Value {
    let info = &framework.info;
    let (used, offered) = (&framework.used, framework.offered());
    let mut out = head(framework, used, &offered);
    let both: Resources = [used, &offered].into_iter().sum();
    out["user"] = json!(info.user);
    out["failover_timeout"] = json!(info.failover_timeout());
    out["checkpoint"] = json!(info.checkpoint());
    out["registered_time"] = json!(framework.registered.as_secs_f64());
    out["unregistered_time"] =
        json!(framework.unregistered.map_or(0.0, base::WallTime::as_secs_f64));
    out["resources"] = summary(&both);
    out["offer_constraints"] = framework.constraints.as_ref().map_or(json!({}), message);
    if framework.reregistered != framework.registered {
        out["reregistered_time"] = json!(framework.reregistered.as_secs_f64());
    }
    if framework.has(v1::framework_info::capability::Type::MultiRole) {
        out["roles"] = json!(info.roles);
    } else {
        out["role"] = json!(info.role());
    }
    if !framework.suppressed.is_empty() {
        out["suppressed_roles"] = json!(framework.suppressed);
    }
    if let Some(principal) = &info.principal {
        out["principal"] = json!(principal);
    }
    if let Some(all) = &info.labels {
        out["labels"] = labels(all);
    }
    out
}

/// A framework with its tasks, or with their numbers by state instead.
pub(super) struct Shown<'a> {
    framework: &'a Framework,
    state: &'a State,
    with_tasks: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn new(framework: &'a Framework, state: &'a State) -> Self {
        Self { framework, state, with_tasks: true }
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { framework, state, with_tasks } = self;
        let mut head = described(framework);
        if !with_tasks {
            let mut counts = Counts::default();
            tasks::of(framework).for_each(|task| counts.add(task.wire.state()));
            counts.write(&mut head);
        }
        let mut out = serializer.serialize_map(None)?;
        for (name, value) in head.as_object().into_iter().flatten() {
            out.serialize_entry(name, value)?;
        }
        if *with_tasks {
            let (live, unreachable, completed) =
                (&framework.tasks, &framework.unreachable_tasks, &framework.completed_tasks);
            out.serialize_entry("tasks", &Each(|| live.values().map(tasks::shown)))?;
            let unreachable = Each(|| unreachable.iter().map(tasks::shown));
            out.serialize_entry("unreachable_tasks", &unreachable)?;
            let completed = Each(|| completed.iter().map(tasks::shown));
            out.serialize_entry("completed_tasks", &completed)?;
        }
        out.serialize_entry("offers", &offers(framework, state))?;
        let executors = || framework.executors.iter();
        let executors = Each(|| executors().map(|((agent, _), e)| executor(e, state, *agent)));
        out.serialize_entry("executors", &executors)?;
        out.end()
    }
}

fn offers(framework: &Framework, state: &State) -> Value {
    let one = |offer: &Arc<master_core::Offer>| {
        json!({
            "id": offer.id,
            "framework_id": framework.id,
            "allocation_info": {"role": offer.role},
            "slave_id": state.agents.get(&offer.agent).map_or("", |a| a.id.as_str()),
            "resources": summary(&offer.resources),
        })
    };
    framework.offers.values().map(one).collect()
}

fn executor(executor: &Executor, state: &State, agent: allocator::AgentId) -> Value {
    let info = &executor.info;
    let command = info.command.clone().unwrap_or_default();
    let uris = command.uris.iter().map(|u| json!({"value": u.value, "executable": u.executable()}));
    let mut shown = json!({"argv": command.arguments, "uris": uris.collect::<Value>(), "shell": command.shell()});
    if let Some(value) = &command.value {
        shown["value"] = json!(value);
    }
    json!({
        "executor_id": info.executor_id.value,
        "name": info.name(),
        "framework_id": info.framework_id.as_ref().map_or("", |id| id.value.as_str()),
        "command": shown,
        "resources": summary(&executor.resources),
        "role": executor.resources.allocation_roles().into_iter().flatten().next().unwrap_or("*"),
        "slave_id": state.agents.get(&agent).map_or("", |a| a.id.as_str()),
    })
}

/// `/frameworks`. With `tasks=false` in the query, which the peer does not know, tasks are counted and not listed.
pub(super) struct Frameworks<'a> {
    state: &'a State,
    wanted: Option<String>,
    with_tasks: bool,
}

impl<'a> Frameworks<'a> {
    pub(super) fn of(state: &'a State, query: &str) -> Self {
        let with_tasks = query_value(query, "tasks").as_deref() != Some("false");
        Self { state, wanted: query_value(query, "framework_id"), with_tasks }
    }
}

impl Serialize for Frameworks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { state, wanted, with_tasks } = self;
        let chosen = |f: &&Arc<Framework>| wanted.as_ref().is_none_or(|id| *id == f.id);
        let shown = |framework| Shown { framework, state, with_tasks: *with_tasks };
        let (now, completed) = (&state.frameworks, &state.completed_frameworks);
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("frameworks", &Each(|| now.values().filter(chosen).map(|f| shown(f))))?;
        let completed = Each(|| completed.iter().filter(chosen).map(|f| shown(f)));
        out.serialize_entry("completed_frameworks", &completed)?;
        out.serialize_entry("unregistered_frameworks", &[(); 0])?;
        out.end()
    }
}
