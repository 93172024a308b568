//! Schedules of shares: on which days, between which hours of a local clock.
//!
//! Architecture invariant: a schedule is a pure function of the wall-clock time that is handed in; the time zones are
//! those that are built in (docs/decisions/005-schedules.md).

use base::WallTime;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use std::fmt;

/// So far ahead changes are looked for: every schedule has begun or ended once by then, even in a week in which a
/// clock that is put forward left out its hours.
const HORIZON_DAYS: u16 = 16;

const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const DAILY: u8 = 0b111_1111;
const WEEKDAYS: u8 = 0b001_1111;
const WEEKENDS: u8 = 0b110_0000;

/// When a share holds. In text: `always`, or days, hours and a time zone: `weekdays 08:00-20:00 Europe/Berlin`,
/// `daily 22:00-06:00 UTC`, `sat,sun 00:00-24:00 America/New_York`.
///
/// Days are those on which the hours begin: `daily`, `weekdays`, `weekends`, days or ranges of days. Hours that end no
/// later than they begin end on the next day. When clocks change, the hours last from the first moment at which the
/// local clock shows a time in them to the last one.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// At any time.
    Always,
    /// At the same hours of some days of each week.
    Weekly(Weekly),
}

/// Hours of some days of each week.
#[derive(Debug, Clone, PartialEq)]
pub struct Weekly {
    /// One bit for each day, Monday first.
    days: u8,
    /// Minutes since midnight, below 1440.
    begin: i16,
    /// Minutes since midnight, up to 1440; no more than `begin`: on the next day.
    end: i16,
    zone: TimeZone,
}

/// What a list of schedules says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Whether one of them holds.
    pub active: bool,
    /// When that changes next; None: not within two weeks, or never.
    pub next_change: Option<WallTime>,
}

/// A time during which a schedule holds: from and until.
pub type Window = (WallTime, WallTime);

/// What schedules say at a moment; none at all hold always.
#[must_use]
pub fn at(schedules: &[Schedule], now: WallTime) -> Moment {
    let windows = windows(schedules, now);
    let Some((from, until)) = windows.first().copied() else {
        return Moment { active: schedules.is_empty(), next_change: None };
    };
    let active = from <= now;
    let change = if active { until } else { from };
    Moment { active, next_change: (change < horizon(now)).then_some(change) }
}

/// Times at which one of the schedules holds, from `now` to two weeks later: disjoint, in order.
#[must_use]
pub fn windows(schedules: &[Schedule], now: WallTime) -> Vec<Window> {
    let end = horizon(now);
    let mut all: Vec<Window> = Vec::new();
    if schedules.is_empty() {
        all.push((now, end));
    }
    for schedule in schedules {
        match schedule {
            Schedule::Always => all.push((now, end)),
            Schedule::Weekly(weekly) => weekly.windows(now, &mut all),
        }
    }
    all.retain(|(from, until)| from < until && *until > now && *from < end);
    all.sort_unstable();
    let mut merged: Vec<Window> = Vec::new();
    for (from, until) in all {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => merged.push((from, until)),
        }
    }
    merged
}

/// A time as people read it, in UTC.
#[must_use]
pub fn utc(at: WallTime) -> String {
    let at = Timestamp::from_nanosecond(i128::from(at.0));
    at.map_or_else(|_| "a time that is too far away".to_owned(), |at| at.to_string())
}

fn horizon(now: WallTime) -> WallTime {
    WallTime(now.0.saturating_add(u64::from(HORIZON_DAYS) * 86_400_000_000_000))
}

impl Schedule {
    /// Whether it holds at any time.
    #[must_use]
    pub fn is_always(&self) -> bool {
        *self == Self::Always
    }

    /// Parses its text form.
    ///
    /// # Errors
    /// The part that is wrong, and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |fault: String| format!("schedule '{text}': {fault}");
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [word] if word.eq_ignore_ascii_case("always") => Ok(Self::Always),
            [days, hours, zone] => {
                let days = parse_days(days).map_err(fault)?;
                let (begin, end) = parse_hours(hours).map_err(fault)?;
                let zone = parse_zone(zone).map_err(fault)?;
                Ok(Self::Weekly(Weekly { days, begin, end, zone }))
            }
            [_, _] => Err(fault(
                "the time zone is missing; add one, such as 'UTC' or 'Europe/Berlin'".to_owned(),
            )),
            _ => Err(fault(
                "expected 'always', or days, hours and a time zone as in 'weekdays 08:00-20:00 Europe/Berlin'"
                    .to_owned(),
            )),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Weekly(weekly) = self else { return f.write_str("always") };
        let days = match weekly.days {
            DAILY => "daily".to_owned(),
            WEEKDAYS => "weekdays".to_owned(),
            WEEKENDS => "weekends".to_owned(),
            some => {
                let days = DAYS.iter().enumerate().filter(|(at, _)| some & (1 << at) != 0);
                days.map(|(_, name)| &name[..3]).collect::<Vec<_>>().join(",")
            }
        };
        let (begin, end) = (weekly.begin, weekly.end);
        write!(f, "{days} {:02}:{:02}-", begin / 60, begin % 60)?;
        write!(f, "{:02}:{:02} {}", end / 60, end % 60, weekly.zone.iana_name().unwrap_or("UTC"))
    }
}

