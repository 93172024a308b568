//! A plain `/state`: sums instead of resources, and no settings.

use super::snapshot::{Agent, Framework, Places, Snapshot, list};
use allocator::{AgentOptions, FrameworkOptions};
use resources::{Entry, Resources, Value as Amount};
use serde_json::Value;
use std::collections::BTreeSet;
use wire::v1;

const NOTES: [&str; 3] = [
    "a plain /state says only sums: reserved resources count as used first by the tasks of their role, and volumes are plain disk",
    "a plain /state has no offer filters of frameworks",
    "a plain /state may lack suppressed roles: then all frameworks want offers",
];

pub(super) fn parse(json: &Value) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot { notes: NOTES.map(str::to_owned).to_vec(), ..Snapshot::default() };
    for (number, slave) in list(&json["slaves"]).iter().enumerate() {
        snapshot.agents.push(agent(slave).map_err(|e| format!("slaves[{number}].{e}"))?);
    }
    let frameworks = list(&json["frameworks"]);
    for (number, value) in frameworks.iter().enumerate() {
        snapshot
            .frameworks
            .push(framework(value).map_err(|e| format!("frameworks[{number}].{e}"))?);
    }
    let places = Places::of(&snapshot);
    for framework in frameworks {
        let id = text(framework, "id")?;
        let is_over = |t: &&Value| {
            let state = t["state"].as_str().and_then(v1::TaskState::from_str_name);
            state.is_some_and(master_core::is_terminal)
        };
        let tasks = list(&framework["tasks"]).iter().filter(|t| !is_over(t));
        for user in tasks.chain(list(&framework["executors"])) {
            let Some((at, by)) = places.find((text(user, "slave_id")?, id)) else { continue };
            let role = user["role"].as_str().unwrap_or("*");
            take(&mut snapshot.agents[at], by, role, &summed(&user["resources"], "*")?);
        }
    }
    Ok(snapshot)
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str, String> {
    value[field].as_str().ok_or_else(|| format!("{field}: expected a text"))
}

/// Resources of which only sums by name are told.
fn summed(value: &Value, role: &str) -> Result<Resources, String> {
    let mut out = Resources::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let amount = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            other => {
                return Err(format!("resources.{name}: expected a number or text, got {other}"));
            }
        };
        // What can be taken back is told apart, and is nobody's for sure.
        if name.ends_with("_revocable") {
            continue;
        }
        let part = Resources::parse(&format!("{name}:{amount}"), role);
        out += &part.map_err(|e| format!("resources.{name}: {e}"))?;
    }
    Ok(out)
}

fn agent(slave: &Value) -> Result<Agent, String> {
    let mut total = match slave.get("unreserved_resources") {
        Some(unreserved) => summed(unreserved, "*")?,
        None => summed(&slave["resources"], "*")?,
    };
    for (role, resources) in slave["reserved_resources"].as_object().into_iter().flatten() {
        total += &summed(resources, role)?;
    }
    let attributes = slave["attributes"].as_object().into_iter().flatten();
    let attributes = attributes.map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}:{value}")
    });
    let attributes = attributes.collect::<Vec<_>>().join(";");
    let domain = slave.get("domain").map(wire::json::from_value).transpose();
    let capability = |name: &Value| v1::agent_info::capability::Type::from_str_name(name.as_str()?);
    let options = AgentOptions {
        hostname: text(slave, "hostname")?.to_owned(),
        attributes: resources::parse_attributes(&attributes)
            .map_err(|e| format!("attributes: {e}"))?,
        domain: domain.map_err(|e| format!("domain: {e}"))?,
        capabilities: list(&slave["capabilities"]).iter().filter_map(capability).collect(),
    };
    Ok(Agent {
        id: text(slave, "id")?.to_owned(),
        options,
        total,
        active: slave["active"] != false && slave["deactivated"] != true,
        used: std::collections::BTreeMap::new(),
    })
}

fn framework(value: &Value) -> Result<Framework, String> {
    let names = |field: &str| -> BTreeSet<String> {
        list(&value[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let capability = |name: &String| v1::framework_info::capability::Type::from_str_name(name);
    let mut roles = names("roles");
    if let Some(role) = value["role"].as_str() {
        roles.insert(role.to_owned());
    }
    let options = FrameworkOptions {
        roles,
        suppressed: names("suppressed_roles"),
        capabilities: names("capabilities").iter().filter_map(capability).collect(),
        ..FrameworkOptions::default()
    };
    Ok(Framework {
        id: text(value, "id")?.to_owned(),
        name: text(value, "name")?.to_owned(),
        options,
        active: value["active"].as_bool().unwrap_or(true),
    })
}

/// Uses so much of an agent, of what is reserved for the role first.
fn take(agent: &mut Agent, framework: usize, role: &str, wanted: &Resources) {
    let mut free = agent.total.clone();
    for used in agent.used.values() {
        free -= &used.unallocated();
    }
    let mut taken = Resources::new();
    for entry in wanted.iter() {
        let Amount::Scalar(milli) = entry.value else {
            let one: Resources = std::iter::once(entry.clone()).collect();
            taken += &if free.contains(&one) { one } else { Resources::new() };
            continue;
        };
        let mut left = milli;
        let candidates = |is_reserved: bool| {
            let name = &entry.identity.name;
            free.allocatable_to(role)
                .filter(|e| e.identity.name == *name && e.reserved_to().is_some() == is_reserved)
        };
        for part in [candidates(true), candidates(false)] {
            for at in part.iter() {
                let Amount::Scalar(there) = at.value else { continue };
                let amount = there.min(left);
                if amount > 0 {
                    left -= amount;
                    let value = Amount::Scalar(amount);
                    taken.add(Entry { identity: at.identity.clone(), value });
                }
            }
        }
    }
    *agent.used.entry(framework).or_default() += &taken.allocated_to(role);
}
