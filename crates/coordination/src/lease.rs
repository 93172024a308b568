//! For how long a leader may act: nobody else leads until its lease is over, if it is not confirmed before.
//!
//! A process that is stopped and goes on later does not know what has happened meanwhile, and what it has in its queues
//! was meant for the leader that it was.

use crate::Standing;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wire::v1;

/// Until when a lease lasts; None: for ever.
type Until = Option<Instant>;

/// Where a backend tells a master of its standing.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    standing: mpsc::Sender<Standing>,
    until: watch::Sender<Until>,
    masters: watch::Sender<Vec<v1::MasterInfo>>,
}

/// A leader's lease.
#[derive(Debug)]
pub(crate) struct Lease(watch::Receiver<Until>);

/// All masters that meet here, as far as is known.
pub(crate) type Known = watch::Receiver<Vec<v1::MasterInfo>>;

/// Both ends, with the standings in between.
pub(crate) fn report(standing: mpsc::Sender<Standing>) -> (Report, Lease, Known) {
    let (until, lease) = watch::channel(None);
    let (masters, known) = watch::channel(Vec::new());
    (Report { standing, until, masters }, Lease(lease), known)
}

impl Report {
    /// Tells of a change.
    pub(crate) async fn send(&self, standing: Standing) {
        // Who does not listen any more needs not know.
        let _ = self.standing.send(standing).await;
    }

    /// Tells of all masters that meet here.
    pub(crate) fn meets(&self, masters: Vec<v1::MasterInfo>) {
        self.masters.send_replace(masters);
    }

    /// If this master leads, nobody else does before that moment.
    pub(crate) fn lasts(&self, end: Instant) {
        self.until.send_if_modified(|known| {
            let is_later = known.is_none_or(|known| known < end);
            if is_later {
                *known = Some(end);
            }
            is_later
        });
    }
}

impl Lease {
    pub(crate) fn is_over(&self) -> bool {
        self.0.borrow().is_some_and(|until| until <= Instant::now())
    }

    /// Waits until it is not over; for ever if it is not confirmed any more.
    pub(crate) fn confirmed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut until = self.0.clone();
        async move {
            let lasts = |until: &Until| until.is_none_or(|until| Instant::now() < until);
            if until.wait_for(lasts).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ends() -> (Report, Lease) {
        let (report, lease, _) = report(mpsc::channel(1).0);
        (report, lease)
    }

    #[tokio::test]
    async fn who_leads_is_in_doubt_from_the_end_of_the_lease_until_it_is_confirmed() {
        let (report, lease) = ends();
        assert!(!lease.is_over(), "without a lease there is nobody else");
        report.lasts(Instant::now());
        assert!(lease.is_over());
        let waiting = tokio::spawn(lease.confirmed());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        report.lasts(Instant::now() + HOUR);
        waiting.await.expect("no panic");
        assert!(!lease.is_over());
    }

    #[tokio::test]
    async fn an_earlier_end_does_not_shorten_a_lease() {
        let (report, lease) = ends();
        report.lasts(Instant::now() + HOUR);
        report.lasts(Instant::now());
        assert!(!lease.is_over());
    }
}
