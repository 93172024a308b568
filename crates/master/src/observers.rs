//! Operators' event streams: SUBSCRIBED with the whole state, then every change, then heartbeats (spec/master.md 5.1).
//!
//! The state is written on another thread, once for all who wait for it; what changes meanwhile is kept back until it has
//! been sent, so that nothing is told twice or not at all.

use crate::offered;
use crate::reads;
use base::Token;
use bytes::Bytes;
use http_api::bulk::Unsent;
use http_api::negotiate::Encoding;
use http_api::stream::EventSender;
use master_core::{Announcement, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use wire::v1::master::call::Subscribe;
use wire::v1::master::{Event, event};
use wire::{Tree, v1};

/// Time between heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// Changes that may wait until the state has been written.
const BACKLOG_MAX: usize = 4096;

#[derive(Debug)]
struct Observer {
    sender: EventSender,
    wanted: Wanted,
    standing: Standing,
}

/// What a stream is to have, from `subscribe` of its call.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// None: all.
    kinds: BTreeSet<event::Type>,
    /// None: of all, and of agents.
    frameworks: BTreeSet<String>,
    state: bool,
}

impl From<Option<Subscribe>> for Wanted {
    fn from(call: Option<Subscribe>) -> Self {
        let call = call.unwrap_or_default();
        Self {
            kinds: call.event_types().collect(),
            frameworks: call.framework_ids.iter().map(|id| id.value.clone()).collect(),
            state: call.include_state(),
        }
    }
}

impl Wanted {
    fn has(&self, event: &Event) -> bool {
        let kind = event.r#type();
        if kind == event::Type::Heartbeat {
            return true;
        }
        let is_of_one =
            || framework_of(event).is_some_and(|id| self.frameworks.contains(id.value.as_str()));
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.frameworks.is_empty() || is_of_one())
    }
}

/// The framework that an event is about.
fn framework_of(event: &Event) -> Option<&v1::FrameworkId> {
    let added = event.framework_added.as_ref().map(|e| &e.framework);
    let updated = event.framework_updated.as_ref().map(|e| &e.framework);
    let removed = event.framework_removed.as_ref().map(|e| &e.framework_info);
    let info = added.or(updated).map(|f| &f.framework_info).or(removed);
    let added = event.task_added.as_ref().map(|e| &e.task.framework_id);
    let updated = event.task_updated.as_ref().map(|e| &e.framework_id);
    added.or(updated).or_else(|| info?.id.as_ref())
}

/// How far a stream is.
#[derive(Debug)]
enum Standing {
    /// It waits for the state.
    Waits,
    /// The state is being written; what changed since.
    Behind(Vec<Arc<Event>>),
    /// The state was sent.
    Current,
}

/// All event streams of operators, oldest first.
#[derive(Debug)]
pub(crate) struct Observers {
    streams: BTreeMap<Token, Observer>,
    /// `--max_operator_event_stream_subscribers`.
    limit: usize,
    /// The state is being written for some.
    is_writing: bool,
}

/// What happens to an operator's event stream.
#[derive(Debug)]
pub(crate) enum Observed {
    /// A new one.
    Opened { stream: Token, sender: EventSender, wanted: Wanted },
    /// The state was sent to these.
    Ready { streams: Vec<Token> },
    /// Nobody reads it any more.
    Closed { stream: Token },
    /// Somebody looks at the web UI, or does not any more.
    Viewers,
}

fn of(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}

fn interval() -> event::Subscribed {
    let seconds = Some(HEARTBEAT.as_secs_f64());
    event::Subscribed { heartbeat_interval_seconds: seconds, ..Default::default() }
}

/// The first event of a stream, as a record.
fn subscribed(state: &State, encoding: Encoding) -> Vec<u8> {
    let subscribed = Tree::with(&interval()).tree("get_state", reads::state(state));
    let event = Tree::with(&of(event::Type::Subscribed)).tree("subscribed", subscribed);
    let mut out = Vec::new();
    encoding.write(&event, &mut out).expect("memory takes all");
    wire::recordio::encode(&out)
}

/// Sends the state to streams that waited for it; tells which are open still.
pub(crate) fn show(
    state: &State,
    streams: &[(Token, EventSender)],
    unsent: Option<&Unsent>,
) -> Vec<Token> {
    let Some(unsent) = unsent else { return Vec::new() };
    let mut records: BTreeMap<&str, Bytes> = BTreeMap::new();
    let shown = streams.iter().filter(|(_, sender)| {
        let encoding = sender.encoding();
        let record = records
            .entry(encoding.media_type())
            .or_insert_with(|| unsent.count(subscribed(state, encoding)));
        sender.send_record(record.clone()).and_then(|()| sender.send(&heartbeat())).is_ok()
    });
    shown.map(|(stream, _)| *stream).collect()
}

fn heartbeat() -> Event {
    of(event::Type::Heartbeat)
}

