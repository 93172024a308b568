//! How a container is started: what it needs is made, fetched and prepared, then its supervisor is executed.

use super::Mesos;
use crate::fetcher::Wanted;
use crate::images;
use crate::isolation::{Isolators, Preparation, Root, Selection};
use crate::spawner::Spawned;
use crate::supervisor::{self, Files};
use crate::{ContainerSpec, Containerizer as _, Logs, StartError, around, limits, phases, sandbox};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, oneshot};

impl Mesos {
    pub(crate) async fn launch(&self, mut spec: ContainerSpec) -> Result<u32, StartError> {
        let container_id = spec.container_id.clone();
        let files = self.files(&container_id);
        let cancel = self.starting().entry(container_id.clone()).or_default().cancel.clone();
        let joined = match self.enter_pod(&mut spec).await.and_then(|()| Ok(self.join(&spec)?)) {
            Ok(()) => self.attach(&mut spec, &cancel).await.map_err(StartError::Launch),
            Err(error) => Err(error),
        };
        // Users may be those of its image.
        let wanted = Wanted::of(&spec);
        let has_images = joined.as_ref().is_ok_and(|has_images| *has_images);
        let prepared = match joined {
            Ok(_) => {
                let (isolators, open_files) = (self.isolators.clone(), self.open_files);
                let logs = self.logs.clone();
                let files = files.clone();
                let isolation = self.isolation.clone();
                let around = spec.parent.as_ref().map(|parent| self.files(parent));
                let preparing = tokio::task::spawn_blocking(move || {
                    let logs = logs.as_ref();
                    prepare(
                        &spec,
                        &isolation,
                        &isolators,
                        open_files,
                        logs,
                        &files,
                        around.as_ref(),
                    )
                });
                let prepared = phases::timed("prepare", preparing).await;
                prepared
                    .unwrap_or_else(|e| Err(format!("cannot prepare the container: {e}").into()))
            }
            Err(error) => Err(error),
        };
        let started = match prepared {
            Ok(encoded) => {
                let started = match self.fetcher.fetch(wanted, &cancel).await {
                    Ok(()) => {
                        let spawned = self.spawn(&container_id, &files, &encoded);
                        phases::timed("supervisor", spawned).await
                    }
                    Err(text) => Err(text),
                };
                if started.is_err() {
                    self.watch.clean_up(&container_id).await;
                }
                started.map_err(StartError::Launch)
            }
            Err(error) => Err(error),
        };
        let doomed = self.starting().remove(&container_id).is_some_and(|start| start.doomed);
        match started {
            Ok(pid) => {
                if doomed {
                    self.destroy(&container_id);
                }
                Ok(pid)
            }
            Err(error) => {
                if has_images {
                    self.watch.clean_up(&container_id).await;
                }
                let _ = std::fs::remove_dir_all(&files.0);
                self.family.remove(&container_id);
                Err(error)
            }
        }
    }

    /// Notes inside which container one runs. If that ends from now on, this one is destroyed.
    fn join(&self, spec: &ContainerSpec) -> Result<(), String> {
        let Some(parent) = &spec.parent else { return Ok(()) };
        self.family.add(&spec.container_id, parent);
        if self.watch.is_running(parent) {
            Ok(())
        } else {
            Err(format!("the container '{parent}' around it is not running"))
        }
    }

    /// Makes what the container has of images, if it has any.
    async fn attach(&self, spec: &mut ContainerSpec, cancel: &Notify) -> Result<bool, String> {
        let wanted = images::wanted(spec);
        // One that may have been started before keeps what it has; that it is not started again is seen later.
        let started = spec.unless_sandbox && Path::new(&spec.directory).exists();
        if wanted.is_empty() || started {
            return Ok(false);
        }
        let provisioner = self.images.clone().ok_or(
            "the container has an image, and this agent knows none: --image_providers is not set",
        )?;
        let pull = async {
            let mut pulled = Vec::new();
            for image in &wanted {
                pulled.push(provisioner.pull(image).await?);
            }
            Ok::<_, String>(pulled)
        };
        let pulled = tokio::select! {
            pulled = phases::timed("pull", pull) => pulled?,
            () = cancel.notified() => {
                return Err("Container destroyed while pulling image".to_owned());
            }
        };
        let as_told = self.as_images_say && provisioner.honours_runtime();
        let attached = images::attach(&provisioner, spec, pulled, as_told).await;
        if attached.is_err() {
            self.watch.clean_up(&spec.container_id).await;
        }
        attached.map(|()| true)
    }

