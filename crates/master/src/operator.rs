//! The v1 operator API (spec/master.md 5.1), as far as it is there: what is not is refused by name.

use crate::observers::Observed;
use crate::shared::Shared;
use crate::{metrics, reads, writes};
use http::HeaderMap;
use http_api::calls;
use http_api::logging::Wanted;
use http_api::negotiate::Encoding;
use http_api::stream::event_stream;
use http_api::{Request, Response, bulk, files, negotiate, respond};
use master_core::State;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use wire::v1::master::call::{Subscribe, Type};
use wire::v1::master::{Call, Response as Answer, event, response};
use wire::{Tree, v1};

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
    calls::name(call.r#type().as_str_name());
    let Some(encoding) = negotiate::accepted(&headers) else {
        return respond::text(
            406,
            "Expecting 'Accept' to allow application/json or application/x-protobuf",
        );
    };
    let expect = |field: &str| respond::text(400, writes::missing(field));
    if call.r#type() == Type::Subscribe {
        let kinds = call.subscribe.iter().flat_map(|s| &s.event_types);
        if kinds
            .copied()
            .any(|kind| event::Type::try_from(kind).is_ok_and(|k| k == event::Type::Unknown))
        {
            return respond::text(400, "Expecting names of events in 'subscribe.event_types'");
        }
        return subscribe(shared, call.subscribe, encoding);
    }
    match writes::change(&call) {
        Some(Ok(change)) => writes::ask(shared, change).await,
        Some(Err(field)) => expect(field),
        None => match large(call.r#type()) {
            Some(large) => read_large(shared, large, encoding, &headers).await,
            None => read(shared, call, encoding).await,
        },
    }
}

/// The event stream of an operator.
fn subscribe(shared: &Arc<Shared>, wanted: Option<Subscribe>, encoding: Encoding) -> Response {
    let stream = shared.token();
    let (sender, response, closed) = event_stream(encoding);
    let _ = shared.observed.send(Observed::Opened { stream, sender, wanted: wanted.into() });
    let shared = shared.clone();
    tokio::spawn(async move {
        closed.wait().await;
        let _ = shared.observed.send(Observed::Closed { stream });
    });
    response
}