/// The event for an announcement; None: what it is about is gone again.
fn event(announcement: Announcement, state: &State) -> Option<Event> {
    let framework = |key| state.frameworks.get(&key).map(|f| reads::framework(state, f));
    Some(match announcement {
        Announcement::TaskAdded { task } => Event {
            task_added: Some(event::TaskAdded { task: *task }),
            ..of(event::Type::TaskAdded)
        },
        Announcement::TaskUpdated { framework_id, status, state } => Event {
            task_updated: Some(event::TaskUpdated {
                framework_id: framework_id.as_str().into(),
                status: *status,
                state: state as i32,
            }),
            ..of(event::Type::TaskUpdated)
        },
        Announcement::AgentAdded { agent } => {
            // Nobody is offered anything of it yet.
            let offered = offered::ByAgent::default();
            let agent = reads::agent(state, state.agents.get(&agent)?, &offered);
            Event { agent_added: Some(event::AgentAdded { agent }), ..of(event::Type::AgentAdded) }
        }
        Announcement::AgentRemoved { agent_id } => Event {
            agent_removed: Some(event::AgentRemoved { agent_id: agent_id.as_str().into() }),
            ..of(event::Type::AgentRemoved)
        },
        Announcement::FrameworkAdded { framework: key } => Event {
            framework_added: Some(event::FrameworkAdded { framework: framework(key)? }),
            ..of(event::Type::FrameworkAdded)
        },
        Announcement::FrameworkUpdated { framework: key } => Event {
            framework_updated: Some(event::FrameworkUpdated { framework: framework(key)? }),
            ..of(event::Type::FrameworkUpdated)
        },
        Announcement::FrameworkRemoved { info } => Event {
            framework_removed: Some(event::FrameworkRemoved { framework_info: *info }),
            ..of(event::Type::FrameworkRemoved)
        },
    })
}

impl Observers {
    pub(crate) fn new(limit: usize) -> Self {
        Self { streams: BTreeMap::new(), limit, is_writing: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Adds a stream; the oldest gives way when there are too many.
    pub(crate) fn open(&mut self, stream: Token, sender: EventSender, wanted: Wanted) {
        let mut standing = Standing::Waits;
        if !wanted.state {
            standing = Standing::Current;
            let first = Event { subscribed: Some(interval()), ..of(event::Type::Subscribed) };
            if sender.send(&first).and_then(|()| sender.send(&heartbeat())).is_err() {
                return;
            }
        }
        self.streams.insert(stream, Observer { sender, wanted, standing });
        while self.streams.len() > self.limit {
            if self.streams.pop_first().is_some() {
                tracing::warn!(
                    limit = self.limit,
                    "too many event streams of operators; the oldest is closed"
                );
            }
        }
    }

    /// Streams to which the state as it is now is to be sent; none while it is being written for others.
    pub(crate) fn take_waiting(&mut self) -> Vec<(Token, EventSender)> {
        if self.is_writing {
            return Vec::new();
        }
        let mut chosen = Vec::new();
        for (stream, observer) in &mut self.streams {
            if matches!(observer.standing, Standing::Waits) {
                observer.standing = Standing::Behind(Vec::new());
                chosen.push((*stream, observer.sender.clone()));
            }
        }
        self.is_writing = !chosen.is_empty();
        chosen
    }

    /// The state was sent to these: what was kept back follows. The others of those it was written for are closed.
    pub(crate) fn shown(&mut self, streams: &[Token]) {
        self.is_writing = false;
        self.streams.retain(|stream, observer| {
            let Standing::Behind(backlog) = &mut observer.standing else { return true };
            let backlog = std::mem::take(backlog);
            observer.standing = Standing::Current;
            streams.contains(stream)
                && backlog.iter().all(|event| observer.sender.send(&**event).is_ok())
        });
    }

    pub(crate) fn close(&mut self, stream: Token) {
        self.streams.remove(&stream);
    }

    fn tell(&mut self, event: &Arc<Event>) {
        self.streams.retain(|stream, observer| {
            if !observer.wanted.has(event) {
                return true;
            }
            let kept = match &mut observer.standing {
                Standing::Waits => true,
                Standing::Behind(backlog) if backlog.len() < BACKLOG_MAX => {
                    backlog.push(event.clone());
                    true
                }
                Standing::Behind(_) => false,
                Standing::Current => observer.sender.send(&**event).is_ok(),
            };
            if !kept {
                tracing::warn!(stream = stream.0, "an operator reads events too slowly");
            }
            kept
        });
    }

    /// Tells all streams of a change.
    pub(crate) fn announce(&mut self, announcement: Announcement, state: &State) {
        if self.streams.is_empty() {
            return;
        }
        if let Some(event) = event(announcement, state) {
            self.tell(&Arc::new(event));
        }
    }

    /// Shows all streams that this master lives.
    pub(crate) fn heartbeat(&mut self) {
        self.tell(&Arc::new(heartbeat()));
    }
}
