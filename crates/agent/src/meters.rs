//! How long things take on an agent.

use agent_core::contract::{Effect, Input};
use base::Histogram;
use http_api::prometheus::{Exposition, Table};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::internal::agent_to_master::Message as ToMaster;
use wire::internal::master_to_agent::Message as FromMaster;
use wire::v1::{TaskInfo, TaskState};

/// Launches that are followed at a time; more are not measured.
const LAUNCHES_MAX: usize = 100_000;

/// Durations of something.
#[derive(Debug, Default)]
pub(crate) struct Times(Mutex<Histogram>);

impl Times {
    pub(crate) fn record(&self, time: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).record(time);
    }

    fn add_to(&self, all: &mut Exposition, table: &Table, name: &str) {
        all.add_times(table, name, &self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// All of an agent.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// From the wish for a container until it runs.
    pub(crate) container_launch: Times,
    /// From the master's order to run a task until the master is told that it runs.
    pub(crate) task_launch: Times,
    /// Making records durable.
    pub(crate) store_write: Times,
}

impl Meters {
    pub(crate) fn add_to(&self, all: &mut Exposition, table: &Table) {
        self.container_launch.add_to(all, table, "slave/container_launch");
        self.task_launch.add_to(all, table, "slave/task_launch");
        self.store_write.add_to(all, table, "slave/store_write");
    }
}

/// Tasks that the master wants to run and that do not run yet, since when.
#[derive(Debug, Default)]
pub(crate) struct Launches(HashMap<(String, String), Instant>);

impl Launches {
    /// Takes note of what comes to the core.
    pub(crate) fn on_input(&mut self, input: &Input) {
        let Input::FromMaster { message, .. } = input else { return };
        let (framework, tasks): (_, &[TaskInfo]) = match &**message {
            FromMaster::RunTask(run) => (&run.framework, std::slice::from_ref(&run.task)),
            FromMaster::RunTaskGroup(run) => (&run.framework, &run.tasks),
            _ => return,
        };
        let framework = framework.id.as_ref().map_or("", |id| id.value.as_str());
        for task in tasks {
            if self.0.len() >= LAUNCHES_MAX {
                return;
            }
            let key = (framework.to_owned(), task.task_id.value.clone());
            self.0.entry(key).or_insert_with(Instant::now);
        }
    }

    /// Takes note of what comes out of it.
    pub(crate) fn on_effect(&mut self, effect: &Effect, meters: &Meters) {
        if self.0.is_empty() {
            return;
        }
        let Effect::SendToMaster { message, .. } = effect else { return };
        let ToMaster::StatusUpdate(update) = &**message else { return };
        let state = update.status.state();
        if matches!(state, TaskState::TaskStaging | TaskState::TaskStarting) {
            return;
        }
        let key = (update.framework_id.value.clone(), update.status.task_id.value.clone());
        if let Some(since) = self.0.remove(&key)
            && state == TaskState::TaskRunning
        {
            meters.task_launch.record(since.elapsed());
        }
    }
}
