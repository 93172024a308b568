//! `volume/image`: the file system of an image as a volume. There is nothing yet that provides one.

use super::{Kind, of_kind};
use crate::isolation::filesystem::needs_mount_namespaces;
use crate::isolation::{Isolator, Preparation};
use crate::{ContainerSpec, MesosOptions};

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Image;

impl Image {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_mount_namespaces(options).map(|()| Self)
    }
}

impl Isolator for Image {
    fn name(&self) -> &'static str {
        "volume/image"
    }

    fn prepare(&self, spec: &ContainerSpec, _preparation: &mut Preparation) -> Result<(), String> {
        match of_kind(spec, Kind::Image).next() {
            None => Ok(()),
            Some(volume) => Err(format!(
                "the volume at '{}' is an image, and images are not supported yet",
                volume.container_path
            )),
        }
    }
}
