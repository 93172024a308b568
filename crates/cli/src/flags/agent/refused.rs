//! Flags of the peer that are known and refused, but for values that change nothing.

use crate::flags::{Kind, Row, never, only};

pub(super) const ROWS: &[Row] = &[
    only("agent_features", Kind::Text, None, &[]),
    only("agent_subsystems", Kind::Text, None, &[]),
    only("appc_simple_discovery_uri_prefix", Kind::Text, Some("http://"), &[]),
    only("appc_store_dir", Kind::Text, Some("/tmp/mesos/store/appc"), &[]),
    only("authenticatee", Kind::Text, Some("crammd5"), &[]),
    only("authentication_backoff_factor", Kind::Duration, Some("1secs"), &[]),
    only("authentication_timeout_max", Kind::Duration, Some("1mins"), &[]),
    only("authentication_timeout_min", Kind::Duration, Some("5secs"), &[]),
    only("authenticate_http_executors", Kind::Bool, Some("false"), &[]),
    only("authorizer", Kind::Text, Some("local"), &[]),
    only("credential", Kind::Text, None, &[]),
    only("csi_plugin_config_dir", Kind::Text, None, &[]),
    only("disk_profile_adaptor", Kind::Text, None, &[]),
    only("docker", Kind::Text, Some("docker"), &[]),
    never(
        "docker_mesos_image",
        "tasks in containers of Docker's have no executor that would end with the agent's own container; leave it out, and \
         give that container the host's pid namespace, the engine's socket, --work_dir and --runtime_dir",
    ),
    only(
        "docker_volume_checkpoint_dir",
        Kind::Text,
        Some("/var/run/mesos/isolators/docker/volume"),
        &[],
    ),
    only("docker_volume_chown", Kind::Bool, Some("false"), &[]),
    only("domain_socket_location", Kind::Text, None, &[]),
    only("ephemeral_ports_per_container", Kind::Number, None, &[]),
    only("executor_reregistration_retry_interval", Kind::Duration, None, &[]),
    only("http_command_executor", Kind::Bool, Some("false"), &[]),
    only("http_executor_domain_sockets", Kind::Bool, Some("false"), &[]),
    only("ip6", Kind::Text, None, &[]),
    only("ip6_discovery_command", Kind::Text, None, &[]),
    only("jwt_secret_key", Kind::Text, None, &[]),
    only("launcher_dir", Kind::Text, Some("built in"), &[]),
    only("master_detector", Kind::Text, None, &[]),
    only("reconfiguration_policy", Kind::Text, Some("equal"), &[]),
    only("registration_backoff_factor", Kind::Duration, Some("1secs"), &[]),
    only("resource_provider_config_dir", Kind::Text, None, &[]),
    only("volume_gid_range", Kind::Text, None, &[]),
];
