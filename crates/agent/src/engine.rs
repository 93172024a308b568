//! The one task that owns the core.

use crate::Outside;
use crate::container_calls;
use crate::garbage::{self, Bin};
use crate::meters::Launches;
use crate::shared::Shared;
use crate::store::{Store, is_full};
use crate::traces::Traces;
use agent_core::contract::{
    self, Appearance, DiskUse, Effect, FoundContainer, FoundState, Input, ProbeAnswer, StartError,
};
use agent_core::{Agent, State};
use base::{Now, Time, WallTime, WriteId};
use containerizer::{Containerizer, phases};
use http_api::respond;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use wire::internal;

/// Inputs taken at once before readers are served.
const BATCH: usize = 256;
/// Time between two tries to write on a disk that is full.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// Sleep when nothing is to be waited for.
const IDLE: Duration = Duration::from_secs(3600);

pub(crate) struct Engine {
    core: Agent,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Input>,
    readers: mpsc::UnboundedReceiver<oneshot::Sender<Arc<State>>>,
    outside: Option<Outside>,
    start: Instant,
    bin: Bin,
    /// Probes that somebody waits for.
    probes: BTreeMap<u64, AbortHandle>,
    /// Event streams that were dropped for being slow or closed.
    lost: Vec<base::Token>,
    launches: Launches,
    traces: Option<Traces>,
}

/// A record for the store's thread.
struct Write {
    id: WriteId,
    record: internal::AgentRecord,
    sync: bool,
}

