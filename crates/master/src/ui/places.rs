//! Tasks and executors: their pages, and where their sandboxes are.

use super::digest::Digest;
use super::models::{executor_row, find_framework, task_row, tasks_of};
use master_core::{Agent, Framework};
use std::sync::Arc;
use ui::pages::{self, Kind, TaskRow};
use ui::{Page, Place};

/// A sandbox, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sandbox {
    /// `host:port` of the agent.
    pub(super) address: String,
    /// Name of its host.
    pub(super) host: String,
    /// Virtual path of the executor's sandbox.
    pub(super) root: String,
    /// Path below it that is the task's own, where several tasks share an executor.
    pub(super) own: Option<String>,
}

pub(super) fn place(digest: &Digest, place: &Place) -> Option<Page> {
    let framework = find_framework(digest, place.framework())?;
    let readable = sandbox(digest, place).map(|_| ());
    match place {
        Place::Task { task, .. } => {
            let row = find_task(digest, framework, task)?;
            let resources = row.resources.to_string();
            Some(pages::task(&pages::Task { row, resources, sandbox: readable }, digest.now))
        }
        Place::Executor { agent, executor, .. } => {
            let tasks = tasks_of(digest, framework)
                .filter(|task| task.wire.agent_id.value == *agent && executor_of(task) == executor);
            let tasks: Vec<_> = tasks.collect();
            let known = digest.state.agent(agent);
            let live = known.and_then(|known| {
                let executor = framework.executors.get(&(known.key, executor.clone()))?;
                Some(executor_row(framework, known, executor))
            });
            // Of one that has ended only its tasks are known.
            if live.is_none() && tasks.is_empty() {
                return None;
            }
            let model = pages::Executor {
                row: live,
                place: place.clone(),
                framework_name: &framework.info.name,
                agent,
                host: known.map_or("", |agent| &agent.info.hostname),
                tasks,
                sandbox: readable,
            };
            Some(pages::executor(&model, digest.now))
        }
    }
}

/// A task of a framework: the one that has not ended, otherwise the last of that id.
fn find_task<'a>(digest: &'a Digest, framework: &'a Framework, id: &str) -> Option<TaskRow<'a>> {
    let row = |task, kind| task_row(digest, framework, task, kind);
    let is_it = |task: &&Arc<master_core::Task>| task.id() == id;
    let active = framework.tasks.get(id).map(|task| row(task, Kind::Active));
    let unreachable = || framework.unreachable_tasks.iter().rev().find(is_it);
    let completed = || framework.completed_tasks.iter().rev().find(is_it);
    let away = || unreachable().map(|task| row(task, Kind::Unreachable));
    active.or_else(away).or_else(|| completed().map(|task| row(task, Kind::Completed)))
}

/// Id of a task's executor: that of a command task is its own.
fn executor_of<'a>(task: &TaskRow<'a>) -> &'a str {
    task.wire.executor_id.as_ref().map_or(&task.wire.task_id.value, |id| &id.value)
}

/// Where the sandbox of something that the master knows is.
///
/// # Errors
/// Why it can't be read.
pub(super) fn sandbox(digest: &Digest, place: &Place) -> Result<Sandbox, String> {
    let unknown = || format!("{} is not known; it may have ended too long ago.", place.id());
    let framework = find_framework(digest, place.framework()).ok_or_else(unknown)?;
    let (agent, executor, own) = match place {
        Place::Task { task, .. } => {
            let row = find_task(digest, framework, task).ok_or_else(unknown)?;
            let is_shared = row.wire.executor_id.as_ref().is_some_and(|id| id.value != *task);
            let own = is_shared.then(|| format!("tasks/{task}"));
            (&row.wire.agent_id.value, executor_of(&row), own)
        }
        Place::Executor { agent, executor, .. } => (agent, executor.as_str(), None),
    };
    let agent = reachable(digest, agent)?;
    // A virtual path is made of them.
    for id in [place.framework(), executor, place.id()] {
        if ui::relative_path(id).as_deref() != Ok(id) || id.is_empty() || id.contains('/') {
            return Err(format!("'{id}' is no id of something with a sandbox."));
        }
    }
    Ok(Sandbox {
        address: format!("{}:{}", agent.ip, agent.info.port()),
        host: agent.info.hostname.clone(),
        root: format!("/frameworks/{}/executors/{executor}/runs/latest", place.framework()),
        own,
    })
}

fn reachable<'a>(digest: &'a Digest, id: &str) -> Result<&'a Agent, String> {
    let state = &digest.state;
    match state.agent(id) {
        Some(agent) if agent.is_connected() => Ok(agent),
        Some(agent) => Err(format!(
            "The agent on {} is disconnected; its sandboxes can be read when it is back.",
            agent.info.hostname
        )),
        None if state.unreachable.contains_key(id) => Err(format!(
            "The agent {id} is unreachable; its sandboxes can be read when it is back."
        )),
        None => {
            Err(format!("The agent {id} is not registered, so that its sandboxes can't be read."))
        }
    }
}
