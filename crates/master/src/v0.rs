//! The v0 endpoints that read: JSON from a snapshot (spec/master.md 5.2).

use crate::usage::Usage;
use http_api::respond::query_value;
use http_api::v0::{self, attributes, full, labels, message, reserved, reserved_full, summary};
use master_core::{Agent, Executor, Framework, State};
use resources::Resources;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};
use wire::v1;

/// Paths that are answered here.
pub(crate) const PATHS: &[&str] = &[
    "/state",
    "/state-summary",
    "/slaves",
    "/frameworks",
    "/tasks",
    "/roles",
    "/flags",
    "/quota",
    "/weights",
    "/maintenance/schedule",
    "/maintenance/status",
];

/// The answer for one of [`PATHS`].
pub(crate) fn answer(path: &str, query: &str, state: &State, started: SystemTime) -> Option<Value> {
    Some(match path {
        "/state" => all(state, started),
        "/state-summary" => state_summary(state),
        "/slaves" => slaves(state, query),
        "/frameworks" => frameworks(state, query),
        "/tasks" => tasks(state, query),
        "/roles" => roles(state),
        "/flags" => json!({"flags": state.flags}),
        "/weights" => state
            .weights
            .iter()
            .map(|(role, weight)| json!({"role": role, "weight": weight}))
            .collect(),
        "/quota" => message(&crate::operator::quota_status(state)),
        "/maintenance/schedule" => message(state.maintenance.schedule()),
        "/maintenance/status" => message(&state.maintenance_status()),
        _ => return None,
    })
}

fn all(state: &State, started: SystemTime) -> Value {
    let mut out = http_api::version::json();
    let usage = Usage::of(state);
    let active = state.agents.values().filter(|a| state.is_active(a)).count();
    let info = &state.info;
    let more = json!({
        "start_time": started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        "elected_time": state.elected.map(base::WallTime::as_secs_f64),
        "id": info.id,
        "pid": info.pid(),
        "hostname": info.hostname(),
        "capabilities": info.capabilities.iter().map(|c| c.r#type().as_str_name()).collect::<Vec<_>>(),
        "activated_slaves": f64::from(u32::try_from(active).unwrap_or(u32::MAX)),
        "deactivated_slaves": f64::from(u32::try_from(state.agents.len() - active).unwrap_or(u32::MAX)),
        "unreachable_slaves": f64::from(u32::try_from(state.unreachable.len()).unwrap_or(u32::MAX)),
        "leader": info.pid(),
        "leader_info": {"id": info.id, "pid": info.pid(), "port": info.port, "hostname": info.hostname()},
        "flags": state.flags,
        "slaves": state.agents.values().map(|a| slave(state, &usage, a)).collect::<Value>(),
        "recovered_slaves": recovered(state),
        "frameworks": state.frameworks.values().map(|f| framework(f, state)).collect::<Value>(),
        "completed_frameworks": state.completed_frameworks.iter().map(|f| framework(f, state)).collect::<Value>(),
        "orphan_tasks": [],
        "unregistered_frameworks": [],
    });
    extend(&mut out, more);
    if let Some(cluster) = state.flags.get("cluster") {
        out["cluster"] = json!(cluster);
    }
    if let Some(domain) = &info.domain {
        out["domain"] = message(domain);
    }
    out
}

fn extend(out: &mut Value, more: Value) {
    if let (Value::Object(out), Value::Object(more)) = (out, more) {
        out.extend(more);
    }
}

fn sum<'a>(parts: impl Iterator<Item = &'a Resources>) -> Resources {
    let mut sum = Resources::new();
    for part in parts {
        sum += part;
    }
    sum
}

