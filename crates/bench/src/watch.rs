//! What is measured.

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::time::Duration;

/// Processor time of this thread: others that use the machine do not count.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Times of the parts of one run.
#[derive(Debug, Default)]
pub struct Watch {
    laps: Vec<Lap>,
    counts: Vec<(&'static str, u64)>,
}

/// One part of a run, with the time of each of its rounds.
#[derive(Debug, Clone)]
pub struct Lap {
    /// What was done.
    pub what: &'static str,
    /// How many times in each round.
    pub operations: u64,
    /// Times of the rounds.
    pub times: Vec<Duration>,
}

impl Watch {
    /// Measures one round of a part.
    pub fn lap<T>(&mut self, what: &'static str, work: impl FnOnce() -> T) -> T {
        self.laps(what, 1, work)
    }

    /// Measures a round in which the same is done so many times.
    pub fn laps<T>(&mut self, what: &'static str, operations: u64, work: impl FnOnce() -> T) -> T {
        let start = cpu_time();
        let out = work();
        let time = cpu_time().saturating_sub(start);
        match self.laps.iter_mut().find(|lap| lap.what == what) {
            Some(lap) => lap.times.push(time),
            None => self.laps.push(Lap { what, operations, times: vec![time] }),
        }
        out
    }

    /// Notes how many there were of something.
    pub fn count(&mut self, what: &'static str, count: usize) {
        self.counts.push((what, u64::try_from(count).unwrap_or(u64::MAX)));
    }

    /// What was measured, in the order in which it was first.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Lap>, Vec<(&'static str, u64)>) {
        (self.laps, self.counts)
    }
}

/// What several runs come to.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Rounds of a run.
    pub rounds: usize,
    /// Time of the first round.
    pub first: Duration,
    /// Time of the median round.
    pub median: Duration,
    /// Time of the last round.
    pub last: Duration,
    /// Time of the longest round.
    pub longest: Duration,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

impl Figures {
    /// Each figure is the median of those of the runs.
    #[must_use]
    pub fn of(runs: &[Vec<Duration>]) -> Self {
        let over_runs = |figure: &dyn Fn(&Vec<Duration>) -> Option<Duration>| {
            median(runs.iter().filter_map(figure).collect())
        };
        Self {
            rounds: runs.first().map_or(0, Vec::len),
            first: over_runs(&|times| times.first().copied()),
            median: over_runs(&|times| Some(median(times.clone()))),
            last: over_runs(&|times| times.last().copied()),
            longest: over_runs(&|times| times.iter().max().copied()),
        }
    }

    /// The figures of each part of runs of the same workload, by the part's place.
    #[must_use]
    pub fn of_runs(runs: &[Vec<Lap>]) -> Vec<(Lap, Self)> {
        let mut times: BTreeMap<&str, Vec<Vec<Duration>>> = BTreeMap::new();
        for lap in runs.iter().flatten() {
            times.entry(lap.what).or_default().push(lap.times.clone());
        }
        let laps = runs.first().into_iter().flatten();
        laps.map(|lap| (lap.clone(), Self::of(&times[lap.what]))).collect()
    }
}
