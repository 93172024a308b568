//! Calls about containers: whether they are valid, and the answer to those that wait (spec/agent.md 8.2).

use agent_core::contract::{ContainerCall, ContainerEnd};
use http_api::negotiate::Encoding;
use http_api::{Response, respond};
use resources::Resources;
use wire::v1;
use wire::v1::agent::{Call, Response as Answer, call, response};

/// Longest id of a container.
const ID_MAX: usize = 242;

/// The call for the core; None if it is about something else; or what is wrong with it.
pub(crate) fn parse(call: &Call) -> Option<Result<ContainerCall, String>> {
    use call::Type;
    let parsed = match call.r#type() {
        Type::LaunchNestedContainer => launch_nested(call),
        Type::LaunchContainer => launch(call),
        Type::WaitNestedContainer => {
            let id = call.wait_nested_container.as_ref().map(|c| &c.container_id);
            nested("wait_nested_container", id).map(|id| ContainerCall::Wait { container_id: id })
        }
        Type::WaitContainer => {
            let id = call.wait_container.as_ref().map(|c| &c.container_id);
            any("wait_container", id).map(|id| ContainerCall::Wait { container_id: id })
        }
        Type::KillNestedContainer => {
            let given = call.kill_nested_container.as_ref();
            let signal = given.and_then(|c| c.signal).unwrap_or(9);
            nested("kill_nested_container", given.map(|c| &c.container_id))
                .map(|container_id| ContainerCall::Kill { container_id, signal })
        }
        Type::KillContainer => {
            let given = call.kill_container.as_ref();
            let signal = given.and_then(|c| c.signal).unwrap_or(9);
            any("kill_container", given.map(|c| &c.container_id))
                .map(|container_id| ContainerCall::Kill { container_id, signal })
        }
        Type::RemoveNestedContainer => {
            let id = call.remove_nested_container.as_ref().map(|c| &c.container_id);
            nested("remove_nested_container", id)
                .map(|id| ContainerCall::Remove { container_id: id })
        }
        Type::RemoveContainer => {
            let id = call.remove_container.as_ref().map(|c| &c.container_id);
            any("remove_container", id).map(|id| ContainerCall::Remove { container_id: id })
        }
        _ => return None,
    };
    Some(parsed)
}

fn any(call: &str, id: Option<&v1::ContainerId>) -> Result<v1::ContainerId, String> {
    let id = id.ok_or_else(|| format!("Expecting '{call}' to be present"))?;
    check_id(id).map_err(|text| format!("'{call}.container_id' is invalid: {text}"))?;
    Ok(id.clone())
}

fn nested(call: &str, id: Option<&v1::ContainerId>) -> Result<v1::ContainerId, String> {
    let id = any(call, id)?;
    match id.parent {
        Some(_) => Ok(id),
        None => Err(format!("Expecting '{call}.container_id.parent' to be present")),
    }
}

fn check_id(id: &v1::ContainerId) -> Result<(), String> {
    let value = &id.value;
    if value.is_empty() {
        return Err("ID must not be empty".to_owned());
    }
    if value == "." || value == ".." {
        return Err(format!("'{value}' is disallowed"));
    }
    if value.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
        return Err(format!("'{value}' contains invalid characters"));
    }
    if value.len() > ID_MAX {
        return Err(format!("'ContainerID.value' '{value}' exceeds the maximum length ({ID_MAX})"));
    }
    if value.contains(['.', ' ']) {
        return Err(format!("'ContainerID.value' '{value}' contains invalid characters"));
    }
    match &id.parent {
        Some(parent) => {
            check_id(parent).map_err(|text| format!("'ContainerID.parent' is invalid: {text}"))
        }
        None => Ok(()),
    }
}

/// Whether it is at least two levels below its root.
fn is_deep(id: &v1::ContainerId) -> bool {
    id.parent.as_ref().is_some_and(|parent| parent.parent.is_some())
}

fn share_cgroups(container: Option<&v1::ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}

fn check_depth(call: &str, id: &v1::ContainerId, shares: Option<bool>) -> Result<(), String> {
    if is_deep(id) && shares == Some(false) {
        return Err(format!(
            "'{call}' is invalid: containers nested at the second level or greater cannot set \
             'share_cgroups' to 'false'"
        ));
    }
    Ok(())
}

fn launch_nested(call: &Call) -> Result<ContainerCall, String> {
    let name = "launch_nested_container";
    let given = call.launch_nested_container.as_ref();
    let container_id = nested(name, given.map(|c| &c.container_id))?;
    let container = given.and_then(|c| c.container.clone());
    check_depth(name, &container_id, share_cgroups(container.as_ref()))?;
    Ok(ContainerCall::Launch {
        container_id,
        command: Box::new(given.and_then(|c| c.command.clone()).unwrap_or_default()),
        container: container.map(Box::new),
        resources: Vec::new(),
        limits: Default::default(),
        streams: None,
    })
}

