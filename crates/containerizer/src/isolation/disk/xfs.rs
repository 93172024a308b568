//! `disk/xfs`: the file system itself counts and limits what sandboxes and persistent volumes take, each as a project of its
//! own (spec/agent.md 6.3). Needs a file system with project quotas: xfs, or ext4 with the feature `project`, mounted
//! with `prjquota`.

use super::project;
use super::quota::{Asked, Quota, quotas};
use crate::isolation::filesystem::needs_root;
use crate::isolation::{Isolator, Preparation, Processes, Running, rounds};
use crate::supervisor::Files;
use crate::{ContainerSpec, Limitation, MesosOptions, limitation};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use wire::v1;
use wire::v1::task_status::Reason;

/// Settings: flags of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectOptions {
    /// `--xfs_project_range`: numbers that nobody else uses, the first and the last one.
    pub range: (u32, u32),
    /// `--xfs_kill_containers`.
    pub kill: bool,
    /// `--xfs_quota_headroom`: bytes beyond its limit that a container can write before it is killed.
    pub headroom: u64,
}

impl Default for ProjectOptions {
    fn default() -> Self {
        Self { range: (5000, 10_000), kill: false, headroom: 10 << 20 }
    }
}

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Xfs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: ProjectOptions,
    is_enforced: bool,
    interval: Duration,
    /// Runtime directories of containers.
    runtime: PathBuf,
    /// Directory with a file for each project: the path of what belongs to it.
    kept: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<String, Container>,
    /// Numbers that are taken, with what belongs to them.
    projects: BTreeMap<u32, PathBuf>,
    /// The number that was given last.
    last: Option<u32>,
}

#[derive(Debug)]
struct Container {
    asked: Asked,
    quotas: Vec<(Quota, u32)>,
    is_ending: bool,
}

impl Xfs {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_root()?;
        let work_dir = &options.work_dir;
        let counted = project::are_counted(work_dir)
            .map_err(|e| format!("cannot learn whether {} has quotas: {e}", work_dir.display()))?;
        if !counted {
            return Err(format!(
                "the file system of {} has no project quotas: it must be xfs, or ext4 with the feature \
                 'project', mounted with the option prjquota",
                work_dir.display()
            ));
        }
        let settings = &options.settings;
        let shared = Arc::new(Shared {
            options: settings.projects.clone(),
            is_enforced: settings.enforce_disk_quota,
            interval: settings.disk_watch_interval,
            runtime: options.runtime_dir.join("containers"),
            kept: work_dir.join("isolators/disk/xfs/projects"),
            state: Mutex::default(),
        });
        shared.find_projects()?;
        // Root may write beyond a limit of other file systems.
        let holds_all = project::holds_all(work_dir).map_err(|e| {
            format!("cannot learn what file system {} is on: {e}", work_dir.display())
        })?;
        if shared.is_enforced && (shared.options.kill || !holds_all) {
            rounds::spawn("disk-usage", &shared, watch)?;
        }
        Ok(Self(shared))
    }

    fn keep(&self, container_id: &str, asked: Asked) -> Result<(), String> {
        asked.store(&self.0.runtime.join(container_id))?;
        let quotas = self.0.limit(&asked)?;
        let mut state = self.0.state();
        let is_ending = state.containers.get(container_id).is_some_and(|c| c.is_ending);
        state.containers.insert(container_id.to_owned(), Container { asked, quotas, is_ending });
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads which numbers are taken.
    fn find_projects(&self) -> Result<(), String> {
        let fault = |e| format!("cannot read {}: {e}", self.kept.display());
        std::fs::create_dir_all(&self.kept).map_err(fault)?;
        let mut state = self.state();
        for entry in self.kept.read_dir().map_err(fault)?.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let path = std::fs::read_to_string(entry.path());
            if let (Some(number), Ok(path)) = (number, path) {
                state.projects.insert(number, path.into());
            }
        }
        Ok(())
    }

    /// Gives each of a container's directories its project and its limit.
    fn limit(&self, asked: &Asked) -> Result<Vec<(Quota, u32)>, String> {
        let limit = |quota: Quota| {
            let fault = |e| format!("cannot limit {}: {e}", quota.path.display());
            let id = self.project(&quota.path)?;
            let bytes = quota.limit();
            let (soft, hard) = match (self.is_enforced && quota.is_enforced, self.options.kill) {
                (false, _) => (0, 0),
                (true, false) => (bytes, bytes),
                (true, true) => (bytes, bytes.saturating_add(self.options.headroom)),
            };
            project::limit(&quota.path, id, soft, hard).map_err(fault)?;
            Ok((quota, id))
        };
        quotas(asked).into_iter().map(limit).collect()
    }

    /// The project of a directory, which gets one if it has none.
    fn project(&self, path: &Path) -> Result<u32, String> {
        let fault = |e| format!("cannot give a project to {}: {e}", path.display());
        let mut state = self.state();
        let known = project::of(path).map_err(fault)?;
        if state.projects.get(&known).is_some_and(|of| of == path) {
            return Ok(known);
        }
        let number = self.free_number(&state)?;
        // Kept before it is used: a number is never given twice.
        let file = self.kept.join(number.to_string());
        std::fs::write(&file, path.display().to_string()).map_err(fault)?;
        state.projects.insert(number, path.to_owned());
        state.last = Some(number);
        drop(state);
        project::assign(path, number).map_err(fault)?;
        Ok(number)
    }

    /// A number that nothing has any more. They are given in turn, so that what is just being removed keeps its own.
    fn free_number(&self, state: &State) -> Result<u32, String> {
        let (first, last) = self.options.range;
        let from = state.last.filter(|given| *given < last).map_or(first, |given| given + 1);
        let is_free = |n: &u32| state.projects.get(n).is_none_or(|path| !path.exists());
        (from..=last).chain(first..from).find(is_free).ok_or_else(|| {
            format!("no project is left: all of --xfs_project_range=[{first}-{last}] are taken")
        })
    }

    /// Ends containers that take more than they may.
    fn look(&self) {
        let mut over = Vec::new();
        for (container_id, container) in &mut self.state().containers {
            let exceeds = container.quotas.iter().find_map(|(quota, id)| {
                let used = project::used(&quota.path, *id).ok()?;
                (quota.is_enforced && used > quota.limit()).then(|| (quota.clone(), used))
            });
            if let Some((quota, used)) = exceeds
                && !std::mem::replace(&mut container.is_ending, true)
            {
                over.push((container_id.clone(), quota, used));
            }
        }
        for (container_id, quota, used) in over {
            let size = base::bytes::format;
            let message =
                format!("Disk usage ({}) exceeded quota ({})", size(used), size(quota.limit()));
            tracing::info!(container = %container_id, %message, path = %quota.path.display(), "it is ended");
            let reason = Reason::ContainerLimitationDisk;
            let files = Files(self.runtime.join(&container_id));
            // Known to the next run of the agent before the container ends.
            limitation::keep(&files, &Limitation { reason, message, resources: quota.resources });
            files.command("kill\n");
        }
    }
}

