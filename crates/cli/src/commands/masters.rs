//! `proffer masters`: masters that replicate the registry among themselves.

use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
A new master is started first, with --coordination=raft and no --peers; it takes the registry over, and counts for
majorities then. A master that is removed is stopped first; of two masters one is removed first, and stopped then.

Examples:
  proffer masters
  proffer masters add 10.0.0.2:5050 10.0.0.3:5050
  proffer masters remove 10.0.0.2:5050
";

pub(crate) fn command() -> Command {
    let addresses = || {
        Arg::new("addresses").value_name("HOST:PORT").required(true).num_args(1..).help("Masters")
    };
    let change = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).arg(addresses()).after_help(EXAMPLES)
    };
    Command::new("masters")
        .about("Masters that replicate the registry among themselves: list, add, remove")
        .after_help(EXAMPLES)
        .subcommand(Command::new("list").about("Lists them"))
        .subcommand(change("add", "Adds masters that run"))
        .subcommand(change("remove", "Removes masters"))
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let masters = match matches.subcommand() {
        Some((what @ ("add" | "remove"), matches)) => {
            let addresses: Vec<&String> =
                matches.get_many("addresses").into_iter().flatten().collect();
            client.json(Method::POST, "/masters", Some(&json!({ what: addresses }))).await?
        }
        _ => client.get("/masters").await?,
    };
    Ok(if wants_json(matches) { pretty(&masters) } else { table(&masters) })
}

fn table(masters: &Value) -> String {
    let mut table = TextTable::new(["ADDRESS", "ROLE"]);
    for one in items(&masters["masters"]) {
        let role = match (one["leads"].as_bool(), one["votes"].as_bool()) {
            (Some(true), _) => "leads",
            (_, Some(true)) => "follows",
            _ => "takes the registry over, does not vote",
        };
        table.row([text(one, "address").to_owned(), role.to_owned()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_leads_and_who_votes() {
        let one =
            |address, leads, votes| json!({"address": address, "leads": leads, "votes": votes});
        let masters = json!({"masters": [one("a:1", true, true), one("b:1", false, true),
            one("c:1", false, false)]});
        let lines = [
            "ADDRESS  ROLE",
            "a:1      leads",
            "b:1      follows",
            "c:1      takes the registry over, does not vote",
            "",
        ];
        assert_eq!(table(&masters), lines.join("\n"));
    }
}
