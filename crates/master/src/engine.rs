//! The one task that owns the core.

use crate::meters::Meters;
use crate::observers::{self, Observed, Observers};
use crate::shared::{Leader, Shared};
use crate::traces::Traces;
use base::{Now, Time, WallTime};
use coordination::{Change, Member, Registry, Standing};
use http_api::respond;
use http_api::stream::SendError;
use master_core::contract::{Config, Effect, Input};
use master_core::registry::RegistryOp;
use master_core::{Master, State, why};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wire::internal;

/// Inputs taken at once before readers are served.
const BATCH: usize = 256;
/// Sleep when nothing is to be waited for.
const IDLE: Duration = Duration::from_secs(3600);

pub(crate) struct Engine {
    core: Master,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Input>,
    readers: mpsc::UnboundedReceiver<oneshot::Sender<Arc<State>>>,
    member: Member,
    start: Instant,
    /// Event streams that were dropped for being slow or closed.
    lost: Vec<base::Token>,
    observing: mpsc::UnboundedReceiver<Observed>,
    observers: Observers,
    questions: mpsc::UnboundedReceiver<Asked>,
    traces: Option<Traces>,
}

/// A question that only the policy can answer, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Why somebody gets no offers.
    Why(why::Question, oneshot::Sender<Vec<why::Answer>>),
    /// Refusals that hold now, by role.
    OfferFilters(oneshot::Sender<BTreeMap<String, u64>>),
}

/// A write for the registry's thread.
struct Write {
    id: base::WriteId,
    changes: Vec<Change>,
}

/// The registry's thread, while this master leads.
struct Writer {
    writes: mpsc::UnboundedSender<Write>,
    thread: JoinHandle<()>,
}

impl Engine {
    pub(crate) fn new(
        config: Config,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Input>,
        readers: mpsc::UnboundedReceiver<oneshot::Sender<Arc<State>>>,
        member: Member,
        (observing, observers): (mpsc::UnboundedReceiver<Observed>, Observers),
        questions: mpsc::UnboundedReceiver<Asked>,
    ) -> Self {
        let allocator = allocator::hierarchical(config.allocator.clone());
        let core = Master::new(config, allocator);
        let traces = shared.spans.clone().map(Traces::new);
        Self {
            core,
            traces,
            shared,
            queue,
            readers,
            member,
            start: Instant::now(),
            lost: Vec::new(),
            observing,
            observers,
            questions,
        }
    }

