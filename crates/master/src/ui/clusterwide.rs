//! What pages show of roles, maintenance, masters, and what searches find.

use super::digest::Digest;
use super::models::{agent_state, framework_state, limits, tasks, window};
use super::{address, now};
use crate::shared::Shared;
use base::WallTime;
use master_core::schedule::Schedule;
use master_core::{Deactivated, Machine, Share};
use resources::from_milli;
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;
use ui::pages::{self, AgentState, Found, Maintenance, OutOfUse, RoleRow};
use ui::{Amounts, Page, Place, Query, Route};
use wire::v1;

/// Matches of each kind that a search shows.
const FOUND_MAX: usize = 12;

fn guarantees(digest: &Digest) -> BTreeMap<String, Amounts> {
    let state = &digest.state;
    if state.shares.is_empty() && state.quotas.is_empty() {
        return BTreeMap::new();
    }
    let all = state.guarantees().into_iter();
    all.map(|(role, amounts)| (role, Amounts::of_map(&amounts))).collect()
}

pub(super) fn role_rows(digest: &Digest) -> Vec<RoleRow<'_>> {
    let guarantees = guarantees(digest);
    digest.roles.keys().filter_map(|name| role_row(digest, name, &guarantees)).collect()
}

fn role_row<'a>(
    digest: &'a Digest,
    name: &str,
    guarantees: &BTreeMap<String, Amounts>,
) -> Option<RoleRow<'a>> {
    let (name, of) = digest.roles.get_key_value(name)?;
    let state = &digest.state;
    Some(RoleRow {
        name,
        weight: state.weights.get(name).copied().unwrap_or(1.0),
        frameworks: of.frameworks,
        used: of.used,
        offered: of.offered,
        reserved: of.reserved,
        lent: of.lent,
        guarantee: guarantees.get(name).copied().unwrap_or_default(),
        limit: state.quotas.get(name).map(|quota| limits(&quota.limits)).unwrap_or_default(),
        has_share: state.shares.contains_key(name),
    })
}

pub(super) fn role(digest: &Digest, name: &str) -> Option<Page> {
    let state = &digest.state;
    let row = role_row(digest, name, &guarantees(digest))?;
    let share = state.shares.get(name);
    let frameworks = state.frameworks.values().filter(|f| f.roles().contains(name));
    let reserved = state.agents.values().filter_map(|agent| {
        let of_role = agent.total.filter(|entry| entry.reserved_to() == Some(name));
        let amounts = Amounts::of(&of_role);
        (!amounts.is_empty()).then_some((agent.id.as_str(), agent.info.hostname.as_str(), amounts))
    });
    let overlap = state.overlap(name);
    let model = pages::Role {
        row,
        share: share.map(|share| share_in_words(share)),
        next_change: share.and_then(|share| share.next_change).map(WallTime::as_secs_f64),
        overlap: (!overlap.is_disjoint()).then(|| crate::overlaps::shown(overlap).to_string()),
        frameworks: frameworks.map(|f| (f.id.as_str(), f.info.name.as_str())).collect(),
        reserved: reserved.collect(),
    };
    Some(pages::role(&model, digest.total, digest.now))
}

fn share_in_words(share: &Share) -> String {
    let config = &share.config;
    let percent = config.percent.iter().map(|(name, n)| format!("{}% of {name}", from_milli(*n)));
    let amounts = config.amounts.iter().map(|(name, n)| format!("{} {name}", from_milli(*n)));
    let what = percent.chain(amounts).collect::<Vec<_>>().join(", ");
    let when = config.schedules.iter().map(Schedule::to_string).collect::<Vec<_>>().join("; ");
    let when = if when.is_empty() { "always".to_owned() } else { when };
    format!("{what}; {when}; it {}", if share.active { "holds now" } else { "does not hold now" })
}

