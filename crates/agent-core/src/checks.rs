//! Checks and health checks of the tasks for which the agent speaks (spec/agent.md 3.5): when they run, and how.
//!
//! A command runs as a container inside the task's; HTTP and TCP are probes that the shell makes from the task's
//! network. They begin when the task runs, stop for good when its end is asked for, and go on at once when an agent finds
//! its tasks again: while no agent is there nobody checks.

use crate::agent::{Agent, Cx, Timer};
use crate::check_results::Outcome;
use crate::contract::{ContainerSpec, Effect, ProbeAnswer, StartError, Target};
use crate::state::{ExecutorKind, Task};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::v1;

const SIGKILL: i32 = 9;

/// What is checked for: a task may have one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What a program says of the task; nothing follows from it.
    Check,
    /// Whether the task is healthy; it is killed if it is not for too long.
    Health,
}

/// A check of a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) framework: String,
    pub(crate) executor: String,
    pub(crate) task: String,
    pub(crate) kind: Kind,
}

/// The run of a check that was begun last and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Run {
    Container { id: String, is_late: bool },
    Probe { id: u64 },
}

/// All runs that were begun and have not ended.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    runs: BTreeMap<Key, Run>,
    /// Also those whose task has no use for their result any more.
    containers: BTreeMap<String, Key>,
    probes: BTreeMap<u64, Key>,
    next_probe: u64,
}

/// How a check is made.
struct Method {
    delay: Duration,
    interval: Duration,
    /// None: for ever.
    timeout: Option<Duration>,
    action: Action,
}

impl Method {
    /// `times`: delay, interval and timeout in seconds; a timeout of 0 is none.
    fn new(action: Action, times: [f64; 3]) -> Self {
        let [delay, interval, timeout] = times.map(seconds);
        Self { delay, interval, timeout: Some(timeout).filter(|t| !t.is_zero()), action }
    }
}

enum Action {
    Command(v1::CommandInfo),
    Probe(Target),
}

impl Agent {
    /// A task runs: its checks begin after their delay, those of one that was found again at once.
    pub(crate) fn begin_checks(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
        is_found_again: bool,
    ) {
        for kind in [Kind::Check, Kind::Health] {
            let key = Key {
                framework: framework.to_owned(),
                executor: executor.to_owned(),
                task: id.to_owned(),
                kind,
            };
            let Some(method) = self.task_to_check(&key).and_then(|task| method(task, kind)) else {
                continue;
            };
            let delay = if is_found_again { Duration::ZERO } else { method.delay };
            self.timers.set(Timer::Check(key), cx.now.mono + delay);
        }
    }

    /// A task ends: nobody wants to know any more. Commands that run are ended with it.
    pub(crate) fn stop_checks(
        &mut self,
        cx: &mut Cx<'_>,
        framework: &str,
        executor: &str,
        id: &str,
    ) {
        for kind in [Kind::Check, Kind::Health] {
            let key = Key {
                framework: framework.to_owned(),
                executor: executor.to_owned(),
                task: id.to_owned(),
                kind,
            };
            self.timers.cancel(&Timer::Check(key.clone()));
            self.timers.cancel(&Timer::CheckTimeout(key.clone()));
            if let Some(Run::Probe { id }) = self.checks.runs.remove(&key) {
                self.checks.probes.remove(&id);
                cx.out.push(Effect::StopProbe { id });
            }
        }
    }

    /// A task that is checked: it runs, and nobody asked for its end.
    pub(crate) fn task_to_check(&self, key: &Key) -> Option<&Task> {
        let task = self.task(&key.framework, &key.executor, &key.task)?;
        Some(task).filter(|t| !t.is_terminal() && !t.killed && !t.overdue)
    }

    /// It is time for a check.
    pub(crate) fn on_check_due(&mut self, cx: &mut Cx<'_>, key: &Key) {
        let Some(task) = self.task_to_check(key) else { return };
        let Some(container_id) = task.container_id.clone() else { return };
        let Some(method) = method(task, key.kind) else { return };
        let run = match method.action {
            Action::Probe(target) => {
                let id = self.checks.next_probe;
                self.checks.next_probe += 1;
                self.checks.probes.insert(id, key.clone());
                cx.out.push(Effect::Probe { id, container_id, target });
                Run::Probe { id }
            }
            Action::Command(command) => {
                let id = format!("check-{}", self.rng.uuid());
                let Some(spec) = self.check_container(key, &id, &command) else { return };
                self.checks.containers.insert(id.clone(), key.clone());
                cx.out.push(Effect::StartContainer { spec: Box::new(spec) });
                Run::Container { id, is_late: false }
            }
        };
        self.checks.runs.insert(key.clone(), run);
        if let Some(timeout) = method.timeout {
            self.timers.set(Timer::CheckTimeout(key.clone()), cx.now.mono + timeout);
        }
    }

