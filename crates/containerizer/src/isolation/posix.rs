//! `posix/cpu` and `posix/mem`: no separation; what a container uses is the sum over its processes.

use super::{Isolator, Processes, Running};
use wire::v1::ResourceStatistics;

/// Ticks of the kernel's clock per second, as all Linux systems report them to programs.
const TICKS: f64 = 100.0;

/// What is counted.
#[derive(Debug)]
pub(super) enum Posix {
    Cpu,
    Memory,
}

impl Isolator for Posix {
    fn name(&self) -> &'static str {
        match self {
            Self::Cpu => "posix/cpu",
            Self::Memory => "posix/mem",
        }
    }

    fn usage(
        &self,
        running: &Running,
        processes: &Processes,
        out: &mut ResourceStatistics,
    ) -> Result<(), String> {
        let pids = processes.below(running.supervisor);
        match self {
            Self::Cpu => cpu(&pids, out),
            Self::Memory => memory(&pids, out),
        }
        Ok(())
    }
}

/// One that has ended meanwhile counts nothing.
fn cpu(pids: &[u32], out: &mut ResourceStatistics) {
    let (mut user, mut system, mut processes, mut threads) = (0.0, 0.0, 0, 0);
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u32>().ok()).unwrap_or(0);
        user += f64::from(number(11)) / TICKS;
        system += f64::from(number(12)) / TICKS;
        threads += number(17);
        processes += 1;
    }
    out.processes = Some(processes);
    out.threads = Some(threads);
    out.cpus_user_time_secs = Some(user);
    out.cpus_system_time_secs = Some(system);
}

fn memory(pids: &[u32], out: &mut ResourceStatistics) {
    // SAFETY: a plain library call.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let pages = pids.iter().filter_map(|pid| {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        statm.split(' ').nth(1)?.parse::<u64>().ok()
    });
    out.mem_rss_bytes = Some(pages.sum::<u64>() * page);
}
