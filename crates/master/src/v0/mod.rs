//! The v0 endpoints that read: JSON from a snapshot (spec/master.md 5.2).

mod agents;
mod debug;
mod frameworks;
mod roles;
mod summary;
mod tasks;

pub(crate) use roles::{Role, known_roles};

use crate::offered;
use agents::Agents;
use frameworks::{Frameworks, Shown};
use http_api::v0::{Each, message};
use master_core::State;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

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
    "/registrar(1)/registry",
    "/allocator/offer_constraints_debug",
];

/// Writes the answer for one of [`PATHS`].
pub(crate) fn write(
    out: &mut dyn io::Write,
    path: &str,
    query: &str,
    state: &State,
    started: SystemTime,
) -> io::Result<()> {
    let json = match path {
        "/state" => return write_json(out, &All(state, started)),
        "/slaves" => return write_json(out, &Agents::of(state, query)),
        "/frameworks" => return write_json(out, &Frameworks::of(state, query)),
        "/tasks" => return write_json(out, &tasks::Page::of(state, query)),
        "/state-summary" => summary::summary(state),
        "/roles" => roles::roles(state),
        "/flags" => json!({"flags": state.flags}),
        "/weights" => state
            .weights
            .iter()
            .map(|(role, weight)| json!({"role": role, "weight": weight}))
            .collect(),
        "/quota" => message(&crate::operator::quota_status(state)),
        "/maintenance/schedule" => message(state.maintenance.schedule()),
        "/maintenance/status" => message(&state.maintenance_status()),
        "/registrar(1)/registry" => debug::registry(state),
        "/allocator/offer_constraints_debug" => debug::constraints(state),
        other => return Err(io::Error::other(format!("{other} is none of these paths"))),
    };
    write_json(out, &json)
}

fn write_json(out: &mut dyn io::Write, json: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(out, json).map_err(io::Error::from)
}

/// `/state`.
struct All<'a>(&'a State, SystemTime);

impl Serialize for All<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(state, started) = self;
        let offered = offered::ByAgent::of(state);
        let active = state.agents.values().filter(|a| state.is_active(a)).count();
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let info = &state.info;
        let mut head = json!({
            "start_time": started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            "elected_time": state.elected.map(base::WallTime::as_secs_f64),
            "id": info.id,
            "pid": info.pid(),
            "hostname": info.hostname(),
            "capabilities": info.capabilities.iter().map(|c| c.r#type().as_str_name()).collect::<Vec<_>>(),
            "activated_slaves": count(active),
            "deactivated_slaves": count(state.agents.len() - active),
            "unreachable_slaves": count(state.unreachable.len()),
            "leader": info.pid(),
            "leader_info": {"id": info.id, "pid": info.pid(), "port": info.port, "hostname": info.hostname()},
            "flags": state.flags,
        });
        if let Some(cluster) = state.flags.get("cluster") {
            head["cluster"] = json!(cluster);
        }
        if let Some(domain) = &info.domain {
            head["domain"] = message(domain);
        }
        let mut out = serializer.serialize_map(None)?;
        for (name, value) in
            [http_api::version::json(), head].iter().filter_map(|v| v.as_object()).flatten()
        {
            out.serialize_entry(name, value)?;
        }
        out.serialize_entry(
            "slaves",
            &Each(|| state.agents.values().map(|a| agents::agent(state, &offered, a))),
        )?;
        out.serialize_entry("recovered_slaves", &agents::recovered(state))?;
        out.serialize_entry(
            "frameworks",
            &Each(|| state.frameworks.values().map(|f| Shown::new(f, state))),
        )?;
        let completed = &state.completed_frameworks;
        out.serialize_entry(
            "completed_frameworks",
            &Each(|| completed.iter().map(|f| Shown::new(f, state))),
        )?;
        for name in ["orphan_tasks", "unregistered_frameworks"] {
            out.serialize_entry(name, &[(); 0])?;
        }
        out.end()
    }
}
