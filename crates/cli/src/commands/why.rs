//! `proffer why`: why a framework gets no offers, since when, and what would change it.

use super::known::{Known, agents, frameworks, meant};
use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use base::nearest;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Without flags: every framework that wants offers and holds none.

Examples:
  proffer why                             who waits, and for what
  proffer why --framework marathon        all its roles, all agents
  proffer why --framework 0003 --role web --agent host7
  proffer why --role web --history        by minute for an hour, by hour for a day
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
            Arg::new("history")
                .long("history")
                .action(ArgAction::SetTrue)
                .help("What was decided in the past as well"),
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
    let (mut answers, mut summaries) = (Vec::new(), Vec::new());
    for question in questions {
        let answer = client.get(&format!("/why?{}", question.trim_start_matches('&'))).await?;
        let found = items(&answer["why"]).iter().filter(|a| !is_bare || waits(a));
        let before = answers.len();
        answers.extend(found.cloned());
        // One answer says the same itself.
        if !is_bare && answers.len() != before + 1 {
            summaries.push(text(&answer, "summary").to_owned());
        }
    }
    if wants_json(matches) {
        return Ok(pretty(&json!({"why": answers, "summaries": summaries})));
    }
    if is_bare && answers.is_empty() {
        let text = "Nobody waits: every subscribed framework holds an offer or suppresses them.\n";
        return Ok(text.to_owned());
    }
    if let Some(role) = given("role").filter(|_| answers.is_empty()) {
        let roles = client.get("/roles").await?;
        let known: Vec<&str> = items(&roles["roles"]).iter().map(|r| text(r, "name")).collect();
        summaries.extend(similar(role, &known));
    }
    let summaries = summaries.iter().filter(|s| !s.is_empty()).map(|s| format!("{s}\n"));
    let answers = answers.iter().map(|a| shown(a, matches.get_flag("history")));
    Ok(summaries.chain(answers).collect::<Vec<_>>().join("\n"))
}

/// Roles that may have been meant: those below it before those that are written alike.
fn similar(role: &str, known: &[&str]) -> Option<String> {
    let is_below = |known: &&str| known.strip_prefix(role).is_some_and(|r| r.starts_with('/'));
    let below: Vec<String> =
        known.iter().copied().filter(is_below).map(|r| format!("'{r}'")).collect();
    if !below.is_empty() {
        return Some(format!("Below it there is {}: ask for one of these.", below.join(", ")));
    }
    let near = nearest(role, known.iter().copied().filter(|known| *known != role))?;
    Some(format!("Did you mean role '{near}'?"))
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

fn shown(answer: &Value, with_history: bool) -> String {
    let mut out = format!("{}\n", text(answer, "summary"));
    if let Some(last) = answer["last_offer"].as_str() {
        out.push_str(&format!("It was last offered something at {last}.\n"));
    }
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
    if with_history {
        out.push_str(&format!("\n{}", history(items(&answer["history"]))));
    }
    out
}

fn history(periods: &[Value]) -> String {
    let mut table = TextTable::new(["FROM", "MINUTES", "OFFERED", "NOT OFFERED, BY REASON"]);
    for period in periods {
        let reasons = period["reasons"].as_object().into_iter().flatten();
        let reasons = reasons.map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>();
        table.row([
            text(period, "from").to_owned(),
            (period["seconds"].as_u64().unwrap_or(0) / 60).to_string(),
            period["offered"].to_string(),
            reasons.join(", "),
        ]);
    }
    if table.is_empty() {
        return "Nothing was decided in the minutes and hours before this one.\n".to_owned();
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_below_are_meant_before_those_that_are_written_alike() {
        let below = similar("h", &["*", "f", "h", "h/i"]).expect("a role");
        assert_eq!(below, "Below it there is 'h/i': ask for one of these.");
        let alike = similar("adds", &["ads", "web"]).expect("a role");
        assert_eq!(alike, "Did you mean role 'ads'?");
    }

    #[test]
    fn an_answer_is_a_sentence_a_table_advice_and_the_past() {
        let answer = json!({
            "summary": "'a' holds no offer.", "last_offer": "2026-11-21T08:00:00Z", "offers": 0,
            "reasons": [{"reason": "LIMIT", "agents": 3, "since": "2026-11-21T08:30:00Z", "example": "S0",
                "message": "role 'web' has all", "advice": "raise the quota limit of the role"}],
            "history": [{"from": "2026-11-21T08:30:00Z", "seconds": 60, "offered": 2, "reasons": {"LIMIT": 7, "TAKEN": 1}}],
        });
        let lines = [
            "'a' holds no offer.",
            "It was last offered something at 2026-11-21T08:00:00Z.",
            "",
            "REASON  AGENTS  SINCE                 FOR EXAMPLE  WHAT IS IN THE WAY",
            "LIMIT        3  2026-11-21T08:30:00Z  S0           role 'web' has all",
            "",
            "What would change it:",
            "  LIMIT: raise the quota limit of the role",
            "",
            "FROM                  MINUTES  OFFERED  NOT OFFERED, BY REASON",
            "2026-11-21T08:30:00Z        1        2  LIMIT 7, TAKEN 1",
            "",
        ];
        assert_eq!(shown(&answer, true), lines.join("\n"));
        assert!(waits(&answer));
        assert!(!waits(&json!({"offers": 1, "reasons": [{"reason": "LIMIT"}]})));
        assert!(!waits(&json!({"offers": 0, "reasons": [{"reason": "SUPPRESSED"}]})));
        assert!(waits(&json!({"offers": 0, "reasons": []})));
    }
}
