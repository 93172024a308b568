//! Who gets what comes out of a container: each has a buffer of its own, so that nobody is kept waiting by another one.

use http_api::stream::{EventSender, SendError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::v1::agent::ProcessIo;

/// Bytes that may wait for a reader.
pub(crate) const BUFFER: usize = 4 << 20;
/// Pause before an owner that is slow is given the next piece.
const PAUSE: Duration = Duration::from_millis(10);

/// The readers of one container.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    owner: Option<EventSender>,
    others: Vec<EventSender>,
}

impl Readers {
    /// Whose session it is, and who is waited for: what comes out is as fast as this one reads. Others who are too slow
    /// are dropped.
    pub(crate) fn owned(owner: EventSender) -> Self {
        Self { all: Mutex::new(All { owner: Some(owner), others: Vec::new() }) }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, reader: EventSender) {
        self.all().others.push(reader);
    }

    /// Gives a piece to all. Blocks as long as the owner has no room for it.
    pub(crate) fn tell(&self, piece: &ProcessIo) {
        self.all().others.retain(|reader| reader.send(piece).is_ok());
        loop {
            // Nothing is locked while it waits.
            let Some(owner) = self.all().owner.clone() else { return };
            match owner.send(piece) {
                Err(SendError::Slow) => std::thread::sleep(PAUSE),
                Ok(()) | Err(SendError::Closed) => return,
            }
        }
    }

    /// Gives a piece to those who have room for it.
    pub(crate) fn offer(&self, piece: &ProcessIo) {
        let mut all = self.all();
        if let Some(owner) = &all.owner {
            let _ = owner.send(piece);
        }
        all.others.retain(|reader| reader.send(piece) != Err(SendError::Closed));
    }

    /// Nothing comes any more.
    pub(crate) fn end(&self) {
        *self.all() = All::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::pieces;
    use http_api::negotiate::Encoding;
    use http_api::stream::bounded_stream;
    use http_body_util::BodyExt as _;
    use std::sync::Arc;
    use wire::v1::agent::process_io::data;

    #[tokio::test]
    async fn one_who_never_reads_keeps_nobody_waiting() {
        let (owner, owned, _) = bounded_stream(Encoding::Protobuf, 10_000);
        let readers = Arc::new(Readers::owned(owner));
        let (stuck, unread, _) = bounded_stream(Encoding::Protobuf, 10_000);
        readers.add(stuck);
        let piece = pieces::data(data::Type::Stdout, &[b'x'; 1000]);
        let telling = {
            let readers = readers.clone();
            tokio::task::spawn_blocking(move || {
                (0..1000).for_each(|_| readers.tell(&piece));
                readers.end();
            })
        };
        let got = owned.into_body().collect().await.expect("a body").to_bytes();
        telling.await.expect("everything was told");
        assert!(got.len() > 1_000_000, "{}", got.len());
        // It gets what fitted its buffer, and the end.
        let got = unread.into_body().collect().await.expect("a body").to_bytes();
        assert!((1..10_000).contains(&got.len()), "{}", got.len());
    }

    #[tokio::test]
    async fn an_owner_who_never_reads_stops_nothing_but_the_container() {
        let (owner, _unread, _) = bounded_stream(Encoding::Protobuf, 1000);
        let readers = Arc::new(Readers::owned(owner));
        let (second, got, _) = bounded_stream(Encoding::Protobuf, 1 << 20);
        readers.add(second);
        let piece = pieces::data(data::Type::Stdout, &[b'x'; 900]);
        let telling = {
            let readers = readers.clone();
            tokio::task::spawn_blocking(move || (0..3).for_each(|_| readers.tell(&piece)))
        };
        let mut got = got.into_body();
        got.frame().await.expect("a piece").expect("no fault");
        got.frame().await.expect("a piece that the owner has no room for").expect("no fault");
        // Others come, and hear that it lives, meanwhile.
        let (third, heard, _) = bounded_stream(Encoding::Protobuf, 1 << 20);
        readers.add(third);
        readers.offer(&pieces::heartbeat(Duration::from_secs(1)));
        heard.into_body().frame().await.expect("a heartbeat").expect("no fault");
        readers.end();
        telling.await.expect("the end is an end also for who waits");
    }
}
