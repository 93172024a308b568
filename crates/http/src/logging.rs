//! What is logged, changed while the process runs: `/logging/toggle`, GET_LOGGING_LEVEL, SET_LOGGING_LEVEL.

use crate::respond::query_value;
use crate::{Response, respond};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Levels above this one tell nothing more.
const LEVEL_MAX: u32 = 3;

/// How much shall be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// 0 is what was asked for at the start, 1 and 2 tell more and more.
    Level(u32),
    /// What was asked for at the start, and this of single modules: `agent=debug,http_api::server=trace`.
    Filter(String),
}

/// How much is logged.
pub struct LogLevel {
    now: Mutex<Now>,
    apply: Box<Apply>,
}

type Apply = dyn Fn(&Wanted) -> Result<(), String> + Send + Sync;

struct Now {
    wanted: Wanted,
    /// Counts changes, so that only the latest one is reverted.
    change: u64,
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.get()).finish()
    }
}

impl LogLevel {
    /// `apply` makes what is wanted take effect, or says what is wrong with it.
    #[must_use]
    pub fn new(apply: impl Fn(&Wanted) -> Result<(), String> + Send + Sync + 'static) -> Arc<Self> {
        let now = Mutex::new(Now { wanted: Wanted::Level(0), change: 0 });
        Arc::new(Self { now, apply: Box::new(apply) })
    }

    /// The level; that of a filter is the usual one.
    #[must_use]
    pub fn get(&self) -> u32 {
        match self.now.lock().unwrap_or_else(PoisonError::into_inner).wanted {
            Wanted::Level(level) => level,
            Wanted::Filter(_) => 0,
        }
    }

    /// Takes effect at once; the number of the change.
    fn put(&self, wanted: Wanted) -> Result<u64, String> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        (self.apply)(&wanted)?;
        now.wanted = wanted;
        now.change += 1;
        Ok(now.change)
    }

    fn revert(&self, change: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.change == change && (self.apply)(&Wanted::Level(0)).is_ok() {
            now.wanted = Wanted::Level(0);
        }
    }

    /// Changes for a while what is logged.
    ///
    /// # Errors
    /// When the level is out of range, or the filter makes no sense: why.
    pub fn set(self: &Arc<Self>, wanted: Wanted, duration: Duration) -> Result<(), String> {
        if let Wanted::Level(level) = wanted
            && level > LEVEL_MAX
        {
            return Err(format!("Invalid level '{level}': expected 0 to {LEVEL_MAX}.\n"));
        }
        let change = self.put(wanted).map_err(|text| format!("Invalid filter: {text}.\n"))?;
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            this.revert(change);
        });
        Ok(())
    }

    fn shown(&self) -> String {
        match &self.now.lock().unwrap_or_else(PoisonError::into_inner).wanted {
            Wanted::Level(level) => format!("{level}\n"),
            Wanted::Filter(filter) => format!("0\nfilter={filter}\n"),
        }
    }

    /// Answers `/logging/toggle`.
    #[must_use]
    pub fn toggle(self: &Arc<Self>, query: &str) -> Response {
        let of = |name: &str| query_value(query, name);
        let refuse = |text: String| respond::text(400, text);
        let (wanted, duration) = match (of("level"), of("filter"), of("duration")) {
            (None, None, None) => return respond::text(200, self.shown()),
            (None, None, Some(_)) => {
                return respond::text(400, "Expecting 'level=value' in query.\n");
            }
            (Some(_), Some(_), _) => {
                return respond::text(
                    400,
                    "Expecting one of 'level=value' and 'filter=value' in query.\n",
                );
            }
            (_, _, None) => return respond::text(400, "Expecting 'duration=value' in query.\n"),
            (Some(level), None, Some(duration)) => match level.parse() {
                Ok(level) => (Wanted::Level(level), duration),
                Err(_) => return refuse(format!("Invalid level '{level}': expected a number.\n")),
            },
            (None, Some(filter), Some(duration)) => (Wanted::Filter(filter), duration),
        };
        let duration = match base::duration::parse(&duration) {
            Ok(duration) => duration,
            Err(error) => return refuse(format!("Invalid duration '{duration}': {error}.\n")),
        };
        match self.set(wanted, duration) {
            Ok(()) => respond::text(200, ""),
            Err(text) => refuse(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_lasts_as_long_as_it_says_and_the_latest_wins() {
        let level = LogLevel::new(|_| Ok(()));
        assert_eq!(level.toggle("").status(), 200);
        assert_eq!(level.toggle("level=2").status(), 400);
        assert_eq!(level.toggle("level=9&duration=1secs").status(), 400);
        assert_eq!(level.toggle("level=2&duration=10secs").status(), 200);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(level.get(), 2);
        assert_eq!(level.set(Wanted::Level(1), Duration::from_secs(10)), Ok(()));
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(level.get(), 1, "the end of the first change is not the end of the second");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(level.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_filter_of_modules_lasts_as_long_as_it_says() {
        let level = LogLevel::new(|wanted| match wanted {
            Wanted::Filter(text) if text.contains('!') => Err("no".to_owned()),
            _ => Ok(()),
        });
        assert_eq!(level.toggle("filter=agent=debug").status(), 400);
        assert_eq!(level.toggle("filter=!&duration=1secs").status(), 400);
        assert_eq!(level.toggle("filter=x&level=1&duration=1secs").status(), 400);
        assert_eq!(level.toggle("filter=agent%3Ddebug&duration=10secs").status(), 200);
        assert_eq!(level.shown(), "0\nfilter=agent=debug\n");
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(level.shown(), "0\n");
    }
}
