//! `cgroups/cpu`: shares of cpu time as lower bound, the scheduler's bandwidth control as upper bound.

use super::{Controller, Groups, Options, Wanted};
use wire::v1::ResourceStatistics;

/// Shares (version 1) of a cpu, and the least that the kernel takes.
const SHARES: (i64, i64) = (1024, 2);
/// Shares of a cpu that may be taken back.
const SHARES_REVOCABLE: i64 = 10;
/// Weight (version 2) of a cpu, and the bounds that the kernel takes.
const WEIGHT: (i64, i64, i64) = (100, 1, 10_000);
/// Period of the bandwidth control, and the least quota, in µs.
const PERIOD: i64 = 100_000;
const QUOTA_MIN: i64 = 1_000;
/// Unit of times in `cpuacct.stat`, in ticks a second.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Cpu {
    pub(super) enable_cfs: bool,
    pub(super) low_priority: bool,
    pub(super) count_threads: bool,
}

impl Cpu {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            enable_cfs: options.enable_cfs,
            low_priority: options.revocable_cpu_low_priority,
            count_threads: options.count_threads,
        }
    }

    /// Quota in µs of a period; None: none.
    fn quota(&self, wanted: &Wanted<'_>) -> Option<i64> {
        let request = wanted.resources.scalar("cpus") as f64 / 1000.0;
        let limit = wanted.limits.get("cpus").copied();
        let cpus = limit.or(self.enable_cfs.then_some(request)).filter(|cpus| cpus.is_finite())?;
        Some(((PERIOD as f64 * cpus) as i64).max(QUOTA_MIN))
    }
}

impl Controller for Cpu {
    fn kernel(&self) -> &'static [&'static str] {
        &["cpu", "cpuacct"]
    }

    fn kernel_v2(&self) -> &'static [&'static str] {
        &["cpu"]
    }

    fn apply(&self, groups: &Groups, wanted: &Wanted<'_>, _is_new: bool) -> Result<(), String> {
        let group = groups.get("cpu")?;
        let millis = wanted.resources.scalar("cpus");
        let is_low = self.low_priority && wanted.resources.revocable().scalar("cpus") > 0;
        let quota = self.quota(wanted);
        if group.is_v2 {
            let (of_one, least, most) = WEIGHT;
            let of_one = if is_low { 1 } else { of_one };
            group.write("cpu.weight", (millis * of_one / 1000).clamp(least, most))?;
            let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
            return group.write("cpu.max", format!("{quota} {PERIOD}"));
        }
        let (of_one, least) = SHARES;
        let of_one = if is_low { SHARES_REVOCABLE } else { of_one };
        group.write("cpu.shares", (millis * of_one / 1000).max(least))?;
        if quota.is_some() || group.number("cpu.cfs_quota_us").is_some() {
            group.write("cpu.cfs_period_us", PERIOD)?;
            group.write("cpu.cfs_quota_us", quota.unwrap_or(-1))?;
        }
        Ok(())
    }

    fn usage(&self, groups: &Groups, out: &mut ResourceStatistics) -> Result<(), String> {
        let group = groups.get("cpu")?;
        let stat = group.table("cpu.stat")?;
        let throttled = if group.is_v2 {
            let seconds = |name| stat.get(name).map(|micros| micros as f64 / 1e6);
            out.cpus_user_time_secs = seconds("user_usec");
            out.cpus_system_time_secs = seconds("system_usec");
            seconds("throttled_usec")
        } else {
            let times = groups.get("cpuacct")?.table("cpuacct.stat")?;
            let seconds = |name| times.get(name).map(|ticks| ticks as f64 / TICKS);
            out.cpus_user_time_secs = seconds("user");
            out.cpus_system_time_secs = seconds("system");
            stat.get("throttled_time").map(|nanos| nanos as f64 / 1e9)
        };
        let count = |name| stat.get(name).and_then(|n| u32::try_from(n).ok());
        // Periods are counted where there is a quota.
        if let Some(periods) = count("nr_periods").filter(|n| *n > 0 || self.enable_cfs) {
            out.cpus_nr_periods = Some(periods);
            out.cpus_nr_throttled = count("nr_throttled");
            out.cpus_throttled_time_secs = throttled;
        }
        if self.count_threads {
            let threads = if group.is_v2 { "cgroup.threads" } else { "tasks" };
            let lines = |file| group.read(file).map(|text| text.lines().count() as u32);
            out.processes = Some(lines("cgroup.procs")?);
            out.threads = Some(lines(threads)?);
        }
        Ok(())
    }
}
