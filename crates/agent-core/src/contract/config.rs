//! What an agent is told once.

use super::*;

/// Settings of an agent: its flags, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    /// `hostname`, `port`, `resources` (total, post-refinement), `attributes`, `domain`; `id` unset.
    pub info: v1::AgentInfo,
    /// IP address that is announced.
    pub ip: String,
    /// `--work_dir`, absolute.
    pub work_dir: String,
    /// What tells this boot of the machine from others.
    pub boot_id: String,
    /// `--executor_registration_timeout`.
    pub executor_registration_timeout: Duration,
    /// `--executor_reregistration_timeout`.
    pub executor_reregistration_timeout: Duration,
    /// `--executor_shutdown_grace_period`.
    pub executor_shutdown_grace_period: Duration,
    /// `--docker_stop_timeout`.
    pub docker_stop_timeout: Duration,
    /// `--recovery_timeout`.
    pub recovery_timeout: Duration,
    /// `--recover`.
    pub recover: Recover,
    /// When directories are removed.
    pub gc: crate::GarbageCollection,
    /// `--max_completed_executors_per_framework`.
    pub max_completed_executors_per_framework: usize,
    /// `--executor_environment_variables`; None: what the peer passes by default (see agent.md 2.2).
    pub executor_environment: Option<BTreeMap<String, String>>,
    /// `PATH` and other variables of the agent itself that tasks inherit.
    pub inherited_environment: BTreeMap<String, String>,
    /// `--default_container_info`: of executors and command tasks that have none.
    pub default_container_info: Option<v1::ContainerInfo>,
    /// `--switch_user`.
    pub switch_user: bool,
    /// What of limits the isolation can enforce.
    pub limitable: crate::Limitable,
    /// What is lent beyond what there is, and when it has to be given back.
    pub oversubscription: crate::Oversubscription,
    /// Whether tasks die with the agent (a `local` cluster).
    pub local: bool,
    /// Seed of the agent's generator.
    pub seed: u64,
    /// Every flag's name and value, for `/flags` and `/state`.
    pub flags: BTreeMap<String, String>,
}
