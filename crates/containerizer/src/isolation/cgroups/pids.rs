//! `cgroups/pids`: no container takes all process ids of the machine.

use super::{Controller, Groups, Options, Wanted};
use wire::v1::ResourceStatistics;

/// Most processes and threads of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidsLimit {
    /// So many percent of what the machine can have.
    Percent(u64),
    /// So many.
    Count(u64),
}

impl PidsLimit {
    /// Reads `15%` or `1000`.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|p| *p <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Count),
        };
        parsed
            .filter(|limit| !matches!(limit, Self::Percent(0) | Self::Count(0)))
            .ok_or_else(|| format!("expected a number or a percentage such as 15%, got '{text}'"))
    }

    fn count(self) -> u64 {
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
            text.trim().parse::<u64>().ok()
        };
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let most = read("pid_max").into_iter().chain(read("threads-max")).min();
                most.unwrap_or(32_768) * percent / 100
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Pids {
    most: u64,
}

impl Pids {
    pub(super) fn new(options: &Options) -> Self {
        Self { most: options.pids_limit.count() }
    }
}

impl Controller for Pids {
    fn kernel(&self) -> &'static [&'static str] {
        &["pids"]
    }

    fn apply(&self, groups: &Groups, _wanted: &Wanted<'_>, is_new: bool) -> Result<(), String> {
        if is_new { groups.get("pids")?.write("pids.max", self.most) } else { Ok(()) }
    }

    /// The kernel counts every thread.
    fn usage(&self, groups: &Groups, out: &mut ResourceStatistics) -> Result<(), String> {
        let group = groups.get("pids")?;
        if out.threads.is_none() {
            out.threads = group.number("pids.current").and_then(|n| u32::try_from(n).ok());
        }
        if out.processes.is_none() {
            out.processes = Some(group.read("cgroup.procs")?.lines().count() as u32);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_percentage() {
        assert_eq!(PidsLimit::parse("15%"), Ok(PidsLimit::Percent(15)));
        assert_eq!(PidsLimit::parse("1000"), Ok(PidsLimit::Count(1000)));
        for text in ["", "0", "101%", "-1", "many"] {
            assert!(PidsLimit::parse(text).is_err(), "{text}");
        }
    }
}
