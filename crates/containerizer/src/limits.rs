//! What this containerizer can't do: refused by name, before anything is started.

use crate::ContainerSpec;
use wire::v1;

/// Whether the container needs something that is not there.
pub(crate) fn check(spec: &ContainerSpec) -> Result<(), String> {
    let environment = spec.command.environment.iter().flat_map(|e| &e.variables);
    for variable in environment {
        if variable.r#type() == v1::environment::variable::Type::Secret {
            return Err(format!(
                "secret variable '{}' of 'CommandInfo.environment' is not supported yet",
                variable.name
            ));
        }
    }
    let Some(container) = &spec.container else { return Ok(()) };
    let refused = |field: &str| Err(format!("'ContainerInfo.{field}' is not supported yet"));
    if container.r#type() == v1::container_info::Type::Docker {
        return Err("containers of type DOCKER are not supported yet".to_owned());
    }
    if !container.volumes.is_empty() {
        return refused("volumes");
    }
    if container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
        return refused("mesos.image");
    }
    if !container.network_infos.is_empty() {
        return refused("network_infos");
    }
    if container.linux_info.is_some() {
        return refused("linux_info");
    }
    if container.rlimit_info.is_some() {
        return refused("rlimit_info");
    }
    if container.tty_info.is_some() {
        return refused("tty_info");
    }
    Ok(())
}
