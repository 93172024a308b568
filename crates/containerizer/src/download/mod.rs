//! HTTP and HTTPS requests for what a container needs from elsewhere: images and fetched files.
//!
//! One connection a request: what is fetched is large, so what a pool would save is small. Certificates are checked
//! against the system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace it), which is read when the first `https` URI
//! is asked for.

mod address;
mod proxy;
mod tls;

pub use tls::config as tls_config;

use crate::network::Network;
use address::Address;
pub(crate) use address::basic;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use proxy::Proxies;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Redirects that curl follows, and so checks.
const REDIRECTS_OF_CHECKS_MAX: usize = 50;
/// Time to reach a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why something could not be downloaded. Displayed after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The URI is not one of these.
    #[error("understand '{uri}': {text}")]
    Uri {
        /// What was asked for.
        uri: String,
        /// What is wrong.
        text: String,
    },
    /// There is no server there.
    #[error("connect to {host}: {source}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("read from {host}: {text}")]
    Broken {
        /// Host and port.
        host: String,
        /// What happened.
        text: String,
    },
    /// Nothing came for too long.
    #[error("read from {host}: nothing came for {} seconds", after.as_secs_f64())]
    Stalled {
        /// Host and port.
        host: String,
        /// For how long it was waited.
        after: Duration,
    },
    /// The body is longer than it may be.
    #[error("read from {host}: the answer is longer than {max} bytes")]
    TooLong {
        /// Host and port.
        host: String,
        /// The most.
        max: usize,
    },
    /// A redirect leads nowhere.
    #[error("follow {uri}: {text}")]
    Redirect {
        /// Who redirects.
        uri: String,
        /// What is wrong.
        text: String,
    },
}

/// Makes requests.
#[derive(Debug, Clone)]
pub struct Client {
    stall_timeout: Duration,
    redirects_max: usize,
    /// Servers need not prove who they are.
    is_lenient: bool,
    network: Network,
    proxies: Arc<Proxies>,
}

/// The answer to a request; its body comes piece by piece.
#[derive(Debug)]
pub struct Answer {
    /// Where it came from, after redirects.
    pub uri: Uri,
    /// Status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    body: Incoming,
    host: String,
    stall_timeout: Duration,
}

impl Client {
    /// A client that gives up when nothing comes for `stall_timeout`, and that asks the proxies which the environment
    /// names (`https_proxy` and its like, as curl reads them).
    pub fn new(stall_timeout: Duration) -> Self {
        Self::in_environment(stall_timeout, |name| std::env::var(name).ok())
    }

