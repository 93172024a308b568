//! `proffer why`: why a framework gets no offers, since when, and what would change it.

use super::known::{Known, agents, frameworks, meant};
use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Without flags: every framework that wants offers and holds none.

Examples:
  proffer why                             who waits, and for what
  proffer why --framework marathon        all its roles, all agents
  proffer why --framework 0003 --role web --agent host7
";

pub(crate) fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("why")
        .about("Why a framework gets no offers, and what would change it")
        .after_help(EXAMPLES)
        .args([
            arg("framework", "ID|NAME", "The framework: id, end of the id, or name"),
            arg("role", "ROLE", "One of its roles"),
            arg("agent", "ID|HOST", "One agent: id, end of the id, or host"),
        ])
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let is_bare = ["framework", "role", "agent"].iter().all(|name| given(name).is_none());
    let mut questions = vec![String::new()];
    if given("framework").is_some() || is_bare {
        let known = frameworks(client).await?;
        let asked = match given("framework") {
            Some(word) => meant("framework", word, &known)?,
            None => known.iter().collect(),
        };
        questions = with(&questions, "framework", &asked);
    }
    if let Some(word) = given("agent") {
        let known = agents(client).await?;
        questions = with(&questions, "agent", &meant("agent", word, &known)?);
    }
    if let Some(role) = given("role") {
        questions.iter_mut().for_each(|q| q.push_str(&format!("&role={}", escaped(role))));
    }
    let mut answers = Vec::new();
    for question in questions {
        let answer = client.get(&format!("/why?{}", question.trim_start_matches('&'))).await?;
        answers.extend(items(&answer["why"]).iter().filter(|a| !is_bare || waits(a)).cloned());
    }
    Ok(if wants_json(matches) { pretty(&json!({"why": answers})) } else { shown(&answers) })
}

/// Each question, about each of those.
fn with(questions: &[String], name: &str, asked: &[&Known]) -> Vec<String> {
    let about = |q: &String| {
        asked.iter().map(move |k| format!("{q}&{name}={}", escaped(&k.id))).collect::<Vec<_>>()
    };
    questions.iter().flat_map(about).collect()
}

/// Whether it wants offers and has none: who suppresses them or is away wants none.
fn waits(answer: &Value) -> bool {
    let wants = |r: &Value| !matches!(text(r, "reason"), "SUPPRESSED" | "INACTIVE");
    let reasons = items(&answer["reasons"]);
    answer["offers"] == 0 && (reasons.is_empty() || reasons.iter().any(wants))
}

fn shown(answers: &[Value]) -> String {
    if answers.is_empty() {
        return "Nobody waits: every subscribed framework holds an offer or suppresses them.\n"
            .to_owned();
    }
    let one = |answer: &Value| {
        let mut out = format!("{}\n", text(answer, "summary"));
        let reasons = items(&answer["reasons"]);
        let mut table =
            TextTable::new(["REASON", "AGENTS", "SINCE", "FOR EXAMPLE", "WHAT IS IN THE WAY"]);
        for reason in reasons {
            table.row([
                text(reason, "reason").to_owned(),
                reason["agents"].to_string(),
                text(reason, "since").to_owned(),
                text(reason, "example").to_owned(),
                text(reason, "message").to_owned(),
            ]);
        }
        if !table.is_empty() {
            out.push_str(&format!("\n{table}\nWhat would change it:\n"));
        }
        for reason in reasons {
            out.push_str(&format!("  {}: {}\n", text(reason, "reason"), text(reason, "advice")));
        }
        out
    };
    answers.iter().map(one).collect::<Vec<_>>().join("\n")
}
