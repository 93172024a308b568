//! `cgroups/perf_event`: events of the processor and the kernel in a container, counted again and again for a while (spec/agent.md
//! 6.3, `perf_event_open(2)`). No other program is run for it.

use super::{Controller, Group, Groups, Options, Wanted};
use crate::isolation::rounds;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::v1::{PerfStatistics, ResourceStatistics};

/// Settings: the flags of perf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerfOptions {
    /// `--perf_events`: names as `perf list` has them, such as `task-clock`.
    pub events: Vec<String>,
    /// `--perf_interval`: time from one sample to the next.
    pub interval: Duration,
    /// `--perf_duration`: for how long each sample counts.
    pub duration: Duration,
}

impl Default for PerfOptions {
    /// The defaults of the flags.
    fn default() -> Self {
        let (interval, duration) = (Duration::from_secs(60), Duration::from_secs(10));
        Self { events: Vec::new(), interval, duration }
    }
}

/// Kinds of events of the kernel (`PERF_TYPE_…`).
const HARDWARE: u32 = 0;
const SOFTWARE: u32 = 1;
const CACHE: u32 = 3;
/// Their names; the place is the number that the kernel has for them.
const HARDWARE_EVENTS: [&str; 10] = [
    "cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branches",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
];
const SOFTWARE_EVENTS: [&str; 9] = [
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
];
const CACHES: [&str; 7] = ["L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node"];
const ACCESSES: [&str; 3] = ["load", "store", "prefetch"];
/// Events that are times; the kernel has nanoseconds, `perf stat` tells milliseconds.
const CLOCKS: [&str; 2] = ["cpu-clock", "task-clock"];

/// An event, as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    name: String,
    kind: u32,
    config: u64,
}

impl Event {
    fn parse(name: &str) -> Option<Self> {
        let place = |list: &[&str]| list.iter().position(|known| *known == name);
        let (kind, config) = if let Some(at) = place(&HARDWARE_EVENTS) {
            (HARDWARE, at)
        } else if let Some(at) = place(&SOFTWARE_EVENTS) {
            (SOFTWARE, at)
        } else {
            (CACHE, cache(name)?)
        };
        Some(Self { name: name.to_owned(), kind, config: config as u64 })
    }

    /// Its name in the statistics.
    fn field(&self) -> String {
        self.name.to_lowercase().replace('-', "_")
    }
}

/// The number of an event of a cache: `LLC-loads`, `LLC-load-misses` and so on.
fn cache(name: &str) -> Option<usize> {
    let (cache, rest) = CACHES
        .iter()
        .enumerate()
        .find_map(|(at, cache)| Some((at, name.strip_prefix(cache)?.strip_prefix('-')?)))?;
    ACCESSES.iter().enumerate().find_map(|(access, word)| {
        let plural = if *word == "prefetch" { "es" } else { "s" };
        let is_miss = rest == format!("{word}-misses");
        (is_miss || rest == format!("{word}{plural}"))
            .then(|| cache | access << 8 | usize::from(is_miss) << 16)
    })
}

/// What is asked of the kernel (`perf_event_attr`, its first version).
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    breakpoint: u64,
}

/// Reads come with the time for which the event was wanted, and that for which it was counted.
const TIMES: u64 = 1 | 2;
/// `PERF_FLAG_PID_CGROUP` and `PERF_FLAG_FD_CLOEXEC`.
const OF_CGROUP: libc::c_ulong = 4 | 8;

/// Begins to count an event of a cgroup on a cpu.
fn open(event: &Event, cgroup: &File, cpu: u32) -> io::Result<File> {
    let attributes = Attributes {
        kind: event.kind,
        size: size_of::<Attributes>() as u32,
        config: event.config,
        read_format: TIMES,
        ..Attributes::default()
    };
    // SAFETY: the structure has the size that it says and lives through the call; the descriptor is nobody else's.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            cgroup.as_raw_fd(),
            cpu,
            -1,
            OF_CGROUP,
        );
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(File::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What was counted until now; where the kernel counted a part of the time only, as much more.
fn read(mut counter: &File) -> f64 {
    let mut bytes = [0; 24];
    if counter.read_exact(&mut bytes).is_err() {
        return 0.0;
    }
    let [value, enabled, running] =
        [0, 8, 16].map(|at| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default()));
    if running == 0 { 0.0 } else { value as f64 * (enabled as f64 / running as f64) }
}

