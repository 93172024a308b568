//! `proffer kill`: ends a task.

use super::found::{self, Which, has_ended};
use super::times::duration;
use super::{items, note, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const EXAMPLES: &str = "\
The task is asked to end, and is killed when it has not ended within its grace period. Its framework is told TASK_KILLED,
with a message that an operator did it, and may start another one: `proffer teardown` ends the framework.

Examples:
  proffer kill web-1
  proffer kill build-7 --grace 30s --wait
  proffer kill web --framework marathon
";

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn command() -> Command {
    Command::new("kill").about("Ends a task").after_help(EXAMPLES).args(found::args()).args([
        Arg::new("grace")
            .long("grace")
            .value_name("TIME")
            .help("Time that it has to end, as 90s or 10m; else what it says itself"),
        Arg::new("wait").long("wait").action(ArgAction::SetTrue).help("Wait until it has ended"),
    ])
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let grace = matches.get_one::<String>("grace").map(|text| duration(text)).transpose();
    let grace = grace.map_err(|e| Failure::usage(format!("--grace: {e}")))?;
    let task = found::task(client, matches, Which::Open).await?;
    let (id, framework) = (text(&task, "id"), text(&task, "framework_id"));
    let mut kill = json!({"framework_id": framework, "task_id": id});
    if let Some(grace) = grace {
        let nanoseconds = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX >> 1);
        kill["kill_policy"] = json!({"grace_period": {"nanoseconds": nanoseconds}});
    }
    client.json(Method::POST, "/kill-task", Some(&kill)).await?;
    let task = match matches.get_flag("wait") {
        true => wait(client, task.clone()).await?,
        false => task.clone(),
    };
    if wants_json(matches) {
        return Ok(pretty(&task));
    }
    let agent = text(&task, "slave_id");
    Ok(match has_ended(&task) {
        true => format!("Task {id} has ended: {}\n", text(&task, "state")),
        false => format!("Task {id} on agent {agent} is asked to end; --wait waits for it.\n"),
    })
}

/// Waits for the task's end.
async fn wait(client: &OperatorClient, mut task: Value) -> Result<Value, Failure> {
    let (id, framework) = (escaped(text(&task, "id")), escaped(text(&task, "framework_id")));
    let path = format!("/tasks?detail=true&limit=1&task_id={id}&framework_id={framework}");
    let mut said = String::new();
    while !has_ended(&task) {
        let answer = client.get(&path).await?;
        let now = items(&answer["tasks"]).first();
        task = now.cloned().ok_or_else(|| Failure::failed("the master has forgotten the task"))?;
        let state = text(&task, "state");
        if said != state {
            note(&format!("task {}: {state}", text(&task, "id")));
            said = state.to_owned();
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(task)
}