    async fn spawn(
        &self,
        container_id: &str,
        files: &Files,
        encoded: &[u8],
    ) -> Result<u32, String> {
        let spawned = self.spawner.spawn(&self.program, &files.0);
        let Spawned { mut child, mut stdin, stdout } =
            spawned.map_err(|e| format!("cannot execute the supervisor: {e}"))?;
        let pid = child.id();
        // Before it starts anything: what it starts is where it is.
        if let Some(Err(text)) = self.slice.as_ref().map(|slice| slice.take(pid)) {
            let _ = child.kill().and_then(|()| child.wait());
            return Err(text);
        }
        if encoded.len() <= 4096 {
            stdin.write_all(encoded).map_err(|e| format!("cannot write to the supervisor: {e}"))?;
            drop(stdin);
        } else {
            // More than fits a pipe at once may block.
            let encoded = encoded.to_vec();
            tokio::task::spawn_blocking(move || stdin.write_all(&encoded));
        }
        let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))
            .map_err(|e| format!("cannot listen to the supervisor: {e}"))?;
        let (started, answer) = oneshot::channel();
        let (container_id, files) = (container_id.to_owned(), files.clone());
        tokio::spawn(self.watch.clone().listen(container_id, files, child, stdout, started));
        answer.await.unwrap_or_else(|_| Err("the supervisor ended at once".to_owned()))?;
        Ok(pid)
    }
}

/// The terminal that a container asks for.
fn terminal(spec: &ContainerSpec) -> Result<Option<(u16, u16)>, String> {
    let Some(terminal) = spec.container.as_ref().and_then(|c| c.tty_info.as_ref()) else {
        return Ok(None);
    };
    let size = terminal.window_size.as_ref().map_or((0, 0), |size| (size.rows, size.columns));
    match (u16::try_from(size.0), u16::try_from(size.1)) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err("'tty_info.window_size' must have at most 65535 rows and columns".to_owned()),
    }
}

/// Makes everything that a container needs before its supervisor starts; what that one is told. Blocks.
fn prepare(
    spec: &ContainerSpec,
    isolation: &Selection,
    isolators: &Isolators,
    open_files: Option<u64>,
    logs: Option<&Logs>,
    files: &Files,
    around: Option<&Files>,
) -> Result<Vec<u8>, StartError> {
    limits::check(spec, isolation)?;
    let parent = match around.map(|files| files.supervisor()) {
        None => None,
        Some(None) => return Err("the container around this one has ended".to_owned().into()),
        Some(Some(supervisor)) => around::parent(supervisor)?,
    };
    let rootfs = spec.rootfs.clone();
    let shared = parent.as_ref().filter(|_| spec.shares_everything()).and_then(around::root);
    let shared = shared.map(Root::directory);
    let users = rootfs.as_ref().or(shared.as_ref());
    let user = spec.who(users).map_err(StartError::Sandbox)?;
    supervisor::check(spec)?;
    // First the directory, then the sandbox: who finds neither knows that nothing was started.
    files.create(spec.parent.as_deref())?;
    sandbox::prepare(spec, user.as_ref())?;
    let logs = logs.map(|logs| logs.of(spec)).transpose()?.unwrap_or_default();
    let owner = user.as_ref().map(|user| (user.uid, user.gid));
    let mut begun = Preparation { rootfs, owner, logs, ..Default::default() };
    begun.setup.terminal = terminal(spec)?;
    begun.setup.parent = parent;
    let preparation = isolators.prepare(spec, begun)?;
    supervisor::encode(spec, user.as_ref(), open_files, &preparation).map_err(|text| {
        isolators.cleanup(&spec.container_id);
        StartError::Launch(text)
    })
}
