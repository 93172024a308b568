//! What operators change: v1 calls and the older endpoints with forms (spec/master.md 5).

use crate::shared::Shared;
use http_api::{Request, Response, respond};
use master_core::contract::{Drain, Input, OperatorCall};
use std::sync::Arc;
use wire::v1;
use wire::v1::master::Call;
use wire::v1::master::call::Type;
use wire::v1::offer::Operation;
use wire::v1::offer::operation::{self, Type as Kind};

/// Longest body of a form.
const FORM_MAX: usize = 4 << 20;

/// The change that a call asks for; None if it is no change. Err: the field that is missing.
pub(crate) fn change(call: &Call) -> Option<Result<OperatorCall, &'static str>> {
    Some(match call.r#type() {
        Type::Teardown => call.teardown.as_ref().ok_or("teardown").map(|teardown| {
            OperatorCall::Teardown { framework_id: teardown.framework_id.value.clone() }
        }),
        Type::MarkAgentGone => call
            .mark_agent_gone
            .as_ref()
            .ok_or("mark_agent_gone")
            .map(|gone| OperatorCall::MarkAgentGone { agent_id: gone.agent_id.value.clone() }),
        Type::DrainAgent => call.drain_agent.as_ref().ok_or("drain_agent").map(|drain| {
            OperatorCall::DrainAgent(Drain {
                agent_id: drain.agent_id.value.clone(),
                max_grace_period: drain.max_grace_period,
                mark_gone: drain.mark_gone(),
            })
        }),
        Type::DeactivateAgent => call
            .deactivate_agent
            .as_ref()
            .ok_or("deactivate_agent")
            .map(|m| OperatorCall::DeactivateAgent { agent_id: m.agent_id.value.clone() }),
        Type::ReactivateAgent => call
            .reactivate_agent
            .as_ref()
            .ok_or("reactivate_agent")
            .map(|m| OperatorCall::ReactivateAgent { agent_id: m.agent_id.value.clone() }),
        Type::UpdateMaintenanceSchedule => {
            let field = "update_maintenance_schedule";
            call.update_maintenance_schedule
                .as_ref()
                .ok_or(field)
                .map(|m| OperatorCall::UpdateMaintenanceSchedule { schedule: m.schedule.clone() })
        }
        Type::StartMaintenance => call
            .start_maintenance
            .as_ref()
            .ok_or("start_maintenance")
            .map(|m| OperatorCall::StartMaintenance { machines: m.machines.clone() }),
        Type::StopMaintenance => call
            .stop_maintenance
            .as_ref()
            .ok_or("stop_maintenance")
            .map(|m| OperatorCall::StopMaintenance { machines: m.machines.clone() }),
        Type::ReserveResources => {
            call.reserve_resources.as_ref().ok_or("reserve_resources").map(|m| {
                let (source, resources) = (m.source.clone(), m.resources.clone());
                apply(&m.agent_id, reserve(source, resources))
            })
        }
        Type::UnreserveResources => call
            .unreserve_resources
            .as_ref()
            .ok_or("unreserve_resources")
            .map(|m| apply(&m.agent_id, unreserve(m.resources.clone()))),
        Type::CreateVolumes => call
            .create_volumes
            .as_ref()
            .ok_or("create_volumes")
            .map(|m| apply(&m.agent_id, create(m.volumes.clone()))),
        Type::DestroyVolumes => call
            .destroy_volumes
            .as_ref()
            .ok_or("destroy_volumes")
            .map(|m| apply(&m.agent_id, destroy(m.volumes.clone()))),
        Type::GrowVolume => call.grow_volume.as_ref().ok_or("grow_volume").and_then(|m| {
            let agent = m.agent_id.as_ref().ok_or(RESIZED_AGENT)?;
            let (volume, addition) = (m.volume.clone(), m.addition.clone());
            let grow_volume = Some(operation::GrowVolume { volume, addition });
            Ok(apply(agent, Operation { grow_volume, ..of(Kind::GrowVolume) }))
        }),
        Type::ShrinkVolume => call.shrink_volume.as_ref().ok_or("shrink_volume").and_then(|m| {
            let agent = m.agent_id.as_ref().ok_or(RESIZED_AGENT)?;
            let shrink_volume =
                Some(operation::ShrinkVolume { volume: m.volume.clone(), subtract: m.subtract });
            Ok(apply(agent, Operation { shrink_volume, ..of(Kind::ShrinkVolume) }))
        }),
        Type::UpdateQuota => call.update_quota.as_ref().ok_or("update_quota").map(|m| {
            OperatorCall::UpdateQuota { force: m.force(), configs: m.quota_configs.clone() }
        }),
        Type::SetQuota => call
            .set_quota
            .as_ref()
            .ok_or("set_quota")
            .map(|m| OperatorCall::SetQuota { request: Box::new(m.quota_request.clone()) }),
        Type::RemoveQuota => call
            .remove_quota
            .as_ref()
            .ok_or("remove_quota")
            .map(|m| OperatorCall::RemoveQuota { role: m.role.clone() }),
        Type::UpdateWeights => call
            .update_weights
            .as_ref()
            .ok_or("update_weights")
            .map(|m| OperatorCall::UpdateWeights { infos: m.weight_infos.clone() }),
        _ => return None,
    })
}

