//! Masters that meet in ZooKeeper.

mod candidates;
mod session;

pub use candidates::{Candidate, JSON_LABEL, address};
pub use session::{Session, connected, is_lost_connection, persist};

use crate::{Found, Url};
use std::time::Duration;
use tokio::sync::watch;
use zookeeper_client::Error;

/// Longest time without a server for which what was seen last is believed.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Times between attempts to open a session.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Looks until nobody wants to know any more.
pub(crate) async fn look(url: Url, timeout: Duration, found: watch::Sender<Found>) {
    let mut pause = PAUSE.0;
    loop {
        let why = tokio::select! {
            why = session(&url, timeout, &found, &mut pause) => why,
            () = found.closed() => return,
        };
        found.send_replace(Found::Nobody(format!("{url}: {why}")));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = found.closed() => return,
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn session(
    url: &Url,
    timeout: Duration,
    found: &watch::Sender<Found>,
    pause: &mut Duration,
) -> Error {
    let session = match Session::open(url, timeout).await {
        Ok(session) => session,
        Err(error) => return error,
    };
    *pause = PAUSE.0;
    tokio::select! {
        why = session.ended(PATIENCE) => why,
        Err(why) = follow(&session, url, found) => why,
    }
}

async fn follow(
    session: &Session,
    url: &Url,
    found: &watch::Sender<Found>,
) -> Result<std::convert::Infallible, Error> {
    let mut last = None;
    loop {
        let (children, changed) = session.children().await?;
        let leading = Candidate::leading(&children);
        if leading.is_none() || leading != last {
            let now = match &leading {
                None => Found::Nobody(format!("no master leads at {url}")),
                Some(candidate) => match session.info(candidate).await? {
                    Some(Ok(info)) => Found::Leader(address(&info)),
                    Some(Err(fault)) => Found::Nobody(format!("{url}: {fault}")),
                    // The children have changed once more.
                    None => continue,
                },
            };
            found.send_if_modified(|then| {
                let differs = *then != now;
                *then = now;
                differs
            });
            last = leading;
        }
        changed.changed().await;
    }
}
