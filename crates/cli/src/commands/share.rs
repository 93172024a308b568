//! `proffer share`: parts of the cluster that are guaranteed to roles, always or by a schedule.

use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use base::WallTime;
use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use master_core::schedule::{self, Schedule};
use serde_json::{Map, Value, json};

const EXAMPLES: &str = "\
Examples:
  proffer share list
  proffer share set ads cpus=20% mem=20%
  proffer share set ads cpus=20% gpus=4 --when 'weekdays 08:00-20:00 Europe/Berlin'
  proffer share set batch cpus=50% --when 'daily 22:00-06:00 UTC' --when 'sat,sun 00:00-24:00 UTC'
  proffer share remove ads
";

pub(crate) fn command() -> Command {
    let role = || Arg::new("role").value_name("ROLE").required(true).help("The role");
    let parts = Arg::new("parts")
        .value_name("NAME=SHARE")
        .required(true)
        .num_args(1..)
        .help("Resources: a percentage of the cluster (cpus=20%) or an amount (gpus=4)");
    let when = Arg::new("when")
        .long("when")
        .value_name("SCHEDULE")
        .action(ArgAction::Append)
        .help("Days, hours and a time zone; may be given several times [always]");
    let force = Arg::new("force")
        .long("force")
        .action(ArgAction::SetTrue)
        .help("Promise it even if the cluster has not so much");
    Command::new("share")
        .about("Parts of the cluster that are guaranteed to roles: list, set, remove")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Lists all shares"))
        .subcommand(
            Command::new("set")
                .about("Sets the share of a role, in place of the one it had")
                .args([role(), parts, when, force])
                .after_help(EXAMPLES),
        )
        .subcommand(Command::new("remove").about("Ends the share of a role").arg(role()))
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let role =
        |matches: &ArgMatches| matches.get_one::<String>("role").cloned().unwrap_or_default();
    match matches.subcommand() {
        Some(("set", matches)) => {
            let body = body(&role(matches), matches)?;
            let set = client.json(Method::PUT, "/shares", Some(&body)).await;
            set.map_err(Failure::naming_force)?;
        }
        Some(("remove", matches)) => {
            let path = format!("/shares?role={}", escaped(&role(matches)));
            client.json(Method::DELETE, &path, None).await?;
        }
        _ => {}
    }
    let shares = client.get("/shares").await?;
    Ok(if wants_json(matches) { pretty(&shares) } else { table(&shares) })
}

fn body(role: &str, matches: &ArgMatches) -> Result<Value, Failure> {
    let (mut percent, mut amounts) = (Map::new(), Map::new());
    for part in matches.get_many::<String>("parts").into_iter().flatten() {
        let (name, number, is_percent) = share(part)?;
        let into = if is_percent { &mut percent } else { &mut amounts };
        if into.insert(name.to_owned(), json!(number)).is_some() {
            return Err(Failure::usage(format!("'{name}' is given twice")));
        }
    }
    let mut schedule = Vec::new();
    for text in matches.get_many::<String>("when").into_iter().flatten() {
        let parsed = Schedule::parse(text).map_err(|e| Failure::usage(format!("--when: {e}")))?;
        schedule.push(parsed.to_string());
    }
    Ok(json!({
        "role": role,
        "percent": percent,
        "amounts": amounts,
        "schedule": schedule,
        "force": matches.get_flag("force"),
    }))
}

/// `NAME=NUMBER` or `NAME=NUMBER%`: name, number, whether it is a percentage.
fn share(text: &str) -> Result<(&str, f64, bool), Failure> {
    let fault = || {
        Failure::usage(format!(
            "'{text}': expected a percentage of the cluster as cpus=20% or an amount as gpus=4"
        ))
    };
    let (name, value) = text.split_once('=').ok_or_else(fault)?;
    let digits = value.strip_suffix('%');
    let number: f64 = digits.unwrap_or(value).trim_end().parse().map_err(|_| fault())?;
    if name.is_empty() || !number.is_finite() || number <= 0.0 {
        return Err(fault());
    }
    Ok((name, number, digits.is_some()))
}

fn table(shares: &Value) -> String {
    let mut table = TextTable::new(["ROLE", "SHARE", "WHEN", "NOW", "GUARANTEED NOW"]);
    for share in items(&shares["shares"]) {
        let parts = [pairs(&share["percent"], "%"), pairs(&share["amounts"], "")];
        let schedule = items(&share["schedule"]).iter().filter_map(Value::as_str);
        table.row([
            text(share, "role").to_owned(),
            parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" "),
            schedule.collect::<Vec<_>>().join("; "),
            state(share),
            pairs(&share["guarantee"], ""),
        ]);
    }
    if table.is_empty() { "No role has a share.\n".to_owned() } else { table.to_string() }
}

fn pairs(amounts: &Value, unit: &str) -> String {
    let pairs = amounts.as_object().into_iter().flatten();
    let pairs = pairs.filter_map(|(name, value)| Some(format!("{name}={}{unit}", value.as_f64()?)));
    pairs.collect::<Vec<_>>().join(" ")
}

fn state(share: &Value) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "schedules change at whole seconds of our century"
    )]
    let next = share["next_change"]
        .as_f64()
        .map(|seconds| schedule::utc(WallTime(seconds as u64 * 1_000_000_000)));
    match (share["active"] == true, next) {
        (true, None) => "holds".to_owned(),
        (true, Some(end)) => format!("holds until {end}"),
        (false, None) => "does not hold".to_owned(),
        (false, Some(begin)) => format!("begins {begin}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_an_amount() {
        assert_eq!(share("cpus=20%"), Ok(("cpus", 20.0, true)));
        assert_eq!(share("gpus=0.5"), Ok(("gpus", 0.5, false)));
        for wrong in ["cpus", "cpus=", "=1", "cpus=%", "cpus=x", "cpus=0", "cpus=-1%", "cpus=inf"] {
            assert!(matches!(share(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn the_table_says_what_holds_now_and_what_comes() {
        let share = |active: bool, next: Value| {
            json!({"role": "ads", "percent": {"cpus": 20.5}, "amounts": {"gpus": 4.0},
                "schedule": ["daily 08:00-20:00 UTC"], "active": active, "next_change": next,
                "guarantee": if active { json!({"cpus": 82.0, "gpus": 4.0}) } else { json!({}) }})
        };
        let shares =
            json!({"shares": [share(true, json!(1_782_500_400.0)), share(false, json!(null))]});
        let lines = [
            "ROLE  SHARE              WHEN                   NOW                               GUARANTEED NOW",
            "ads   cpus=20.5% gpus=4  daily 08:00-20:00 UTC  holds until 2026-06-26T19:00:00Z  cpus=82 gpus=4",
            "ads   cpus=20.5% gpus=4  daily 08:00-20:00 UTC  does not hold                     -",
            "",
        ];
        assert_eq!(table(&shares), lines.join("\n"));
        assert_eq!(table(&json!({"shares": []})), "No role has a share.\n");
    }
}