    /// The command runs inside the task's container, with its environment and where it started. What it prints goes
    /// where the peer's executor would print it.
    fn check_container(
        &self,
        key: &Key,
        id: &str,
        command: &v1::CommandInfo,
    ) -> Option<ContainerSpec> {
        let framework = self.state.frameworks.get(&key.framework)?;
        let executor = framework.executors.get(&key.executor)?;
        let task = executor.tasks.get(&key.task)?;
        let own = task.info.command.clone().unwrap_or_default();
        let (directory, mut environment) = self.task_surroundings(framework, executor, task)?;
        for variable in command.environment.iter().flat_map(|e| &e.variables) {
            environment.insert(variable.name.clone(), variable.value.clone().unwrap_or_default());
        }
        let is_pod = executor.kind == ExecutorKind::Default;
        let user = command.user.clone().filter(|_| is_pod).or_else(|| own.user.clone());
        let user = v1::CommandInfo { user, ..own };
        let command =
            v1::CommandInfo { uris: Vec::new(), environment: None, user: None, ..command.clone() };
        Some(ContainerSpec {
            container_id: id.to_owned(),
            parent: task.container_id.clone(),
            pod: None,
            working_directory: None,
            output: Some(executor.directory.clone()),
            streams: None,
            directory,
            latest_link: None,
            user: self.user(&framework.info, &user),
            command,
            environment,
            container: None,
            resources: Vec::new(),
            limits: BTreeMap::new(),
            volumes: Vec::new(),
            recovery_timeout: Duration::ZERO,
            shutdown_grace_period: Duration::ZERO,
            unless_sandbox: false,
        })
    }

    /// A check takes too long: it failed, a command when it is gone.
    pub(crate) fn on_check_timeout(&mut self, cx: &mut Cx<'_>, key: &Key) {
        match self.checks.runs.get_mut(key) {
            Some(Run::Container { id, is_late }) => {
                *is_late = true;
                cx.out.push(Effect::DestroyContainer { container_id: id.clone() });
            }
            Some(Run::Probe { id }) => {
                let id = *id;
                self.checks.probes.remove(&id);
                cx.out.push(Effect::StopProbe { id });
                self.end_run(cx, key, Outcome::Failed);
            }
            None => {}
        }
    }

    pub(crate) fn on_probed(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        result: Result<ProbeAnswer, String>,
    ) {
        let Some(key) = self.checks.probes.remove(&id) else { return };
        let outcome = match result {
            Ok(ProbeAnswer::Connected(succeeded)) => Outcome::Tcp(succeeded),
            Ok(ProbeAnswer::Status(status)) => Outcome::Http(status),
            Err(_) => Outcome::Failed,
        };
        self.end_run(cx, &key, outcome);
    }

    /// Whether a container is that of a check, which was answered.
    pub(crate) fn on_check_started(
        &mut self,
        cx: &mut Cx<'_>,
        container_id: &str,
        result: &Result<u32, StartError>,
    ) -> bool {
        if result.is_ok() {
            return self.checks.containers.contains_key(container_id);
        }
        let Some(key) = self.checks.containers.remove(container_id) else { return false };
        // That is the agent's fault in a pod, where the peer's executor asks the agent; not where it starts the command
        // itself.
        let outcome = if self.is_pod(&key) { Outcome::Unavailable } else { Outcome::Failed };
        self.end_container_run(cx, &key, container_id, outcome);
        true
    }

