//! Shares: parts of the cluster that are guaranteed to roles, at certain times or always.

use crate::contract::Effect;
use crate::master::{Cx, Master, Timer, Waiting};
use crate::quota::{Amounts, amounts, check_name, grow, most, shown};
use crate::registry::{RegistryOp, SHARES, read};
use crate::schedule::{self, Schedule, Window};
use crate::state::State;
use base::{Token, WallTime};
use resources::{Milli, Value, from_milli, validate_role};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use wire::internal;
use wire::v1::quota::QuotaConfig;

/// A clock that jumps is noticed within this time.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A change may be so late: a clock that stands still is not looked at all the time.
const LATE_MAX: Duration = Duration::from_millis(10);
/// Most schedules of a share.
const SCHEDULES_MAX: usize = 64;
/// Hundred percent, in thousandths of a percent.
const ALL: Milli = 100_000;

/// What a role is guaranteed, and when: of each scalar the greater of percentage and amount.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShareConfig {
    /// Whose it is; those below it use it as well.
    pub role: String,
    /// Thousandths of a percent of what all agents have, by name.
    pub percent: Amounts,
    /// Thousandths of a unit, by name.
    pub amounts: Amounts,
    /// It holds when one of these does; without any, always.
    pub schedules: Vec<Schedule>,
}

/// A share as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// What an operator asked for.
    pub config: ShareConfig,
    /// Whether it holds.
    pub active: bool,
    /// When that changes next, if within two weeks.
    pub next_change: Option<WallTime>,
}

impl ShareConfig {
    fn check(&self) -> Result<(), String> {
        validate_role(&self.role).map_err(|e| format!("'role': {e}"))?;
        if self.percent.is_empty() && self.amounts.is_empty() {
            return Err(
                "expected 'percent' or 'amounts', such as {\"percent\":{\"cpus\":20}}; to end a share, delete it"
                    .to_owned(),
            );
        }
        for (name, milli) in &self.percent {
            if !(1..=ALL).contains(milli) {
                return Err(format!(
                    "'percent.{name}': expected more than 0 and at most 100, in thousandths, got {}",
                    from_milli(*milli)
                ));
            }
        }
        for (name, milli) in &self.amounts {
            let most = most(name).0;
            if *milli < 1 || from_milli(*milli) > most {
                return Err(format!(
                    "'amounts.{name}': expected at least 0.001 and at most {most}, got {}",
                    from_milli(*milli)
                ));
            }
        }
        if self.schedules.len() > SCHEDULES_MAX {
            return Err(format!("'schedule': expected at most {SCHEDULES_MAX} schedules"));
        }
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let percent = self.percent.keys().map(|name| ("percent", name));
        percent.chain(self.amounts.keys().map(|name| ("amounts", name)))
    }

    fn to_policy(&self) -> BTreeMap<String, allocator::Share> {
        let mut all: BTreeMap<String, allocator::Share> = BTreeMap::new();
        for (name, milli) in &self.percent {
            all.entry(name.clone()).or_default().percent = u32::try_from(*milli).unwrap_or(0);
        }
        for (name, milli) in &self.amounts {
            all.entry(name.clone()).or_default().amount = *milli;
        }
        all
    }

    fn to_registry(&self) -> internal::RegistryShare {
        let of = |map: &Amounts| {
            let part = |(name, milli): (&String, &Milli)| internal::registry_share::Part {
                name: name.clone(),
                milli: *milli,
            };
            map.iter().map(part).collect()
        };
        internal::RegistryShare {
            percent: of(&self.percent),
            amounts: of(&self.amounts),
            schedule: self.schedules.iter().map(Schedule::to_string).collect(),
        }
    }

