//! Masters that meet in etcd.

mod client;
mod masters;
mod tls;

pub use client::{Client, Error, decoded, encoded, end_of, number};
pub use masters::{Candidate, Masters, changed, key_of, masters};
pub use tls::Tls;

use crate::zookeeper::address;
use crate::{Found, Url};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest time without a look: a server that hangs tells of nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Longest time without a server for which what was seen last is believed.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Times between attempts to reach a server.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Shortest time between looks: a watch that breaks at once is no reason for haste.
const REST: Duration = Duration::from_millis(20);

/// Looks until nobody wants to know any more.
pub(crate) async fn look(url: Url, max: Duration, found: watch::Sender<Found>) {
    let client = Client::new(&url);
    let (mut pause, mut seen) = (PAUSE.0, Instant::now());
    loop {
        let asked = tokio::select! {
            asked = masters(&client, max) => asked,
            () = found.closed() => return,
        };
        let (now, wait) = match asked {
            Ok(masters) => {
                (pause, seen) = (PAUSE.0, Instant::now());
                (Some(leader(&url, &masters)), Some(masters.revision))
            }
            Err(Error::Unreachable(why)) => {
                let was_found = matches!(&*found.borrow(), Found::Leader(_));
                let believed = was_found && seen.elapsed() < PATIENCE;
                ((!believed).then(|| Found::Nobody(format!("{url}: {why}"))), None)
            }
            Err(why) => (Some(Found::Nobody(format!("{url}: {why}"))), None),
        };
        if let Some(now) = now {
            found.send_if_modified(|then| {
                let differs = *then != now;
                *then = now;
                differs
            });
        }
        let next = async {
            match wait {
                Some(revision) => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, changed(&client, revision)).await;
                    tokio::time::sleep(REST).await;
                }
                None => tokio::time::sleep(pause).await,
            }
        };
        tokio::select! {
            () = next => {}
            () = found.closed() => return,
        }
        if wait.is_none() {
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

fn leader(url: &Url, masters: &Masters) -> Found {
    match masters.all.first() {
        None => Found::Nobody(format!("no master leads at {url}")),
        Some(Candidate { info: Ok(info), .. }) => Found::Leader(address(info)),
        Some(Candidate { info: Err(fault), .. }) => Found::Nobody(format!("{url}: {fault}")),
    }
}
