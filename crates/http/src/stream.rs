//! Event streams: RecordIO in a chunked body, with a bounded queue for each subscriber.

use crate::negotiate::Encoding;
use crate::{Body, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc;

/// Events that may wait for a slow subscriber before it is dropped.
const QUEUE: usize = 4096;

/// The sending end of an event stream. Dropping it ends the stream.
#[derive(Debug, Clone)]
pub struct EventSender {
    encoding: Encoding,
    pieces: mpsc::Sender<Bytes>,
}

/// Why an event could not be sent: the subscriber is gone, or reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// It closed the connection.
    Closed,
    /// Its queue is full.
    Slow,
}

/// A stream in this encoding, and the answer that carries it.
#[must_use]
pub fn event_stream(encoding: Encoding) -> (EventSender, Response) {
    let (pieces, receiver) = mpsc::channel(QUEUE);
    let mut response = http::Response::new(Body::Stream(receiver));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
    (EventSender { encoding, pieces }, response)
}

impl EventSender {
    /// Queues an event.
    ///
    /// # Errors
    /// When the subscriber is gone or too slow; the stream is of no use then.
    pub fn send<M: wire::Message>(&self, event: &M) -> Result<(), SendError> {
        let record = wire::recordio::encode(&self.encoding.encode(event));
        self.pieces.try_send(record.into()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Slow,
            mpsc::error::TrySendError::Closed(_) => SendError::Closed,
        })
    }

    /// Ends when the subscriber is gone.
    pub async fn closed(&self) {
        self.pieces.closed().await;
    }
}
