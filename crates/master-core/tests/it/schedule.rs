//! Schedules: text form, hours past midnight, clocks that are put forward and back.

use base::{Rng, WallTime};
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use master_core::schedule::{Schedule, at, windows};

fn wall(text: &str) -> WallTime {
    let at: Timestamp = text.parse().expect("a timestamp");
    WallTime(u64::try_from(at.as_nanosecond()).expect("after 1970"))
}

fn text(at: WallTime) -> String {
    Timestamp::from_nanosecond(i128::from(at.0)).expect("a time").to_string()
}

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).expect("a schedule")
}

/// Windows from midnight (UTC) of a day on, the first so many.
#[track_caller]
fn check(schedules: &[&str], from: &str, expected: &[(&str, &str)]) {
    let schedules: Vec<Schedule> = schedules.iter().map(|s| schedule(s)).collect();
    let found = windows(&schedules, wall(from));
    let found: Vec<_> =
        found.iter().take(expected.len()).map(|(a, b)| (text(*a), text(*b))).collect();
    let expected: Vec<_> =
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(found, expected);
}

/// Whether a schedule holds, and when that changes.
#[track_caller]
fn moment(schedules: &[&str], now: &str) -> (bool, Option<String>) {
    let schedules: Vec<Schedule> = schedules.iter().map(|s| schedule(s)).collect();
    let moment = at(&schedules, wall(now));
    (moment.active, moment.next_change.map(text))
}

#[test]
fn business_hours_follow_the_local_clock() {
    // Friday; Berlin is two hours ahead of UTC in summer, one in winter.
    let hours = ["weekdays 08:00-20:00 Europe/Berlin"];
    let soon = |at: &str| Some(at.to_owned());
    assert_eq!(moment(&hours, "2026-07-03T05:59:59Z"), (false, soon("2026-07-03T06:00:00Z")));
    assert_eq!(moment(&hours, "2026-07-03T06:00:00Z"), (true, soon("2026-07-03T18:00:00Z")));
    assert_eq!(moment(&hours, "2026-07-03T18:00:00Z"), (false, soon("2026-07-06T06:00:00Z")));
    assert_eq!(moment(&hours, "2026-01-05T07:00:00Z"), (true, soon("2026-01-05T19:00:00Z")));
}

#[test]
fn hours_past_midnight_belong_to_the_day_on_which_they_begin() {
    check(
        &["fri 22:00-06:00 UTC"],
        "2026-07-04T05:00:00Z",
        &[
            ("2026-07-03T22:00:00Z", "2026-07-04T06:00:00Z"),
            ("2026-07-10T22:00:00Z", "2026-07-11T06:00:00Z"),
        ],
    );
}

#[test]
fn windows_that_touch_or_overlap_are_one() {
    check(
        &["sat,sun 00:00-24:00 America/New_York"],
        "2026-07-03T00:00:00Z",
        &[
            ("2026-07-04T04:00:00Z", "2026-07-06T04:00:00Z"),
            ("2026-07-11T04:00:00Z", "2026-07-13T04:00:00Z"),
        ],
    );
    check(
        &["daily 08:00-12:00 UTC", "fri 11:00-15:00 UTC"],
        "2026-07-03T09:00:00Z",
        &[
            ("2026-07-03T08:00:00Z", "2026-07-03T15:00:00Z"),
            ("2026-07-04T08:00:00Z", "2026-07-04T12:00:00Z"),
        ],
    );
    let always = (true, None);
    assert_eq!(moment(&["daily 00:00-24:00 Europe/Berlin"], "2026-03-29T01:00:00Z"), always);
    assert_eq!(
        moment(&["daily 12:00-24:00 UTC", "daily 00:00-12:00 UTC"], "2026-01-01T00:00:00Z"),
        always
    );
    assert_eq!(moment(&["always", "fri 11:00-15:00 UTC"], "2026-01-01T00:00:00Z"), always);
    assert_eq!(moment(&[], "2026-01-01T00:00:00Z"), always);
}