    /// Whether a container is that of a check, which has ended.
    pub(crate) fn on_check_exited(
        &mut self,
        cx: &mut Cx<'_>,
        container_id: &str,
        exit: Option<i32>,
    ) -> bool {
        let Some(key) = self.checks.containers.remove(container_id) else { return false };
        cx.out.push(Effect::ForgetContainer { container_id: container_id.to_owned() });
        let outcome = match exit {
            Some(status) if status & 0x7F == 0 => Outcome::Command((status >> 8) & 0xFF),
            // Somebody ended it who was not asked to: that says nothing of the task.
            Some(SIGKILL) | None if self.is_pod(&key) => Outcome::Unavailable,
            _ => Outcome::Failed,
        };
        self.end_container_run(cx, &key, container_id, outcome);
        true
    }

    fn end_container_run(
        &mut self,
        cx: &mut Cx<'_>,
        key: &Key,
        container_id: &str,
        outcome: Outcome,
    ) {
        match self.checks.runs.get(key) {
            Some(Run::Container { id, is_late: true }) if id == container_id => {
                self.end_run(cx, key, Outcome::Failed)
            }
            Some(Run::Container { id, .. }) if id == container_id => self.end_run(cx, key, outcome),
            _ => {}
        }
    }

    /// A run is over; the next one follows after the interval.
    fn end_run(&mut self, cx: &mut Cx<'_>, key: &Key, outcome: Outcome) {
        self.checks.runs.remove(key);
        self.timers.cancel(&Timer::CheckTimeout(key.clone()));
        let Some(method) = self.task_to_check(key).and_then(|task| method(task, key.kind)) else {
            return;
        };
        self.timers.set(Timer::Check(key.clone()), cx.now.mono + method.interval);
        match key.kind {
            Kind::Check => self.on_check_result(cx, key, outcome),
            Kind::Health => self.on_health_result(cx, key, outcome),
        }
    }

    fn is_pod(&self, key: &Key) -> bool {
        let executor = self.executor(&key.framework, &key.executor);
        executor.is_some_and(|e| e.kind == ExecutorKind::Default)
    }
}

/// How a task is checked, if it is.
fn method(task: &Task, kind: Kind) -> Option<Method> {
    match kind {
        Kind::Check => check_method(task.info.check.as_ref()?),
        Kind::Health => health_method(task.info.health_check.as_ref()?),
    }
}

fn check_method(check: &v1::CheckInfo) -> Option<Method> {
    use v1::check_info::Type;
    let action = match check.r#type() {
        Type::Command => Action::Command(check.command.as_ref()?.command.clone()),
        Type::Http => {
            let http = check.http.as_ref()?;
            Action::Probe(http_target("http", false, http.port, http.path()))
        }
        Type::Tcp => Action::Probe(tcp_target(false, check.tcp.as_ref()?.port)),
        Type::Unknown => return None,
    };
    let times = [check.delay_seconds(), check.interval_seconds(), check.timeout_seconds()];
    Some(Method::new(action, times))
}

fn health_method(check: &v1::HealthCheck) -> Option<Method> {
    use v1::health_check::Type;
    let is_v6 = |protocol| protocol == v1::network_info::Protocol::IPv6;
    let action = match check.r#type() {
        Type::Command => Action::Command(check.command.clone()?),
        Type::Http => {
            let http = check.http.as_ref()?;
            let scheme = http.scheme.as_deref().unwrap_or("http");
            Action::Probe(http_target(scheme, is_v6(http.protocol()), http.port, http.path()))
        }
        Type::Tcp => {
            let tcp = check.tcp.as_ref()?;
            Action::Probe(tcp_target(is_v6(tcp.protocol()), tcp.port))
        }
        Type::Unknown => return None,
    };
    let times = [check.delay_seconds(), check.interval_seconds(), check.timeout_seconds()];
    Some(Method::new(action, times))
}

fn http_target(scheme: &str, is_v6: bool, port: u32, path: &str) -> Target {
    let host = if is_v6 { "[::1]" } else { "127.0.0.1" };
    Target::Http { uri: format!("{scheme}://{host}:{port}{path}") }
}

fn tcp_target(is_v6: bool, port: u32) -> Target {
    let host = if is_v6 { "::1" } else { "127.0.0.1" };
    Target::Tcp { host: host.to_owned(), port }
}

/// What is too long for a clock never comes; the master lets nothing negative through.
pub(crate) fn seconds(number: f64) -> Duration {
    let most = if number > 0.0 { Duration::MAX } else { Duration::ZERO };
    Duration::try_from_secs_f64(number).unwrap_or(most)
}
