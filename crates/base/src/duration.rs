//! Durations in the peer's text form: `10secs`, `1.5mins`, `2weeks`.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("weeks", 604_800_000_000_000),
    ("days", 86_400_000_000_000),
    ("hrs", 3_600_000_000_000),
    ("mins", 60_000_000_000),
    ("secs", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Prints with the largest unit of which there is at least one.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let (name, size) = UNITS.iter().find(|(_, size)| nanos >= *size).unwrap_or(&UNITS[7]);
    if nanos % size == 0 {
        return format!("{}{name}", nanos / size);
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a text for people and for programs that read it as a double"
    )]
    let value = nanos as f64 / *size as f64;
    format!("{value}{name}")
}

/// Parses a number with a unit.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let bad = || {
        format!(
            "expected a number with a unit (ns, us, ms, secs, mins, hrs, days, weeks), got '{text}'"
        )
    };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    let number: f64 = number.trim().parse().map_err(|_| bad())?;
    #[expect(clippy::cast_precision_loss, reason = "units are small")]
    let nanos = number * *size as f64;
    if !(0.0..9.2e18).contains(&nanos) {
        return Err(bad());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(Duration::from_nanos(nanos.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for text in ["0ns", "5secs", "15mins", "1weeks", "1.5mins", "250ms", "10mins", "2days"] {
            assert_eq!(format(parse(text).expect("a duration")), text);
        }
        assert_eq!(parse("90secs"), Ok(Duration::from_secs(90)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "secs", "-1secs", "1 fortnight", "infsecs", "1e300weeks"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
