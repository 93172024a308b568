//! What the process measures of itself: how long cycles and registry writes take, what waits in queues.

use base::Timings;
use http_api::prometheus::{Exposition, Table};
use http_api::v0::timed;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Durations of something that happens again and again.
#[derive(Debug, Default)]
pub(crate) struct Timer(Mutex<Timings>);

impl Timer {
    pub(crate) fn record(&self, duration: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).record(duration);
    }

    fn print(&self, name: &str, out: &mut Map<String, Value>) {
        let timings = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        timed(name, &timings, out);
    }

    fn expose(&self, table: &Table, name: &str, all: &mut Exposition) {
        let timings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.add_times(table, name, timings.histogram());
    }
}

/// All of a master.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// How long a cycle of the allocator takes.
    pub(crate) allocation_run: Timer,
    /// How long it was waited for after it was due.
    pub(crate) allocation_latency: Timer,
    /// Reading the registry at the start.
    pub(crate) registry_fetch: Timer,
    /// Making changes of it durable.
    pub(crate) registry_store: Timer,
    /// Changes that are not durable yet.
    pub(crate) registry_queue: AtomicU64,
    /// Keys and values of the registry.
    pub(crate) registry_bytes: AtomicU64,
    /// Event streams of operators.
    pub(crate) observers: AtomicU64,
    /// Cycles of the allocator that are due and have not run.
    pub(crate) allocations_due: AtomicU64,
}

impl Meters {
    fn timers(&self) -> [(&'static str, &Timer); 4] {
        [
            ("allocator/mesos/allocation_run", &self.allocation_run),
            ("allocator/mesos/allocation_run_latency", &self.allocation_latency),
            ("registrar/state_fetch", &self.registry_fetch),
            ("registrar/state_store", &self.registry_store),
        ]
    }

    pub(crate) fn add_to(&self, all: &mut Exposition, table: &Table) {
        self.timers().iter().for_each(|(name, timer)| timer.expose(table, name, all));
    }

    pub(crate) fn print(&self, out: &mut Map<String, Value>) {
        self.timers().iter().for_each(|(name, timer)| timer.print(name, out));
        let due = self.allocations_due.load(Ordering::Relaxed);
        out.insert("allocator/event_queue_dispatches".to_owned(), json!(due));
        out.insert("allocator/mesos/event_queue_dispatches".to_owned(), json!(due));
        let number = |n: &AtomicU64| json!(n.load(Ordering::Relaxed));
        out.insert("registrar/queued_operations".to_owned(), number(&self.registry_queue));
        out.insert("registrar/registry_size_bytes".to_owned(), number(&self.registry_bytes));
        let observers = number(&self.observers);
        out.insert("master/operator_event_stream_subscribers".to_owned(), observers);
    }
}
