//! Threads that look at something again and again, for as long as somebody wants to know.

use std::sync::{Arc, Weak};
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

/// Starts a thread that has no share in what it looks at, so that it learns when nobody has one any more.
pub(super) fn spawn<T: Send + Sync + 'static>(
    name: &str,
    shared: &Arc<T>,
    watch: impl FnOnce(&Weak<T>) + Send + 'static,
) -> Result<(), String> {
    let watched = Arc::downgrade(shared);
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || watch(&watched));
    spawned.map(drop).map_err(|e| format!("cannot start a thread: {e}"))
}
