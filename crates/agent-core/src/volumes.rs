//! Where persistent volumes are, and which of them a container sees (spec/agent.md 1.6 and 7.1).

use crate::agent::{Agent, Cx};
use crate::contract::{Effect, MountedVolume, RemovedVolume};
use crate::state::ExecutorKind;
use resources::{Entry, Resources};
use wire::v1;
use wire::v1::resource::disk_info::source::Type;

impl Agent {
    /// Directory of a persistent volume; None for other resources.
    pub(crate) fn volume_path(&self, entry: &Entry) -> Option<String> {
        let disk = entry.identity.disk.as_ref()?;
        let id = &disk.persistence.as_ref()?.id;
        let role = entry.reserved_to().unwrap_or("*").replace('/', " ");
        let below = |root: &str| format!("{}/volumes/roles/{role}/{id}", self.absolute(root));
        let Some(source) = &disk.source else { return Some(below("")) };
        match source.r#type() {
            Type::Path => {
                Some(below(source.path.as_ref().and_then(|p| p.root.as_deref()).unwrap_or("")))
            }
            Type::Mount => {
                let root = source.mount.as_ref().and_then(|m| m.root.as_deref());
                // Without one it is nowhere: it must not be another directory that is emptied with it.
                root.filter(|root| !root.trim_end_matches('/').is_empty())
                    .map(|root| self.absolute(root))
            }
            Type::Block | Type::Raw | Type::Unknown => None,
        }
    }

    /// A root of a disk: relative ones are below the work directory.
    fn absolute(&self, root: &str) -> String {
        let trimmed = root.trim_end_matches('/');
        match trimmed {
            "" if root.is_empty() => self.config.work_dir.clone(),
            _ if root.starts_with('/') => trimmed.to_owned(),
            _ => format!("{}/{trimmed}", self.config.work_dir),
        }
    }

    pub(crate) fn volume_paths(&self, volumes: &Resources) -> Vec<String> {
        volumes.iter().filter_map(|e| self.volume_path(e)).collect()
    }

    pub(crate) fn removed_volumes(&self, volumes: &Resources) -> Vec<RemovedVolume> {
        let removed = volumes.iter().filter_map(|entry| {
            let source = entry.identity.disk.as_ref().and_then(|d| d.source.as_ref());
            let keeps_root = source.is_some_and(|s| s.r#type() == Type::Mount);
            Some(RemovedVolume { path: self.volume_path(entry)?, keeps_root })
        });
        removed.collect()
    }

    /// The volumes among the resources of a container.
    pub(crate) fn mounted(&self, resources: &[v1::Resource]) -> Vec<MountedVolume> {
        let volumes = Resources::from_wire(resources).unwrap_or_default().volumes();
        let mounted = volumes.iter().filter_map(|entry| {
            let volume = entry.identity.disk.as_ref()?.volume.as_ref()?;
            Some(MountedVolume {
                path: self.volume_path(entry)?,
                container_path: volume.container_path.clone(),
                exclusive: !entry.identity.shared,
                read_only: volume.mode() == v1::volume::Mode::Ro,
            })
        });
        mounted.collect()
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
