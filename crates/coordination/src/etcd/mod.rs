//! Election and registry in etcd: a master is a key that is bound to its lease, the oldest one leads.

mod registry;

use crate::divided::Divided;
use crate::former::Former;
use crate::lease::Report;
use crate::{Meeting, RegistryError, Standing};
use detector::etcd::{
    Candidate, Client, Error, Masters, changed, encoded, key_of, masters, number,
};
use detector::zookeeper::address;
use registry::Shared;
use serde_json::json;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wire::v1;

/// Times between attempts to become a candidate.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Longest time to give up a place before the process ends.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// Longest time without a look at the other masters.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Shortest time between looks.
const REST: Duration = Duration::from_millis(20);

/// The key by which a master is elected.
#[derive(Debug, Clone)]
struct Candidacy {
    key: String,
    lease: i64,
    /// Revision at which it was made.
    revision: i64,
}

/// Why contending has come to a stop.
enum Stop {
    /// The lease has ended, or there is no server; another lease may do.
    Lease(Error),
    /// For good.
    Over(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Lease(error)
    }
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        Self::Over(format!("cannot take over the registry: {error}"))
    }
}

struct Contender {
    at: Meeting,
    me: v1::MasterInfo,
    standing: Report,
    former: Option<Former>,
    leads: bool,
}

