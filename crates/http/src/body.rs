//! Bodies of answers: whole, or streamed.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::fs::File;
use std::future::Future as _;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it at once; None when it was sent.
    Whole(Option<Bytes>),
    /// Pieces as they come; it ends when the sender is dropped.
    Stream(Pieces),
    /// A large answer.
    Large(Large),
    /// What a file has, read as it is sent.
    File(Contents),
}

/// Most of a file that is read at once.
const PIECE: u64 = 64 << 10;

/// So many bytes of a file. If they are not there any more, the connection breaks.
#[derive(Debug)]
pub struct Contents {
    /// None while it is being read.
    file: Option<File>,
    left: u64,
    reading: Option<JoinHandle<(File, io::Result<Bytes>)>>,
}

impl Contents {
    /// From where the file is now.
    #[must_use]
    pub fn new(file: File, length: u64) -> Self {
        Self { file: Some(file), left: length, reading: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(file) = self.file.take() {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            let length = self.left.min(PIECE);
            self.reading = Some(tokio::task::spawn_blocking(move || read(file, length)));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let piece = read.map_err(io::Error::other).and_then(|(file, piece)| {
            self.file = Some(file);
            piece
        });
        match piece {
            Ok(piece) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(piece)))
            }
            Err(error) => {
                self.file = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

fn read(file: File, length: u64) -> (File, io::Result<Bytes>) {
    let mut piece = Vec::new();
    let read = (&file).take(length).read_to_end(&mut piece);
    let piece = match read {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(piece.into()),
        Err(error) => Err(error),
    };
    (file, piece)
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
            Body::File(contents) => {
                contents.poll(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::File(contents) => contents.left == 0,
            Body::Stream(..) | Body::Large(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Body::File(contents) => SizeHint::with_exact(contents.left),
            Body::Stream(..) | Body::Large(..) => SizeHint::default(),
        }
    }
}
