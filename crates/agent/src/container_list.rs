//! GET_CONTAINERS: executors, and the containers inside them and beside them if that is asked for (spec/agent.md 8.2).

use crate::shared::Shared;
use crate::statistics;
use agent_core::{ExecutorKind, LaunchedState, State};
use containerizer::isolation::Running;
use wire::v1;
use wire::v1::agent::call;
use wire::v1::agent::response::get_containers::Container;

/// All that are asked for. Reads files of the kernel: call it where blocking is allowed.
pub(crate) fn get(
    state: &State,
    shared: &Shared,
    asked: Option<&call::GetContainers>,
) -> Vec<Container> {
    let executor = |entry: statistics::Entry<'_>| {
        let executor = entry.executor;
        Container {
            framework_id: Some(entry.framework_id.into()),
            executor_id: Some(executor.info.executor_id.clone()),
            executor_name: executor.info.name.clone(),
            container_id: id(&executor.container_id),
            container_status: Some(entry.status()),
            resource_statistics: Some(entry.statistics),
        }
    };
    let mut all: Vec<Container> =
        statistics::all(state, shared).into_iter().map(executor).collect();
    let (nested, standalone) =
        asked.map_or((false, false), |asked| (asked.show_nested(), asked.show_standalone()));
    let mut others = Vec::new();
    if nested {
        others.extend(tasks_of_pods(state));
    }
    for (name, launched) in &state.launched {
        let is_shown = if launched.container_id.parent.is_some() { nested } else { standalone };
        if let (LaunchedState::Running { pid }, true) = (&launched.state, is_shown) {
            let running = Running { container_id: name.clone(), supervisor: *pid };
            others.push((launched.container_id.value.clone(), running));
        }
    }
    let running: Vec<Running> = others.iter().map(|(_, running)| running.clone()).collect();
    let used = shared.containerizer.usage(&running);
    // The peer's answer has no parents either.
    let other = |((value, running), used): ((String, Running), _)| Container {
        container_id: id(&value),
        container_status: Some(v1::ContainerStatus {
            container_id: Some(id(&value)),
            executor_pid: Some(running.supervisor),
            ..Default::default()
        }),
        resource_statistics: Some(used),
        ..Default::default()
    };
    all.extend(others.into_iter().zip(used).map(other));
    all
}

fn id(value: &str) -> v1::ContainerId {
    v1::ContainerId { value: value.to_owned(), ..Default::default() }
}

/// The containers of the tasks of pods that run.
fn tasks_of_pods(state: &State) -> impl Iterator<Item = (String, Running)> {
    let executors = state.frameworks.values().flat_map(|framework| framework.executors.values());
    let pods = executors.filter(|executor| executor.kind == ExecutorKind::Default);
    let tasks = pods.flat_map(|executor| executor.tasks.values()).filter(|t| !t.is_terminal());
    tasks.filter_map(|task| {
        let (container_id, supervisor) = (task.container_id.clone()?, task.pid?);
        Some((container_id.clone(), Running { container_id, supervisor }))
    })
}
