//! Election and registry in ZooKeeper (spec/operations.md 1.2, 1.3): a master is an ephemeral child of the directory,
//! the one with the lowest number leads.

mod registry;

use crate::divided::Divided;
use crate::former::Former;
use crate::lease::Report;
use crate::{Meeting, RegistryError, Standing};
use detector::Url;
use detector::zookeeper::{
    Candidate, JSON_LABEL, Session, address, connected, is_lost_connection, persist,
};
use registry::Shared;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wire::v1;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Error, Permission};

/// Times between attempts to open a session.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Longest time to give up a place before the process ends.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Why contending has come to a stop.
enum Stop {
    /// The session has ended; another one may do.
    Session(Error),
    /// For good.
    Over(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Session(error)
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
    let mut pause = PAUSE.0;
    loop {
        let stop = tokio::select! {
            opened = Session::open(&contender.at.url, contender.at.session_timeout) => match opened {
                Ok(session) => {
                    pause = PAUSE.0;
                    tokio::select! {
                        stop = contender.serve(&session) => stop,
                        _ = &mut left => {
                            let withdraw = contender.withdraw(session.client());
                            let _ = tokio::time::timeout(LEAVE_MAX, withdraw).await;
                            return;
                        }
                    }
                }
                Err(error) => Stop::Session(error),
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

/// Rights on what all may see: everything for whoever has made it, and reading for others.
fn acls(url: &Url) -> [Acl; 2] {
    let all = if url.credentials.is_some() { AuthId::authed() } else { AuthId::anyone() };
    [Acl::new(Permission::ALL, all), Acl::new(Permission::READ, AuthId::anyone())]
}

/// Rights on the registry: nothing for others.
fn acls_within(url: &Url) -> Acls<'static> {
    if url.credentials.is_some() { Acls::creator_all() } else { Acls::anyone_all() }
}

impl Contender {
    /// What ends the process, if this does.
    fn over(&self, stop: Stop) -> Option<String> {
        let url = &self.at.url;
        match stop {
            Stop::Over(why) => Some(why),
            Stop::Session(why) if self.leads => {
                Some(format!("Lost leadership: the session with {url} has ended: {why}"))
            }
            Stop::Session(Error::NoAuth | Error::AuthFailed | Error::InvalidAcl) => Some(format!(
                "{url} does not let this master in; check the user and password in the URL, and the ACL of the path"
            )),
            Stop::Session(why) => {
                tracing::warn!(%url, %why, "no session with ZooKeeper; trying again");
                None
            }
        }
    }

    async fn serve(&mut self, session: &Session) -> Stop {
        // A client notices a silent server after two fifths of the timeout; before the server replaces this master,
        // it must know that it does not lead any more.
        let patience = session.client().session_timeout() / 2;
        let (standing, path) = (self.standing.clone(), self.at.url.path.clone());
        tokio::select! {
            () = keep(session.client(), &path, &standing) => Stop::Session(Error::Timeout),
            why = session.ended(patience) => Stop::Session(why),
            Err(stop) = self.follow(session) => stop,
        }
    }

    async fn follow(&mut self, session: &Session) -> Result<std::convert::Infallible, Stop> {
        prepare(session, &self.at.url).await?;
        if let Some(former) = &self.former {
            let registry = Shared::new(session, &self.at.url, &self.me.id);
            former.fits(&registry).await.map_err(|e| Stop::Over(e.to_string()))?;
        }
        let mut own = self.enter(session).await?;
        let mut last = None;
        loop {
            let (children, changed) = session.children().await?;
            if !children.contains(&own) {
                if self.leads {
                    let why = format!("Lost candidacy as a leader: {own} was deleted");
                    return Err(Stop::Over(why));
                }
                own = self.enter(session).await?;
                continue;
            }
            let leading = Candidate::leading(&children);
            let is_own = leading.as_ref().is_some_and(|candidate| candidate.name == own);
            if is_own && !self.leads {
                // From now on nobody is sent to the former leader, also before this one has the registry.
                let _ = self.standing.send(Standing::Nobody).await;
                let taken = Shared::new(session, &self.at.url, &self.me.id).take().await;
                let taken = taken.map_err(|why| match why {
                    Error::NoAuth => Stop::Session(why),
                    why => Stop::Over(format!("cannot take over the registry: {why}")),
                })?;
                let registry = self.open(taken).await;
                let registry = registry
                    .map_err(|e| Stop::Over(format!("cannot take over the registry: {e}")))?;
                self.leads = true;
                self.standing.send(Standing::Leads(Box::new(registry))).await;
            } else if !is_own && self.leads {
                let name = leading.map(|candidate| candidate.name).unwrap_or_default();
                return Err(Stop::Over(format!("Conceded leadership to {name}")));
            } else if !is_own && leading != last {
                self.tell(session, leading.as_ref()).await?;
            }
            last = leading;
            self.meet(session, &children).await?;
            changed.changed().await;
        }
    }

    /// The registry, with what this master has left when it was alone.
    async fn open(&mut self, taken: Shared) -> Result<Divided<Shared>, RegistryError> {
        let mut registry = Divided::open(taken, self.at.timeouts).await?;
        if let Some(former) = self.former.take() {
            former.move_into(&mut registry).await?;
        }
        Ok(registry)
    }

    /// Tells who leads.
    async fn tell(&self, session: &Session, leading: Option<&Candidate>) -> Result<(), Error> {
        let Some(candidate) = leading else { return Ok(()) };
        let standing = match session.info(candidate).await? {
            // A former life of this very master, whose session has not ended yet, redirects nobody.
            Some(Ok(info)) if address(&info) == address(&self.me) => Standing::Nobody,
            Some(Ok(info)) => Standing::Follows(Box::new(info)),
            Some(Err(fault)) => {
                tracing::error!(url = %self.at.url, %fault, "nobody can lead; remove that znode");
                Standing::Nobody
            }
            None => return Ok(()),
        };
        self.standing.send(standing).await;
        Ok(())
    }

    /// Tells who else contends.
    async fn meet(&self, session: &Session, children: &[String]) -> Result<(), Error> {
        let mut masters = Vec::new();
        for candidate in children.iter().filter_map(|name| Candidate::leading([name])) {
            // One may have left meanwhile.
            if let Some(Ok(info)) = session.info(&candidate).await? {
                masters.push(info);
            }
        }
        self.standing.meets(masters);
        Ok(())
    }

    /// Becomes a candidate: the name of the child.
    async fn enter(&self, session: &Session) -> Result<String, Error> {
        let client = session.client();
        let prefix = format!("{}/{JSON_LABEL}", self.at.url.path);
        let acls = acls(&self.at.url);
        let options = CreateMode::EphemeralSequential.with_acls(Acls::new(&acls));
        let data = wire::json::to_vec(&self.me);
        loop {
            match client.create(&prefix, &data, &options).await {
                Ok((_, sequence)) => return Ok(format!("{JSON_LABEL}{sequence}")),
                // It may have been made all the same.
                Err(error) if is_lost_connection(&error) => {
                    connected(client).await?;
                    for path in client.list_ephemerals(&prefix).await? {
                        if let Some((_, name)) = path.rsplit_once('/') {
                            return Ok(name.to_owned());
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn withdraw(&self, client: &Client) {
        let prefix = format!("{}/{JSON_LABEL}", self.at.url.path);
        for path in client.list_ephemerals(&prefix).await.unwrap_or_default() {
            let _ = client.delete(&path, None).await;
        }
    }
}

/// Confirms a lease as long as servers answer: the session lasts for its timeout from the last word of its client at
/// least.
async fn keep(client: &Client, path: &str, standing: &Report) {
    let timeout = client.session_timeout();
    loop {
        let begun = Instant::now();
        if client.sync(path).await.is_ok() {
            standing.lasts(begun + timeout * 2 / 3);
        }
        tokio::time::sleep(timeout / 8).await;
    }
}

/// Makes the directory.
async fn prepare(session: &Session, url: &Url) -> Result<(), Error> {
    let acls = acls(url);
    let options = CreateMode::Persistent.with_acls(Acls::new(&acls));
    let client = session.client();
    match persist(client, || async { client.mkdir(&url.path, &options).await }).await {
        Err(Error::NodeExists) => Ok(()),
        other => other,
    }
}
