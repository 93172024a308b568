//! `GET /why?framework=…&role=…&agent=…`: why a framework gets no offers, as JSON.

use crate::shared::Shared;
use http_api::respond::query_value;
use http_api::{Response, respond};
use master_core::why::{Answer, Question};
use serde_json::{Value, json};
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
    let Some(answers) = shared.why(question).await else {
        return respond::text(503, "The master is shutting down");
    };
    if answers.is_empty() {
        let text = "Nothing matches: the id of the framework or agent is unknown, or no framework is subscribed to that role. See /frameworks and /slaves.\n";
        return respond::text(404, text);
    }
    let list: Value = answers.iter().map(shown).collect();
    respond::json(query, json!({ "why": list }).to_string().into_bytes())
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
    })
}

/// The answer in one sentence.
fn summary(answer: &Answer) -> String {
    let Answer { framework, role, agents, .. } = answer;
    let Some(first) = answer.reasons.first() else {
        return format!("There are no agents, so '{framework}' can't be offered any for '{role}'.");
    };
    let held = match answer.offers {
        0 => "holds no offer".to_owned(),
        1 => "holds 1 offer".to_owned(),
        n => format!("holds {n} offers"),
    };
    format!(
        "'{framework}' {held} for role '{role}'; on {} of {agents} agents: {}. To change that: {}.",
        first.agents, first.message, first.advice
    )
}
