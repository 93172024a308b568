//! The environment of executors and command tasks (spec/agent.md 2.2).

use crate::agent::Agent;
use crate::launch::{is_docker, role_of};
use crate::state::{Executor, ExecutorKind, Framework, Task};
use base::duration;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::v1;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A duration on the wire; negative ones were refused by the master.
pub(crate) fn from_wire(duration: &v1::DurationInfo) -> Duration {
    Duration::from_nanos(u64::try_from(duration.nanoseconds).unwrap_or(0))
}

impl Agent {
    /// Sandbox and environment of a command task or of a pod's task.
    pub(crate) fn task_surroundings(
        &self,
        framework: &Framework,
        executor: &Executor,
        task: &Task,
    ) -> Option<(String, BTreeMap<String, String>)> {
        let command = task.info.command.clone().unwrap_or_default();
        let role = role_of(&task.info).unwrap_or_default();
        if executor.kind == ExecutorKind::Command {
            let directory = executor.directory.clone();
            if is_docker(task.info.container.as_ref()) {
                return Some((directory, docker_environment(&command, role)));
            }
            let (framework, executor) = (&framework.info, &executor.info);
            let environment =
                self.task_environment(framework, executor, &directory, &command, role);
            return Some((directory, environment));
        }
        let directory =
            format!("{}/containers/{}", executor.directory, task.container_id.as_ref()?);
        let environment = self.pod_environment(&directory, &command, role);
        Some((directory, environment))
    }

    /// Variables that the agent generates for an executor, then those of its command.
    pub(crate) fn environment(
        &self,
        framework: &v1::FrameworkInfo,
        executor: &v1::ExecutorInfo,
        directory: &str,
        command: &v1::CommandInfo,
    ) -> BTreeMap<String, String> {
        let mut all = self.generated(framework, executor, directory);
        if is_docker(executor.container.as_ref()) {
            // The image has its own PATH.
            add_variables(&mut all, command);
        } else {
            add_command(&mut all, command);
        }
        all
    }

    /// That of a command task: what its executor would have, and the role of its resources.
    pub(crate) fn task_environment(
        &self,
        framework: &v1::FrameworkInfo,
        executor: &v1::ExecutorInfo,
        directory: &str,
        command: &v1::CommandInfo,
        role: &str,
    ) -> BTreeMap<String, String> {
        let mut all = self.generated(framework, executor, directory);
        all.insert("MESOS_ALLOCATION_ROLE".to_owned(), role.to_owned());
        add_command(&mut all, command);
        all
    }

    /// That of a pod's task: nothing of its executor.
    pub(crate) fn pod_environment(
        &self,
        directory: &str,
        command: &v1::CommandInfo,
        role: &str,
    ) -> BTreeMap<String, String> {
        let mut all = self.inherited();
        let generated = [
            ("MESOS_ALLOCATION_ROLE", role),
            ("MESOS_CONTAINER_IP", &self.config.ip),
            ("MESOS_SANDBOX", directory),
        ];
        all.extend(generated.map(|(name, value)| (name.to_owned(), value.to_owned())));
        add_command(&mut all, command);
        all
    }

    /// That of a container which was started through the API: only its own.
    pub(crate) fn nested_environment(
        &self,
        directory: &str,
        command: &v1::CommandInfo,
    ) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([("MESOS_SANDBOX".to_owned(), directory.to_owned())]);
        add_command(&mut all, command);
        all
    }

    /// Time that an executor has to stop.
    pub(crate) fn shutdown_grace_period(&self, executor: &v1::ExecutorInfo) -> Duration {
        let own = executor.shutdown_grace_period.as_ref().map(from_wire);
        own.unwrap_or(self.config.executor_shutdown_grace_period)
    }

    fn inherited(&self) -> BTreeMap<String, String> {
        let config = &self.config;
        config.executor_environment.as_ref().unwrap_or(&config.inherited_environment).clone()
    }

    /// What the agent tells an executor.
    fn generated(
        &self,
        framework: &v1::FrameworkInfo,
        executor: &v1::ExecutorInfo,
        directory: &str,
    ) -> BTreeMap<String, String> {
        let config = &self.config;
        let port = config.info.port();
        let mut all = self.inherited();
        let grace = self.shutdown_grace_period(executor);
        // An executor of an agent that keeps nothing must not wait for it to come back.
        let checkpoints = framework.checkpoint() && !config.local;
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        let framework_id = framework.id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
        let generated = [
            ("LIBPROCESS_IP", config.ip.clone()),
            ("LIBPROCESS_PORT", "0".to_owned()),
            ("MESOS_FRAMEWORK_ID", framework_id),
            ("MESOS_EXECUTOR_ID", executor.executor_id.value.clone()),
            ("MESOS_DIRECTORY", directory.to_owned()),
            ("MESOS_SANDBOX", directory.to_owned()),
            ("MESOS_SLAVE_ID", self.state.id.clone().unwrap_or_default()),
            ("MESOS_SLAVE_PID", format!("slave(1)@{}:{port}", config.ip)),
            ("MESOS_AGENT_ENDPOINT", format!("{}:{port}", config.ip)),
            ("MESOS_CHECKPOINT", flag(checkpoints)),
            ("MESOS_HTTP_COMMAND_EXECUTOR", flag(false)),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration::format(grace)),
        ];
        all.extend(generated.map(|(name, value)| (name.to_owned(), value)));
        if checkpoints {
            let (recovery, backoff) =
                (config.recovery_timeout, config.executor_reregistration_timeout);
            all.insert("MESOS_RECOVERY_TIMEOUT".to_owned(), duration::format(recovery));
            all.insert("MESOS_SUBSCRIPTION_BACKOFF_MAX".to_owned(), duration::format(backoff));
        }
        if config.local {
            all.insert("MESOS_LOCAL".to_owned(), "1".to_owned());
        }
        all
    }
}

/// That of a container of Docker's: its image has the rest.
fn docker_environment(command: &v1::CommandInfo, role: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("MESOS_ALLOCATION_ROLE".to_owned(), role.to_owned())]);
    add_variables(&mut all, command);
    all
}

fn add_variables(all: &mut BTreeMap<String, String>, command: &v1::CommandInfo) {
    for variable in command.environment.iter().flat_map(|e| &e.variables) {
        all.insert(variable.name.clone(), variable.value.clone().unwrap_or_default());
    }
}

fn add_command(all: &mut BTreeMap<String, String>, command: &v1::CommandInfo) {
    add_variables(all, command);
    all.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
}