    fn from_registry(role: &str, kept: internal::RegistryShare) -> Result<Self, String> {
        let of = |parts: Vec<internal::registry_share::Part>| {
            parts.into_iter().map(|part| (part.name, part.milli)).collect()
        };
        let schedules = kept.schedule.iter().map(|text| Schedule::parse(text));
        Ok(Self {
            role: role.to_owned(),
            schedules: schedules.collect::<Result<_, _>>()?,
            percent: of(kept.percent),
            amounts: of(kept.amounts),
        })
    }
}

impl State {
    /// What roles are guaranteed now, by quota and share: of each scalar the greatest that is promised and no limit
    /// forbids.
    #[must_use]
    pub fn guarantees(&self) -> BTreeMap<String, Amounts> {
        let active = self.shares.values().filter(|share| share.active).map(|share| &share.config);
        guarantees(&self.quotas, active, &self.capacity())
    }

    /// Scalars of all agents, revocable ones aside.
    #[must_use]
    pub fn capacity(&self) -> Amounts {
        let mut capacity = Amounts::new();
        for agent in self.agents.values() {
            for entry in agent.total.iter().filter(|e| !e.identity.revocable) {
                if let Value::Scalar(milli) = entry.value {
                    grow(&mut capacity, &entry.identity.name, milli);
                }
            }
        }
        capacity
    }
}

fn guarantees<'a>(
    quotas: &BTreeMap<String, QuotaConfig>,
    active: impl Iterator<Item = &'a ShareConfig>,
    capacity: &Amounts,
) -> BTreeMap<String, Amounts> {
    let set = quotas.iter().filter(|(_, config)| !config.guarantees.is_empty());
    let mut all: BTreeMap<String, Amounts> =
        set.map(|(role, config)| (role.clone(), amounts(&config.guarantees))).collect();
    for config in active {
        let of_role = all.entry(config.role.clone()).or_default();
        for (name, share) in config.to_policy() {
            let roles = std::iter::once(config.role.as_str());
            let limits = roles.chain(resources::ancestors(&config.role)).filter_map(|role| {
                quotas.get(role)?.limits.get(&name).map(|limit| resources::to_milli(limit.value))
            });
            let promised = share.of(capacity.get(&name).copied().unwrap_or(0));
            let promised = limits.min().map_or(promised, |limit| promised.min(limit));
            let guarantee = of_role.entry(name).or_default();
            *guarantee = promised.max(*guarantee);
        }
    }
    all
}

/// What all roles have together; what is below a role is a part of what it has, unless it is more.
fn sum(by_role: &BTreeMap<String, Amounts>) -> Amounts {
    let mut below: BTreeMap<&str, Amounts> = BTreeMap::new();
    let mut sum = Amounts::new();
    // A role comes before those below it.
    for (role, amounts) in by_role.iter().rev() {
        let mut all = below.remove(role.as_str()).unwrap_or_default();
        for (name, milli) in amounts {
            let most = all.entry(name.clone()).or_default();
            *most = (*most).max(*milli);
        }
        let above = resources::ancestors(role).find(|above| by_role.contains_key(*above));
        let into = above.map_or(&mut sum, |above| below.entry(above).or_default());
        for (name, milli) in all {
            grow(into, &name, milli);
        }
    }
    sum
}

/// Roles' quotas and shares as they would be.
pub(crate) struct Promises<'a> {
    pub(crate) quotas: Cow<'a, BTreeMap<String, QuotaConfig>>,
    pub(crate) shares: Vec<&'a ShareConfig>,
}

