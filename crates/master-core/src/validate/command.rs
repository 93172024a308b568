//! CommandInfo, ContainerInfo, checks.

use wire::v1;

pub(crate) fn check_command(command: &v1::CommandInfo) -> Result<(), String> {
    use v1::environment::variable::Type;
    for variable in command.environment.iter().flat_map(|e| &e.variables) {
        let name = &variable.name;
        match variable.r#type() {
            Type::Secret if variable.secret.is_none() => {
                return Err(format!(
                    "Environment variable '{name}' of type 'SECRET' must have a secret set"
                ));
            }
            Type::Secret if variable.value.is_some() => {
                return Err(format!(
                    "Environment variable '{name}' of type 'SECRET' must not have a value set"
                ));
            }
            Type::Value if variable.value.is_none() => {
                return Err(format!(
                    "Environment variable '{name}' of type 'VALUE' must have a value set"
                ));
            }
            Type::Value if variable.secret.is_some() => {
                return Err(format!(
                    "Environment variable '{name}' of type 'VALUE' must not have a secret set"
                ));
            }
            Type::Unknown => {
                return Err(format!(
                    "Environment variable '{name}' of type 'UNKNOWN' is not allowed"
                ));
            }
            Type::Secret | Type::Value => {}
        }
    }
    Ok(())
}

pub(crate) fn check_container(container: &v1::ContainerInfo) -> Result<(), String> {
    for volume in &container.volumes {
        let set = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
        let count = set.into_iter().filter(|s| *s).count();
        if count > 1 {
            return Err(
                "Only one of them should be set: 'host_path', 'image' and 'source'".to_owned()
            );
        }
        if count == 0 {
            return Err("Volume: one of 'host_path', 'image' and 'source' must be set".to_owned());
        }
    }
    if container.r#type() == v1::container_info::Type::Docker {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".to_owned());
        };
        if docker.parameters.iter().any(|p| p.key == "name") {
            return Err("Parameter in DockerInfo must not be 'name'".to_owned());
        }
    }
    Ok(())
}

fn times(times: [Option<f64>; 4]) -> Result<(), String> {
    let names = ["delay_seconds", "grace_period_seconds", "interval_seconds", "timeout_seconds"];
    match times.iter().zip(names).find(|(time, _)| time.is_some_and(|t| t < 0.0 || t.is_nan())) {
        Some((_, name)) => Err(format!("Expecting '{name}' to be non-negative")),
        None => Ok(()),
    }
}

fn check_command_check(command: &v1::CommandInfo) -> Result<(), String> {
    if command.value.is_none() {
        return Err("Command check must contain 'shell command' or 'executable path'".to_owned());
    }
    check_command(command)
}

fn check_path(path: Option<&str>) -> Result<(), String> {
    match path {
        Some(path) if !path.starts_with('/') => {
            Err(format!("The path '{path}' of HTTP check must start with '/'"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_health_check(check: &v1::HealthCheck) -> Result<(), String> {
    use v1::health_check::Type;
    if check.r#type.is_none() {
        return Err("HealthCheck must specify 'type'".to_owned());
    }
    match check.r#type() {
        Type::Command => match &check.command {
            None => return Err("Expecting 'command' to be set for COMMAND health check".to_owned()),
            Some(command) => check_command_check(command)?,
        },
        Type::Http => match &check.http {
            None => return Err("Expecting 'http' to be set for HTTP health check".to_owned()),
            Some(http) => {
                if http.scheme.as_deref().is_some_and(|s| s != "http" && s != "https") {
                    let scheme = http.scheme();
                    return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
                }
                check_path(http.path.as_deref())?;
            }
        },
        Type::Tcp => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP health check".to_owned());
            }
        }
        Type::Unknown => return Err("'UNKNOWN' is not a valid health check type".to_owned()),
    }
    times([
        check.delay_seconds,
        check.grace_period_seconds,
        check.interval_seconds,
        check.timeout_seconds,
    ])
}

pub(crate) fn check_check(check: &v1::CheckInfo) -> Result<(), String> {
    use v1::check_info::Type;
    if check.r#type.is_none() {
        return Err("CheckInfo must specify 'type'".to_owned());
    }
    match check.r#type() {
        Type::Command => match &check.command {
            None => return Err("Expecting 'command' to be set for COMMAND check".to_owned()),
            Some(command) => check_command_check(&command.command)?,
        },
        Type::Http => match &check.http {
            None => return Err("Expecting 'http' to be set for HTTP check".to_owned()),
            Some(http) => check_path(http.path.as_deref())?,
        },
        Type::Tcp => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP check".to_owned());
            }
        }
        Type::Unknown => return Err("'UNKNOWN' is not a valid check type".to_owned()),
    }
    times([check.delay_seconds, None, check.interval_seconds, check.timeout_seconds])
}