/// Looks within each interval once, for as long as somebody wants to know.
fn watch(shared: &Weak<Shared>) {
    while let Some(strong) = shared.upgrade() {
        let interval = strong.interval;
        strong.look();
        drop(strong);
        if !rounds::sleep(interval, shared) {
            return;
        }
    }
}

impl Isolator for Xfs {
    fn name(&self) -> &'static str {
        "disk/xfs"
    }

    fn recover(&self, running: &[Running], _ended: &[String]) -> Result<(), String> {
        for Running { container_id, .. } in running {
            // One of before this isolator was chosen has no limit.
            if let Some(asked) = Asked::load(&self.0.runtime.join(container_id)) {
                self.keep(container_id, asked)?;
            }
        }
        Ok(())
    }

    fn prepare(&self, spec: &ContainerSpec, _preparation: &mut Preparation) -> Result<(), String> {
        self.keep(&spec.container_id, Asked::of(spec))
    }

    fn update(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
        _limits: &BTreeMap<String, f64>,
    ) -> Result<(), String> {
        let known = self.0.state().containers.get(container_id).map(|c| c.asked.clone());
        known.map_or(Ok(()), |asked| self.keep(container_id, asked.with(resources)))
    }

    fn usage(
        &self,
        running: &Running,
        _processes: &Processes,
        out: &mut v1::ResourceStatistics,
    ) -> Result<(), String> {
        let state = self.0.state();
        let container = state.containers.get(&running.container_id);
        for (quota, id) in container.into_iter().flat_map(|container| &container.quotas) {
            let used = project::used(&quota.path, *id)
                .map_err(|e| format!("cannot see what {} takes: {e}", quota.path.display()))?;
            quota.tell(Some(used), out);
        }
        Ok(())
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        let (first, last) = self.0.options.range;
        let total = u64::from(last - first) + 1;
        let state = self.0.state();
        let taken = state
            .projects
            .iter()
            .filter(|(number, path)| (first..=last).contains(*number) && path.exists());
        let free = total.saturating_sub(taken.count() as u64);
        vec![
            ("containerizer/mesos/disk/project_ids_total", total),
            ("containerizer/mesos/disk/project_ids_free", free),
        ]
    }

    fn cleanup(&self, container_id: &str) -> Result<(), String> {
        self.0.state().containers.remove(container_id);
        Ok(())
    }
}
