//! What the policy decided over time: for each framework and role a count of each reason, by minute for an hour and by
//! hour for a day. Its size depends on frameworks and roles, not on agents.

use crate::why::describe;
use allocator::{Decisions, FrameworkId};
use base::WallTime;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Time between two recordings.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// So much later than planned the end of a minute may be noticed.
const LATE_NANOS: u64 = 1_000_000_000;
const MINUTES: usize = 60;
const HOURS: usize = 24;
const HOUR: Duration = Duration::from_secs(3600);

/// What was decided within a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// When it began.
    pub from: WallTime,
    /// How long it is.
    pub length: Duration,
    /// How often an agent was offered.
    pub offered: u64,
    /// How often an agent was not offered, by name of the reason.
    pub reasons: Vec<(&'static str, u64)>,
}

impl Period {
    fn of(&self, reason: &str) -> u64 {
        self.reasons.iter().find(|(name, _)| *name == reason).map_or(0, |(_, n)| *n)
    }

    fn end(&self) -> WallTime {
        let length = u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX);
        WallTime(self.from.0.saturating_add(length))
    }

    fn add(&mut self, offered: u64, reasons: impl Iterator<Item = (&'static str, u64)>) {
        self.offered += offered;
        for (name, n) in reasons {
            match self.reasons.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += n,
                None => self.reasons.push((name, n)),
            }
        }
        self.reasons.shrink_to_fit();
    }
}

/// The past of a framework in a role.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    /// Oldest first; times without a decision are left out.
    minutes: VecDeque<Period>,
    hours: VecDeque<Period>,
    pub(crate) last_offer: Option<WallTime>,
    /// When an offer ended last.
    last_end: Option<WallTime>,
}

/// The past of all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    of: BTreeMap<FrameworkId, BTreeMap<String, Series>>,
}

fn put(
    periods: &mut VecDeque<Period>,
    now: WallTime,
    length: Duration,
    keep: usize,
    decisions: &Decisions,
) {
    let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    // What is taken at the end of a minute, or a little late, happened in it.
    let from = WallTime(now.0.saturating_sub(LATE_NANOS) / nanos * nanos);
    if periods.back().is_none_or(|last| last.from != from) {
        periods.push_back(Period { from, length, offered: 0, reasons: Vec::new() });
    }
    if let Some(last) = periods.back_mut() {
        let reasons = decisions.reasons.iter().map(|(r, n)| (describe(*r).0, u64::from(*n)));
        last.add(decisions.offered.into(), reasons);
    }
    let oldest = now.0.saturating_sub(nanos.saturating_mul(keep as u64));
    while periods.front().is_some_and(|first| first.from.0 < oldest) {
        periods.pop_front();
    }
}

impl History {
    /// Keeps what was decided in the last minute.
    pub(crate) fn record(&mut self, now: WallTime, all: &[Decisions]) {
        for decisions in all {
            let series = self.series(decisions.framework, &decisions.role);
            put(&mut series.minutes, now, MINUTE, MINUTES, decisions);
            put(&mut series.hours, now, HOUR, HOURS, decisions);
        }
    }

    /// The framework is offered something for a role.
    pub(crate) fn offered(&mut self, now: WallTime, framework: FrameworkId, role: &str) {
        self.series(framework, role).last_offer = Some(now);
    }

    /// An offer for a role ended.
    pub(crate) fn ended(&mut self, now: WallTime, framework: FrameworkId, role: &str) {
        self.series(framework, role).last_end = Some(now);
    }

    fn series(&mut self, framework: FrameworkId, role: &str) -> &mut Series {
        let roles = self.of.entry(framework).or_default();
        if !roles.contains_key(role) {
            roles.insert(role.to_owned(), Series::default());
        }
        roles.entry(role.to_owned()).or_default()
    }

    pub(crate) fn forget(&mut self, framework: FrameworkId) {
        self.of.remove(&framework);
    }

    pub(crate) fn of(&self, framework: FrameworkId, role: &str) -> Option<&Series> {
        self.of.get(&framework)?.get(role)
    }
}

impl Series {
    /// Hours, then the minutes of the last of them, oldest first.
    pub(crate) fn periods(&self) -> Vec<Period> {
        let first = self.minutes.front().map_or(WallTime(u64::MAX), |p| p.from);
        let before = self.hours.iter().filter(|p| p.end() <= first);
        before.chain(&self.minutes).cloned().collect()
    }

    /// When an offer was made or ended last.
    pub(crate) fn last_used(&self) -> Option<WallTime> {
        self.last_offer.max(self.last_end)
    }

    /// Since when a reason has been in the way on so many agents: nothing says otherwise from then on. Cycles look only
    /// at agents on which something changed, so that a time with fewer decisions than that says nothing. None: nothing
    /// was ever decided otherwise.
    pub(crate) fn since(&self, name: &str, agents: usize) -> Option<WallTime> {
        let mut since = None;
        for period in self.periods().iter().rev() {
            let others: u64 = period.reasons.iter().map(|(_, n)| n).sum();
            if period.of(name) > 0 {
                since = Some(period.from);
                // Offers in between say that it was not in the way all the time.
                if period.offered >= (agents as u64).div_ceil(2) {
                    break;
                }
            } else if others + period.offered >= (agents as u64).div_ceil(2) {
                return since.or(Some(period.end()));
            }
        }
        since
    }
}
