//! Where persistent volumes are, and which of them a container sees (spec/agent.md 1.6 and 7.1).

use crate::agent::{Agent, Cx};
use crate::contract::{Effect, MountedVolume, RemovedVolume};
use crate::state::{Executor, ExecutorKind};
use resources::{Entry, Resources};
use wire::v1;
use wire::v1::resource::disk_info::source::Type;
use wire::v1::volume::source::sandbox_path;

/// Directory of a persistent volume; None for other resources.
fn volume_path(work_dir: &str, entry: &Entry) -> Option<String> {
    let disk = entry.identity.disk.as_ref()?;
    let id = &disk.persistence.as_ref()?.id;
    let role = entry.reserved_to().unwrap_or("*").replace('/', " ");
    let below = |root: &str| format!("{}/volumes/roles/{role}/{id}", absolute(work_dir, root));
    let Some(source) = &disk.source else { return Some(below("")) };
    match source.r#type() {
        Type::Path => {
            Some(below(source.path.as_ref().and_then(|p| p.root.as_deref()).unwrap_or("")))
        }
        Type::Mount => {
            let root = source.mount.as_ref().and_then(|m| m.root.as_deref());
            // Without one it is nowhere: it must not be another directory that is emptied with it.
            root.filter(|root| !root.trim_end_matches('/').is_empty())
                .map(|root| absolute(work_dir, root))
        }
        Type::Block | Type::Raw | Type::Unknown => None,
    }
}

/// A root of a disk: relative ones are below the work directory.
fn absolute(work_dir: &str, root: &str) -> String {
    let trimmed = root.trim_end_matches('/');
    match trimmed {
        "" if root.is_empty() => work_dir.to_owned(),
        _ if root.starts_with('/') => trimmed.to_owned(),
        _ => format!("{work_dir}/{trimmed}"),
    }
}

/// The volumes among the resources of a container.
fn mounted(work_dir: &str, resources: &[v1::Resource]) -> Vec<MountedVolume> {
    let is_volume = |r: &&v1::Resource| r.disk.as_ref().is_some_and(|d| d.persistence.is_some());
    let volumes: Vec<v1::Resource> = resources.iter().filter(is_volume).cloned().collect();
    let volumes = Resources::from_wire(&volumes).unwrap_or_default().volumes();
    let mounted = volumes.iter().filter_map(|entry| {
        let volume = entry.identity.disk.as_ref()?.volume.as_ref()?;
        Some(MountedVolume {
            path: volume_path(work_dir, entry)?,
            container_path: volume.container_path.clone(),
            exclusive: !entry.identity.shared,
            read_only: volume.mode() == v1::volume::Mode::Ro,
        })
    });
    mounted.collect()
}

/// Persistent volumes that an executor and its tasks see in their sandboxes, and where they are: pairs of a path relative
/// to the executor's sandbox and an absolute one.
#[must_use]
pub fn shown_volumes(work_dir: &str, executor: &Executor) -> Vec<(String, String)> {
    let own = mounted(work_dir, &executor.info.resources);
    let mut all: Vec<(String, String)> =
        own.iter().map(|v| (v.container_path.clone(), v.path.clone())).collect();
    for task in executor.tasks.values().filter(|task| !task.is_terminal()) {
        let volumes = mounted(work_dir, &task.info.resources).into_iter();
        let seen = volumes.map(|v| (v.container_path, v.path));
        if executor.kind != ExecutorKind::Default {
            all.extend(seen);
            continue;
        }
        // What lies deeper in a volume of the pod may be a link that leads anywhere.
        let volumes = task.info.container.iter().flat_map(|c| &c.volumes);
        let of_pod = volumes.filter_map(|volume| {
            let path = path_in_parent(volume)?;
            let persistent = own.iter().find(|v| v.container_path.trim_end_matches('/') == path)?;
            Some((volume.container_path.clone(), persistent.path.clone()))
        });
        let by_container = task.container_id.iter().map(|id| format!("containers/{id}"));
        let by_task = format!("tasks/{}", task.info.task_id.value);
        let sandboxes: Vec<String> = by_container.chain([by_task]).collect();
        for (path, real) in seen.chain(of_pod).filter(|(path, _)| !path.starts_with('/')) {
            all.extend(sandboxes.iter().map(|s| (format!("{s}/{path}"), real.clone())));
        }
    }
    all.retain(|(path, _)| !path.is_empty() && !path.starts_with('/'));
    all
}

/// Path in the sandbox of the pod, if that is what a volume of one of its tasks shows.
fn path_in_parent(volume: &v1::Volume) -> Option<&str> {
    let source = volume.source.as_ref()?.sandbox_path.as_ref()?;
    (source.r#type() == sandbox_path::Type::Parent).then_some(source.path.trim_end_matches('/'))
}

impl Agent {
    pub(crate) fn volume_paths(&self, volumes: &Resources) -> Vec<String> {
        volumes.iter().filter_map(|e| volume_path(&self.config.work_dir, e)).collect()
    }

    pub(crate) fn removed_volumes(&self, volumes: &Resources) -> Vec<RemovedVolume> {
        let removed = volumes.iter().filter_map(|entry| {
            let source = entry.identity.disk.as_ref().and_then(|d| d.source.as_ref());
            let keeps_root = source.is_some_and(|s| s.r#type() == Type::Mount);
            Some(RemovedVolume { path: volume_path(&self.config.work_dir, entry)?, keeps_root })
        });
        removed.collect()
    }

    /// The volumes among the resources of a container.
    pub(crate) fn mounted(&self, resources: &[v1::Resource]) -> Vec<MountedVolume> {
        mounted(&self.config.work_dir, resources)
    }

    /// Shows volumes of tasks in the sandbox of their executor, which runs already.
    pub(crate) fn show_volumes(
        &self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        tasks: &[String],
    ) {
        let Some(executor) = self.executor(framework_id, executor_id) else { return };
        let tasks = tasks.iter().filter_map(|id| executor.tasks.get(id));
        for volume in tasks.flat_map(|task| self.mounted(&task.info.resources)) {
            cx.out.push(Effect::ShowVolume {
                container_id: executor.container_id.clone(),
                directory: executor.directory.clone(),
                volume,
            });
        }
    }

    /// Takes the volumes of a task that has ended away from its executor, but for those that others in it have.
    pub(crate) fn hide_volumes(
        &self,
        cx: &mut Cx<'_>,
        framework_id: &str,
        executor_id: &str,
        task_id: &str,
    ) {
        let Some(executor) = self.executor(framework_id, executor_id) else { return };
        let Some(task) = executor.tasks.get(task_id) else { return };
        if executor.kind != ExecutorKind::Custom || executor.pid.is_none() || !task.launched {
            return;
        }
        let others = executor.tasks.values().filter(|other| other.launched && !other.is_terminal());
        let others = others.flat_map(|other| self.mounted(&other.info.resources));
        let kept: Vec<MountedVolume> =
            others.chain(self.mounted(&executor.info.resources)).collect();
        let is_kept = |volume: &MountedVolume| {
            kept.iter().any(|other| other.container_path == volume.container_path)
        };
        for volume in self.mounted(&task.info.resources).into_iter().filter(|v| !is_kept(v)) {
            cx.out.push(Effect::HideVolume {
                container_id: executor.container_id.clone(),
                directory: executor.directory.clone(),
                volume,
            });
        }
    }
}
