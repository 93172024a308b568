//! `/shares`: which parts of the cluster are guaranteed to roles, and when.

use crate::shared::Shared;
use crate::writes;
use http::Method;
use http_api::respond::query_value;
use http_api::{Request, Response, files, respond};
use master_core::contract::OperatorCall;
use master_core::schedule::Schedule;
use master_core::{Share, ShareConfig, State};
use resources::{Milli, from_milli, to_milli};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

type Amounts = BTreeMap<String, Milli>;

pub(crate) async fn answer(shared: &Arc<Shared>, request: Request) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return read(shared, &files::query_of(&request)).await;
    }
    writes::by_role(shared, request, "GET, PUT, POST, DELETE", parse, |role| {
        OperatorCall::RemoveShare { role }
    })
    .await
}

async fn read(shared: &Arc<Shared>, query: &str) -> Response {
    let Some(view) = shared.view().await else {
        return respond::text(503, "The master is shutting down");
    };
    let query = query.to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let role = query_value(&query, "role");
        let guarantees = view.guarantees();
        let wanted = view.shares.values();
        let wanted = wanted.filter(|s| role.as_ref().is_none_or(|role| s.config.role == *role));
        let list: Value = wanted.map(|share| shown(share, &guarantees)).collect();
        respond::json(&query, json!({ "shares": list }).to_string().into_bytes())
    });
    answer.await.unwrap_or_else(|_| respond::text(500, "The answer could not be made"))
}

/// A share as `/shares` and `/roles` show it.
pub(crate) fn shown(share: &Share, guarantees: &BTreeMap<String, Amounts>) -> Value {
    let config = &share.config;
    let mut schedules = config.schedules.iter().map(Schedule::to_string).collect::<Vec<_>>();
    if schedules.is_empty() {
        schedules.push("always".to_owned());
    }
    json!({
        "role": config.role,
        "percent": amounts(&config.percent),
        "amounts": amounts(&config.amounts),
        "schedule": schedules,
        "active": share.active,
        "next_change": share.next_change.map(base::WallTime::as_secs_f64),
        "guarantee": guarantees.get(&config.role).map(amounts).unwrap_or_else(|| json!({})),
    })
}

fn amounts(amounts: &Amounts) -> Value {
    let pairs = amounts.iter().map(|(name, milli)| (name.clone(), json!(from_milli(*milli))));
    Value::Object(pairs.collect())
}

/// What roles with shares are guaranteed now, as metrics.
pub(crate) fn metrics(state: &State, set: &mut impl FnMut(&str, Value)) {
    if state.shares.is_empty() {
        return;
    }
    let guarantees = state.guarantees();
    for (role, share) in &state.shares {
        set(&format!("allocator/shares/roles/{role}/active"), json!(u8::from(share.active)));
        let names = share.config.percent.keys().chain(share.config.amounts.keys());
        for name in names {
            let guarantee = guarantees.get(role).and_then(|of| of.get(name)).copied().unwrap_or(0);
            let metric = format!("allocator/shares/roles/{role}/resources/{name}/guarantee");
            set(&metric, json!(from_milli(guarantee)));
        }
    }
}

/// The change that a body asks for.
fn parse(text: &str) -> Result<OperatorCall, String> {
    let invalid = |text: String| format!("Invalid share: {text}");
    let value: Value =
        serde_json::from_str(text).map_err(|e| invalid(format!("the body is no JSON: {e}")))?;
    let Value::Object(fields) = value else {
        return Err(invalid(
            "expected an object, such as {\"role\":\"ads\",\"percent\":{\"cpus\":20}}".to_owned(),
        ));
    };
    let (mut config, mut force) = (ShareConfig::default(), false);
    for (field, value) in &fields {
        match field.as_str() {
            "role" => config.role = string(value).map_err(|e| invalid(format!("'role': {e}")))?,
            "percent" => config.percent = numbers("percent", value).map_err(invalid)?,
            "amounts" => config.amounts = numbers("amounts", value).map_err(invalid)?,
            "schedule" => config.schedules = schedules(value).map_err(invalid)?,
            "force" => {
                force = value.as_bool().ok_or_else(|| {
                    invalid(format!("'force': expected true or false, got {value}"))
                })?;
            }
            other => {
                return Err(invalid(format!(
                    "'{other}' is no field; expected 'role', 'percent', 'amounts', 'schedule' or 'force'"
                )));
            }
        }
    }
    if !fields.contains_key("role") {
        return Err(invalid("'role' is missing".to_owned()));
    }
    Ok(OperatorCall::SetShare { config, force })
}

fn string(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("expected a string, got {value}"))
}

fn numbers(field: &str, value: &Value) -> Result<Amounts, String> {
    let object: &Map<String, Value> = value.as_object().ok_or_else(|| {
        format!("'{field}': expected an object of names and numbers, got {value}")
    })?;
    let number = |(name, value): (&String, &Value)| {
        let number = value
            .as_f64()
            .ok_or_else(|| format!("'{field}.{name}': expected a number, got {value}"))?;
        Ok((name.clone(), to_milli(number)))
    };
    object.iter().map(number).collect()
}

fn schedules(value: &Value) -> Result<Vec<Schedule>, String> {
    let all = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(list) => list,
        other => {
            return Err(format!("'schedule': expected a list of strings, got {other}"));
        }
    };
    let one = |value| string(value).and_then(|text| Schedule::parse(&text));
    all.iter().map(one).collect::<Result<_, _>>().map_err(|e| format!("'schedule': {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_asks_for_a_share() {
        let text = r#"{"role":"ads","percent":{"cpus":20.5},"amounts":{"gpus":4},
            "schedule":["mon-fri 08:00-20:00 Europe/Berlin"],"force":true}"#;
        let Ok(OperatorCall::SetShare { config, force }) = parse(text) else { panic!("{text}") };
        assert!(force);
        assert_eq!(config.role, "ads");
        assert_eq!(config.percent["cpus"], 20_500);
        assert_eq!(config.amounts["gpus"], 4_000);
        assert_eq!(config.schedules[0].to_string(), "weekdays 08:00-20:00 Europe/Berlin");
    }

    #[test]
    fn a_wrong_body_is_refused_with_the_field_that_is_wrong() {
        for (text, expected) in [
            ("{", "the body is no JSON: "),
            ("[]", "expected an object, such as "),
            ("{}", "'role' is missing"),
            (r#"{"role":1}"#, "'role': expected a string, got 1"),
            (r#"{"role":"a","percent":20}"#, "'percent': expected an object of names and numbers"),
            (
                r#"{"role":"a","percent":{"cpus":"20%"}}"#,
                "'percent.cpus': expected a number, got \"20%\"",
            ),
            (r#"{"role":"a","amount":{}}"#, "'amount' is no field; expected 'role', "),
            (r#"{"role":"a","schedule":5}"#, "'schedule': expected a list of strings, got 5"),
            (r#"{"role":"a","schedule":[5]}"#, "'schedule': expected a string, got 5"),
            (
                r#"{"role":"a","schedule":"mon"}"#,
                "'schedule': schedule 'mon': expected 'always', or",
            ),
            (r#"{"role":"a","force":1}"#, "'force': expected true or false, got 1"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(&format!("Invalid share: {expected}")), "{text}: {error}");
        }
    }
}
