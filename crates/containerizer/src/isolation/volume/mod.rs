//! Volumes that a container asks for (`ContainerInfo.volumes`).

mod environment_secret;
mod host_path;
mod sandbox_path;
mod secret;

pub(super) use environment_secret::EnvironmentSecret;
pub(crate) use environment_secret::secret_variables;
pub(super) use host_path::HostPath;
pub(super) use sandbox_path::SandboxPath;
pub(super) use secret::Secret;

use crate::ContainerSpec;
use crate::isolation::{Attributes, Preparation, Target};
use std::path::Path;
use wire::v1;
use wire::v1::volume::{Mode, source};

/// What a volume is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    HostPath,
    SandboxPath,
    Image,
    Secret,
    Docker,
    Csi,
}

impl Kind {
    /// Which isolator provides it.
    pub(crate) fn isolator(self) -> &'static str {
        match self {
            Self::HostPath => "volume/host_path",
            Self::SandboxPath => "volume/sandbox_path",
            Self::Image => "volume/image",
            Self::Secret => "volume/secret",
            Self::Docker => "docker/volume",
            Self::Csi => "volume/csi",
        }
    }
}

/// What a volume is made of, which must be said exactly once.
pub(crate) fn kind(volume: &v1::Volume) -> Result<Kind, String> {
    use source::Type;
    let refused = |text: &str| Err(format!("the volume at '{}': {text}", volume.container_path));
    match (&volume.host_path, &volume.image, &volume.source) {
        (Some(path), None, None) if path.starts_with('/') => Ok(Kind::HostPath),
        (Some(_), None, None) => Ok(Kind::SandboxPath),
        (None, Some(_), None) => Ok(Kind::Image),
        (None, None, Some(source)) => {
            let (kind, is_set, field) = match source.r#type() {
                Type::HostPath => (Kind::HostPath, source.host_path.is_some(), "host_path"),
                Type::SandboxPath => {
                    (Kind::SandboxPath, source.sandbox_path.is_some(), "sandbox_path")
                }
                Type::Secret => (Kind::Secret, source.secret.is_some(), "secret"),
                Type::DockerVolume => {
                    (Kind::Docker, source.docker_volume.is_some(), "docker_volume")
                }
                Type::CsiVolume => (Kind::Csi, source.csi_volume.is_some(), "csi_volume"),
                Type::Unknown => return refused("'source.type' is not known"),
            };
            if is_set { Ok(kind) } else { refused(&format!("'source.{field}' is not set")) }
        }
        _ => refused("exactly one of 'host_path', 'image' and 'source' must be set"),
    }
}

/// The volumes of one kind.
fn of_kind(spec: &ContainerSpec, wanted: Kind) -> impl Iterator<Item = &v1::Volume> {
    let volumes = spec.container.iter().flat_map(|c| &c.volumes);
    volumes.filter(move |volume| kind(volume) == Ok(wanted))
}

/// Where a volume appears. Without a root file system of its own, a container can't have things made all over the host.
fn target(volume: &v1::Volume, preparation: &Preparation) -> Result<Target, String> {
    let path = volume.container_path.clone();
    if !path.starts_with('/') {
        return Ok(Target { in_sandbox: true, path, made: true });
    }
    let made = preparation.rootfs.is_some();
    if !made && !Path::new(&path).exists() {
        return Err(format!(
            "the volume's container_path '{path}' must exist, since the container shares the file \
             system of the host"
        ));
    }
    Ok(Target { in_sandbox: false, path, made })
}

fn attributes(volume: &v1::Volume) -> Attributes {
    Attributes::writable(volume.mode() == Mode::Rw)
}

/// A secret's content.
pub(crate) fn secret(secret: &v1::Secret) -> Result<&[u8], String> {
    use v1::secret::Type;
    match (secret.r#type(), &secret.value, &secret.reference) {
        (Type::Value, Some(value), None) => Ok(&value.data),
        (Type::Reference, None, Some(reference)) => Err(format!(
            "the secret '{}' is a reference; this agent has no --secret_resolver and knows secrets of \
             type VALUE only",
            reference.name
        )),
        _ => Err("a secret must have a 'type', and what belongs to that alone".to_owned()),
    }
}

/// Volumes are not for what runs in a container of others as it is.
fn refuse_shared(spec: &ContainerSpec) -> Result<(), String> {
    match spec.shares_everything() {
        true => Err("a container that shares everything with the one around it has no volumes of \
                     its own"
            .to_owned()),
        false => Ok(()),
    }
}
