//! Containers that are started through the agent's API: inside those of executors and tasks, or standalone
//! (spec/agent.md 6.4, 8.2).
//!
//! What was started is kept in the store, so that it can be waited for also by those who come later.

use crate::agent::{Agent, Cx, Exit, Waiting};
use crate::contract::{
    ContainerCall, ContainerEnd, ContainerSpec, Effect, FoundState, Pod, StartError, Streams,
};
use crate::names::{root_of, shown};
use crate::state::{ExecutorKind, Launched, LaunchedState};
use base::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::internal::agent_record::Record;
use wire::{internal, v1};

const SIGKILL: i32 = 9;

/// What is to be started.
struct Wanted {
    command: v1::CommandInfo,
    container: Option<v1::ContainerInfo>,
    resources: Vec<v1::Resource>,
    limits: BTreeMap<String, f64>,
    streams: Option<Streams>,
}

/// A container in which others may run.
struct Around {
    /// Its name; None: it is a pod.
    parent: Option<String>,
    pod: Option<Box<Pod>>,
    directory: String,
    user: Option<String>,
    is_running: bool,
}

impl Agent {
    pub(crate) fn on_container_call(&mut self, cx: &mut Cx<'_>, token: Token, call: ContainerCall) {
        match call {
            ContainerCall::Launch {
                container_id,
                command,
                container,
                resources,
                limits,
                streams,
            } => {
                let limits = limits.into_iter().map(|(name, limit)| (name, limit.value)).collect();
                let (command, container) = (*command, container.map(|c| *c));
                let wanted = Wanted { command, container, resources, limits, streams };
                if let Err((status, text)) = self.launch_container(cx, token, &container_id, wanted)
                {
                    cx.out.push(Effect::Respond { token, status, body: text });
                }
            }
            ContainerCall::Wait { container_id } => self.wait_for(cx, token, &container_id),
            ContainerCall::Kill { container_id, signal } => {
                let (status, body) = self.kill_container(cx, &container_id, signal);
                cx.out.push(Effect::Respond { token, status, body });
            }
            ContainerCall::Remove { container_id } => {
                let (status, body) = self.remove_container(cx, &container_id);
                cx.out.push(Effect::Respond { token, status, body });
            }
        }
    }

    fn launch_container(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        id: &v1::ContainerId,
        wanted: Wanted,
    ) -> Result<(), (u16, String)> {
        let Wanted { command, container, resources, limits, streams } = wanted;
        let name = self.state.name_of(id);
        if let Some(known) = self.state.launched.get(&name) {
            return Err(match known.state {
                LaunchedState::Ended { .. } => {
                    (400, format!("Container {} has ended; remove it first", shown(id)))
                }
                _ => (202, String::new()),
            });
        }
        if self.around(id).is_some() {
            return Err((202, String::new()));
        }
        if self.terminating.is_some() {
            return Err((503, "The agent is shutting down".to_owned()));
        }
        let around = match &id.parent {
            None => None,
            Some(parent) => match self.around(parent) {
                Some(around) if around.is_running => Some(around),
                Some(_) => {
                    return Err((
                        400,
                        format!("Parent container {} is not running", shown(parent)),
                    ));
                }
                None => {
                    return Err((
                        400,
                        format!("Parent container {} does not exist", shown(parent)),
                    ));
                }
            },
        };
        let directory = match &around {
            Some(around) => format!("{}/containers/{}", around.directory, id.value),
            None => format!("{}/containers/{}", self.config.work_dir, id.value),
        };
        let own = command.user.clone().filter(|user| self.config.switch_user && !user.is_empty());
        let user = own.or(around.as_ref().and_then(|around| around.user.clone()));
        let is_session = streams.is_some();
        let environment = match &id.parent {
            Some(parent) if is_session => {
                let mut all = self.environment_of(parent);
                for variable in command.environment.iter().flat_map(|e| &e.variables) {
                    all.insert(variable.name.clone(), variable.value.clone().unwrap_or_default());
                }
                all
            }
            _ => self.nested_environment(&directory, &command),
        };
        let patience = if self.config.local { Duration::ZERO } else { Duration::MAX };
        let outside = around.as_ref().map(|around| around.directory.clone());
        let spec = ContainerSpec {
            container_id: name.clone(),
            environment,
            directory: outside.filter(|_| is_session).unwrap_or_else(|| directory.clone()),
            pod: around.as_ref().and_then(|around| around.pod.clone()),
            parent: around.and_then(|around| around.parent),
            working_directory: None,
            output: None,
            streams,
            latest_link: None,
            user,
            command,
            container,
            resources,
            limits,
            volumes: Vec::new(),
            // Who is inside another one ends with that; who is not waits for the agent for ever.
            recovery_timeout: if is_session { Duration::ZERO } else { patience },
            shutdown_grace_period: self.config.executor_shutdown_grace_period,
            unless_sandbox: false,
        };
        let state = LaunchedState::Starting { token };
        let launched = Launched { container_id: id.clone(), directory: directory.clone(), state };
        self.state.launched.insert(name.clone(), launched);
        let record = internal::ContainerRecord {
            name: name.clone(),
            container_id: Some(id.clone()),
            directory: Some(directory),
        };
        let spec = Box::new(spec);
        if self.config.local || is_session {
            cx.out.push(Effect::StartContainer { spec });
        } else {
            self.store(cx, Record::Container(record), false, Waiting::Container { spec });
        }
        Ok(())
    }

