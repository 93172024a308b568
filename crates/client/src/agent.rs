//! A client of an agent: the files of its sandboxes, and what it knows of itself.

use crate::operator::{BODY_MAX, CONNECT_MAX};
use crate::{Answer, PROTOBUF, connect};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use std::time::Duration;
use wire::v1::FileInfo;
use wire::v1::agent::{Call, Response, call};

/// Longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why an agent does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It does not answer.
    #[error("agent {address} does not answer: {text}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What happened.
        text: String,
    },
    /// It refuses.
    #[error("agent {address} refuses with status {status}: {text}")]
    Refused {
        /// Where it is.
        address: String,
        /// HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
}

impl AgentError {
    /// Whether it has no such thing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// Asks one agent, over one connection as long as that holds.
#[derive(Debug)]
pub struct Agent {
    address: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Agent {
    /// A client of the agent at `host:port`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), sender: None }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Size of a file now, and a piece of it: empty at its end, and shorter than asked for where the agent likes.
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn read(
        &mut self,
        path: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(u64, Vec<u8>), AgentError> {
        let read_file = Some(call::ReadFile { path: path.to_owned(), offset, length });
        let call =
            Call { r#type: Some(call::Type::ReadFile as i32), read_file, ..Default::default() };
        let read = self.call(&call).await?.read_file.unwrap_or_default();
        Ok((read.size, read.data))
    }

    /// Entries of a directory; none of a file.
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn list(&mut self, path: &str) -> Result<Vec<FileInfo>, AgentError> {
        let list_files = Some(call::ListFiles { path: path.to_owned() });
        let call =
            Call { r#type: Some(call::Type::ListFiles as i32), list_files, ..Default::default() };
        Ok(self.call(&call).await?.list_files.unwrap_or_default().file_infos)
    }

    /// What an endpoint that reads answers.
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn get(&mut self, path: &str) -> Result<Bytes, AgentError> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    async fn call(&mut self, call: &Call) -> Result<Response, AgentError> {
        let body =
            self.request(Method::POST, "/api/v1", wire::protobuf::to_vec(call).into()).await?;
        wire::protobuf::from_slice(&body).map_err(|e| self.unreachable(&e))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> AgentError {
        AgentError::Unreachable { address: self.address.clone(), text: error.to_string() }
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, AgentError> {
        let kept = self.sender.take().filter(|sender| !sender.is_closed());
        // The agent may close a connection that was idle just when it is used again.
        let answer = match kept {
            Some(sender) => self.exchange(sender, &method, path, body.clone()).await.ok(),
            None => None,
        };
        let answer = match answer {
            Some(answer) => answer,
            None => {
                let connected = tokio::time::timeout(CONNECT_MAX, connect(&self.address)).await;
                let connected =
                    connected.map_err(|_| self.unreachable(&"no connection in time"))?;
                let sender = connected.map_err(|e| self.unreachable(&e))?;
                self.exchange(sender, &method, path, body).await?
            }
        };
        match answer.status {
            200..300 => Ok(answer.body),
            status => Err(AgentError::Refused {
                address: self.address.clone(),
                status,
                text: answer.text().trim().to_owned(),
            }),
        }
    }

    async fn exchange(
        &mut self,
        mut sender: SendRequest<Full<Bytes>>,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, AgentError> {
        let accept = if *method == Method::GET { "*/*" } else { PROTOBUF };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, PROTOBUF)
            .header(ACCEPT, accept)
            .body(Full::new(body))
            .map_err(|e| self.unreachable(&e))?;
        let whole = async {
            sender.ready().await.map_err(|e| e.to_string())?;
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
            let body = body.map_err(|e| e.to_string())?.to_bytes();
            Ok::<_, String>(Answer { status, body })
        };
        let answer = tokio::time::timeout(ANSWER_MAX, whole).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let answer = answer.map_err(|e| self.unreachable(&e))?;
        self.sender = Some(sender);
        Ok(answer)
    }
}
