//! What stands for a pod: a container whose only process does nothing. It has the pod's cgroups and namespaces, and the
//! pod's containers run inside it. It is started with the first of them, and outlives the agent as they do.

use crate::isolation::{Selection, cgroups};
use crate::{ContainerSpec, Mesos, Pod, StartError, limits};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use wire::v1;

/// Pods that are being started.
#[derive(Debug, Default)]
pub(crate) struct Pods(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Pods {
    /// Who has it starts a pod, and no one else does.
    fn turn(&self, pod: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|id, turn| id == pod || Arc::strong_count(turn) > 1);
        turns.entry(pod.to_owned()).or_default().clone()
    }
}

/// Whether there is anything that containers of a pod can share, beside a network.
fn is_needed(isolation: &Selection) -> bool {
    isolation.names().any(|name| name.starts_with("namespaces/") || cgroups::is_name(name))
}

impl Mesos {
    /// Puts a container of a pod into what stands for the pod, if anything does, and starts that if it does not run.
    pub(crate) async fn enter_pod(&self, spec: &mut ContainerSpec) -> Result<(), StartError> {
        let Some(pod) = spec.pod.clone() else { return Ok(()) };
        let id = pod.id.clone();
        let holder = self.holder(pod, spec);
        if !is_needed(self.isolation()) {
            // What it asks for is there, or refused.
            return Ok(limits::check(&holder, self.isolation())?);
        }
        let turn = self.pods().turn(&id);
        let _turn = turn.lock().await;
        if !self.runs(&id) {
            // A former one of the name may have left something.
            self.drop_files(&id);
            Box::pin(self.launch(holder)).await.map_err(|error| match error {
                StartError::Launch(text) => StartError::Launch(format!("the pod: {text}")),
                other => other,
            })?;
        }
        spec.parent = Some(id);
        let plain = || v1::ContainerInfo {
            r#type: v1::container_info::Type::Mesos as i32,
            ..Default::default()
        };
        spec.container.get_or_insert_with(plain);
        Ok(())
    }

    fn holder(&self, pod: Pod, of: &ContainerSpec) -> ContainerSpec {
        let program = self.program().display().to_string();
        let container = pod.container.map(|container| v1::ContainerInfo {
            // What its process sees is nobody's business.
            mesos: None,
            tty_info: None,
            rlimit_info: None,
            volumes: Vec::new(),
            // The network is no matter of this process: all of the pod are put into it.
            network_infos: Vec::new(),
            hostname: None,
            ..container
        });
        let directory = self.directory(&pod.id).join("sandbox");
        ContainerSpec {
            directory: directory.display().to_string(),
            container_id: pod.id,
            parent: None,
            pod: None,
            working_directory: Some("/".to_owned()),
            output: None,
            streams: None,
            latest_link: None,
            command: v1::CommandInfo {
                shell: Some(false),
                arguments: vec!["proffer-pod".to_owned(), "--idle".to_owned()],
                value: Some(program),
                ..Default::default()
            },
            environment: BTreeMap::new(),
            user: None,
            image_user: None,
            image_wants_nvidia: false,
            container,
            resources: pod.resources,
            limits: pod.limits,
            // So that what they take counts.
            volumes: pod.volumes,
            rootfs: None,
            image_volumes: BTreeMap::new(),
            recovery_timeout: of.recovery_timeout,
            shutdown_grace_period: of.shutdown_grace_period,
            unless_sandbox: false,
        }
    }

    fn directory(&self, container_id: &str) -> std::path::PathBuf {
        self.files_of(container_id).0
    }

    fn drop_files(&self, container_id: &str) {
        let _ = std::fs::remove_dir_all(Path::new(&self.directory(container_id)));
    }
}
