//! A session with an ensemble.

use super::{Candidate, Url};
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
            match self.client.list_and_watch_children(&self.path).await {
                Err(Error::NoNode) => {}
                Err(error) if is_lost_connection(&error) => self.connected().await?,
                other => return other,
            }
            match self.client.check_and_watch_stat(&self.path).await {
                Ok((None, made)) => {
                    made.changed().await;
                }
                Ok((Some(_), _)) => {}
                Err(error) if is_lost_connection(&error) => self.connected().await?,
                Err(error) => return Err(error),
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
        loop {
            match self.client.get_data(&format!("{}/{}", self.path, candidate.name)).await {
                Ok((data, _)) => return Ok(Some(candidate.info(&data))),
                Err(Error::NoNode) => return Ok(None),
                Err(error) if is_lost_connection(&error) => self.connected().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a server while there is none.
    ///
    /// # Errors
    /// When the session ends.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut states = self.client.state_watcher();
        let mut state = states.state();
        loop {
            match state {
                SessionState::SyncConnected | SessionState::ConnectedReadOnly => return Ok(()),
                SessionState::Disconnected => state = states.changed().await,
                SessionState::AuthFailed => return Err(Error::AuthFailed),
                SessionState::Expired => return Err(Error::SessionExpired),
                SessionState::Closed => return Err(Error::ClientClosed),
            }
        }
    }

    /// Waits for the end of the session, or until there has been no server for `patience`.
    pub async fn ended(&self, patience: Duration) -> Error {
        let mut states = self.client.state_watcher();
        let mut state = states.state();
        loop {
            state = match state {
                SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                    states.changed().await
                }
                SessionState::Disconnected => {
                    match tokio::time::timeout(patience, states.changed()).await {
                        Ok(state) => state,
                        Err(_) => return Error::Timeout,
                    }
                }
                SessionState::AuthFailed => return Error::AuthFailed,
                SessionState::Expired => return Error::SessionExpired,
                SessionState::Closed => return Error::ClientClosed,
            };
        }
    }
}
