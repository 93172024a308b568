//! `proffer maintenance`: when machines will be away, and which are down.

use super::machines::{self, Machine};
use super::times::{date, duration, moment, now};
use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const EXAMPLES: &str = "\
A machine with a window is DRAINING: frameworks that have something there are told, and decide. When it is brought down
its agents stop with all that they run, until it is brought up again.

Machines are named by host name, IP address or an agent; one without agents in full, as host@ip.

Examples:
  proffer maintenance schedule node7 node8 --start +2h --duration 4h
  proffer maintenance show
  proffer maintenance down node7
  proffer maintenance up node7
  proffer maintenance clear
";

pub(crate) fn command() -> Command {
    let machines = |least: usize| {
        Arg::new("machines")
            .value_name("MACHINE")
            .required(least > 0)
            .num_args(least..)
            .help("Host name, IP address, agent, or host@ip")
    };
    let start = Arg::new("start")
        .long("start")
        .value_name("TIME")
        .default_value("now")
        .help("When they will be away: now, +2h, or a date with time as 2026-11-22T03:00Z");
    let length = Arg::new("duration")
        .long("duration")
        .value_name("TIME")
        .help("For how long, as 90s, 30m, 4h or 2d; without it, for as long as it takes");
    Command::new("maintenance")
        .about("When machines will be away: show, schedule, down, up, clear")
        .after_help(EXAMPLES)
        .subcommand(Command::new("show").about("Shows windows, machines, and what frameworks say"))
        .subcommand(
            Command::new("schedule")
                .about("Gives machines a window; they leave the one they had")
                .args([machines(1), start, length])
                .after_help(EXAMPLES),
        )
        .subcommand(
            Command::new("down")
                .about("Stops the agents of machines with a window, with all that they run")
                .arg(machines(1)),
        )
        .subcommand(
            Command::new("up").about("Lets agents of machines register again").arg(machines(1)),
        )
        .subcommand(
            Command::new("clear")
                .about(
                    "Takes the window from machines that are not down; from all if none is named",
                )
                .arg(machines(0)),
        )
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    if let Some((what, matches)) = matches.subcommand().filter(|(what, _)| *what != "show") {
        change(client, what, matches).await?;
    }
    let schedule = client.get("/maintenance/schedule").await?;
    let status = client.get("/maintenance/status").await?;
    if wants_json(matches) {
        return Ok(pretty(&json!({"schedule": schedule, "status": status})));
    }
    let known = machines::known(client, &schedule).await?;
    Ok(table(&schedule, &status, &known))
}

async fn change(client: &OperatorClient, what: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let length = matches.try_get_one::<String>("duration").ok().flatten();
    let length = length.map(|text| duration(text)).transpose();
    let length = length.map_err(|e| Failure::usage(format!("--duration: {e}")))?;
    let start = matches.try_get_one::<String>("start").ok().flatten();
    let start = start.map(|text| moment(text, now())).transpose();
    let start = start.map_err(|e| Failure::usage(format!("--start: {e}")))?;
    let schedule = client.get("/maintenance/schedule").await?;
    let known = machines::known(client, &schedule).await?;
    let words = matches.get_many::<String>("machines").into_iter().flatten();
    let meant = machines::named(words, &known)?;
    let ids: Vec<Value> = meant.iter().map(Machine::id).collect();
    let next = match what {
        "down" | "up" => {
            let path = format!("/machine/{what}");
            let done = client.json(Method::POST, &path, Some(&json!(ids))).await;
            return done.map(drop).map_err(naming_commands);
        }
        "clear" if meant.is_empty() => json!({"windows": kept_down(client, &schedule).await?}),
        "clear" => {
            let unplanned = |m: &&Machine| !planned(&schedule).any(|id| m.is(id));
            if let Some(machine) = meant.iter().find(unplanned) {
                let name = format!("{}@{}", machine.hostname, machine.ip);
                return Err(Failure::failed(format!("machine {name} has no window")));
            }
            json!({"windows": without(&schedule, &meant)})
        }
        _ => {
            let mut windows = without(&schedule, &meant);
            let start = start.unwrap_or_else(now).as_nanosecond();
            let mut unavailability = json!({"start": {"nanoseconds": nanoseconds(start)}});
            if let Some(length) = length {
                let length = Duration::as_nanos(&length);
                let length = nanoseconds(i128::try_from(length).unwrap_or(i128::MAX));
                unavailability["duration"] = json!({"nanoseconds": length});
            }
            windows.push(json!({"machine_ids": ids, "unavailability": unavailability}));
            json!({"windows": windows})
        }
    };
    let done = client.json(Method::POST, "/maintenance/schedule", Some(&next)).await;
    done.map(drop).map_err(naming_commands)
}

fn nanoseconds(given: i128) -> i64 {
    i64::try_from(given).unwrap_or(if given < 0 { i64::MIN } else { i64::MAX })
}

