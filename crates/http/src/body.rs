//! Bodies of answers: whole, or streamed.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// Body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it at once; None when it was sent.
    Whole(Option<Bytes>),
    /// Pieces as they come; it ends when the sender is dropped.
    Stream(Pieces),
    /// A large answer.
    Large(Large),
}

/// Pieces of a large answer; an error breaks the connection, so that nobody takes a part for the whole.
#[derive(Debug)]
pub struct Large {
    pieces: mpsc::UnboundedReceiver<io::Result<Bytes>>,
    /// It is the turn of other connections.
    rests: bool,
}

impl Large {
    /// What comes from there.
    pub(crate) fn new(pieces: mpsc::UnboundedReceiver<io::Result<Bytes>>) -> Self {
        Self { pieces, rests: false }
    }

    /// Hands out one piece at a time: the sockets of many readers take megabytes at once, and whoever launches tasks
    /// would wait for all of them on the same threads.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.pieces.poll_recv(cx);
        self.rests = piece.is_ready();
        piece
    }
}

/// What is to be sent on a stream.
#[derive(Debug)]
pub struct Pieces {
    pub(crate) queue: mpsc::Receiver<Bytes>,
    /// Bytes in the queue.
    pub(crate) queued: Arc<AtomicUsize>,
    /// Goes with the body: whoever waits for it learns that nobody reads any more.
    pub(crate) _alive: oneshot::Sender<Infallible>,
}

impl Body {
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::Whole(None)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|b: &Bytes| !b.is_empty()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Body::Stream(pieces) => {
                let Pieces { queue, queued, .. } = pieces;
                queue.poll_recv(cx).map(|piece| {
                    piece.map(|bytes| {
                        queued.fetch_sub(bytes.len(), Ordering::Relaxed);
                        Ok(Frame::data(bytes))
                    })
                })
            }
            Body::Large(answer) => {
                answer.poll(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Body::Stream(..) | Body::Large(..) => SizeHint::default(),
        }
    }
}
