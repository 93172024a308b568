//! Looking at a container over its network, as checks do (spec/agent.md 3.5).

use crate::download::Client;
use crate::network::Network;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Uri};
use std::time::Duration;

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Whether somebody listens.
    Tcp {
        /// IP address.
        host: String,
        /// Port; one that is no port has nobody who listens.
        port: u32,
    },
    /// What status a GET is answered with, after redirects. Whoever answers need not prove who it is.
    Http {
        /// `http://` or `https://`.
        uri: String,
    },
}

/// What was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Of [`Target::Tcp`].
    Connected(bool),
    /// Of [`Target::Http`]: the status, once the body has come.
    Status(u16),
}

/// Whoever wants an answer stops waiting in his own time.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// Looks from inside a network.
pub(crate) async fn probe(network: Network, target: Target) -> Result<ProbeAnswer, String> {
    match target {
        Target::Tcp { host, port } => {
            let Ok(port) = u16::try_from(port) else {
                return Err(format!("{port} is not the number of a port"));
            };
            Ok(ProbeAnswer::Connected(network.connect(&host, port).await.is_ok()))
        }
        Target::Http { uri } => {
            let parsed: Uri = uri.parse().map_err(|e| format!("'{uri}' is not a URI: {e}"))?;
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
            let client = Client::lenient(PATIENCE, network);
            let asked = client.follow(&parsed, &headers).await;
            let mut answer = asked.map_err(|e| format!("failed to {e}"))?;
            while answer.chunk().await.map_err(|e| format!("failed to {e}"))?.is_some() {}
            Ok(ProbeAnswer::Status(answer.status.as_u16()))
        }
    }
}
