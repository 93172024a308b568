//! `/kill-task`: an operator ends a task of any framework. The v1 operator API has no call for it.

use crate::shared::Shared;
use crate::writes;
use http_api::{Request, Response, respond};
use master_core::contract::OperatorCall;
use serde_json::Value;
use std::sync::Arc;
use wire::v1;

/// `POST` of `{"framework_id": "…", "task_id": "…"}`, with a `kill_policy` if that of the task does not fit.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request) -> Response {
    if *request.method() != http::Method::POST {
        return respond::method_not_allowed("POST", request.method());
    }
    writes::ask_as(shared, request, parse).await
}

fn parse(text: &str) -> Result<OperatorCall, String> {
    const EXAMPLE: &str = r#"{"framework_id":"…","task_id":"…","kill_policy":{"grace_period":{"nanoseconds":5000000000}}}"#;
    let invalid = |text: &str| format!("Invalid kill: {text}; expected {EXAMPLE}");
    let value: Value = serde_json::from_str(text).map_err(|_| invalid("the body is no JSON"))?;
    let fields = value.as_object().ok_or_else(|| invalid("the body is no object"))?;
    let known = ["framework_id", "task_id", "kill_policy"];
    if let Some(other) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(invalid(&format!("'{other}' is no field")));
    }
    let id = |name: &str| {
        let id = fields.get(name).and_then(Value::as_str).filter(|id| !id.is_empty());
        id.map(str::to_owned).ok_or_else(|| invalid(&format!("'{name}' is missing")))
    };
    let policy = fields.get("kill_policy").map(wire::json::from_value::<v1::KillPolicy>);
    let kill_policy = policy.transpose().map_err(|e| invalid(&format!("'kill_policy': {e}")))?;
    let grace = kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    if grace.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err(invalid("'kill_policy': a grace period can't be negative"));
    }
    Ok(OperatorCall::KillTask {
        framework_id: id("framework_id")?,
        task_id: id("task_id")?,
        kill_policy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_the_task_and_perhaps_its_time() {
        let asked = parse(r#"{"framework_id": "f", "task_id": "t"}"#).expect("a kill");
        let (framework_id, task_id) = ("f".to_owned(), "t".to_owned());
        assert_eq!(asked, OperatorCall::KillTask { framework_id, task_id, kill_policy: None });
        let with = |policy: &str| {
            parse(&format!(r#"{{"framework_id":"f","task_id":"t","kill_policy":{policy}}}"#))
        };
        assert!(with(r#"{"grace_period":{"nanoseconds":5}}"#).is_ok());
        for (asked, why) in [
            (with(r#"{"grace_period":{"nanoseconds":-5}}"#), "can't be negative"),
            (with(r#"{"grace_period":5}"#), "'kill_policy'"),
            (parse("{"), "no JSON"),
            (parse("[]"), "no object"),
            (parse(r#"{"framework_id": "f"}"#), "'task_id' is missing"),
            (parse(r#"{"framework_id": "", "task_id": "t"}"#), "'framework_id' is missing"),
            (parse(r#"{"framework": "f", "task_id": "t"}"#), "'framework' is no field"),
        ] {
            let error = asked.expect_err(why);
            assert!(error.starts_with("Invalid kill: ") && error.contains(why), "{error}");
        }
    }
}
