//! `linux/devices`: the devices that the operator allows (`--allowed_devices`) are there for every container with a root
//! file system. Who may use them is the same for all processes of a container.

use crate::isolation::filesystem::needs_mount_namespaces;
use crate::isolation::{Isolator, Preparation, Step};
use crate::{ContainerSpec, MesosOptions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use wire::v1::DeviceAccess;

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Devices(Vec<Step>);

impl Devices {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_mount_namespaces(options)?;
        let allowed = options.isolation.cgroups().allowed_devices.iter();
        let steps = allowed.map(|a| step(a).map_err(|e| format!("--allowed_devices: {e}")));
        Ok(Self(steps.collect::<Result<_, _>>()?))
    }
}

impl Isolator for Devices {
    fn name(&self) -> &'static str {
        "linux/devices"
    }

    fn prepare(&self, _spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        if preparation.rootfs.is_some() {
            preparation.setup.steps.extend(self.0.iter().cloned());
        }
        Ok(())
    }
}

fn step(allowed: &DeviceAccess) -> Result<Step, String> {
    let path = allowed.device.path.as_deref().ok_or("a device needs a 'path'")?;
    if !path.starts_with("/dev/") || path.split('/').any(|part| part == "..") {
        return Err(format!("the path {path} is not below /dev"));
    }
    let found = std::fs::metadata(path).map_err(|e| format!("cannot look at {path}: {e}"))?;
    let kind = match found.file_type() {
        kind if kind.is_char_device() => libc::S_IFCHR,
        kind if kind.is_block_device() => libc::S_IFBLK,
        _ => return Err(format!("{path} is not a device")),
    };
    let access = &allowed.access;
    let read = if access.read() { 0o044 } else { 0 };
    let write = if access.write() { 0o022 } else { 0 };
    let mode = kind | 0o600 | read | write;
    Ok(Step::Device { path: path.to_owned(), mode, number: found.rdev() })
}