/// Directories to be made and removed.
struct VolumeWork {
    operation: Vec<u8>,
    make: Vec<String>,
    remove: Vec<contract::RemovedVolume>,
}

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Input>,
        readers: mpsc::UnboundedReceiver<oneshot::Sender<Arc<State>>>,
        outside: Outside,
    ) -> Self {
        let core = Agent::new(shared.config.clone());
        let bin = Bin::new(Path::new(&shared.config.work_dir));
        let traces = shared.spans.clone().map(Traces::new);
        Self {
            core,
            traces,
            shared,
            queue,
            readers,
            outside: Some(outside),
            start: Instant::now(),
            bin,
            probes: BTreeMap::new(),
            lost: Vec::new(),
            launches: Launches::default(),
        }
    }

    fn now(&self) -> Now {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Time(nanos(self.start.elapsed())), wall: WallTime(nanos(wall)) }
    }

    /// Runs until it is stopped or the core asks for the end: says why.
    ///
    /// # Errors
    /// When the core can't go on: why.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<String, String> {
        let outside = self.outside.take().ok_or("the agent was started twice")?;
        let Outside { containerizer, mut exits, store, records, found, damage: _ } = outside;
        for leftover in self.bin.leftovers() {
            tokio::task::spawn_blocking(move || discard(&leftover));
        }
        let (writes, queue) = mpsc::unbounded_channel();
        let shared = self.shared.clone();
        let writer = tokio::task::spawn_blocking(move || write_records(store, queue, &shared));
        let (volumes, queue) = mpsc::unbounded_channel();
        let inputs = self.shared.inputs.clone();
        let keeper = tokio::task::spawn_blocking(move || keep_volumes(queue, &inputs));
        let running: Vec<String> =
            found.iter().filter(|f| f.pid.is_some()).map(|f| f.container_id.clone()).collect();
        let mut out = Vec::new();
        let mut found = found;
        for found in &mut found {
            if let Some(appearance) = found.appearance.take() {
                let input = appeared(found.container_id.clone(), appearance);
                self.core.step(self.now(), input, &mut out);
            }
        }
        let containers = found.into_iter().map(|f| FoundContainer {
            container_id: f.container_id,
            state: match f.pid {
                Some(pid) => FoundState::Running { pid },
                None if f.unstarted => FoundState::Unstarted,
                None => {
                    let limitation = f.limitation.map(limitation);
                    FoundState::Exited { status: f.status, limitation }
                }
            },
        });
        let recovered = Input::Recovered { records, containers: containers.collect() };
        self.core.step(self.now(), recovered, &mut out);
        let _ = self.shared.recovery_time.set(self.shared.started.elapsed().unwrap_or_default());
        // An agent that ends at once again does not count as one.
        if !out.iter().any(|effect| matches!(effect, Effect::Exit { .. })) {
            running.iter().for_each(|container_id| containerizer.attend(container_id));
        }
        let mut batch = Vec::with_capacity(BATCH);
        let ended = 'run: loop {
            for effect in out.drain(..) {
                if let Effect::Exit { status, message } = effect {
                    break 'run if status == 0 { Ok(message) } else { Err(message) };
                }
                self.launches.on_effect(&effect, &self.shared.meters);
                if self.traces.is_some() {
                    let now = self.now().wall;
                    self.traces.iter_mut().for_each(|traces| traces.on_effect(&effect, now));
                }
                self.carry_out(effect, &writes, &volumes, &containerizer);
            }
            // Nothing more reaches these: the core shall know at once, not when the connection breaks.
            while let Some(stream) = self.lost.pop() {
                let now = self.now();
                self.core.step(now, Input::ExecutorClosed { stream }, &mut out);
            }
            if !out.is_empty() {
                continue;
            }
            let wake = self.core.next_wake().map_or(IDLE, |at| at.since(self.now().mono));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break Ok("stopped".to_owned()),
                count = self.queue.recv_many(&mut batch, BATCH) => if count == 0 { break Ok("stopped".to_owned()) },
                Some(exited) = exits.recv() => {
                    let containerizer::Exited { container_id, status, limitation: limited } = exited;
                    let limitation = limited.map(limitation);
                    batch.push(Input::ContainerExited { container_id, status, limitation });
                }
                Some(reader) = self.readers.recv() => {
                    let _ = reader.send(self.core.view());
                    continue;
                }
                () = tokio::time::sleep(wake) => batch.push(Input::Wake),
            }
            for input in batch.drain(..) {
                self.launches.on_input(&input);
                let now = self.now();
                if let Some(traces) = &mut self.traces {
                    traces.on_input(&input, now.wall);
                }
                self.core.step(now, input, &mut out);
            }
        };
        containerizer.leave().await;
        drop((writes, volumes));
        // Nobody takes inputs any more; a thread that waits to send one must not wait for ever.
        self.queue.close();
        let _ = writer.await;
        let _ = keeper.await;
        ended
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        writes: &mpsc::UnboundedSender<Write>,
        volumes: &mpsc::UnboundedSender<VolumeWork>,
        containerizer: &Arc<dyn Containerizer>,
    ) {
        match effect {
            Effect::SendToMaster { connection, message } => {
                let message = internal::AgentToMaster { message: Some(*message) };
                if let Some(link) = self.shared.link(connection)
                    && !link.send(&message)
                {
                    tracing::warn!("the master reads too slowly; the link is dropped");
                    self.shared.clear_link(connection);
                }
            }
            Effect::CloseMaster { connection } => self.shared.clear_link(connection),
            Effect::Store { id, record, sync } => {
                let _ = writes.send(Write { id, record: *record, sync });
            }
            Effect::AcceptStream { stream } => self.shared.accept(stream),
            Effect::Respond { token, status, body } => {
                self.shared.respond(token, respond::text(status, body))
            }
            Effect::RespondEnd { token, end } => {
                self.shared.respond(token, container_calls::ended(end))
            }
            Effect::SendEvent { stream, event } => {
                if let Some(sender) = self.shared.stream(stream)
                    && sender.send(&*event).is_err()
                {
                    tracing::warn!(
                        stream = stream.0,
                        "an executor does not read its events; its stream is dropped"
                    );
                    self.shared.close_stream(stream);
                    self.lost.push(stream);
                }
            }
            Effect::CloseStream { stream } => self.shared.close_stream(stream),
            Effect::StartContainer { spec } => {
                let (containerizer, shared) = (containerizer.clone(), self.shared.clone());
                let spec = convert(*spec);
                let now = self.now().wall;
                let state = self.core.state();
                let traced = self.traces.as_mut();
                let traced = traced.and_then(|t| t.starting(state, &spec.container_id, now));
                containerizer.announce(&spec);
                tokio::spawn(async move {
                    let (container_id, begun) = (spec.container_id.clone(), Instant::now());
                    let inputs = &shared.inputs;
                    let started = match traced {
                        None => containerizer.start(spec).await,
                        Some(traced) => {
                            let start = containerizer.start(spec);
                            let (started, phases) = phases::recorded(start).await;
                            traced.done(&phases, started.is_err());
                            started
                        }
                    };
                    let result = match started {
                        Ok(containerizer::Started { pid, appearance }) => {
                            shared.meters.container_launch.record(begun.elapsed());
                            if let Some(appearance) = appearance {
                                let input = appeared(container_id.clone(), appearance);
                                let _ = inputs.send(input).await;
                            }
                            Ok(pid)
                        }
                        Err(containerizer::StartError::Sandbox(text)) => {
                            Err(StartError::Sandbox(text))
                        }
                        Err(containerizer::StartError::MayHaveRun) => Err(StartError::MayHaveRun),
                        Err(containerizer::StartError::Launch(text)) => {
                            Err(StartError::Launch(text))
                        }
                    };
                    let _ = inputs.send(Input::ContainerStarted { container_id, result }).await;
                });
            }
            Effect::CancelStart { container_id } => containerizer.cancel(&container_id),
            Effect::UpdateContainer { container_id, resources, limits } => {
                containerizer.update(&container_id, resources, limits)
            }
            Effect::ShowVolume { container_id, directory, volume } => {
                let volume = mounted(volume);
                let shown =
                    containerizer.show_volume(&container_id, Path::new(&directory), &volume);
                if let Err(error) = shown {
                    tracing::error!(container = %container_id, %error, "a volume can't be shown: the container is ended");
                    containerizer.destroy(&container_id);
                }
            }
            Effect::HideVolume { container_id, directory, volume } => {
                let volume = mounted(volume);
                let hidden =
                    containerizer.hide_volume(&container_id, Path::new(&directory), &volume);
                if let Err(error) = hidden {
                    tracing::warn!(container = %container_id, %error, "a volume is still shown");
                }
            }
            Effect::SignalContainer { container_id, signal } => {
                containerizer.signal(&container_id, signal)
            }
            Effect::DestroyContainer { container_id } => containerizer.destroy(&container_id),
            Effect::ForgetContainer { container_id } => containerizer.forget(&container_id),
            Effect::SyncVolumes { operation, make, remove } => {
                let _ = volumes.send(VolumeWork { operation, make, remove });
            }
            Effect::Probe { id, container_id, target } => {
                let target = match target {
                    contract::Target::Tcp { host, port } => {
                        containerizer::Target::Tcp { host, port }
                    }
                    contract::Target::Http { uri } => containerizer::Target::Http { uri },
                };
                let (probe, inputs) =
                    (containerizer.probe(&container_id, target), self.shared.inputs.clone());
                let probing = tokio::spawn(async move {
                    let result = probe.await.map(|answer| match answer {
                        containerizer::ProbeAnswer::Connected(yes) => ProbeAnswer::Connected(yes),
                        containerizer::ProbeAnswer::Status(code) => ProbeAnswer::Status(code),
                    });
                    if let Err(error) = &result {
                        tracing::info!(container = %container_id, %error, "a check failed");
                    }
                    let _ = inputs.send(Input::Probed { id, result }).await;
                });
                self.probes.retain(|_, probe| !probe.is_finished());
                self.probes.insert(id, probing.abort_handle());
            }
            Effect::StopProbe { id } => self.probes.remove(&id).iter().for_each(AbortHandle::abort),
            Effect::Measure { purpose } => {
                let inputs = self.shared.inputs.clone();
                tokio::task::spawn_blocking(move || {
                    let measured = crate::load::measure()
                        .inspect_err(|error| tracing::warn!(%error, "cannot read the load"))
                        .ok();
                    let _ = inputs.blocking_send(Input::Measured { purpose, measured });
                });
            }
            Effect::RemoveDirectory { path } => self.remove_directory(&path),
            Effect::Touch { path } => {
                // It may never have been made.
                let _ = garbage::touch(Path::new(&path));
            }
            Effect::MeasureDisk => {
                let inputs = self.shared.inputs.clone();
                let work_dir = self.shared.config.work_dir.clone();
                tokio::task::spawn_blocking(move || match garbage::disk_use(work_dir.as_ref()) {
                    Ok(disk) => {
                        let _ = inputs.blocking_send(Input::DiskMeasured { disk });
                    }
                    Err(error) => {
                        tracing::warn!(%error, %work_dir, "cannot see how full the disk is")
                    }
                });
            }
            Effect::Link { directory, path, target } => {
                let made = std::fs::create_dir_all(&directory).and_then(|()| {
                    containerizer::link(directory.as_ref(), path.as_ref(), target.as_ref())
                });
                if let Err(error) = made {
                    tracing::warn!(%directory, %path, %error, "cannot make a link");
                }
            }
            Effect::Exit { .. } => {}
        }
    }

    fn remove_directory(&mut self, path: &str) {
        let taken = self.bin.take(Path::new(path));
        let inputs = self.shared.inputs.clone();
        tokio::task::spawn_blocking(move || {
            let result = match taken {
                Ok(Some(aside)) => discard(&aside),
                Ok(None) => Ok(()),
                Err(text) => {
                    tracing::warn!("{text}");
                    Err(text)
                }
            };
            let _ = inputs.blocking_send(Input::DirectoryRemoved { result });
        });
    }
}

