//! What benchmarks measure of clusters and processes.

use crate::Framework;
use crate::framework::command_task;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// Milliseconds from sending ACCEPT to having TASK_RUNNING, one task at a time; each has ended before the next. `finish`
/// adds to what a task asks for.
///
/// # Panics
/// When a task does not start.
#[must_use]
pub fn accept_to_running(
    framework: &mut Framework,
    name: &str,
    rounds: usize,
    finish: impl Fn(&mut Value),
) -> Vec<f64> {
    (0..rounds)
        .map(|round| {
            let offer = framework.offers().remove(0);
            let id = format!("{name}-{round}");
            let mut task = command_task(&offer, &id, "true", 0.1, 32.0);
            finish(&mut task);
            let start = Instant::now();
            framework.launch(&offer, &[task]);
            let running = loop {
                let (at, status) = framework.update(Some(&id));
                if status["state"] == "TASK_RUNNING" {
                    break at;
                }
                assert_eq!(status["state"], "TASK_STARTING", "{status}");
            };
            framework.until_end(&id);
            running.duration_since(start).as_secs_f64() * 1e3
        })
        .collect()
}

/// Arguments of a benchmark: `--name value` and `--name`.
#[derive(Debug, Clone)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// Those of this process.
    #[must_use]
    pub fn given() -> Self {
        Self(std::env::args().collect())
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|a| a == name)
    }

    /// What follows `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|a| a == name)?;
        self.0.get(at + 1).cloned()
    }

    /// The number that follows `name`, or another one.
    ///
    /// # Panics
    /// When it is no number.
    #[must_use]
    pub fn number(&self, name: &str, default: usize) -> usize {
        self.value(name).map_or(default, |v| v.parse().expect("a number"))
    }
}

/// A figure with two digits behind the point.
#[must_use]
pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Quantiles of figures.
#[derive(Debug, Clone)]
pub struct Quantiles(Vec<f64>);

impl Quantiles {
    /// Of these.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn of(mut figures: Vec<f64>) -> Self {
        assert!(!figures.is_empty(), "nothing was measured");
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    /// The figure below which so many percent are.
    #[must_use]
    pub fn at(&self, percent: usize) -> f64 {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }
}

/// KiB of a process: resident, and private to it (the supervisor's target counts those); None when it is gone.
#[must_use]
pub fn memory_kib(pid: u32) -> Option<(u64, u64)> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let sum = |prefix: &str| -> u64 {
        let lines = rollup.lines().filter(|line| line.starts_with(prefix));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    Some((sum("Rss:"), sum("Private_")))
}

/// Processes whose program lies below `directory`.
#[must_use]
pub fn processes_of(directory: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.starts_with(directory))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
