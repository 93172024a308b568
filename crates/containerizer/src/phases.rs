//! What a start of a container spends its time with, for whoever wants to know.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

/// A part of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// What was done.
    pub name: &'static str,
    /// When it began.
    pub begun: SystemTime,
    /// How long it took.
    pub took: Duration,
}

tokio::task_local! {
    static PHASES: RefCell<Vec<Phase>>;
}

/// Waits for a start; gives its phases too.
pub async fn recorded<T>(start: impl Future<Output = T>) -> (T, Vec<Phase>) {
    PHASES
        .scope(RefCell::default(), async {
            let started = start.await;
            (started, PHASES.with(RefCell::take))
        })
        .await
}

/// Waits for a phase of a start. Costs nothing where nobody wants to know.
pub(crate) async fn timed<T>(name: &'static str, phase: impl Future<Output = T>) -> T {
    if PHASES.try_with(|_| ()).is_err() {
        return phase.await;
    }
    let begun = SystemTime::now();
    let done = phase.await;
    let took = begun.elapsed().unwrap_or_default();
    let _ = PHASES.try_with(|all| all.borrow_mut().push(Phase { name, begun, took }));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_are_told_in_their_order() {
        let (done, phases) =
            recorded(async { timed("a", async { 1 }).await + timed("b", async { 2 }).await }).await;
        assert_eq!(done, 3);
        assert_eq!(phases.iter().map(|phase| phase.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(timed("nobody", async { 4 }).await, 4);
    }
}