impl Weekly {
    fn windows(&self, now: WallTime, out: &mut Vec<Window>) {
        let Ok(now) = i64::try_from(now.0 / 1_000_000_000) else { return };
        let Ok(now) = Timestamp::from_second(now) else { return };
        let today = self.zone.to_datetime(now).date();
        // A day that a change of the clock left out may lie between the beginning and now.
        for offset in -3..=i32::from(HORIZON_DAYS) {
            let Ok(day) = today.checked_add(jiff::Span::new().days(offset)) else { continue };
            if self.days & (1 << day.weekday().to_monday_zero_offset()) == 0 {
                continue;
            }
            let begin = local(day, self.begin).and_then(|at| self.first(at));
            let last = if self.end <= self.begin { day.tomorrow().ok() } else { Some(day) };
            let end = last.and_then(|day| local(day, self.end)).and_then(|at| self.last(at));
            out.extend(begin.zip(end));
        }
    }

    /// When the local clock first shows `at` or more.
    fn first(&self, at: DateTime) -> Option<WallTime> {
        match self.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => wall(offset.to_timestamp(at).ok()?),
            AmbiguousOffset::Fold { before, .. } => wall(before.to_timestamp(at).ok()?),
            AmbiguousOffset::Gap { after, .. } => self.gap(after.to_timestamp(at).ok()?),
        }
    }

    /// When the local clock no longer shows less than `at`.
    fn last(&self, at: DateTime) -> Option<WallTime> {
        let is_repeated = |at: DateTime| {
            let offset = self.zone.to_ambiguous_timestamp(at).offset();
            matches!(offset, AmbiguousOffset::Fold { .. })
        };
        match self.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => wall(offset.to_timestamp(at).ok()?),
            AmbiguousOffset::Fold { before, after } => {
                let minute_before = at.checked_sub(jiff::Span::new().minutes(1)).ok()?;
                let offset = if is_repeated(minute_before) { after } else { before };
                wall(offset.to_timestamp(at).ok()?)
            }
            AmbiguousOffset::Gap { after, .. } => self.gap(after.to_timestamp(at).ok()?),
        }
    }

    /// When the clock is put forward, a little after `before`.
    fn gap(&self, before: Timestamp) -> Option<WallTime> {
        wall(self.zone.following(before).next()?.timestamp())
    }
}

/// So many minutes after the midnight with which a day begins.
fn local(day: Date, minutes: i16) -> Option<DateTime> {
    if minutes == 1440 {
        return Some(day.tomorrow().ok()?.to_datetime(Time::midnight()));
    }
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    Some(day.at(hour, minute, 0, 0))
}

fn wall(at: Timestamp) -> Option<WallTime> {
    Some(WallTime(u64::try_from(at.as_nanosecond().max(0)).ok()?))
}

fn parse_days(text: &str) -> Result<u8, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "daily" => return Ok(DAILY),
        "weekdays" => return Ok(WEEKDAYS),
        "weekends" => return Ok(WEEKENDS),
        _ => {}
    }
    let number = |day: &str| {
        let known = DAYS.iter().position(|known| *known == day || known[..3] == *day);
        known.ok_or_else(|| {
            format!(
                "'{day}' is no day; expected 'daily', 'weekdays', 'weekends', or days as in 'mon,wed' or 'mon-fri'"
            )
        })
    };
    let mut days = 0;
    for part in lower.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (mut day, to) = (number(from)?, number(to)?);
        while day != to {
            days |= 1 << day;
            day = (day + 1) % 7;
        }
        days |= 1 << to;
    }
    Ok(days)
}

fn parse_hours(text: &str) -> Result<(i16, i16), String> {
    let fault = || format!("'{text}' are no hours; expected HH:MM-HH:MM, from 00:00 to 24:00");
    let minutes = |text: &str| {
        let (hour, minute) = text.split_once(':').ok_or_else(fault)?;
        let number = |digits: &str| match digits.as_bytes() {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
                Ok(i16::from(tens - b'0') * 10 + i16::from(ones - b'0'))
            }
            _ => Err(fault()),
        };
        let (hour, minute) = (number(hour)?, number(minute)?);
        let sum = hour * 60 + minute;
        if minute < 60 && sum <= 1440 { Ok(sum) } else { Err(fault()) }
    };
    let (begin, end) = text.split_once('-').ok_or_else(fault)?;
    let (begin, end) = (minutes(begin)?, minutes(end)?);
    if begin == 1440 {
        return Err(format!("'{text}': hours that begin at 24:00 are to be written with 00:00"));
    }
    if begin == end {
        return Err(format!("'{text}' are no hours at all; a whole day is 00:00-24:00"));
    }
    // The end of the next day's first moment, and of this day's last one, are the same.
    Ok((begin, if end == 0 { 1440 } else { end }))
}

fn parse_zone(text: &str) -> Result<TimeZone, String> {
    let zone = TimeZoneDatabase::bundled().get(text).ok().filter(|zone| !zone.is_unknown());
    zone.ok_or_else(|| {
        format!(
            "'{text}' is no known time zone; expected a name of the IANA database, such as 'UTC' or 'Europe/Berlin'"
        )
    })
}
