//! ATTACH_CONTAINER_INPUT: what a client puts into a container. One client at a time.

use super::near::resize;
use super::pieces::Typed;
use super::{Session, Sessions, lock};
use containerizer::Terminal;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Pause before a terminal that takes nothing is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// The input of a container, taken by one client.
pub(crate) struct Attached<'a> {
    target: Target,
    _turn: Turn<'a>,
    ended: watch::Receiver<()>,
}

enum Target {
    Session(Arc<Session>),
    /// A terminal whose supervisor copies what comes out; this end does not block.
    Terminal(File),
}

/// Held while somebody puts something into a container.
pub(super) struct Turn<'a> {
    sessions: &'a Sessions,
    name: String,
}

impl<'a> Turn<'a> {
    /// None: it is another one's.
    pub(super) fn take(sessions: &'a Sessions, name: &str) -> Option<Self> {
        let is_new = lock(&sessions.inputs).insert(name.to_owned());
        is_new.then(|| Self { sessions, name: name.to_owned() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.sessions.inputs).remove(&self.name);
    }
}

impl<'a> Attached<'a> {
    pub(super) fn to_session(session: Arc<Session>, turn: Turn<'a>) -> Self {
        let ended = session.ending.subscribe();
        Self { target: Target::Session(session), _turn: turn, ended }
    }

    pub(super) fn to_terminal(terminal: Terminal, turn: Turn<'a>) -> io::Result<Self> {
        let output = UnixStream::from_std(terminal.output)?;
        let (ending, ended) = watch::channel(());
        tokio::spawn(skip(output, ending));
        Ok(Self { target: Target::Terminal(terminal.input), _turn: turn, ended })
    }

    /// Waits until nothing comes out of the container any more.
    pub(crate) async fn ended(&mut self) {
        let _ = self.ended.changed().await;
    }

    /// Hands over a piece. Waits until the container takes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn take(&mut self, piece: Typed) -> Result<(), String> {
        match (&self.target, piece) {
            (_, Typed::Heartbeat) => Ok(()),
            (Target::Session(session), piece) => {
                let session = session.clone();
                let taken = tokio::task::spawn_blocking(move || session.take(piece)).await;
                taken.unwrap_or_else(|error| Err(error.to_string()))
            }
            (Target::Terminal(terminal), Typed::Size(size)) => {
                resize(terminal, &size).map_err(|e| format!("Unable to set the window size: {e}"))
            }
            (Target::Terminal(terminal), Typed::Bytes(bytes)) => {
                let mut left = bytes.as_slice();
                while !left.is_empty() {
                    match (&*terminal).write(left) {
                        Ok(length) => left = &left[length..],
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                            tokio::select! {
                                () = tokio::time::sleep(PAUSE) => {}
                                _ = self.ended.changed() => return Ok(()),
                            }
                        }
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        // It has ended.
                        Err(_) => return Ok(()),
                    }
                }
                Ok(())
            }
        }
    }
}

/// Reads what nobody wants, to its end, as long as somebody waits for that.
async fn skip(mut output: UnixStream, ending: watch::Sender<()>) {
    let mut chunk = vec![0; 16 << 10];
    loop {
        tokio::select! {
            read = output.read(&mut chunk) => if matches!(read, Ok(0) | Err(_)) { return },
            () = ending.closed() => return,
        }
    }
}