/// Missing in a call that resizes a volume.
const RESIZED_AGENT: &str = "agent_id";

/// What a call is told that lacks a field.
pub(crate) fn missing(field: &str) -> String {
    let more = match field {
        RESIZED_AGENT => "; only agent default resources are supported right now",
        _ => "",
    };
    format!("Failed to validate master::Call: Expecting '{field}' to be present{more}")
}

fn of(kind: Kind) -> Operation {
    Operation { r#type: Some(kind as i32), ..Default::default() }
}

fn reserve(source: Vec<v1::Resource>, resources: Vec<v1::Resource>) -> Operation {
    let reserve = Some(operation::Reserve { source, resources });
    Operation { reserve, ..of(Kind::Reserve) }
}

fn unreserve(resources: Vec<v1::Resource>) -> Operation {
    Operation { unreserve: Some(operation::Unreserve { resources }), ..of(Kind::Unreserve) }
}

fn create(volumes: Vec<v1::Resource>) -> Operation {
    Operation { create: Some(operation::Create { volumes }), ..of(Kind::Create) }
}

fn destroy(volumes: Vec<v1::Resource>) -> Operation {
    Operation { destroy: Some(operation::Destroy { volumes }), ..of(Kind::Destroy) }
}

fn apply(agent: &v1::AgentId, operation: Operation) -> OperatorCall {
    OperatorCall::Apply {
        agent_id: agent.value.clone(),
        operation: Box::new(operation),
        principal: None,
    }
}

/// Whether a path is one of those that [`form`] answers.
pub(crate) fn is_form(path: &str) -> bool {
    matches!(path, "/teardown" | "/reserve" | "/unreserve" | "/create-volumes" | "/destroy-volumes")
}

/// `POST` of a form: `slaveId=…&resources=<JSON array>` and its like.
pub(crate) async fn form(shared: &Arc<Shared>, path: &str, request: Request) -> Response {
    if request.method() != http::Method::POST {
        return respond::method_not_allowed("POST", request.method());
    }
    let body = match http_api::intake::body(request, FORM_MAX).await {
        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
        Err(refusal) => return *refusal,
    };
    match form_change(path, &body) {
        Ok(call) => ask(shared, call).await,
        Err(text) => respond::text(400, text),
    }
}

fn form_change(path: &str, body: &str) -> Result<OperatorCall, String> {
    let value = |name: &str| {
        respond::query_value(body, name)
            .ok_or_else(|| format!("Missing '{name}' query parameter in the request body"))
    };
    if path == "/teardown" {
        return Ok(OperatorCall::Teardown { framework_id: value("frameworkId")? });
    }
    let agent = v1::AgentId { value: value("slaveId")? };
    let list = |name: &str| {
        let fault =
            |e: String| format!("Error parsing '{name}' query parameter in the request body: {e}");
        let text = value(name)?;
        let items: Vec<serde_json::Value> =
            serde_json::from_str(&text).map_err(|e| fault(e.to_string()))?;
        let items = items.iter().map(wire::json::from_value::<v1::Resource>);
        items.collect::<Result<Vec<_>, _>>().map_err(|e| fault(e.to_string()))
    };
    let operation = match path {
        "/reserve" => {
            let has_source = respond::query_value(body, "source").is_some();
            let resources = list("resources")?;
            reserve(if has_source { list("source")? } else { Vec::new() }, resources)
        }
        "/unreserve" => unreserve(list("resources")?),
        "/create-volumes" => create(list("volumes")?),
        _ => destroy(list("volumes")?),
    };
    Ok(apply(&agent, operation))
}

/// `/quota` and `/weights` with a method that changes them; None: it is a read.
pub(crate) async fn policy(
    shared: &Arc<Shared>,
    path: &str,
    request: Request,
) -> Result<Response, Request> {
    use http::Method;
    let method = request.method().clone();
    let is_read = matches!(method, Method::GET | Method::HEAD);
    let role = path.strip_prefix("/quota/").map(str::to_owned);
    if is_read && role.is_none() {
        return Err(request);
    }
    Ok(match (path, method) {
        ("/quota", Method::POST) => ask_as(shared, request, quota_request).await,
        ("/weights", Method::PUT) => ask_as(shared, request, weights_request).await,
        (_, Method::DELETE) if role.is_some() => {
            ask(shared, OperatorCall::RemoveQuota { role: role.unwrap_or_default() }).await
        }
        ("/weights", method) => respond::method_not_allowed("GET, PUT", &method),
        (_, method) => respond::method_not_allowed("GET, POST, DELETE", &method),
    })
}

/// What operators set of a role: a body sets it, `DELETE` with `role=` in the query takes it back. `allowed`: methods.
pub(crate) async fn by_role(
    shared: &Arc<Shared>,
    request: Request,
    allowed: &'static str,
    parse: fn(&str) -> Result<OperatorCall, String>,
    remove: fn(String) -> OperatorCall,
) -> Response {
    let method = request.method().clone();
    if !allowed.split(", ").any(|m| m == method.as_str()) {
        return respond::method_not_allowed(allowed, &method);
    }
    if method != http::Method::DELETE {
        return ask_as(shared, request, parse).await;
    }
    match respond::query_value(request.uri().query().unwrap_or_default(), "role") {
        Some(role) => ask(shared, remove(role)).await,
        None => respond::text(400, "Expecting 'role=<name>' in the query"),
    }
}

/// The text of a request; Err: the answer that refuses it.
async fn body(request: Request) -> Result<String, Box<Response>> {
    let whole = http_api::intake::body(request, FORM_MAX).await?;
    Ok(String::from_utf8_lossy(&whole).into_owned())
}

/// Has the core carry out what a body asks for, as `parse` understands it.
pub(crate) async fn ask_as(
    shared: &Arc<Shared>,
    request: Request,
    parse: fn(&str) -> Result<OperatorCall, String>,
) -> Response {
    match body(request).await.map(|text| parse(&text)) {
        Ok(Ok(call)) => ask(shared, call).await,
        Ok(Err(text)) => respond::text(400, text),
        Err(refusal) => *refusal,
    }
}

fn quota_request(text: &str) -> Result<OperatorCall, String> {
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| format!("Failed to parse set quota request JSON '{text}': {e}"))?;
    let request = wire::json::from_value(&value)
        .map_err(|e| format!("Failed to validate set quota request JSON '{text}': {e}"))?;
    Ok(OperatorCall::SetQuota { request: Box::new(request) })
}

