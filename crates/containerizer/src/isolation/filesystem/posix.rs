//! `filesystem/posix`: containers share the file system of the host. Persistent volumes are links in the sandbox.

use crate::isolation::{Isolator, Preparation};
use crate::rooted;
use crate::{ContainerSpec, MountedVolume};
use std::io;
use std::path::{Component, Path};

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Posix;

impl Isolator for Posix {
    fn name(&self) -> &'static str {
        "filesystem/posix"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        if preparation.rootfs.is_some() {
            return Err(
                "a root file system of its own needs 'filesystem/linux' in --isolation".to_owned()
            );
        }
        link_volumes(spec, preparation)
    }
}

/// Shows the persistent volumes as links.
pub(super) fn link_volumes(spec: &ContainerSpec, preparation: &Preparation) -> Result<(), String> {
    let link = |volume| link_volume(Path::new(&spec.directory), volume, preparation.owner);
    spec.volumes.iter().try_for_each(link)
}

/// Shows a persistent volume as a link.
pub(crate) fn link_volume(
    sandbox: &Path,
    volume: &MountedVolume,
    owner: Option<(u32, u32)>,
) -> Result<(), String> {
    let shown = &volume.container_path;
    let relative = Path::new(shown);
    let plain = |c| matches!(c, Component::Normal(_) | Component::CurDir);
    if shown.is_empty() || !relative.components().all(plain) {
        return Err(format!(
            "the volume's container_path '{shown}' must be relative to the sandbox and without '..'"
        ));
    }
    if !Path::new(&volume.path).is_dir() {
        return Err(format!("the volume {} does not exist", volume.path));
    }
    let fault = |e: io::Error| format!("cannot link the volume {} to {shown}: {e}", volume.path);
    let sandbox = rooted::directory(sandbox).map_err(fault)?;
    rooted::link(&sandbox, relative, Path::new(&volume.path)).map_err(fault)?;
    match owner.filter(|_| volume.exclusive) {
        Some(owner) => give(Path::new(&volume.path), owner),
        None => Ok(()),
    }
}

/// Gives a directory to a user.
pub(crate) fn give(path: &Path, (uid, gid): (u32, u32)) -> Result<(), String> {
    std::os::unix::fs::chown(path, Some(uid), Some(gid))
        .map_err(|e| format!("cannot give {} to the user with id {uid}: {e}", path.display()))
}
