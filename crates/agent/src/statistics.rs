//! What executors with their tasks use, from the containers' isolation (spec/agent.md 6.2, 6.3). Reads files of the
//! kernel: call it where blocking is allowed.

use crate::shared::Shared;
use agent_core::{Allotment, Executor, ExecutorKind, State};
use containerizer::isolation::Running;
use resources::{Resources, from_milli};
use serde_json::Value;
use std::ops::AddAssign;
use wire::v1::PerfStatistics;
use wire::v1::cgroup_info::blkio;
use wire::v1::{CgroupInfo, ContainerId, ContainerStatus, NetworkInfo, ResourceStatistics};

/// Bytes of the unit of the resource `mem`.
const MEGABYTE: f64 = 1_048_576.0;

/// An executor that runs.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) framework_id: &'a str,
    pub(crate) executor: &'a Executor,
    /// Supervisor of its container, or of what stands for a pod.
    pub(crate) pid: Option<u32>,
    pub(crate) statistics: ResourceStatistics,
    /// Networks of its container; empty: the host's.
    networks: &'a [NetworkInfo],
    cgroups: Option<CgroupInfo>,
}

impl Entry<'_> {
    /// What is told of its container.
    pub(crate) fn status(&self) -> ContainerStatus {
        let container_id =
            ContainerId { value: self.executor.container_id.clone(), ..Default::default() };
        ContainerStatus {
            container_id: Some(container_id),
            executor_pid: self.pid,
            network_infos: self.networks.to_vec(),
            cgroup_info: self.cgroups,
        }
    }
}

/// Executors that run and are `selected` by framework and executor, with what they use. A pod uses what the containers of its tasks do; where it has cgroups, these
/// tell it.
pub(crate) fn of<'a>(
    state: &'a State,
    shared: &Shared,
    selected: impl Fn(&str, &Executor) -> bool,
) -> Vec<Entry<'a>> {
    let executors = state.frameworks.iter().flat_map(|(framework_id, framework)| {
        framework.executors.values().map(move |executor| (framework_id.as_str(), executor))
    });
    let executors = executors.filter(|(framework_id, executor)| selected(framework_id, executor));
    let running: Vec<_> =
        executors.map(|(id, executor)| (id, executor, running(executor, shared))).collect();
    let containers: Vec<Running> = running.iter().flat_map(|(_, _, r)| r.clone()).collect();
    let mut used = shared.containerizer.usage(&containers).into_iter();
    let mut entries = Vec::new();
    for (framework_id, executor, containers) in running {
        let sum = used.by_ref().take(containers.len()).reduce(sum);
        let Some(mut statistics) = sum else { continue };
        set_limits(&mut statistics, executor, shared);
        let pid = match executor.kind {
            ExecutorKind::Default => shared.containerizer.supervisor(&executor.container_id),
            ExecutorKind::Command | ExecutorKind::Custom => executor.pid,
        };
        // A pod's are those of its tasks.
        let tasks = executor.tasks.values().filter_map(|task| task.container_id.as_ref());
        let mut all = [&executor.container_id].into_iter().chain(tasks);
        let networks = all.find_map(|id| state.networks.get(id)).map_or(&[][..], |all| all);
        let cgroups = state.cgroups_of(&executor.container_id);
        entries.push(Entry { framework_id, executor, pid, statistics, networks, cgroups });
    }
    entries
}

/// All executors that run.
pub(crate) fn all<'a>(state: &'a State, shared: &Shared) -> Vec<Entry<'a>> {
    of(state, shared, |_, _| true)
}

/// The containers of an executor that have started, of which the sum is what it uses.
fn running(executor: &Executor, shared: &Shared) -> Vec<Running> {
    let running = |container_id: &str, supervisor| Running {
        container_id: container_id.to_owned(),
        supervisor,
    };
    if executor.kind != ExecutorKind::Default {
        let pid = executor.pid.into_iter();
        return pid.map(|pid| running(&executor.container_id, pid)).collect();
    }
    let (cpus, mem) = (shared.config.limitable.cpus, shared.config.limitable.mem);
    let pod = Some(&executor.container_id).filter(|_| cpus && mem);
    if let Some(pid) = pod.and_then(|pod| shared.containerizer.supervisor(pod)) {
        return vec![running(&executor.container_id, pid)];
    }
    let tasks = executor.tasks.values().filter(|task| !task.is_terminal());
    tasks.filter_map(|t| Some(running(t.container_id.as_deref()?, t.pid?))).collect()
}

