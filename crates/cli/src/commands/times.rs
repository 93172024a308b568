//! Times and durations as people write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `90s`, `10m`, `2h`, `1d`, or as flags have it: `10mins`.
///
/// # Errors
/// What is expected.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('s') if !text.ends_with("ns") && !text.ends_with("us") && !text.ends_with("ms") => {
            "secs"
        }
        Some('m') => "mins",
        Some('h') => "hrs",
        Some('d') => "days",
        _ => "",
    };
    let short = text.strip_suffix(['s', 'm', 'h', 'd']);
    let short = short.filter(|n| n.ends_with(|c: char| c.is_ascii_digit()) && !unit.is_empty());
    let long = short.map_or_else(|| text.to_owned(), |number| format!("{number}{unit}"));
    base::duration::parse(&long)
        .map_err(|_| format!("'{text}': expected a time as 90s, 10m, 2h or 1d"))
}

/// `now`, `+2h`, or a date with time: `2026-11-22T03:00Z`; without a zone it is UTC.
///
/// # Errors
/// What is expected.
pub(crate) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let expected =
        || format!("'{text}': expected now, +2h, or a date with time as 2026-11-22T03:00Z");
    if text == "now" {
        return Ok(now);
    }
    if let Some(later) = text.strip_prefix('+') {
        let later = duration(later).ok().and_then(|d| SignedDuration::try_from(d).ok());
        return later.and_then(|d| now.checked_add(d).ok()).ok_or_else(expected);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let local = text.parse::<DateTime>().map_err(|_| expected())?;
    local.to_zoned(TimeZone::UTC).map(|z| z.timestamp()).map_err(|_| expected())
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    shown_at(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn shown_at(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Nanoseconds since 1970 as a date.
pub(crate) fn date(nanoseconds: i64) -> String {
    shown_at(nanoseconds).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_or_as_in_flags() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("5secs", 5), ("1.5mins", 90)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "5", "h", "-1s", "1y", "5 s"] {
            let error = duration(wrong).expect_err(wrong);
            assert!(error.contains("expected a time as 90s"), "{error}");
        }
    }

    #[test]
    fn moments_are_now_later_or_dates() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("now", "2026-11-21T10:00:00Z"),
            ("+2h", "2026-11-21T12:00:00Z"),
            ("2026-11-22T03:00Z", "2026-11-22T03:00:00Z"),
            ("2026-11-22T03:00:00+02:00", "2026-11-22T01:00:00Z"),
            ("2026-11-22T03:00", "2026-11-22T03:00:00Z"),
        ] {
            assert_eq!(moment(text, now).map(|t| t.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for wrong in ["", "later", "+", "+2", "tomorrow", "2026-13-01T00:00Z"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
        assert_eq!(date(1_795_254_000_500_000_000), "2026-11-21 09:40:00 UTC");
    }
}
