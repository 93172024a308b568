//! The task that a word means: its id, its name, or the beginning of one of them.

use super::known::{one_agent, one_framework};
use super::lists::{framework_arg, word};
use super::{items, text};
use crate::operator_client::{Failure, OperatorClient, escaped};
use clap::{Arg, ArgMatches};
use serde_json::Value;

/// Tasks that are named when a word means several.
const SHOWN_MAX: usize = 10;

/// The task that a command is about, and the framework that it is of.
pub(super) fn args() -> [Arg; 2] {
    [
        Arg::new("task")
            .value_name("TASK")
            .required(true)
            .help("The task: id, name, or the beginning of one of them"),
        framework_arg(),
    ]
}

/// Which tasks are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that have not ended.
    Open,
    /// Those that have ended as well.
    All,
}

/// The task that is asked for, as `/tasks` shows it.
///
/// # Errors
/// When there is none, or there are several.
pub(super) async fn task(
    client: &OperatorClient,
    matches: &ArgMatches,
    which: Which,
) -> Result<Value, Failure> {
    let framework = framework(client, matches).await?;
    let name = word(matches, "task").unwrap_or_default();
    find(client, name, framework.as_deref(), which).await
}

/// The same with a word and the id of a framework.
pub(super) async fn find(
    client: &OperatorClient,
    word: &str,
    framework: Option<&str>,
    which: Which,
) -> Result<Value, Failure> {
    let of = framework.map(|id| format!("&framework_id={}", escaped(id))).unwrap_or_default();
    let open = if which == Which::Open { "&active=true" } else { "" };
    let ask = format!("/tasks?detail=true&limit={}{of}{open}", SHOWN_MAX + 1);
    let by_id = client.get(&format!("{ask}&task_id={}", escaped(word))).await?;
    let found = items(&by_id["tasks"]).to_vec();
    if !found.is_empty() {
        return newest(word, found);
    }
    let begins = client.get(&format!("{ask}&match={}", escaped(word))).await?;
    let mut found = items(&begins["tasks"]).to_vec();
    if found.iter().any(|task| text(task, "name") == word) {
        found.retain(|task| text(task, "name") == word);
    }
    if found.is_empty() {
        return Err(none(word, which));
    }
    // Tasks that had the same id one after the other count as one.
    if found.iter().all(|task| task["id"] == found[0]["id"]) {
        return newest(word, found);
    }
    Err(several(word, &found))
}

/// Of tasks with one id: the one that runs, else the newest.
fn newest(word: &str, mut found: Vec<Value>) -> Result<Value, Failure> {
    let open = found.iter().filter(|task| !has_ended(task)).count();
    match open {
        0 => Ok(found.swap_remove(0)),
        1 => found.into_iter().find(|task| !has_ended(task)).ok_or_else(|| none(word, Which::All)),
        _ => {
            found.retain(|task| !has_ended(task));
            Err(several(word, &found))
        }
    }
}

fn none(word: &str, which: Which) -> Failure {
    Failure::failed(match which {
        Which::Open => format!("no task '{word}' runs; `proffer tasks` lists those that do"),
        Which::All => format!("there is no task '{word}'; `proffer tasks --all` lists them"),
    })
}

fn several(word: &str, found: &[Value]) -> Failure {
    let shown = found.iter().take(SHOWN_MAX).map(|task| {
        let (id, name, framework) =
            (text(task, "id"), text(task, "name"), text(task, "framework_id"));
        let name = if name.is_empty() || name == id { String::new() } else { format!(" ({name})") };
        format!("  {id}{name}, {} of framework {framework}\n", text(task, "state"))
    });
    let shown: String = shown.collect();
    let more = if found.len() > SHOWN_MAX { "  and others\n" } else { "" };
    Failure::usage(
        format!(
            "'{word}' means several tasks; give more of the id, or --framework:\n{shown}{more}"
        )
        .trim_end()
        .to_owned(),
    )
}

/// Whether a task is over.
pub(super) fn has_ended(task: &Value) -> bool {
    let state = wire::v1::TaskState::from_str_name(text(task, "state"));
    state.is_some_and(master_core::is_terminal)
}

/// Where the agent with an id answers: `host:port`; None when it is not registered.
pub(super) async fn address(client: &OperatorClient, id: &str) -> Result<Option<String>, Failure> {
    let slaves = client.get(&format!("/slaves?slave_id={}", escaped(id))).await?;
    let agent = items(&slaves["slaves"]).iter().find(|agent| text(agent, "id") == id);
    let address = agent.and_then(|agent| text(agent, "pid").split_once('@'));
    Ok(address.map(|(_, address)| address.to_owned()))
}

/// The id of the agent that `--agent` means.
pub(super) async fn agent(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<Option<String>, Failure> {
    match word(matches, "agent") {
        Some(word) => Ok(Some(one_agent(client, word).await?.id)),
        None => Ok(None),
    }
}

/// The id of the framework that `--framework` means.
pub(super) async fn framework(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<Option<String>, Failure> {
    match word(matches, "framework") {
        Some(word) => Ok(Some(one_framework(client, word).await?.id)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(id: &str, framework: &str, state: &str) -> Value {
        json!({"id": id, "name": "n", "framework_id": framework, "state": state})
    }

    #[test]
    fn of_one_id_the_one_that_runs_is_meant_else_the_newest() {
        let (old, new) = (task("t", "f1", "TASK_FAILED"), task("t", "f2", "TASK_FINISHED"));
        let runs = task("t", "f3", "TASK_RUNNING");
        assert_eq!(newest("t", vec![new.clone(), old.clone()]), Ok(new.clone()));
        assert_eq!(newest("t", vec![new, runs.clone(), old]), Ok(runs.clone()));
        let both = newest("t", vec![runs, task("t", "f4", "TASK_STAGING")]);
        let text = "'t' means several tasks; give more of the id, or --framework:\n  \
                    t (n), TASK_RUNNING of framework f3\n  t (n), TASK_STAGING of framework f4";
        assert_eq!(both, Err(Failure::usage(text)));
    }
}
