//! `--containerizers` and the flags of Docker's.

use crate::flags::Flags;
use agent::SecretResolver;
use agent::docker::{DockerOptions, NameServers};
use agent::isolation::Resolver;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use wire::v1;

/// `--default_container_dns`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameServersByKind {
    #[serde(default)]
    mesos: Vec<OfNetwork>,
    #[serde(default)]
    docker: Vec<NameServers>,
}

/// Name servers of containers of Mesos' kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNetwork {
    #[serde(rename = "network_mode")]
    _mode: Mode,
    /// None: all networks of which nothing else is said.
    network_name: Option<String>,
    dns: Resolver,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Mode {
    Cni,
}

impl NameServersByKind {
    /// Those of CNI networks, by their names.
    pub(crate) fn mesos(self) -> Vec<(Option<String>, Resolver)> {
        self.mesos.into_iter().map(|one| (one.network_name, one.dns)).collect()
    }
}

/// Who knows secrets that are named.
pub(crate) fn secrets(flags: &Flags) -> Result<Option<SecretResolver>, String> {
    let Some(directory) = flags.text("secret_resolver") else { return Ok(None) };
    if !directory.starts_with('/') {
        return Err(format!(
            "--secret_resolver='{directory}': expected the absolute path of a directory; modules are not supported"
        ));
    }
    let opened = SecretResolver::open(Path::new(directory));
    opened.map(Some).map_err(|e| format!("--secret_resolver: cannot open {directory}: {e}"))
}

/// Whether there is one of Mesos' kind, and the settings of Docker's if there is one.
pub(crate) fn chosen(
    flags: &Flags,
    runtime_dir: &Path,
) -> Result<(bool, Option<DockerOptions>), String> {
    let (mut mesos, mut docker) = (false, false);
    for name in flags.text("containerizers").unwrap_or_default().split(',').map(str::trim) {
        match name {
            "mesos" => mesos = true,
            "docker" => docker = true,
            "" => {}
            other => {
                return Err(format!("--containerizers: expected mesos or docker, got '{other}'"));
            }
        }
    }
    if !mesos && !docker {
        return Err("--containerizers: expected mesos, docker or both".to_owned());
    }
    let sandbox_directory = flags.text("sandbox_directory").unwrap_or_default();
    if !sandbox_directory.starts_with('/') {
        return Err(format!(
            "--sandbox_directory: expected an absolute path, got '{sandbox_directory}'"
        ));
    }
    if !docker {
        return Ok((mesos, None));
    }
    let socket = flags.text("docker_socket").unwrap_or_default();
    let socket = socket.strip_prefix("unix://").unwrap_or(socket);
    if !socket.starts_with('/') {
        return Err(format!(
            "--docker_socket: expected the absolute path of a socket, got '{socket}'"
        ));
    }
    let options = DockerOptions {
        socket: PathBuf::from(socket),
        cgroups: PathBuf::from(flags.text("cgroups_hierarchy").unwrap_or("/sys/fs/cgroup")),
        runtime_dir: runtime_dir.to_owned(),
        sandbox_directory: sandbox_directory.to_owned(),
        config: crate::images::credentials(flags)?,
        remove_delay: flags.duration("docker_remove_delay")?,
        kill_orphans: flags.is_set("docker_kill_orphans"),
        name_servers: name_servers(flags)?.docker,
        quota: flags.is_set("cgroups_enable_cfs"),
    };
    Ok((mesos, Some(options)))
}

/// The container of tasks that have none.
pub(crate) fn default(flags: &Flags) -> Result<Option<v1::ContainerInfo>, String> {
    let default: Option<v1::ContainerInfo> = flags.message("default_container_info")?;
    let docker = v1::container_info::Type::Docker;
    if default.as_ref().is_some_and(|container| container.r#type() == docker) {
        return Err(
            "--default_container_info: type DOCKER is not supported as a default".to_owned()
        );
    }
    Ok(default)
}

pub(crate) fn name_servers(flags: &Flags) -> Result<NameServersByKind, String> {
    let Some(text) = flags.text("default_container_dns") else { return Ok(Default::default()) };
    serde_json::from_str(text).map_err(|e| {
        format!("--default_container_dns: expected {{\"mesos\": [...], \"docker\": [...]}}: {e}")
    })
}
