//! The accept loop: HTTP/1.1 with limits on connections, on the time for a request's head, and upgrades.

use crate::{Request, Response, respond};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Limits of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; more are closed at once.
    pub connections: usize,
    /// Time for the head of a request, from the opening of a connection or the end of the request before.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 60_000, head: Duration::from_secs(30) }
    }
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request of a peer.
    fn handle(
        self: Arc<Self>,
        request: Request,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send;
}

/// Serves until `shutdown` turns true.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                wait_after(&error).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(%peer, limit = limits.connections, "too many connections; this one is closed");
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (handler, head, mut stop) = (handler.clone(), limits.head, shutdown.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request| {
                let handler = handler.clone();
                async move {
                    let headers = request.headers().clone();
                    let response = handler.handle(request, peer).await;
                    Ok::<_, Infallible>(respond::compress(&headers, response))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(head)
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades();
            tokio::select! {
                result = connection => if let Err(error) = result {
                    tracing::debug!(%peer, %error, "connection ended");
                },
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(place);
        });
    }
}

/// Descriptors may have run out: others are closed meanwhile.
async fn wait_after(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}