/// On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00, at 01:00 UTC.
#[test]
fn hours_that_a_clock_put_forward_leaves_out_are_left_out() {
    let day = "2026-03-29T00:00:00Z";
    let check_one = |hours: &str, from: &str, until: &str| {
        check(&[&format!("sun {hours} Europe/Berlin")], day, &[(from, until)]);
    };
    check_one("01:30-03:30", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z");
    check_one("02:30-03:30", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z");
    check_one("01:30-02:30", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z");
    // All of it: the next one is a week later.
    check_one("02:10-02:50", "2026-04-05T00:10:00Z", "2026-04-05T00:50:00Z");
}

/// On 2026-10-25 the clocks of Berlin go from 03:00 back to 02:00, at 01:00 UTC.
#[test]
fn hours_that_a_clock_put_back_repeats_last_until_it_shows_their_end_for_good() {
    let day = "2026-10-24T23:00:00Z";
    let check_one = |hours: &str, from: &str, until: &str| {
        check(&[&format!("sun {hours} Europe/Berlin")], day, &[(from, until)]);
    };
    check_one("01:30-02:30", "2026-10-24T23:30:00Z", "2026-10-25T01:30:00Z");
    check_one("02:30-03:30", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z");
    check_one("01:00-02:00", "2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z");
    check_one("03:00-04:00", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z");
}

#[test]
fn a_day_that_a_country_left_out_has_no_hours() {
    // Samoa went from Thursday, 2011-12-29, to Saturday.
    check(
        &["fri 08:00-12:00 Pacific/Apia"],
        "2011-12-27T00:00:00Z",
        &[("2012-01-05T18:00:00Z", "2012-01-05T22:00:00Z")],
    );
    check(
        &["thu 20:00-08:00 Pacific/Apia"],
        "2011-12-28T00:00:00Z",
        &[("2011-12-30T06:00:00Z", "2011-12-30T10:00:00Z")],
    );
}

#[test]
fn what_is_no_schedule_is_refused_with_what_was_expected() {
    for (text, expected) in [
        ("", "schedule '': expected 'always', or days, hours and a time zone as in"),
        ("weekdays", "expected 'always', or days"),
        ("never", "expected 'always', or days"),
        ("weekdays 08:00-20:00", "the time zone is missing; add one, such as 'UTC'"),
        ("weekday 08:00-20:00 UTC", "'weekday' is no day; expected 'daily', 'weekdays'"),
        ("mon, 08:00-20:00 UTC", "'' is no day"),
        ("mon-xyz 08:00-20:00 UTC", "'xyz' is no day"),
        ("daily 8-20 UTC", "'8-20' are no hours; expected HH:MM-HH:MM"),
        ("daily 08:60-20:00 UTC", "are no hours"),
        ("daily 08:00-24:01 UTC", "are no hours"),
        ("daily 08:00-٢٠:00 UTC", "are no hours"),
        ("daily 08:00 UTC", "are no hours"),
        ("daily 24:00-06:00 UTC", "hours that begin at 24:00 are to be written with 00:00"),
        ("daily 08:00-08:00 UTC", "are no hours at all; a whole day is 00:00-24:00"),
        ("daily 08:00-20:00 Europe/Bärlin", "'Europe/Bärlin' is no known time zone"),
        ("daily 08:00-20:00 Etc/Unknown", "'Etc/Unknown' is no known time zone"),
        ("daily 08:00-20:00 UTC now", "expected 'always', or days"),
    ] {
        let error = Schedule::parse(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.starts_with(&format!("schedule '{text}': ")), "{error}");
    }
}

#[test]
fn a_schedule_is_printed_in_one_form() {
    for (text, printed) in [
        ("Always", "always"),
        ("mon-fri 08:00-20:00 europe/berlin", "weekdays 08:00-20:00 Europe/Berlin"),
        ("SAT,Sunday 00:00-00:00 utc", ""),
        ("SAT,Sunday 00:00-24:00 utc", "weekends 00:00-24:00 UTC"),
        ("sun-tue,thu 22:00-00:00 UTC", "mon,tue,thu,sun 22:00-24:00 UTC"),
        ("mon-sun 22:00-06:00 UTC", "daily 22:00-06:00 UTC"),
    ] {
        let parsed = Schedule::parse(text);
        assert_eq!(parsed.map(|s| s.to_string()).unwrap_or_default(), printed, "{text}");
    }
}

/// Days, hours and zone of a random schedule, and its text.
fn random(rng: &mut Rng, zones: &[&str]) -> (u8, i16, i16, String) {
    let days = 1 + rng.below(127) as u8;
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let list: Vec<_> = (0..7).filter(|d| days & (1 << d) != 0).map(|d| names[d]).collect();
    let (begin, mut end) = (rng.below(1440) as i16, 1 + rng.below(1440) as i16);
    if end == begin {
        end = 1440;
    }
    let zone = zones[rng.below(zones.len() as u64) as usize];
    let (h, m, hh, mm) = (begin / 60, begin % 60, end / 60, end % 60);
    (days, begin, end, format!("{} {h:02}:{m:02}-{hh:02}:{mm:02} {zone}", list.join(",")))
}

#[test]
fn what_is_printed_is_read_back() {
    let database = TimeZoneDatabase::bundled();
    let names: Vec<String> = database.available().map(|n| n.as_str().to_owned()).collect();
    let zones: Vec<&str> =
        names.iter().map(String::as_str).filter(|n| *n != "Etc/Unknown").collect();
    assert!(zones.len() > 400, "{}", zones.len());
    let mut rng = Rng::new(1);
    for _ in 0..500 {
        let (.., text) = random(&mut rng, &zones);
        let parsed = schedule(&text);
        assert_eq!(schedule(&parsed.to_string()), parsed, "{text}");
    }
}

/// Minute after minute: a schedule holds at least whenever the local clock shows one of its hours, and at other times
/// only on the day on which the clock was put back.
#[test]
fn a_schedule_holds_when_the_local_clock_says_so() {
    let zones = [
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",
        "Australia/Lord_Howe",
        "Africa/Cairo",
        "Asia/Kathmandu",
        "UTC",
        "Asia/Beirut",
    ];
    let mut rng = Rng::new(2);
    for round in 0..200 {
        let (days, begin, end, text) = random(&mut rng, &zones);
        let parsed = schedule(&text);
        let zone = text.rsplit(' ').next().expect("a zone");
        let zone = TimeZoneDatabase::bundled().get(zone).expect("a zone");
        // Around the change of clocks in spring or autumn of some year, or anywhere.
        let start = wall("2020-01-01T00:00:00Z").0 / 1_000_000_000 + rng.below(6 * 31_557_600);
        let start = Timestamp::from_second(i64::try_from(start).expect("small")).expect("a time");
        let near = zone.following(start).next().filter(|_| round % 4 != 0);
        let start = near.map_or(start, |t| t.timestamp()).as_second() / 60 * 60 - 86_400;
        let first = WallTime(u64::try_from(start).expect("after 1970") * 1_000_000_000);
        let windows = windows(std::slice::from_ref(&parsed), first);
        for minute in 0..3 * 1440 {
            let now = Timestamp::from_second(start + minute * 60).expect("a time");
            let local = zone.to_datetime(now);
            let day = local.date().weekday().to_monday_zero_offset();
            let shown = i16::from(local.hour()) * 60 + i16::from(local.minute());
            let on = |day: i8| days & (1 << day) != 0;
            let says = if begin < end {
                on(day) && (begin..end).contains(&shown)
            } else {
                on(day) && shown >= begin || on((day + 6) % 7) && shown < end
            };
            let now_wall = WallTime(u64::try_from(now.as_nanosecond()).expect("after 1970"));
            let active = windows.iter().any(|(from, until)| *from <= now_wall && now_wall < *until);
            assert!(active || !says, "{text} at {now} ({local})");
            if active && !says {
                let is_back = (-4..=4).any(|hours| {
                    let other = Timestamp::from_second(now.as_second() + hours * 3600).expect("it");
                    let shift = zone.to_offset(other).seconds() - zone.to_offset(now).seconds();
                    (hours > 0 && shift < 0) || (hours < 0 && shift > 0)
                });
                assert!(is_back, "{text} at {now} ({local}) holds, but should not");
            }
            if minute % 97 == 0 {
                let moment = at(std::slice::from_ref(&parsed), now_wall);
                assert_eq!(moment.active, active, "{text} at {now}");
                assert!(moment.next_change.is_none_or(|next| next > now_wall));
            }
        }
    }
}

#[test]
fn any_text_is_a_schedule_or_a_refusal() {
    let pieces = [
        "mon",
        "-",
        ",",
        "daily",
        " ",
        ":",
        "08",
        "24:00",
        "-",
        "UTC",
        "Europe/",
        "é",
        "\0",
        "always",
        "99999999999",
        "+1",
        "sun-mon",
    ];
    let mut rng = Rng::new(3);
    for _ in 0..20_000 {
        let count = rng.below(9);
        let text: String = (0..count).map(|_| pieces[rng.below(17) as usize]).collect();
        if let Ok(parsed) = Schedule::parse(&text) {
            assert_eq!(schedule(&parsed.to_string()), parsed, "{text}");
            let now = WallTime(rng.next_u64());
            assert!(
                at(std::slice::from_ref(&parsed), now).next_change.is_none_or(|next| next > now)
            );
        }
    }
}
