//! `proffer master` and `proffer agent`: from flags to settings, and signals.

use crate::flags::Flags;
use crate::host::{self, Address};
use crate::logging::{self, Logging};
use crate::modules::{self, LOGGER};
use agent::Logs;
use agent::isolation::Launcher;
use agent_core::GarbageCollection;
use agent_core::contract::Recover;
use http_api::otlp::Endpoint;
use http_api::server::Limits;
use resources::{Quantities, parse_attributes};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use wire::v1;

/// Requests for a cycle of the allocator within this time are served together.
const COALESCE: Duration = Duration::from_millis(2);
/// Shortest `--agent_reregister_timeout` (as the peer's).
const REREGISTER_MIN: Duration = Duration::from_secs(600);
/// Bounds of `--agent_ping_timeout`, in seconds (as the peer's).
const PING_TIMEOUT: (u64, u64) = (1, 15 * 60);
/// Bounds of `--executor_reregistration_timeout`, in seconds (as the peer's).
const EXECUTOR_RETURN: (u64, u64) = (0, 15);

/// Runs a master until it is stopped.
pub(crate) async fn master(flags: &Flags) -> Result<ExitCode, String> {
    let logging = logging::start(flags, "master")?;
    host::raise_open_files();
    let address = host::address(flags)?;
    let mut running =
        master::start(master_config(flags, &address, logging)?).await.map_err(|e| e.to_string())?;
    tracing::info!(address = %running.address, "master started");
    tokio::select! {
        ended = running.ended() => ended.map(|()| ExitCode::SUCCESS),
        () = stopped() => {
            running.stop().await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs an agent until it is stopped.
pub(crate) async fn agent(flags: &Flags) -> Result<ExitCode, String> {
    let logging = logging::start(flags, "agent")?;
    let open_files = host::raise_open_files();
    let address = host::address(flags)?;
    let mut running = agent::start(agent_config(flags, &address, logging, open_files)?)
        .await
        .map_err(|e| e.to_string())?;
    tracing::info!(address = %running.address, "agent started");
    let mut unregister = signal(SignalKind::user_defined1())
        .map_err(|e| format!("cannot listen to signals: {e}"))?;
    loop {
        tokio::select! {
            ended = running.ended() => {
                let why = ended?;
                tracing::info!(%why, "agent ends");
                return Ok(ExitCode::SUCCESS);
            }
            _ = unregister.recv() => running.unregister().await,
            () = stopped() => {
                running.stop().await;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// SIGINT, SIGTERM, or SIGHUP of a terminal that is closed.
pub(crate) async fn stopped() {
    let (Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

pub(crate) fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("'{path}' is not a path: {e}"))
}

fn list(flags: &Flags, name: &str) -> BTreeSet<String> {
    let text = flags.text(name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

pub(crate) fn master_config(
    flags: &Flags,
    address: &Address,
    logging: Logging,
) -> Result<master::Config, String> {
    let seed = host::seed()?;
    let coordination = crate::coordination::backend(flags, address)?;
    let info = v1::MasterInfo {
        id: base::Rng::new(host::seed()?).uuid(),
        hostname: Some(address.hostname.clone()),
        address: Some(v1::Address {
            ip: Some(address.ip.clone()),
            port: i32::from(address.port),
            hostname: None,
        }),
        domain: flags.message("domain")?,
        capabilities: master_core::registry::CAPABILITIES
            .map(|c| v1::master_info::Capability { r#type: Some(c as i32) })
            .to_vec(),
        ..Default::default()
    };
    let reregister = flags.duration("agent_reregister_timeout")?;
    if reregister < REREGISTER_MIN {
        return Err("--agent_reregister_timeout: expected at least 10mins".to_owned());
    }
    let core = master_core::contract::Config {
        info,
        allocator: allocator_config(flags)?,
        agent_ping_timeout: within(flags, "agent_ping_timeout", PING_TIMEOUT)?,
        max_agent_ping_timeouts: pings(flags)?,
        agent_reregister_timeout: reregister,
        agent_removal_rate_limit: rate(flags)?,
        recovery_agent_removal_limit: percent(flags)?,
        offer_timeout: offer_timeout(flags)?,
        offer_overlap: overlaps(flags)?,
        preemption_grace_period: flags.duration("preemption_grace_period")?,
        max_completed_frameworks: flags.number("max_completed_frameworks")?,
        max_completed_tasks_per_framework: flags.number("max_completed_tasks_per_framework")?,
        max_unreachable_tasks_per_framework: flags.number("max_unreachable_tasks_per_framework")?,
        roles: roles(flags)?,
        root_submissions: flags.is_set("root_submissions"),
        registry_max_agent_age: flags.duration("registry_max_agent_age")?,
        registry_max_agent_count: flags.number("registry_max_agent_count")?,
        registry_gc_interval: flags.duration("registry_gc_interval")?,
        allocator_agent_recovery_factor: factor(flags)?,
        allocator_recovery_timeout: flags.duration("allocator_recovery_timeout")?,
        require_agent_domain: flags.is_set("require_agent_domain"),
        seed,
        flags: crate::coordination::shown(flags),
    };
    Ok(master::Config {
        listen: address.listen,
        coordination,
        core,
        log_file: logging.file,
        log_level: logging.level,
        observers_max: flags.number("max_operator_event_stream_subscribers")?,
        whitelist: whitelist(flags)?,
        otlp: otlp(flags)?,
        per_framework_metrics: flags.is_set("publish_per_framework_metrics"),
        limits: Limits::default(),
    })
}

/// What the flags of a master say of its policy.
pub(crate) fn allocator_config(flags: &Flags) -> Result<allocator::Config, String> {
    let min_allocatable = flags.text("min_allocatable_resources").unwrap_or_default();
    let min_allocatable = Quantities::parse_alternatives(min_allocatable);
    Ok(allocator::Config {
        allocation_interval: flags.duration("allocation_interval")?,
        coalesce: COALESCE,
        min_allocatable: min_allocatable
            .map_err(|e| format!("--min_allocatable_resources: {e}"))?,
        fair_sharing_excluded: list(flags, "fair_sharing_excluded_resource_names"),
        filter_gpu_resources: flags.is_set("filter_gpu_resources"),
        domain: flags.message("domain")?,
        weights: weights(flags)?,
        role_sorter: sorter(flags, "role_sorter")?,
        framework_sorter: sorter(flags, "framework_sorter")?,
        max_time_to_offer: flags.duration("max_time_to_offer")?,
        lending: flags.is_set("lending"),
        lending_min_idle: flags.duration("lending_min_idle")?,
    })
}

/// `--otlp_endpoint`.
fn otlp(flags: &Flags) -> Result<Option<Endpoint>, String> {
    let given = flags.text("otlp_endpoint").map(Endpoint::parse).transpose();
    given.map_err(|e| format!("--otlp_endpoint: {e}"))
}

fn whitelist(flags: &Flags) -> Result<Option<PathBuf>, String> {
    let given = flags.text("whitelist").filter(|text| *text != "*");
    given.map(absolute).transpose()
}

/// A duration between two bounds.
fn within(flags: &Flags, name: &str, (least, most): (u64, u64)) -> Result<Duration, String> {
    let time = flags.duration(name)?;
    if time < Duration::from_secs(least) || time > Duration::from_secs(most) {
        let given = flags.text(name).unwrap_or_default();
        return Err(format!("--{name}: expected {least}secs to {most}secs, got '{given}'"));
    }
    Ok(time)
}

fn pings(flags: &Flags) -> Result<u32, String> {
    let count = flags.number("max_agent_ping_timeouts")?;
    if count == 0 {
        return Err("--max_agent_ping_timeouts: expected at least 1".to_owned());
    }
    Ok(count)
}

fn offer_timeout(flags: &Flags) -> Result<Option<Duration>, String> {
    let timeout = flags.optional_duration("offer_timeout")?;
    if timeout.is_some_and(|t| t.is_zero()) {
        return Err(
            "--offer_timeout: expected more than 0 (leave it out for no timeout)".to_owned()
        );
    }
    Ok(timeout)
}

fn roles(flags: &Flags) -> Result<Option<BTreeSet<String>>, String> {
    let roles = flags.text("roles").map(|_| list(flags, "roles"));
    for role in roles.iter().flatten() {
        resources::validate_role(role).map_err(|e| format!("--roles: {e}"))?;
    }
    Ok(roles)
}

fn sorter(flags: &Flags, name: &str) -> Result<allocator::Sorter, String> {
    match flags.text(name) {
        None | Some("drf") => Ok(allocator::Sorter::Drf),
        Some("random") => Ok(allocator::Sorter::Random),
        Some(other) => Err(format!("--{name}: expected drf or random, got '{other}'")),
    }
}

fn factor(flags: &Flags) -> Result<f64, String> {
    let text = flags.text("allocator_agent_recovery_factor").unwrap_or_default();
    let factor: Option<f64> = text.parse().ok().filter(|f| (0.0..=1.0).contains(f));
    factor.ok_or_else(|| {
        format!("--allocator_agent_recovery_factor: expected a number from 0 to 1, got '{text}'")
    })
}

fn weights(flags: &Flags) -> Result<BTreeMap<String, f64>, String> {
    let pair = |text: &String| {
        let (role, weight) = text.split_once('=').unwrap_or((text, ""));
        let role = role.trim();
        resources::validate_role(role).map_err(|e| format!("--weights: {e}"))?;
        let weight: Option<f64> =
            weight.trim().parse().ok().filter(|w: &f64| w.is_finite() && *w > 0.0);
        weight.map(|w| (role.to_owned(), w)).ok_or_else(|| {
            format!("--weights: expected role=weight with a positive weight, got '{text}'")
        })
    };
    list(flags, "weights").iter().map(pair).collect()
}

fn overlaps(flags: &Flags) -> Result<BTreeMap<String, allocator::Overlap>, String> {
    let pair = |text: &String| {
        let (role, overlap) = text.split_once('=').unwrap_or(("*", text));
        let role = role.trim();
        let fault = |e: String| {
            format!(
                "--offer_overlap: {e} (expected N, all, or role=N|all with commas, such as analytics=all,*=1)"
            )
        };
        resources::validate_role(role).map_err(|e| fault(e.to_string()))?;
        Ok((role.to_owned(), overlap.trim().parse().map_err(fault)?))
    };
    list(flags, "offer_overlap").iter().map(pair).collect()
}

fn rate(flags: &Flags) -> Result<Option<(u32, Duration)>, String> {
    let Some(text) = flags.text("agent_removal_rate_limit") else { return Ok(None) };
    let parsed = text.split_once('/').and_then(|(n, time)| {
        Some((n.trim().parse().ok().filter(|n| *n > 0)?, base::duration::parse(time).ok()?))
    });
    parsed.map(Some).ok_or_else(|| {
        format!(
            "--agent_removal_rate_limit: expected a number per time such as 1/10mins, got '{text}'"
        )
    })
}

fn percent(flags: &Flags) -> Result<f64, String> {
    let text = flags.text("recovery_agent_removal_limit").unwrap_or("100%");
    let number: Option<f64> =
        text.strip_suffix('%').and_then(|n| n.parse().ok()).filter(|n| (0.0..=100.0).contains(n));
    number.ok_or_else(|| {
        format!("--recovery_agent_removal_limit: expected a percentage such as 50%, got '{text}'")
    })
}

fn logs(flags: &Flags) -> Result<Option<Logs>, String> {
    match flags.text("container_logger") {
        None => Ok(None),
        Some(LOGGER) => {
            let parameters = modules::read(flags)?.remove(LOGGER).unwrap_or_default();
            Logs::new(&parameters).map(Some).map_err(|e| format!("--modules: {LOGGER}: {e}"))
        }
        Some(other) => Err(format!("--container_logger: expected {LOGGER}, got '{other}'")),
    }
}

fn recover(flags: &Flags) -> Result<Recover, String> {
    match flags.text("recover").unwrap_or_default() {
        "reconnect" => Ok(Recover::Reconnect),
        "cleanup" => Ok(Recover::Cleanup),
        other => Err(format!("--recover: expected reconnect or cleanup, got '{other}'")),
    }
}

fn garbage_collection(flags: &Flags) -> Result<GarbageCollection, String> {
    let text = flags.text("gc_disk_headroom").unwrap_or_default();
    let headroom: Option<f64> = text.parse().ok().filter(|h| (0.0..=1.0).contains(h));
    let headroom = headroom.ok_or_else(|| {
        format!("--gc_disk_headroom: expected a number from 0 to 1, got '{text}'")
    })?;
    Ok(GarbageCollection {
        delay: flags.duration("gc_delay")?,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is 0 to 1"
        )]
        headroom: (headroom * 1e6).round() as u32,
        interval: flags.duration("disk_watch_interval")?,
        nested: flags.is_set("gc_non_executor_container_sandboxes"),
    })
}

/// Values of flags as everybody may see them; the launcher that was chosen, if none was asked for.
fn shown(flags: &Flags, launcher: Launcher) -> BTreeMap<String, String> {
    let mut all = crate::coordination::shown(flags);
    let chosen = match launcher {
        Launcher::Posix => "posix",
        Launcher::Linux => "linux",
    };
    all.entry("launcher".to_owned()).or_insert_with(|| chosen.to_owned());
    if let Some(config) = all.get_mut("docker_config").filter(|value| !value.starts_with('/')) {
        "(not shown)".clone_into(config);
    }
    all
}

pub(crate) fn agent_config(
    flags: &Flags,
    address: &Address,
    logging: Logging,
    open_files: Option<u64>,
) -> Result<agent::Config, String> {
    let master = flags.text("master").ok_or(
        "--master is needed: host:port of the master, zk://host:port/path or etcd://host:port/path",
    )?;
    let master = detector::MasterName::parse(master).map_err(|e| format!("--master: {e}"))?;
    let work_dir = flags
        .text("work_dir")
        .ok_or("--work_dir is needed: it holds sandboxes and what survives a restart")?;
    let work_dir = absolute(work_dir)?;
    let text = flags.text("resources").unwrap_or_default();
    let role = flags.text("default_role").unwrap_or("*");
    let mut resources = agent::detect::resources(text, role, Path::new(&work_dir))
        .map_err(|e| format!("--resources: {e}"))?;
    let isolation = crate::isolation::selection(flags)?;
    crate::isolation::add_gpus(flags, &isolation, text, role, &mut resources)?;
    agent::disks::check(&resources, &work_dir).map_err(|e| format!("--resources: {e}"))?;
    let attributes = parse_attributes(flags.text("attributes").unwrap_or_default());
    let executor_environment = match flags.text("executor_environment_variables") {
        None => None,
        Some(text) => {
            let map: BTreeMap<String, String> = serde_json::from_str(text).map_err(|e| {
                format!("--executor_environment_variables: expected a JSON object of strings: {e}")
            })?;
            Some(map)
        }
    };
    let info = v1::AgentInfo {
        hostname: address.hostname.clone(),
        port: Some(i32::from(address.port)),
        resources: resources.to_wire(),
        attributes: attributes.map_err(|e| format!("--attributes: {e}"))?,
        domain: flags.message("domain")?,
        ..Default::default()
    };
    let core = agent_core::contract::Config {
        info,
        ip: address.ip.clone(),
        work_dir: work_dir.display().to_string(),
        boot_id: host::boot_id()?,
        executor_registration_timeout: flags.duration("executor_registration_timeout")?,
        executor_reregistration_timeout: within(
            flags,
            "executor_reregistration_timeout",
            EXECUTOR_RETURN,
        )?,
        executor_shutdown_grace_period: flags.duration("executor_shutdown_grace_period")?,
        docker_stop_timeout: flags.duration("docker_stop_timeout")?,
        recovery_timeout: flags.duration("recovery_timeout")?,
        recover: recover(flags)?,
        gc: garbage_collection(flags)?,
        max_completed_executors_per_framework: flags
            .number("max_completed_executors_per_framework")?,
        executor_environment,
        inherited_environment: BTreeMap::new(),
        default_container_info: crate::containerizers::default(flags)?,
        switch_user: flags.is_set("switch_user") && host::is_root(),
        limitable: crate::isolation::limitable(&isolation),
        oversubscription: crate::oversubscription::settings(flags)?,
        local: false,
        seed: host::seed()?,
        flags: shown(flags, isolation.launcher()),
    };
    let runtime_dir = absolute(flags.text("runtime_dir").unwrap_or("/var/run/mesos"))?;
    let (mesos, docker) = crate::containerizers::chosen(flags, &runtime_dir)?;
    Ok(agent::Config {
        listen: address.listen,
        master,
        zk_session_timeout: crate::coordination::session_timeout(flags)?,
        fetcher: fetcher_options(flags)?,
        mesos,
        docker,
        runtime_dir,
        isolation,
        http_heartbeat_interval: heartbeat(flags)?,
        logs: logs(flags)?,
        strict: flags.is_set("strict"),
        images: crate::images::settings(flags, &work_dir)?,
        isolation_settings: crate::isolation::settings(flags, &resources)?,
        secrets: crate::containerizers::secrets(flags)?,
        core,
        log_file: logging.file,
        log_level: logging.level,
        open_files,
        otlp: otlp(flags)?,
        limits: Limits::default(),
    })
}

fn heartbeat(flags: &Flags) -> Result<Duration, String> {
    let interval = flags.duration("http_heartbeat_interval")?;
    match interval.is_zero() {
        false => Ok(interval),
        true => Err("--http_heartbeat_interval: expected more than 0ns".to_owned()),
    }
}

fn fetcher_options(flags: &Flags) -> Result<agent::FetcherOptions, String> {
    let given = |name: &str| flags.text(name).filter(|t| !t.is_empty()).map(str::to_owned);
    Ok(agent::FetcherOptions {
        // This program, under another name.
        program: PathBuf::from("/proc/self/exe"),
        cache_dir: absolute(flags.text("fetcher_cache_dir").unwrap_or_default())
            .map_err(|e| format!("--fetcher_cache_dir: {e}"))?,
        cache_size: flags.bytes("fetcher_cache_size")?,
        stall_timeout: flags.duration("fetcher_stall_timeout")?,
        frameworks_home: given("frameworks_home"),
        hadoop_home: given("hadoop_home"),
    })
}
