//! What plots show: the cluster every few seconds, kept for an hour.

use super::digest::Digest;
use crate::shared::{Leader, Shared};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(10);
/// An hour of them.
const KEPT: usize = 360;

/// Takes samples while this master leads, until the process ends.
pub(crate) async fn sample(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut leader = shared.leader.subscribe();
    let leads = leader.wait_for(|leader| matches!(leader, Leader::Me));
    tokio::select! {
        // A leader leads until its process ends.
        led = leads => if led.is_err() { return },
        _ = stop.wait_for(|stop| *stop) => return,
    }
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Some(state) = shared.view().await else { return };
        // What is kept for viewers would hold the state of the time when the last of them looked.
        if let Ok(mut kept) = shared.ui.digest.try_lock()
            && kept.as_ref().is_some_and(|(taken, _)| taken.elapsed() > INTERVAL)
        {
            *kept = None;
        }
        let sample = tokio::task::spawn_blocking(move || Digest::of(state).sample());
        let Ok(sample) = sample.await else { return };
        let mut samples = shared.ui.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        while samples.len() > KEPT {
            samples.pop_front();
        }
    }
}
