//! The v1 operator API, as far as it is there: what is not is refused by name.

use crate::shared::Shared;
use crate::{metrics, writes};
use http_api::negotiate::Encoding;
use http_api::{Request, Response, negotiate, respond};
use master_core::State;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use wire::v1;
use wire::v1::master::call::Type;
use wire::v1::master::{Call, Response as Answer, response};

/// Answers `POST /api/v1`.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request, limit: usize) -> Response {
    let headers = request.headers().clone();
    let call: Call = match negotiate::call(request, limit).await {
        Ok(call) => call,
        Err(refusal) => return *refusal,
    };
    if call.r#type.is_none() {
        return respond::text(
            400,
            "Failed to validate master::Call: Expecting 'type' to be present",
        );
    }
    let Some(encoding) = negotiate::accepted(&headers) else {
        return respond::text(
            406,
            "Expecting 'Accept' to allow application/json or application/x-protobuf",
        );
    };
    let expect = |name: &str| {
        respond::text(
            400,
            format!("Failed to validate master::Call: Expecting '{name}' to be present"),
        )
    };
    match writes::change(&call) {
        Some(Ok(change)) => writes::ask(shared, change).await,
        Some(Err(field)) => expect(field),
        None => read(shared, call.r#type(), encoding).await,
    }
}

async fn read(shared: &Arc<Shared>, kind: Type, encoding: Encoding) -> Response {
    let Some(view) = shared.view().await else {
        return respond::text(503, "The master is shutting down");
    };
    let mut answer = Answer::default();
    match kind {
        Type::GetHealth => {
            answer.r#type = Some(response::Type::GetHealth as i32);
            answer.get_health = Some(response::GetHealth { healthy: true });
        }
        Type::GetVersion => {
            answer.r#type = Some(response::Type::GetVersion as i32);
            let version_info = http_api::version::info();
            answer.get_version = Some(response::GetVersion { version_info });
        }
        Type::GetFlags => {
            answer.r#type = Some(response::Type::GetFlags as i32);
            let flags = view
                .flags
                .iter()
                .map(|(name, value)| v1::Flag { name: name.clone(), value: Some(value.clone()) });
            answer.get_flags = Some(response::GetFlags { flags: flags.collect() });
        }
        Type::GetMetrics => {
            answer.r#type = Some(response::Type::GetMetrics as i32);
            let all = metrics::snapshot(&view, shared);
            let metrics = all.as_object().into_iter().flatten();
            let metrics = metrics
                .map(|(name, value)| v1::Metric { name: name.clone(), value: value.as_f64() });
            answer.get_metrics = Some(response::GetMetrics { metrics: metrics.collect() });
        }
        Type::GetMaster => {
            answer.r#type = Some(response::Type::GetMaster as i32);
            let start = shared.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            answer.get_master = Some(response::GetMaster {
                master_info: Some(view.info.clone()),
                start_time: Some(start),
                elected_time: view.elected.map(base::WallTime::as_secs_f64),
            });
        }
        Type::GetWeights => {
            answer.r#type = Some(response::Type::GetWeights as i32);
            let weight_infos: Vec<v1::WeightInfo> = view
                .weights
                .iter()
                .map(|(role, weight)| v1::WeightInfo { role: Some(role.clone()), weight: *weight })
                .collect();
            answer.get_weights =
                (!weight_infos.is_empty()).then_some(response::GetWeights { weight_infos });
        }
        Type::GetQuota => {
            answer.r#type = Some(response::Type::GetQuota as i32);
            answer.get_quota = Some(response::GetQuota { status: quota_status(&view) });
        }
        Type::Unknown => return respond::text(501, "Unknown call type"),
        other => {
            return respond::text(
                501,
                format!("The call {} is not supported yet", other.as_str_name()),
            );
        }
    }
    respond::content(encoding.media_type(), encoding.encode(&answer))
}

/// All quotas, in the newer and the older form.
pub(crate) fn quota_status(state: &State) -> v1::quota::QuotaStatus {
    let info = |config: &v1::quota::QuotaConfig| v1::quota::QuotaInfo {
        role: Some(config.role.clone()),
        principal: None,
        guarantee: config
            .guarantees
            .iter()
            .map(|(name, scalar)| v1::Resource {
                name: name.clone(),
                r#type: v1::value::Type::Scalar as i32,
                scalar: Some(*scalar),
                ..Default::default()
            })
            .collect(),
    };
    v1::quota::QuotaStatus {
        infos: state.quotas.values().map(info).collect(),
        configs: state.quotas.values().cloned().collect(),
    }
}
