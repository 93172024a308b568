//! What the user reads in the sandbox's standard error, in the form of the peer's logs.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Says what happens.
pub(crate) fn info(text: &str) {
    write('I', text);
}

/// Says what is not as it should be.
pub(crate) fn warn(text: &str) {
    write('W', text);
}

/// Says what failed.
pub(crate) fn error(text: &str) {
    write('E', text);
}

fn write(level: char, text: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = line(level, now.as_secs(), now.subsec_micros(), text);
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// One line: level, month and day, time (UTC), text.
fn line(level: char, secs: u64, micros: u32, text: &str) -> String {
    let (month, day) = month_and_day(secs / 86_400);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    format!(
        "{level}{month:02}{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} fetcher] {text}\n"
    )
}

/// Month and day of a day since 1970, by the 400-year cycle of the calendar that begins with March.
fn month_and_day(days: u64) -> (u64, u64) {
    let day_of_cycle = (days + 719_468) % 146_097;
    let year =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    (if march_month < 10 { march_month + 3 } else { march_month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_level_date_and_time() {
        assert_eq!(line('I', 0, 7, "x"), "I0101 00:00:00.000007 fetcher] x\n");
        assert_eq!(line('W', 951_782_399, 0, "x"), "W0228 23:59:59.000000 fetcher] x\n");
        assert_eq!(line('W', 951_782_400, 0, "x"), "W0229 00:00:00.000000 fetcher] x\n");
        assert_eq!(line('E', 1_795_260_600, 1, "x"), "E1121 11:30:00.000001 fetcher] x\n");
    }
}