/// What operators wanted of an agent, in words.
pub(super) fn wanted(known: &Deactivated) -> String {
    let Some(drain) = &known.drain else {
        return "Operators deactivated it: nobody is offered anything of it.".to_owned();
    };
    let is_over = drain.state() == v1::DrainState::Drained;
    let mut text = match is_over {
        true => "It has been drained".to_owned(),
        false => "It is being drained: its tasks are ended".to_owned(),
    };
    #[expect(clippy::cast_precision_loss, reason = "shown in seconds")]
    if let Some(grace) = drain.config.max_grace_period {
        let grace = ui::format::duration(grace.nanoseconds as f64 / 1e9);
        text.push_str(&format!(", within {grace} at most"));
    }
    if drain.config.mark_gone() {
        text.push_str(", and then it is marked gone");
    }
    text.push('.');
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown in seconds")]
pub(super) fn maintenance(digest: &Digest) -> Page {
    let state = &digest.state;
    let mut agents: BTreeMap<Machine, Vec<(String, String, usize)>> = BTreeMap::new();
    if state.maintenance.machines().next().is_some() {
        for agent in state.agents.values() {
            let tasks = digest.agents.get(&agent.key).map_or(0, |held| held.tasks);
            let one = (agent.id.clone(), agent.info.hostname.clone(), tasks);
            agents.entry(Machine::of(agent)).or_default().push(one);
        }
    }
    let mut answers: BTreeMap<&Machine, [usize; 3]> = BTreeMap::new();
    for scheduled in state.scheduled.values() {
        use v1::allocator::inverse_offer_status::Status;
        let counts = answers.entry(&scheduled.machine).or_default();
        for answer in scheduled.answers.values() {
            counts[match answer.status() {
                Status::Accept => 0,
                Status::Decline => 1,
                Status::Unknown => 2,
            }] += 1;
        }
    }
    let machines = state.maintenance.machines().filter_map(|(machine, id)| {
        let (from, until) = window(state.maintenance.unavailability(machine)?);
        let names = [id.hostname.as_deref(), id.ip.as_deref()];
        Some(pages::Machine {
            name: names.into_iter().flatten().collect::<Vec<_>>().join(" "),
            from,
            lasts: until.map(|until| until - from),
            is_down: state.maintenance.is_down(machine),
            agents: agents.remove(machine).unwrap_or_default(),
            answers: answers.get(machine).copied().unwrap_or_default(),
        })
    });
    let out_of_use = state.deactivated.iter().map(|(id, known)| {
        let agent = state.agent(id);
        let expected = state.recovered_agents.get(id).map(|agent| &agent.info.hostname);
        let host = agent.map(|agent| &agent.info.hostname).or(expected);
        OutOfUse {
            id: id.clone(),
            host: host.cloned().unwrap_or_default(),
            state: agent.map_or(AgentState::Disconnected, |agent| agent_state(digest, agent)),
            wanted: wanted(known),
            since: known.drain_started.map(WallTime::as_secs_f64),
            tasks: agent.and_then(|a| digest.agents.get(&a.key)).map_or(0, |held| held.tasks),
        }
    });
    let since = |all: &BTreeMap<String, v1::TimeInfo>| {
        all.iter().map(|(id, at)| (id.clone(), at.nanoseconds as f64 / 1e9)).collect()
    };
    let expected = state.recovered_agents.iter();
    let model = Maintenance {
        machines: machines.collect(),
        out_of_use: out_of_use.collect(),
        unreachable: since(&state.unreachable),
        expected: expected.map(|(id, agent)| (id.clone(), agent.info.hostname.clone())).collect(),
        gone: since(&state.gone),
    };
    pages::maintenance(&model, digest.now)
}

pub(super) fn masters(shared: &Shared, digest: &Digest, query: &Query) -> Page {
    let members = shared.peers.iter().flat_map(|peers| peers.members());
    let members =
        members.map(|m| pages::Master { address: m.address, leads: m.leads, votes: Some(m.votes) });
    let mut masters: Vec<_> = members.collect();
    if masters.is_empty() {
        let me = address(&shared.info);
        let others = super::masters(shared).into_iter();
        masters.extend(others.map(|address| pages::Master {
            leads: address == me,
            address,
            votes: None,
        }));
    }
    let model = pages::Masters {
        info: &shared.info,
        masters,
        started: shared.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        elected: digest.state.elected.map(WallTime::as_secs_f64),
        flags: &digest.state.flags,
        has_log: shared.log_file.is_some(),
    };
    pages::masters(&model, now(), query)
}

/// What has a name or id like what is searched.
pub(super) fn search(digest: &Digest, query: &Query) -> Page {
    let wanted = ui::list::Wanted::of(query, &[], "name");
    let state = &digest.state;
    let is_searched = !wanted.search.is_empty();
    let found = |href: String, name: &str, beside: &str| Found {
        href,
        name: name.to_owned(),
        beside: beside.to_owned(),
    };
    let agents = state.agents.values().filter(|a| wanted.matches(&[&a.info.hostname, &a.id]));
    let agents = agents.map(|a| found(Route::Agent(a.id.clone()).href(), &a.info.hostname, &a.id));
    let frameworks = state.frameworks.values().chain(&state.completed_frameworks);
    let frameworks = frameworks.filter(|f| wanted.matches(&[&f.info.name, &f.id]));
    let frameworks = frameworks.map(|f| {
        let beside = match framework_state(f) {
            pages::FrameworkState::Completed => format!("{} (completed)", f.id),
            _ => f.id.clone(),
        };
        found(Route::Framework(f.id.clone()).href(), &f.info.name, &beside)
    });
    let roles = digest.roles.keys().filter(|name| wanted.matches(&[name]));
    let roles = roles.map(|name| found(Route::Role(name.clone()).href(), name, ""));
    let tasks = tasks(digest).into_iter();
    let tasks = tasks.filter(|t| wanted.matches(&[&t.wire.name, &t.wire.task_id.value]));
    let tasks = tasks.map(|t| {
        let place = Place::task(&t.wire.framework_id.value, &t.wire.task_id.value);
        let beside =
            format!("{} · {}", ui::format::task_state(t.wire.state()), t.wire.task_id.value);
        found(place.href(), &t.wire.name, &beside)
    });
    let take = |all: &mut dyn Iterator<Item = Found>| {
        let first: Vec<Found> = all.filter(|_| is_searched).take(FOUND_MAX).collect();
        let number = first.len() + if is_searched { all.count() } else { 0 };
        (first, number)
    };
    let mut kinds = Vec::new();
    let (mut agents, mut frameworks, mut roles, mut tasks) = (agents, frameworks, roles, tasks);
    let all: [(_, _, &mut dyn Iterator<Item = Found>); 4] = [
        ("Agents", Route::Agents, &mut agents),
        ("Frameworks", Route::Frameworks, &mut frameworks),
        ("Roles", Route::Roles, &mut roles),
        ("Tasks", Route::Tasks, &mut tasks),
    ];
    let hrefs: Vec<String> = all.iter().map(|(_, route, _)| route.href()).collect();
    for (kind, _, found) in all {
        let (first, number) = take(found);
        kinds.push((kind, first, number));
    }
    let kinds: Vec<_> = kinds
        .into_iter()
        .zip(&hrefs)
        .map(|((kind, first, number), href)| (kind, href.as_str(), first, number))
        .collect();
    pages::search(&kinds, query)
}