fn appeared(container_id: String, appearance: containerizer::Appearance) -> Input {
    let containerizer::Appearance { networks, network_class, description } = appearance;
    let appearance = Appearance { networks, network_class, description };
    Input::ContainerAppeared { container_id, appearance }
}

fn discard(path: &Path) -> Result<(), String> {
    garbage::remove(path).inspect_err(|text| tracing::warn!("{text}"))
}

fn convert(spec: contract::ContainerSpec) -> containerizer::ContainerSpec {
    let contract::ContainerSpec {
        container_id,
        parent,
        pod,
        directory,
        working_directory,
        output,
        streams,
        latest_link,
        command,
        environment,
        user,
        container,
        resources,
        limits,
        volumes,
        recovery_timeout,
        shutdown_grace_period,
        unless_sandbox,
    } = spec;
    containerizer::ContainerSpec {
        container_id,
        parent,
        pod: pod.map(|pod| containerizer::Pod {
            id: pod.id,
            container: pod.container,
            resources: pod.resources,
            limits: pod.limits,
            volumes: pod.volumes.into_iter().map(mounted).collect(),
            user: pod.user,
        }),
        directory,
        working_directory,
        output,
        streams: streams.map(|streams| containerizer::Streams {
            input: streams.input,
            output: streams.output,
            errors: streams.errors,
            is_terminal: streams.is_terminal,
        }),
        latest_link,
        command,
        environment,
        user,
        container,
        resources,
        limits,
        volumes: volumes.into_iter().map(mounted).collect(),
        rootfs: None,
        image_volumes: BTreeMap::new(),
        image_user: None,
        image_wants_nvidia: false,
        recovery_timeout,
        shutdown_grace_period,
        unless_sandbox,
    }
}

