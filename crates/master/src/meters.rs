//! What the process measures of itself: how long cycles and registry writes take, what waits in queues.

use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Samples from which percentiles are computed: the newest.
const SAMPLES_MAX: usize = 1000;

/// Durations of something that happens again and again.
#[derive(Debug, Default)]
pub(crate) struct Timer(Mutex<Samples>);

#[derive(Debug, Default)]
struct Samples {
    count: u64,
    newest: VecDeque<f64>,
}

impl Timer {
    pub(crate) fn record(&self, duration: Duration) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.count += 1;
        if samples.newest.len() == SAMPLES_MAX {
            samples.newest.pop_front();
        }
        samples.newest.push_back(duration.as_secs_f64() * 1000.0);
    }

    /// `<name>_ms`: the newest; with two or more samples also their statistics.
    fn print(&self, name: &str, out: &mut Map<String, Value>) {
        let (count, newest): (u64, Vec<f64>) = {
            let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (samples.count, samples.newest.iter().copied().collect())
        };
        let Some(last) = newest.last() else { return };
        let name = format!("{name}_ms");
        out.insert(name.clone(), json!(last));
        if newest.len() < 2 {
            return;
        }
        let mut sorted = newest;
        sorted.sort_by(f64::total_cmp);
        // Nearest rank; `permyriad` in ten-thousandths.
        let at = |permyriad: usize| {
            let rank = (permyriad * sorted.len()).div_ceil(10_000).max(1);
            sorted[rank - 1]
        };
        out.insert(format!("{name}/count"), json!(count));
        for (suffix, permyriad) in [
            ("min", 0),
            ("max", 10_000),
            ("p50", 5000),
            ("p90", 9000),
            ("p95", 9500),
            ("p99", 9900),
            ("p999", 9990),
            ("p9999", 9999),
        ] {
            out.insert(format!("{name}/{suffix}"), json!(at(permyriad)));
        }
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
    pub(crate) fn print(&self, out: &mut Map<String, Value>) {
        self.allocation_run.print("allocator/mesos/allocation_run", out);
        self.allocation_latency.print("allocator/mesos/allocation_run_latency", out);
        self.registry_fetch.print("registrar/state_fetch", out);
        self.registry_store.print("registrar/state_store", out);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_statistics_of_its_newest_samples() {
        let timer = Timer::default();
        let print = |timer: &Timer| {
            let mut out = Map::new();
            timer.print("t", &mut out);
            out
        };
        assert!(print(&timer).is_empty());
        timer.record(Duration::from_millis(7));
        assert_eq!(
            print(&timer).into_iter().collect::<Vec<_>>(),
            [("t_ms".to_owned(), json!(7.0))]
        );
        for ms in 1..=1000 {
            timer.record(Duration::from_millis(ms));
        }
        let all = print(&timer);
        let of = |name: &str| all[name].as_f64().expect("a number");
        assert_eq!((of("t_ms"), of("t_ms/count")), (1000.0, 1001.0));
        assert_eq!((of("t_ms/min"), of("t_ms/max")), (1.0, 1000.0));
        assert_eq!((of("t_ms/p50"), of("t_ms/p99"), of("t_ms/p9999")), (500.0, 990.0, 1000.0));
    }
}
