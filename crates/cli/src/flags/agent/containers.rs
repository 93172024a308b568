//! Flags about who starts containers, and cgroups.

use crate::flags::{Kind, Row, row};

pub(super) const ROWS: &[Row] = &[
    row(
        "containerizers",
        Kind::Text,
        Some("mesos"),
        "who starts containers: mesos, docker or both, with a comma; see docs/docker.md",
    ),
    row(
        "docker_socket",
        Kind::Text,
        Some("/var/run/docker.sock"),
        "socket of the Docker Engine, for containers of type DOCKER",
    ),
    row(
        "docker_stop_timeout",
        Kind::Duration,
        Some("0ns"),
        "longer than the executors' grace period: time for Docker's containers to stop",
    ),
    row(
        "docker_remove_delay",
        Kind::Duration,
        Some("6hrs"),
        "how long the Docker Engine keeps containers that have ended",
    ),
    row(
        "docker_kill_orphans",
        Kind::Bool,
        Some("true"),
        "remove Docker's containers that were started from this runtime directory and are known to nobody",
    ),
    row(
        "default_container_dns",
        Kind::Text,
        None,
        "name servers of containers by network, as JSON: {\"mesos\": [...], \"docker\": [...]}",
    ),
    row(
        "isolation",
        Kind::Text,
        Some("posix/cpu,posix/mem"),
        "isolators, with commas between them, or auto: all that this host supports; see docs/isolation.md",
    ),
    row(
        "launcher",
        Kind::Text,
        None,
        "how processes are told apart: linux (by cgroups) or posix (by descent); without it, linux where it works",
    ),
    row("cgroups_hierarchy", Kind::Text, Some("/sys/fs/cgroup"), "where cgroups are mounted"),
    row("cgroups_root", Kind::Text, Some("mesos"), "name of the cgroup of all containers"),
    row(
        "cgroups_enable_cfs",
        Kind::Bool,
        Some("false"),
        "let requests be upper bounds of cpu time too",
    ),
    row(
        "cgroups_limit_swap",
        Kind::Bool,
        Some("false"),
        "limit memory and swap together; with version 2, no swap at all",
    ),
    row(
        "cgroups_cpu_enable_pids_and_tids_count",
        Kind::Bool,
        Some("false"),
        "count processes and threads in statistics",
    ),
    row(
        "cgroups_pids_limit",
        Kind::Text,
        Some("15%"),
        "most processes and threads of a container with cgroups/pids: a number, or a part of what the host can have",
    ),
    row(
        "cgroups_destroy_timeout",
        Kind::Duration,
        Some("1mins"),
        "for how long the end of processes is waited for before a cgroup is given up",
    ),
    row(
        "perf_events",
        Kind::Text,
        None,
        "events that cgroups/perf_event counts, with commas, such as task-clock,page-faults; names as perf list has them",
    ),
    row(
        "perf_interval",
        Kind::Duration,
        Some("1mins"),
        "time from one sample of perf events to the next",
    ),
    row(
        "perf_duration",
        Kind::Duration,
        Some("10secs"),
        "for how long perf events are counted for a sample",
    ),
    row(
        "cgroups_net_cls_primary_handle",
        Kind::Text,
        None,
        "upper half of the network class of every container, such as 0x0012, for cgroups/net_cls; without it they have none",
    ),
    row(
        "cgroups_net_cls_secondary_handles",
        Kind::Text,
        None,
        "first and last of the lower halves, of which each container has one, such as 0x0001,0xffff, which is the default",
    ),
    row(
        "revocable_cpu_low_priority",
        Kind::Bool,
        Some("true"),
        "give revocable cpus fewer shares, with cgroups/cpu",
    ),
    row(
        "systemd_enable_support",
        Kind::Bool,
        Some("true"),
        "where systemd runs, keep containers outside the agent's unit, so that they outlive its restart",
    ),
    row(
        "systemd_runtime_directory",
        Kind::Text,
        Some("/run/systemd/system"),
        "where systemd reads units that are gone after a boot; without it systemd does not run",
    ),
];
