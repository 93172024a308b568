//! What a container uses and may use, from what the engine tells.

use serde_json::Value;
use wire::v1::ResourceStatistics;

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;
/// Shares of a container that has one cpu.
const SHARES_PER_CPU: f64 = 1024.0;
/// Period of the quota where none is told, microseconds.
const PERIOD: f64 = 100_000.0;

/// Reads the engine's statistics (`/stats`) and description (`/json`) of a container.
pub(super) fn read(timestamp: f64, stats: &Value, inspected: &Value) -> ResourceStatistics {
    let mut out = ResourceStatistics { timestamp, ..Default::default() };
    let cpu = &stats["cpu_stats"];
    let seconds = |value: &Value| value.as_f64().map(|nanos| nanos / SECOND);
    out.cpus_user_time_secs = seconds(&cpu["cpu_usage"]["usage_in_usermode"]);
    out.cpus_system_time_secs = seconds(&cpu["cpu_usage"]["usage_in_kernelmode"]);
    let throttling = &cpu["throttling_data"];
    if throttling["periods"].as_u64().is_some_and(|periods| periods > 0) {
        out.cpus_nr_periods = count(&throttling["periods"]);
        out.cpus_nr_throttled = count(&throttling["throttled_periods"]);
        out.cpus_throttled_time_secs = seconds(&throttling["throttled_time"]);
    }
    out.threads = count(&stats["pids_stats"]["current"]);
    let memory = &stats["memory_stats"];
    out.mem_total_bytes = memory["usage"].as_u64();
    // Names of cgroups of version 1, then those of version 2.
    let detail = |names: [&str; 2]| names.iter().find_map(|name| memory["stats"][name].as_u64());
    let (file, anonymous) = (detail(["total_cache", "file"]), detail(["total_rss", "anon"]));
    (out.mem_file_bytes, out.mem_cache_bytes) = (file, file);
    (out.mem_anon_bytes, out.mem_rss_bytes) = (anonymous, anonymous);
    out.mem_mapped_file_bytes = detail(["total_mapped_file", "file_mapped"]);
    out.mem_unevictable_bytes = detail(["total_unevictable", "unevictable"]);
    network(stats, &mut out);
    let host = &inspected["HostConfig"];
    let positive = |name: &str| host[name].as_f64().filter(|value| *value > 0.0);
    out.cpus_soft_limit = positive("CpuShares").map(|shares| shares / SHARES_PER_CPU);
    let period = positive("CpuPeriod").unwrap_or(PERIOD);
    out.cpus_limit = positive("CpuQuota").map(|quota| quota / period).or(out.cpus_soft_limit);
    let bytes = |name: &str| host[name].as_u64().filter(|value| *value > 0);
    out.mem_limit_bytes = bytes("Memory");
    out.mem_soft_limit_bytes = bytes("MemoryReservation").or(out.mem_limit_bytes);
    out
}

/// All interfaces together; none are told of the host's network.
fn network(stats: &Value, out: &mut ResourceStatistics) {
    let Value::Object(interfaces) = &stats["networks"] else { return };
    let sum = |name: &str| Some(interfaces.values().filter_map(|i| i[name].as_u64()).sum());
    out.net_rx_bytes = sum("rx_bytes");
    out.net_rx_packets = sum("rx_packets");
    out.net_rx_errors = sum("rx_errors");
    out.net_rx_dropped = sum("rx_dropped");
    out.net_tx_bytes = sum("tx_bytes");
    out.net_tx_packets = sum("tx_packets");
    out.net_tx_errors = sum("tx_errors");
    out.net_tx_dropped = sum("tx_dropped");
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| count.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_of_both_versions_of_cgroups() {
        let stats = json!({
            "cpu_stats": {
                "cpu_usage": { "usage_in_usermode": 1_500_000_000_u64, "usage_in_kernelmode": 500_000_000 },
                "throttling_data": { "periods": 10, "throttled_periods": 4, "throttled_time": 250_000_000 }
            },
            "memory_stats": { "usage": 4096, "stats": { "total_rss": 1024, "total_cache": 2048 } },
            "pids_stats": { "current": 3 },
            "networks": { "eth0": { "rx_bytes": 5, "tx_bytes": 7 }, "eth1": { "rx_bytes": 1 } }
        });
        let inspected = json!({ "HostConfig": {
            "CpuShares": 512, "CpuQuota": 150_000, "Memory": 64 << 20, "MemoryReservation": 0
        } });
        let got = read(1.5, &stats, &inspected);
        assert_eq!((got.cpus_user_time_secs, got.cpus_system_time_secs), (Some(1.5), Some(0.5)));
        assert_eq!((got.cpus_nr_periods, got.cpus_throttled_time_secs), (Some(10), Some(0.25)));
        assert_eq!((got.cpus_soft_limit, got.cpus_limit), (Some(0.5), Some(1.5)));
        assert_eq!((got.mem_rss_bytes, got.mem_file_bytes), (Some(1024), Some(2048)));
        assert_eq!(
            (got.mem_limit_bytes, got.mem_soft_limit_bytes),
            (Some(64 << 20), Some(64 << 20))
        );
        assert_eq!((got.net_rx_bytes, got.net_tx_bytes), (Some(6), Some(7)));
        assert_eq!((got.threads, got.timestamp), (Some(3), 1.5));
        let stats = json!({ "memory_stats": { "usage": 9, "stats": { "anon": 4, "file": 5 } } });
        let got = read(0.0, &stats, &json!({}));
        assert_eq!((got.mem_rss_bytes, got.mem_cache_bytes), (Some(4), Some(5)));
        assert_eq!(
            (got.cpus_nr_periods, got.net_rx_bytes, got.mem_limit_bytes),
            (None, None, None)
        );
    }
}
