//! Spans of launches, made of what goes into the core and comes out of it.

use agent_core::State;
use agent_core::contract::{Effect, Input};
use base::WallTime;
use containerizer::phases::Phase;
use http_api::otlp::{Parent, Span, Spans, Trace};
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};
use wire::internal::agent_to_master::Message as ToMaster;
use wire::internal::master_to_agent::Message as FromMaster;
use wire::v1::TaskState;

/// Launches that are followed at a time; more are not.
const LAUNCHES_MAX: usize = 100_000;

/// Framework and task.
type Key = (String, String);

/// A task from the master's order until the master knows that it runs.
#[derive(Debug)]
struct Launch {
    trace: Trace,
    ordered: WallTime,
    /// When the last of its spans ended.
    last: WallTime,
}

/// Follows launches.
#[derive(Debug)]
pub(crate) struct Traces {
    spans: Spans,
    launches: HashMap<Key, Launch>,
}

/// A container that is being started for tasks that are followed.
#[derive(Debug)]
pub(crate) struct Starting {
    spans: Spans,
    traces: Vec<Trace>,
    begun: WallTime,
    container: String,
}

fn wall(time: SystemTime) -> WallTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl Traces {
    pub(crate) fn new(spans: Spans) -> Self {
        Self { spans, launches: HashMap::new() }
    }

    /// Takes note of what goes into the core.
    pub(crate) fn on_input(&mut self, input: &Input, now: WallTime) {
        let Input::FromMaster { message, .. } = input else { return };
        let (framework, tasks) = match &**message {
            FromMaster::RunTask(run) => (&run.framework, std::slice::from_ref(&run.task)),
            FromMaster::RunTaskGroup(run) => (&run.framework, run.tasks.as_slice()),
            _ => return,
        };
        let framework = framework.id.as_ref().map_or("", |id| id.value.as_str());
        for task in tasks {
            if self.launches.len() >= LAUNCHES_MAX {
                return;
            }
            let (agent, task) = (&task.agent_id.value, &task.task_id.value);
            let trace = Trace::of(framework, agent, task);
            let launch = Launch { trace, ordered: now, last: now };
            self.launches.insert((framework.to_owned(), task.clone()), launch);
        }
    }

    /// A container is to be started; None: for no task that is followed.
    pub(crate) fn starting(
        &mut self,
        state: &State,
        container: &str,
        now: WallTime,
    ) -> Option<Starting> {
        if self.launches.is_empty() {
            return None;
        }
        let mut traces = Vec::new();
        for (framework, of) in &state.frameworks {
            for executor in of.executors.values() {
                let tasks = executor.tasks.values().filter(|task| {
                    executor.container_id == container
                        || task.container_id.as_deref() == Some(container)
                });
                for task in tasks {
                    let key = (framework.clone(), task.info.task_id.value.clone());
                    let Some(launch) = self.launches.get_mut(&key) else { continue };
                    self.spans.record(launch.span("store", now));
                    launch.last = now;
                    traces.push(launch.trace);
                }
            }
        }
        let (spans, container) = (self.spans.clone(), container.to_owned());
        (!traces.is_empty()).then_some(Starting { spans, traces, begun: now, container })
    }

    /// Takes note of what was done for the core.
    pub(crate) fn on_effect(&mut self, effect: &Effect, now: WallTime) {
        let Effect::SendToMaster { message, .. } = effect else { return };
        let ToMaster::StatusUpdate(update) = &**message else { return };
        let key = (update.framework_id.value.clone(), update.status.task_id.value.clone());
        let Some(launch) = self.launches.get_mut(&key) else { return };
        let state = update.status.state();
        let mut span = launch.span("status", now);
        span.attributes.push(("state", state.as_str_name().to_owned()));
        self.spans.record(span);
        launch.last = now;
        if matches!(state, TaskState::TaskStaging | TaskState::TaskStarting) {
            return;
        }
        let failed = !matches!(state, TaskState::TaskRunning | TaskState::TaskFinished);
        let (trace, start) = (launch.trace, launch.ordered);
        let attributes = vec![("framework_id", key.0.clone()), ("task_id", key.1.clone())];
        let whole =
            Span { trace, name: "run", parent: Parent::Whole, start, end: now, attributes, failed };
        self.spans.record(whole);
        self.launches.remove(&key);
    }
}

impl Launch {
    /// From its last span until now.
    fn span(&self, name: &'static str, end: WallTime) -> Span {
        Span {
            trace: self.trace,
            name,
            parent: Parent::Of("run"),
            start: self.last,
            end,
            attributes: Vec::new(),
            failed: false,
        }
    }
}

impl Starting {
    /// It runs, or could not be started.
    pub(crate) fn done(self, phases: &[Phase], failed: bool) {
        let end = wall(SystemTime::now());
        let spans = phases
            .iter()
            .map(|phase| (phase.name, wall(phase.begun), wall(phase.begun + phase.took), false));
        let container = std::iter::once(("container", self.begun, end, failed));
        let spans: Vec<_> = container.chain(spans).collect();
        for trace in self.traces {
            for (name, start, end, failed) in &spans {
                self.spans.record(Span {
                    trace,
                    name,
                    parent: Parent::Of("run"),
                    start: *start,
                    end: *end,
                    attributes: vec![("container_id", self.container.clone())],
                    failed: *failed,
                });
            }
        }
    }
}
