//! Changes of a snapshot, as operators write them.

use super::{Agent, Snapshot};
use allocator::{Quota, Share};
use resources::{Milli, Quantities, Resources, to_milli, validate_role};
use std::collections::BTreeMap;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Sets the quota of a role; an empty one is none.
    Quota(String, Quota),
    /// Sets the weight of a role.
    Weight(String, f64),
    /// Sets the share of a role, as if its schedule was active; an empty one is none.
    Share(String, BTreeMap<String, Share>),
    /// Adds so many agents, with these resources or those that most agents have.
    AddAgents(usize, Option<Resources>),
    /// Removes an agent: by its id, the end of its id, or its host.
    RemoveAgent(String),
}

fn role(text: &str) -> Result<String, String> {
    validate_role(text).map_err(|e| format!("'{text}' is no role: {e}"))?;
    Ok(text.to_owned())
}

/// `cpus=10,mem=1024`, each value read by `value`.
fn pairs<T>(
    text: &str,
    value: impl Fn(&str) -> Option<T>,
    example: &str,
) -> Result<BTreeMap<String, T>, String> {
    let pair = |part: &str| {
        let (name, number) = part.split_once('=')?;
        let name = name.trim();
        Some((name.to_owned(), value(number.trim()).filter(|_| !name.is_empty())?))
    };
    text.split(',')
        .map(|part| pair(part).ok_or_else(|| format!("'{part}': expected {example}")))
        .collect()
}

fn amount(text: &str) -> Option<Milli> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && (0.0..1e12).contains(&number)).then(|| to_milli(number))
}

impl Change {
    /// `ROLE:guarantee=cpus=10,mem=1024:limit=cpus=20`, or `ROLE:none`.
    ///
    /// # Errors
    /// What was expected, and where.
    pub fn quota(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "ROLE:guarantee=cpus=10,mem=1024:limit=cpus=20 (one of the two will do), or ROLE:none";
        let mut parts = text.split(':');
        let role = role(parts.next().unwrap_or_default())?;
        let mut quota = Quota::default();
        let mut count = 0;
        for part in parts {
            count += 1;
            let (kind, amounts) = part.split_once('=').unwrap_or((part, ""));
            match kind {
                "none" if amounts.is_empty() => {}
                "guarantee" => quota.guarantees = pairs(amounts, amount, "cpus=10")?,
                "limit" => quota.limits = pairs(amounts, amount, "cpus=10")?,
                other => return Err(format!("'{other}': expected {FORM}")),
            }
        }
        if count == 0 {
            return Err(format!("'{text}': expected {FORM}"));
        }
        let over =
            |(name, milli): &(&String, &Milli)| quota.limits.get(*name).is_some_and(|l| l < *milli);
        if let Some((name, _)) = quota.guarantees.iter().find(over) {
            return Err(format!("'{text}': the guarantee of {name} is above its limit"));
        }
        Ok(Self::Quota(role, quota))
    }

    /// `ROLE=WEIGHT`.
    ///
    /// # Errors
    /// What was expected.
    pub fn weight(text: &str) -> Result<Self, String> {
        let fault = || format!("'{text}': expected ROLE=WEIGHT with a weight above 0, as web=2");
        let (name, weight) = text.split_once('=').ok_or_else(fault)?;
        let weight: f64 = weight.trim().parse().map_err(|_| fault())?;
        if !weight.is_finite() || weight <= 0.0 {
            return Err(fault());
        }
        Ok(Self::Weight(role(name)?, weight))
    }

    /// `ROLE:cpus=20%,mem=1024`, or `ROLE:none`.
    ///
    /// # Errors
    /// What was expected.
    pub fn share(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "cpus=20% or cpus=10, as in ROLE:cpus=20%,mem=1024";
        let (name, parts) = text.split_once(':').unwrap_or((text, ""));
        let role = role(name)?;
        if parts == "none" {
            return Ok(Self::Share(role, BTreeMap::new()));
        }
        let value = |text: &str| match text.strip_suffix('%') {
            Some(percent) => {
                let percent = amount(percent.trim()).filter(|p| *p <= 100_000)?;
                Some(Share { percent: u32::try_from(percent).ok()?, amount: 0 })
            }
            None => Some(Share { percent: 0, amount: amount(text)? }),
        };
        Ok(Self::Share(role, pairs(parts, value, EXAMPLE)?))
    }

