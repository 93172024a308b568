//! Large answers: made one after the other by a thread that gives way to all others, once for all who ask for the same
//! before it begins, and sent in pieces while they are made.

use crate::body::Large;
use crate::{Body, Response, respond};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Bytes of a piece. An answer that fits into one is sent whole, with its length.
const PIECE: usize = 64 << 10;
/// Bytes that may wait for slow readers before the next answer is begun.
const UNSENT_MAX: usize = 256 << 20;
/// Longest time that an answer waits for slow readers of others.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much the thread gives way (`nice`): it gets about a tenth of what others get. Without a time of its own at all it
/// would keep locks for as long as others work.
const NICE: i32 = 10;
/// Bytes after which others may go on that wait for its core: who wakes up later is not let in before some milliseconds.
const BREATH: usize = 8 << 10;

/// What answers are alike by, and how they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The call with all its parameters, and whatever else the answer depends on.
    pub call: Vec<u8>,
    /// What the bytes are.
    pub content_type: &'static str,
    /// Whether they are compressed.
    gzip: bool,
}

impl Kind {
    /// Of a request with these headers.
    #[must_use]
    pub fn new(call: Vec<u8>, content_type: &'static str, request: &HeaderMap) -> Self {
        Self { call, content_type, gzip: respond::takes_gzip(request) }
    }
}

/// Writes the answer; it is called on the thread, and takes its view of the world only then.
type Make = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Something else that the thread makes; None: there is no room for it.
type Work = Box<dyn FnOnce(Option<&Unsent>) + Send>;

enum Job {
    Answer { kind: Kind, make: Make, asking: Vec<oneshot::Sender<Response>> },
    Work(Work),
}

#[derive(Default)]
struct Jobs {
    queue: VecDeque<Job>,
    is_closed: bool,
}

#[derive(Default)]
struct Desk {
    jobs: Mutex<Jobs>,
    more: Condvar,
    unsent: Unsent,
    joined: AtomicU64,
}

/// Counts the bytes of answers that nobody has taken yet.
#[derive(Debug, Clone, Default)]
pub struct Unsent(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    bytes: Mutex<usize>,
    fewer: Condvar,
}

/// A piece that is counted until its last reader has it.
struct Piece {
    bytes: Vec<u8>,
    count: Arc<Count>,
}

/// See the module. The thread ends with its last handle.
#[derive(Clone)]
pub struct Bulk(Arc<Handle>);

struct Handle(Arc<Desk>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unsent {
    /// Bytes that are counted as long as somebody is to be sent them.
    #[must_use]
    pub fn count(&self, bytes: Vec<u8>) -> Bytes {
        *lock(&self.0.bytes) += bytes.len();
        Bytes::from_owner(Piece { bytes, count: self.0.clone() })
    }

    /// Waits until little enough is unsent; false: it took too long.
    fn wait(&self) -> bool {
        let too_much = |bytes: &mut usize| *bytes > UNSENT_MAX;
        let waited = self.0.fewer.wait_timeout_while(lock(&self.0.bytes), PATIENCE, too_much);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        *lock(&self.count.bytes) -= self.bytes.len();
        self.count.fewer.notify_all();
    }
}

impl std::fmt::Debug for Bulk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bulk").field("queued", &lock(&self.0.0.jobs).queue.len()).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.0.jobs).is_closed = true;
        self.0.more.notify_all();
    }
}

impl Bulk {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let worker = desk.clone();
        std::thread::Builder::new().name("bulk".to_owned()).spawn(move || worker.run())?;
        Ok(Self(Arc::new(Handle(desk))))
    }

    /// Answers that were shared with one that waited already, since the start.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.0.0.joined.load(Ordering::Relaxed)
    }

    /// The answer, as soon as its first piece is there. Whoever asks for the same kind before it is begun gets the same
    /// one, so `make` must take its view of the world when it is called, not earlier.
    pub async fn answer(
        &self,
        kind: Kind,
        make: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Response {
        let (asking, answer) = oneshot::channel();
        let desk = &self.0.0;
        {
            let mut jobs = lock(&desk.jobs);
            let like = jobs.queue.iter_mut().find_map(|job| match job {
                Job::Answer { kind: of, asking, .. } if *of == kind => Some(asking),
                _ => None,
            });
            match like {
                Some(all) => {
                    all.push(asking);
                    desk.joined.fetch_add(1, Ordering::Relaxed);
                }
                None => {
                    let make: Make = Box::new(make);
                    jobs.queue.push_back(Job::Answer { kind, make, asking: vec![asking] });
                }
            }
        }
        desk.more.notify_one();
        answer.await.unwrap_or_else(|_| respond::text(500, "The answer could not be made"))
    }

    /// Has something made when its turn comes; None: there is no room for it.
    pub fn work(&self, work: impl FnOnce(Option<&Unsent>) + Send + 'static) {
        lock(&self.0.0.jobs).queue.push_back(Job::Work(Box::new(work)));
        self.0.0.more.notify_one();
    }
}

