//! `/maintenance/schedule`, `/maintenance/status`, `/machine/down` and `/machine/up` (spec/master.md 1.11, 5.2).

use crate::shared::Shared;
use crate::writes::ask_as;
use http::Method;
use http_api::{Request, Response, respond};
use master_core::contract::OperatorCall;
use std::sync::Arc;
use wire::v1;

/// Answers what changes something, and methods that are not there; Err: it is a read.
pub(crate) async fn change(
    shared: &Arc<Shared>,
    path: &str,
    request: Request,
) -> Result<Response, Request> {
    let method = request.method().clone();
    let is_read = matches!(method, Method::GET | Method::HEAD);
    Ok(match path {
        "/maintenance/schedule" | "/maintenance/status" if is_read => return Err(request),
        "/maintenance/schedule" if method == Method::POST => {
            ask_as(shared, request, schedule).await
        }
        "/maintenance/schedule" => respond::method_not_allowed("GET, POST", &method),
        "/maintenance/status" => respond::method_not_allowed("GET", &method),
        _ if method != Method::POST => respond::method_not_allowed("POST", &method),
        "/machine/down" => ask_as(shared, request, down).await,
        _ => ask_as(shared, request, up).await,
    })
}

const SCHEDULE: &str = r#"{"windows":[{"machine_ids":[{"hostname":"…","ip":"…"}],"unavailability":{"start":{"nanoseconds":…}}}]}"#;
const MACHINES: &str = r#"[{"hostname":"…","ip":"…"}]"#;

fn schedule(text: &str) -> Result<OperatorCall, String> {
    let fault =
        |error: String| format!("Failed to parse the schedule: {error}; expected {SCHEDULE}");
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
    let schedule = wire::json::from_value(&value).map_err(|e| fault(e.to_string()))?;
    Ok(OperatorCall::UpdateMaintenanceSchedule { schedule })
}

fn down(text: &str) -> Result<OperatorCall, String> {
    Ok(OperatorCall::StartMaintenance { machines: machines(text)? })
}

fn up(text: &str) -> Result<OperatorCall, String> {
    Ok(OperatorCall::StopMaintenance { machines: machines(text)? })
}

fn machines(text: &str) -> Result<Vec<v1::MachineId>, String> {
    let fault = |error: String| {
        format!("Failed to parse the list of machines: {error}; expected {MACHINES}")
    };
    let values: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
    let machines = values.iter().map(wire::json::from_value::<v1::MachineId>);
    machines.collect::<Result<_, _>>().map_err(|e| fault(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_say_what_is_planned() {
        let text = r#"{"windows":[{"machine_ids":[{"hostname":"h","ip":"10.0.0.1"}],
            "unavailability":{"start":{"nanoseconds":5},"duration":{"nanoseconds":7}}}]}"#;
        let Ok(OperatorCall::UpdateMaintenanceSchedule { schedule }) = schedule(text) else {
            panic!("{text}")
        };
        assert_eq!(schedule.windows[0].machine_ids[0].hostname(), "h");
        assert_eq!(schedule.windows[0].unavailability.start.nanoseconds, 5);
        assert_eq!(machines(r#"[{"ip":"10.0.0.1"}]"#).map(|m| m.len()), Ok(1));
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said() {
        for text in ["", "[]", r#"{"windows":[{"machine_ids":[]}]}"#, r#"{"windows":5}"#] {
            let error = schedule(text).expect_err(text);
            assert!(error.starts_with("Failed to parse the schedule: "), "{error}");
        }
        for text in ["{}", "[5]", r#"[{"host":"#] {
            let error = machines(text).expect_err(text);
            assert!(error.starts_with("Failed to parse the list of machines: "), "{error}");
        }
    }
}
