//! Ends a download that does not get on, and tells how far one is.

use crate::{dialogue, log};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Speed is looked at over so many seconds; less than one byte a second is none.
const WINDOW_SECS: u64 = 5;
/// Time between two lines about a download.
const REPORT: Duration = Duration::from_secs(15);

/// How far a download is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    received: AtomicU64,
    /// 0: not known.
    total: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    pub(crate) fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Watches one download; ends with it.
#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Progress>);

impl Watchdog {
    /// From now on; `uri` is what is said to have failed.
    pub(crate) fn start(uri: &str, stall_timeout: Duration) -> Self {
        let progress = Arc::new(Progress::default());
        let (watched, uri) = (progress.clone(), uri.to_owned());
        std::thread::spawn(move || watch(&watched, &uri, stall_timeout));
        Self(progress)
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.0
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

fn watch(progress: &Progress, uri: &str, stall_timeout: Duration) {
    let tick = (stall_timeout / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut speed = Speed::new(Instant::now());
    let mut told = Instant::now();
    loop {
        std::thread::sleep(tick);
        if progress.ended.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        let received = progress.received.load(Ordering::Relaxed);
        let stalled = speed.stalled(now, received);
        if stalled >= stall_timeout {
            let secs = stall_timeout.as_secs_f64();
            log::error(&format!(
                "Failed to fetch '{uri}': Error downloading resource: less than 1 byte a second for {secs} seconds"
            ));
            dialogue::end_group();
        }
        if now - told >= REPORT {
            told = now;
            let total = progress.total.load(Ordering::Relaxed);
            let of = if total > 0 { format!(" of {total}") } else { String::new() };
            log::info(&format!("Downloaded {received}{of} bytes of '{uri}'"));
        }
    }
}

/// For how long a download has been too slow.
struct Speed {
    samples: VecDeque<(Instant, u64)>,
    fine: Instant,
}

impl Speed {
    fn new(now: Instant) -> Self {
        Self { samples: VecDeque::from([(now, 0)]), fine: now }
    }

    fn stalled(&mut self, now: Instant, received: u64) -> Duration {
        let window = Duration::from_secs(WINDOW_SECS);
        while self.samples.len() > 1 && now - self.samples[1].0 >= window {
            self.samples.pop_front();
        }
        let (since, before) = self.samples[0];
        let gained = received - before;
        if gained > 0 && gained as f64 >= (now - since).as_secs_f64() {
            self.fine = now;
        }
        self.samples.push_back((now, received));
        now - self.fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled_after(secs: u64, received: impl Fn(u64) -> u64) -> Duration {
        let start = Instant::now();
        let mut speed = Speed::new(start);
        let mut stalled = Duration::ZERO;
        for second in 1..=secs {
            stalled = speed.stalled(start + Duration::from_secs(second), received(second));
        }
        stalled
    }

    #[test]
    fn less_than_a_byte_a_second_is_a_stall() {
        assert_eq!(stalled_after(60, |_| 0), Duration::from_secs(60));
        assert_eq!(stalled_after(60, |second| second), Duration::ZERO);
        assert!(stalled_after(60, |second| second / 10) >= Duration::from_secs(8));
        // A burst, then nothing: it counts from the end of the burst's window on.
        let stalled = stalled_after(60, |second| second.min(20) * 1000);
        assert!((35..=40).contains(&stalled.as_secs()), "{stalled:?}");
    }
}
