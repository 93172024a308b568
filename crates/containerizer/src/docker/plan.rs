//! What the engine is told to make of a container's specification. Nothing is asked for here: these are decisions.

use super::amounts::{self, Host};
use super::network::{self, NameServers};
use super::parameters::{self, Beside, object, place};
use super::volumes::{self, Sandbox};
use crate::ContainerSpec;
use crate::images::Reference;
use crate::isolation::volume::secret_variables;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use wire::v1;

/// Name of a container for the engine, and of it in its own environment.
pub(super) fn name(container_id: &str) -> String {
    format!("mesos-{container_id}")
}

/// Settings that a plan depends on.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    /// `--sandbox_directory`.
    pub(super) sandbox_directory: String,
    /// `--default_container_dns`, of what concerns the engine.
    pub(super) name_servers: Vec<NameServers>,
    /// Below it secrets are files while containers are started.
    pub(super) secrets: PathBuf,
    /// See there.
    pub(super) host: Host,
}

impl Circumstances {
    /// Where the secrets of a container are.
    pub(super) fn secrets_of(&self, container_id: &str) -> PathBuf {
        self.secrets.join(container_id)
    }
}

/// What to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The image.
    pub(super) image: Reference,
    /// Whether it is asked for at its registry also when the engine has it.
    pub(super) pull_always: bool,
    /// See there.
    pub(super) beside: Beside,
    /// Body of the request that makes the container, without labels of ours.
    pub(super) body: Map<String, Value>,
    /// Names of the variables that are secrets.
    pub(super) secret_variables: Vec<String>,
    /// Contents of the volumes that are secrets, by the numbers of their files.
    pub(super) secrets: Vec<Vec<u8>>,
}

impl Plan {
    /// Decides all of it; `gpus` are those that the container was given.
    ///
    /// # Errors
    /// With a text for the framework: what can't be done, by name.
    pub(super) fn of(
        spec: &ContainerSpec,
        circumstances: &Circumstances,
        gpus: &[String],
    ) -> Result<Self, String> {
        let none = || "'ContainerInfo.docker' is not set".to_owned();
        let container = spec.container.as_ref().ok_or_else(none)?;
        let docker = container.docker.as_ref().ok_or_else(none)?;
        refuse(container)?;
        let image = Reference::parse(&docker.image)?;
        let inside = circumstances.sandbox_directory.as_str();
        let mut body = Map::new();
        place(&mut body, "Image", json!(image_name(&image)));
        let amounts = amounts::fields(&spec.resources, &spec.limits, circumstances.host);
        object(&mut body, "HostConfig").extend(amounts);
        if docker.privileged() {
            place(&mut body, "HostConfig/Privileged", json!(true));
        }
        for (name, value) in &spec.environment {
            parameters::set_variable(&mut body, name, &format!("{name}={value}"));
        }
        let secrets = secret_variables(&spec.command)?;
        for (name, value) in &secrets {
            parameters::set_variable(&mut body, name, &format!("{name}={value}"));
        }
        let secret_variables = secrets.into_iter().map(|(name, _)| name).collect();
        let name = name(&spec.container_id);
        for (variable, value) in [("MESOS_SANDBOX", inside), ("MESOS_CONTAINER_NAME", &name)] {
            parameters::set_variable(&mut body, variable, &format!("{variable}={value}"));
        }
        let files = circumstances.secrets_of(&spec.container_id);
        let sandbox = Sandbox { host: &spec.directory, inside, secrets: &files };
        let secrets = volumes::add(&mut body, container, &spec.volumes, sandbox)?;
        if let Some(limits) = &container.rlimit_info {
            let limits: Result<Vec<Value>, String> = limits.rlimits.iter().map(ulimit).collect();
            place(&mut body, "HostConfig/Ulimits", json!(limits?));
        }
        network::add(&mut body, container, docker, &spec.resources)?;
        command(&mut body, &spec.command)?;
        let beside = parameters::apply(&mut body, &docker.parameters)?;
        network::add_name_servers(&mut body, docker, &circumstances.name_servers);
        parameters::settle_network(&mut body);
        if !gpus.is_empty() {
            let request = json!({"DeviceIDs": gpus, "Capabilities": [["gpu"]]});
            place(&mut body, "HostConfig/DeviceRequests", json!([request]));
        }
        let pull_always = docker.force_pull_image();
        Ok(Self { image, pull_always, beside, body, secret_variables, secrets })
    }
}

/// The image as the engine finds it.
pub(super) fn image_name(image: &Reference) -> String {
    if image.tag.is_none() && image.digest.is_none() {
        return format!("{image}:latest");
    }
    image.to_string()
}

fn refuse(container: &v1::ContainerInfo) -> Result<(), String> {
    let refused =
        |field: &str| Err(format!("'{field}' is not supported for containers of type DOCKER"));
    if container.tty_info.is_some() {
        return refused("ContainerInfo.tty_info");
    }
    if container.linux_info.is_some() {
        return refused("ContainerInfo.linux_info");
    }
    Ok(())
}

/// With a shell the image's entrypoint is replaced; without, the value and the arguments are its arguments, and the
/// image's own if there are none.
fn command(body: &mut Map<String, Value>, command: &v1::CommandInfo) -> Result<(), String> {
    let value = command.value.as_deref();
    if command.shell() {
        let value = value.ok_or("'CommandInfo.value' is not set, so there is nothing for the shell to run; set 'shell' to false to run what the image says")?;
        place(body, "Entrypoint", json!(["/bin/sh"]));
        place(body, "Cmd", json!(["-c", value]));
        return Ok(());
    }
    let words: Vec<&str> =
        value.into_iter().chain(command.arguments.iter().map(String::as_str)).collect();
    if !words.is_empty() {
        place(body, "Cmd", json!(words));
    }
    Ok(())
}

fn ulimit(limit: &v1::r_limit_info::RLimit) -> Result<Value, String> {
    let name = limit.r#type().as_str_name();
    let name = name.strip_prefix("RLMT_").unwrap_or(name).to_lowercase();
    let number = |n: Option<u64>| match n {
        None => Ok(-1),
        Some(n) => i64::try_from(n).map_err(|_| format!("'rlimit_info': {name} is too large")),
    };
    Ok(json!({ "Name": name, "Soft": number(limit.soft)?, "Hard": number(limit.hard)? }))
}

#[cfg(test)]
mod tests;
