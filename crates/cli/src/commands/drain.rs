//! `proffer drain`, `deactivate` and `reactivate`: agents that are taken out of use, and back.

use super::known::{Known, agents_of_registry, one};
use super::times::duration;
use super::{harmless, items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
All tasks of the agent are killed, each with its own grace period or the one that is given if that is shorter. The agent
is offered to nobody any more. When nothing is left it is DRAINED, until it is reactivated; or gone for good.

Examples:
  proffer drain S3 --wait
  proffer drain node7 --grace 90s --wait --timeout 10m
  proffer drain node7 --mark-gone
  proffer reactivate S3
";

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

fn agent() -> Arg {
    Arg::new("agent").value_name("AGENT").required(true).help("Id, end of the id, or host name")
}

pub(crate) fn commands() -> [Command; 3] {
    let grace = Arg::new("grace")
        .long("grace")
        .value_name("TIME")
        .help("Longest time that a task has to end, as 90s or 10m");
    let mark_gone = Arg::new("mark-gone")
        .long("mark-gone")
        .action(ArgAction::SetTrue)
        .help("The agent never comes back: mark it gone when nothing is left");
    let wait = Arg::new("wait")
        .long("wait")
        .action(ArgAction::SetTrue)
        .help("Wait until nothing is left, and say what is");
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("TIME")
        .requires("wait")
        .help("Wait no longer than this; the drain goes on");
    [
        Command::new("drain")
            .about("Ends all tasks of an agent and takes it out of use")
            .args([agent(), grace, mark_gone, wait, timeout])
            .after_help(EXAMPLES),
        Command::new("deactivate").about("Takes an agent out of use; its tasks go on").arg(agent()),
        Command::new("reactivate").about("Takes an agent back into use").arg(agent()),
    ]
}

pub(crate) async fn drain(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let time = |name: &str| {
        let given = matches.get_one::<String>(name).map(|text| duration(text)).transpose();
        given.map_err(|e| Failure::usage(format!("--{name}: {e}")))
    };
    let (grace, timeout) = (time("grace")?, time("timeout")?);
    let mark_gone = matches.get_flag("mark-gone");
    let agent = meant_agent(client, matches).await?;
    let mut drain = json!({"agent_id": {"value": agent.id}, "mark_gone": mark_gone});
    if let Some(grace) = grace {
        drain["max_grace_period"] =
            json!({"seconds": grace.as_secs(), "nanos": grace.subsec_nanos()});
    }
    client.call(&json!({"type": "DRAIN_AGENT", "drain_agent": drain})).await?;
    if matches.get_flag("wait") {
        wait(client, &agent, mark_gone, timeout).await?;
    }
    let name = shown(&agent);
    let look = look(client, &agent.id).await?;
    if wants_json(matches) {
        return Ok(pretty(&look.map_or_else(|| json!({"id": agent.id}), |look| look.agent)));
    }
    Ok(match look {
        Some(look) if look.is_drained() => format!(
            "Agent {name} is drained. `proffer reactivate {}` takes it back into use.\n",
            agent.id
        ),
        None if mark_gone && matches.get_flag("wait") => {
            format!("Agent {name} is drained and gone.\n")
        }
        _ => format!(
            "Agent {name} is being drained. `proffer agents` shows when it is over; --wait waits for it.\n"
        ),
    })
}

pub(crate) async fn deactivate(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let agent = meant_agent(client, matches).await?;
    let of = json!({"agent_id": {"value": agent.id}});
    client.call(&json!({"type": "DEACTIVATE_AGENT", "deactivate_agent": of})).await?;
    let text = format!("Agent {} is out of use; its tasks go on.\n", shown(&agent));
    finished(client, matches, &agent, text).await
}

pub(crate) async fn reactivate(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let agent = meant_agent(client, matches).await?;
    let of = json!({"agent_id": {"value": agent.id}});
    client.call(&json!({"type": "REACTIVATE_AGENT", "reactivate_agent": of})).await?;
    finished(client, matches, &agent, format!("Agent {} is in use again.\n", shown(&agent))).await
}

async fn finished(
    client: &OperatorClient,
    matches: &ArgMatches,
    agent: &Known,
    text: String,
) -> Result<String, Failure> {
    if !wants_json(matches) {
        return Ok(text);
    }
    let look = look(client, &agent.id).await?;
    Ok(pretty(&look.map_or_else(|| json!({"id": agent.id}), |look| look.agent)))
}

fn shown(agent: &Known) -> String {
    if agent.name.is_empty() { agent.id.clone() } else { format!("{} ({})", agent.id, agent.name) }
}

/// The agent that is meant; a whole id may be of one that is not registered now.
async fn meant_agent(client: &OperatorClient, matches: &ArgMatches) -> Result<Known, Failure> {
    let word = matches.get_one::<String>("agent").map_or("", String::as_str);
    let known = agents_of_registry(client).await?;
    match one("agent", word, &known) {
        Err(Failure::Failed(_)) if is_whole_id(word) => {
            Ok(Known { id: word.to_owned(), name: String::new() })
        }
        found => found,
    }
}

/// Whether a word looks like the id of an agent that some master gave: a UUID and `-S7`.
fn is_whole_id(word: &str) -> bool {
    let number = word.rsplit_once("-S").filter(|(master, _)| master.len() == 36);
    number.is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// An agent as it is now.
struct Look {
    agent: Value,
    /// Its tasks that have not ended.
    tasks: u64,
}

impl Look {
    fn is_drained(&self) -> bool {
        self.agent["drain_info"]["state"] == "DRAINED"
    }

    fn in_words(&self) -> String {
        let state = self.agent["drain_info"]["state"].as_str().unwrap_or("not draining");
        let left = match self.tasks {
            0 => "no task runs".to_owned(),
            1 => "1 task runs".to_owned(),
            n => format!("{n} tasks run"),
        };
        let note = match (self.is_drained(), self.tasks, self.agent["drain_info"].is_object()) {
            (true, ..) | (_, _, false) => "",
            (_, 0, _) => "; frameworks have to acknowledge their ends",
            _ => "",
        };
        format!("{state}: {left}{note}")
    }
}

async fn look(client: &OperatorClient, id: &str) -> Result<Option<Look>, Failure> {
    let slaves = client.get(&format!("/slaves?slave_id={}", escaped(id))).await?;
    let Some(agent) = items(&slaves["slaves"]).first() else { return Ok(None) };
    let summary = client.get("/state-summary").await?;
    let counts = items(&summary["slaves"]).iter().find(|s| text(s, "id") == id);
    let open = ["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"];
    let tasks = open.iter().filter_map(|state| counts?[*state].as_u64()).sum();
    Ok(Some(Look { agent: agent.clone(), tasks }))
}

/// Waits until the drain is over, and says on stderr how it goes.
async fn wait(
    client: &OperatorClient,
    agent: &Known,
    mark_gone: bool,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        let look = look(client, &agent.id).await?;
        let is_over = match &look {
            Some(look) => look.is_drained(),
            None => mark_gone && is_gone(client, &agent.id).await,
        };
        let state = match &look {
            Some(look) if !look.agent["drain_info"].is_object() => {
                return Err(Failure::failed("the drain was called off".to_owned()));
            }
            Some(look) => look.in_words(),
            None if is_over => return Ok(()),
            None => "the agent is not registered: the drain goes on when it is back".to_owned(),
        };
        if state != said {
            eprintln!("{}", harmless(&format!("agent {}: {state}", agent.id)));
            said = state;
        }
        if is_over {
            return Ok(());
        }
        if timeout.is_some_and(|most| begun.elapsed() >= most) {
            return Err(Failure::failed(format!("the drain is not over yet and goes on: {said}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether an agent that is not registered any more was marked gone, rather than unreachable. It is deactivated already.
async fn is_gone(client: &OperatorClient, id: &str) -> bool {
    let of = json!({"agent_id": {"value": id}});
    let answer = client.call(&json!({"type": "DEACTIVATE_AGENT", "deactivate_agent": of})).await;
    matches!(answer, Err(Failure::Failed(text)) if text.contains("marked gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_says_what_is_left() {
        let look =
            |state: &str, tasks| Look { agent: json!({"drain_info": {"state": state}}), tasks };
        assert_eq!(look("DRAINING", 2).in_words(), "DRAINING: 2 tasks run");
        assert_eq!(
            look("DRAINING", 0).in_words(),
            "DRAINING: no task runs; frameworks have to acknowledge their ends"
        );
        assert_eq!(look("DRAINED", 0).in_words(), "DRAINED: no task runs");
    }

    #[test]
    fn whole_ids_are_known_by_their_look() {
        assert!(is_whole_id("7f0c2a5e-4b0e-4c2e-9a33-0f6d1b2c3d4e-S12"));
        for word in ["S12", "node7", "7f0c2a5e-4b0e-4c2e-9a33-0f6d1b2c3d4e-S", "x-S1"] {
            assert!(!is_whole_id(word), "{word}");
        }
    }
}