/// Contends until it leaves or can't any more.
pub(crate) async fn contend(
    at: Meeting,
    me: v1::MasterInfo,
    former: Option<Former>,
    standing: Report,
    mut left: oneshot::Receiver<()>,
) {
    let mut contender = Contender { at, me, standing, former, leads: false };
    let client = Client::new(&contender.at.url);
    let mut pause = PAUSE.0;
    loop {
        let stop = tokio::select! {
            granted = contender.grant(&client) => match granted {
                Ok((lease, seconds, begun)) => {
                    pause = PAUSE.0;
                    tokio::select! {
                        stop = contender.serve(&client, lease, seconds, begun) => stop,
                        _ = &mut left => {
                            let revoke = json!({"ID": lease.to_string()});
                            let _ = client.call("lease/revoke", &revoke, LEAVE_MAX).await;
                            return;
                        }
                    }
                }
                Err(error) => Stop::Lease(error),
            },
            _ = &mut left => return,
        };
        if let Some(why) = contender.over(stop) {
            contender.standing.send(Standing::Over(why)).await;
            return;
        }
        contender.standing.send(Standing::Nobody).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = &mut left => return,
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

impl Contender {
    /// What ends the process, if this does.
    fn over(&self, stop: Stop) -> Option<String> {
        let url = &self.at.url;
        match stop {
            Stop::Over(why) => Some(why),
            Stop::Lease(why) if self.leads => {
                Some(format!("Lost leadership: the lease at {url} is not renewed: {why}"))
            }
            Stop::Lease(Error::Denied(why)) => Some(format!(
                "{url} does not let this master in: {why}; check the user and password in the URL, and the user's \
                 role: it needs all rights on the keys that begin with {}/",
                url.path
            )),
            Stop::Lease(why) => {
                tracing::warn!(%url, %why, "no lease of etcd; trying again");
                None
            }
        }
    }

    /// A lease, its length, and when it was asked for.
    async fn grant(&self, client: &Client) -> Result<(i64, Duration, Instant), Error> {
        let max = self.at.session_timeout;
        let begun = Instant::now();
        let seconds = max.as_secs().max(1).to_string();
        let granted = client.call("lease/grant", &json!({"TTL": seconds}), max).await?;
        let seconds = Duration::from_secs(u64::try_from(number(&granted["TTL"])).unwrap_or(0));
        Ok((number(&granted["ID"]), seconds, begun))
    }

    async fn serve(
        &mut self,
        client: &Client,
        lease: i64,
        length: Duration,
        begun: Instant,
    ) -> Stop {
        let (url, standing) = (self.at.url.clone(), self.standing.clone());
        tokio::select! {
            why = renew(Client::new(&url), lease, length, begun, &standing) => Stop::Lease(why),
            Err(stop) = self.follow(client, lease) => stop,
        }
    }

    async fn follow(
        &mut self,
        client: &Client,
        lease: i64,
    ) -> Result<std::convert::Infallible, Stop> {
        let mut own = self.enter(client, lease).await?;
        if let Some(former) = &self.former {
            former.fits(&self.registry(&own)).await.map_err(|e| Stop::Over(e.to_string()))?;
        }
        let mut last = None;
        loop {
            let Masters { revision, all } = masters(client, self.at.session_timeout).await?;
            if !all.iter().any(|master| master.lease == lease) {
                if self.leads {
                    let why = format!("Lost candidacy as a leader: {} was deleted", own.key);
                    return Err(Stop::Over(why));
                }
                own = self.enter(client, lease).await?;
                continue;
            }
            self.standing.meets(all.iter().filter_map(|one| one.info.clone().ok()).collect());
            let leading = all.into_iter().next();
            let is_own = leading.as_ref().is_some_and(|leader| leader.lease == lease);
            if is_own && !self.leads {
                // From now on nobody is sent to the former leader, also before this one has the registry.
                let _ = self.standing.send(Standing::Nobody).await;
                let taken = self.registry(&own).take().await?;
                let mut registry = Divided::open(taken, self.at.timeouts).await?;
                if let Some(former) = self.former.take() {
                    former.move_into(&mut registry).await?;
                }
                self.leads = true;
                self.standing.send(Standing::Leads(Box::new(registry))).await;
            } else if !is_own && self.leads {
                return Err(Stop::Over("Conceded leadership to an older master".to_owned()));
            } else if !is_own && leading != last {
                self.tell(leading.as_ref()).await;
            }
            last = leading;
            let _ = tokio::time::timeout(LOOK_AGAIN, changed(client, revision)).await;
            tokio::time::sleep(REST).await;
        }
    }

    fn registry(&self, own: &Candidacy) -> Shared {
        let client = Client::new(&self.at.url);
        Shared::new(client, &self.at.url.to_string(), own.clone(), &self.me.id)
    }

    /// Tells who leads.
    async fn tell(&self, leading: Option<&Candidate>) {
        let Some(candidate) = leading else { return };
        let standing = match &candidate.info {
            // A former life of this very master, whose lease has not ended yet, redirects nobody.
            Ok(info) if address(info) == address(&self.me) => Standing::Nobody,
            Ok(info) => Standing::Follows(Box::new(info.clone())),
            Err(fault) => {
                tracing::error!(url = %self.at.url, %fault, "nobody can lead; remove that key");
                Standing::Nobody
            }
        };
        self.standing.send(standing).await;
    }

    /// Becomes a candidate.
    async fn enter(&self, client: &Client, lease: i64) -> Result<Candidacy, Error> {
        let key = key_of(client, lease);
        let value = encoded(wire::json::to_vec(&self.me));
        let transaction = json!({
            "compare": [{"key": encoded(&key), "target": "CREATE", "create_revision": "0"}],
            "success": [{"request_put": {
                "key": encoded(&key), "value": value, "lease": lease.to_string(),
            }}],
            "failure": [{"request_range": {"key": encoded(&key)}}],
        });
        let answer = client.call("kv/txn", &transaction, self.at.session_timeout).await?;
        // It may have been made before the connection broke.
        let found = &answer["responses"][0]["response_range"]["kvs"][0]["create_revision"];
        let made = &answer["header"]["revision"];
        let revision = number(if answer["succeeded"] == true { made } else { found });
        Ok(Candidacy { key, lease, revision })
    }
}

/// Renews a lease until that fails: it ends after the last renewal's begin and its length, and this ends earlier.
async fn renew(
    client: Client,
    lease: i64,
    length: Duration,
    begun: Instant,
    standing: &Report,
) -> Error {
    let body = json!({"ID": lease.to_string()});
    let mut renewed = begun;
    loop {
        standing.lasts(renewed + length * 2 / 3);
        tokio::time::sleep(length / 6).await;
        let now = Instant::now();
        let left = (renewed + length / 2).saturating_duration_since(now);
        match client.call("lease/keepalive", &body, left).await {
            Ok(answer) if number(&answer["result"]["TTL"]) > 0 => renewed = now,
            Ok(_) => return Error::Refused("it has ended".to_owned()),
            Err(error) => return error,
        }
    }
}