impl Promises<'_> {
    /// Whether the amounts that are promised to all roles can be counted together.
    pub(crate) fn check_countable(&self) -> Result<(), String> {
        let mut all = Amounts::new();
        let quotas = self.quotas.values().flat_map(|config| amounts(&config.guarantees));
        let shares = self.shares.iter().flat_map(|share| share.amounts.clone());
        quotas.chain(shares).for_each(|(name, milli)| grow(&mut all, &name, milli));
        match all.iter().find(|(_, milli)| **milli == Milli::MAX) {
            Some((name, _)) => Err(format!(
                "the guarantees of all roles for '{name}' add up to more than can be counted"
            )),
            None => Ok(()),
        }
    }

    /// Whether the cluster has what is promised, now and at every time at which some share begins.
    pub(crate) fn check(&self, capacity: &Amounts, now: WallTime) -> Result<(), String> {
        let of = |share: &ShareConfig| schedule::windows(&share.schedules, now);
        let windows: Vec<Vec<Window>> = self.shares.iter().copied().map(of).collect();
        let begins = windows.iter().flatten().map(|(from, _)| (*from).max(now));
        let moments: BTreeSet<WallTime> = begins.chain([now]).collect();
        for moment in moments {
            let holds = |windows: &[Window]| {
                windows.iter().any(|(from, until)| *from <= moment && moment < *until)
            };
            let active = || {
                let shares = self.shares.iter().zip(&windows);
                shares.filter(|(_, windows)| holds(windows)).map(|(share, _)| *share)
            };
            let when = if moment == now {
                String::new()
            } else {
                format!(" on {}", schedule::utc(moment))
            };
            let percent = active().map(|share| (share.role.clone(), share.percent.clone()));
            let percent = sum(&percent.collect());
            if let Some((name, milli)) = percent.iter().find(|(_, milli)| **milli > ALL) {
                let milli = from_milli(*milli);
                return Err(format!("shares of '{name}' add up to {milli} percent{when}"));
            }
            let total = sum(&guarantees(&self.quotas, active(), capacity));
            let over = |(name, milli): (&String, &Milli)| {
                capacity.get(name).copied().unwrap_or(0) < *milli
            };
            if total.iter().any(over) {
                let what = if self.shares.is_empty() { "quota guarantees" } else { "guarantees" };
                return Err(format!(
                    "total {what} '{}' exceed cluster capacity '{}'{when}",
                    shown(&total),
                    shown(capacity)
                ));
            }
        }
        Ok(())
    }
}

impl Master {
    pub(crate) fn set_share(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        config: ShareConfig,
        force: bool,
    ) {
        if let Err(text) = self.check_share(cx, &config, force) {
            return cx.respond(token, 400, format!("Invalid share: {text}"));
        }
        let put = RegistryOp::Put {
            section: SHARES.to_owned(),
            key: config.role.clone(),
            value: wire::protobuf::to_vec(&config.to_registry()),
        };
        let (role, config) = (config.role.clone(), Some(config));
        self.write(cx, vec![put], Waiting::Share { token, role, config });
    }

    fn check_share(&self, cx: &Cx<'_>, config: &ShareConfig, force: bool) -> Result<(), String> {
        config.check()?;
        if !self.is_whitelisted(&config.role) {
            return Err(format!("'role': '{}' is not on the roles whitelist", config.role));
        }
        for (field, name) in config.names() {
            check_name(name).map_err(|e| format!("'{field}': {e}"))?;
            let is_other = |entry: &resources::Entry| {
                entry.identity.name == *name && !matches!(entry.value, Value::Scalar(_))
            };
            if self.state.agents.values().any(|agent| agent.total.iter().any(is_other)) {
                return Err(format!("'{field}.{name}': '{name}' is no scalar resource"));
            }
        }
        let others = self.state.shares.values().map(|share| &share.config);
        let others = others.filter(|other| other.role != config.role);
        let shares = others.chain([config]).collect();
        let promises = Promises { quotas: Cow::Borrowed(&self.state.quotas), shares };
        promises.check_countable()?;
        if force {
            return Ok(());
        }
        let capacity = self.state.capacity();
        // A part of nothing is nothing.
        let mut names = config.percent.keys();
        if let Some(name) = names.find(|n| !capacity.is_empty() && !capacity.contains_key(*n)) {
            return Err(format!(
                "'percent.{name}': no agent has '{name}' (use 'force' to bypass this check)"
            ));
        }
        promises
            .check(&capacity, cx.now.wall)
            .map_err(|e| format!("{e} (use 'force' to bypass this check)"))
    }

