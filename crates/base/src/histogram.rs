//! How many durations were how long: what Prometheus computes percentiles from.

use std::time::Duration;

/// Upper bounds of the buckets, in microseconds: 1, 2.5, 5 of each decade from 100 µs, where a commit to a fast disk
/// is, to 5 minutes, where nobody waits any more.
const BOUNDS: [u64; 20] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
];

/// Counts of durations by length. To record one takes a search in 20 numbers and three additions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket; the last one is of those above all bounds.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// Adds one.
    pub fn record(&mut self, duration: Duration) {
        let nanos = duration.as_secs().saturating_mul(1_000_000_000);
        let nanos = nanos.saturating_add(u64::from(duration.subsec_nanos()));
        let bucket = BOUNDS.partition_point(|bound| bound * 1000 < nanos);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound, in seconds, with how many were not longer. None: those of any length.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
        let bounds = BOUNDS.iter().map(|micros| Some(*micros as f64 / 1e6)).chain([None]);
        let mut so_far = 0;
        bounds.zip(self.counts).map(move |(bound, count)| {
            so_far += count;
            (bound, so_far)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_part_of_its_bucket() {
        let mut histogram = Histogram::default();
        for micros in [0, 100, 101, 1_000, 400_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        histogram.record(Duration::from_nanos(100_001));
        let all: Vec<_> = histogram.cumulative().collect();
        assert_eq!(
            all[..4],
            [(Some(0.0001), 2), (Some(0.00025), 4), (Some(0.0005), 4), (Some(0.001), 5)]
        );
        assert_eq!((all[19], all[20]), ((Some(300.0), 5), (None, 6)));
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.sum(), Duration::from_nanos(400_001_301_001));
    }
}
