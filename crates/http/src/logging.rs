//! The logging level, changed while the process runs: `/logging/toggle`, GET_LOGGING_LEVEL, SET_LOGGING_LEVEL.

use crate::respond::query_value;
use crate::{Response, respond};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Levels above this one tell nothing more.
const LEVEL_MAX: u32 = 3;

/// How much is logged: 0 is what was asked for at the start, 1 and 2 tell more and more.
pub struct LogLevel {
    level: AtomicU32,
    /// Counts changes, so that only the latest one is reverted.
    change: AtomicU64,
    apply: Box<dyn Fn(u32) + Send + Sync>,
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.get()).finish()
    }
}

impl LogLevel {
    /// `apply` makes a level take effect.
    #[must_use]
    pub fn new(apply: impl Fn(u32) + Send + Sync + 'static) -> Arc<Self> {
        let (level, change) = (AtomicU32::new(0), AtomicU64::new(0));
        Arc::new(Self { level, change, apply: Box::new(apply) })
    }

    /// The level.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    fn put(&self, level: u32) {
        self.level.store(level, Ordering::Relaxed);
        (self.apply)(level);
    }

    /// Changes the level for a while.
    ///
    /// # Errors
    /// When the level is out of range: why.
    pub fn set(self: &Arc<Self>, level: u32, duration: Duration) -> Result<(), String> {
        if level > LEVEL_MAX {
            return Err(format!("Invalid level '{level}': expected 0 to {LEVEL_MAX}.\n"));
        }
        let change = self.change.fetch_add(1, Ordering::Relaxed) + 1;
        self.put(level);
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            if this.change.load(Ordering::Relaxed) == change {
                this.put(0);
            }
        });
        Ok(())
    }

    /// Answers `/logging/toggle`.
    #[must_use]
    pub fn toggle(self: &Arc<Self>, query: &str) -> Response {
        let (level, duration) = match (query_value(query, "level"), query_value(query, "duration"))
        {
            (None, None) => return respond::text(200, format!("{}\n", self.get())),
            (None, Some(_)) => return respond::text(400, "Expecting 'level=value' in query.\n"),
            (Some(_), None) => return respond::text(400, "Expecting 'duration=value' in query.\n"),
            (Some(level), Some(duration)) => (level, duration),
        };
        let Ok(level) = level.parse() else {
            return respond::text(400, format!("Invalid level '{level}': expected a number.\n"));
        };
        let duration = match base::duration::parse(&duration) {
            Ok(duration) => duration,
            Err(error) => {
                return respond::text(400, format!("Invalid duration '{duration}': {error}.\n"));
            }
        };
        match self.set(level, duration) {
            Ok(()) => respond::text(200, ""),
            Err(text) => respond::text(400, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_lasts_as_long_as_it_says_and_the_latest_wins() {
        let level = LogLevel::new(|_| {});
        assert_eq!(level.toggle("").status(), 200);
        assert_eq!(level.toggle("level=2").status(), 400);
        assert_eq!(level.toggle("level=9&duration=1secs").status(), 400);
        assert_eq!(level.toggle("level=2&duration=10secs").status(), 200);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(level.get(), 2);
        assert_eq!(level.set(1, Duration::from_secs(10)), Ok(()));
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(level.get(), 1, "the end of the first change is not the end of the second");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(level.get(), 0);
    }
}
