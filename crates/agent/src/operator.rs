//! The agent's v1 operator API (spec/agent.md 8.2), as far as it is there: what is not is refused by name.

use crate::routes::attached;
use crate::shared::Shared;
use crate::{container_list, metrics};
use agent_core::{Executor, ExecutorKind, Framework, State, Task};
use http_api::logging::Wanted;
use http_api::negotiate::Encoding;
use http_api::{Response, files, respond};
use std::borrow::Cow;
use std::time::Duration;
use wire::v1::agent::response::{
    GetExecutors, GetFrameworks, GetState, GetTasks, get_executors, get_frameworks,
};
use wire::v1::agent::{Call, Response as Answer, call, response};
use wire::{Tree, v1};

/// Frameworks, live ones first, with their ids.
fn frameworks(state: &State) -> impl Iterator<Item = (&str, &Framework)> {
    let all = state.frameworks.values().chain(&state.completed_frameworks);
    all.map(|f| (f.info.id.as_ref().map_or("", |id| id.value.as_str()), &**f))
}

fn get_frameworks(state: &State) -> GetFrameworks {
    let shown = |f: &std::sync::Arc<Framework>| get_frameworks::Framework {
        framework_info: f.info.clone(),
    };
    GetFrameworks {
        frameworks: state.frameworks.values().map(shown).collect(),
        completed_frameworks: state.completed_frameworks.iter().map(shown).collect(),
    }
}

fn get_executors(state: &State) -> GetExecutors {
    let shown = |id: &str, e: &Executor| get_executors::Executor {
        executor_info: v1::ExecutorInfo { framework_id: Some(id.into()), ..e.info.clone() },
    };
    let live = frameworks(state).flat_map(|(id, f)| f.executors.values().map(move |e| (id, e)));
    let completed =
        frameworks(state).flat_map(|(id, f)| f.completed_executors.iter().map(move |e| (id, e)));
    GetExecutors {
        executors: live.map(|(id, e)| shown(id, e)).collect(),
        completed_executors: completed.map(|(id, e)| shown(id, e)).collect(),
    }
}

fn get_tasks(state: &State) -> GetTasks {
    let mut out = GetTasks::default();
    for (id, framework) in frameworks(state) {
        let completed = framework.completed_executors.iter().map(AsRef::as_ref);
        for executor in framework.executors.values().chain(completed) {
            let shown = if executor.kind == ExecutorKind::Command { "" } else { executor.id() };
            let wire = |task: &Task| task.to_wire(id, shown);
            for task in executor.tasks.values() {
                let list = if task.is_terminal() {
                    &mut out.terminated_tasks
                } else if task.launched {
                    &mut out.launched_tasks
                } else {
                    &mut out.queued_tasks
                };
                list.push(wire(task));
            }
            out.completed_tasks.extend(executor.completed_tasks.iter().map(|task| wire(task)));
        }
    }
    out
}

fn items<M: wire::Message + 'static>(items: Vec<M>) -> impl Iterator<Item = Cow<'static, M>> {
    items.into_iter().map(Cow::Owned)
}

fn frameworks_tree(state: &State) -> Tree<'static> {
    let all = get_frameworks(state);
    Tree::of::<GetFrameworks>()
        .list("frameworks", items(all.frameworks))
        .list("completed_frameworks", items(all.completed_frameworks))
}

fn executors_tree(state: &State) -> Tree<'static> {
    let all = get_executors(state);
    Tree::of::<GetExecutors>()
        .list("executors", items(all.executors))
        .list("completed_executors", items(all.completed_executors))
}

fn tasks_tree(state: &State) -> Tree<'static> {
    let all = get_tasks(state);
    Tree::of::<GetTasks>()
        .list("pending_tasks", items(all.pending_tasks))
        .list("queued_tasks", items(all.queued_tasks))
        .list("launched_tasks", items(all.launched_tasks))
        .list("terminated_tasks", items(all.terminated_tasks))
        .list("completed_tasks", items(all.completed_tasks))
}

fn state_tree(state: &State) -> Tree<'static> {
    Tree::of::<GetState>()
        .tree("get_tasks", tasks_tree(state))
        .tree("get_executors", executors_tree(state))
        .tree("get_frameworks", frameworks_tree(state))
}

