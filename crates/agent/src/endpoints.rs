//! What an agent answers.

use http_api::endpoints::{COMMON, Endpoint, endpoint};

/// Every path, with and without `/slave(1)` before it.
pub const ENDPOINTS: &[&[Endpoint]] = &[AGENT, COMMON];

const AGENT: &[Endpoint] = &[
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
];
