//! Spans of launches, made of what goes into the core and comes out of it.

use base::WallTime;
use http_api::otlp::{Parent, Span, Spans, Trace, WHOLE};
use master_core::contract::{Effect, Input};
use master_core::is_terminal;
use std::collections::HashMap;
use wire::internal::agent_to_master::Message as FromAgent;
use wire::internal::master_to_agent::Message as ToAgent;
use wire::v1::TaskState;
use wire::v1::scheduler::Call;
use wire::v1::scheduler::call::Type;

/// Launches that are followed at a time; more are not.
const LAUNCHES_MAX: usize = 100_000;

/// Framework and task.
type Key = (String, String);

/// A task from ACCEPT until it runs.
#[derive(Debug)]
struct Launch {
    agent: String,
    accepted: WallTime,
    /// When the core had looked at it.
    checked: WallTime,
}

/// Follows launches.
#[derive(Debug)]
pub(crate) struct Traces {
    spans: Spans,
    launches: HashMap<Key, Launch>,
    /// Tasks of the ACCEPT that the core looks at.
    looked_at: Vec<Key>,
    /// Statuses that came from agents and are not handed on.
    statuses: Vec<(Key, WallTime)>,
}

impl Traces {
    pub(crate) fn new(spans: Spans) -> Self {
        let (launches, looked_at, statuses) = Default::default();
        Self { spans, launches, looked_at, statuses }
    }

    /// Takes note of what goes into the core.
    pub(crate) fn on_input(&mut self, input: &Input, now: WallTime) {
        match input {
            Input::SchedulerCall { call, .. } if call.r#type() == Type::Accept => {
                self.on_accept(call, now);
            }
            Input::FromAgent { message, .. } => {
                if let FromAgent::StatusUpdate(update) = &**message {
                    let task = &update.status.task_id.value;
                    let key = (update.framework_id.value.clone(), task.clone());
                    if self.launches.contains_key(&key) {
                        self.statuses.push((key, now));
                    }
                }
            }
            _ => {}
        }
    }

    fn on_accept(&mut self, call: &Call, now: WallTime) {
        let framework = call.framework_id.as_ref().map_or("", |id| id.value.as_str());
        let operations = call.accept.iter().flat_map(|accept| &accept.operations);
        let tasks = operations.flat_map(|operation| {
            let launched = operation.launch.iter().flat_map(|launch| &launch.task_infos);
            let grouped = operation.launch_group.iter().flat_map(|group| &group.task_group.tasks);
            launched.chain(grouped)
        });
        for task in tasks {
            if self.launches.len() >= LAUNCHES_MAX {
                return;
            }
            let key = (framework.to_owned(), task.task_id.value.clone());
            let agent = task.agent_id.value.clone();
            self.launches.insert(key.clone(), Launch { agent, accepted: now, checked: now });
            self.looked_at.push(key);
        }
    }

    /// Takes note that the core is done with an input.
    pub(crate) fn stepped(&mut self, now: WallTime) {
        for key in self.looked_at.drain(..) {
            if let Some(launch) = self.launches.get_mut(&key) {
                launch.checked = now;
            }
        }
    }

    /// Takes note of what was done for the core.
    pub(crate) fn on_effect(&mut self, effect: &Effect, now: WallTime) {
        match effect {
            Effect::SendToAgent { message, .. } => match &**message {
                ToAgent::RunTask(run) => {
                    let framework = run.framework.id.as_ref().map_or("", |id| id.value.as_str());
                    self.ordered(framework, &run.task.task_id.value, now);
                }
                ToAgent::RunTaskGroup(run) => {
                    let framework = run.framework.id.as_ref().map_or("", |id| id.value.as_str());
                    for task in &run.tasks {
                        self.ordered(framework, &task.task_id.value, now);
                    }
                }
                _ => {}
            },
            Effect::SendEvent { event, .. } => {
                if let Some(update) = event.update.as_ref() {
                    self.told(&update.status.task_id.value, update.status.state(), now);
                }
            }
            _ => {}
        }
    }

    /// The agent was told to run a task.
    fn ordered(&mut self, framework: &str, task: &str, now: WallTime) {
        let key = (framework.to_owned(), task.to_owned());
        let Some(launch) = self.launches.get(&key) else { return };
        let span = |name, parent, end| launch.span(&key, name, parent, launch.accepted, end);
        self.spans.record(span("accept", Parent::Whole, now));
        self.spans.record(span("validate", Parent::Of("accept"), launch.checked));
    }

    /// A framework was told of a task.
    fn told(&mut self, task: &str, state: TaskState, now: WallTime) {
        let at = self.statuses.iter().position(|((_, known), _)| known == task);
        let status = at.map(|at| self.statuses.swap_remove(at));
        // What the master says of itself of a task that was refused.
        let refused = || {
            let is_it = |key: &&Key| key.1 == task;
            is_terminal(state).then(|| self.launches.keys().find(is_it).cloned()).flatten()
        };
        let Some(key) = status.as_ref().map(|(key, _)| key.clone()).or_else(refused) else {
            return;
        };
        let Some(launch) = self.launches.get(&key) else { return };
        let name = state.as_str_name().to_owned();
        if let Some((_, since)) = status {
            let mut span = launch.span(&key, "update", Parent::Whole, since, now);
            span.attributes.push(("state", name.clone()));
            self.spans.record(span);
        }
        if matches!(state, TaskState::TaskStaging | TaskState::TaskStarting) {
            return;
        }
        let mut span = launch.span(&key, WHOLE, Parent::None, launch.accepted, now);
        span.attributes.push(("state", name));
        span.failed = is_terminal(state) && state != TaskState::TaskFinished;
        self.spans.record(span);
        self.launches.remove(&key);
    }
}

impl Launch {
    fn span(
        &self,
        (framework, task): &Key,
        name: &'static str,
        parent: Parent,
        start: WallTime,
        end: WallTime,
    ) -> Span {
        let trace = Trace::of(framework, &self.agent, task);
        let attributes = vec![
            ("framework_id", framework.clone()),
            ("agent_id", self.agent.clone()),
            ("task_id", task.clone()),
        ];
        Span { trace, name, parent, start, end, attributes, failed: false }
    }
}