async fn read_large(
    shared: &Arc<Shared>,
    (kind, (field, part)): (response::Type, Large),
    encoding: Encoding,
    headers: &HeaderMap,
) -> Response {
    let call = kind.as_str_name().as_bytes().to_vec();
    let asked = bulk::Kind::new(call, encoding.media_type(), headers);
    let from = shared.clone();
    let make = move |out: &mut dyn io::Write| {
        let view = from.view_blocking().ok_or_else(|| io::Error::other("shutting down"))?;
        let answer = Tree::with(&Answer { r#type: Some(kind as i32), ..Default::default() });
        encoding.write(&answer.tree(field, part(&view)), out)
    };
    shared.bulk.answer(asked, make).await
}

async fn read(shared: &Arc<Shared>, call: Call, encoding: Encoding) -> Response {
    let Some(view) = shared.view().await else {
        return respond::text(503, "The master is shutting down");
    };
    let filters = match call.r#type() {
        Type::GetMetrics => shared.offer_filters().await,
        _ => BTreeMap::new(),
    };
    let shared = shared.clone();
    // Large answers and files: on a thread that may take its time.
    let answer = tokio::task::spawn_blocking(move || {
        from_snapshot(&shared, &view, &call, encoding, &filters)
    })
    .await;
    answer.unwrap_or_else(|_| respond::text(500, "The answer could not be made"))
}

/// The field of an answer that may be large, and what writes it.
type Large = (&'static str, fn(&State) -> Tree<'_>);

fn large(kind: Type) -> Option<(response::Type, Large)> {
    use response::Type as Answered;
    Some(match kind {
        Type::GetState => (Answered::GetState, ("get_state", reads::state)),
        Type::GetAgents => (Answered::GetAgents, ("get_agents", reads::agents)),
        Type::GetFrameworks => (Answered::GetFrameworks, ("get_frameworks", reads::frameworks)),
        Type::GetExecutors => (Answered::GetExecutors, ("get_executors", reads::executors)),
        Type::GetTasks => (Answered::GetTasks, ("get_tasks", reads::tasks)),
        _ => return None,
    })
}

fn from_snapshot(
    shared: &Shared,
    view: &State,
    call: &Call,
    encoding: Encoding,
    filters: &BTreeMap<String, u64>,
) -> Response {
    use response::Type as Answered;
    let expect = |name: &str| {
        respond::text(
            400,
            format!("Failed to validate master::Call: Expecting '{name}' to be present"),
        )
    };
    let mut answer = Answer::default();
    let kind = match call.r#type() {
        Type::GetHealth => {
            answer.get_health = Some(response::GetHealth { healthy: true });
            Answered::GetHealth
        }
        Type::GetVersion => {
            let version_info = http_api::version::info();
            answer.get_version = Some(response::GetVersion { version_info });
            Answered::GetVersion
        }
        Type::GetFlags => {
            let flag = |(name, value): (&String, &String)| v1::Flag {
                name: name.clone(),
                value: Some(value.clone()),
            };
            answer.get_flags =
                Some(response::GetFlags { flags: view.flags.iter().map(flag).collect() });
            Answered::GetFlags
        }
        Type::GetMetrics => {
            if call.get_metrics.is_none() {
                return expect("get_metrics");
            }
            let all = metrics::snapshot(view, shared, filters);
            let metric = |(name, value): (&String, &serde_json::Value)| v1::Metric {
                name: name.clone(),
                value: value.as_f64(),
            };
            let metrics = all.as_object().into_iter().flatten().map(metric).collect();
            answer.get_metrics = Some(response::GetMetrics { metrics });
            Answered::GetMetrics
        }
        Type::GetLoggingLevel => {
            answer.get_logging_level =
                Some(response::GetLoggingLevel { level: shared.log_level.get() });
            Answered::GetLoggingLevel
        }
        Type::SetLoggingLevel => {
            let Some(wanted) = &call.set_logging_level else { return expect("set_logging_level") };
            let nanos = u64::try_from(wanted.duration.nanoseconds).unwrap_or(0);
            return match shared
                .log_level
                .set(Wanted::Level(wanted.level), Duration::from_nanos(nanos))
            {
                Ok(()) => respond::text(200, ""),
                Err(text) => respond::text(400, text),
            };
        }
        Type::ListFiles => {
            let Some(wanted) = &call.list_files else { return expect("list_files") };
            match files::list(&shared.attached(), &wanted.path) {
                Ok(file_infos) => answer.list_files = Some(response::ListFiles { file_infos }),
                Err(refusal) => return *refusal,
            }
            Answered::ListFiles
        }
        Type::ReadFile => {
            let Some(wanted) = &call.read_file else { return expect("read_file") };
            match files::piece(&shared.attached(), &wanted.path, wanted.offset, wanted.length) {
                Ok((size, data)) => answer.read_file = Some(response::ReadFile { size, data }),
                Err(refusal) => return *refusal,
            }
            Answered::ReadFile
        }
        Type::GetMaster => {
            let start = shared.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            answer.get_master = Some(response::GetMaster {
                master_info: Some(view.info.clone()),
                start_time: Some(start),
                elected_time: view.elected.map(base::WallTime::as_secs_f64),
            });
            Answered::GetMaster
        }
        Type::GetOperations => {
            answer.get_operations = Some(reads::operations(view));
            Answered::GetOperations
        }
        Type::GetRoles => {
            answer.get_roles = Some(reads::roles(view));
            Answered::GetRoles
        }
        Type::GetWeights => {
            let info = |(role, weight): (&String, &f64)| v1::WeightInfo {
                role: Some(role.clone()),
                weight: *weight,
            };
            let weight_infos: Vec<_> = view.weights.iter().map(info).collect();
            answer.get_weights =
                (!weight_infos.is_empty()).then_some(response::GetWeights { weight_infos });
            Answered::GetWeights
        }
        Type::GetQuota => {
            answer.get_quota = Some(response::GetQuota { status: quota_status(view) });
            Answered::GetQuota
        }
        Type::GetMaintenanceStatus => {
            let status = view.maintenance_status();
            answer.get_maintenance_status = Some(response::GetMaintenanceStatus { status });
            Answered::GetMaintenanceStatus
        }
        Type::GetMaintenanceSchedule => {
            let schedule = view.maintenance.schedule().clone();
            answer.get_maintenance_schedule = Some(response::GetMaintenanceSchedule { schedule });
            Answered::GetMaintenanceSchedule
        }
        Type::Unknown => return respond::text(501, "Unknown call type"),
        other => {
            let text = format!("The call {} is not supported yet", other.as_str_name());
            return respond::text(501, text);
        }
    };
    answer.r#type = Some(kind as i32);
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
