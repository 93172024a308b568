//! Calls of etcd's API, version 3, in JSON: every server answers them beside gRPC (its gateway).

use super::tls::Secured;
use crate::Url;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest time for one server to answer while there are others to be asked.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// Time between attempts when no server answers.
const PAUSE: Duration = Duration::from_millis(100);

/// Codes of gRPC that are told apart here.
mod code {
    pub(super) const INVALID_ARGUMENT: i64 = 3;
    pub(super) const DEADLINE_EXCEEDED: i64 = 4;
    pub(super) const PERMISSION_DENIED: i64 = 7;
    pub(super) const UNAVAILABLE: i64 = 14;
    pub(super) const UNAUTHENTICATED: i64 = 16;
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server could be asked, or none answered in time: it may have been carried out.
    #[error("{0}")]
    Unreachable(String),
    /// The user or the password is wrong, or the user may not do it.
    #[error("{0}")]
    Denied(String),
    /// It was not carried out: says why.
    #[error("{0}")]
    Refused(String),
}

fn unreachable(error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Error::Unreachable(text)
}

type Connection = SendRequest<Full<Bytes>>;

/// Asks the servers of a cluster, one call at a time; all of them are as good.
#[derive(Debug)]
pub struct Client {
    servers: Vec<String>,
    credentials: Option<(String, String)>,
    path: String,
    tls: Option<Secured>,
    /// Number of the server that has answered last.
    server: AtomicUsize,
    connection: tokio::sync::Mutex<Option<Connection>>,
    token: std::sync::Mutex<Option<String>>,
}

/// A key or value as it stands in a call.
#[must_use]
pub fn encoded(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(STANDARD.encode(bytes))
}

/// A key or value of an answer; what is empty is left out there.
#[must_use]
pub fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
}

/// A number of an answer: it stands there as text, and zero is left out.
#[must_use]
pub fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// The end of the range of all keys that begin so.
#[must_use]
pub fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // No byte of a text is 255.
        *last += 1;
    }
    end
}

impl Client {
    /// Asks the servers of this URL; nothing is done yet.
    #[must_use]
    pub fn new(url: &Url) -> Self {
        let credentials = url.credentials.as_deref().and_then(|text| text.split_once(':'));
        Self {
            servers: url.servers.split(',').map(str::to_owned).collect(),
            credentials: credentials.map(|(user, secret)| (user.to_owned(), secret.to_owned())),
            path: url.path.clone(),
            tls: url.tls.clone().map(Secured::new),
            server: AtomicUsize::new(0),
            connection: tokio::sync::Mutex::default(),
            token: std::sync::Mutex::default(),
        }
    }

    /// The directory of the URL.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Calls until a server has answered or so much time is over. A call that is made again may have been carried out
    /// before.
    ///
    /// # Errors
    /// When no server answers in time, or what one answers is a refusal.
    pub async fn call(&self, name: &str, body: &Value, max: Duration) -> Result<Value, Error> {
        let deadline = Instant::now() + max;
        let attempt = if self.servers.len() > 1 { (max / 2).min(ATTEMPT_MAX) } else { max };
        let mut renewed = false;
        loop {
            let until = deadline.min(Instant::now() + attempt);
            let answer = match tokio::time::timeout_at(until, self.authorized(name, body)).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Unreachable(format!("{} does not answer", self.server()))),
            };
            match answer {
                Err(Error::Unreachable(why)) => {
                    self.tls.iter().for_each(Secured::forget);
                    self.server.fetch_add(1, Ordering::Relaxed);
                    if Instant::now() + PAUSE >= deadline {
                        return Err(Error::Unreachable(why));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                // Tokens end after some minutes, and when the rights of users change.
                Err(Error::Denied(_)) if !renewed && self.token().is_some() => {
                    renewed = true;
                    self.set_token(None);
                }
                other => return other,
            }
        }
    }