    /// The same in another environment; `variable` looks into it.
    pub fn in_environment(
        stall_timeout: Duration,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            stall_timeout,
            redirects_max: REDIRECTS_MAX,
            is_lenient: false,
            network: Network::default(),
            proxies: Arc::new(Proxies::of(variable)),
        }
    }

    /// A client for checks: it believes every server, and connects from inside a network, without proxies.
    pub(crate) fn lenient(stall_timeout: Duration, network: Network) -> Self {
        let (redirects_max, proxies) = (REDIRECTS_OF_CHECKS_MAX, Arc::default());
        Self { stall_timeout, redirects_max, is_lenient: true, network, proxies }
    }

    /// Asks once; a redirect is an answer like others. A user and password in the URI are sent as Basic credentials.
    ///
    /// # Errors
    /// When there is no answer. A status of 4xx or 5xx is no error here.
    pub async fn get(&self, uri: &Uri, headers: &HeaderMap) -> Result<Answer, Fault> {
        self.ask(Method::GET, uri, headers).await
    }

    async fn ask(&self, method: Method, uri: &Uri, headers: &HeaderMap) -> Result<Answer, Fault> {
        let address = Address::of(uri)?;
        let proxy = self.proxies.choose(&address)?;
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT, self.connect(&address, proxy.as_ref()));
        let stream = connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|source| Fault::Connect { host: address.shown(), source })?;
        let proxy = proxy.filter(|_| !address.tls);
        let mut request = Request::builder().method(method);
        // A proxy is told the whole of it.
        request = match &proxy {
            Some(_) => request.uri(format!("http://{}{}", address.shown(), address.path)),
            None => request.uri(address.path.clone()),
        };
        if let Some(all) = request.headers_mut() {
            *all = headers.clone();
            all.insert(HOST, address.host_header.clone());
            if let Some(credentials) = proxy.and_then(|proxy| proxy.credentials) {
                all.insert(PROXY_AUTHORIZATION, credentials);
            }
            all.entry(USER_AGENT).or_insert(HeaderValue::from_static("proffer"));
            if let Some(credentials) = &address.credentials {
                all.entry(AUTHORIZATION).or_insert(credentials.clone());
            }
        }
        let broken = |text: String| Fault::Broken { host: address.shown(), text };
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| broken(e.to_string()))?;
        let asked = async {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
            // Ends with the answer's body.
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let answer = tokio::time::timeout(self.stall_timeout, asked)
            .await
            .map_err(|_| Fault::Stalled { host: address.shown(), after: self.stall_timeout })?
            .map_err(|e| broken(chain(&e)))?;
        let (head, body) = answer.into_parts();
        Ok(Answer {
            uri: uri.clone(),
            status: head.status,
            headers: head.headers,
            body,
            host: address.shown(),
            stall_timeout: self.stall_timeout,
        })
    }

    /// Asks, and follows redirects. Credentials go to the first server only.
    ///
    /// # Errors
    /// As [`Client::get`]; also when there are too many redirects.
    pub async fn follow(&self, uri: &Uri, headers: &HeaderMap) -> Result<Answer, Fault> {
        self.follow_as(Method::GET, uri, headers).await
    }

    /// Asks as [`Client::follow`] does, but for the header fields only.
    ///
    /// # Errors
    /// As [`Client::follow`].
    pub async fn head(&self, uri: &Uri, headers: &HeaderMap) -> Result<Answer, Fault> {
        self.follow_as(Method::HEAD, uri, headers).await
    }

    async fn follow_as(
        &self,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Answer, Fault> {
        let (mut uri, mut headers) = (uri.clone(), headers.clone());
        for _ in 0..=self.redirects_max {
            let answer = self.ask(method.clone(), &uri, &headers).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let Some(location) = answer.headers.get(LOCATION) else { return Ok(answer) };
            uri = address::relative(&uri, location)?;
            headers.remove(AUTHORIZATION);
            headers.remove(COOKIE);
        }
        let text = format!("more than {} redirects", self.redirects_max);
        Err(Fault::Redirect { uri: uri.to_string(), text })
    }
}

impl Client {
    async fn connect(
        &self,
        address: &Address,
        proxy: Option<&Address>,
    ) -> io::Result<TokioIo<Box<dyn Stream>>> {
        let next = proxy.unwrap_or(address);
        let mut tcp = self.network.connect(&next.host, next.port).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if address.tls {
            if let Some(proxy) = proxy {
                proxy::tunnel(&mut tcp, address, proxy.credentials.as_ref()).await?;
            }
            Box::new(tls::secure(tcp, &address.host, self.is_lenient).await?)
        } else {
            Box::new(tcp)
        };
        Ok(TokioIo::new(stream))
    }
}

impl Answer {
    /// The next piece of the body; None at its end.
    ///
    /// # Errors
    /// When the connection breaks before the end that was announced, or nothing comes for too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = tokio::time::timeout(self.stall_timeout, self.body.frame()).await;
            let stalled = |_| Fault::Stalled { host: self.host.clone(), after: self.stall_timeout };
            let Some(frame) = frame.map_err(stalled)? else { return Ok(None) };
            let broken =
                |e: hyper::Error| Fault::Broken { host: self.host.clone(), text: chain(&e) };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also when it is longer than `max` bytes.
    pub async fn bytes(mut self, max: usize) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > max {
                return Err(Fault::TooLong { host: self.host.clone(), max });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// A header field's value, if it is text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Bytes in both directions.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
