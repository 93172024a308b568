//! Flags of isolation: which isolators, which launcher, and what cgroups are to do.

use crate::flags::Flags;
use agent::isolation::cgroups::{NetworkClasses, Options, PerfOptions, PidsLimit};
use agent::isolation::{
    CniOptions, GpuOptions, Launcher, NetworkStatistics, PortsOptions, ProjectOptions, Rate, Rates,
    Selection, Settings,
};
use agent_core::Limitable;
use resources::Resources;
use std::path::PathBuf;
use wire::v1;

pub(crate) fn selection(flags: &Flags) -> Result<Selection, String> {
    let launcher = match flags.text("launcher") {
        None => None,
        Some("posix") => Some(Launcher::Posix),
        Some("linux") => Some(Launcher::Linux),
        Some(other) => return Err(format!("--launcher: expected posix or linux, got '{other}'")),
    };
    let pids_limit = PidsLimit::parse(flags.text("cgroups_pids_limit").unwrap_or_default())
        .map_err(|e| format!("--cgroups_pids_limit: {e}"))?;
    let allowed = flags.message::<v1::DeviceWhitelist>("allowed_devices")?.unwrap_or_default();
    let events = flags.text("perf_events").unwrap_or_default();
    let perf = PerfOptions {
        events: events
            .split(',')
            .map(str::trim)
            .filter(|e| !e.is_empty())
            .map(str::to_owned)
            .collect(),
        interval: flags.duration("perf_interval")?,
        duration: flags.duration("perf_duration")?,
    };
    let primary = flags.text("cgroups_net_cls_primary_handle");
    let secondary = flags.text("cgroups_net_cls_secondary_handles");
    let network_classes =
        primary.map(|primary| NetworkClasses::parse(primary, secondary)).transpose()?;
    let options = Options {
        network_classes,
        perf,
        hierarchy: flags.text("cgroups_hierarchy").unwrap_or_default().into(),
        root: flags.text("cgroups_root").unwrap_or_default().to_owned(),
        enable_cfs: flags.is_set("cgroups_enable_cfs"),
        limit_swap: flags.is_set("cgroups_limit_swap"),
        count_threads: flags.is_set("cgroups_cpu_enable_pids_and_tids_count"),
        revocable_cpu_low_priority: flags.is_set("revocable_cpu_low_priority"),
        pids_limit,
        allowed_devices: allowed.allowed_devices,
        destroy_timeout: flags.duration("cgroups_destroy_timeout")?,
    };
    let isolation = flags.text("isolation").unwrap_or_default();
    let selection = Selection::new(isolation, launcher, options);
    selection.map_err(|e| format!("--isolation: {e}"))
}

/// What of tasks' limits these isolators enforce.
pub(crate) fn limitable(selection: &Selection) -> Limitable {
    Limitable {
        cpus: selection.has("cgroups/cpu"),
        mem: selection.has("cgroups/mem"),
        cpus_by_request: selection.cgroups().enable_cfs,
    }
}

/// Settings of isolators other than those of cgroups, on an agent with these resources.
pub(crate) fn settings(flags: &Flags, agent: &Resources) -> Result<Settings, String> {
    let size = flags.text("default_container_shm_size").map(base::bytes::parse).transpose();
    let settings = Settings {
        default_shm_size: size.map_err(|e| format!("--default_container_shm_size: {e}"))?,
        disallow_sharing_ipc: flags.is_set("disallow_sharing_agent_ipc_namespace"),
        disallow_sharing_pid: flags.is_set("disallow_sharing_agent_pid_namespace"),
        effective_capabilities: flags.message("effective_capabilities")?,
        bounding_capabilities: flags.message("bounding_capabilities")?,
        seccomp_config_dir: flags.text("seccomp_config_dir").map(PathBuf::from),
        seccomp_profile_name: flags.text("seccomp_profile_name").map(str::to_owned),
        host_path_force_creation: paths(flags, "host_path_volume_force_creation"),
        disk_watch_interval: flags.duration("container_disk_watch_interval")?,
        enforce_disk_quota: flags.is_set("enforce_container_disk_quota"),
        systemd: (flags.is_set("systemd_enable_support") && crate::host::is_root())
            .then(|| flags.text("systemd_runtime_directory").unwrap_or_default().into()),
        projects: projects(flags)?,
        cni: cni(flags)?,
        ports: ports(flags, agent)?,
        gpus: gpus(flags)?,
        ..Settings::default()
    };
    let sandbox_directory = flags.text("sandbox_directory");
    let sandbox_directory = sandbox_directory.unwrap_or(&settings.sandbox_directory).to_owned();
    Ok(Settings { sandbox_directory, ..settings })
}

