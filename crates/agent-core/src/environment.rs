//! The environment of executors and command tasks (spec/agent.md 2.2).

use crate::agent::Agent;
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
    /// Variables that the agent generates for an executor, then those of its command.
    pub(crate) fn environment(
        &self,
        framework: &v1::FrameworkInfo,
        executor: &v1::ExecutorInfo,
        directory: &str,
        command: &v1::CommandInfo,
        role: Option<&str>,
    ) -> BTreeMap<String, String> {
        let config = &self.config;
        let port = config.info.port();
        let mut all: BTreeMap<String, String> = match &config.executor_environment {
            Some(given) => given.clone(),
            None => config.inherited_environment.clone(),
        };
        let grace = executor.shutdown_grace_period.as_ref().map(from_wire);
        let grace = grace.unwrap_or(config.executor_shutdown_grace_period);
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
            ("MESOS_CHECKPOINT", flag(framework.checkpoint())),
            ("MESOS_HTTP_COMMAND_EXECUTOR", flag(false)),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration::format(grace)),
        ];
        all.extend(generated.map(|(name, value)| (name.to_owned(), value)));
        if framework.checkpoint() {
            let (recovery, backoff) =
                (config.recovery_timeout, config.executor_reregistration_timeout);
            all.insert("MESOS_RECOVERY_TIMEOUT".to_owned(), duration::format(recovery));
            all.insert("MESOS_SUBSCRIPTION_BACKOFF_MAX".to_owned(), duration::format(backoff));
        }
        if config.local {
            all.insert("MESOS_LOCAL".to_owned(), "1".to_owned());
        }
        if let Some(role) = role {
            all.insert("MESOS_ALLOCATION_ROLE".to_owned(), role.to_owned());
        }
        for variable in command.environment.iter().flat_map(|e| &e.variables) {
            all.insert(variable.name.clone(), variable.value.clone().unwrap_or_default());
        }
        all.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
        all
    }
}