    /// `N`, or `N:cpus:8;mem:16384`.
    ///
    /// # Errors
    /// What was expected.
    pub fn add_agents(text: &str) -> Result<Self, String> {
        let (count, resources) = match text.split_once(':') {
            Some((count, resources)) => (count, Some(resources)),
            None => (text, None),
        };
        let count: usize = count
            .trim()
            .parse()
            .ok()
            .filter(|n| (1..=100_000).contains(n))
            .ok_or_else(|| format!("'{text}': expected N or N:cpus:8;mem:16384"))?;
        let resources = resources.map(|r| Resources::parse(r, "*")).transpose();
        Ok(Self::AddAgents(count, resources.map_err(|e| format!("'{text}': {e}"))?))
    }
}

/// The snapshot with changes.
///
/// # Errors
/// The change that does not fit the snapshot.
pub fn apply(mut snapshot: Snapshot, changes: &[Change]) -> Result<Snapshot, String> {
    for change in changes {
        match change {
            Change::Quota(role, quota) => {
                snapshot.settings.quotas.insert(role.clone(), quota.clone());
            }
            Change::Weight(role, weight) => {
                snapshot.settings.weights.insert(role.clone(), *weight);
            }
            Change::Share(role, share) => {
                snapshot.settings.shares.insert(role.clone(), share.clone());
            }
            Change::AddAgents(count, resources) => add_agents(&mut snapshot, *count, resources)?,
            Change::RemoveAgent(word) => remove_agent(&mut snapshot, word)?,
        }
    }
    Ok(snapshot)
}

fn add_agents(
    snapshot: &mut Snapshot,
    count: usize,
    resources: &Option<Resources>,
) -> Result<(), String> {
    let mut model = most_usual(snapshot).cloned().unwrap_or_default();
    match resources {
        Some(resources) => model.total = resources.clone(),
        None if model.total.is_empty() => {
            return Err(
                "there is no agent to copy; say what the new ones have, as 3:cpus:8;mem:16384"
                    .to_owned(),
            );
        }
        None => model.total = plain(&model.total),
    }
    for _ in 0..count {
        let id = format!("new-{}", snapshot.agents.len() + 1);
        let options = allocator::AgentOptions { hostname: id.clone(), ..model.options.clone() };
        let agent =
            Agent { id, options, active: true, used: BTreeMap::new(), total: model.total.clone() };
        snapshot.agents.push(agent);
    }
    Ok(())
}

/// An agent like most others.
fn most_usual(snapshot: &Snapshot) -> Option<&Agent> {
    let mut counts: BTreeMap<Vec<(String, Milli)>, (usize, &Agent)> = BTreeMap::new();
    for agent in snapshot.agents.iter().filter(|a| a.active) {
        let sums: Quantities = agent.total.quantities();
        let sums = sums.iter().map(|(name, milli)| (name.to_owned(), milli)).collect();
        counts.entry(sums).or_insert((0, agent)).0 += 1;
    }
    counts.into_values().max_by_key(|(count, _)| *count).map(|(_, agent)| agent)
}

/// What an agent has before anything is reserved on it.
fn plain(total: &Resources) -> Resources {
    let mut out = Resources::new();
    for entry in total.iter().filter(|e| !e.identity.revocable) {
        let identity = resources::Identity {
            name: entry.identity.name.clone(),
            ..resources::Identity::default()
        };
        out.add(resources::Entry { identity: identity.into(), value: entry.value.clone() });
    }
    out
}

fn remove_agent(snapshot: &mut Snapshot, word: &str) -> Result<(), String> {
    let ends = |id: &str| id.strip_suffix(word).is_some_and(|rest| rest.ends_with('-'));
    let is = |a: &Agent| a.id == word || a.options.hostname == word || ends(&a.id);
    let found: Vec<usize> =
        snapshot.agents.iter().enumerate().filter(|(_, a)| is(a)).map(|(n, _)| n).collect();
    match found.as_slice() {
        [one] => {
            snapshot.agents.remove(*one);
            Ok(())
        }
        [] => Err(format!("there is no agent '{word}' to remove")),
        several => Err(format!("'{word}' means {} agents; give an id", several.len())),
    }
}