    /// Opens an answer that has no end. Its connection is its own.
    ///
    /// # Errors
    /// When the server can't be asked, or refuses.
    pub(super) async fn open(&self, name: &str, body: &Value) -> Result<Incoming, Error> {
        self.authorize().await?;
        let mut connection = self.connect().await?;
        let response = self.post(&mut connection, name, body).await?;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let error = fault(response).await;
        if matches!(error, Error::Denied(_)) {
            self.set_token(None);
        }
        Err(error)
    }

    fn server(&self) -> String {
        self.servers[self.server.load(Ordering::Relaxed) % self.servers.len()].clone()
    }

    fn token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_token(&self, token: Option<String>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    async fn authorized(&self, name: &str, body: &Value) -> Result<Value, Error> {
        self.authorize().await?;
        self.once(name, body).await
    }

    /// Gets a token if there are credentials.
    async fn authorize(&self) -> Result<(), Error> {
        let Some((user, secret)) = &self.credentials else { return Ok(()) };
        if self.token().is_some() {
            return Ok(());
        }
        let body = json!({"name": user, "password": secret});
        match self.once("auth/authenticate", &body).await {
            Ok(answer) => {
                self.set_token(answer["token"].as_str().map(str::to_owned));
                Ok(())
            }
            // Whoever asks for no password lets everybody in.
            Err(Error::Refused(why)) if why.contains("authentication is not enabled") => Ok(()),
            Err(Error::Refused(why)) => Err(Error::Denied(why)),
            Err(error) => Err(error),
        }
    }

    async fn once(&self, name: &str, body: &Value) -> Result<Value, Error> {
        // Taken out: a call that is given up leaves a connection that nobody may use again.
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = self.post(&mut connection, name, body).await?;
        if response.status() != StatusCode::OK {
            return Err(fault(response).await);
        }
        let bytes = response.into_body().collect().await.map_err(|e| unreachable(&e))?.to_bytes();
        let answer = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Refused(format!("the answer is not understood: {e}")))?;
        *kept = Some(connection);
        Ok(answer)
    }

    async fn post(
        &self,
        connection: &mut Connection,
        name: &str,
        body: &Value,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::post(format!("/v3/{name}")).header(header::HOST, self.server());
        if let Some(token) = self.token() {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request =
            request.body(Full::new(Bytes::from(body.to_string()))).map_err(|e| unreachable(&e))?;
        connection.ready().await.map_err(|e| unreachable(&e))?;
        connection.send_request(request).await.map_err(|e| unreachable(&e))
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let server = self.server();
        let socket = TcpStream::connect(&server)
            .await
            .map_err(|e| Error::Unreachable(format!("cannot connect to {server}: {e}")))?;
        socket.set_nodelay(true).map_err(|e| unreachable(&e))?;
        match &self.tls {
            None => speak(socket).await,
            Some(tls) => {
                speak(tls.secure(socket, &server).await.map_err(Error::Unreachable)?).await
            }
        }
    }
}

async fn speak(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connection, Error> {
    let (sender, connection) =
        handshake(TokioIo::new(socket)).await.map_err(|e| unreachable(&e))?;
    tokio::spawn(connection);
    Ok(sender)
}

/// What an answer means that is none.
async fn fault(response: Response<Incoming>) -> Error {
    let status = response.status();
    let body = response.into_body().collect().await.map(|body| body.to_bytes());
    let body = body.unwrap_or_default();
    let Ok(answer) = serde_json::from_slice::<Value>(&body) else {
        return Error::Refused(format!(
            "the server answers {status} and no JSON; is it etcd 3.4 or later, with --enable-grpc-gateway?"
        ));
    };
    let text = answer["message"].as_str().or(answer["error"].as_str()).unwrap_or("no reason");
    let text = text.trim_start_matches("etcdserver: ").to_owned();
    match number(&answer["code"]) {
        code::UNAVAILABLE | code::DEADLINE_EXCEEDED => Error::Unreachable(text),
        code::PERMISSION_DENIED | code::UNAUTHENTICATED => Error::Denied(text),
        code::INVALID_ARGUMENT
            if ["authentication failed", "user name", "auth store", "invalid auth"]
                .iter()
                .any(|word| text.contains(word)) =>
        {
            Error::Denied(text)
        }
        _ => Error::Refused(text),
    }
}