/// The master's advice in the words of commands.
fn naming_commands(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(text) => Failure::failed(
            text.replace(
                "give it a window with UPDATE_MAINTENANCE_SCHEDULE first",
                "give it a window with `proffer maintenance schedule` first",
            )
            .replace(
                "bring it up, which removes it, or keep it in a window",
                "bring it up with `proffer maintenance up`, which removes it",
            )
            .replace("set a schedule without them", "use `proffer maintenance clear`"),
        ),
        usage @ Failure::Usage(_) => usage,
    }
}

fn planned(schedule: &Value) -> impl Iterator<Item = &Value> {
    items(&schedule["windows"]).iter().flat_map(|window| items(&window["machine_ids"]))
}

/// Windows without some machines.
fn without(schedule: &Value, machines: &[Machine]) -> Vec<Value> {
    keeping(schedule, |id| !machines.iter().any(|m| m.is(id)))
}

fn keeping(schedule: &Value, keep: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut windows: Vec<Value> = items(&schedule["windows"]).to_vec();
    for window in &mut windows {
        let ids = items(&window["machine_ids"]).iter().filter(|id| keep(id)).cloned();
        window["machine_ids"] = ids.collect();
    }
    windows.retain(|window| !items(&window["machine_ids"]).is_empty());
    windows
}

/// What is left when all windows go that may: machines that are down keep theirs.
async fn kept_down(client: &OperatorClient, schedule: &Value) -> Result<Vec<Value>, Failure> {
    let status = client.get("/maintenance/status").await?;
    let down = items(&status["down_machines"]);
    Ok(keeping(schedule, |id| down.contains(id)))
}

fn table(schedule: &Value, status: &Value, known: &[Machine]) -> String {
    let mut table =
        TextTable::new(["MACHINE", "IP", "MODE", "FROM", "FOR", "AGENTS", "FRAMEWORKS SAY"]);
    for window in items(&schedule["windows"]) {
        let unavailability = &window["unavailability"];
        let time = |of: &str| unavailability[of]["nanoseconds"].as_i64();
        let length = time("duration").map(|n| Duration::from_nanos(n.unsigned_abs()));
        for id in items(&window["machine_ids"]) {
            let is_down = items(&status["down_machines"]).contains(id);
            let machine = known.iter().find(|m| m.is(id));
            table.row([
                text(id, "hostname").to_owned(),
                text(id, "ip").to_owned(),
                if is_down { "DOWN" } else { "DRAINING" }.to_owned(),
                time("start").map(date).unwrap_or_default(),
                length.map(base::duration::format).unwrap_or_default(),
                machine.map_or(0, |m| m.agents.len()).to_string(),
                answers(status, id),
            ]);
        }
    }
    if table.is_empty() { "No maintenance is scheduled.\n".to_owned() } else { table.to_string() }
}

/// `1 ACCEPT, 2 DECLINE`.
fn answers(status: &Value, id: &Value) -> String {
    let draining = items(&status["draining_machines"]).iter().filter(|m| m["id"] == *id);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in draining.flat_map(|m| items(&m["statuses"])) {
        *counts.entry(text(answer, "status")).or_default() += 1;
    }
    let shown = counts.iter().map(|(what, count)| format!("{count} {what}"));
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Value {
        let id = |n: usize| json!({"hostname": format!("h{n}"), "ip": format!("10.0.0.{n}")});
        json!({"windows": [
            {"machine_ids": [id(1), id(2)], "unavailability":
                {"start": {"nanoseconds": 1_795_254_000_000_000_000_i64},
                 "duration": {"nanoseconds": 7_200_000_000_000_i64}}},
            {"machine_ids": [id(3)], "unavailability": {"start": {"nanoseconds": 0}}},
        ]})
    }

    #[test]
    fn the_table_says_what_is_planned_and_what_frameworks_say() {
        let status = json!({
            "draining_machines": [{"id": {"hostname": "h1", "ip": "10.0.0.1"}, "statuses":
                [{"status": "ACCEPT"}, {"status": "DECLINE"}, {"status": "ACCEPT"}]}],
            "down_machines": [{"hostname": "h2", "ip": "10.0.0.2"}],
        });
        let agents = vec!["c-S0".to_owned()];
        let known = [Machine { hostname: "H1".to_owned(), ip: "10.0.0.1".to_owned(), agents }];
        let lines = [
            "MACHINE  IP        MODE      FROM                     FOR   AGENTS  FRAMEWORKS SAY",
            "h1       10.0.0.1  DRAINING  2026-11-21 09:40:00 UTC  2hrs       1  2 ACCEPT, 1 DECLINE",
            "h2       10.0.0.2  DOWN      2026-11-21 09:40:00 UTC  2hrs       0  -",
            "h3       10.0.0.3  DRAINING  1970-01-01 00:00:00 UTC  -          0  -",
            "",
        ];
        assert_eq!(table(&schedule(), &status, &known), lines.join("\n"));
        assert_eq!(table(&json!({}), &json!({}), &[]), "No maintenance is scheduled.\n");
    }

    #[test]
    fn a_machine_leaves_its_window_and_an_empty_window_goes() {
        let third =
            Machine { hostname: "H3".to_owned(), ip: "10.0.0.3".to_owned(), agents: Vec::new() };
        let windows = without(&schedule(), &[third]);
        assert_eq!(windows, items(&schedule()["windows"])[..1]);
    }
}
