//! Messages written from their parts are those that would have been built.

use std::borrow::Cow;
use wire::v1;
use wire::v1::master::{Response, response};
use wire::{Tree, json, protobuf};

fn task(n: usize) -> v1::Task {
    v1::Task {
        name: format!("\"{n}\" <ü>"),
        task_id: format!("t{n}").as_str().into(),
        framework_id: "f".into(),
        agent_id: "a".into(),
        // Some lengths take two bytes.
        user: Some("u".repeat(n * 50)),
        ..Default::default()
    }
}

fn built() -> Response {
    let agent_info = v1::AgentInfo { hostname: "h".to_owned(), ..Default::default() };
    let state = response::GetState {
        get_tasks: Some(response::GetTasks {
            tasks: (0..9).map(task).collect(),
            completed_tasks: vec![task(9)],
            ..Default::default()
        }),
        get_agents: Some(response::GetAgents {
            recovered_agents: vec![agent_info],
            ..Default::default()
        }),
        ..Default::default()
    };
    Response {
        r#type: Some(response::Type::GetState as i32),
        get_state: Some(state),
        ..Default::default()
    }
}

fn written(message: &Response) -> Tree<'_> {
    let state = message.get_state.as_ref().expect("a state");
    let tasks = state.get_tasks.as_ref().expect("tasks");
    let agents = state.get_agents.as_ref().expect("agents");
    let tasks = Tree::of::<response::GetTasks>()
        .list("tasks", tasks.tasks.iter().map(Cow::Borrowed))
        .list("completed_tasks", tasks.completed_tasks.iter().cloned().map(Cow::<v1::Task>::Owned));
    let agents = Tree::of::<response::GetAgents>()
        .list("recovered_agents", agents.recovered_agents.iter().map(Cow::Borrowed));
    let state =
        Tree::of::<response::GetState>().tree("get_tasks", tasks).tree("get_agents", agents);
    let fields = Response { r#type: message.r#type, ..Default::default() };
    Tree::with(&fields).tree("get_state", state)
}

#[test]
fn in_protobuf() {
    let built = built();
    let mut out = Vec::new();
    written(&built).write_protobuf(&mut out).expect("memory takes all");
    assert_eq!(out.len(), written(&built).length());
    assert_eq!(out, protobuf::to_vec(&built));
}

#[test]
fn in_json() {
    let built = built();
    let mut out = Vec::new();
    written(&built).write_json(&mut out).expect("memory takes all");
    assert_eq!(String::from_utf8(out), Ok(json::to_string(&built)));
}

#[test]
fn empty_lists_are_there_in_json() {
    let none: [Cow<'_, v1::Task>; 0] = [];
    let tree =
        Tree::of::<response::GetTasks>().list("tasks", none.clone()).list("completed_tasks", none);
    let (mut text, mut bytes) = (Vec::new(), Vec::new());
    tree.write_json(&mut text).expect("memory takes all");
    tree.write_protobuf(&mut bytes).expect("memory takes all");
    assert_eq!(String::from_utf8_lossy(&text), r#"{"tasks":[],"completed_tasks":[]}"#);
    assert!(bytes.is_empty());
}
