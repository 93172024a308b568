//! Amounts of resources as the engine wants them (spec/agent.md 6.7).

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use wire::v1;

/// Shares of a container that has one cpu.
const SHARES_PER_CPU: f64 = 1024.0;
/// Fewest shares that the kernel knows.
const SHARES_MIN: u64 = 2;
/// Period of the quota that engines have by default, microseconds.
const PERIOD: f64 = 100_000.0;
/// Shortest quota, microseconds.
const QUOTA_MIN: u64 = 1000;
/// Bytes of a megabyte.
const MEGABYTE: f64 = 1_048_576.0;
/// Least memory of a container.
const MEMORY_MIN: u64 = 32 << 20;

/// What the host and its flags say about amounts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    /// `--cgroups_enable_cfs`: nobody gets more cpu time than requested, unless limits say otherwise.
    pub(super) quota: bool,
    /// Memory of the machine, bytes.
    pub(super) memory: u64,
}

/// Sum of a scalar resource; None if there is none of it.
pub(super) fn scalar(resources: &[v1::Resource], name: &str) -> Option<f64> {
    let mut all = resources.iter().filter(|r| r.name == name).filter_map(|r| r.scalar);
    let first = all.next()?.value;
    Some(all.fold(first, |sum, s| sum + s.value))
}

/// Whole number of what is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn whole(value: f64) -> u64 {
    value as u64
}

fn memory(megabytes: f64) -> u64 {
    whole(megabytes * MEGABYTE).max(MEMORY_MIN)
}

/// Fields of `HostConfig` for what a container asked for and what it may take beyond that (infinite: no limit).
pub(super) fn fields(
    resources: &[v1::Resource],
    limits: &BTreeMap<String, f64>,
    host: Host,
) -> Map<String, Value> {
    let mut out = Map::new();
    let mut set = |name: &str, value: Value| out.insert(name.to_owned(), value);
    let (cpus, megabytes) = (scalar(resources, "cpus"), scalar(resources, "mem"));
    if let Some(cpus) = cpus {
        set("CpuShares", whole(cpus * SHARES_PER_CPU).max(SHARES_MIN).into());
    }
    let quota = match limits.get("cpus") {
        Some(limit) => Some(*limit).filter(|l| l.is_finite()),
        None => cpus.filter(|_| host.quota),
    };
    if let Some(quota) = quota {
        set("CpuQuota", whole(quota * PERIOD).max(QUOTA_MIN).into());
    }
    match (limits.get("mem"), megabytes) {
        (Some(limit), request) => {
            if limit.is_finite() {
                set("Memory", memory(*limit).into());
            }
            if let Some(request) = request {
                let bytes = memory(request);
                set("MemoryReservation", bytes.into());
                if request < *limit && host.memory > 0 {
                    let used = whole(request * MEGABYTE).min(host.memory);
                    let share = u128::from(used) * 1000 / u128::from(host.memory);
                    set("OomScoreAdj", (1000 - u64::try_from(share).unwrap_or(1000)).into());
                }
            }
        }
        (None, Some(request)) => {
            set("Memory", memory(request).into());
        }
        (None, None) => {}
    }
    out
}

/// The same for a container that runs: what is not limited any more is said to be so. Swap may be as much as memory, as
/// engines have it for new containers, so that neither is in the way of the other.
pub(super) fn changes(
    resources: &[v1::Resource],
    limits: &BTreeMap<String, f64>,
    host: Host,
) -> Map<String, Value> {
    let mut out = fields(resources, limits, host);
    // That is decided once.
    out.remove("OomScoreAdj");
    out.entry("CpuQuota").or_insert_with(|| (-1).into());
    let memory = out.get("Memory").and_then(Value::as_u64);
    out.insert("Memory".to_owned(), memory.map_or_else(|| (-1).into(), Value::from));
    let swap = memory.map(|memory| memory.saturating_mul(2));
    out.insert("MemorySwap".to_owned(), swap.map_or_else(|| (-1).into(), Value::from));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(name: &str, value: f64) -> v1::Resource {
        let scalar = Some(v1::value::Scalar { value });
        v1::Resource { name: name.to_owned(), scalar, ..Default::default() }
    }

    #[track_caller]
    fn check(resources: &[(&str, f64)], limits: &[(&str, f64)], quota: bool, want: Value) {
        let resources: Vec<v1::Resource> =
            resources.iter().map(|(name, value)| resource(name, *value)).collect();
        let limits = limits.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let got = fields(&resources, &limits, Host { quota, memory: 1 << 30 });
        assert_eq!(Value::Object(got), want);
    }

    #[test]
    fn what_changes_is_said_whole() {
        let host = Host { quota: false, memory: 1 << 30 };
        let got = changes(&[resource("cpus", 1.0), resource("mem", 64.0)], &BTreeMap::new(), host);
        let want = json!({
            "CpuShares": 1024, "CpuQuota": -1, "Memory": 64 << 20, "MemorySwap": 128 << 20
        });
        assert_eq!(Value::Object(got), want);
        let infinite = BTreeMap::from([("mem".to_owned(), f64::INFINITY)]);
        let got = changes(&[resource("mem", 64.0)], &infinite, host);
        let want = json!({
            "CpuQuota": -1, "Memory": -1, "MemorySwap": -1, "MemoryReservation": 64 << 20
        });
        assert_eq!(Value::Object(got), want);
    }

    #[test]
    fn requests_and_limits() {
        check(&[], &[], true, json!({}));
        check(
            &[("cpus", 0.5), ("cpus", 0.25), ("mem", 64.0)],
            &[],
            false,
            json!({ "CpuShares": 768, "Memory": 64 << 20 }),
        );
        check(
            &[("cpus", 0.001), ("mem", 1.0)],
            &[],
            true,
            json!({ "CpuShares": 2, "CpuQuota": 1000, "Memory": 32 << 20 }),
        );
        check(
            &[("cpus", 1.0), ("mem", 256.0)],
            &[("cpus", 2.0), ("mem", 512.0)],
            false,
            json!({
                "CpuShares": 1024, "CpuQuota": 200_000,
                "Memory": 512 << 20, "MemoryReservation": 256 << 20, "OomScoreAdj": 750
            }),
        );
        check(
            &[("cpus", 1.0), ("mem", 256.0)],
            &[("cpus", f64::INFINITY), ("mem", f64::INFINITY)],
            true,
            json!({ "CpuShares": 1024, "MemoryReservation": 256 << 20, "OomScoreAdj": 750 }),
        );
    }
}
