//! A client of the endpoints for operators.

use crate::search::Search;
use crate::{ClientError, Events, connect, redirected};
use bytes::Bytes;
use detector::Detector;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use std::time::Duration;
use wire::v1::master::call::Subscribe;

/// Longest time for a connection.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest time for an answer: that of a large cluster's state takes a while.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Longest answer.
pub(crate) const BODY_MAX: usize = 1 << 30;
const JSON: &str = "application/json";

/// What a master answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks the leading master; each request has a connection of its own.
#[derive(Debug, Clone)]
pub struct Operator {
    master: Detector,
}

impl Operator {
    /// A client of that master.
    #[must_use]
    pub fn new(master: Detector) -> Self {
        Self { master }
    }

    /// Sends a request, with a JSON body if there is one, and reads the answer, whatever its status. Redirects to the
    /// leading master are followed.
    ///
    /// # Errors
    /// When no master answers in time.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ClientError> {
        let body = Bytes::from(body.unwrap_or_default());
        let mut search = Search::begin(&self.master).await?;
        while let Some(address) = search.next() {
            match exchange(&address, &method, path, &body).await {
                Ok((_, Some(leader))) if search.follow(&leader) => {}
                Ok((answer, _)) => return Ok(answer),
                Err(error) => search.failed(error),
            }
        }
        Err(search.end())
    }

    /// Subscribes to those events of the leading master that are wanted.
    ///
    /// # Errors
    /// When no master answers in time, or the leading one refuses.
    pub async fn subscribe(&self, wanted: &Subscribe) -> Result<Events, ClientError> {
        Events::subscribe(&self.master, wanted).await
    }
}

/// The answer, and where it redirects to.
async fn exchange(
    address: &str,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Result<(Answer, Option<String>), String> {
    let late = |_| "it does not answer in time".to_owned();
    let connected = tokio::time::timeout(CONNECT_MAX, connect(address)).await.map_err(late)?;
    let mut sender = connected?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address)
        .header(CONTENT_TYPE, JSON)
        .header(ACCEPT, JSON)
        .body(Full::new(body.clone()))
        .map_err(|e| e.to_string())?;
    let whole = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let leader = redirected(&response);
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(|e| e.to_string())?.to_bytes();
        Ok((Answer { status, body }, leader))
    };
    tokio::time::timeout(ANSWER_MAX, whole).await.map_err(late)?
}
