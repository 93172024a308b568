//! The accept loop: HTTP/1.1 with limits on connections, on the time for a request's head, and upgrades.

use crate::calls::{self, Calls};
use crate::stall::Stall;
use crate::{Request, Response, respond};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more are closed at once.
    pub connections: usize,
    /// Time for the head of a request, from the opening of a connection or the end of the request before.
    pub head: Duration,
    /// Time in which a peer must take something of what is sent to it.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 60_000, head: Duration::from_secs(30), stall: Duration::from_secs(60) }
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

    /// Where requests are counted, if they are.
    fn calls(&self) -> Option<&Calls> {
        None
    }
}

/// Shortest time between two lines of the log on connections that were dropped.
const DROPS_INTERVAL: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted: a cluster that comes back dials all at once.
const BACKLOG: u32 = 4096;

/// Listens on an address; port 0 takes a free one.
///
/// # Errors
/// When the address is not to be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown` turns true.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let drops = Arc::new(Drops::default());
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
        let (handler, mut stop, drops) = (handler.clone(), shutdown.clone(), drops.clone());
        let Limits { head, stall, .. } = limits;
        tokio::spawn(async move {
            let service = service_fn(move |request: Request| {
                let handler = handler.clone();
                // Each connection has room for it, also those on which nothing is asked: as little as can be.
                Box::pin(async move {
                    let headers = request.headers().clone();
                    let (begun, path) = (Instant::now(), request.uri().path().to_owned());
                    let answering = calls::named(handler.clone().handle(request, peer));
                    let (response, call) = answering.await;
                    let status = response.status().as_u16();
                    tracing::debug!(%peer, path, call, status, "answered");
                    if let Some(calls) = handler.calls() {
                        calls.record(&path, call, status, begun.elapsed());
                    }
                    Ok::<_, Infallible>(respond::compress(&headers, response))
                })
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(head)
                .serve_connection(TokioIo::new(Stall::new(socket, stall)), service)
                .with_upgrades();
            tokio::select! {
                result = connection => if let Err(error) = result {
                    drops.note(peer, &error);
                },
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(place);
        });
    }
}

/// Connections that were dropped, in the log: ten thousand hostile ones must not fill the disk.
#[derive(Debug, Default)]
struct Drops {
    since: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Drops {
    fn note(&self, peer: SocketAddr, error: &hyper::Error) {
        self.since.fetch_add(1, Ordering::Relaxed);
        let Ok(mut told) = self.told.lock() else { return };
        if told.is_none_or(|at| at.elapsed() >= DROPS_INTERVAL) {
            *told = Some(Instant::now());
            let connections = self.since.swap(0, Ordering::Relaxed);
            tracing::info!(connections, %peer, %error, "connections dropped; the last one is named");
        }
    }
}

/// Descriptors may have run out: others are closed meanwhile.
async fn wait_after(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}
