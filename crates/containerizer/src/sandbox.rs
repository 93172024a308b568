//! The directory in which a container runs.

use crate::user::User;
use crate::{ContainerSpec, StartError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

/// Makes the sandbox, and the link to it.
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
    if let Some(link) = &spec.latest_link {
        replace_link(Path::new(link), directory).map_err(|e| format!("cannot link {link}: {e}"))?;
    }
    Ok(())
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