/// Removes images that no container uses.
pub(crate) async fn prune_images(shared: &Shared, call: Option<call::PruneImages>) -> Response {
    let excluded = call.map(|call| call.excluded_images).unwrap_or_default();
    match shared.containerizer.prune_images(excluded).await {
        Ok(()) => respond::text(200, ""),
        Err(text) => respond::text(500, text),
    }
}

/// Answers a call from a snapshot. Reads files: call it where blocking is allowed.
pub(crate) fn answer(shared: &Shared, view: &State, call: &Call, encoding: Encoding) -> Response {
    use call::Type;
    use response::Type as Answered;
    let expect = |name: &str| {
        respond::text(
            400,
            format!("Failed to validate agent::Call: Expecting '{name}' to be present"),
        )
    };
    let mut answer = Answer::default();
    let mut part: Option<(&'static str, Tree<'_>)> = None;
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
            let flags = shared.config.flags.iter().map(flag).collect();
            answer.get_flags = Some(response::GetFlags { flags });
            Answered::GetFlags
        }
        Type::GetMetrics => {
            if call.get_metrics.is_none() {
                return expect("get_metrics");
            }
            let all = metrics::snapshot(view, shared);
            let metric = |(name, value): (&String, &serde_json::Value)| v1::Metric {
                name: name.clone(),
                value: value.as_f64(),
            };
            let metrics = all.as_object().into_iter().flatten().map(metric).collect();
            answer.get_metrics = Some(response::GetMetrics { metrics });
            Answered::GetMetrics
        }
        Type::GetLoggingLevel => {
            let level = shared.log_level.get();
            answer.get_logging_level = Some(response::GetLoggingLevel { level });
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
            match files::list(&attached(view, shared), &wanted.path) {
                Ok(file_infos) => answer.list_files = Some(response::ListFiles { file_infos }),
                Err(refusal) => return *refusal,
            }
            Answered::ListFiles
        }
        Type::ReadFile => {
            let Some(wanted) = &call.read_file else { return expect("read_file") };
            let all = attached(view, shared);
            match files::piece(&all, &wanted.path, wanted.offset, wanted.length) {
                Ok((size, data)) => answer.read_file = Some(response::ReadFile { size, data }),
                Err(refusal) => return *refusal,
            }
            Answered::ReadFile
        }
        Type::GetState => {
            part = Some(("get_state", state_tree(view)));
            Answered::GetState
        }
        Type::GetContainers => {
            let containers = container_list::get(view, shared, call.get_containers.as_ref());
            answer.get_containers =
                (!containers.is_empty()).then_some(response::GetContainers { containers });
            Answered::GetContainers
        }
        Type::GetFrameworks => {
            part = Some(("get_frameworks", frameworks_tree(view)));
            Answered::GetFrameworks
        }
        Type::GetExecutors => {
            part = Some(("get_executors", executors_tree(view)));
            Answered::GetExecutors
        }
        Type::GetTasks => {
            part = Some(("get_tasks", tasks_tree(view)));
            Answered::GetTasks
        }
        Type::GetOperations => {
            let operations = view.operations.values().map(|o| (**o).clone()).collect();
            answer.get_operations = Some(response::GetOperations { operations });
            Answered::GetOperations
        }
        Type::GetAgent => {
            let id = view.id.as_deref().map(Into::into);
            let agent_info = Some(v1::AgentInfo { id, ..shared.config.info.clone() });
            // Whole seconds, as in the peer.
            #[expect(clippy::cast_possible_truncation, reason = "a time of this century")]
            let time = |since: f64| v1::TimeInfo { nanoseconds: since as i64 * 1_000_000_000 };
            answer.get_agent = Some(response::GetAgent {
                agent_info,
                drain_config: view.drain.map(|drain| drain.config),
                estimated_drain_start_time: view.drain.map(|drain| time(drain.since)),
            });
            Answered::GetAgent
        }
        Type::GetResourceProviders => {
            answer.get_resource_providers = Some(response::GetResourceProviders::default());
            Answered::GetResourceProviders
        }
        Type::Unknown => return respond::text(501, "Unknown call type"),
        other => {
            let text = format!("The call {} is not supported yet", other.as_str_name());
            return respond::text(501, text);
        }
    };
    answer.r#type = Some(kind as i32);
    let bytes = match part {
        None => encoding.encode(&answer),
        Some((field, part)) => {
            let mut out = Vec::new();
            let written = encoding.write(&Tree::with(&answer).tree(field, part), &mut out);
            written.expect("memory takes all");
            out
        }
    };
    respond::content(encoding.media_type(), bytes)
}
