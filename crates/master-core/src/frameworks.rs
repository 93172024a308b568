//! Frameworks that come and go: making, heartbeats, disconnection, failover timeout.

use crate::announce::Announcement;
use crate::contract::Effect;
use crate::master::{Cx, Master, Timer};
use crate::state::{Framework, roles_of};
use allocator::{FrameworkId, FrameworkOptions};
use base::Token;
use resources::{Quantities, Resources, to_milli};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::v1;
use wire::v1::scheduler::{Event, event};

/// Time between heartbeats (spec/master.md 1.1).
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// An event without content.
pub(crate) fn event(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}

/// An ERROR event.
pub(crate) fn error(message: impl Into<String>) -> Event {
    Event { error: Some(event::Error { message: message.into() }), ..event(event::Type::Error) }
}

/// `FrameworkInfo.failover_timeout` as a time; what does not fit was refused.
pub(crate) fn failover_timeout(info: &v1::FrameworkInfo) -> Duration {
    Duration::try_from_secs_f64(info.failover_timeout().max(0.0)).unwrap_or(Duration::MAX)
}

impl Master {
    /// A framework with this id: a new one, or one known only from agents (`recovered`).
    pub(crate) fn make_framework(
        &mut self,
        cx: &mut Cx<'_>,
        id: String,
        info: v1::FrameworkInfo,
        recovered: bool,
    ) -> FrameworkId {
        let key = FrameworkId(self.next_key);
        self.next_key += 1;
        let options = options(&info, &BTreeSet::new(), None);
        let framework = Framework {
            key,
            id: id.clone(),
            info,
            stream: None,
            stream_id: String::new(),
            recovered,
            registered: cx.now.wall,
            reregistered: cx.now.wall,
            disconnected: None,
            unregistered: None,
            tasks: BTreeMap::new(),
            unreachable_tasks: VecDeque::new(),
            completed_tasks: VecDeque::new(),
            executors: BTreeMap::new(),
            used: Resources::new(),
            suppressed: BTreeSet::new(),
            constraints: None,
            offers: BTreeMap::new(),
            inverse_offers: BTreeMap::new(),
            counters: BTreeMap::new(),
        };
        self.state.frameworks.insert(key, Arc::new(framework));
        self.framework_keys.insert(id, key);
        self.allocator.add_framework(key, options, false);
        self.announce(cx, || Announcement::FrameworkAdded { framework: key });
        key
    }

    pub(crate) fn heartbeat(&mut self, cx: &mut Cx<'_>, key: FrameworkId) {
        if self.framework(key).is_some_and(Framework::is_connected) {
            self.send_event(cx, key, event(event::Type::Heartbeat));
            self.timers.set(Timer::Heartbeat(key), cx.now.mono + HEARTBEAT);
        }
    }

    pub(crate) fn on_stream_closed(&mut self, cx: &mut Cx<'_>, stream: Token) {
        let Some(key) = self.streams.remove(&stream) else { return };
        self.disconnect(cx, key);
        let Some(framework) = self.framework(key) else { return };
        let timeout = failover_timeout(&framework.info);
        if timeout.is_zero() {
            self.remove_framework(cx, key);
        } else {
            self.timers.set(Timer::Failover(key), cx.now.mono + timeout);
        }
    }

    /// The framework can't be told anything any more.
    pub(crate) fn disconnect(&mut self, cx: &mut Cx<'_>, key: FrameworkId) {
        self.timers.cancel(&Timer::Heartbeat(key));
        self.discard_offers_of(cx, key);
        self.warnings.forget_framework(key);
        self.allocator.deactivate_framework(key);
        if let Some(framework) = self.framework_mut(key)
            && let Some(stream) = framework.stream.take()
        {
            framework.inverse_offers.clear();
            framework.disconnected = Some(cx.now.wall);
            self.streams.remove(&stream);
        }
    }

    pub(crate) fn on_failover_timeout(&mut self, cx: &mut Cx<'_>, key: FrameworkId) {
        if self.framework(key).is_some_and(|f| !f.is_connected()) {
            self.remove_framework(cx, key);
        }
    }

    /// Closes a stream with an ERROR event.
    pub(crate) fn refuse_stream(cx: &mut Cx<'_>, stream: Token, message: impl Into<String>) {
        cx.out.push(Effect::SendEvent { stream, event: Box::new(error(message)) });
        cx.out.push(Effect::CloseStream { stream });
    }
}

/// What the allocator must know of a framework.
#[must_use]
pub fn options(
    info: &v1::FrameworkInfo,
    suppressed: &BTreeSet<String>,
    constraints: Option<&v1::scheduler::OfferConstraints>,
) -> FrameworkOptions {
    let alternatives = |filters: &v1::OfferFilters| -> Option<Vec<Quantities>> {
        let minimum = filters.min_allocatable_resources.as_ref()?;
        Some(
            minimum
                .quantities
                .iter()
                .map(|q| {
                    let mut quantities = Quantities::default();
                    for (name, scalar) in &q.quantities {
                        quantities.add(name, to_milli(scalar.value));
                    }
                    quantities
                })
                .collect(),
        )
    };
    FrameworkOptions {
        roles: roles_of(info),
        suppressed: suppressed.clone(),
        capabilities: info
            .capabilities
            .iter()
            .map(v1::framework_info::Capability::r#type)
            .collect(),
        min_allocatable: info
            .offer_filters
            .iter()
            .filter_map(|(role, filters)| Some((role.clone(), alternatives(filters)?)))
            .collect(),
        constraints: constraints
            .and_then(|c| allocator::validate_constraints(c).ok())
            .unwrap_or_default(),
    }
}
