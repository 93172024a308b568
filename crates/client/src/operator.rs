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
/// What a master says that knows of no leader.
const NO_LEADER: &str = "No leader elected";

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
    /// leading master are followed, and masters that know of none are passed over. What changes something is not sent
    /// to another master when it may have been carried out.
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
        let mut leaderless = None;
        while let Some(address) = search.next() {
            match exchange(&address, &method, path, &body).await {
                Ok((_, Some(leader))) if search.follow(&leader) => {}
                Ok((answer, None)) if answer.status == 503 && answer.body == NO_LEADER => {
                    leaderless = Some(answer);
                }
                Ok((answer, _)) => return Ok(answer),
                Err(Lost { text, was_sent: true }) if !method.is_safe() => {
                    return Err(ClientError::Unknown { address, text });
                }
                Err(lost) => search.failed(lost.text),
            }
        }
        leaderless.ok_or_else(|| search.end())
    }

    /// Subscribes to those events of the leading master that are wanted.
    ///
    /// # Errors
    /// When no master answers in time, or the leading one refuses.
    pub async fn subscribe(&self, wanted: &Subscribe) -> Result<Events, ClientError> {
        Events::subscribe(&self.master, wanted).await
    }
}

/// Why there is no answer.
struct Lost {
    text: String,
    /// The master may have taken the request.
    was_sent: bool,
}

/// The answer, and where it redirects to.
async fn exchange(
    address: &str,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Result<(Answer, Option<String>), Lost> {
    let lost = |was_sent| move |text: String| Lost { text, was_sent };
    let late = |_| "it does not answer in time".to_owned();
    let connected = tokio::time::timeout(CONNECT_MAX, connect(address)).await;
    let mut sender = connected.map_err(late).flatten().map_err(lost(false))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address)
        .header(CONTENT_TYPE, JSON)
        .header(ACCEPT, JSON)
        .body(Full::new(body.clone()))
        .map_err(|e| lost(false)(e.to_string()))?;
    let whole = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let leader = redirected(&response);
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(|e| e.to_string())?.to_bytes();
        Ok((Answer { status, body }, leader))
    };
    tokio::time::timeout(ANSWER_MAX, whole).await.map_err(late).flatten().map_err(lost(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use detector::{MasterName, SESSION_TIMEOUT};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A master that answers everything with this, or nothing; and how often it was asked.
    struct Master {
        address: String,
        asked: Arc<AtomicUsize>,
    }

    fn master(answer: &'static str) -> Master {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let _ = socket.read(&mut [0; 4096]);
                count.fetch_add(1, Ordering::SeqCst);
                let _ = socket.write_all(answer.as_bytes());
            }
        });
        Master { address, asked }
    }

    async fn asked(masters: &[&Master], method: Method) -> Result<u16, ClientError> {
        let addresses = masters.iter().map(|master| master.address.clone()).collect();
        let name = MasterName::Addresses(addresses);
        let operator = Operator::new(Detector::new(name, SESSION_TIMEOUT));
        operator.request(method, "/x", None).await.map(|answer| answer.status)
    }

    const LEADERLESS: &str =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 17\r\n\r\nNo leader elected";
    const LEADING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const DYING: &str = "";

    #[tokio::test]
    async fn a_master_that_knows_no_leader_is_passed_over() {
        let (leaderless, leading) = (master(LEADERLESS), master(LEADING));
        for method in [Method::GET, Method::POST] {
            assert_eq!(asked(&[&leaderless, &leading], method.clone()).await.ok(), Some(200));
            assert_eq!(asked(&[&leaderless], method).await.ok(), Some(503));
        }
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_not_asked_for_twice() {
        let (dying, leading) = (master(DYING), master(LEADING));
        let lost = asked(&[&dying, &leading], Method::POST).await.expect_err("it was sent");
        assert!(lost.to_string().contains("whether it was carried out is not known"), "{lost}");
        assert_eq!(leading.asked.load(Ordering::SeqCst), 0);
        assert_eq!(asked(&[&dying, &leading], Method::GET).await.ok(), Some(200));
        let nowhere = Master { address: "127.0.0.1:1".to_owned(), asked: Arc::default() };
        assert_eq!(asked(&[&nowhere, &leading], Method::POST).await.ok(), Some(200));
    }
}
