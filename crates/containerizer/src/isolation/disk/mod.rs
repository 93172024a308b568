//! What containers take of disks: `disk/xfs`, and `disk/du`, which looks again and again at what sandboxes and persistent volumes take, tells it, and ends containers that take
//! more than they may if that is asked for (spec/agent.md 6.3).
//!
//! Within each interval every directory is looked at once, by one thread, with pauses between: a big directory slows
//! down only this thread, and reading them all never comes at once. What a container has is kept in its runtime directory
//! for the next run of the agent, and so is the reason of its end.

mod project;
mod quota;
mod usage;
mod xfs;

pub use xfs::ProjectOptions;
pub(super) use xfs::Xfs;

use super::{Isolator, Preparation, Processes, Running, rounds};
use crate::supervisor::Files;
use crate::{ContainerSpec, Limitation, MesosOptions, limitation};
use quota::{Asked, Quota, quotas};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use wire::v1;
use wire::v1::task_status::Reason;

#[derive(Debug)]
pub(super) struct DiskUsage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Runtime directories of containers.
    runtime: PathBuf,
    interval: Duration,
    is_enforced: bool,
    containers: Mutex<BTreeMap<String, Container>>,
}

#[derive(Debug)]
struct Container {
    asked: Asked,
    quotas: Vec<Quota>,
    is_ending: bool,
}

impl Container {
    fn of(asked: Asked) -> Self {
        Self { quotas: quotas(&asked), asked, is_ending: false }
    }
}

impl DiskUsage {
    pub(super) fn new(options: &MesosOptions) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            runtime: options.runtime_dir.join("containers"),
            interval: options.settings.disk_watch_interval,
            is_enforced: options.settings.enforce_disk_quota,
            containers: Mutex::default(),
        });
        rounds::spawn("disk-usage", &shared, watch)?;
        Ok(Self { shared })
    }

    fn keep(&self, container_id: &str, asked: Asked) -> Result<(), String> {
        asked.store(&self.shared.runtime.join(container_id))?;
        let container = Container::of(asked);
        self.shared.containers().insert(container_id.to_owned(), container);
        Ok(())
    }
}

impl Isolator for DiskUsage {
    fn name(&self) -> &'static str {
        "disk/du"
    }

    fn recover(&self, running: &[Running], _ended: &[String]) -> Result<(), String> {
        for Running { container_id, .. } in running {
            // One of before this isolator was chosen has no limit.
            if let Some(asked) = Asked::load(&self.shared.runtime.join(container_id)) {
                self.shared.containers().insert(container_id.clone(), Container::of(asked));
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
        let known = self.shared.containers().get(container_id).map(|c| c.asked.clone());
        known.map_or(Ok(()), |asked| self.keep(container_id, asked.with(resources)))
    }

    fn usage(
        &self,
        running: &Running,
        _processes: &Processes,
        out: &mut v1::ResourceStatistics,
    ) -> Result<(), String> {
        let containers = self.shared.containers();
        for quota in containers.get(&running.container_id).into_iter().flat_map(|c| &c.quotas) {
            quota.tell(quota.used, out);
        }
        Ok(())
    }

    fn cleanup(&self, container_id: &str) -> Result<(), String> {
        self.shared.containers().remove(container_id);
        Ok(())
    }
}

impl Shared {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Directories with limits: container, place among its own, path, and what does not count.
    fn directories(&self) -> Vec<(String, PathBuf, Vec<PathBuf>)> {
        let containers = self.containers();
        let of = |(id, c): (&String, &Container)| {
            let quotas = c.quotas.iter().map(|q| (id.clone(), q.path.clone(), q.except.clone()));
            quotas.collect::<Vec<_>>()
        };
        containers.iter().flat_map(of).collect()
    }

    /// Takes what was measured; ends the container if that is too much.
    fn measured(&self, container_id: &str, path: &Path, used: u64) {
        let mut containers = self.containers();
        let Some(container) = containers.get_mut(container_id) else { return };
        let Some(quota) = container.quotas.iter_mut().find(|q| q.path == path) else { return };
        quota.used = Some(used);
        let limit = quota.limit();
        if !self.is_enforced || !quota.is_enforced || used <= limit || container.is_ending {
            return;
        }
        let size = base::bytes::format;
        let message = format!("Disk usage ({}) exceeds quota ({})", size(used), size(limit));
        tracing::info!(container = %container_id, %message, path = %path.display(), "it is ended");
        let (reason, resources) = (Reason::ContainerLimitationDisk, quota.resources.clone());
        container.is_ending = true;
        let files = Files(self.runtime.join(container_id));
        // Known to the next run of the agent before the container ends.
        limitation::keep(&files, &Limitation { reason, message, resources });
        files.command("kill\n");
    }
}

/// Looks at all directories within each interval, for as long as somebody wants to know.
fn watch(shared: &Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let (interval, directories) = (strong.interval, strong.directories());
        drop(strong);
        let begun = Instant::now();
        let count = u32::try_from(directories.len()).unwrap_or(u32::MAX);
        let pause = interval / count.saturating_add(1);
        for (container_id, path, except) in directories {
            if !rounds::sleep(pause, shared) {
                return;
            }
            let used = usage::of(&path, &except);
            let Some(strong) = shared.upgrade() else { return };
            // It may have been removed meanwhile.
            if let Ok(used) = used {
                strong.measured(&container_id, &path, used);
            }
        }
        if !rounds::sleep(interval.saturating_sub(begun.elapsed()), shared) {
            return;
        }
    }
}