/// Settings of `disk/xfs`.
fn projects(flags: &Flags) -> Result<ProjectOptions, String> {
    let text = flags.text("xfs_project_range").unwrap_or_default();
    let range = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ends = range.and_then(|range| range.split_once('-'));
    let ends =
        ends.and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
    let range = ends.filter(|(from, to): &(u32, u32)| *from > 0 && from <= to);
    Ok(ProjectOptions {
        range: range.ok_or_else(|| {
            format!("--xfs_project_range: expected one range of numbers above 0, such as [5000-10000], got '{text}'")
        })?,
        kill: flags.is_set("xfs_kill_containers"),
        headroom: flags.bytes("xfs_quota_headroom")?,
    })
}

/// Settings of `gpu/nvidia`.
fn gpus(flags: &Flags) -> Result<GpuOptions, String> {
    let index = |text: &str| {
        let text = text.trim();
        text.parse()
            .map_err(|_| format!("--nvidia_gpu_devices: '{text}' is not the number of a GPU"))
    };
    let list = flags.text("nvidia_gpu_devices").map(|text| text.split(',').map(index).collect());
    Ok(GpuOptions { indices: list.transpose()?, ..GpuOptions::default() })
}

/// Adds the GPUs of this machine to what an agent has, if they are isolated and `--resources` (`text`) does not name any.
pub(crate) fn add_gpus(
    flags: &Flags,
    selection: &Selection,
    text: &str,
    role: &str,
    all: &mut Resources,
) -> Result<(), String> {
    if !selection.has("gpu/nvidia") {
        return match flags.text("nvidia_gpu_devices") {
            None => Ok(()),
            Some(_) => Err("--nvidia_gpu_devices needs 'gpu/nvidia' in --isolation".to_owned()),
        };
    }
    let named = Resources::parse_named(text, role).map_err(|e| e.to_string())?.1;
    let is_given = named.contains("gpus");
    let given = is_given.then(|| resources::from_milli(all.scalar("gpus")));
    let count = gpus(flags)?.count(given)?;
    if !is_given && count > 0 {
        *all += &Resources::parse(&format!("gpus:{count}"), role).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Settings of `network/cni`.
fn cni(flags: &Flags) -> Result<CniOptions, String> {
    Ok(CniOptions {
        config_dir: flags.text("network_cni_config_dir").map(PathBuf::from),
        plugins_dirs: paths(flags, "network_cni_plugins_dir"),
        persist: flags.is_set("network_cni_root_dir_persist"),
        plugin_timeout: flags.duration("network_cni_plugin_timeout")?,
        resolvers: crate::containerizers::name_servers(flags)?.mesos(),
        statistics: NetworkStatistics {
            none: !flags.is_set("network_cni_metrics"),
            protocols: flags.is_set("network_enable_snmp_statistics"),
            connections: flags.is_set("network_enable_socket_statistics_summary"),
            round_trips: flags.is_set("network_enable_socket_statistics_details"),
        },
        rates: Rates { egress: rate(flags, "egress")?, ingress: rate(flags, "ingress")? },
    })
}

/// Settings of `network/ports`, on an agent with these resources.
fn ports(flags: &Flags, agent: &Resources) -> Result<PortsOptions, String> {
    let name = "container_ports_isolated_range";
    let range = match (flags.text(name), flags.is_set("check_agent_port_range_only")) {
        (Some(_), true) => {
            return Err(format!("--{name} and --check_agent_port_range_only exclude each other"));
        }
        (Some(text), false) => {
            let fault = |e| format!("--{name}: expected ranges, such as [1024-5000]: {e}");
            let parsed = Resources::parse(&format!("ports:{text}"), "*");
            Some(parsed.map_err(|e| fault(e.to_string()))?)
        }
        (None, true) => Some(agent.clone()),
        (None, false) => None,
    };
    Ok(PortsOptions {
        interval: flags.duration("container_ports_watch_interval")?,
        is_enforced: flags.is_set("enforce_container_ports"),
        range: range.map(|all| PortsOptions::ports(&all.to_wire())),
    })
}

/// How fast containers send or receive that do not ask for a rate.
fn rate(flags: &Flags, direction: &str) -> Result<Option<Rate>, String> {
    let bytes = |name: String| match flags.text(&name).map(base::bytes::parse).transpose() {
        Ok(Some(0)) => Err(format!("--{name}: expected more than 0")),
        other => other.map_err(|e| format!("--{name}: {e}")),
    };
    let limit = bytes(format!("{direction}_rate_limit_per_container"))?;
    let burst = bytes(format!("{direction}_burst"))?;
    match (limit, burst) {
        (None, Some(_)) => {
            Err(format!("--{direction}_burst needs --{direction}_rate_limit_per_container"))
        }
        (limit, burst) => Ok(limit.map(|limit| Rate::new(limit, burst))),
    }
}

/// Paths with colons between them.
fn paths(flags: &Flags, name: &str) -> Vec<PathBuf> {
    let paths = flags.text(name).unwrap_or_default().split(':');
    paths.filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}
