//! Threads that look at something again and again, for as long as somebody wants to know.

use std::sync::Weak;
use std::time::{Duration, Instant};

/// Shortest time between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Time within which the thread sees that nobody needs it any more.
const NAP: Duration = Duration::from_millis(200);

/// Sleeps; false if nobody wants to know any more.
pub(super) fn sleep<T>(time: Duration, shared: &Weak<T>) -> bool {
    let end = Instant::now() + time.max(PAUSE_MIN);
    while shared.strong_count() > 0 {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(NAP));
    }
    false
}
