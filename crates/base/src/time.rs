use std::fmt;
use std::time::Duration;

/// Monotonic time in nanoseconds since an arbitrary start. Only shells and the simulator make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

/// Wall-clock time in nanoseconds since the Unix epoch. Data for people and for the wire; cores decide by it only
/// what is promised by the clock on the wall (docs/decisions/005-schedules.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub u64);

/// The moment at which a core is stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic time: drives every timer.
    pub mono: Time,
    /// Wall-clock time: becomes timestamps.
    pub wall: WallTime,
}

impl Now {
    /// A moment `ns` nanoseconds after the start of both clocks; for tests and simulations.
    #[must_use]
    pub const fn at_nanos(ns: u64) -> Self {
        Self { mono: Time(ns), wall: WallTime(ns) }
    }

    /// A moment `seconds` seconds after the start of both clocks; for tests and simulations.
    #[must_use]
    pub const fn at_secs(seconds: u64) -> Self {
        Self::at_nanos(seconds * 1_000_000_000)
    }
}

impl Time {
    /// Time elapsed since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;
    /// Saturates: a time too far away is never reached.
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl WallTime {
    /// Seconds since the epoch, as the wire carries timestamps.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "microseconds survive until the year 2255")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
