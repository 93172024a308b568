//! Work that several wait for is done once.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Work under way, by name. It goes on as long as anybody waits for it.
#[derive(Debug)]
pub(crate) struct Flights<T>(Mutex<BTreeMap<String, Weak<Flight<T>>>>);

#[derive(Debug)]
struct Flight<T> {
    outcome: watch::Receiver<Option<Result<T, String>>>,
    task: AbortHandle,
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    async fn outcome(&self) -> Result<T, String> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or_else(|| Err("nothing came out".to_owned())),
            Err(_) => Err("the work ended without a result".to_owned()),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The outcome of the work of that name. If somebody else's attempt fails while we wait we make our own: theirs may
    /// have lacked credentials.
    pub(crate) async fn join<F>(&self, name: &str, work: impl Fn() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let (flight, ours) = self.board(name, &work);
        let outcome = flight.outcome().await;
        if outcome.is_ok() || ours {
            return outcome;
        }
        drop(flight);
        let (flight, _) = self.board(name, &work);
        flight.outcome().await
    }

    /// Work under way that somebody waits for, and whether it was begun here.
    fn board<F>(&self, name: &str, work: &impl Fn() -> F) -> (Arc<Flight<T>>, bool)
    where
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(name).and_then(Weak::upgrade);
        if let Some(flight) =
            known.filter(|f| f.outcome.borrow().is_none() && !f.task.is_finished())
        {
            return (flight, false);
        }
        let (sender, outcome) = watch::channel(None);
        let work = work();
        let task = tokio::spawn(async move {
            sender.send_replace(Some(work.await));
        });
        let flight = Arc::new(Flight { outcome, task: task.abort_handle() });
        all.retain(|_, flight| flight.strong_count() > 0);
        all.insert(name.to_owned(), Arc::downgrade(&flight));
        (flight, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn two_who_want_the_same_share_it_and_a_failure_is_tried_again_by_who_waited() {
        let flights: Arc<Flights<usize>> = Arc::new(Flights::new());
        let begun = Arc::new(AtomicUsize::new(0));
        let run = |fails_until: usize| {
            let (flights, begun) = (flights.clone(), begun.clone());
            async move {
                let work = || {
                    let begun = begun.clone();
                    async move {
                        let count = begun.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        if count < fails_until { Err("no".to_owned()) } else { Ok(count) }
                    }
                };
                flights.join("x", work).await
            }
        };
        let (a, b) = tokio::join!(run(0), run(0));
        assert_eq!((a, b), (Ok(0), Ok(0)));
        let (a, b) = tokio::join!(run(2), run(2));
        assert_eq!((a, b), (Err("no".to_owned()), Ok(2)));
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_nobody_waits_for_ends() {
        let flights: Flights<()> = Flights::new();
        let (held, alive) = tokio::sync::oneshot::channel::<()>();
        let held = Mutex::new(Some(held));
        let work = || {
            let held = held.lock().expect("a lock").take();
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(1), flights.join("x", work)).await;
        assert!(waited.is_err());
        alive.await.expect_err("the work was dropped");
    }
}