/// Numbers of the cpus that run, of a list such as `0-3,8`.
fn cpus(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// The isolator.
#[derive(Debug)]
pub(super) struct Perf {
    shared: Arc<Shared>,
    thread: OnceLock<()>,
}

#[derive(Debug)]
struct Shared {
    events: Vec<Event>,
    interval: Duration,
    duration: Duration,
    /// Cgroups, and the last sample of each.
    samples: Mutex<BTreeMap<PathBuf, Option<PerfStatistics>>>,
}

impl Perf {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let PerfOptions { events, interval, duration } = &options.perf;
        if events.is_empty() {
            return Err("isolator 'cgroups/perf_event' needs --perf_events".to_owned());
        }
        if duration > interval || interval.is_zero() {
            return Err("--perf_duration must not be longer than --perf_interval".to_owned());
        }
        let parse = |name: &String| {
            Event::parse(name).ok_or_else(|| {
                let known = HARDWARE_EVENTS.into_iter().chain(SOFTWARE_EVENTS);
                let near = base::nearest(name, known);
                let near = near.map(|near| format!("; did you mean '{near}'?"));
                format!("--perf_events: there is no event '{name}'{}", near.unwrap_or_default())
            })
        };
        let events = events.iter().map(parse).collect::<Result<_, _>>()?;
        let (interval, duration) = (*interval, *duration);
        let shared = Shared { events, interval, duration, samples: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), thread: OnceLock::new() })
    }

    fn watch(&self, groups: &Groups) {
        let Ok(group) = groups.get("perf_event") else { return };
        self.shared.samples().entry(group.path.clone()).or_default();
        self.thread.get_or_init(|| {
            if let Err(error) =
                rounds::spawn("perf-events", &self.shared, |shared| while sample(shared) {})
            {
                tracing::error!(%error, "no perf events");
            }
        });
    }
}

impl Controller for Perf {
    fn kernel(&self) -> &'static [&'static str] {
        &["perf_event"]
    }

    fn check(&self, groups: &Groups) -> Result<(), String> {
        let Group { path, .. } = groups.get("perf_event")?;
        let cgroup =
            File::open(path).map_err(|e| format!("cannot open {}: {e}", path.display()))?;
        self.shared.events.iter().try_for_each(|event| {
            let opened = open(event, &cgroup, 0).map(drop);
            opened.map_err(|e| {
                format!("--perf_events: this host does not count '{}': {e}", event.name)
            })
        })
    }

    fn apply(&self, groups: &Groups, _wanted: &Wanted<'_>, is_new: bool) -> Result<(), String> {
        if is_new {
            self.watch(groups);
        }
        Ok(())
    }

    fn adopt(&self, groups: &Groups) {
        self.watch(groups);
    }

    fn usage(&self, groups: &Groups, out: &mut ResourceStatistics) -> Result<(), String> {
        let group = groups.get("perf_event")?;
        out.perf = self.shared.samples().get(&group.path).cloned().flatten();
        Ok(())
    }

    fn forget(&self, groups: &Groups) {
        if let Ok(group) = groups.get("perf_event") {
            self.shared.samples().remove(&group.path);
        }
    }
}