    /// The store knows of a container: it may be started, unless it was ended or removed meanwhile.
    pub(crate) fn on_container_recorded(&mut self, cx: &mut Cx<'_>, spec: Box<ContainerSpec>) {
        let known = self.state.launched.get(&spec.container_id);
        if known.is_some_and(|l| matches!(l.state, LaunchedState::Starting { .. })) {
            cx.out.push(Effect::StartContainer { spec });
        }
    }

    /// Whether a container was started through the API; its start was answered.
    pub(crate) fn on_launched_started(
        &mut self,
        cx: &mut Cx<'_>,
        name: &str,
        result: &Result<u32, StartError>,
    ) -> bool {
        let Some(launched) = self.state.launched.get_mut(name) else { return false };
        let LaunchedState::Starting { token } = launched.state else { return true };
        match result {
            Ok(pid) => {
                launched.state = LaunchedState::Running { pid: *pid };
                cx.out.push(Effect::Respond { token, status: 200, body: String::new() });
            }
            Err(error) => {
                let (status, body) = match error {
                    StartError::Sandbox(text) => (500, format!("Failed to create sandbox: {text}")),
                    StartError::MayHaveRun => (400, "Its sandbox is there already".to_owned()),
                    StartError::Launch(text) => (400, text.clone()),
                };
                cx.out.push(Effect::Respond { token, status, body });
                launched.state = LaunchedState::Ended { end: ContainerEnd::default() };
                self.forget_launched(cx, name);
            }
        }
        true
    }

    /// A container ended: whoever waits for it is told. Whether it was started through the API.
    pub(crate) fn on_launched_exited(&mut self, cx: &mut Cx<'_>, name: &str, exit: &Exit) -> bool {
        let end = ContainerEnd::of(exit.status, exit.limitation.as_deref());
        let is_launched = match self.state.launched.get_mut(name) {
            Some(launched) => {
                if let LaunchedState::Starting { token } = launched.state {
                    // It was started, and the answer to that is on its way.
                    cx.out.push(Effect::Respond { token, status: 200, body: String::new() });
                }
                launched.state = LaunchedState::Ended { end: end.clone() };
                true
            }
            None => false,
        };
        self.answer_waits(cx, name, Some(&end));
        is_launched
    }

    fn answer_waits(&mut self, cx: &mut Cx<'_>, name: &str, end: Option<&ContainerEnd>) {
        for token in self.waits.remove(name).unwrap_or_default() {
            cx.out.push(match end {
                Some(end) => Effect::RespondEnd { token, end: end.clone() },
                None => {
                    let body = format!("Container {name} cannot be found");
                    Effect::Respond { token, status: 404, body }
                }
            });
        }
    }