    pub(crate) fn remove_share(&mut self, cx: &mut Cx<'_>, token: Token, role: String) {
        if !self.state.shares.contains_key(&role) {
            return cx.respond(token, 404, format!("Role '{role}' has no share"));
        }
        let delete = RegistryOp::Delete { section: SHARES.to_owned(), key: role.clone() };
        self.write(cx, vec![delete], Waiting::Share { token, role, config: None });
    }

    /// The registry has it.
    pub(crate) fn on_share(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        role: String,
        config: Option<ShareConfig>,
    ) {
        let was_active = self.state.shares.remove(&role).is_some_and(|share| share.active);
        if let Some(config) = config {
            self.adopt(config);
        }
        self.refresh_shares(cx);
        if was_active && !self.state.shares.get(&role).is_some_and(|share| share.active) {
            self.apply_share(cx, &role);
        }
        cx.respond(token, 200, "");
    }

    /// It begins with the next [`Master::refresh_shares`], when it is its time.
    fn adopt(&mut self, config: ShareConfig) {
        let share = Share { config, active: false, next_change: None };
        self.state.shares.insert(share.config.role.clone(), Arc::new(share));
    }

    /// Takes over what the registry holds.
    pub(crate) fn recover_share(
        &mut self,
        cx: &mut Cx<'_>,
        role: &str,
        value: &[u8],
    ) -> Result<(), String> {
        // What it says may have no meaning any more, such as the name of a time zone.
        match ShareConfig::from_registry(role, read(value)?) {
            Ok(config) => self.adopt(config),
            Err(error) => {
                let text =
                    format!("the share of role '{role}' can't be read and is not kept: {error}");
                cx.out.push(Effect::Log { text });
            }
        }
        Ok(())
    }

    /// Begins and ends shares by the clock.
    pub(crate) fn refresh_shares(&mut self, cx: &mut Cx<'_>) {
        let mut changed: Vec<String> = Vec::new();
        let mut next: Option<WallTime> = None;
        let mut scheduled = false;
        for (role, share) in &mut self.state.shares {
            let moment = schedule::at(&share.config.schedules, cx.now.wall);
            let was_active = share.active;
            if (was_active, share.next_change) != (moment.active, moment.next_change) {
                let share = Arc::make_mut(share);
                (share.active, share.next_change) = (moment.active, moment.next_change);
            }
            if was_active != moment.active {
                changed.push(role.clone());
            }
            let schedules = &share.config.schedules;
            scheduled |= !schedules.is_empty() && !schedules.iter().any(Schedule::is_always);
            next = next.into_iter().chain(moment.next_change).min();
        }
        for role in changed {
            self.apply_share(cx, &role);
        }
        self.timers.cancel(&Timer::Shares);
        if scheduled {
            let until = next.map(|at| Duration::from_nanos(at.0.saturating_sub(cx.now.wall.0)));
            let pause = until.unwrap_or(LOOK_EVERY).clamp(LATE_MAX, LOOK_EVERY);
            self.timers.set(Timer::Shares, cx.now.mono + pause);
        }
    }

    /// Tells the policy what a role's share is by now; offers of others give way.
    fn apply_share(&mut self, cx: &mut Cx<'_>, role: &str) {
        let active = self.state.shares.get(role).filter(|share| share.active).cloned();
        let Some(share) = active else {
            self.allocator.set_share(role, BTreeMap::new());
            cx.out.push(Effect::Log { text: format!("the share of role '{role}' ends") });
            return;
        };
        self.allocator.set_share(role, share.config.to_policy());
        let guarantee = self.state.guarantees().remove(role).unwrap_or_default();
        let text = format!("the share of role '{role}' begins: {} now", shown(&guarantee));
        cx.out.push(Effect::Log { text });
        self.give_way(cx, role, &Amounts::new(), guarantee);
    }
}
