//! `/metrics`: everything that is measured, for Prometheus: the agent's metrics, and what each container uses.

use crate::shared::Shared;
use crate::statistics::Entry;
use crate::{metrics, statistics};
use agent_core::State;
use http_api::prometheus::{Exposition, Kind, Labels};
use serde_json::Value;
use wire::v1::ResourceStatistics;
use wire::v1::cgroup_info::blkio;

/// What of a container's statistics only grows.
const COUNTERS: &[&str] = &[
    "cpus_user_time_secs",
    "cpus_system_time_secs",
    "cpus_nr_periods",
    "cpus_nr_throttled",
    "cpus_throttled_time_secs",
    "mem_low_pressure_counter",
    "mem_medium_pressure_counter",
    "mem_critical_pressure_counter",
    "net_rx_packets",
    "net_rx_bytes",
    "net_rx_errors",
    "net_rx_dropped",
    "net_tx_packets",
    "net_tx_bytes",
    "net_tx_errors",
    "net_tx_dropped",
];

/// All of it at this moment. Reads files of the kernel: call it where blocking is allowed.
pub(crate) fn all(state: &State, shared: &Shared) -> Exposition {
    let snapshot = metrics::snapshot(state, shared);
    let empty = serde_json::Map::new();
    let mut all = Exposition::of(snapshot.as_object().unwrap_or(&empty), &metrics::TABLE);
    for (name, times) in shared.containerizer.pull_times() {
        all.add_times(&metrics::TABLE, name, times.histogram());
    }
    shared.meters.add_to(&mut all, &metrics::TABLE);
    shared.calls.add_to(&mut all);
    statistics::all(state, shared).iter().for_each(|entry| add(&mut all, entry));
    all
}

fn add(all: &mut Exposition, entry: &Entry<'_>) {
    let labels = vec![
        ("container_id", entry.executor.container_id.clone()),
        ("executor_id", entry.executor.id().to_owned()),
        ("framework_id", entry.framework_id.to_owned()),
    ];
    let with = |more: &[(&'static str, &str)]| -> Labels {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        labels.iter().cloned().chain(more).collect()
    };
    let Value::Object(fields) = wire::json::to_value(&entry.statistics) else { return };
    for (name, value) in &fields {
        let Some(value) = value.as_f64().filter(|_| name != "timestamp") else { continue };
        let kind = if COUNTERS.contains(&name.as_str()) { Kind::Counter } else { Kind::Gauge };
        let help = format!("{name} of a container's statistics.");
        // That it is one is told otherwise.
        let name = format!("container/{}", name.trim_end_matches("_counter"));
        all.add(&name, kind, &help, labels.clone(), value);
    }
    let ResourceStatistics { disk_statistics, blkio_statistics, perf, .. } = &entry.statistics;
    for volume in disk_statistics {
        let id = volume.persistence.as_ref().map_or("", |p| p.id.as_str());
        let labels = with(&[("persistence_id", id)]);
        let sizes = [("limit", volume.limit_bytes), ("used", volume.used_bytes)];
        for (name, bytes) in sizes {
            let Some(bytes) = bytes else { continue };
            let help = "What a persistent volume takes of its disk, and may take.";
            let name = format!("container/volume_{name}_bytes");
            all.add(&name, Kind::Gauge, help, labels.clone(), bytes as f64);
        }
    }
    let sums = blkio_statistics.iter().flat_map(|io| &io.throttling);
    for sum in sums.filter(|throttling| throttling.device.is_none()) {
        let lists = [("io_bytes", &sum.io_service_bytes), ("io_operations", &sum.io_serviced)];
        for (name, values) in lists {
            let of_one = |value: &&blkio::Value| value.op() != blkio::Operation::Total;
            for value in values.iter().filter(of_one) {
                let operation = value.op().as_str_name().to_lowercase();
                let labels = with(&[("operation", &operation)]);
                let help = "What a container read from and wrote to all disks.";
                let name = format!("container/{name}");
                all.add(&name, Kind::Counter, help, labels, value.value() as f64);
            }
        }
    }
    let Some(Value::Object(events)) = perf.as_ref().map(wire::json::to_value) else { return };
    for (name, value) in &events {
        let Some(value) = value.as_f64().filter(|_| name != "timestamp") else { continue };
        let help = "Events of the processor or the kernel in the last sample.";
        let labels = with(&[("event", name)]);
        all.add("container/perf_events", Kind::Gauge, help, labels, value);
    }
}