fn slave(state: &State, usage: &Usage, agent: &Agent) -> Value {
    let deactivated = state.deactivated.get(&agent.id);
    let mut out = json!({
        "id": agent.id,
        "hostname": agent.info.hostname,
        "port": agent.info.port(),
        "attributes": attributes(&agent.info.attributes),
        "pid": format!("slave(1)@{}:{}", agent.ip, agent.info.port()),
        "registered_time": agent.registered.as_secs_f64(),
        "resources": summary(&agent.total),
        "used_resources": summary(&usage.used(agent.key)),
        "offered_resources": summary(&usage.offered(agent.key)),
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

fn recovered(state: &State) -> Value {
    let one = |(id, info): (&String, &v1::AgentInfo)| json!({"id": id, "hostname": info.hostname, "port": info.port(), "attributes": attributes(&info.attributes)});
    state.recovered_agents.iter().map(one).collect()
}

fn slaves(state: &State, query: &str) -> Value {
    let wanted = query_value(query, "slave_id");
    let chosen = state.agents.values().filter(|a| wanted.as_ref().is_none_or(|id| *id == a.id));
    let usage = Usage::of(state);
    let list = chosen.map(|agent| {
        let mut out = slave(state, &usage, agent);
        extend(
            &mut out,
            json!({
                "reserved_resources_full": reserved_full(&agent.total),
                "unreserved_resources_full": full(&agent.total.unreserved()),
                "used_resources_full": full(&usage.used(agent.key)),
                "offered_resources_full": full(&usage.offered(agent.key)),
            }),
        );
        out
    });
    json!({"slaves": list.collect::<Value>(), "recovered_slaves": recovered(state)})
}

fn framework_head(framework: &Framework) -> Value {
    let info = &framework.info;
    json!({
        "id": framework.id,
        "name": info.name,
        "used_resources": summary(&framework.used()),
        "offered_resources": summary(&framework.offered()),
        "capabilities": v0::framework_capabilities(info),
        "hostname": info.hostname(),
        "webui_url": info.webui_url(),
        "active": framework.is_connected(),
        "connected": framework.is_connected(),
        "recovered": framework.recovered,
    })
}

fn framework(framework: &Framework, state: &State) -> Value {
    let info = &framework.info;
    let mut out = framework_head(framework);
    let both = sum([&framework.used(), &framework.offered()].into_iter());
    let task_list = |tasks: &mut dyn Iterator<Item = &std::sync::Arc<master_core::Task>>| -> Value {
        tasks.map(|t| v0::task(&t.wire)).collect()
    };
    extend(
        &mut out,
        json!({
            "user": info.user,
            "failover_timeout": info.failover_timeout(),
            "checkpoint": info.checkpoint(),
            "registered_time": framework.registered.as_secs_f64(),
            "unregistered_time": framework.unregistered.map_or(0.0, base::WallTime::as_secs_f64),
            "resources": summary(&both),
            "tasks": task_list(&mut framework.tasks.values()),
            "unreachable_tasks": task_list(&mut framework.unreachable_tasks.iter()),
            "completed_tasks": task_list(&mut framework.completed_tasks.iter()),
            "offers": offers(framework, state),
            "executors": framework.executors.iter().map(|((agent, _), e)| executor(e, state, *agent)).collect::<Value>(),
            "offer_constraints": framework.constraints.as_ref().map_or(json!({}), message),
        }),
    );
    if framework.reregistered != framework.registered {
        out["reregistered_time"] = json!(framework.reregistered.as_secs_f64());
    }
    let multi_role = framework.has(v1::framework_info::capability::Type::MultiRole);
    if multi_role {
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

fn offers(framework: &Framework, state: &State) -> Value {
    let one = |offer: &std::sync::Arc<master_core::Offer>| {
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

fn frameworks(state: &State, query: &str) -> Value {
    let wanted = query_value(query, "framework_id");
    let chosen = |f: &&std::sync::Arc<Framework>| wanted.as_ref().is_none_or(|id| *id == f.id);
    json!({
        "frameworks": state.frameworks.values().filter(chosen).map(|f| framework(f, state)).collect::<Value>(),
        "completed_frameworks":
            state.completed_frameworks.iter().filter(chosen).map(|f| framework(f, state)).collect::<Value>(),
        "unregistered_frameworks": [],
    })
}

fn tasks(state: &State, query: &str) -> Value {
    let number = |name: &str, default: usize| {
        query_value(query, name).and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let (limit, offset) = (number("limit", 100), number("offset", 0));
    let ascending = query_value(query, "order").as_deref() == Some("asc");
    let (framework_id, task_id) =
        (query_value(query, "framework_id"), query_value(query, "task_id"));
    let frameworks = state.frameworks.values().chain(&state.completed_frameworks);
    let frameworks = frameworks.filter(|f| framework_id.as_ref().is_none_or(|id| *id == f.id));
    let mut all: Vec<&v1::Task> = frameworks
        .flat_map(|f| f.tasks.values().chain(&f.unreachable_tasks).chain(&f.completed_tasks))
        .map(|t| &t.wire)
        .filter(|t| task_id.as_ref().is_none_or(|id| *id == t.task_id.value))
        .collect();
    let first = |task: &v1::Task| {
        task.statuses.first().map_or(f64::NEG_INFINITY, v1::TaskStatus::timestamp)
    };
    all.sort_by(|a, b| {
        let order = first(a).total_cmp(&first(b));
        if ascending { order } else { order.reverse() }
    });
    json!({"tasks": all.into_iter().skip(offset).take(limit).map(v0::task).collect::<Value>()})
}

/// Number of tasks by state, as `/state-summary` names them.
#[derive(Default)]
struct Counts(BTreeMap<&'static str, u64>);

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
    fn add(&mut self, state: v1::TaskState) {
        *self.0.entry(state.as_str_name()).or_default() += 1;
    }

    fn write(&self, out: &mut Value) {
        for state in COUNTED {
            let name = state.as_str_name();
            out[name] = json!(self.0.get(name).copied().unwrap_or(0));
        }
    }
}

fn state_summary(state: &State) -> Value {
    let usage = Usage::of(state);
    let mut on_agents: BTreeMap<&str, (Counts, BTreeSet<&str>)> = BTreeMap::new();
    let mut frameworks = Vec::new();
    for framework in state.frameworks.values() {
        let (mut counts, mut agents) = (Counts::default(), BTreeSet::new());
        let tasks = framework
            .tasks
            .values()
            .chain(&framework.unreachable_tasks)
            .chain(&framework.completed_tasks);
        for task in tasks {
            let agent = task.wire.agent_id.value.as_str();
            counts.add(task.wire.state());
            agents.insert(agent);
            let (counts, ids) = on_agents.entry(agent).or_default();
            counts.add(task.wire.state());
            ids.insert(&framework.id);
        }
        let mut out = framework_head(framework);
        counts.write(&mut out);
        out["slave_ids"] = json!(agents);
        frameworks.push(out);
    }
    let slaves: Value = state
        .agents
        .values()
        .map(|agent| {
            let mut out = slave(state, &usage, agent);
            let none = (Counts::default(), BTreeSet::new());
            let (counts, ids) = on_agents.get(agent.id.as_str()).unwrap_or(&none);
            counts.write(&mut out);
            out["framework_ids"] = json!(ids);
            out
        })
        .collect();
    let mut out =
        json!({"hostname": state.info.hostname(), "slaves": slaves, "frameworks": frameworks});
    if let Some(cluster) = state.flags.get("cluster") {
        out["cluster"] = json!(cluster);
    }
    out
}

/// What is known of a role and everything below it.
#[derive(Default)]
pub(crate) struct Role<'a> {
    pub(crate) frameworks: BTreeSet<&'a str>,
    pub(crate) allocated: Resources,
    pub(crate) offered: Resources,
    pub(crate) reserved: Resources,
}

pub(crate) type Known<'a> = BTreeMap<String, Role<'a>>;

/// Changes a role and all above it.
fn at<'a>(known: &mut Known<'a>, role: &str, mut change: impl FnMut(&mut Role<'a>)) {
    for name in std::iter::once(role).chain(resources::ancestors(role)) {
        change(known.entry(name.to_owned()).or_default());
    }
}

impl Role<'_> {
    /// What counts for quota: reservations, and unreserved resources in use.
    pub(crate) fn consumed(&self) -> Resources {
        sum([&self.allocated.unreserved().nonrevocable(), &self.reserved].into_iter())
    }

    /// The same with what is offered.
    pub(crate) fn offered_or_allocated(&self) -> Resources {
        sum([&self.consumed(), &self.offered.unreserved().nonrevocable()].into_iter())
    }
}

fn quota(state: &State, role: &str, consumed: Value) -> Value {
    let config = state.quotas.get(role);
    let amounts = |map: Option<&BTreeMap<String, v1::value::Scalar>>| -> Value {
        let pairs: Map<String, Value> =
            map.into_iter().flatten().map(|(n, s)| (n.clone(), json!(s.value))).collect();
        pairs.into()
    };
    json!({
        "role": role,
        "guarantee": amounts(config.map(|c| &c.guarantees)),
        "limit": amounts(config.map(|c| &c.limits)),
        "consumed": consumed,
    })
}

/// Roles that anything is known of, with those above them.
pub(crate) fn known_roles(state: &State) -> Known<'_> {
    let mut known: Known<'_> = BTreeMap::new();
    for framework in state.frameworks.values() {
        let used = framework.used();
        for role in used.allocation_roles().into_iter().flatten() {
            let part = used.filter(|e| e.identity.allocated_to.as_deref() == Some(role));
            at(&mut known, role, |r| r.allocated += &part);
        }
        for role in framework.roles() {
            at(&mut known, &role, |_| {});
            known.entry(role).or_default().frameworks.insert(&framework.id);
        }
    }
    for (role, offered) in crate::offered::by_role(state) {
        at(&mut known, role, |r| r.offered += &offered);
    }
    for agent in state.agents.values() {
        for (role, resources) in agent.total.reserved() {
            at(&mut known, &role, |r| r.reserved += &resources);
        }
    }
    let named = state.weights.keys().chain(state.quotas.keys()).chain(state.shares.keys());
    let overlapping = state.overlaps.iter().filter(|(role, o)| *role != "*" && !o.is_disjoint());
    let named = named.chain(overlapping.map(|(role, _)| role));
    for role in named {
        at(&mut known, role, |_| {});
    }
    // With `--roles` those are known, whatever else there is.
    if let Some(listed) = &state.role_whitelist {
        known.retain(|role, _| listed.contains(role));
        for role in listed.iter().map(String::as_str).chain(["*"]) {
            known.entry(role.to_owned()).or_default();
        }
    }
    known
}

fn roles(state: &State) -> Value {
    let lent = state.lent();
    let mut known = known_roles(state);
    // Reserved roles are known; what is lent of the headroom of guarantees has none.
    if lent.contains_key("*") {
        known.entry("*".to_owned()).or_default();
    }
    let guarantees = if state.shares.is_empty() { BTreeMap::new() } else { state.guarantees() };
    let one = |(name, role): (&String, &Role<'_>)| {
        let quantities = |r: &Resources| -> Value {
            let amounts = r.quantities();
            let pairs: Map<String, Value> = amounts
                .iter()
                .filter(|(n, _)| *n != "ports")
                .map(|(n, milli)| (n.to_owned(), json!(resources::from_milli(milli))))
                .collect();
            pairs.into()
        };
        let both = sum([&role.allocated, &role.offered].into_iter());
        let mut out = json!({
            "name": name,
            "weight": state.weights.get(name).copied().unwrap_or(1.0),
            "quota": quota(state, name, quantities(&role.consumed())),
            "resources": quantities(&both),
            "allocated": quantities(&role.allocated),
            "offered": quantities(&role.offered),
            "reserved": quantities(&role.reserved),
            "frameworks": role.frameworks,
        });
        let overlap = state.overlap(name);
        if !overlap.is_disjoint() {
            out["offer_overlap"] = crate::overlaps::shown(overlap);
        }
        if let Some(lent) = lent.get(name) {
            let amounts = lent.iter().map(|(n, milli)| (n, resources::from_milli(*milli)));
            out["lent"] = amounts.map(|(n, amount)| (n.clone(), json!(amount))).collect();
        }
        if let Some(share) = state.shares.get(name) {
            out["share"] = crate::shares::shown(share, &guarantees);
        }
        out
    };
    json!({"roles": known.iter().map(one).collect::<Value>()})
}
