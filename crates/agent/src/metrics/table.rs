//! All that an agent measures.

use http_api::prometheus::{HOST, Metric, Table, counter, gauge, histogram, sometimes, timer};
use std::sync::LazyLock;

const AGENT: &[Metric] = &[
    gauge("slave/registered", "1 if a master knows this agent, else 0."),
    gauge("slave/uptime_secs", "Time since the start of this process."),
    sometimes(gauge(
        "slave/recovery_time_secs",
        "Time that it took to find again what ran before.",
    )),
    gauge("slave/recovery_errors", "Places of the store that could not be read."),
    gauge("slave/frameworks_active", "Frameworks that run something here."),
    gauge("slave/tasks_{staging,starting,running,killing}", "Tasks in this state."),
    counter("slave/tasks_{finished,failed,killed,lost,gone}", "Tasks that came to this state."),
    gauge("slave/executors_{registering,running,terminating}", "Executors in this state."),
    counter("slave/executors_terminated", "Executors that ended."),
    counter("slave/executors_preempted", "Executors that were ended to take back what was lent."),
    counter("slave/{valid,invalid}_status_updates", "Statuses of known and unknown tasks."),
    counter(
        "slave/{valid,invalid}_framework_messages",
        "Messages to executors: handed over, or to nobody.",
    ),
    gauge(
        "slave/{cpus,gpus,mem,disk}_total",
        "What this agent has and may not be taken back; MB of mem and disk.",
    ),
    gauge("slave/{cpus,gpus,mem,disk}_used", "The part of it that tasks and executors have."),
    gauge("slave/{cpus,gpus,mem,disk}_percent", "The same as a fraction of 1."),
    gauge(
        "slave/{cpus,gpus,mem,disk}_revocable_{total,used,percent}",
        "The same of what may be taken back.",
    ),
];

const CONTAINERS: &[Metric] = &[
    histogram(
        "slave/task_launch",
        "Time from the master's order to run a task until the master is told that it runs.",
    ),
    histogram(
        "slave/container_launch",
        "Time from the wish for a container until it runs: with fetching and images.",
    ),
    histogram("slave/store_write", "Time to make records of tasks durable."),
    counter("slave/container_launch_errors", "Containers that could not be started."),
    counter("containerizer/mesos/container_destroy_errors", "Containers that could not be ended."),
    counter(
        "containerizer/mesos/provisioner/remove_container_errors",
        "Containers of which something of their image is left.",
    ),
    counter(
        "containerizer/mesos/provisioner/bind/remove_rootfs_errors",
        "Root file systems that could not be removed.",
    ),
    sometimes(gauge(
        "containerizer/mesos/filesystem/containers_new_rootfs",
        "Containers with an image.",
    )),
    sometimes(gauge(
        "containerizer/mesos/disk/project_ids_{total,free}",
        "Numbers for isolator disk/xfs.",
    )),
    timer("containerizer/mesos/provisioner/docker_store/image_pull", "Time to pull an image."),
    timer("containerizer/docker/image_pull", "Time for Docker to pull an image."),
    counter(
        "containerizer/fetcher/task_fetches_{succeeded,failed}",
        "Containers for which all was fetched, and not.",
    ),
    gauge(
        "containerizer/fetcher/cache_size_{total,used}_bytes",
        "What the cache of URIs may take, and takes.",
    ),
    gauge(
        "slave/executor_directory_max_allowed_age_secs",
        "Age at which sandboxes are removed now.",
    ),
    counter(
        "gc/path_removals_{succeeded,failed}",
        "Sandboxes that were removed, and could not be.",
    ),
    gauge("gc/path_removals_pending", "Sandboxes that will be removed."),
];

const OTHERS: &[Metric] = &[
    gauge("resource_provider_manager/subscribed", "Always 0: there are no resource providers."),
    counter(
        "resource_provider_manager/events/{subscribe,disconnect}",
        "Always 0: there are no resource providers.",
    ),
];

/// All of them.
pub(crate) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::new(&[AGENT, CONTAINERS, OTHERS, HOST]));
