//! `cgroups/mem`: what is asked for is kept as long as it can be, the limit is the most; who takes more is killed, and
//! its container with it.

use super::pressure::Pressure;
use super::{Controller, Groups, Options, Wanted};
use crate::Limitation;
use crate::isolation::Preparation;
use std::fmt::Write as _;
use wire::v1;
use wire::v1::ResourceStatistics;
use wire::v1::task_status::Reason;

/// Least limit (as the peer's).
const LEAST: u64 = 32 << 20;
/// Bytes of the unit of the resource `mem`.
const MEGABYTE: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Memory {
    limit_swap: bool,
    pressure: Pressure,
}

impl Memory {
    pub(super) fn new(options: &Options) -> Self {
        Self { limit_swap: options.limit_swap, pressure: Pressure::default() }
    }

    fn request(wanted: &Wanted<'_>) -> u64 {
        let millis = wanted.resources.scalar("mem").max(0).cast_unsigned();
        (millis.saturating_mul(MEGABYTE) / 1000).max(LEAST)
    }

    /// None: no limit.
    fn limit(wanted: &Wanted<'_>) -> Option<u64> {
        match wanted.limits.get("mem") {
            Some(limit) if limit.is_infinite() => None,
            Some(limit) => Some(((limit.max(0.0) * MEGABYTE as f64) as u64).max(LEAST)),
            None => Some(Self::request(wanted)),
        }
    }

    fn apply_v2(&self, groups: &Groups, wanted: &Wanted<'_>, is_new: bool) -> Result<(), String> {
        let group = groups.get("memory")?;
        group.write("memory.low", Self::request(wanted))?;
        let limit = Self::limit(wanted);
        // It is raised only: to lower it would kill what runs now. There is no number where there is no limit.
        let now = group.number("memory.max");
        let is_raised = limit.is_none_or(|limit| now.is_some_and(|now| limit > now));
        if is_new || is_raised {
            group.write("memory.max", limit.map_or("max".to_owned(), |l| l.to_string()))?;
        }
        if self.limit_swap && limit.is_some() {
            group.write("memory.swap.max", 0)?;
        }
        Ok(())
    }
}

