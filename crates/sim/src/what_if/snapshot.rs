//! A cluster at one moment, as its master tells it.

use super::{Settings, state_file};
use allocator::{AgentOptions, FrameworkOptions, Quota, Share};
use resources::{Resources, to_milli};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use wire::v1;
use wire::v1::master::response::{GetState, get_agents, get_frameworks};

/// The parts that a snapshot is made of: of the master's answers, and of a file.
pub(super) const STATE: &str = "get_state";

/// Agents, frameworks and settings.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Agents.
    pub agents: Vec<Agent>,
    /// Frameworks.
    pub frameworks: Vec<Framework>,
    /// What operators decided.
    pub settings: Settings,
    /// What is not known, and what was assumed.
    pub notes: Vec<String>,
}

/// An agent.
#[derive(Debug, Clone, Default)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// What the policy knows of it.
    pub options: AgentOptions,
    /// All it has.
    pub total: Resources,
    /// Whether it is connected.
    pub active: bool,
    /// What tasks and executors use, with allocation info, by the place of their framework.
    pub used: BTreeMap<usize, Resources>,
}

/// A framework.
#[derive(Debug, Clone, Default)]
pub struct Framework {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What the policy knows of it.
    pub options: FrameworkOptions,
    /// Whether it is connected.
    pub active: bool,
}

impl Snapshot {
    /// Reads what the master told: `{"get_state": …}` as GET_STATE of the v1 operator API has it, with `quota`,
    /// `weights`, `shares` and `suppressed` as the endpoints have them; or a plain `/state`, which has less.
    ///
    /// # Errors
    /// The field that is missing or wrong.
    pub fn parse(json: &Value) -> Result<Self, String> {
        let mut snapshot = if json.get(STATE).is_some() {
            from_master(json)?
        } else if json.get("slaves").is_some() {
            state_file::parse(json)?
        } else {
            return Err(
                "expected what `proffer simulate --save` wrote, or a master's /state: there is neither 'get_state' nor 'slaves'"
                    .to_owned(),
            );
        };
        snapshot.read_settings(json)?;
        Ok(snapshot)
    }

