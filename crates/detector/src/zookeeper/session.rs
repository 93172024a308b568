//! A session with an ensemble.

use super::Candidate;
use crate::Url;
use std::time::Duration;
use wire::v1;
use zookeeper_client::{Client, Error, OneshotWatcher, SessionState};

/// Whether a call failed for want of a server: it may have been carried out, and may be made again in this session.
#[must_use]
pub fn is_lost_connection(error: &Error) -> bool {
    // Faults of the socket come as they are.
    matches!(error, Error::ConnectionLoss | Error::Custom(_))
}

/// A session; it ends when it is dropped.
#[derive(Debug)]
pub struct Session {
    client: Client,
    path: String,
}

impl Session {
    /// Opens one. Tries the servers for about `timeout`.
    ///
    /// # Errors
    /// When no server can be reached in that time.
    pub async fn open(url: &Url, timeout: Duration) -> Result<Self, Error> {
        let mut connector = Client::connector().with_session_timeout(timeout);
        if let Some(credentials) = &url.credentials {
            connector = connector.with_auth("digest", credentials.as_bytes());
        }
        Ok(Self { client: connector.connect(&url.servers).await?, path: url.path.clone() })
    }

    /// For other calls than those here.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The directory's children, and what tells of the next change of them. Waits until there is a directory.
    ///
    /// # Errors
    /// When it may not be read, or the session ends.
    pub async fn children(&self) -> Result<(Vec<String>, OneshotWatcher), Error> {
        loop {
            let listed = persist(&self.client, || async {
                match self.client.list_and_watch_children(&self.path).await {
                    Err(Error::NoNode) => Ok(None),
                    other => other.map(Some),
                }
            });
            if let Some(found) = listed.await? {
                return Ok(found);
            }
            let stat = || async { self.client.check_and_watch_stat(&self.path).await };
            if let (None, made) = persist(&self.client, stat).await? {
                made.changed().await;
            }
        }
    }

    /// Who a candidate is; None: it has gone.
    ///
    /// # Errors
    /// The inner one when its data is not understood.
    pub async fn info(
        &self,
        candidate: &Candidate,
    ) -> Result<Option<Result<v1::MasterInfo, String>>, Error> {
        let path = format!("{}/{}", self.path, candidate.name);
        match persist(&self.client, || async { self.client.get_data(&path).await }).await {
            Ok((data, _)) => Ok(Some(candidate.info(&data))),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of the session, or until there has been no server for `patience`.
    pub async fn ended(&self, patience: Duration) -> Error {
        let mut states = self.client.state_watcher();
        let mut state = states.state();
        loop {
            if let Some(end) = end_of(state) {
                return end;
            }
            let changed = states.changed();
            state = if state == SessionState::Disconnected {
                match tokio::time::timeout(patience, changed).await {
                    Ok(state) => state,
                    Err(_) => return Error::Timeout,
                }
            } else {
                changed.await
            };
        }
    }
}

/// What a state means that is the last one of a session.
fn end_of(state: SessionState) -> Option<Error> {
    match state {
        SessionState::AuthFailed => Some(Error::AuthFailed),
        SessionState::Expired => Some(Error::SessionExpired),
        SessionState::Closed => Some(Error::ClientClosed),
        SessionState::Disconnected
        | SessionState::SyncConnected
        | SessionState::ConnectedReadOnly => None,
    }
}

/// Waits for a server while there is none.
///
/// # Errors
/// When the session ends.
pub async fn connected(client: &Client) -> Result<(), Error> {
    let mut states = client.state_watcher();
    let mut state = states.state();
    while state == SessionState::Disconnected {
        state = states.changed().await;
    }
    end_of(state).map_or(Ok(()), Err)
}

/// Makes a call again for as long as it fails for want of a server.
///
/// # Errors
/// That of the call otherwise, or when the session ends.
pub async fn persist<T, F: Future<Output = Result<T, Error>>>(
    client: &Client,
    call: impl Fn() -> F,
) -> Result<T, Error> {
    loop {
        match call().await {
            Err(error) if is_lost_connection(&error) => connected(client).await?,
            other => return other,
        }
    }
}
