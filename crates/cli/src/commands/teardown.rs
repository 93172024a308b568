//! `proffer teardown`: ends a framework with all of its tasks.

use super::known::one_framework;
use super::lists::{open_tasks, word};
use super::{counted, harmless, items, pretty, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};

const EXAMPLES: &str = "\
All tasks and executors of the framework are killed, and it can't come back with its id.

Examples:
  proffer teardown marathon               asks first
  proffer teardown 0003 --yes
";

pub(crate) fn command() -> Command {
    Command::new("teardown")
        .about("Ends a framework with all of its tasks")
        .after_help(EXAMPLES)
        .args([
            Arg::new("framework")
                .value_name("FRAMEWORK")
                .required(true)
                .help("The framework: id, end of the id, or name"),
            Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask"),
        ])
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let known = one_framework(client, word(matches, "framework").unwrap_or_default()).await?;
    let query = format!("/frameworks?tasks=false&framework_id={}", escaped(&known.id));
    let answer = client.get(&query).await?;
    let tasks = items(&answer["frameworks"]).first().map_or(0, open_tasks);
    let what = counted(usize::try_from(tasks).unwrap_or(usize::MAX), "task");
    let shown = format!("framework '{}' ({}) with {what}", known.name, known.id);
    if !matches.get_flag("yes") && !is_confirmed(&shown)? {
        return Err(Failure::failed("nothing was torn down"));
    }
    let of = json!({"framework_id": {"value": known.id}});
    client.call(&json!({"type": "TEARDOWN", "teardown": of})).await?;
    if wants_json(matches) {
        return Ok(pretty(&json!({"id": known.id, "name": known.name, "tasks": tasks})));
    }
    Ok(format!("Torn down: {shown}.\n"))
}

/// Asks whoever sits at the terminal.
fn is_confirmed(shown: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let text = format!("{shown}: nobody can be asked here; --yes tears it down without");
        return Err(Failure::usage(text));
    }
    eprint!("Tear down {}? [y/N] ", harmless(shown));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| Failure::failed(e.to_string()))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