    fn read_settings(&mut self, json: &Value) -> Result<(), String> {
        for (field, what) in [("quota", "quotas"), ("weights", "weights")] {
            if json.get(field).is_none_or(Value::is_null) {
                self.notes.push(format!("'{field}' is missing: {what} are taken as not set"));
            }
        }
        for config in list(&json["quota"]["configs"]) {
            let config: v1::quota::QuotaConfig =
                wire::json::from_value(config).map_err(|e| format!("quota.configs: {e}"))?;
            let amounts = |map: &BTreeMap<String, v1::value::Scalar>| {
                map.iter().map(|(name, s)| (name.clone(), to_milli(s.value))).collect()
            };
            let quota =
                Quota { guarantees: amounts(&config.guarantees), limits: amounts(&config.limits) };
            self.settings.quotas.insert(config.role, quota);
        }
        for weight in list(&json["weights"]) {
            let fault = || format!("weights: expected role and weight, got {weight}");
            let role = weight["role"].as_str().ok_or_else(fault)?;
            let value = weight["weight"].as_f64().filter(|w| *w > 0.0).ok_or_else(fault)?;
            self.settings.weights.insert(role.to_owned(), value);
        }
        for share in list(&json["shares"]["shares"]).iter().filter(|s| s["active"] == true) {
            let role = share["role"].as_str().ok_or("shares: a share without a role")?;
            let of = self.settings.shares.entry(role.to_owned()).or_default();
            for (field, is_percent) in [("percent", true), ("amounts", false)] {
                for (name, value) in share[field].as_object().into_iter().flatten() {
                    let milli = to_milli(value.as_f64().unwrap_or(0.0));
                    let part: &mut Share = of.entry(name.clone()).or_default();
                    if is_percent {
                        part.percent = u32::try_from(milli).unwrap_or(0);
                    } else {
                        part.amount = milli;
                    }
                }
            }
        }
        if json["flags"]["whitelist"].as_str().is_some_and(|path| path != "*") {
            self.notes
                .push("the whitelist of hosts is not replayed: all count as listed".to_owned());
        }
        if list(&json["overlaps"]["overlaps"]).iter().any(|o| o["overlap"] != 1) {
            self.notes.push(
                "offer overlaps are not replayed: they change who is first, not shares".to_owned(),
            );
        }
        Ok(())
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn from_master(json: &Value) -> Result<Snapshot, String> {
    let state: GetState =
        wire::json::from_value(&json[STATE]).map_err(|e| format!("{STATE}.{e}"))?;
    let mut snapshot = Snapshot::default();
    for framework in state.get_frameworks.iter().flat_map(|f| &f.frameworks) {
        snapshot.frameworks.push(of_framework(framework, &json["suppressed"]));
    }
    for agent in state.get_agents.iter().flat_map(|a| &a.agents) {
        snapshot.agents.push(of_agent(agent)?);
    }
    let places = Places::of(&snapshot);
    let tasks = state.get_tasks.iter().flat_map(|t| &t.tasks);
    for task in tasks.filter(|t| !master_core::is_terminal(t.state())) {
        let used = (task.agent_id.value.as_str(), task.framework_id.value.as_str());
        places.add(&mut snapshot, used, &task.resources)?;
    }
    for executor in state.get_executors.iter().flat_map(|e| &e.executors) {
        let info = &executor.executor_info;
        let framework = info.framework_id.as_ref().map_or("", |id| id.value.as_str());
        places.add(&mut snapshot, (&executor.agent_id.value, framework), &info.resources)?;
    }
    Ok(snapshot)
}

fn of_framework(framework: &get_frameworks::Framework, suppressed: &Value) -> Framework {
    let info = &framework.framework_info;
    let id = info.id.as_ref().map_or("", |id| id.value.as_str()).to_owned();
    let suppressed: BTreeSet<String> =
        list(&suppressed[&id]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let constraints = framework.offer_constraints.as_ref();
    Framework {
        options: master_core::framework_options(info, &suppressed, constraints),
        name: info.name.clone(),
        active: framework.active,
        id,
    }
}

fn of_agent(agent: &get_agents::Agent) -> Result<Agent, String> {
    let info = &agent.agent_info;
    let id = info.id.as_ref().map_or("", |id| id.value.as_str()).to_owned();
    let total = Resources::from_wire(&agent.total_resources)
        .map_err(|e| format!("total_resources of agent {id}: {e}"))?;
    let options = AgentOptions {
        hostname: info.hostname.clone(),
        attributes: info.attributes.clone(),
        domain: info.domain.clone(),
        capabilities: agent.capabilities.iter().map(v1::agent_info::Capability::r#type).collect(),
    };
    let active = agent.active && !agent.deactivated();
    Ok(Agent { id, options, total, active, used: BTreeMap::new() })
}

/// Where agents and frameworks are, by id.
pub(super) struct Places {
    agents: BTreeMap<String, usize>,
    frameworks: BTreeMap<String, usize>,
}

impl Places {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let agents = snapshot.agents.iter().enumerate().map(|(n, a)| (a.id.clone(), n));
        let frameworks = snapshot.frameworks.iter().enumerate().map(|(n, f)| (f.id.clone(), n));
        Self { agents: agents.collect(), frameworks: frameworks.collect() }
    }

    pub(super) fn find(&self, (agent, framework): (&str, &str)) -> Option<(usize, usize)> {
        Some((*self.agents.get(agent)?, *self.frameworks.get(framework)?))
    }

    /// Counts resources of a task or executor; those on agents that are away use nothing that could be offered.
    fn add(
        &self,
        snapshot: &mut Snapshot,
        of: (&str, &str),
        resources: &[v1::Resource],
    ) -> Result<(), String> {
        let Some((agent, framework)) = self.find(of) else { return Ok(()) };
        let resources = Resources::from_wire(resources)
            .map_err(|e| format!("resources of a task on agent {}: {e}", of.0))?;
        let mut roles = snapshot.frameworks[framework].options.roles.iter();
        let first = roles.next().map_or("*", String::as_str);
        let used = snapshot.agents[agent].used.entry(framework).or_default();
        for entry in resources.iter() {
            let is_allocated = entry.identity.allocated_to.is_some();
            let one: Resources = std::iter::once(entry.clone()).collect();
            *used += &if is_allocated { one } else { one.allocated_to(first) };
        }
        Ok(())
    }
}
