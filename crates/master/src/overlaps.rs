//! `/offer-overlap`: to how many frameworks at a time the same resources may be offered, by role.

use crate::shared::Shared;
use crate::writes;
use allocator::Overlap;
use http::Method;
use http_api::{Request, Response, files, respond};
use master_core::contract::OperatorCall;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn answer(shared: &Arc<Shared>, request: Request) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return read(shared, &files::query_of(&request)).await;
    }
    writes::by_role(shared, request, "GET, PUT, DELETE", parse, |role| OperatorCall::SetOverlap {
        role,
        overlap: None,
    })
    .await
}

async fn read(shared: &Arc<Shared>, query: &str) -> Response {
    let Some(view) = shared.view().await else {
        return respond::text(503, "The master is shutting down");
    };
    let one =
        |(role, overlap): (&String, &Overlap)| json!({"role": role, "overlap": shown(*overlap)});
    let list: Value = view.overlaps.iter().map(one).collect();
    respond::json(query, json!({ "overlaps": list }).to_string().into_bytes())
}

/// A number, or "all".
pub(crate) fn shown(overlap: Overlap) -> Value {
    let text = overlap.to_string();
    text.parse::<u32>().map_or_else(|_| json!(text), |number| json!(number))
}

/// The change that a body asks for.
fn parse(text: &str) -> Result<OperatorCall, String> {
    const EXAMPLE: &str = r#"{"role":"analytics","overlap":"all"}"#;
    let invalid = |text: String| format!("Invalid offer overlap: {text}; for example {EXAMPLE}");
    let value: Value =
        serde_json::from_str(text).map_err(|e| invalid(format!("the body is no JSON: {e}")))?;
    let Value::Object(fields) = &value else {
        return Err(invalid("expected an object".to_owned()));
    };
    if let Some(other) = fields.keys().find(|name| !["role", "overlap"].contains(&name.as_str())) {
        return Err(invalid(format!("'{other}' is no field; expected 'role' and 'overlap'")));
    }
    let role = fields.get("role").and_then(Value::as_str);
    let role = role.ok_or_else(|| invalid("'role': expected a string".to_owned()))?;
    let overlap = match fields.get("overlap") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(invalid("'overlap': expected a number from 1 or \"all\"".to_owned())),
    };
    let overlap = overlap.parse().map_err(|e| invalid(format!("'overlap': {e}")))?;
    Ok(OperatorCall::SetOverlap { role: role.to_owned(), overlap: Some(overlap) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_a_role_and_a_number_or_all() {
        let set = |role: &str, overlap: &str| {
            let overlap = overlap.parse().ok();
            Ok(OperatorCall::SetOverlap { role: role.to_owned(), overlap })
        };
        assert_eq!(parse(r#"{"role":"a/b","overlap":"all"}"#), set("a/b", "all"));
        assert_eq!(parse(r#"{"role":"*","overlap":3}"#), set("*", "3"));
        for (text, field) in [
            ("{", "no JSON"),
            ("[]", "an object"),
            (r#"{"overlap":3}"#, "'role'"),
            (r#"{"role":"a"}"#, "'overlap'"),
            (r#"{"role":"a","overlap":0}"#, "'overlap'"),
            (r#"{"role":"a","overlap":1.5}"#, "'overlap'"),
            (r#"{"role":"a","overlap":2,"force":true}"#, "'force'"),
        ] {
            let fault = parse(text).expect_err(text);
            assert!(fault.contains(field), "{text}: {fault}");
        }
    }

    #[test]
    fn an_overlap_is_shown_as_it_is_set() {
        assert_eq!(shown(Overlap::ALL), json!("all"));
        assert_eq!(shown(Overlap::DISJOINT), json!(1));
    }
}
