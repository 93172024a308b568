//! Masters that replicate the registry among themselves: their calls, and `/masters`, who they are.

use crate::shared::Shared;
use coordination::{MemberState, MembersError};
use http::Method;
use http_api::link::LinkSender;
use http_api::{Request, Response, files, intake, respond};
use serde_json::{Value, json};
use std::sync::Arc;
use wire::internal::{self, master_to_agent};

/// Longest body of a call between masters.
const CALL_MAX: usize = 64 << 20;
/// Longest body of a change.
const CHANGE_MAX: usize = 64 << 10;
const NOT_REPLICATED: &str =
    "The registry is not replicated among masters: it takes --coordination=raft";

/// Answers a call of another master.
pub(crate) async fn call(shared: &Arc<Shared>, kind: &str, request: Request) -> Response {
    let Some(peers) = &shared.peers else { return respond::text(404, NOT_REPLICATED) };
    if *request.method() != Method::POST {
        return respond::method_not_allowed("POST", request.method());
    }
    let body = match intake::body(request, CALL_MAX).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    match peers.answer(kind, &body).await {
        Ok(answer) => respond::content("application/octet-stream", answer),
        Err(why) => respond::text(403, why),
    }
}

/// `/masters`: GET lists them, POST adds or removes some.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request) -> Response {
    let Some(peers) = &shared.peers else { return respond::text(404, NOT_REPLICATED) };
    let query = files::query_of(&request);
    if *request.method() == Method::POST {
        let body = match intake::body(request, CHANGE_MAX).await {
            Ok(body) => body,
            Err(refusal) => return *refusal,
        };
        let (add, remove) = match parse(&body) {
            Ok(change) => change,
            Err(text) => return respond::text(400, text),
        };
        let changed =
            if remove.is_empty() { peers.add(&add).await } else { peers.remove(&remove).await };
        match changed {
            Ok(()) => {
                for link in shared.links.all() {
                    tell(shared, &link);
                }
            }
            Err(MembersError::NotLeading) => return respond::text(503, "No leader elected"),
            Err(MembersError::Refused(text)) => return respond::text(409, text),
        }
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond::method_not_allowed("GET, POST", request.method());
    }
    let one = |master: MemberState| json!({"address": master.address, "votes": master.votes, "leads": master.leads});
    let list: Value = peers.members().into_iter().map(one).collect();
    respond::json(&query, json!({ "masters": list }).to_string().into_bytes())
}

/// Tells an agent of all masters, where these replicate the registry: it may know of one alone.
pub(crate) fn tell(shared: &Shared, agent: &LinkSender) {
    let Some(peers) = &shared.peers else { return };
    let voters = peers.members().into_iter().filter(|member| member.votes);
    let masters = internal::Masters { addresses: voters.map(|member| member.address).collect() };
    let message = Some(master_to_agent::Message::Masters(masters));
    agent.send(&internal::MasterToAgent { message });
}

/// Addresses to add and to remove, one of them empty.
fn parse(body: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    const EXAMPLE: &str = r#"{"add":["10.0.0.2:5050"]} or {"remove":["10.0.0.2:5050"]}"#;
    let invalid = |text: &str| format!("Invalid change of masters: {text}; expected {EXAMPLE}");
    let value: Value = serde_json::from_slice(body).map_err(|_| invalid("the body is no JSON"))?;
    let fields = value.as_object().ok_or_else(|| invalid("the body is no object"))?;
    if let Some(other) = fields.keys().find(|name| !["add", "remove"].contains(&name.as_str())) {
        return Err(invalid(&format!("'{other}' is no field")));
    }
    let addresses = |name: &str| -> Result<Vec<String>, String> {
        let Some(list) = fields.get(name) else { return Ok(Vec::new()) };
        let list = list.as_array().ok_or_else(|| invalid(&format!("'{name}' is no list")))?;
        let address = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            let (host, port) = text.rsplit_once(':').unwrap_or_default();
            let valid = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
            valid
                .then(|| text.to_owned())
                .ok_or_else(|| invalid(&format!("{value} is no host:port")))
        };
        list.iter().map(address).collect()
    };
    let (add, remove) = (addresses("add")?, addresses("remove")?);
    match add.is_empty() == remove.is_empty() {
        true => Err(invalid("either 'add' or 'remove' names masters")),
        false => Ok((add, remove)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_adds_or_removes_addresses() {
        let text = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(parse(br#"{"add":["a:1","b:2"]}"#), Ok((text(&["a:1", "b:2"]), text(&[]))));
        assert_eq!(parse(br#"{"remove":["a:1"]}"#), Ok((text(&[]), text(&["a:1"]))));
        for (body, why) in [
            ("{", "no JSON"),
            ("[]", "no object"),
            ("{}", "either 'add' or 'remove'"),
            (r#"{"add":["a:1"],"remove":["b:1"]}"#, "either 'add' or 'remove'"),
            (r#"{"add":"a:1"}"#, "'add' is no list"),
            (r#"{"add":["a"]}"#, "no host:port"),
            (r#"{"add":["a:0"]}"#, "no host:port"),
            (r#"{"add":[1]}"#, "no host:port"),
            (r#"{"set":["a:1"]}"#, "'set' is no field"),
        ] {
            let error = parse(body.as_bytes()).expect_err(body);
            assert!(error.contains(why), "{body}: {error}");
        }
    }
}
