//! The process itself, under the names that all programs use with Prometheus, and what was built.

use super::{Exposition, Kind};
use crate::version::VERSION;
use std::fs;

/// Adds them; what the kernel does not tell is left out.
pub(super) fn add(all: &mut Exposition) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    // After the name of the program, which may have spaces: fields from the third on.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
    #[expect(clippy::cast_precision_loss, reason = "it is 100")]
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let status = read("/proc/self/status");
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
    };
    let boot = read("/proc/stat");
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok());
    let limits = read("/proc/self/limits");
    let files_max = limits.lines().find_map(|line| {
        line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<f64>().ok()
    });
    #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
    let files = fs::read_dir("/proc/self/fd").ok().map(|all| all.count().saturating_sub(1) as f64);
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    let started = field(22).zip(boot).map(|(after, boot)| boot + after / ticks);
    let gauges = [
        ("process_open_fds", files, "Open files."),
        ("process_max_fds", files_max, "Files that may be open."),
        ("process_resident_memory_bytes", kilobytes("VmRSS:"), "Memory in use."),
        ("process_virtual_memory_bytes", kilobytes("VmSize:"), "Address space in use."),
        ("process_threads", field(20), "Threads."),
        ("process_start_time_seconds", started, "When it started, in seconds since 1970."),
    ];
    for (name, value, help) in gauges {
        if let Some(value) = value {
            all.add_plain(name, Kind::Gauge, help, Vec::new(), value);
        }
    }
    if let Some(cpu) = cpu {
        let help = "Time of processors that was used.";
        all.add_plain("process_cpu_seconds_total", Kind::Counter, help, Vec::new(), cpu);
    }
    let labels = vec![
        ("mesos_version", VERSION.to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let help = "1, with the version of this program and that of the interfaces it speaks.";
    all.add_plain("mesos_build_info", Kind::Gauge, help, labels, 1.0);
}
