//! Containers of a former process of the agent.

use super::Mesos;
use crate::isolation::Running;
use crate::supervisor::{self, Files};
use crate::{Containerizer as _, Found, limitation, processes};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::Path;

impl Mesos {
    /// Finds all, watches over those that run, and ends what is left of the others.
    pub(super) async fn recover_all(&self) -> Result<Vec<Found>, String> {
        let mut found = self
            .find_all()
            .map_err(|e| format!("cannot read {}: {e}", self.containers.display()))?;
        // What ran inside a container that ended meanwhile follows it.
        for child in found.iter().filter(|f| f.pid.is_some()) {
            let Some(parent) = self.files(&child.container_id).parent() else { continue };
            if found.iter().any(|f| f.container_id == parent && f.pid.is_some()) {
                self.family.add(&child.container_id, &parent);
            } else {
                self.destroy(&child.container_id);
            }
        }
        // Whatever else runs in a sandbox lost its supervisor, or its supervisor's files.
        let live = found.iter().filter(|f| f.pid.is_some());
        let live: BTreeSet<OsString> = live.map(|f| f.container_id.clone().into()).collect();
        let running = found.iter().filter_map(|f| {
            Some(Running { container_id: f.container_id.clone(), supervisor: f.pid? })
        });
        let running: Vec<Running> = running.collect();
        let ended = found.iter().filter(|f| f.pid.is_none()).map(|f| f.container_id.clone());
        let ended: Vec<String> = ended.collect();
        let (work_dir, isolators) = (self.work_dir.clone(), self.isolators.clone());
        let directories = self.containers.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let is_live = |path: &Path| path.iter().any(|name| live.contains(name));
            processes::sweep(&|path| path.starts_with(&work_dir) && !is_live(path), &[]);
            isolators.recover(&running, &ended)?;
            let end = |container_id: &String| {
                isolators.kill(container_id);
                let files = Files(directories.join(container_id));
                let limitation = limitation::find(container_id, &files, files.kept(), &isolators);
                isolators.cleanup(container_id);
                Some((container_id.clone(), limitation?))
            };
            Ok::<_, String>(ended.iter().filter_map(end).collect::<BTreeMap<_, _>>())
        });
        let swept = swept.await.map_err(|e| format!("cannot look for processes: {e}"))?;
        let mut limitations = swept?;
        for found in &mut found {
            found.limitation = limitations.remove(&found.container_id);
            found.appearance = found.pid.and_then(|_| self.appearance(&found.container_id));
        }
        Ok(found)
    }

    fn find(&self, container_id: String) -> Found {
        let files = self.files(&container_id);
        if let Some(kept) = files.kept() {
            return Found { status: Some(kept.status), ..Found::of(container_id) };
        }
        let supervisor = files.settled_supervisor();
        let watched = supervisor.and_then(|pid| supervisor::watch(pid).map(|fd| (pid, fd)));
        // The lock is looked at again: the watched process is the one that held it, not one that got its number.
        match watched.filter(|(pid, _)| files.supervisor() == Some(*pid)) {
            Some((pid, fd)) => {
                let sessions = processes::sessions_below(pid);
                let watch = self.watch.clone();
                let kill = watch.add(&container_id);
                tokio::spawn(watch.await_end(container_id.clone(), files, fd, sessions, kill));
                Found { pid: Some(pid), ..Found::of(container_id) }
            }
            None => {
                let status = files.kept().map(|kept| kept.status);
                let unstarted = files.is_unstarted();
                Found { status, unstarted, ..Found::of(container_id) }
            }
        }
    }

    fn find_all(&self) -> io::Result<Vec<Found>> {
        let entries = std::fs::read_dir(&self.containers)?.flatten();
        let names =
            entries.filter(|e| e.path().is_dir()).filter_map(|e| e.file_name().into_string().ok());
        Ok(names.map(|name| self.find(name)).collect())
    }
}
