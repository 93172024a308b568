//! Operators' event streams: SUBSCRIBED with the whole state, then every change, then heartbeats (spec/master.md 5.1).
//!
//! The state is written on another thread; what changes meanwhile is kept back until it has been sent, so that nothing
//! is told twice or not at all.

use crate::reads;
use crate::usage::Usage;
use base::Token;
use http_api::stream::EventSender;
use master_core::{Announcement, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::v1::master::{Event, event};

/// Time between heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// Changes that may wait until the state has been written.
const BACKLOG_MAX: usize = 4096;

#[derive(Debug)]
struct Observer {
    sender: EventSender,
    /// Kept back; None: the state was sent.
    backlog: Option<Vec<Arc<Event>>>,
}

/// All event streams of operators, oldest first.
#[derive(Debug)]
pub(crate) struct Observers {
    streams: BTreeMap<Token, Observer>,
    /// `--max_operator_event_stream_subscribers`.
    limit: usize,
}

/// What happens to an operator's event stream.
#[derive(Debug)]
pub(crate) enum Observed {
    /// A new one.
    Opened { stream: Token, sender: EventSender },
    /// The state was sent.
    Ready { stream: Token },
    /// Nobody reads it any more.
    Closed { stream: Token },
}

fn of(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}

/// The first event of a stream.
pub(crate) fn subscribed(state: &State) -> Event {
    let subscribed = event::Subscribed {
        get_state: Some(reads::state(state)),
        heartbeat_interval_seconds: Some(HEARTBEAT.as_secs_f64()),
    };
    Event { subscribed: Some(subscribed), ..of(event::Type::Subscribed) }
}

pub(crate) fn heartbeat() -> Event {
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
            let agent = reads::agent(state, state.agents.get(&agent)?, &Usage::of(state));
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
        Self { streams: BTreeMap::new(), limit }
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Adds a stream; the oldest gives way when there are too many.
    pub(crate) fn open(&mut self, stream: Token, sender: EventSender) {
        self.streams.insert(stream, Observer { sender, backlog: Some(Vec::new()) });
        while self.streams.len() > self.limit {
            if self.streams.pop_first().is_some() {
                tracing::warn!(
                    limit = self.limit,
                    "too many event streams of operators; the oldest is closed"
                );
            }
        }
    }

    /// The state was sent: what was kept back follows.
    pub(crate) fn ready(&mut self, stream: Token) {
        let Some(observer) = self.streams.get_mut(&stream) else { return };
        let backlog = observer.backlog.take().unwrap_or_default();
        if !backlog.iter().all(|event| observer.sender.send(&**event).is_ok()) {
            self.close(stream);
        }
    }

    pub(crate) fn close(&mut self, stream: Token) {
        self.streams.remove(&stream);
    }

    fn tell(&mut self, event: &Arc<Event>) {
        self.streams.retain(|stream, observer| {
            let kept = match &mut observer.backlog {
                Some(backlog) if backlog.len() < BACKLOG_MAX => {
                    backlog.push(event.clone());
                    true
                }
                Some(_) => false,
                None => observer.sender.send(&**event).is_ok(),
            };
            if !kept {
                tracing::warn!(stream = stream.0, "an operator reads events too slowly");
            }
            kept
        });
    }

    /// Tells all streams of a change.
    pub(crate) fn announce(&mut self, announcement: Announcement, state: &State) {
        if let Some(event) = event(announcement, state) {
            self.tell(&Arc::new(event));
        }
    }

    /// Shows all streams that this master lives.
    pub(crate) fn heartbeat(&mut self) {
        self.tell(&Arc::new(heartbeat()));
    }
}
