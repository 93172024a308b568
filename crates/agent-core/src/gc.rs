//! Directories that nobody needs any more: removed when they are old, and earlier when the disk is full
//! (spec/agent.md 1.12).

use crate::agent::{Agent, Cx, Timer};
use crate::contract::{DiskUse, Effect};
use base::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// Millionths in a whole.
const WHOLE: u128 = 1_000_000;

/// When directories are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarbageCollection {
    /// Age at which they are, on an empty disk (`--gc_delay`).
    pub delay: Duration,
    /// Millionths of the disk that shall stay free (`--gc_disk_headroom`).
    pub headroom: u32,
    /// Time between two looks at the disk (`--disk_watch_interval`).
    pub interval: Duration,
    /// Whether sandboxes of a pod's tasks go before the pod's own (`--gc_non_executor_container_sandboxes`).
    pub nested: bool,
}

impl Default for GarbageCollection {
    /// The flags' defaults.
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(7 * 86400),
            headroom: 100_000,
            interval: Duration::from_secs(60),
            nested: false,
        }
    }
}

impl GarbageCollection {
    /// Greatest age of a directory on a disk that is used so far.
    #[must_use]
    pub fn max_age(&self, disk: DiskUse) -> Duration {
        let used = u128::from(disk.used) * WHOLE / u128::from(disk.total.max(1));
        let left = WHOLE.saturating_sub(u128::from(self.headroom) + used);
        let nanos = self.delay.as_nanos() * left / WHOLE;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What shall be removed, and when at the latest.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    due: BTreeMap<String, Time>,
    /// Removals that were asked for and not answered.
    running: usize,
}

impl Agent {
    /// A directory becomes garbage now.
    pub(crate) fn discard(&mut self, cx: &mut Cx<'_>, path: String) {
        // Its age counts from now on, for a later run of the agent as well.
        cx.out.push(Effect::Touch { path: path.clone() });
        self.schedule(path, cx.now.mono + self.config.gc.delay);
    }

    fn schedule(&mut self, path: String, at: Time) {
        self.garbage.due.insert(path, at);
        if self.timers.get(&Timer::Collect).is_none_or(|next| at < next) {
            self.timers.set(Timer::Collect, at);
        }
        self.count_garbage();
    }

    /// A directory is in use again.
    pub(crate) fn retain_directory(&mut self, path: &str) {
        if self.garbage.due.remove(path).is_some() {
            self.count_garbage();
        }
    }

    /// To be asked for when directories were removed: what is kept for a week may be much.
    fn await_garbage(&mut self) {
        match self.garbage.due.values().min() {
            Some(at) => self.timers.set(Timer::Collect, *at),
            None => self.timers.cancel(&Timer::Collect),
        }
        self.count_garbage();
    }

    fn count_garbage(&mut self) {
        let pending = self.garbage.due.len() + self.garbage.running;
        self.state.counters.insert("gc/path_removals_pending", pending as u64);
    }

    /// Removes what would be due at the latest then.
    pub(crate) fn collect(&mut self, cx: &mut Cx<'_>, until: Time) {
        let due = self.garbage.due.extract_if(.., |_, at| *at <= until);
        let mut paths: Vec<String> = due.map(|(path, _)| path).collect();
        // With a directory goes all that is below it; parents come first.
        let mut last: Option<String> = None;
        paths.retain(|path| {
            let is_below = |last: &String| {
                path.strip_prefix(last.as_str()).is_some_and(|r| r.starts_with('/'))
            };
            let below = last.as_ref().is_some_and(is_below);
            if !below {
                last = Some(path.clone());
            }
            !below
        });
        for path in paths {
            self.garbage.running += 1;
            cx.out.push(Effect::RemoveDirectory { path });
        }
        self.await_garbage();
    }

    pub(crate) fn watch_disk(&mut self, cx: &mut Cx<'_>) {
        cx.out.push(Effect::MeasureDisk);
        self.timers.set(Timer::WatchDisk, cx.now.mono + self.config.gc.interval);
    }

    pub(crate) fn on_disk_measured(&mut self, cx: &mut Cx<'_>, disk: DiskUse) {
        let max_age = self.config.gc.max_age(disk);
        self.state.directory_max_age = Some(max_age);
        self.collect(cx, cx.now.mono + self.config.gc.delay.saturating_sub(max_age));
    }

    pub(crate) fn on_directory_removed(&mut self, result: &Result<(), String>) {
        self.garbage.running = self.garbage.running.saturating_sub(1);
        let removed = "gc/path_removals_succeeded";
        self.count(if result.is_ok() { removed } else { "gc/path_removals_failed" });
        self.count_garbage();
    }

    /// A directory of a former run: removed in its time, unless something in it lives.
    pub(crate) fn on_directory_found(&mut self, cx: &mut Cx<'_>, path: String, age: Duration) {
        let inside = format!("{path}/");
        let nested = path.split_once("/containers/").map(|(_, id)| id);
        let mut executors = self.state.frameworks.values().flat_map(|f| f.executors.values());
        let lives = executors.any(|e| {
            let mut own = e.tasks.values().filter_map(|t| t.container_id.as_deref());
            e.directory == path
                || e.directory.starts_with(&inside)
                || nested.is_some_and(|id| own.any(|own| own == id))
        });
        let is_own = self.state.id.as_ref().is_some_and(|id| self.agent_directory(id) == path);
        if lives || is_own || nested.is_some() && !self.config.gc.nested {
            return;
        }
        let left = self.config.gc.delay.saturating_sub(age);
        self.schedule(path, cx.now.mono + left);
    }

    pub(crate) fn agent_directory(&self, id: &str) -> String {
        format!("{}/slaves/{id}", self.config.work_dir)
    }
}
