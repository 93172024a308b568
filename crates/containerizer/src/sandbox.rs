//! The directory in which a container runs.

use crate::rooted::{self, Within};
use crate::user::User;
use crate::{ContainerSpec, StartError};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Makes the sandbox, and the link to it.
pub(crate) fn prepare(spec: &ContainerSpec, user: Option<&User>) -> Result<(), StartError> {
    let directory = Path::new(&spec.directory);
    if spec.unless_sandbox && directory.symlink_metadata().is_ok() {
        return Err(StartError::MayHaveRun);
    }
    make(directory, user)
        .map_err(|e| format!("cannot create the sandbox {}: {e}", directory.display()))
        .map_err(StartError::Sandbox)?;
    if let Some(link) = &spec.latest_link {
        replace_link(Path::new(link), directory)
            .map_err(|e| StartError::Sandbox(format!("cannot link {link}: {e}")))?;
    }
    Ok(())
}

/// The part of a path that is the agent's own: the sandbox that lies in no other. Others lie in `containers` of the one
/// around them, which is a task's to change.
fn outermost(directory: &Path) -> Option<&Path> {
    let mut outer = directory;
    while let Some(containers) = outer.parent().filter(|parent| parent.ends_with("containers")) {
        outer = containers.parent()?;
    }
    if outer == directory { outer.parent() } else { Some(outer) }
}

fn make(directory: &Path, user: Option<&User>) -> io::Result<()> {
    let outer = outermost(directory).ok_or(io::ErrorKind::InvalidInput)?;
    let name = directory.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(outer)?;
    // No link inside it is followed.
    let inside = directory.parent().and_then(|parent| parent.strip_prefix(outer).ok());
    let inside = inside.unwrap_or(Path::new(""));
    let parent = rooted::make_directory(&rooted::directory(outer)?, inside, Within::Plain)?;
    // What runs in the sandbox of another container leaves it to that.
    let is_new = match rustix::fs::mkdirat(&parent, name, Mode::from(0o750)) {
        Err(Errno::EXIST) => false,
        other => other.map(|()| true)?,
    };
    // By what it is: somebody may have put something else in its place by now.
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let made = rooted::open(&parent, Path::new(name), Within::Plain, flags)?;
    let Some(user) = user.filter(|_| is_new) else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    Ok(rustix::fs::chownat(&made, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_put_on_the_way_is_not_followed() {
        let base = testkit::cluster::temporary_directory();
        let (run, victim) = (base.join("runs/r"), base.join("victim"));
        let user = User { uid: 12345, gid: 12345, groups: vec![12345] };
        let owner = |path: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            path.symlink_metadata().map(|m| m.uid())
        };
        let own = owner(&base).expect("it is there");
        if own != 0 {
            eprintln!("skipped: only root can give directories away");
            return;
        }
        let inner = run.join("containers/c/containers/d");
        make(&inner, Some(&user)).expect("made");
        let other = User { uid: 54321, ..user.clone() };
        make(&inner, Some(&other)).expect("made before");
        assert_eq!(owner(&inner).expect("it is there"), 12345);
        assert_eq!(owner(&run).expect("it is there"), 0);
        std::fs::create_dir(&victim).expect("a directory");
        // The directory on the way, and the sandbox itself.
        symlink(&victim, run.join("containers/c/containers/e")).expect("a link");
        symlink(&victim, run.join("containers/f")).expect("a link");
        for path in ["containers/c/containers/e", "containers/f", "containers/f/containers/g"] {
            make(&run.join(path), Some(&user)).expect_err(path);
        }
        assert_eq!(owner(&victim).expect("it is there"), 0);
        assert_eq!(std::fs::read_dir(&victim).expect("a directory").count(), 0);
        std::fs::remove_dir_all(base).expect("removed");
    }
}
