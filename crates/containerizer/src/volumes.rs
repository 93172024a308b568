//! Persistent volumes that come to a container which runs already, with a task, and go with it.

use crate::isolation::{Parent, link_volume};
use crate::supervisor::Files;
use crate::{Limitation, Mesos, MountedVolume, around, limitation, rooted};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};
use std::process::{Command, Stdio};
use wire::v1::task_status::Reason;

/// First argument of the program that shows a volume.
pub(crate) const SHOW: &str = "--show";
/// The same for one that goes.
pub(crate) const HIDE: &str = "--hide";

/// Shows a volume as a link in the sandbox of a container that has the host's file system.
pub(crate) fn link(sandbox: &Path, volume: &MountedVolume) -> Result<(), String> {
    std::fs::create_dir_all(sandbox).map_err(|e| format!("cannot find the sandbox: {e}"))?;
    link_volume(sandbox, volume, owner(sandbox))
}

/// Takes the link away, if it is still there.
pub(crate) fn unlink(sandbox: &Path, volume: &MountedVolume) -> Result<(), String> {
    let (path, target) = (Path::new(&volume.container_path), Path::new(&volume.path));
    let removed = rooted::directory(sandbox).and_then(|base| rooted::unlink(&base, path, target));
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove the link {}: {e}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Who owns a sandbox: whom its container runs as.
fn owner(sandbox: &Path) -> Option<(u32, u32)> {
    sandbox.metadata().ok().map(|metadata| (metadata.uid(), metadata.gid()))
}

impl Mesos {
    /// Shows a volume in a container, as a mount if it has mounts of its own.
    pub(crate) fn show(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        let files = self.files_of(container_id);
        let shown = self
            .mount(&files, "--show", sandbox, volume)
            .and_then(|mounted| if mounted { Ok(()) } else { link(sandbox, volume) });
        shown.inspect_err(|text| {
            limitation::keep(&files, &not_shown(text));
        })
    }

    /// Takes a volume away from a container, if that still runs.
    pub(crate) fn hide(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        let files = self.files_of(container_id);
        if files.supervisor().is_none() {
            return Ok(());
        }
        let mounted = self.mount(&files, HIDE, sandbox, volume)?;
        if mounted { Ok(()) } else { unlink(sandbox, volume) }
    }

    /// Has a volume mounted or unmounted in the container's mount namespace; false if it has none.
    fn mount(
        &self,
        files: &Files,
        what: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<bool, String> {
        let supervisor = files.supervisor().ok_or("the container has ended")?;
        let own = around::parent(supervisor)?.filter(|c| c.namespaces & libc::CLONE_NEWNS != 0);
        let Some(container) = own else { return Ok(false) };
        let inside = match around::root(&container) {
            Some(root) => around::inside(&root, self.sandbox_directory(), sandbox),
            None => sandbox.display().to_string(),
        };
        mount(self.program(), what, &container, sandbox, &inside, volume).map(|()| true)
    }
}

/// Has a volume mounted or unmounted in the mount namespace of a container, which sees its sandbox at `inside`.
pub(crate) fn mount(
    program: &Path,
    what: &str,
    container: &Parent,
    sandbox: &Path,
    inside: &str,
    volume: &MountedVolume,
) -> Result<(), String> {
    let path = Path::new(&volume.container_path);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!(
            "the volume's container_path '{}' must be relative to the sandbox and without '..'",
            volume.container_path
        ));
    }
    if let Some(owner) = owner(sandbox).filter(|_| volume.exclusive && what == SHOW) {
        crate::isolation::give(Path::new(&volume.path), owner)?;
    }
    let mut command = Command::new(program);
    command.arg(what).arg(container.pid.to_string()).arg(container.supervisor.to_string());
    command.args([&volume.path, inside, &volume.container_path]);
    command.arg(if volume.read_only { "ro" } else { "rw" });
    command.current_dir("/").env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    let ended = command.output().map_err(|e| format!("cannot execute the supervisor: {e}"))?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned()),
    }
}

/// Why a container is ended that could not be given a volume.
pub(crate) fn not_shown(text: &str) -> Limitation {
    let message = format!("Failed to update resources for container: {text}");
    Limitation { reason: Reason::ContainerUpdateFailed, message, resources: Vec::new() }
}