fn limitation(limitation: containerizer::Limitation) -> Box<contract::Limitation> {
    let containerizer::Limitation { reason, message, resources } = limitation;
    Box::new(contract::Limitation { reason, message, resources })
}

fn mounted(volume: contract::MountedVolume) -> containerizer::MountedVolume {
    let contract::MountedVolume { path, container_path, exclusive, read_only } = volume;
    containerizer::MountedVolume { path, container_path, exclusive, read_only }
}

/// Makes and removes directories of volumes, one piece of work after the other.
fn keep_volumes(mut queue: mpsc::UnboundedReceiver<VolumeWork>, inputs: &mpsc::Sender<Input>) {
    while let Some(VolumeWork { operation, make, remove }) = queue.blocking_recv() {
        let result = crate::volumes::sync(&make, &remove);
        if inputs.blocking_send(Input::VolumesSynced { operation, result }).is_err() {
            return;
        }
    }
}

/// Makes records durable, all that wait in one write.
fn write_records(mut store: Store, mut queue: mpsc::UnboundedReceiver<Write>, shared: &Shared) {
    let inputs = &shared.inputs;
    while let Some(first) = queue.blocking_recv() {
        let (mut ids, mut records, mut sync) = (vec![first.id], vec![first.record], first.sync);
        while let Ok(more) = queue.try_recv() {
            ids.push(more.id);
            records.push(more.record);
            sync |= more.sync;
        }
        let begun = Instant::now();
        let mut result = store.append(&records, sync);
        shared.meters.store_write.record(begun.elapsed());
        // What waits for these records is not promised to anybody yet; it can wait until there is room.
        let mut is_told = false;
        while let Err(error) = &result
            && is_full(error)
            && !queue.is_closed()
        {
            if !std::mem::replace(&mut is_told, true) {
                tracing::error!(%error, waiting = records.len(), "no room for the agent's store below --work_dir: nothing new is started or told until there is");
            }
            let full = DiskUse { used: 1, total: 1 };
            let _ = inputs.try_send(Input::DiskMeasured { disk: full });
            std::thread::sleep(FULL_PAUSE);
            result = store.append(&records, sync);
        }
        if is_told && result.is_ok() {
            tracing::info!("there is room for the agent's store again");
        }
        let result = result.map_err(|e| e.to_string());
        for id in ids {
            if inputs.blocking_send(Input::Stored { id, result: result.clone() }).is_err() {
                return;
            }
        }
    }
}