/// What may be used: requests and limits.
fn set_limits(out: &mut ResourceStatistics, executor: &Executor, shared: &Shared) {
    let limitable = shared.config.limitable;
    let Allotment { resources, limits } = Allotment::of_executor(executor, limitable);
    let resources = Resources::from_wire(&resources).unwrap_or_default();
    let (cpus, mem) = (from_milli(resources.scalar("cpus")), from_milli(resources.scalar("mem")));
    let host = http_api::v0::system_metrics();
    let limit = |name: &str, of_host: &str| {
        let limit = *limits.get(name)?;
        let all = || host.get(of_host).and_then(serde_json::Value::as_f64).unwrap_or(limit);
        Some(if limit.is_infinite() {
            all() / if name == "mem" { MEGABYTE } else { 1.0 }
        } else {
            limit
        })
    };
    let bytes = |megabytes: f64| (megabytes * MEGABYTE) as u64;
    out.cpus_soft_limit = Some(cpus);
    out.cpus_limit =
        limit("cpus", "system/cpus_total").or(limitable.cpus_by_request.then_some(cpus));
    out.mem_soft_limit_bytes = Some(bytes(mem));
    out.mem_limit_bytes = Some(bytes(limit("mem", "system/mem_total_bytes").unwrap_or(mem)));
}

/// Both together. What has no sum is the first one's.
fn sum(mut sum: ResourceStatistics, more: ResourceStatistics) -> ResourceStatistics {
    fn add<T: AddAssign + Copy>(sum: &mut Option<T>, more: Option<T>) {
        match (sum.as_mut(), more) {
            (Some(sum), Some(more)) => *sum += more,
            (None, more) => *sum = more,
            (Some(_), None) => {}
        }
    }
    add(&mut sum.processes, more.processes);
    add(&mut sum.threads, more.threads);
    add(&mut sum.cpus_user_time_secs, more.cpus_user_time_secs);
    add(&mut sum.cpus_system_time_secs, more.cpus_system_time_secs);
    add(&mut sum.cpus_nr_periods, more.cpus_nr_periods);
    add(&mut sum.cpus_nr_throttled, more.cpus_nr_throttled);
    add(&mut sum.cpus_throttled_time_secs, more.cpus_throttled_time_secs);
    add(&mut sum.mem_total_bytes, more.mem_total_bytes);
    add(&mut sum.mem_total_memsw_bytes, more.mem_total_memsw_bytes);
    add(&mut sum.mem_kmem_usage_bytes, more.mem_kmem_usage_bytes);
    add(&mut sum.mem_kmem_tcp_usage_bytes, more.mem_kmem_tcp_usage_bytes);
    add(&mut sum.mem_file_bytes, more.mem_file_bytes);
    add(&mut sum.mem_anon_bytes, more.mem_anon_bytes);
    add(&mut sum.mem_cache_bytes, more.mem_cache_bytes);
    add(&mut sum.mem_rss_bytes, more.mem_rss_bytes);
    add(&mut sum.mem_mapped_file_bytes, more.mem_mapped_file_bytes);
    add(&mut sum.mem_swap_bytes, more.mem_swap_bytes);
    add(&mut sum.mem_unevictable_bytes, more.mem_unevictable_bytes);
    add(&mut sum.net_rx_packets, more.net_rx_packets);
    add(&mut sum.net_rx_bytes, more.net_rx_bytes);
    add(&mut sum.net_rx_errors, more.net_rx_errors);
    add(&mut sum.net_rx_dropped, more.net_rx_dropped);
    add(&mut sum.net_tx_packets, more.net_tx_packets);
    add(&mut sum.net_tx_bytes, more.net_tx_bytes);
    add(&mut sum.net_tx_errors, more.net_tx_errors);
    add(&mut sum.net_tx_dropped, more.net_tx_dropped);
    add(&mut sum.mem_low_pressure_counter, more.mem_low_pressure_counter);
    add(&mut sum.mem_medium_pressure_counter, more.mem_medium_pressure_counter);
    add(&mut sum.mem_critical_pressure_counter, more.mem_critical_pressure_counter);
    add(&mut sum.disk_limit_bytes, more.disk_limit_bytes);
    add(&mut sum.disk_used_bytes, more.disk_used_bytes);
    sum.disk_statistics.extend(more.disk_statistics);
    match (&mut sum.blkio_statistics, more.blkio_statistics) {
        (Some(sum), Some(more)) => add_io(sum, &more),
        (sum, more) => *sum = sum.take().or(more),
    }
    match (&mut sum.perf, more.perf) {
        (Some(sum), Some(more)) => add_events(sum, &more),
        (sum, more) => *sum = sum.take().or(more),
    }
    sum
}