    fn wait_for(&mut self, cx: &mut Cx<'_>, token: Token, id: &v1::ContainerId) {
        let name = self.state.name_of(id);
        if let Some(launched) = self.state.launched.get(&name)
            && let LaunchedState::Ended { end } = &launched.state
        {
            cx.out.push(Effect::RespondEnd { token, end: end.clone() });
        } else if self.state.launched.contains_key(&name)
            || self.around(id).is_some_and(|around| around.is_running)
        {
            self.waits.entry(name).or_default().push(token);
        } else {
            let body = format!("Container {} cannot be found", shown(id));
            cx.out.push(Effect::Respond { token, status: 404, body });
        }
    }

    fn kill_container(
        &mut self,
        cx: &mut Cx<'_>,
        id: &v1::ContainerId,
        signal: i32,
    ) -> (u16, String) {
        let name = self.state.name_of(id);
        let is_launched = self.state.launched.get(&name).is_some_and(|launched| {
            matches!(launched.state, LaunchedState::Starting { .. } | LaunchedState::Running { .. })
        });
        let around = self.around(id).filter(|around| around.is_running && around.parent.is_some());
        if !is_launched && around.is_none() {
            let text = format!("Container '{}' cannot be found (or is already killed)", shown(id));
            return (404, text);
        }
        cx.out.push(if signal == SIGKILL {
            Effect::DestroyContainer { container_id: name }
        } else {
            Effect::SignalContainer { container_id: name, signal }
        });
        (200, String::new())
    }

    fn remove_container(&mut self, cx: &mut Cx<'_>, id: &v1::ContainerId) -> (u16, String) {
        let name = self.state.name_of(id);
        match self.state.launched.get(&name).map(|launched| &launched.state) {
            Some(LaunchedState::Ended { .. }) => {
                if let Some(launched) = self.state.launched.get(&name) {
                    cx.out.push(Effect::RemoveDirectory { path: launched.directory.clone() });
                }
                self.forget_launched(cx, &name);
                (200, String::new())
            }
            Some(_) => (500, "Nested container has not terminated yet".to_owned()),
            None if self.around(id).is_some_and(|around| around.is_running) => {
                (500, "Nested container has not terminated yet".to_owned())
            }
            // One that is gone is removed; one of nobody is an error.
            None if id.parent.is_some() && self.around(root_of(id)).is_some() => {
                (200, String::new())
            }
            None => (500, format!("Container {} cannot be found", shown(id))),
        }
    }

    /// Drops what is known of an ended container and of all that were started inside it.
    pub(crate) fn forget_launched(&mut self, cx: &mut Cx<'_>, name: &str) {
        let inside = format!("{name}.");
        let names = self.state.launched.keys().filter(|n| *n == name || n.starts_with(&inside));
        for name in names.cloned().collect::<Vec<_>>() {
            let Some(launched) = self.state.launched.remove(&name) else { continue };
            let container_id = name.clone();
            cx.out.push(match launched.state {
                LaunchedState::Ended { .. } => Effect::ForgetContainer { container_id },
                // It is forgotten when it has ended.
                _ => Effect::DestroyContainer { container_id },
            });
            if let LaunchedState::Starting { token } = launched.state {
                let body = "The container around it has ended".to_owned();
                cx.out.push(Effect::Respond { token, status: 400, body });
            }
            self.answer_waits(cx, &name, None);
            if !self.config.local {
                let gone = internal::ContainerRecord { name, container_id: None, directory: None };
                self.store(cx, Record::Container(gone), false, Waiting::Nothing);
            }
        }
    }

    /// A pod, which has no process of its own, is over: what was started in it ends.
    pub(crate) fn end_launched(&mut self, cx: &mut Cx<'_>, root: &str) {
        let inside = format!("{root}.");
        let all = self.state.launched.iter().filter(|(name, launched)| {
            name.starts_with(&inside) && !matches!(launched.state, LaunchedState::Ended { .. })
        });
        for (name, _) in all {
            cx.out.push(Effect::DestroyContainer { container_id: name.clone() });
        }
    }

    pub(crate) fn replay_container(&mut self, record: internal::ContainerRecord) {
        let (Some(container_id), Some(directory)) = (record.container_id, record.directory) else {
            self.state.launched.remove(&record.name);
            return;
        };
        // As long as it is not found, it is gone.
        let state = LaunchedState::Ended { end: ContainerEnd::default() };
        let launched = Launched { container_id, directory, state };
        self.state.launched.insert(record.name, launched);
    }