fn launch(call: &Call) -> Result<ContainerCall, String> {
    let name = "launch_container";
    let given = call.launch_container.clone();
    let container_id = any(name, given.as_ref().map(|c| &c.container_id))?;
    let given = given.unwrap_or_default();
    Resources::from_wire(&given.resources).map_err(|e| format!("Invalid resources: {e}"))?;
    if container_id.parent.is_none() {
        check_standalone(&given.resources)?;
    }
    let shares = share_cgroups(given.container.as_ref());
    let refused = |what: &str| {
        Err(format!(
            "'{name}' is invalid: containers nested at the second level or greater cannot specify \
             {what}"
        ))
    };
    if is_deep(&container_id) && !given.resources.is_empty() {
        return refused("resources");
    }
    if is_deep(&container_id) && !given.limits.is_empty() {
        return refused("resource limits");
    }
    check_depth(name, &container_id, shares)?;
    if container_id.parent.is_none() && shares == Some(true) {
        return Err(format!(
            "'{name}' is invalid: containers without a parent cannot set 'share_cgroups' to 'true'"
        ));
    }
    Ok(ContainerCall::Launch {
        container_id,
        command: Box::new(given.command.unwrap_or_default()),
        container: given.container.map(Box::new),
        resources: given.resources,
        limits: given.limits.into_iter().collect(),
        streams: None,
    })
}

/// What a session runs, in which container.
pub(crate) fn session(
    call: &Call,
) -> Result<(v1::ContainerId, v1::CommandInfo, Option<v1::ContainerInfo>), String> {
    let name = "launch_nested_container_session";
    let given = call.launch_nested_container_session.as_ref();
    let container_id = nested(name, given.map(|c| &c.container_id))?;
    let container = given.and_then(|c| c.container.clone());
    if share_cgroups(container.as_ref()) == Some(false) {
        return Err(format!(
            "'{name}' is invalid: a session cannot set 'share_cgroups' to 'false'"
        ));
    }
    Ok((container_id, given.and_then(|c| c.command.clone()).unwrap_or_default(), container))
}

/// What a standalone container uses is in nobody's books.
fn check_standalone(resources: &[v1::Resource]) -> Result<(), String> {
    for resource in resources {
        let has_role = resource.role.as_deref().is_some_and(|role| role != "*");
        let text = if has_role || !resource.reservations.is_empty() {
            "must be unreserved"
        } else if resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some()) {
            "may not use persistent volumes"
        } else if resource.revocable.is_some() {
            "must be non-revocable"
        } else {
            continue;
        };
        return Err(format!("'launch_container.resources' {text}"));
    }
    Ok(())
}

/// A response that only says how a container ended; [`encode_end`] makes it whole.
pub(crate) fn ended(end: ContainerEnd) -> Response {
    let mut response = respond::text(200, "");
    response.extensions_mut().insert(end);
    response
}

/// The answer to a call that waited, in its words and encoding.
pub(crate) fn encode_end(mut answer: Response, call: &Call, encoding: Encoding) -> Response {
    let Some(end) = answer.extensions_mut().remove::<ContainerEnd>() else { return answer };
    let limitation = end.limitation.as_ref();
    let state = limitation.map(|_| v1::TaskState::TaskFailed as i32);
    let reason = limitation.map(|l| l.reason as i32);
    let message = limitation.map(|l| l.message.clone());
    let resources = limitation.map(|l| l.resources.clone()).filter(|r| !r.is_empty());
    let limitation = resources.map(|resources| v1::TaskResourceLimitation { resources });
    let exit_status = end.status;
    let answer = if call.r#type() == call::Type::WaitNestedContainer {
        let end = response::WaitNestedContainer { exit_status, state, reason, limitation, message };
        Answer {
            r#type: Some(response::Type::WaitNestedContainer as i32),
            wait_nested_container: Some(end),
            ..Default::default()
        }
    } else {
        let end = response::WaitContainer { exit_status, state, reason, limitation, message };
        Answer {
            r#type: Some(response::Type::WaitContainer as i32),
            wait_container: Some(end),
            ..Default::default()
        }
    };
    respond::content(encoding.media_type(), encoding.encode(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn refused(call: Value, text: &str) {
        let call: Call = wire::json::from_value(&call).expect("a call");
        assert_eq!(parse(&call).expect("about a container"), Err(text.to_owned()));
    }

    #[test]
    fn what_is_wrong_with_a_call_is_said() {
        refused(json!({"type": "WAIT_CONTAINER"}), "Expecting 'wait_container' to be present");
        let id = |value: &str| json!({"container_id": {"value": value}});
        refused(
            json!({"type": "KILL_CONTAINER", "kill_container": id("a.b")}),
            "'kill_container.container_id' is invalid: 'ContainerID.value' 'a.b' contains invalid characters",
        );
        refused(
            json!({"type": "KILL_CONTAINER", "kill_container": id("../x")}),
            "'kill_container.container_id' is invalid: '../x' contains invalid characters",
        );
        refused(
            json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": id("a")}),
            "Expecting 'wait_nested_container.container_id.parent' to be present",
        );
        let mut launch = id("a");
        launch["resources"] =
            json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}, "role": "r"}]);
        refused(
            json!({"type": "LAUNCH_CONTAINER", "launch_container": launch}),
            "'launch_container.resources' must be unreserved",
        );
        let deep = json!({"value": "c", "parent": {"value": "b", "parent": {"value": "a"}}});
        let linux = json!({"type": "MESOS", "linux_info": {"share_cgroups": false}});
        refused(
            json!({"type": "LAUNCH_NESTED_CONTAINER",
                "launch_nested_container": {"container_id": deep, "container": linux}}),
            "'launch_nested_container' is invalid: containers nested at the second level or greater \
             cannot set 'share_cgroups' to 'false'",
        );
    }
}
