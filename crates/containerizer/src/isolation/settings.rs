//! Settings of isolators: flags of the agent, parsed.

use super::disk::ProjectOptions;
use super::gpu::GpuOptions;
use super::network::{CniOptions, PortsOptions};
use std::path::PathBuf;
use std::time::Duration;
use wire::v1;

/// All but those of cgroups; each isolator takes what is for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `--sandbox_directory`: where the sandbox is for a container with a root file system of its own.
    pub sandbox_directory: String,
    /// `--default_container_shm_size`, bytes.
    pub default_shm_size: Option<u64>,
    /// `--disallow_sharing_agent_ipc_namespace`.
    pub disallow_sharing_ipc: bool,
    /// `--disallow_sharing_agent_pid_namespace`.
    pub disallow_sharing_pid: bool,
    /// `--effective_capabilities`.
    pub effective_capabilities: Option<v1::CapabilityInfo>,
    /// `--bounding_capabilities`.
    pub bounding_capabilities: Option<v1::CapabilityInfo>,
    /// `--seccomp_config_dir`.
    pub seccomp_config_dir: Option<PathBuf>,
    /// `--seccomp_profile_name`, relative to that directory.
    pub seccomp_profile_name: Option<String>,
    /// `--host_path_volume_force_creation`: what is missing of a volume's host path is made below these.
    pub host_path_force_creation: Vec<PathBuf>,
    /// `--container_disk_watch_interval`.
    pub disk_watch_interval: Duration,
    /// `--enforce_container_disk_quota`.
    pub enforce_disk_quota: bool,
    /// `--systemd_runtime_directory`: where it is there, supervisors are moved to a slice of systemd's. None: they stay in
    /// the agent's unit.
    pub systemd: Option<PathBuf>,
    /// Those of `disk/xfs`.
    pub projects: ProjectOptions,
    /// Those of `network/cni`.
    pub cni: CniOptions,
    /// Those of `network/ports`.
    pub ports: PortsOptions,
    /// Those of `gpu/nvidia`.
    pub gpus: GpuOptions,
}

impl Default for Settings {
    /// What the flags are when nobody sets them.
    fn default() -> Self {
        Self {
            sandbox_directory: "/mnt/mesos/sandbox".to_owned(),
            default_shm_size: None,
            disallow_sharing_ipc: false,
            disallow_sharing_pid: false,
            effective_capabilities: None,
            bounding_capabilities: None,
            seccomp_config_dir: None,
            seccomp_profile_name: None,
            host_path_force_creation: Vec::new(),
            disk_watch_interval: Duration::from_secs(15),
            enforce_disk_quota: false,
            systemd: None,
            projects: ProjectOptions::default(),
            cni: CniOptions::default(),
            ports: PortsOptions::default(),
            gpus: GpuOptions::default(),
        }
    }
}
