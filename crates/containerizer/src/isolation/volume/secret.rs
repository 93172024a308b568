//! `volume/secret`: a secret as a file. It is in the container's memory alone, never on a disk.

use super::{Kind, attributes, of_kind, refuse_shared, secret, target};
use crate::isolation::filesystem::needs_mount_namespaces;
use crate::isolation::{Isolator, Preparation, Step};
use crate::{ContainerSpec, MesosOptions};

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Secret;

impl Secret {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_mount_namespaces(options).map(|()| Self)
    }
}

impl Isolator for Secret {
    fn name(&self) -> &'static str {
        "volume/secret"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        for volume in of_kind(spec, Kind::Secret) {
            refuse_shared(spec)?;
            let source = volume.source.as_ref().and_then(|s| s.secret.as_ref());
            let content = secret(source.ok_or("'source.secret' is not set")?)?.to_vec();
            let target = target(volume, preparation)?;
            let attributes = attributes(volume);
            preparation.setup.steps.push(Step::Secret { content, attributes, target });
        }
        Ok(())
    }
}