impl Controller for Memory {
    fn kernel(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn check(&self, groups: &Groups) -> Result<(), String> {
        let group = groups.get("memory")?;
        let file = if group.is_v2 { "memory.swap.max" } else { "memory.memsw.limit_in_bytes" };
        if self.limit_swap && !group.has(file) {
            return Err(format!(
                "--cgroups_limit_swap needs {file}, which this kernel has not; start it with swapaccount=1"
            ));
        }
        Ok(())
    }

    fn prepare(
        &self,
        groups: &Groups,
        wanted: &Wanted<'_>,
        out: &mut Preparation,
    ) -> Result<(), String> {
        let request = Self::request(wanted);
        if Self::limit(wanted).is_none_or(|limit| limit > request) {
            out.oom_score_adj = Some(oom_score_adj(request, super::host_memory()));
        }
        out.memory = Some(groups.get("memory")?.path.clone());
        Ok(())
    }

    fn apply(&self, groups: &Groups, wanted: &Wanted<'_>, is_new: bool) -> Result<(), String> {
        let group = groups.get("memory")?;
        if is_new {
            self.pressure.watch(group);
        }
        if group.is_v2 {
            return self.apply_v2(groups, wanted, is_new);
        }
        group.write("memory.soft_limit_in_bytes", Self::request(wanted))?;
        let limit = Self::limit(wanted);
        let text = limit.map_or("-1".to_owned(), |limit| limit.to_string());
        let files = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        let files = &files[..if self.limit_swap { 2 } else { 1 }];
        if is_new {
            return files.iter().try_for_each(|file| group.write(file, &text));
        }
        // It is raised only: to lower it would kill what runs now. That with swap may never be the lower one.
        if limit.is_none_or(|limit| group.number(files[0]).is_some_and(|now| limit > now)) {
            return files.iter().rev().try_for_each(|file| group.write(file, &text));
        }
        Ok(())
    }

    fn usage(&self, groups: &Groups, out: &mut ResourceStatistics) -> Result<(), String> {
        let group = groups.get("memory")?;
        let stat = group.table("memory.stat")?;
        let names = if group.is_v2 {
            out.mem_total_bytes = group.number("memory.current");
            out.mem_kmem_usage_bytes = stat.get("kernel");
            out.mem_kmem_tcp_usage_bytes = stat.get("sock");
            out.mem_swap_bytes = group.number("memory.swap.current");
            ["file", "anon", "file_mapped", "unevictable"]
        } else {
            out.mem_total_bytes = group.number("memory.usage_in_bytes");
            out.mem_total_memsw_bytes = group.number("memory.memsw.usage_in_bytes");
            out.mem_kmem_usage_bytes = group.number("memory.kmem.usage_in_bytes");
            out.mem_kmem_tcp_usage_bytes = group.number("memory.kmem.tcp.usage_in_bytes");
            out.mem_swap_bytes = stat.get("total_swap");
            ["total_cache", "total_rss", "total_mapped_file", "total_unevictable"]
        };
        let [file, anonymous, mapped, unevictable] = names.map(|name| stat.get(name));
        (out.mem_file_bytes, out.mem_cache_bytes) = (file, file);
        (out.mem_anon_bytes, out.mem_rss_bytes) = (anonymous, anonymous);
        (out.mem_mapped_file_bytes, out.mem_unevictable_bytes) = (mapped, unevictable);
        if let Some([low, medium, critical]) = self.pressure.counts(group) {
            out.mem_low_pressure_counter = Some(low);
            out.mem_medium_pressure_counter = Some(medium);
            out.mem_critical_pressure_counter = Some(critical);
        }
        Ok(())
    }

    fn adopt(&self, groups: &Groups) {
        if let Ok(group) = groups.get("memory") {
            self.pressure.watch(group);
        }
    }

    fn forget(&self, groups: &Groups) {
        if let Ok(group) = groups.get("memory") {
            self.pressure.forget(group);
        }
    }

    fn limitation(&self, groups: &Groups, saw_oom: bool) -> Option<Limitation> {
        let group = groups.get("memory").ok()?;
        // In version 2 what cgroups below lack within limits of their own is told apart.
        let events = if group.is_v2 { "memory.events.local" } else { "memory.oom_control" };
        let events = group.table(events).unwrap_or_default();
        let lacks = ["oom", "oom_kill"].map(|name| events.get(name).unwrap_or(0));
        if lacks == [0, 0] && !saw_oom {
            return None;
        }
        let mut message = "Memory limit exceeded: ".to_owned();
        let stat = group.read("memory.stat").unwrap_or_default();
        let used = if group.is_v2 {
            let stat = group.table("memory.stat").unwrap_or_default();
            message.push_str("\nMEMORY STATISTICS post-OOM: \n");
            for name in ["anon", "file", "kernel"] {
                let _ = writeln!(message, "{name}: {}", bytes(stat.get(name).unwrap_or(0)));
            }
            group.number("memory.peak").or_else(|| group.number("memory.max"))
        } else {
            let limit = group.number("memory.limit_in_bytes").unwrap_or(0);
            let used = group.number("memory.max_usage_in_bytes");
            let shown = bytes(used.unwrap_or(0));
            let _ = writeln!(message, "Requested: {} Maximum Used: {shown}", bytes(limit));
            let _ = write!(message, "\nMEMORY STATISTICS: \n{stat}\n");
            used
        };
        let amount = used.unwrap_or(0) as f64 / MEGABYTE as f64;
        let resource = v1::Resource {
            name: "mem".to_owned(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value: amount }),
            ..Default::default()
        };
        let reason = Reason::ContainerLimitationMemory;
        Some(Limitation { reason, message, resources: vec![resource] })
    }
}

/// All that can be said when the cgroup is gone.
pub(super) fn without_figures() -> Limitation {
    Limitation {
        reason: Reason::ContainerLimitationMemory,
        message: "Memory limit exceeded".to_owned(),
        resources: Vec::new(),
    }
}

/// How likely the kernel shall choose such a container when the whole machine is short of memory: the less it asked
/// for, the likelier.
fn oom_score_adj(request: u64, total: u64) -> i32 {
    let share = u128::from(request) * 1000 / u128::from(total.max(1));
    1000 - i32::try_from(share.min(1000)).unwrap_or(1000)
}

/// An amount in the largest unit that it is a whole number of, as the peer writes it.
fn bytes(mut amount: u64) -> String {
    for unit in ["B", "KB", "MB", "GB"] {
        if amount == 0 || !amount.is_multiple_of(1024) {
            return format!("{amount}{unit}");
        }
        amount /= 1024;
    }
    format!("{amount}TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_peer_does() {
        assert_eq!(
            [0, 1023, 32 << 20, 33_549_312, 5 << 40].map(bytes),
            ["0B", "1023B", "32MB", "32763KB", "5TB"]
        );
    }

    #[test]
    fn who_asks_for_little_is_killed_first() {
        assert_eq!(oom_score_adj(1 << 30, 4 << 30), 750);
        assert_eq!(oom_score_adj(8 << 30, 4 << 30), 0);
        assert_eq!(oom_score_adj(0, 4 << 30), 1000);
    }
}