    fn now(&self) -> Now {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Time(nanos(self.start.elapsed())), wall: WallTime(nanos(wall)) }
    }

    /// Runs until it is stopped.
    ///
    /// # Errors
    /// When the core asks for the end of the process: why.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        let mut writer: Option<Writer> = None;
        let mut out = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut heartbeat = tokio::time::interval(observers::HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let leads = writer.is_some();
            if leads && !out.is_empty() && !self.still_leads(&mut stop).await? {
                break;
            }
            for effect in out.drain(..) {
                self.carry_out(effect, writer.as_ref())?;
            }
            // Nothing more reaches these: the core shall know at once, not when the connection breaks.
            while let Some(stream) = self.lost.pop() {
                self.step(Input::StreamClosed { stream }, &mut out);
            }
            if !out.is_empty() {
                continue;
            }
            let wake = self.core.next_wake().map_or(IDLE, |at| at.since(self.now().mono));
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                standing = self.member.next() => {
                    if let Some(registry) = self.stand(standing)? {
                        writer = Some(self.lead(registry, &mut out).await?);
                    }
                    continue;
                }
                count = self.queue.recv_many(&mut batch, BATCH) => if count == 0 { break },
                Some(reader) = self.readers.recv() => {
                    // What the next leader has changed is not here.
                    if leads && !self.still_leads(&mut stop).await? {
                        break;
                    }
                    let view = self.core.view();
                    let _ = reader.send(view.clone());
                    while let Ok(reader) = self.readers.try_recv() {
                        let _ = reader.send(view.clone());
                    }
                    continue;
                }
                Some(asked) = self.questions.recv() => {
                    match asked {
                        Asked::Why(question, answer) => {
                            let _ = answer.send(self.core.why(self.now(), &question));
                        }
                        Asked::OfferFilters(answer) => {
                            let _ = answer.send(self.core.offer_filters());
                        }
                    }
                    continue;
                }
                Some(observed) = self.observing.recv() => {
                    self.on_observed(observed);
                    continue;
                }
                _ = heartbeat.tick() => {
                    self.observers.heartbeat();
                    continue;
                }
                () = tokio::time::sleep(wake) => batch.push(Input::Wake),
            }
            if leads && !self.still_leads(&mut stop).await? {
                break;
            }
            for input in batch.drain(..) {
                self.step(input, &mut out);
            }
            let due = self.core.allocation_due().is_some_and(|at| at <= self.now().mono);
            self.shared.meters.allocations_due.store(u64::from(due), Ordering::Relaxed);
        }
        // Nobody takes inputs any more; a thread that waits to send one must not wait for ever.
        self.queue.close();
        if let Some(Writer { writes, thread }) = writer {
            drop(writes);
            let _ = thread.await;
        }
        self.member.leave().await;
        Ok(())
    }

    /// Waits while another master may lead by now, as after a time in which this process was stopped; false: it is to
    /// end.
    async fn still_leads(&mut self, stop: &mut watch::Receiver<bool>) -> Result<bool, String> {
        while self.member.is_doubtful() {
            let confirmed = self.member.confirmed();
            tokio::select! {
                biased;
                () = stopped(stop) => return Ok(false),
                standing = self.member.next() => {
                    self.stand(standing)?;
                }
                () = confirmed => {}
            }
        }
        Ok(true)
    }

    /// Takes note of who leads; the registry if it is this master.
    fn stand(&self, standing: Standing) -> Result<Option<Box<dyn Registry>>, String> {
        let leader = match standing {
            Standing::Leads(registry) => {
                // It does not lead before it has read the registry, and the former leader does not any more.
                self.shared.leader.send_replace(Leader::Nobody);
                return Ok(Some(registry));
            }
            Standing::Over(why) => return Err(why),
            Standing::Nobody => {
                tracing::info!("no master is known to lead");
                Leader::Nobody
            }
            Standing::Follows(leader) => {
                tracing::info!(leader = leader.pid(), "another master leads");
                Leader::Other(leader)
            }
        };
        self.shared.leader.send_replace(leader);
        Ok(None)
    }

    /// Begins to lead with what the registry says.
    async fn lead(
        &mut self,
        registry: Box<dyn Registry>,
        out: &mut Vec<Effect>,
    ) -> Result<Writer, String> {
        let begun = Instant::now();
        let read = tokio::task::spawn_blocking(move || {
            let content = registry.read();
            (registry, content)
        });
        let (registry, content) = read.await.map_err(|e| e.to_string())?;
        let content = content.map_err(|e| e.to_string())?;
        if let Some(to) = coordination::moved_to(&content) {
            return Err(format!(
                "the registry was moved to {to}: start masters that use that one, or remove this one to begin anew"
            ));
        }
        self.shared.meters.registry_fetch.record(begun.elapsed());
        let sizes = Sizes::of(&content);
        sizes.publish(&self.shared.meters);
        let (writes, queue) = mpsc::unbounded_channel();
        let shared = self.shared.clone();
        let thread =
            tokio::task::spawn_blocking(move || write_registry(registry, queue, sizes, &shared));
        self.core.step(self.now(), Input::Elected { registry: content }, out);
        let refused = out.iter().find_map(|effect| match effect {
            Effect::Abort { message } => Some(message.clone()),
            _ => None,
        });
        if let Some(message) = refused {
            return Err(message);
        }
        self.shared.leader.send_replace(Leader::Me);
        tracing::info!("this master leads");
        Ok(Writer { writes, thread })
    }

    fn count_observers(&mut self) {
        self.core.observe(self.observers.len() > 0 || self.shared.ui.is_watched());
        self.shared.meters.observers.store(self.observers.len() as u64, Ordering::Relaxed);
    }

    fn on_observed(&mut self, observed: Observed) {
        match observed {
            Observed::Opened { stream, sender, wanted } => {
                self.observers.open(stream, sender, wanted)
            }
            Observed::Ready { streams } => self.observers.shown(&streams),
            Observed::Closed { stream } => self.observers.close(stream),
            Observed::Viewers => {}
        }
        let streams = self.observers.take_waiting();
        if !streams.is_empty() {
            let (view, shared) = (self.core.view(), self.shared.clone());
            self.shared.bulk.work(move |unsent| {
                let streams = observers::show(&view, &streams, unsent);
                let _ = shared.observed.send(Observed::Ready { streams });
            });
        }
        self.count_observers();
    }

    fn step(&mut self, input: Input, out: &mut Vec<Effect>) {
        let now = self.now();
        let (due, runs) = (self.core.allocation_due(), self.core.allocation_runs());
        if let Some(traces) = &mut self.traces {
            traces.on_input(&input, now.wall);
        }
        self.core.step(now, input, out);
        if self.traces.is_some() {
            let done = self.now().wall;
            self.traces.iter_mut().for_each(|traces| traces.stepped(done));
        }
        if self.core.allocation_runs() > runs {
            let meters = &self.shared.meters;
            meters.allocation_run.record(self.now().mono.since(now.mono));
            // Asked for by this very input: it did not wait.
            meters.allocation_latency.record(due.map_or(Duration::ZERO, |at| now.mono.since(at)));
        }
    }

    fn carry_out(&mut self, effect: Effect, writer: Option<&Writer>) -> Result<(), String> {
        if self.traces.is_some() {
            let now = self.now().wall;
            self.traces.iter_mut().for_each(|traces| traces.on_effect(&effect, now));
        }
        match effect {
            Effect::Respond { token, response } => {
                if let Some(waiting) = self.shared.waiting.remove(token) {
                    let _ = waiting.send(respond::text(response.status, response.body));
                }
            }
            Effect::SendEvent { stream, event } => {
                let Some(sender) = self.shared.streams.get(stream) else { return Ok(()) };
                if let Err(error) = sender.send(&*event) {
                    if error == SendError::Slow {
                        tracing::warn!(
                            stream = stream.0,
                            "a framework reads its events too slowly; it is dropped"
                        );
                    }
                    self.shared.streams.remove(stream);
                    self.lost.push(stream);
                }
            }
            Effect::CloseStream { stream } => {
                self.shared.streams.remove(stream);
            }
            Effect::SendToAgent { connection, message } => {
                let message = internal::MasterToAgent { message: Some(*message) };
                if let Some(link) = self.shared.links.get(connection)
                    && !link.send(&message)
                {
                    tracing::warn!(
                        connection = connection.0,
                        "an agent reads too slowly; its link is dropped"
                    );
                    self.shared.links.remove(connection);
                }
            }
            Effect::CloseAgent { connection } => {
                self.shared.links.remove(connection);
            }
            Effect::WriteRegistry { id, ops } => {
                let changes = ops.into_iter().map(|op| match op {
                    RegistryOp::Put { section, key, value } => {
                        Change { key: (section, key), value: Some(value) }
                    }
                    RegistryOp::Delete { section, key } => {
                        Change { key: (section, key), value: None }
                    }
                });
                self.shared.meters.registry_queue.fetch_add(1, Ordering::Relaxed);
                let write = Write { id, changes: changes.collect() };
                let _ = writer.map(|writer| writer.writes.send(write));
            }
            Effect::Announce { announcement } => {
                self.shared.ui.changed();
                self.observers.announce(announcement, self.core.state());
                self.count_observers();
            }
            Effect::Log { text } => tracing::info!("{text}"),
            Effect::Abort { message } => return Err(message),
        }
        Ok(())
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Bytes of each entry of the registry.
struct Sizes {
    entries: BTreeMap<coordination::Key, u64>,
    sum: u64,
}

impl Sizes {
    fn of(content: &[(coordination::Key, Vec<u8>)]) -> Self {
        let mut sizes = Self { entries: BTreeMap::new(), sum: 0 };
        for (key, value) in content {
            sizes.set(key, Some(value));
        }
        sizes
    }

    fn set(&mut self, key: &coordination::Key, value: Option<&Vec<u8>>) {
        let size = value.map(|v| (key.0.len() + key.1.len() + v.len()) as u64);
        let old = match size {
            Some(size) => self.entries.insert(key.clone(), size),
            None => self.entries.remove(key),
        };
        self.sum = self.sum - old.unwrap_or(0) + size.unwrap_or(0);
    }

    fn publish(&self, meters: &Meters) {
        meters.registry_bytes.store(self.sum, Ordering::Relaxed);
    }
}

/// Makes changes durable, all that wait in one commit.
fn write_registry(
    mut registry: Box<dyn Registry>,
    mut queue: mpsc::UnboundedReceiver<Write>,
    mut sizes: Sizes,
    shared: &Shared,
) {
    while let Some(first) = queue.blocking_recv() {
        let mut writes = vec![first];
        while let Ok(more) = queue.try_recv() {
            writes.push(more);
        }
        let all: Vec<&[Change]> = writes.iter().map(|w| w.changes.as_slice()).collect();
        let begun = Instant::now();
        let result = registry.write(&all).map_err(|e| e.to_string());
        shared.meters.registry_store.record(begun.elapsed());
        if result.is_ok() {
            all.into_iter().flatten().for_each(|c| sizes.set(&c.key, c.value.as_ref()));
            sizes.publish(&shared.meters);
        }
        for write in writes {
            shared.meters.registry_queue.fetch_sub(1, Ordering::Relaxed);
            let input = Input::Written { id: write.id, result: result.clone() };
            if shared.inputs.blocking_send(input).is_err() {
                return;
            }
        }
    }
}