    /// Containers that were found again are those that were started; of what runs inside nothing that is known, nothing
    /// stays.
    pub(crate) fn recover_launched(
        &mut self,
        cx: &mut Cx<'_>,
        found: &BTreeMap<String, FoundState>,
        known: &mut BTreeSet<String>,
    ) {
        let roots: BTreeSet<&str> = known.iter().map(String::as_str).collect();
        let is_lost = |launched: &Launched| {
            launched.container_id.parent.is_some()
                && !roots.contains(root_of(&launched.container_id).value.as_str())
                && !self.state.launched.contains_key(&root_of(&launched.container_id).value)
        };
        let lost = self.state.launched.iter().filter(|(_, launched)| is_lost(launched));
        let lost: Vec<String> = lost.map(|(name, _)| name.clone()).collect();
        lost.iter().for_each(|name| self.forget_launched(cx, name));
        for (name, launched) in &mut self.state.launched {
            known.insert(name.clone());
            match found.get(name) {
                Some(FoundState::Running { pid }) => {
                    launched.state = LaunchedState::Running { pid: *pid };
                }
                Some(FoundState::Exited { status, limitation }) => {
                    let end = ContainerEnd::of(*status, limitation.as_deref());
                    launched.state = LaunchedState::Ended { end };
                }
                Some(FoundState::Unstarted) | None => {}
            }
        }
    }

    /// What the processes of a container were started with.
    fn environment_of(&self, id: &v1::ContainerId) -> BTreeMap<String, String> {
        let (root, name) = (&root_of(id).value, self.state.name_of(id));
        if let Some(launched) = self.state.launched.get(&name) {
            return self.nested_environment(&launched.directory, &v1::CommandInfo::default());
        }
        for framework in self.state.frameworks.values() {
            let known = framework.executors.values().find(|e| e.container_id == *root);
            let Some(executor) = known else { continue };
            let mut tasks = executor.tasks.values();
            if let Some(task) = tasks.find(|t| t.container_id.as_ref() == Some(&name)) {
                let surroundings = self.task_surroundings(framework, executor, task);
                return surroundings.map(|(_, environment)| environment).unwrap_or_default();
            }
            let command = executor.info.command.clone().unwrap_or_default();
            let directory = &executor.directory;
            return self.environment(&framework.info, &executor.info, directory, &command);
        }
        BTreeMap::new()
    }

    /// A known container, in which others may run.
    fn around(&self, id: &v1::ContainerId) -> Option<Around> {
        let name = self.state.name_of(id);
        if let Some(launched) = self.state.launched.get(&name) {
            let is_running = matches!(launched.state, LaunchedState::Running { .. });
            let directory = launched.directory.clone();
            let (parent, pod) = (Some(name), None);
            return Some(Around { parent, pod, directory, user: None, is_running });
        }
        let root = &root_of(id).value;
        for framework in self.state.frameworks.values() {
            let known = framework.executors.values().find(|e| e.container_id == *root);
            let Some(executor) = known else { continue };
            let command = executor.info.command.clone().unwrap_or_default();
            let directory = executor.directory.clone();
            if id.parent.is_none() {
                let is_pod = executor.kind == ExecutorKind::Default;
                let ended = executor.state == crate::state::ExecutorState::Terminated;
                return Some(Around {
                    parent: Some(name).filter(|_| !is_pod),
                    pod: self.pod(&framework.info, executor),
                    directory,
                    user: self.user(&framework.info, &command),
                    is_running: !ended && (is_pod || executor.pid.is_some()),
                });
            }
            let mut tasks = executor.tasks.values();
            let task = tasks.find(|t| t.container_id.as_ref() == Some(&name))?;
            let command = task.info.command.clone().unwrap_or_default();
            return Some(Around {
                directory: format!("{directory}/containers/{name}"),
                user: self.user(&framework.info, &command),
                is_running: task.pid.is_some() && !task.is_terminal(),
                parent: Some(name),
                pod: None,
            });
        }
        None
    }
}
