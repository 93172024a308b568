//! `proffer weight`: how large the fair share of a role is beside the others.

use super::{items, number, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  proffer weight list
  proffer weight set web=2 batch=0.5
";

pub(crate) fn command() -> Command {
    let pairs = Arg::new("weights")
        .value_name("ROLE=WEIGHT")
        .required(true)
        .num_args(1..)
        .help("Roles and their weights, above 0; 1 is the default");
    Command::new("weight")
        .about("How large the fair share of a role is beside others: list and set")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Lists the weights that were set"))
        .subcommand(Command::new("set").about("Sets weights").arg(pairs))
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    if let Some(("set", matches)) = matches.subcommand() {
        let pairs = matches.get_many::<String>("weights").into_iter().flatten();
        let pairs: Vec<(String, f64)> = pairs.map(|p| pair(p)).collect::<Result<_, _>>()?;
        let info = |(role, weight): &(String, f64)| json!({"role": role, "weight": weight});
        let infos: Value = pairs.iter().map(info).collect();
        client
            .call(&json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}}))
            .await?;
    }
    let weights = client.get("/weights").await?;
    if wants_json(matches) {
        return Ok(pretty(&weights));
    }
    let mut table = TextTable::new(["ROLE", "WEIGHT"]);
    for weight in items(&weights) {
        table.row([text(weight, "role").to_owned(), number(&weight["weight"])]);
    }
    Ok(if table.is_empty() { "All roles have weight 1.\n".to_owned() } else { table.to_string() })
}

/// `ROLE=WEIGHT`.
pub(crate) fn pair(text: &str) -> Result<(String, f64), Failure> {
    let fault = || {
        Failure::usage(format!("'{text}': expected ROLE=WEIGHT with a weight above 0, as web=2"))
    };
    let (role, weight) = text.split_once('=').ok_or_else(fault)?;
    let weight: f64 = weight.parse().map_err(|_| fault())?;
    if role.is_empty() || !weight.is_finite() || weight <= 0.0 {
        return Err(fault());
    }
    Ok((role.to_owned(), weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_role_and_a_number_above_zero() {
        assert_eq!(pair("a/b=2.5"), Ok(("a/b".to_owned(), 2.5)));
        for wrong in ["web", "web=", "=1", "web=0", "web=-1", "web=x", "web=inf", "web=NaN"] {
            assert!(matches!(pair(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
