//! Settings of cgroups.

use super::{NetworkClasses, PerfOptions, PidsLimit};
use std::path::PathBuf;
use std::time::Duration;
use wire::v1;

/// Settings: the flags of cgroups.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `--cgroups_hierarchy`.
    pub hierarchy: PathBuf,
    /// `--cgroups_root`: name of the cgroup of all containers.
    pub root: String,
    /// `--cgroups_enable_cfs`: requests are upper bounds of cpu time too.
    pub enable_cfs: bool,
    /// `--cgroups_limit_swap`.
    pub limit_swap: bool,
    /// `--cgroups_cpu_enable_pids_and_tids_count`.
    pub count_threads: bool,
    /// `--revocable_cpu_low_priority`.
    pub revocable_cpu_low_priority: bool,
    /// `--cgroups_pids_limit`.
    pub pids_limit: PidsLimit,
    /// `--allowed_devices`.
    pub allowed_devices: Vec<v1::DeviceAccess>,
    /// Classes for `cgroups/net_cls`; None: containers get none.
    pub network_classes: Option<NetworkClasses>,
    /// Settings of `cgroups/perf_event`.
    pub perf: PerfOptions,
    /// `--cgroups_destroy_timeout`: for how long the end of processes is waited for when a cgroup is removed.
    pub destroy_timeout: Duration,
}

impl Default for Options {
    /// The defaults of the flags.
    fn default() -> Self {
        Self {
            hierarchy: "/sys/fs/cgroup".into(),
            root: "mesos".to_owned(),
            enable_cfs: false,
            limit_swap: false,
            count_threads: false,
            revocable_cpu_low_priority: true,
            pids_limit: PidsLimit::Percent(15),
            allowed_devices: Vec::new(),
            network_classes: None,
            perf: PerfOptions::default(),
            destroy_timeout: Duration::from_secs(60),
        }
    }
}