impl Desk {
    fn run(&self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "large answers are made at the usual priority");
        }
        while let Some((job, has_room)) = self.next() {
            // A fault in one answer must not end the thread that makes all.
            if catch_unwind(AssertUnwindSafe(|| self.carry_out(job, has_room))).is_err() {
                tracing::error!("a large answer could not be made");
            }
        }
    }

    /// The next job, and whether there is room for what it makes; None: nobody can ask any more.
    fn next(&self) -> Option<(Job, bool)> {
        let mut jobs = lock(&self.jobs);
        loop {
            if jobs.queue.front().is_some() {
                // Others may join while it waits for room.
                drop(jobs);
                let has_room = self.unsent.wait();
                jobs = lock(&self.jobs);
                return jobs.queue.pop_front().map(|job| (job, has_room));
            }
            if jobs.is_closed {
                return None;
            }
            jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn carry_out(&self, job: Job, has_room: bool) {
        match job {
            Job::Work(work) => work(has_room.then_some(&self.unsent)),
            Job::Answer { kind, make, asking } if has_room => self.make(kind, make, asking),
            Job::Answer { asking, .. } => {
                for asking in asking {
                    let text = "Too many large answers are being sent to slow readers; try again";
                    let _ = asking.send(respond::text(503, text));
                }
            }
        }
    }

    fn make(&self, kind: Kind, make: Make, asking: Vec<oneshot::Sender<Response>>) {
        let packer = kind.gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        let (readers, buffer, unsent) = (Vec::new(), Vec::new(), self.unsent.clone());
        let mut sink =
            Sink { kind, asking, readers, buffer, unbroken: 0, packer, unsent, is_whole: false };
        match make(&mut sink).and_then(|()| sink.finish()) {
            Ok(()) => sink.is_whole = true,
            Err(error) => tracing::debug!(%error, "a large answer ends early"),
        }
    }
}

/// Takes the bytes of an answer and sends them on.
struct Sink {
    kind: Kind,
    /// Who has got nothing yet.
    asking: Vec<oneshot::Sender<Response>>,
    readers: Vec<mpsc::UnboundedSender<io::Result<Bytes>>>,
    /// Not compressed yet.
    buffer: Vec<u8>,
    /// Bytes since others could go on.
    unbroken: usize,
    packer: Option<GzEncoder<Vec<u8>>>,
    unsent: Unsent,
    /// All of it was sent.
    is_whole: bool,
}

impl Sink {
    fn head(&self, body: Body) -> Response {
        let mut response = http::Response::new(body);
        let content_type = HeaderValue::from_static(self.kind.content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    /// What there is, as it goes out.
    fn packed(&mut self) -> io::Result<Vec<u8>> {
        let raw = std::mem::take(&mut self.buffer);
        let Some(packer) = &mut self.packer else { return Ok(raw) };
        packer.write_all(&raw)?;
        Ok(std::mem::take(packer.get_mut()))
    }

    /// Sends a piece.
    fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        for asking in std::mem::take(&mut self.asking) {
            let (sender, pieces) = mpsc::unbounded_channel();
            let mut response = self.head(Body::Large(Large::new(pieces)));
            if self.kind.gzip {
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert(CONTENT_ENCODING, gzip);
            }
            if asking.send(response).is_ok() {
                self.readers.push(sender);
            }
        }
        let piece = self.unsent.count(bytes);
        self.readers.retain(|reader| reader.send(Ok(piece.clone())).is_ok());
        if self.readers.is_empty() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads it any more"));
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.readers.is_empty() {
            let bytes = Bytes::from(std::mem::take(&mut self.buffer));
            for asking in std::mem::take(&mut self.asking) {
                let body = Body::Whole(Some(bytes.clone()).filter(|b| !b.is_empty()));
                let _ = asking.send(self.head(body));
            }
            return Ok(());
        }
        let mut rest = self.packed()?;
        if let Some(packer) = self.packer.take() {
            rest.extend(packer.finish()?);
        }
        self.send(rest)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        for reader in self.readers.drain(..).filter(|_| !self.is_whole) {
            let _ = reader.send(Err(io::Error::other("the answer could not be made")));
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.unbroken += bytes.len();
        if self.unbroken >= BREATH {
            self.unbroken = 0;
            std::thread::yield_now();
        }
        if self.buffer.len() >= PIECE {
            let piece = self.packed()?;
            self.send(piece)?;
            self.buffer.reserve(PIECE);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
