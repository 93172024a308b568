//! What a run of the study came to.

use super::scheduler::Accepts;
use base::Time;
use std::time::Duration;

/// What is counted while it runs.
#[derive(Debug)]
pub(super) struct Tally {
    begin: Time,
    /// ACCEPTs of each framework before the count.
    before: Vec<Accepts>,
    /// Running tasks of each framework, since when, and their sum over time in task-seconds.
    running: Vec<(usize, Time, f64)>,
    /// Framework, and time from arrival to start.
    placed: Vec<(usize, Duration)>,
}

/// The figures of one run.
#[derive(Debug, Clone)]
pub struct Figures {
    /// ACCEPTs that were sent.
    pub accepts: usize,
    /// Those of which somebody else was faster.
    pub lost: usize,
    /// Of fast and of slow frameworks: time from a job's arrival to the start of each of its tasks, in order.
    pub placement: [Vec<Duration>; 2],
    /// Part of the cluster that tasks used.
    pub utilisation: f64,
    /// Jain's index of what the frameworks used: 1 if all used the same, 1/n if one used everything.
    pub fairness: f64,
    /// Part of what tasks used that the fast frameworks had.
    pub fast_part: f64,
}

impl Tally {
    pub(super) fn new(frameworks: usize) -> Self {
        Self {
            begin: Time(0),
            before: vec![Accepts::default(); frameworks],
            running: vec![(0, Time(0), 0.0); frameworks],
            placed: Vec::new(),
        }
    }

    /// Counts from here on.
    pub(super) fn restart(&mut self, now: Time, accepts: impl Iterator<Item = Accepts>) {
        self.begin = now;
        self.before = accepts.collect();
        for (_, since, sum) in &mut self.running {
            (*since, *sum) = (now, 0.0);
        }
        self.placed.clear();
    }

    fn add_up(&mut self, now: Time, framework: usize) -> &mut usize {
        let (running, since, sum) = &mut self.running[framework];
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let tasks = *running as f64;
        *sum += tasks * now.since(*since).as_secs_f64();
        *since = now;
        running
    }

    pub(super) fn place(&mut self, now: Time, framework: usize, waited: Duration) {
        *self.add_up(now, framework) += 1;
        self.placed.push((framework, waited));
    }

    pub(super) fn end(&mut self, now: Time, framework: usize) {
        *self.add_up(now, framework) -= 1;
    }

    pub(super) fn figures(
        &mut self,
        now: Time,
        accepts: impl Iterator<Item = Accepts>,
        slots: f64,
        is_fast: impl Fn(usize) -> bool,
    ) -> Figures {
        for framework in 0..self.running.len() {
            self.add_up(now, framework);
        }
        let used: Vec<f64> = self.running.iter().map(|(_, _, sum)| *sum).collect();
        let total: f64 = used.iter().sum();
        let fast = used.iter().enumerate().filter(|(f, _)| is_fast(*f)).map(|(_, u)| u);
        let mut placement = [Vec::new(), Vec::new()];
        for (framework, waited) in &self.placed {
            placement[usize::from(!is_fast(*framework))].push(*waited);
        }
        placement.iter_mut().for_each(|times| times.sort_unstable());
        let (mut sent, mut lost) = (0, 0);
        for (now, before) in accepts.zip(&self.before) {
            sent += now.sent - before.sent;
            lost += now.lost - before.lost;
        }
        let window = now.since(self.begin).as_secs_f64();
        Figures {
            accepts: sent,
            lost,
            placement,
            utilisation: total / (slots * window),
            fairness: jain(&used),
            fast_part: fast.sum::<f64>() / total,
        }
    }
}

/// Jain, Chiu, Hawe: A Quantitative Measure of Fairness (1984).
#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|s| s * s).sum();
    sum * sum / (shares.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_for_equals_and_least_for_a_monopoly() {
        assert!((jain(&[2.0, 2.0, 2.0, 2.0]) - 1.0).abs() < 1e-9);
        assert!((jain(&[8.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn use_is_counted_over_time() {
        let at = |seconds: u64| Time(seconds * 1_000_000_000);
        let mut tally = Tally::new(2);
        tally.place(at(1), 0, Duration::ZERO);
        tally.restart(at(10), [Accepts::default(); 2].into_iter());
        tally.place(at(12), 1, Duration::from_secs(3));
        tally.end(at(15), 0);
        let accepts = [Accepts { sent: 4, lost: 1 }, Accepts::default()];
        let figures = tally.figures(at(20), accepts.into_iter(), 2.0, |f| f == 0);
        assert!((figures.utilisation - (5.0 + 8.0) / 20.0).abs() < 1e-9, "{figures:?}");
        assert!((figures.fast_part - 5.0 / 13.0).abs() < 1e-9);
        assert_eq!((figures.accepts, figures.lost), (4, 1));
        assert_eq!(figures.placement, [vec![], vec![Duration::from_secs(3)]]);
    }
}
