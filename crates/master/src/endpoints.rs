//! What a master answers.

use http_api::endpoints::{COMMON, Endpoint, endpoint, own};

/// Every path, with and without `/master` before it.
pub const ENDPOINTS: &[&[Endpoint]] = &[MASTER, COMMON, OWN];

const MASTER: &[Endpoint] = &[
    endpoint(
        "/api/v1/scheduler",
        "POST",
        "the v1 scheduler API: calls of frameworks, and the stream of their events",
    ),
    endpoint("/api/v1", "POST", "the v1 operator API, with the stream of events of SUBSCRIBE"),
    endpoint("/state", "", "everything: agents, frameworks, tasks, executors, offers"),
    endpoint("/state-summary", "", "agents and frameworks with the number of their tasks by state"),
    endpoint("/slaves", "", "agents; of one with slave_id"),
    endpoint("/frameworks", "", "frameworks with their tasks; one with framework_id"),
    endpoint(
        "/tasks",
        "",
        "tasks, a page at a time: limit (100), offset, order (asc or desc), framework_id, task_id",
    ),
    endpoint("/roles", "", "roles: weight, quota, what they use and are offered, frameworks"),
    endpoint("/quota", "GET, POST", "quotas; POST sets one, DELETE of /quota/ROLE removes it"),
    endpoint("/weights", "GET, PUT", "weights of roles"),
    endpoint("/reserve", "POST", "reserves resources of an agent for a role: slaveId, resources"),
    endpoint("/unreserve", "POST", "undoes that"),
    endpoint("/create-volumes", "POST", "creates persistent volumes: slaveId, volumes"),
    endpoint("/destroy-volumes", "POST", "destroys them"),
    endpoint("/teardown", "POST", "ends a framework with all its tasks: frameworkId"),
    endpoint("/maintenance/schedule", "GET, POST", "windows in which machines will be away"),
    endpoint("/maintenance/status", "", "machines that drain or are down"),
    endpoint("/machine/down", "POST", "takes machines out of the cluster"),
    endpoint("/machine/up", "POST", "takes them in again"),
    endpoint("/flags", "", "every flag and its value; of this master, whoever leads"),
    endpoint("/health", "", "200 as long as this master answers"),
    endpoint("/redirect", "", "redirects to the master that leads"),
    endpoint("/registrar(1)/registry", "", "what the registry keeps"),
    endpoint(
        "/allocator/offer_constraints_debug",
        "",
        "agents from which the constraints of frameworks keep offers away",
    ),
];

const OWN: &[Endpoint] = &[
    own("/", "", "the web page of the cluster"),
    own("/kill-task", "POST", "ends a task of any framework: framework_id, task_id, kill_policy"),
    own("/why", "", "why a framework or role gets no offers: framework, role, agent"),
    own("/shares", "GET, PUT, DELETE", "shares of roles in percent and in time"),
    own("/offer-overlap", "GET, PUT, DELETE", "how far offers of roles may overlap"),
    own("/masters", "GET, POST, DELETE", "masters that replicate the registry among themselves"),
];
