//! The directory in which a container runs.

use crate::user::User;
use crate::{ContainerSpec, MountedVolume, StartError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

/// Makes the sandbox, with links to its volumes and to itself.
pub(crate) fn prepare(spec: &ContainerSpec, user: Option<&User>) -> Result<(), StartError> {
    let directory = Path::new(&spec.directory);
    if spec.unless_sandbox && directory.symlink_metadata().is_ok() {
        return Err(StartError::MayHaveRun);
    }
    make(spec, directory, user).map_err(StartError::Sandbox)
}

fn make(spec: &ContainerSpec, directory: &Path, user: Option<&User>) -> Result<(), String> {
    let fault = |what: &str, e: &io::Error| {
        format!("cannot {what} the sandbox {}: {e}", directory.display())
    };
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent).map_err(|e| fault("create", &e))?;
    }
    match std::fs::DirBuilder::new().mode(0o750).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(fault("create", &e)),
        _ => {}
    }
    if let Some(user) = user {
        user.own(directory)?;
    }
    for volume in &spec.volumes {
        link_volume(directory, volume, user)?;
    }
    if let Some(link) = &spec.latest_link {
        replace_link(Path::new(link), directory).map_err(|e| format!("cannot link {link}: {e}"))?;
    }
    Ok(())
}

/// Without mounts of its own a container sees a volume through a link in its sandbox.
fn link_volume(sandbox: &Path, volume: &MountedVolume, user: Option<&User>) -> Result<(), String> {
    let shown = &volume.container_path;
    let relative = Path::new(shown);
    let plain = |c| matches!(c, std::path::Component::Normal(_) | std::path::Component::CurDir);
    if shown.is_empty() || !relative.components().all(plain) {
        return Err(format!(
            "the volume's container_path '{shown}' must be relative to the sandbox and without '..'"
        ));
    }
    let link = sandbox.join(relative);
    let fault = |e: io::Error| format!("cannot link the volume {} to {shown}: {e}", volume.path);
    if !Path::new(&volume.path).is_dir() {
        return Err(format!("the volume {} does not exist", volume.path));
    }
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent).map_err(fault)?;
    }
    replace_link(&link, Path::new(&volume.path)).map_err(fault)?;
    match user.filter(|_| volume.exclusive) {
        Some(user) => user.own(Path::new(&volume.path)),
        None => Ok(()),
    }
}

/// Makes a symbolic link, in one step if there was one.
fn replace_link(link: &Path, target: &Path) -> io::Result<()> {
    match symlink(target, link) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let new = link.with_extension("new");
            let _ = std::fs::remove_file(&new);
            symlink(target, &new)?;
            std::fs::rename(&new, link)
        }
        other => other,
    }
}