/// By device and operation.
fn add_io(sum: &mut blkio::Statistics, more: &blkio::Statistics) {
    fn add(sum: &mut Vec<blkio::Value>, more: &[blkio::Value]) {
        for value in more {
            match sum.iter_mut().find(|known| known.op == value.op) {
                Some(known) => known.value = Some(known.value() + value.value()),
                None => sum.push(*value),
            }
        }
    }
    for device in &more.throttling {
        match sum.throttling.iter_mut().find(|known| known.device == device.device) {
            Some(known) => {
                add(&mut known.io_serviced, &device.io_serviced);
                add(&mut known.io_service_bytes, &device.io_service_bytes);
            }
            None => sum.throttling.push(device.clone()),
        }
    }
}

/// All containers are sampled at the same time.
fn add_events(sum: &mut PerfStatistics, more: &PerfStatistics) {
    let (Value::Object(mut all), Value::Object(more)) =
        (wire::json::to_value(sum), wire::json::to_value(more))
    else {
        return;
    };
    let is_event = |name: &str| name != "timestamp" && name != "duration";
    for (name, value) in more.into_iter().filter(|(name, _)| is_event(name)) {
        let known = all.get(&name).cloned().unwrap_or(Value::Null);
        let sum = match (known.as_u64(), value.as_u64()) {
            (Some(known), Some(more)) => (known + more).into(),
            _ => (known.as_f64().unwrap_or(0.0) + value.as_f64().unwrap_or(0.0)).into(),
        };
        all.insert(name, sum);
    }
    if let Ok(all) = wire::json::from_value(&Value::Object(all)) {
        *sum = all;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn statistics(json: &Value) -> ResourceStatistics {
        wire::json::from_value(json).expect("statistics")
    }

    #[test]
    fn what_containers_of_a_pod_use_is_added_up() {
        let io = |device: Option<u64>, read: u64| {
            let values = json!([{"op": "READ", "value": read}, {"op": "TOTAL", "value": read}]);
            let mut io = json!({"io_serviced": values, "io_service_bytes": values});
            if let Some(minor) = device {
                io["device"] = json!({"major_number": 8, "minor_number": minor});
            }
            io
        };
        let one = |io: Value, perf: Value| {
            json!({"timestamp": 1.0, "mem_low_pressure_counter": 3, "disk_used_bytes": 10,
                "threads": 2, "blkio_statistics": {"throttling": io}, "perf": perf})
        };
        let first = one(
            json!([io(None, 5), io(Some(0), 5)]),
            json!({"timestamp": 1.0, "duration": 2.0, "page_faults": 4, "task_clock": 1.5}),
        );
        let second = one(
            json!([io(None, 7), io(Some(1), 7)]),
            json!({"timestamp": 1.0, "duration": 2.0, "page_faults": 1, "task_clock": 0.25}),
        );
        let sum = wire::json::to_value(&sum(statistics(&first), statistics(&second)));
        let want = one(
            json!([io(None, 12), io(Some(0), 5), io(Some(1), 7)]),
            json!({"timestamp": 1.0, "duration": 2.0, "page_faults": 5, "task_clock": 1.75}),
        );
        let mut want = wire::json::to_value(&statistics(&want));
        want["mem_low_pressure_counter"] = json!(6);
        want["disk_used_bytes"] = json!(20);
        want["threads"] = json!(4);
        assert_eq!(sum, want);
    }
}
