//! `proffer tasks`: tasks, or everything about one of them.

use super::found::{self, Which};
use super::lists::{agent_arg, finished, framework_arg, limit_arg, limit_of, role_arg, word};
use super::{amounts, items, one, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use base::nearest;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use wire::v1::TaskState;

const EXAMPLES: &str = "\
Without --all or --state those that have not ended, the newest first.

Examples:
  proffer tasks --framework marathon
  proffer tasks --agent S3 --role web
  proffer tasks --state failed,lost --limit 20
  proffer tasks web-1                     everything about one: id, name, or the beginning of one
";

pub(crate) fn command() -> Command {
    Command::new("tasks")
        .about("Tasks: states, resources, where they run")
        .after_help(EXAMPLES)
        .args([
            Arg::new("task")
                .value_name("TASK")
                .help("Everything about this task: id, name, or the beginning of one of them"),
            framework_arg(),
            agent_arg(),
            role_arg(),
            Arg::new("state")
                .long("state")
                .value_name("STATE")
                .value_delimiter(',')
                .help("Only in these states, such as running or TASK_FAILED,lost"),
            limit_arg(),
            Arg::new("all").long("all").action(ArgAction::SetTrue).help("Those that ended as well"),
        ])
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    if matches.contains_id("task") {
        let task = found::task(client, matches, Which::All).await?;
        if wants_json(matches) {
            return Ok(pretty(&task));
        }
        return one::task(client, &task).await;
    }
    let limit = i64::try_from(limit_of(matches)).unwrap_or(-1);
    let mut query = format!("/tasks?limit={limit}");
    let mut only = |name: &str, value: &str| {
        query.push_str(&format!("&{name}={}", escaped(value)));
    };
    let states = states(matches)?;
    if !states.is_empty() {
        only("state", &states.join(","));
    } else if !matches.get_flag("all") {
        only("active", "true");
    }
    if let Some(id) = found::framework(client, matches).await? {
        only("framework_id", &id);
    }
    if let Some(id) = found::agent(client, matches).await? {
        only("agent_id", &id);
    }
    if let Some(role) = word(matches, "role") {
        only("role", role);
    }
    let answer = client.get(&query).await?;
    let list = json!({"tasks": answer["tasks"]});
    finished(matches, &list, &table(items(&answer["tasks"])), "There is no task.\n")
}

/// Tasks in lines.
pub(super) fn table(tasks: &[Value]) -> TextTable {
    let mut table =
        TextTable::new(["ID", "NAME", "STATE", "ROLE", "RESOURCES", "AGENT", "FRAMEWORK"]);
    for task in tasks {
        table.row([
            text(task, "id").to_owned(),
            text(task, "name").to_owned(),
            text(task, "state").to_owned(),
            text(task, "role").to_owned(),
            amounts(&task["resources"]),
            text(task, "slave_id").to_owned(),
            text(task, "framework_id").to_owned(),
        ]);
    }
    table
}

/// Names of the states that are asked for.
fn states(matches: &ArgMatches) -> Result<Vec<&'static str>, Failure> {
    let given = matches.get_many::<String>("state").into_iter().flatten();
    given.map(|word| state(word).map_err(Failure::Usage)).collect()
}

/// A state as users write it: `running`, `TASK_RUNNING`.
fn state(word: &str) -> Result<&'static str, String> {
    let upper = word.trim().to_uppercase();
    let short = upper.strip_prefix("TASK_").unwrap_or(&upper);
    if let Some(state) = TaskState::from_str_name(&format!("TASK_{short}")) {
        return Ok(state.as_str_name());
    }
    let known = (0..32).filter_map(|n| TaskState::try_from(n).ok());
    let known: Vec<String> =
        known.map(|state| state.as_str_name().trim_start_matches("TASK_").to_lowercase()).collect();
    let near = nearest(&short.to_lowercase(), known.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    Err(format!("--state: '{word}' is no state of a task{near}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_written_in_short_or_in_full() {
        for word in ["running", "TASK_RUNNING", "Running", "task_running"] {
            assert_eq!(state(word), Ok("TASK_RUNNING"));
        }
        assert_eq!(state("gone_by_operator"), Ok("TASK_GONE_BY_OPERATOR"));
        let error = "--state: 'runing' is no state of a task; did you mean 'running'?";
        assert_eq!(state("runing"), Err(error.to_owned()));
    }
}
