//! What an agent answers.

use http_api::endpoints::{Endpoint, endpoint, own};

/// Every path, with and without `/slave(1)` before it.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "/api/v1/executor",
        "POST",
        "the v1 executor API: calls of executors, and the stream of their events",
    ),
    endpoint(
        "/api/v1",
        "POST",
        "the v1 operator API, with containers inside containers and their terminals",
    ),
    endpoint("/state", "", "everything: resources, frameworks, executors, tasks"),
    endpoint(
        "/containers",
        "",
        "containers of executors with what they use: container_id, framework_id, executor_id",
    ),
    endpoint("/monitor/statistics", "", "what containers of executors use"),
    endpoint("/flags", "", "every flag and its value"),
    endpoint("/health", "", "200 as long as this agent answers"),
    endpoint("/version", "", "what was built, and when"),
    endpoint("/metrics/snapshot", "", "metrics by Mesos' names; timeout"),
    own("/metrics", "", "metrics for Prometheus"),
    endpoint(
        "/logging/toggle",
        "",
        "the level of the log; with level and duration another one for a while",
    ),
    endpoint("/files/browse", "", "the files of a directory: path"),
    endpoint("/files/read", "", "a piece of a file: path, offset, length"),
    endpoint("/files/download", "", "a file: path"),
    endpoint("/files/debug", "", "which virtual paths there are"),
    endpoint("/system/stats.json", "", "load and memory of this host"),
    endpoint("/help", "", "this list"),
];
