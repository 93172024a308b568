//! Which program this is: `/version` and GET_VERSION.

use serde_json::{Value, json};
use wire::v1;

/// Version of the interfaces that are spoken.
pub const VERSION: &str = "1.12.0";

/// What is known of this build. Facts of git are missing in a build without it.
#[must_use]
pub fn info() -> v1::VersionInfo {
    let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let time: Option<u64> = env!("PROFFER_BUILD_TIME").parse().ok();
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
    let seconds = time.map(|t| t as f64);
    v1::VersionInfo {
        version: VERSION.to_owned(),
        build_date: Some(time.map_or_else(|| "unknown".to_owned(), date)),
        build_time: Some(seconds.unwrap_or(0.0)),
        build_user: Some(known(env!("PROFFER_BUILD_USER")).unwrap_or_else(|| "unknown".to_owned())),
        git_sha: known(env!("PROFFER_GIT_SHA")),
        git_branch: known(env!("PROFFER_GIT_BRANCH")),
        git_tag: known(env!("PROFFER_GIT_TAG")),
    }
}

/// The same as the v0 endpoints print it; also the first fields of `/state`.
#[must_use]
pub fn json() -> Value {
    let info = info();
    let mut out = json!({
        "version": info.version,
        "build_date": info.build_date,
        "build_time": info.build_time,
        "build_user": info.build_user,
    });
    for (name, value) in
        [("git_sha", info.git_sha), ("git_branch", info.git_branch), ("git_tag", info.git_tag)]
    {
        if let Some(value) = value {
            out[name] = json!(value);
        }
    }
    out
}

/// Seconds since 1970 as `2025-01-02 03:04:05` in UTC.
fn date(seconds: u64) -> String {
    let (days, time) = (seconds / 86400, seconds % 86400);
    // Days since 0000-03-01, in eras of 400 years (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(1_735_787_045), "2025-01-02 03:04:05");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(date(4_107_542_399), "2100-02-28 23:59:59");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00");
    }
}
