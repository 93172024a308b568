//! Event streams: RecordIO in a chunked body, with a bounded queue for each subscriber.

use crate::body::Pieces;
use crate::negotiate::Encoding;
use crate::{Body, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Events that may wait for a slow subscriber before it is dropped.
const QUEUE: usize = 4096;
/// Bytes of events that may wait for it, unless a single event is longer.
const QUEUE_BYTES: usize = 64 << 20;

/// The sending end of an event stream. Dropping it ends the stream.
#[derive(Debug, Clone)]
pub struct EventSender {
    encoding: Encoding,
    pieces: mpsc::Sender<Bytes>,
    bytes_max: usize,
    /// Bytes that wait.
    queued: Arc<AtomicUsize>,
}

/// Why an event could not be sent: the subscriber is gone, or reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// It closed the connection.
    Closed,
    /// Its queue is full.
    Slow,
}

/// Resolves when the subscriber is gone.
#[derive(Debug)]
pub struct Closed(oneshot::Receiver<Infallible>);

impl Closed {
    /// Waits until nobody reads the stream any more.
    pub async fn wait(self) {
        let _ = self.0.await;
    }
}

/// A stream in this encoding, the answer that carries it, and the news of its end.
#[must_use]
pub fn event_stream(encoding: Encoding) -> (EventSender, Response, Closed) {
    bounded_stream(encoding, QUEUE_BYTES)
}

/// The same; so many bytes may wait for the subscriber, unless a single event is longer.
#[must_use]
pub fn bounded_stream(encoding: Encoding, bytes_max: usize) -> (EventSender, Response, Closed) {
    let (pieces, receiver) = mpsc::channel(QUEUE);
    let (alive, closed) = oneshot::channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let body = Body::Stream(Pieces { queue: receiver, queued: queued.clone(), _alive: alive });
    let mut response = http::Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
    (EventSender { encoding, pieces, bytes_max, queued }, response, Closed(closed))
}

impl EventSender {
    /// Queues an event.
    ///
    /// # Errors
    /// When the subscriber is gone, or too slow: then the event is lost, unless it is sent again later.
    pub fn send<M: wire::Message>(&self, event: &M) -> Result<(), SendError> {
        self.send_record(wire::recordio::encode(&self.encoding.encode(event)).into())
    }

    /// How its events are encoded.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Queues an event that is encoded already, as a record.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_record(&self, record: Bytes) -> Result<(), SendError> {
        let length = record.len();
        if self.pieces.is_closed() {
            return Err(SendError::Closed);
        }
        let before = self.queued.fetch_add(length, Ordering::Relaxed);
        let sent = if before > 0 && before + length > self.bytes_max {
            Err(SendError::Slow)
        } else {
            self.pieces.try_send(record).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendError::Slow,
                mpsc::error::TrySendError::Closed(_) => SendError::Closed,
            })
        };
        if sent.is_err() {
            self.queued.fetch_sub(length, Ordering::Relaxed);
        }
        sent
    }
}

/// Pieces of a stream of bytes that may wait for a slow reader.
const PIECES: usize = 8;

/// The sending end of a stream of bytes. Dropping it ends the stream.
#[derive(Debug)]
pub struct ByteSender {
    pieces: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// A stream of bytes of this media type, for one who waits for its reader; the answer that carries it, and the news of
/// its end.
#[must_use]
pub fn byte_stream(media_type: &'static str) -> (ByteSender, Response, Closed) {
    let (pieces, receiver) = mpsc::channel(PIECES);
    let (alive, closed) = oneshot::channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let body = Body::Stream(Pieces { queue: receiver, queued: queued.clone(), _alive: alive });
    let mut response = http::Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    (ByteSender { pieces, queued }, response, Closed(closed))
}

impl ByteSender {
    /// Sends a piece as soon as there is room for it; false: nobody reads any more.
    pub async fn send(&self, piece: impl Into<Bytes>) -> bool {
        let piece = piece.into();
        self.queued.fetch_add(piece.len(), Ordering::Relaxed);
        self.pieces.send(piece).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::v1::ContainerId;

    #[test]
    fn who_was_too_slow_gets_more_when_there_is_room_again() {
        let (sender, response, _closed) = bounded_stream(Encoding::Json, 100);
        let event = ContainerId { value: "x".repeat(50), parent: None };
        assert_eq!(sender.send(&event), Ok(()));
        for _ in 0..3 {
            assert_eq!(sender.send(&event), Err(SendError::Slow));
        }
        let Body::Stream(mut pieces) = response.into_body() else { panic!("expected a stream") };
        let piece = pieces.queue.try_recv().expect("a piece");
        pieces.queued.fetch_sub(piece.len(), Ordering::Relaxed);
        assert_eq!(sender.send(&event), Ok(()));
        drop(pieces);
        assert_eq!(sender.send(&event), Err(SendError::Closed));
    }
}
