//! `GET /why?framework=…&role=…&agent=…`: why a framework gets no offers, as JSON.

use crate::shared::Shared;
use base::WallTime;
use http_api::respond::query_value;
use http_api::{Response, respond};
use master_core::history::Period;
use master_core::schedule::utc;
use master_core::why::{Answer, Question, in_short};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) async fn answer(shared: &Arc<Shared>, query: &str) -> Response {
    let question = Question {
        framework: query_value(query, "framework"),
        role: query_value(query, "role"),
        agent: query_value(query, "agent"),
    };
    if question == Question::default() {
        return respond::text(
            400,
            "Expecting at least one of 'framework=<id>', 'role=<name>' and 'agent=<id>' in the query.\n",
        );
    }
    let Some(answers) = shared.why(question.clone()).await else {
        return respond::text(503, "The master is shutting down");
    };
    if answers.is_empty() {
        return nobody(shared, query, &question).await;
    }
    let list: Value = answers.iter().map(shown).collect();
    let body = json!({ "why": list, "summary": in_all(&answers) });
    respond::json(query, body.to_string().into_bytes())
}

/// Nobody wants what is asked about, or there is no such thing.
async fn nobody(shared: &Arc<Shared>, query: &str, question: &Question) -> Response {
    let Some(view) = shared.view().await else {
        return respond::text(503, "The master is shutting down");
    };
    let framework = question.framework.as_ref().map(|id| view.framework(id));
    let is_known = framework.is_none_or(|f| f.is_some())
        && question.agent.as_ref().is_none_or(|id| view.agent(id).is_some());
    if !is_known {
        let text = "Nothing matches: the id of the framework or agent is unknown. See /frameworks and /slaves.\n";
        return respond::text(404, text);
    }
    if let Some(framework) = framework.flatten() {
        let name = &framework.info.name;
        let to = match &question.role {
            Some(role) => format!("not subscribed to role '{role}'"),
            None => "subscribed to no role".to_owned(),
        };
        let summary = format!(
            "'{name}' is {to}, so it can't be offered anything for it. To change that: let it subscribe, or send UPDATE_FRAMEWORK, with the role."
        );
        return respond::json(
            query,
            json!({ "why": [], "summary": summary }).to_string().into_bytes(),
        );
    }
    let to = question.role.as_ref().map_or(String::new(), |role| format!(" to role '{role}'"));
    let summary = format!(
        "No framework is subscribed{to}, so nobody can be offered anything. To change that: subscribe one."
    );
    respond::json(query, json!({ "why": [], "summary": summary }).to_string().into_bytes())
}

fn shown(answer: &Answer) -> Value {
    let reasons: Value = answer
        .reasons
        .iter()
        .map(|cause| {
            json!({
                "reason": cause.reason,
                "agents": cause.agents,
                "example": cause.example,
                "message": cause.message,
                "advice": cause.advice,
                "besides": cause.besides,
                "since": cause.since.map(to_the_millisecond),
            })
        })
        .collect();
    json!({
        "framework_id": answer.framework_id,
        "framework": answer.framework,
        "role": answer.role,
        "offers": answer.offers,
        "agents": answer.agents,
        "summary": summary(answer),
        "reasons": reasons,
        "since": answer.reasons.first().and_then(|c| c.since).map(to_the_millisecond),
        "last_offer": answer.last_offer.map(to_the_millisecond),
        "history": answer.history.iter().map(period).collect::<Value>(),
    })
}

/// Never earlier than it was.
fn to_the_millisecond(at: WallTime) -> String {
    utc(WallTime(at.0.div_ceil(1_000_000).saturating_mul(1_000_000)))
}

fn period(period: &Period) -> Value {
    let reasons = period.reasons.iter().map(|(name, n)| ((*name).to_owned(), json!(n)));
    json!({
        "from": utc(period.from),
        "seconds": period.length.as_secs(),
        "offered": period.offered,
        "reasons": reasons.collect::<serde_json::Map<_, _>>(),
    })
}

/// The answer in one sentence.
pub(crate) fn summary(answer: &Answer) -> String {
    let Answer { framework, role, agents, .. } = answer;
    let Some(first) = answer.reasons.first() else {
        return format!("There are no agents, so '{framework}' can't be offered any for '{role}'.");
    };
    let held = match answer.offers {
        0 => "holds no offer".to_owned(),
        1 => "holds 1 offer".to_owned(),
        n => format!("holds {n} offers"),
    };
    let since = answer.lasts.map_or(String::new(), |t| format!(" (for {} now)", in_short(t)));
    format!(
        "'{framework}' {held} for role '{role}'; on {} of {agents} agents{since}: {}. To change that: {}.",
        first.agents, first.message, first.advice
    )
}

/// All answers in one sentence.
fn in_all(answers: &[Answer]) -> String {
    if let [one] = answers {
        return summary(one);
    }
    let mut agents: BTreeMap<&str, usize> = BTreeMap::new();
    for cause in answers.iter().flat_map(|a| &a.reasons) {
        *agents.entry(cause.reason).or_default() += cause.agents;
    }
    let most = agents.iter().max_by_key(|(_, n)| **n);
    let causes = answers.iter().flat_map(|a| a.reasons.iter().map(move |cause| (a, cause)));
    let of_most = causes.filter(|(_, cause)| Some(cause.reason) == most.map(|(name, _)| *name));
    let Some((answer, cause)) = of_most.max_by_key(|(_, cause)| cause.agents) else {
        return "There are no agents, so nobody can be offered any.".to_owned();
    };
    let all: usize = answers.iter().map(|a| a.agents).sum();
    let others = answers.iter().filter(|a| a.reasons.iter().any(|c| c.reason == cause.reason));
    format!(
        "{} frameworks and roles meet the same in {} of {all} cases, '{}' for role '{}' on {} agents: {}. To change that: {}.",
        others.count(),
        most.map_or(0, |(_, n)| *n),
        answer.framework,
        answer.role,
        cause.agents,
        cause.message,
        cause.advice
    )
}
