//! `proffer quota`: what roles are guaranteed, and what they may not exceed.

use super::{amounts, items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

const EXAMPLES: &str = "\
Examples:
  proffer quota list
  proffer quota set ads --guarantee cpus=20,mem=4096 --limit cpus=50
  proffer quota set ads --limit none
  proffer quota remove ads
`proffer simulate --set-quota …` says beforehand what a change does.
";

pub(crate) fn command() -> Command {
    let role = || Arg::new("role").value_name("ROLE").required(true).help("The role");
    let side = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NAME=AMOUNT,…|none").help(help)
    };
    let force = Arg::new("force")
        .long("force")
        .action(ArgAction::SetTrue)
        .help("Set it even if more is guaranteed than there is, or more used than allowed");
    Command::new("quota")
        .about("What roles are guaranteed and may not exceed: list, set, remove")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Lists all quotas, and what counts for them"))
        .subcommand(
            Command::new("set")
                .about("Sets guarantee, limit or both of a role; the other stays")
                .args([
                    role(),
                    side("guarantee", "What is kept for it, as cpus=10,mem=1024"),
                    side("limit", "What it may not exceed; what is not named has no limit"),
                    force,
                ])
                .after_help(EXAMPLES),
        )
        .subcommand(Command::new("remove").about("Ends the quota of a role").arg(role()))
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let role =
        |matches: &ArgMatches| matches.get_one::<String>("role").cloned().unwrap_or_default();
    match matches.subcommand() {
        Some(("set", matches)) => set(client, &role(matches), matches).await?,
        Some(("remove", matches)) => {
            let call = json!({"type": "REMOVE_QUOTA", "remove_quota": {"role": role(matches)}});
            client.call(&call).await?;
        }
        _ => {}
    }
    let roles = client.get("/roles").await?;
    let is_set = |q: &Value| [&q["guarantee"], &q["limit"]].iter().any(|m| !amounts(m).is_empty());
    let quotas: Vec<&Value> =
        items(&roles["roles"]).iter().map(|r| &r["quota"]).filter(|q| is_set(q)).collect();
    Ok(if wants_json(matches) { pretty(&json!({"quotas": quotas})) } else { table(&quotas) })
}

async fn set(client: &OperatorClient, role: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let given = |name: &str| {
        let text = matches.get_one::<String>(name);
        let amounts =
            text.map(|text| parse(text).map_err(|e| Failure::usage(format!("--{name}: {e}"))));
        amounts.transpose()
    };
    let (guarantee, limit) = (given("guarantee")?, given("limit")?);
    if guarantee.is_none() && limit.is_none() {
        return Err(Failure::usage("nothing to set: give --guarantee, --limit or both"));
    }
    let quotas = client.get("/quota").await?;
    let now = items(&quotas["configs"]).iter().find(|c| text(c, "role") == role);
    let side = |given: Option<Map<String, Value>>, field: &str| match given {
        Some(amounts) => Value::Object(amounts),
        None => now.map_or_else(|| json!({}), |config| config[field].clone()),
    };
    let config = json!({
        "role": role,
        "guarantees": side(guarantee, "guarantees"),
        "limits": side(limit, "limits"),
    });
    let update = json!({"force": matches.get_flag("force"), "quota_configs": [config]});
    let refused = client.call(&json!({"type": "UPDATE_QUOTA", "update_quota": update})).await;
    refused.map(drop).map_err(Failure::naming_force)
}

/// `cpus=10,mem=1024` as the wire has it; `none` is nothing.
fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let mut out = Map::new();
    for part in text.split(',').filter(|_| text != "none") {
        let pair = part.split_once('=').map(|(name, amount)| (name.trim(), amount.trim()));
        let pair = pair.and_then(|(name, amount)| Some((name, amount.parse::<f64>().ok()?)));
        match pair.filter(|(name, amount)| !name.is_empty() && amount.is_finite() && *amount >= 0.0)
        {
            Some((name, amount)) => {
                if out.insert(name.to_owned(), json!({"value": amount})).is_some() {
                    return Err(format!("'{name}' is given twice"));
                }
            }
            None => return Err(format!("'{part}': expected NAME=AMOUNT as cpus=10, or none")),
        }
    }
    Ok(out)
}

fn table(quotas: &[&Value]) -> String {
    let mut table = TextTable::new(["ROLE", "GUARANTEE", "LIMIT", "CONSUMED"]);
    for quota in quotas {
        table.row([
            text(quota, "role").to_owned(),
            amounts(&quota["guarantee"]),
            amounts(&quota["limit"]),
            amounts(&quota["consumed"]),
        ]);
    }
    if table.is_empty() { "No role has a quota.\n".to_owned() } else { table.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_names_and_numbers() {
        let parsed = parse("cpus=10, mem=0.5").expect("valid");
        assert_eq!(Value::Object(parsed), json!({"cpus": {"value": 10.0}, "mem": {"value": 0.5}}));
        assert_eq!(parse("none"), Ok(Map::new()));
        for wrong in ["", "cpus", "cpus=", "=1", "cpus=-1", "cpus=inf", "cpus=1,", "cpus=1,cpus=2"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