impl Shared {
    fn samples(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Option<PerfStatistics>>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counters of each event, on all cpus. An event that can't be had now counts nothing.
    fn counters(&self, cgroup: &Path, cpus: &[u32]) -> io::Result<Vec<Vec<File>>> {
        let cgroup = File::open(cgroup)?;
        let on_all =
            |event: &Event| cpus.iter().filter_map(|cpu| open(event, &cgroup, *cpu).ok()).collect();
        Ok(self.events.iter().map(on_all).collect())
    }

    fn statistics(&self, counters: &[Vec<File>], duration: Duration) -> Option<PerfStatistics> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut out = serde_json::Map::new();
        out.insert("timestamp".to_owned(), now.as_secs_f64().into());
        out.insert("duration".to_owned(), duration.as_secs_f64().into());
        for (event, counters) in self.events.iter().zip(counters) {
            let sum: f64 = counters.iter().map(read).sum();
            let value = if CLOCKS.contains(&event.name.as_str()) {
                (sum / 1e6).into()
            } else {
                (sum as u64).into()
            };
            out.insert(event.field(), value);
        }
        wire::json::from_value(&out.into()).ok()
    }
}

/// Takes a sample of all containers, and waits for the next; false if nobody wants it any more.
fn sample(shared: &Weak<Shared>) -> bool {
    let begun = Instant::now();
    let Some(strong) = shared.upgrade() else { return false };
    let (interval, duration) = (strong.interval, strong.duration);
    let cpus = cpus(&std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default());
    let cgroups: Vec<PathBuf> = strong.samples().keys().cloned().collect();
    let open = |path: PathBuf| {
        let counting = Instant::now();
        Some((strong.counters(&path, &cpus).ok()?, path, counting))
    };
    let counters: Vec<(Vec<Vec<File>>, PathBuf, Instant)> =
        cgroups.into_iter().filter_map(open).collect();
    drop(strong);
    if !rounds::sleep(duration, shared) {
        return false;
    }
    let Some(strong) = shared.upgrade() else { return false };
    for (counters, path, counting) in counters {
        let statistics = strong.statistics(&counters, counting.elapsed());
        // It may have ended meanwhile.
        if let Some(sample) = strong.samples().get_mut(&path) {
            *sample = statistics;
        }
    }
    drop(strong);
    rounds::sleep(interval.saturating_sub(begun.elapsed()), shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_numbers_of_the_kernel() {
        let number = |name| Event::parse(name).map(|e| (e.kind, e.config));
        assert_eq!(number("cycles"), Some((HARDWARE, 0)));
        assert_eq!(number("task-clock"), Some((SOFTWARE, 1)));
        assert_eq!(number("L1-dcache-loads"), Some((CACHE, 0)));
        assert_eq!(number("LLC-store-misses"), Some((CACHE, 0x1_0102)));
        assert_eq!(number("node-prefetches"), Some((CACHE, 0x206)));
        assert_eq!(number("branch-misses"), Some((HARDWARE, 5)));
        assert_eq!(number("branch-load-misses"), Some((CACHE, 0x1_0005)));
        for unknown in ["", "cycle", "LLC", "LLC-load", "LLC-loads-misses"] {
            assert_eq!(number(unknown), None, "{unknown}");
        }
    }

    /// Whatever is counted has a field in the statistics.
    #[test]
    fn every_event_can_be_told() {
        let caches = CACHES.iter().flat_map(|cache| {
            ["loads", "load-misses", "stores", "store-misses", "prefetches", "prefetch-misses"]
                .map(|what| format!("{cache}-{what}"))
        });
        let plain = HARDWARE_EVENTS.iter().chain(&SOFTWARE_EVENTS).map(|name| (*name).to_owned());
        // What no processor has, the statistics have not.
        let is_told = |name: &String| {
            !["L1-icache-store", "iTLB-store", "iTLB-prefetch", "branch-store", "branch-prefetch"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        for name in plain.chain(caches).filter(is_told) {
            let event = Event::parse(&name).expect("an event");
            let text = serde_json::json!({"timestamp": 1.0, "duration": 1.0, event.field(): 7});
            let told: PerfStatistics = wire::json::from_value(&text).expect("statistics");
            let again = wire::json::to_value(&told);
            assert_eq!(again[event.field()].as_f64(), Some(7.0), "{name}");
        }
    }

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpus("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(cpus("0\n"), [0]);
        assert_eq!(cpus(""), [0_u32; 0]);
    }
}
