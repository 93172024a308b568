//! How long something takes that happens again and again, and the statistics of it that metrics show.

use crate::Histogram;
use std::collections::VecDeque;
use std::time::Duration;

/// Samples from which percentiles are computed: the newest.
const SAMPLES_MAX: usize = 1000;

/// Percentiles by their names, in ten-thousandths.
const PERCENTILES: [(&str, usize); 8] = [
    ("min", 0),
    ("max", 10_000),
    ("p50", 5000),
    ("p90", 9000),
    ("p95", 9500),
    ("p99", 9900),
    ("p999", 9990),
    ("p9999", 9999),
];

/// Durations, newest last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timings {
    all: Histogram,
    newest: VecDeque<Duration>,
}

impl Timings {
    /// Adds one.
    pub fn record(&mut self, duration: Duration) {
        self.all.record(duration);
        if self.newest.len() == SAMPLES_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(duration);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.all.count()
    }

    /// All of them, by length.
    #[must_use]
    pub fn histogram(&self) -> &Histogram {
        &self.all
    }

    /// The last one, milliseconds.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.newest.back().copied().map(milliseconds)
    }

    /// Percentiles of the newest with their names (`min`, `p50`, …), milliseconds; none of fewer than two.
    #[must_use]
    pub fn percentiles(&self) -> Vec<(&'static str, f64)> {
        if self.newest.len() < 2 {
            return Vec::new();
        }
        let mut sorted: Vec<Duration> = self.newest.iter().copied().collect();
        sorted.sort();
        // Nearest rank.
        let at = |permyriad: usize| {
            let rank = (permyriad * sorted.len()).div_ceil(10_000).max(1);
            milliseconds(sorted[rank - 1])
        };
        PERCENTILES.map(|(name, permyriad)| (name, at(permyriad))).to_vec()
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_of_the_newest() {
        let mut timings = Timings::default();
        assert_eq!((timings.count(), timings.last()), (0, None));
        timings.record(Duration::from_millis(7));
        assert_eq!((timings.last(), timings.percentiles()), (Some(7.0), Vec::new()));
        (1..=1000).for_each(|ms| timings.record(Duration::from_millis(ms)));
        assert_eq!((timings.count(), timings.last()), (1001, Some(1000.0)));
        let all = timings.percentiles();
        let of = |name: &str| all.iter().find(|(n, _)| *n == name).expect("it is there").1;
        assert_eq!((of("min"), of("max")), (1.0, 1000.0));
        assert_eq!((of("p50"), of("p99"), of("p9999")), (500.0, 990.0, 1000.0));
    }
}
