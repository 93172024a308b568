//! Numbers, times and states as people read them.

use resources::Milli;
use wire::v1;

/// Thousands apart: `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Thousandths with as many decimals as there are: `0.25`, `12.5`, `1,200`.
#[must_use]
pub fn milli(milli: Milli) -> String {
    let sign = if milli < 0 { "-" } else { "" };
    let (whole, rest) = (milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
    let whole = count(whole);
    match rest {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{}", format!("{rest:03}").trim_end_matches('0')),
    }
}

/// A number of units in the largest unit of which there is one at least.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, saturates"
)]
fn scaled(number: f64, units: &[&str]) -> String {
    let (mut number, mut unit) = (number, 0);
    while number.abs() >= 1024.0 && unit + 1 < units.len() {
        number /= 1024.0;
        unit += 1;
    }
    let is_whole = (number - number.round()).abs() < 0.05;
    let text = match is_whole || number.abs() >= 100.0 {
        true => count(number.round() as u64),
        false => format!("{number:.1}"),
    };
    format!("{text} {}", units[unit])
}

/// Thousandths of MiB: `512 MiB`, `3.5 GiB`; nothing has no unit.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn mib(milli: Milli) -> String {
    if milli == 0 {
        return "0".to_owned();
    }
    scaled(milli as f64 / 1000.0, &["MiB", "GiB", "TiB", "PiB"])
}

/// Bytes: `17 B`, `1.5 KiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// An amount of a resource in its unit.
#[must_use]
pub fn amount(name: &str, amount: Milli) -> String {
    match name {
        "mem" | "disk" => mib(amount),
        _ => milli(amount),
    }
}

/// A part of a whole: `42%`; nothing of nothing is `0%`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "whole percents are shown")]
pub fn percent(part: Milli, whole: Milli) -> String {
    if whole <= 0 || part <= 0 {
        return "0%".to_owned();
    }
    share(part as f64 / whole as f64)
}

/// A share between 0 and 1 in percent; less than one is `<1%`.
#[must_use]
pub fn share(share: f64) -> String {
    match share * 100.0 {
        none if none <= 0.0 => "0%".to_owned(),
        little if little < 1.0 => "<1%".to_owned(),
        almost if almost > 99.0 && almost < 100.0 => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// How long something takes: `45 s`, `12 min`, `3 h 20 min`, `5 d`.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, saturates"
)]
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0 if seconds > 0.0 => format!("{:.0} ms", (seconds * 1000.0).max(1.0)),
        0..120 => format!("{whole} s"),
        120..7200 => format!("{} min", whole / 60),
        7200..172_800 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d", count(whole / 86_400)),
    }
}

/// How long ago: `just now`, `45 s ago`, `in 2 min`.
#[must_use]
pub fn ago(now: f64, at: f64) -> String {
    match now - at {
        past if past >= 1.0 => format!("{} ago", duration(past)),
        future if future <= -1.0 => format!("in {}", duration(-future)),
        _ => "just now".to_owned(),
    }
}

/// Seconds since 1970 as a date of UTC: `2026-11-21 20:41:45Z`.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "saturates; a date that is none is not shown")]
pub fn utc(at: f64) -> String {
    match jiff::Timestamp::from_second(at as i64) {
        Ok(time) => time.to_string().replacen('T', " ", 1),
        Err(_) => "an impossible time".to_owned(),
    }
}

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Not as it should be.
    Warn,
    /// Failed.
    Bad,
    /// Over, or of no concern.
    Quiet,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Busy => "busy",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
            Tone::Quiet => "quiet",
        }
    }
}

/// How good the state of a task is.
#[must_use]
pub fn task_tone(state: v1::TaskState) -> Tone {
    use v1::TaskState as S;
    match state {
        S::TaskRunning => Tone::Good,
        S::TaskStaging | S::TaskStarting | S::TaskKilling => Tone::Busy,
        S::TaskFinished | S::TaskKilled => Tone::Quiet,
        S::TaskUnreachable | S::TaskUnknown => Tone::Warn,
        S::TaskFailed
        | S::TaskLost
        | S::TaskError
        | S::TaskDropped
        | S::TaskGone
        | S::TaskGoneByOperator => Tone::Bad,
    }
}

/// Name of a task's state without its prefix, in small letters.
#[must_use]
pub fn task_state(state: v1::TaskState) -> String {
    words(state.as_str_name(), "TASK_")
}

/// A constant's name without its prefix, in small letters.
pub(crate) fn words(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).replace('_', " ").to_ascii_lowercase()
}
