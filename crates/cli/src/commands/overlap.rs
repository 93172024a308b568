//! `proffer overlap`: to how many frameworks at a time the same resources are offered.

use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use allocator::Overlap;
use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  proffer overlap list
  proffer overlap set analytics all
  proffer overlap set web 3
  proffer overlap set '*' 1
  proffer overlap remove analytics
";

pub(crate) fn command() -> Command {
    let role = || Arg::new("role").value_name("ROLE").required(true);
    let overlap = Arg::new("overlap")
        .value_name("N|all")
        .required(true)
        .help("Frameworks that may be offered the same at a time: 1 is disjoint offers");
    Command::new("overlap")
        .about("To how many frameworks at a time the same is offered: list, set, remove")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Lists the overlaps of roles"))
        .subcommand(
            Command::new("set")
                .about("Sets the overlap of a role and of those below it without one")
                .arg(role().help("The role, or * for all roles without one"))
                .arg(overlap)
                .after_help(EXAMPLES),
        )
        .subcommand(
            Command::new("remove")
                .about("Takes back what was set: --offer_overlap holds again")
                .arg(role().help("The role")),
        )
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let word = |matches: &ArgMatches, name: &str| {
        matches.get_one::<String>(name).cloned().unwrap_or_default()
    };
    match matches.subcommand() {
        Some(("set", matches)) => {
            let overlap: Overlap = word(matches, "overlap").parse().map_err(Failure::Usage)?;
            let body = json!({"role": word(matches, "role"), "overlap": overlap.to_string()});
            client.json(Method::PUT, "/offer-overlap", Some(&body)).await?;
        }
        Some(("remove", matches)) => {
            let path = format!("/offer-overlap?role={}", escaped(&word(matches, "role")));
            client.json(Method::DELETE, &path, None).await?;
        }
        _ => {}
    }
    let overlaps = client.get("/offer-overlap").await?;
    Ok(if wants_json(matches) { pretty(&overlaps) } else { table(&overlaps) })
}

fn table(overlaps: &Value) -> String {
    let mut table = TextTable::new(["ROLE", "OVERLAP", "MEANS"]);
    for one in items(&overlaps["overlaps"]) {
        let (number, means) = match one["overlap"].as_u64() {
            Some(1) => ("1".to_owned(), "disjoint offers".to_owned()),
            Some(n) => {
                (n.to_string(), format!("{n} frameworks see the same, the first to accept has it"))
            }
            None => ("all".to_owned(), "shared state: everybody sees all that is free".to_owned()),
        };
        table.row([text(one, "role").to_owned(), number, means]);
    }
    if table.is_empty() {
        "Offers of all roles are disjoint.\n".to_owned()
    } else {
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_an_overlap_means() {
        let overlaps = json!({"overlaps": [{"role": "*", "overlap": 1},
            {"role": "analytics", "overlap": "all"}, {"role": "web", "overlap": 3}]});
        let lines = [
            "ROLE       OVERLAP  MEANS",
            "*          1        disjoint offers",
            "analytics  all      shared state: everybody sees all that is free",
            "web        3        3 frameworks see the same, the first to accept has it",
            "",
        ];
        assert_eq!(table(&overlaps), lines.join("\n"));
        assert_eq!(table(&json!({"overlaps": []})), "Offers of all roles are disjoint.\n");
    }
}
