//! Supervisors outside the agent's unit: systemd ends what is in a unit's cgroup when the unit is stopped or started again.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit in which containers are, as Mesos calls it.
const SLICE: &str = "mesos_executors.slice";
/// What systemd has to know of it.
const UNIT: &str = "[Unit]\nDescription=Containers of the agent\n";

/// A slice of systemd's that runs.
#[derive(Debug)]
pub(crate) struct Slice {
    /// Its cgroups: in the tree that systemd names its own (version 1), in that of version 2, or in both.
    cgroups: Vec<PathBuf>,
}

impl Slice {
    /// Starts it; None where systemd does not run, that is, without its runtime directory.
    ///
    /// # Errors
    /// With a text for the operator.
    pub(crate) fn start(runtime: &Path, hierarchy: &Path) -> Result<Option<Self>, String> {
        if !runtime.is_dir() {
            return Ok(None);
        }
        let unit = runtime.join(SLICE);
        if std::fs::read_to_string(&unit).is_ok_and(|known| known == UNIT) {
            systemctl(&["start", SLICE])?;
        } else {
            std::fs::write(&unit, UNIT)
                .map_err(|e| format!("cannot write {}: {e}", unit.display()))?;
            systemctl(&["daemon-reload"])?;
            systemctl(&["start", SLICE])?;
        }
        let trees = [hierarchy.join("systemd"), hierarchy.join("unified"), hierarchy.to_owned()];
        let cgroups = trees.into_iter().map(|tree| tree.join(SLICE));
        let cgroups: Vec<PathBuf> = cgroups.filter(|c| c.join("cgroup.procs").exists()).collect();
        if cgroups.is_empty() {
            return Err(format!("systemd made no cgroup {SLICE} below {}", hierarchy.display()));
        }
        tracing::info!(slice = SLICE, "containers are outside the agent's unit");
        Ok(Some(Self { cgroups }))
    }

    /// Moves a process there, of which all will descend that has to be.
    pub(crate) fn take(&self, pid: u32) -> Result<(), String> {
        self.cgroups.iter().map(|cgroup| cgroup.join("cgroup.procs")).try_for_each(|file| {
            std::fs::write(&file, pid.to_string())
                .map_err(|e| format!("cannot write {pid} to {}: {e}", file.display()))
        })
    }
}

fn systemctl(words: &[&str]) -> Result<(), String> {
    let fault = |text: String| format!("systemctl {}: {text}", words.join(" "));
    let out = Command::new("systemctl").args(words).output().map_err(|e| fault(e.to_string()))?;
    let errors = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    if out.status.success() { Ok(()) } else { Err(fault(errors)) }
}