fn weights_request(text: &str) -> Result<OperatorCall, String> {
    let values: Vec<serde_json::Value> = serde_json::from_str(text)
        .map_err(|e| format!("Failed to parse update weights request JSON '{text}': {e}"))?;
    let infos = values.iter().map(wire::json::from_value::<v1::WeightInfo>);
    let infos = infos
        .collect::<Result<_, _>>()
        .map_err(|e| format!("Failed to convert weights JSON array to protobuf '{text}': {e}"))?;
    Ok(OperatorCall::UpdateWeights { infos })
}

/// Has the core carry out a change.
pub(crate) async fn ask(shared: &Arc<Shared>, call: OperatorCall) -> Response {
    shared.ask(|token| Input::Operator { token, call }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUS: &str = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]"#;

    #[test]
    fn a_form_names_what_is_missing_or_wrong() {
        let missing =
            |name: &str| Err(format!("Missing '{name}' query parameter in the request body"));
        assert_eq!(form_change("/teardown", "x=y"), missing("frameworkId"));
        assert_eq!(form_change("/reserve", "resources=[]"), missing("slaveId"));
        assert_eq!(form_change("/reserve", "slaveId=a"), missing("resources"));
        assert_eq!(form_change("/create-volumes", "slaveId=a&resources=[]"), missing("volumes"));
        let wrong = form_change("/unreserve", "slaveId=a&resources=[{}]").expect_err("no resource");
        assert!(wrong.starts_with("Error parsing 'resources' query parameter"), "{wrong}");
        assert!(wrong.contains("name"), "{wrong}");
    }

    #[test]
    fn a_volume_is_resized_on_a_named_agent() {
        let volume: serde_json::Value = serde_json::json!({"name": "disk", "type": "SCALAR"});
        let call = serde_json::json!({
            "type": "GROW_VOLUME", "grow_volume": {"volume": volume, "addition": volume},
        });
        let call: Call = wire::json::from_value(&call).expect("a call");
        let field = change(&call).expect("a change").expect_err("no agent");
        assert_eq!(
            missing(field),
            "Failed to validate master::Call: Expecting 'agent_id' to be present; only agent default resources are supported right now"
        );
    }

    #[test]
    fn a_form_asks_for_what_the_call_asks_for() {
        let body = format!("slaveId=a&resources={CPUS}&source={CPUS}");
        let resources: serde_json::Value = serde_json::from_str(CPUS).expect("JSON");
        let call = serde_json::json!({
            "type": "RESERVE_RESOURCES",
            "reserve_resources": {
                "agent_id": {"value": "a"}, "resources": resources, "source": resources,
            },
        });
        let call: Call = wire::json::from_value(&call).expect("a call");
        let asked = change(&call).expect("a change").expect("complete");
        assert_eq!(form_change("/reserve", &body), Ok(asked));
        let empty = Call { reserve_resources: None, ..call };
        assert_eq!(change(&empty), Some(Err("reserve_resources")));
    }
}
