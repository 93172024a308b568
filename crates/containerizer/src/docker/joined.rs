//! Persistent volumes that come to a container with a task that joins it, and go with the task. The engine gives none to a
//! container that runs: they are mounted in its mount namespace, below the sandbox.

use super::Shared;
use crate::isolation::Parent;
use crate::volumes::{self, HIDE, SHOW};
use crate::{MountedVolume, processes};
use std::path::Path;

impl Shared {
    /// Shows a volume. If it can't, the container has less than it shall have: that is why it ends.
    pub(super) fn show(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        self.mount(SHOW, container_id, sandbox, volume).inspect_err(|text| {
            if let Some(live) = self.live().get_mut(container_id) {
                live.limitation = Some(volumes::not_shown(text));
            }
        })
    }

    /// Takes a volume away, if the container still runs.
    pub(super) fn hide(
        &self,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        let runs = self.live().contains_key(container_id);
        if runs { self.mount(HIDE, container_id, sandbox, volume) } else { Ok(()) }
    }

    fn mount(
        &self,
        what: &str,
        container_id: &str,
        sandbox: &Path,
        volume: &MountedVolume,
    ) -> Result<(), String> {
        let running = self.live().get(container_id).and_then(|live| live.running.clone());
        let running = running.ok_or("the container does not run")?;
        let process =
            running.process.ok_or("the engine's processes are not to be seen from here")?;
        let supervisor = processes::parent_of(running.pid, &process);
        let supervisor = supervisor.ok_or("the container has ended")?;
        let container = Parent { pid: running.pid, supervisor, namespaces: libc::CLONE_NEWNS };
        let inside = &self.circumstances.sandbox_directory;
        volumes::mount(&self.program, what, &container, sandbox, inside, volume)
    }
}
